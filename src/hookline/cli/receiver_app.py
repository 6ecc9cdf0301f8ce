"""Which Receiver a command works on: the one that HOOKLINE_APP names, or one on the receiver's database."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter

from hookline.config import SETTINGS, Settings, load
from hookline.errors import ConfigError
from hookline.receiver.app import Receiver
from hookline.receiver.configured import options_of

AppName: TypeAlias = Annotated[str | None, Parameter("--app", help=f"{SETTINGS['app'].about} Else HOOKLINE_APP.")]
SourceName: TypeAlias = Annotated[str | None, Parameter("--source", help="Of this source alone; else of all.")]
DatabaseUrl: TypeAlias = Annotated[
    str | None, Parameter("--database-url", help=f"{SETTINGS['database_url'].about} Else HOOKLINE_DATABASE_URL.")
]


@contextmanager
def receiver_in_force(app: str | None, database_url: str | None) -> Iterator[Receiver]:
    """The Receiver of these flags or the settings, opened; closed at the end."""
    with closed_receiver(load({"app": app, "database_url": database_url}), database_url) as receiver:
        receiver.open()
        yield receiver


def closed_receiver(settings: Settings, database_url: str | None) -> Receiver:
    """The same, before it is opened: nothing is made or changed by that."""
    config = settings.receiver()
    if config.app is not None and database_url is None:
        return named_receiver(config.app, settings.resolved["app"].origin)
    return Receiver(database_url or config.database_url, **options_of(config))


@contextmanager
def receiver_to_ask(flag: str, settings: Settings, database_url: str | None = None) -> Iterator[Receiver]:
    """The Receiver of these flags or the settings, to be looked into: nothing is made where its tables are missing.

    Raises:
        ConfigError: under the name `flag`, they are, or are of another version.
    """
    with closed_receiver(settings, database_url) as receiver:
        if receiver.missing_migrations():
            if settings["app"] is not None and database_url is None:
                raise ConfigError(
                    flag,
                    f"the database of the app's receiver ({settings.resolved['app'].origin}) lacks tables of this "
                    "version: start what receives, or with Django `manage.py migrate`, makes them",
                )
            name = "receiver_database_url" if settings["receiver_database_url"] is not None else "database_url"
            setting = SETTINGS[name].variable if database_url is None else "--database-url"
            raise ConfigError(
                flag,
                f"expected {setting} to name the receiver's database; what it names lacks tables of a receiver of this "
                "version: `hookline serve receiver` or `hookline db upgrade` makes them",
            )
        yield receiver


def named_receiver(name: str, origin: str) -> Receiver:
    """The object at `module:attribute`, found from the working directory on.

    Raises:
        ConfigError: no such module or attribute, or it is no Receiver. What the module itself raises passes through.
    """
    module_name, _, attribute = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise
        raise ConfigError(origin, f"no module {error.name!r} in {here} or among what is installed") from None
    for step in attribute.split("."):
        if not hasattr(found, step):
            raise ConfigError(origin, f"{module_name} has no attribute {attribute!r}")
        found = getattr(found, step)
    if not isinstance(found, Receiver):
        raise ConfigError(origin, f"expected a hookline.Receiver at {name}, got {type(found).__name__}")
    return found

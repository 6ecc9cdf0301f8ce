"""A framework's settings as those of a `Receiver`: the names of the `HOOKLINE_…` variables, without the prefix."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from hookline.config import (
    SETTINGS,
    SOURCE_SETTINGS,
    Resolved,
    Setting,
    Settings,
    load,
    look_up,
    refuse_unknown,
)
from hookline.errors import ConfigError
from hookline.receiver.configured import options_of

# What is about the server that `hookline serve` runs, or about whose database it is, is the framework's.
TAKEN: Final = {
    setting.name.upper(): setting
    for setting in SETTINGS.values()
    if setting.part == "receiver" and setting.name not in {"receiver_database_url", "app"}
}
SOURCES: Final = "SOURCES"


def receiver_options(given: Mapping[str, Any], *, name: str, own: Collection[str] = ()) -> dict[str, Any]:
    """Keyword arguments of `Receiver`, without its database.

    What is None or missing is taken from the environment (`HOOKLINE_…`) and from `hookline.toml`.

    Args:
        given: the keys of `TAKEN`; each takes what its variable takes, lists also as lists. `SOURCES` takes a dict of
            such dicts, by the names of several sources.
        name: what the user calls this dict.
        own: further keys, which the adapter reads by itself.

    Raises:
        ConfigError: an unknown key (with the nearest one), or a value that its setting does not take.
    """
    refuse_unknown(given, {*TAKEN, SOURCES, *own}, f"key of {name}")
    settings = load()
    resolved = {**settings.resolved, **_resolved(TAKEN, given, name)}
    sources = settings.sources if given.get(SOURCES) is None else _sources(given[SOURCES], f'{name}["{SOURCES}"]')
    return options_of(Settings(resolved, sources).receiver())


def _sources(given: Any, name: str) -> dict[str, dict[str, Resolved]]:
    if not isinstance(given, Mapping) or not all(isinstance(own, Mapping) for own in given.values()):
        raise ConfigError(name, "expected a dict of dicts, one for each source by its name")
    taken = {setting.name.upper(): setting for setting in SOURCE_SETTINGS.values()}
    files = {f"{key}_FILE" for key, setting in taken.items() if setting.secret}
    for source, own in given.items():
        refuse_unknown(own, {*taken, *files}, f'key of {name}["{source}"]')
    return {source: _resolved(taken, own, f'{name}["{source}"]') for source, own in given.items()}


def _resolved(taken: Mapping[str, Setting], given: Mapping[str, Any], name: str) -> dict[str, Resolved]:
    plain = {key: list(value) if isinstance(value, tuple | set | frozenset) else value for key, value in given.items()}
    found = {
        setting.name: look_up(setting, plain, key, Path(), suffix="_FILE", told=name + '["{}"]')
        for key, setting in taken.items()
    }
    return {key: entry for key, entry in found.items() if entry is not None}

"""The one receiver of a Django project, made of its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS

from hookline.adapters.django.transactions import AliasTransactions
from hookline.adapters.settings import receiver_options
from hookline.errors import ConfigError
from hookline.receiver.app import Receiver

NAME: Final = "HOOKLINE"
_OWN: Final = ("DATABASE_ALIAS", "SOURCE", "MIRROR")


class Hooks(Receiver):
    """A `Receiver` of the settings in `HOOKLINE`, on one of the project's databases."""

    takes_settings = True

    def __init__(self) -> None:
        given: Any = getattr(settings, NAME, {})
        if not isinstance(given, Mapping):
            raise ConfigError(NAME, f"expected a dict, got {type(given).__name__}")
        options = receiver_options(given, name=NAME, own=_OWN)
        self.alias: str = given.get("DATABASE_ALIAS", DEFAULT_DB_ALIAS)
        super().__init__(
            transactions=AliasTransactions(self.alias),
            source=given.get("SOURCE", "default"),
            mirror=given.get("MIRROR", ()),
            **options,
        )

    def reload(self) -> None:
        """Take the settings as they are now; the handlers stay."""
        self.close()
        handlers = self.handlers
        Hooks.__init__(self)
        self.handlers = handlers


hooks: Final = Hooks()

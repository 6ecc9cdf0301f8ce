"""The one receiver of a Django project, made of its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS

from hookline.adapters.configured import ConfiguredReceiver
from hookline.adapters.django.transactions import AliasTransactions

NAME: Final = "HOOKLINE"


class Hooks(ConfiguredReceiver):
    """A `Receiver` of the settings in `HOOKLINE`, on one of the project's databases."""

    def __init__(self) -> None:
        given: Any = getattr(settings, NAME, {})
        is_dict = isinstance(given, Mapping)
        self.alias: str = given.get("DATABASE_ALIAS", DEFAULT_DB_ALIAS) if is_dict else DEFAULT_DB_ALIAS
        super().__init__(given, name=NAME, transactions=AliasTransactions(self.alias), own=("DATABASE_ALIAS",))

    def reload(self) -> None:
        """Take the settings as they are now; the handlers stay."""
        self.close()
        handlers = self.handlers
        Hooks.__init__(self)
        self.handlers = handlers


hooks: Final = Hooks()

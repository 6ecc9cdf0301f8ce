"""A `Receiver` made of a framework's settings, for frameworks that hand over a mapping and perhaps transactions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Final

from hookline.adapters.settings import receiver_options
from hookline.config import load
from hookline.errors import ConfigError
from hookline.loop import Clock
from hookline.receiver.app import Receiver
from hookline.receiver.handlers import Transactions
from hookline.receiver.sources import DEFAULT

URL: Final = "DATABASE_URL"


class ConfiguredReceiver(Receiver):
    """A `Receiver` of the keys that `receiver_options` takes, `SOURCE` and `MIRROR`.

    What they leave out comes from the environment.

    Args:
        given: the settings.
        name: what the user calls them.
        transactions: the app's own database access; without it, a database of Hookline's at `DATABASE_URL`.
        clock: what time it is.
        own: further keys.

    Raises:
        ConfigError: naming the key, and what is wrong with it.
    """

    takes_settings: ClassVar[bool] = True

    def __init__(
        self,
        given: object,
        *,
        name: str,
        transactions: Transactions | None = None,
        clock: Clock | None = None,
        own: Collection[str] = (URL,),
    ) -> None:
        if not isinstance(given, Mapping):
            raise ConfigError(name, f"expected a dict, got {type(given).__name__}")
        options: dict[str, Any] = receiver_options(given, name=name, own=("SOURCE", "MIRROR", *own))
        if transactions is not None and given.get(URL) is not None:
            raise ConfigError(f'{name}["{URL}"]', "expected either it or transactions=, and not both")
        self.configured_url: str | None = None
        if transactions is None:
            self.configured_url = given.get(URL) or load().receiver().database_url
        super().__init__(
            self.configured_url,
            transactions=transactions,
            source=given.get("SOURCE", DEFAULT),
            mirror=given.get("MIRROR", ()),
            clock=clock,
            **options,
        )
        # Below these everything may be a token: who tries one hears nothing of the app's either.
        self._guarded = tuple(f"{door.path}/" for door in self.doors if door.path_token is not None)

    def is_at(self, path: str) -> bool:
        """Whether a path (decoded, below the prefix) is for the door to answer, where it stands in front of an app."""
        return self.doors.find(path) is not None or f"{path}/".startswith(self._guarded)

"""Where deliveries come from, as this sender publishes it.

The list is configuration; when it changed last is kept in the settings, so that every process on the database, and
every restart, gives the same time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from hookline import __version__
from hookline.rules.address import Network, SourceAddresses, egress_document
from hookline.wire.signature import HEADER
from hookline.wire.timestamps import format_ms

if TYPE_CHECKING:
    from hookline.sender.store import SenderStore
    from hookline.storage import Database
    from hookline.storage.verbs import Connection

PROVIDER: Final = "hookline"
_SETTING: Final = "egress"
_HEADERS: Final = {"signature": HEADER, "user_agent": f"Hookline/{__version__}"}


def published_egress(database: Database, store: SenderStore, networks: Sequence[Network], now_ms: int) -> bytes:
    """The document for these networks; a list that differs from the one kept is kept as changed now."""
    addresses = [str(network).removesuffix("/32").removesuffix("/128") for network in networks]

    def keep(connection: Connection) -> int:
        kept = store.setting(connection, _SETTING)
        if kept is not None and (found := json.loads(kept))["addresses"] == addresses:
            return int(found["updated_ms"])
        store.put_setting(connection, _SETTING, json.dumps({"addresses": addresses, "updated_ms": now_ms}))
        return now_ms

    updated_ms = database.run(keep)
    source = SourceAddresses(PROVIDER, format_ms(updated_ms * 1000), tuple(addresses))
    return egress_document(source, headers=_HEADERS)

"""`Receiver(transactions=…)` on one of Django's databases."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from hookline.errors import TransactionMisuse
from hookline.storage.app_connection import ENDED, WENT_ON, driver_connection

log = logging.getLogger("hookline.django")

LOOK_EVERY_S: Final = 60.0


class AliasTransactions:
    """Transactions of one of the aliases in `DATABASES`, each an `atomic()` block.

        hooks = Receiver(transactions=AliasTransactions(), …)

    Handlers get the alias as `tx`, inside the block; what may fail goes into an `atomic()` of its own. Hooks registered
    with `transaction.on_commit` run once the run is marked as done; one that raises is logged, and changes nothing.

    Args:
        alias: on SQLite, or on PostgreSQL with psycopg 3.
    """

    def __init__(self, alias: str = DEFAULT_DB_ALIAS) -> None:
        self.alias = alias
        self._thread = threading.local()

    @contextlib.contextmanager
    def begin(self) -> Iterator[LentAlias]:
        self._close_old()
        lent = LentAlias(self.alias)
        is_kept: list[bool] = []
        try:
            with contextlib.ExitStack() as block:
                try:
                    block.enter_context(transaction.atomic(self.alias, durable=True))
                except RuntimeError as error:
                    raise TransactionMisuse(
                        "within an atomic() block of the app's own nothing is kept before that one ends: "
                        "no ATOMIC_REQUESTS around Hookline, and no atomic() around its calls"
                    ) from error
                # The first of them: what raises after it raises after the commit.
                transaction.on_commit(lambda: is_kept.append(True), using=self.alias)
                yield lent
                lent.check()
        except Exception as error:
            if not is_kept:
                raise
            # Without its message, which may hold anything.
            kind = type(error).__name__
            log.error("a hook of transaction.on_commit failed (%s); its transaction is kept", kind)  # noqa: TRY400

    def _close_old(self) -> None:
        """What Django does before and after each request; a worker's threads have none.

        Not each time: with `CONN_MAX_AGE` at its default every transaction would open a connection of its own.
        """
        connection, now_s = connections[self.alias], time.monotonic()
        if connection.errors_occurred or now_s - getattr(self._thread, "looked_s", 0.0) > LOOK_EVERY_S:
            self._thread.looked_s = now_s
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()

    def end_thread(self) -> None:
        """Close the connection that Django keeps for this thread."""
        if not connections[self.alias].in_atomic_block:  # a test's own
            connections[self.alias].close()


class LentAlias:
    """An `atomic()` block that Hookline ends."""

    def __init__(self, alias: str) -> None:
        self.app = alias

    @property
    def dbapi(self) -> Any:
        """The connection of the driver, for Hookline's verbs. TransactionMisuse where the block is given up."""
        self.check()
        return driver_connection(connections[self.app])

    def check(self) -> None:
        """TransactionMisuse where the handler closed the connection, or has broken the block and went on."""
        connection = connections[self.app]
        if connection.closed_in_transaction:
            raise TransactionMisuse(ENDED)
        if connection.needs_rollback:
            # At its end Django would roll back without a word.
            raise TransactionMisuse(WENT_ON)

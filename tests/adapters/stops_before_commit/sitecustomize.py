"""Loaded by every Python that has this folder on its path: a worker stops when all is written and nothing committed."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator

if "worker" in sys.argv or "worker" in sys.orig_argv:
    from hookline.adapters.django.transactions import AliasTransactions, LentAlias

    begin = AliasTransactions.begin

    @contextlib.contextmanager
    def begin_and_stop(self: AliasTransactions) -> Iterator[LentAlias]:
        """As `begin`, up to the commit of a letter."""
        with begin(self) as lent:
            yield lent
            if lent.dbapi.execute("select count(*) from shop_letter").fetchone()[0]:
                print("written, not committed", flush=True)
                threading.Event().wait()

    AliasTransactions.begin = begin_and_stop  # type: ignore[method-assign]

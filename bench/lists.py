"""The dashboard's lists over a long history: how long the first page of each takes, and by which plans.

A page is asked of the whole dashboard in this process, without a socket: the session, the statements, the rendering.
Each list is asked for once before it is measured, and the plans of that time's statements are printed, with which large
tables they would read whole. Beside the clock stands the CPU of a call, of this process and of the database server:
others on the machine change the first far more than the second.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from typing import Final

from tests.dashboard.browser import Browser

from bench.databases import Databases
from bench.history import DAY_MS, add_history, analyze, counted
from bench.measure import BenchError, Options, percentile
from bench.plans import Asked, Planner, recorded
from bench.served import BOX, KEY
from hookline.dashboard.accounts import Accounts
from hookline.dashboard.app import Dashboard
from hookline.loop import SystemClock
from hookline.receiver.app import Receiver
from hookline.sender.app import SenderApp
from hookline.storage import Database, connect
from hookline.wire.timestamps import format_ms

EVENTS: Final = 1_000_000
CALLS: Final = 20
GOAL_MS: Final = 100.0
# A table of no more rows than that may be read whole.
FEW: Final = 2_000
# What the report says the size of.
LARGE: Final = ("sender_events", "sender_deliveries", "sender_attempts", "inbox", "directory_users", "runs")


class Lists:
    """The dashboard over one database that holds a history.

    Attributes:
        lists: path of each list's first page, by what is asked for.
    """

    def __init__(self, url: str, events: int) -> None:
        self._parts = contextlib.ExitStack()
        clock = SystemClock()
        self.database: Database = connect(url)
        self._parts.callback(self.database.close)
        now_ms = clock.now_ms()
        add_history(self.database, events, now_ms=now_ms, seal=BOX.seal)
        analyze(self.database)
        sender = SenderApp(self.database, encryption_keys=[KEY], clock=clock)
        receiver = Receiver(url, secrets=["whsec_of_the_bench"], clock=clock)
        self._parts.callback(receiver.close)
        receiver.open()
        accounts = Accounts(self.database, clock=clock)
        accounts.open()
        accounts.add_user("ada", "admin", password="correct horse battery")
        dashboard = Dashboard(accounts=accounts, sender=sender, receiver=receiver, clock=clock)
        self._parts.callback(dashboard.close)
        self._browser = self._parts.enter_context(Browser(dashboard))
        signed_in = accounts.sign_in("ada", "correct horse battery", "127.0.0.1")
        self._browser.cookies["hookline_session"] = signed_in.token
        with self.database.read() as connection:
            cursor = connection.cursor()
            # The busy one, which came first.
            cursor.execute("select id from hookline_sender_endpoints order by row_id limit 1")
            endpoint = cursor.fetchall()[0][0]
            cursor.close()
        hour_ago = format_ms(now_ms - 3_600_000)
        month_ago = format_ms(now_ms - 29 * DAY_MS)
        log, mirror = "/dashboard/production/events", "/dashboard/mirror/default/directory_user"
        self.lists: dict[str, str] = {
            "overview": "/dashboard/",
            "traffic, 30 days": "/dashboard/production/traffic?span=30d",
            "endpoints": "/dashboard/production/endpoints",
            "an endpoint, with its deliveries": f"/dashboard/production/endpoints/{endpoint}",
            "its failed deliveries": f"/dashboard/production/endpoints/{endpoint}?state=failed",
            "its activity": f"/dashboard/production/endpoints/{endpoint}/activity",
            "events": log,
            "events of a type": f"{log}?q=type:dsync.user.created",
            "events of a rare type": f"{log}?q=type:dsync.deleted",
            "events of no type there is": f"{log}?q=type:connection.activated",
            "events by a prefix": f"{log}?q=type:dsync.group.*",
            "events of an object": f"{log}?q=object:directory_user_00000000000007",
            "events that failed": f"{log}?q=status:failed",
            "events held": f"{log}?q=status:held",
            "events of nobody": f"{log}?q=status:nobody",
            "events answered 5xx": f"{log}?q=code:5xx",
            "events answered 404": f"{log}?q=code:404",
            "events answered 418": f"{log}?q=code:418",
            "events of an endpoint": f"{log}?q=endpoint:{endpoint}",
            "events since an hour": f"{log}?q=since:1h",
            "events until 29 days ago": f"{log}?q=until:29d",
            "replays": "/dashboard/production/replays",
            "jobs": "/dashboard/jobs",
            "inbox": "/dashboard/inbox",
            "inbox, waiting": "/dashboard/inbox?state=waiting",
            "inbox, applied": "/dashboard/inbox?state=applied",
            "inbox, dead": "/dashboard/inbox?state=dead",
            "inbox, stale": "/dashboard/inbox?state=stale",
            "inbox, ignored": "/dashboard/inbox?state=ignored",
            "inbox, noop": "/dashboard/inbox?state=noop",
            "inbox, of a type": "/dashboard/inbox?type=dsync.deleted",
            "inbox, of an object": "/dashboard/inbox?object=directory_user_00000000000007",
            "inbox, since an hour": f"/dashboard/inbox?since={hour_ago}",
            "inbox, until 29 days ago": f"/dashboard/inbox?until={month_ago}",
            "inbox, of an id": "/dashboard/inbox?event=event_01BENCH00000000000007",
            "refused requests": "/dashboard/inbox-rejected",
            "replays of the inbox": "/dashboard/inbox-replays",
            "dead letters": "/dashboard/dead-letters",
            "handlers": "/dashboard/handlers",
            "mirror": "/dashboard/mirror",
            "users of the mirror": mirror,
            "users, by the start of an id": f"{mirror}?q=directory_user_000000000000",
            "users, by a name": f"{mirror}?q=bench",
            "users, by a name nobody has": f"{mirror}?q=nobody-of-this-name",
            "users, dead": f"{mirror}?shown=dead",
            "users, uncertain": f"{mirror}?shown=uncertain",
            "users of a directory": f"{mirror}?parent=directory_7",
            "memberships": "/dashboard/mirror/default/directory_membership",
            "passes": "/dashboard/reconcile",
            "drift of a pass": "/dashboard/reconcile/2",
            "audit log": "/dashboard/settings/audit",
            "API keys": "/dashboard/settings/keys",
            "users of the dashboard": "/dashboard/settings/users",
        }

    def close(self) -> None:
        self._parts.close()

    def ask(self, name: str) -> float:
        """Ask for a list; how long it took, in seconds. BenchError: it was not shown."""
        began_s = time.perf_counter()
        answer = self._browser.get(self.lists[name])
        took_s = time.perf_counter() - began_s
        if answer.status != 200:
            raise BenchError(f"{name}: expected 200 of {self.lists[name]}, got {answer.status}")
        return took_s

    def statements(self, name: str) -> list[Asked]:
        """The statements that read for a list, each text once."""
        with recorded() as asked:
            self.ask(name)
        return list({one.sql: one for one in asked if one.sql.lstrip().startswith(("select", "with"))}.values())


def measure(databases: Databases, options: Options) -> Iterator[str]:
    """The lines of the report. `rounds` does not count here: each list is asked for twenty times."""
    with databases.fresh() as url:
        began_s = time.monotonic()
        lists = Lists(url, options.sized(EVENTS, 1_000))
        try:
            counts = counted(lists.database)
            rows = ", ".join(f"{counts[f'hookline_{table}']:,} {table}" for table in LARGE)
            yield f"lists of the dashboard, {databases.described} ({rows}; made in {time.monotonic() - began_s:.0f} s)"
            calls = 3 if options.is_small else CALLS
            columns = ["median", "p95", "CPU", *(["server"] if databases.kind == "postgres" else [])]
            yield (
                f"  {'first page':<34}"
                + "".join(f" {one:>9}" for one in columns)
                + f"   statements; {calls} calls each"
            )
            found: dict[str, list[str]] = {}
            slow: list[str] = []
            dear: list[str] = []
            for name in lists.lists:
                asked = lists.statements(name)
                server_s, own_s = databases.server_s(), time.process_time()
                took_s = [lists.ask(name) for _ in range(calls)]
                costs_ms = [(time.process_time() - own_s) / calls * 1000]
                if server_s is not None:
                    costs_ms.append(((databases.server_s() or 0.0) - server_s) / calls * 1000)
                with lists.database.read() as connection:
                    planner = Planner(connection, lists.database.dialect)
                    told = [planner.explain(one) for one in asked]
                whole = sorted({table for plan in told for table in plan.whole if counts[table] > FEW})
                found[name] = [" > ".join(plan.steps) for plan in told]
                figures = [statistics.median(took_s) * 1000, percentile(took_s, 95) * 1000, *costs_ms]
                slow += [name] if figures[0] >= GOAL_MS else []
                dear += [name] if sum(costs_ms) >= GOAL_MS else []
                line = f"  {name:<34}" + "".join(f" {figure:>6.1f} ms" for figure in figures) + f"   {len(asked)}"
                yield line + (f"; reads whole: {', '.join(whole)}" if whole else "")
            for word, above in (("the clock", slow), ("CPU", dear)):
                told_above = f", not: {'; '.join(above)}" if above else ""
                yield f"  {len(found) - len(above)} of {len(found)} under {GOAL_MS:g} ms by {word}{told_above}"
            yield "  plans"
            seen: dict[str, str] = {}
            for name, steps in found.items():
                for one in steps:
                    seen.setdefault(one, name)
            for one, name in seen.items():
                yield f"    {name}: {one}"
        finally:
            lists.close()

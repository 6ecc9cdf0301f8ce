"""The measured side of deliveries.py, pinned to core 0: the sender's own loop, or a bare client loop.

Run as a process of its own with a JSON object of `Setting`'s fields. Prints a line when it begins, and at its end one
JSON object.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import json
import random
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import uvloop

from bench.accepts import SECRET, body
from bench.backlog import EVENT_TYPE, add_endpoints
from bench.measure import BenchError, pin
from bench.raw import address_of, drive_all, lift_limit, name_of
from hookline.loop import SystemClock
from hookline.rules.address import vet_ip, vet_url
from hookline.sender.counters import Counters
from hookline.sender.deliver import Deliverer
from hookline.sender.drafts import draft_batch
from hookline.sender.event_writer import Publication
from hookline.sender.http import tls_context
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.sender.ids import IdMaker
from hookline.sender.publish import Publisher
from hookline.sender.store import SenderStore
from hookline.storage import Database, connect

# Of one host, as a provider has customers behind one platform's address.
ENDPOINTS = 10
CONNECTIONS = 100
STALL_S = 30.0


Mode: TypeAlias = Literal["hookline", "bare"]


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured: `count` deliveries, to `hosts` of the sink at `port`; over TLS where its authority is named."""

    mode: Mode
    port: int
    count: int
    hosts: int = 1
    ca_file: str | None = None
    database_url: str = ""

    @property
    def endpoints(self) -> int:
        return ENDPOINTS if self.hosts == 1 else self.hosts

    def url(self, number: int) -> str:
        host = number % self.hosts
        if self.ca_file is None:
            return f"http://{address_of(host)}:{self.port}/{number}"
        return f"https://{name_of(host)}:{self.port}/{number}"


def prepare(database: Database, setting: Setting) -> SenderStore:
    """Endpoints on the sink and as many due deliveries, published as an app would."""
    store, clock, ids = add_endpoints(database, setting.endpoints, setting.url), SystemClock(), IdMaker()
    publisher = Publisher(database, store, clock=clock, ids=ids)
    data = json.loads(body(1))["data"]
    event = {"event": EVENT_TYPE, "data": data}
    at_once = max(1, 5_000 // setting.endpoints)
    for left in range(setting.count // setting.endpoints, 0, -at_once):
        publisher.publish_inline(Publication("production", draft_batch([event] * min(left, at_once))))
    publisher.close()
    return store


def refuse(address: str) -> str | None:
    """The address rule, asked as in production but for the loopback, where the sink is."""
    verdict = vet_ip(address, allow_private=True)
    return None if verdict.allowed else verdict.message


def refuse_url(environment: str, url: str) -> str | None:
    """Likewise the rule for URLs, which is asked once of each endpoint."""
    verdict = vet_url(url, environment=environment, allow_private=True)
    return None if verdict.target is not None else verdict.message


async def lookup(host: str) -> Sequence[str]:
    """Where the sink's names lead."""
    return [address_of(int(host.partition(".")[0][1:]))]


async def deliver(database: Database, store: SenderStore, setting: Setting) -> int:
    """Deliver everything that waits; how many were recorded as succeeded."""
    exchange = HttptoolsExchange(refuse=refuse, tls=tls_context(setting.ca_file), lookup=lookup)
    counters = Counters()
    deliverer = Deliverer(
        database,
        store,
        exchange,
        clock=SystemClock(),
        decrypt=lambda secret: secret,
        jitter=lambda: random.uniform(-1, 1),
        ids=IdMaker(),
        refuse_url=refuse_url,
        counters=counters,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(deliverer.run(stop))
    try:
        await all_succeed(counters, setting.count, running)
    finally:
        stop.set()
        await running
        await exchange.close()
    return _succeeded(database)


async def all_succeed(counters: Counters, count: int, running: asyncio.Task[None]) -> None:
    """Wait until so many deliveries have succeeded.

    Counted once committed; to ask the database instead would be work of the process that is measured.

    Raises:
        BenchError: one did not, or none has for a while, or the loop has ended.
    """
    succeeded, since_s = 0, time.monotonic()
    while succeeded < count:
        await asyncio.sleep(0.005)
        before, succeeded = succeeded, counters.deliveries["production", "succeeded", "2xx"]
        if succeeded > before:
            since_s = time.monotonic()
        others = {key: number for key, number in counters.deliveries.items() if key[1] != "succeeded"}
        if others or running.done() or time.monotonic() > since_s + STALL_S:
            what = "the loop ended" if running.done() else f"in {STALL_S:g} s no more" if not others else f"{others}"
            raise BenchError(f"expected {count:,} deliveries that succeed, got {succeeded:,}, then {what}")


def _succeeded(database: Database) -> int:
    with database.read() as connection:
        cursor = connection.cursor()
        cursor.execute("select count(*) from hookline_sender_deliveries where state = 'succeeded'")
        return int(cursor.fetchall()[0][0])


async def bare(setting: Setting) -> int:
    """Sign and post as many times over kept connections, keeping no record."""
    payload = body(1)
    key, left, done = SECRET.encode(), setting.count, 0

    def next_request() -> bytes | None:
        nonlocal left
        if not left:
            return None
        left -= 1
        t = str(time.time_ns() // 1_000_000)
        digest = hmac.digest(key, t.encode() + b"." + payload, hashlib.sha256).hex()
        return (
            f"POST /0 HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(payload)}\r\nWorkOS-Signature: t={t}, v1={digest}\r\n\r\n"
        ).encode() + payload

    def on_answer(status: int, _latency_s: float) -> None:
        nonlocal done
        done += status == 200

    connections = CONNECTIONS if setting.hosts == 1 else setting.hosts
    try:
        async with asyncio.timeout(STALL_S + setting.count / 200):
            await drive_all(
                [(address_of(number % setting.hosts), setting.port) for number in range(connections)],
                next_request=next_request,
                on_answer=on_answer,
                tls=None if setting.ca_file is None else tls_context(setting.ca_file),
            )
    except TimeoutError:
        raise BenchError(f"expected {setting.count:,} answers of the sink, got {done:,}") from None
    return done


def main(setting: Setting) -> None:
    pin(0)
    lift_limit()
    if setting.mode == "hookline":
        database = connect(setting.database_url)
        work = functools.partial(deliver, database, prepare(database, setting), setting)
    else:
        work = functools.partial(bare, setting)
    print("begins", flush=True)
    before, started_s = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    done = uvloop.run(work())
    elapsed_s, after = time.perf_counter() - started_s, resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if setting.mode == "hookline":
        with database.read() as connection:
            cursor = connection.cursor()
            cursor.execute("select count(*) from hookline_sender_attempts")
            recorded = cursor.fetchall()[0][0]
        if recorded != done:
            raise BenchError(f"{done} delivered, {recorded} attempts recorded")
        database.close()
    print(json.dumps({"count": done, "elapsed_s": elapsed_s, "cpu_s": cpu_s}), flush=True)


if __name__ == "__main__":
    main(Setting(**json.loads(sys.argv[1])))

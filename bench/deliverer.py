"""The measured side of deliveries.py, pinned to core 0: the sender's own loop, or a bare client loop.

Run as a process of its own: mode (`hookline` or `bare`), port of the sink, count, folder. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import resource
import sys
import time
from pathlib import Path

import uvloop

from bench.accepts import SECRET, body
from bench.raw import drive, pin
from hookline.loop import SystemClock
from hookline.rules.address import vet_ip
from hookline.sender.deliver import Deliverer
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.sender.ids import IdMaker
from hookline.sender.publish import Publication, Publisher, draft_batch
from hookline.sender.store import SenderStore
from hookline.storage import Database, connect
from hookline.storage.migrate import migrate

ENDPOINTS = 10
CONNECTIONS = 100


def prepare(database: Database, port: int, count: int) -> SenderStore:
    """Endpoints on the sink and as many due deliveries, published as an app would."""
    migrate(database, "sender", "hookline.sender")
    store, clock, ids = SenderStore(database.dialect), SystemClock(), IdMaker()
    with database.transaction() as connection:
        for number in range(ENDPOINTS):
            store.add_endpoint(
                connection,
                endpoint_id=ids.make("we", clock.now_ms()),
                environment="production",
                url=f"http://127.0.0.1:{port}/{number}",
                events=["dsync.user.updated"],
                description=None,
                secret_enc=SECRET,
                now_ms=clock.now_ms(),
            )
    publisher = Publisher(database, store, clock=clock, ids=ids)
    data = json.loads(body(1))["data"]
    event = {"event": "dsync.user.updated", "data": data}
    for left in range(count // ENDPOINTS, 0, -500):
        publisher.publish_inline(Publication("production", draft_batch([event] * min(left, 500))))
    publisher.close()
    return store


def refuse(address: str) -> str | None:
    """The address rule, asked as in production but for the loopback, where the sink is."""
    verdict = vet_ip(address, allow_private=True)
    return None if verdict.allowed else verdict.message


async def deliver(database: Database, store: SenderStore, count: int) -> int:
    """Deliver everything that waits; how many were recorded as succeeded."""
    exchange = HttptoolsExchange(refuse=refuse)
    deliverer = Deliverer(
        database,
        store,
        exchange,
        clock=SystemClock(),
        decrypt=lambda secret: secret,
        jitter=lambda: random.uniform(-1, 1),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(deliverer.run(stop))
    done = 0
    while done < count:
        await asyncio.sleep(0.02)
        with database.read() as connection:
            done = connection.execute(
                "select count(*) from hookline_sender_deliveries where state = 'succeeded'"
            ).fetchone()[0]
    stop.set()
    await running
    await exchange.close()
    return done


async def bare(port: int, count: int) -> int:
    """Sign and post as many times over kept connections, keeping no record."""
    payload = body(1)
    key, left, done = SECRET.encode(), count, 0

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

    await drive("127.0.0.1", port, connections=CONNECTIONS, next_request=next_request, on_answer=on_answer)
    return done


def main(mode: str, port: int, count: int, folder: str) -> None:
    pin(0)
    work = None
    if mode == "hookline":
        database = connect(f"sqlite:///{Path(folder) / 'sender.db'}")
        store = prepare(database, port, count)
        work = deliver(database, store, count)
    else:
        work = bare(port, count)
    before, started_s = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    done = uvloop.run(work)
    elapsed_s, after = time.perf_counter() - started_s, resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if mode == "hookline":
        with database.read() as connection:
            recorded = connection.execute("select count(*) from hookline_sender_attempts").fetchone()[0]
        if recorded != done:
            raise RuntimeError(f"{done} delivered, {recorded} attempts recorded")
        database.close()
    print(json.dumps({"count": done, "elapsed_s": elapsed_s, "cpu_s": cpu_s}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])

"""The conformance check against receivers of ours, which pass, and how it is bounded; faults: see the consumers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from hookline.receiver.app import Receiver
from hookline.receiver.mirror_queries import MirrorQueries
from hookline.sender import conformance_requests
from hookline.sender.api_parts import CallContext
from hookline.sender.conformance import CHECKS, check_endpoint
from hookline.sender.conformance_http import AT_ONCE
from hookline.sender.conformance_model import Conformance
from hookline.sender.http import Answer, CoroutineExchange, Request, no_answer
from hookline.sender.targets import TargetCheck
from hookline.storage import Verbs, connect
from hookline.testing.clock import TurnedClock
from hookline.testing.line import Line
from hookline.wire.standard import secret_form

from .conftest import served
from .consumers import NOW_MS, SECRET, Consumer, Consumers, Drained, Timeless, VerifiesNothing


@pytest.fixture(scope="module")
def consumers() -> Iterator[Callable[..., tuple[str, Consumer]]]:
    app = Consumers()
    with served(app) as base_url:

        def made(kind: type[Consumer] = Consumer) -> tuple[str, Consumer]:
            name = str(len(app.by_name))
            app.by_name[name] = kind()
            return f"{base_url}/{name}", app.by_name[name]

        yield made


def checked(url: str, exchange: Any = None, *, refuse: Any = lambda _: None, **settings: Any) -> Conformance:
    async def run() -> Conformance:
        used = exchange or Timeless(refuse=refuse)
        try:
            return await check_endpoint(url, SECRET, used, clock=TurnedClock(NOW_MS), **settings)
        finally:
            await used.close()

    done = asyncio.run(run())
    assert [line.name for line in done.lines] == list(NAMES)
    assert SECRET not in json.dumps(asdict(done))
    return done


def verdicts(done: Conformance) -> dict[str, str]:
    return {line.name: line.verdict for line in done.lines}


NAMES = tuple(one.name for one in CHECKS)
PASSED = dict.fromkeys(NAMES, "passed")
FORGED = ("wrong_secret", "missing_signature", "old_timestamp", "future_timestamp", "tampered_body")


# -- a receiver of ours -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["workos", "standard_webhooks"])
def test_a_receiver_of_ours_passes(tmp_path: Path, scheme: Any) -> None:
    """Every line, the observed ones too; and nothing of it is left alive in its mirror."""
    secret = SECRET if scheme == "workos" else secret_form(SECRET)
    url = f"sqlite:///{tmp_path / 'receiver.db'}"
    with Receiver(url, secrets=[secret], scheme=scheme, clock=TurnedClock(NOW_MS)) as receiver:
        receiver.open()
        done = checked(
            "https://receiver.example/webhooks",
            Line(receiver.receive),
            also_standard=scheme == "standard_webhooks",
            observer=Drained(receiver),
        )
        receiver.drain()

    assert verdicts(done) == PASSED
    assert not done.has_failed
    came = {line.name: line.came for line in done.lines}
    assert came["duplicate"].endswith("taken in once")
    assert came["out_of_order"].endswith("the membership is there")
    assert came["stale"].endswith("the newer state was kept")
    with contextlib.closing(connect(url)) as database, database.read() as connection:
        verbs = MirrorQueries(Verbs("hookline.receiver", database.dialect), "default")
        live = {resource: len(verbs.rows(connection, resource)) for resource in ("directory_user", "directory_group")}
    assert live == {"directory_user": 0, "directory_group": 0}


class Lying(Drained):
    """Of a receiver that takes every event in twice, and keeps the older state."""

    async def times_kept(self, event_id: str) -> int | None:
        kept = await super().times_kept(event_id)
        return None if kept is None else 2

    async def row(self, resource: str, object_id: str) -> Mapping[str, Any] | None:
        row = await super().row(resource, object_id)
        return None if row is None or resource == "directory_membership" else {**row, "last_name": "Older"}


def test_what_is_seen_from_within_counts(tmp_path: Path) -> None:
    """2xx is not enough where it can be seen that the event was taken in twice, lost, or put over a newer one."""
    with Receiver(f"sqlite:///{tmp_path / 'r.db'}", secrets=[SECRET], clock=TurnedClock(NOW_MS)) as receiver:
        receiver.open()
        done = checked("https://receiver.example/webhooks", Line(receiver.receive), observer=Lying(receiver))

    assert verdicts(done) == PASSED | {"duplicate": "failed", "out_of_order": "failed", "stale": "failed"}


# -- consumers over HTTP ----------------------------------------------------------------------------------------------


def test_requests_are_signed_and_marked(consumers: Callable[..., tuple[str, Consumer]]) -> None:
    """As every delivery is; the endpoint's own headers with them, masked where they are sensitive."""
    url, _ = consumers()

    done = checked(url, headers=(("X-Tenant", "acme"), ("X-Own-Key", "hidden")), sensitive=frozenset({"x-own-key"}))

    [sent] = done.lines[0].requests
    headers = dict(sent.headers)
    assert headers["Hookline-Origin"] == "test"
    assert headers["X-Tenant"] == "acme"
    assert headers["X-Own-Key"] == "…"
    assert headers["WorkOS-Signature"].endswith("…")
    assert len(headers["WorkOS-Signature"]) < 40
    assert (sent.status, sent.is_accepted) == (200, True)
    alone, *burst = done.lines[-1].requests
    assert (alone.what, len(burst)) == ("dsync.user.created, alone", AT_ONCE)


def test_nobody_there() -> None:
    """What kept it from being reached is said, and what to do."""
    done = checked("http://127.0.0.1:9/")

    assert verdicts(done)["valid"] == "failed"
    assert "refused" in done.lines[0].came
    assert "runs and the port is right" in str(done.lines[0].advice)


def test_an_address_that_may_not_be_called() -> None:
    """Nothing is sent, by the caller's rule for URLs or by the exchange's for addresses."""
    sent: list[Any] = []

    def receive(*request: Any) -> tuple[int, list[tuple[str, str]], bytes]:
        sent.append(request)
        return 200, [], b""

    done = checked("https://10.0.0.1/", Line(receive), refuse_url=lambda url: f"{url} is private")

    assert verdicts(done)["valid"] == "failed"
    assert "is private" in done.lines[0].came
    assert sent == []
    blocked = checked("http://127.0.0.1:9/", refuse=lambda address: f"{address} is loopback")
    assert "loopback" in blocked.lines[0].came


def test_all_together_is_bounded(consumers: Callable[..., tuple[str, Consumer]]) -> None:
    """What is not begun in time is unknown, and not sent; and each line is told as soon as it is there."""
    url, consumer = consumers()
    told: list[str] = []

    done = checked(url, most_s=0, told=lambda line: told.append(line.name))

    assert verdicts(done) == dict.fromkeys(NAMES, "unknown")
    assert told == list(NAMES)
    assert consumer.taken == []


def test_an_answer_for_which_no_time_was_left_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of the request that was under way then nor of those that were not begun."""
    monkeypatch.setattr(conformance_requests, "TAKE_AWAY_S", 0.05)

    class Silent(CoroutineExchange):
        async def send(self, request: Request) -> Answer:
            await asyncio.sleep(request.total_timeout_s)
            return no_answer("timeout", "no complete answer headers")

        async def close(self) -> None:
            """Nothing is held open."""

    done = checked("https://endpoint.example/hooks", Silent(), most_s=0.05, timeout_s=15)

    assert verdicts(done) == dict.fromkeys(NAMES, "unknown")
    assert done.lines[0].came == "given up: all checks together took 0.05 s"
    assert done.left_behind == 1  # it may have been taken, and its deletion had no answer either


def test_a_registered_endpoint(context: CallContext, consumers: Callable[..., tuple[str, Consumer]]) -> None:
    """By its id, with its own secret; that it was done is in the audit trail, and no delivery of it anywhere."""
    context.registry._check_url = TargetCheck(allow_private=True)
    url, _ = consumers(VerifiesNothing)
    endpoint = context.registry.create("production", url=url, events=["dsync.*"])
    assert context.trials is not None

    done = asyncio.run(context.trials.check("production", endpoint.id, actor="user:ada"))

    expected = PASSED | dict.fromkeys(FORGED, "failed") | {"stale": "unknown"}
    assert verdicts(done) | {"slow_ack": "passed", "burst": "passed"} == expected  # of a busy machine nothing is said
    with context.database.read() as connection:
        cursor = connection.execute("select actor, detail from hookline_sender_audit where action = 'endpoint.checked'")
        [(actor, detail)] = cursor.fetchall()
        deliveries = connection.execute("select count(*) from hookline_sender_deliveries").fetchall()
    assert (actor, json.loads(detail)) == ("user:ada", verdicts(done))
    assert deliveries == [(0,)]

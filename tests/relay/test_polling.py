"""Events of a source's own API delivered on this machine, against the fake source."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from hookline.errors import RequestError, SourceError
from hookline.loop import SystemClock
from hookline.receiver.source_http import HttpSource
from hookline.relay import following, polling
from hookline.relay.following import Missed, Plan
from hookline.relay.forward import Forwarder
from hookline.relay.frames import Start
from hookline.relay.listening import Listening, Until
from hookline.relay.pipeline import Pipeline, Signing
from hookline.relay.polling import Polling, types_of
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.testing import FakeWorkOS, Sink
from hookline.wire.signature import HEADER, verify_signature

from .test_listening import Seen, run

SECRET = "whsec_of_this_machine"


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeWorkOS]:
    with FakeWorkOS(tmp_path_factory.mktemp("fake"), delivers=False) as made:
        yield made


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "POLL_MS", 5)
    monkeypatch.setattr(polling, "BACKOFF_FIRST_MS", 1)


def poll(
    fake: FakeWorkOS,
    url: str,
    *,
    count: int | None,
    after: str | None = None,
    missed: Missed = "all",
    kept: list[str] | None = None,
    events: tuple[str, ...] = ("user.*",),
    key: str | None = None,
    publish: int = 0,
    idle_ms: int | None = None,
) -> Seen:
    """Poll until so many were answered; `publish` so many once it has begun."""
    seen = Seen(chooses=missed)

    async def test() -> None:
        clock, exchange = SystemClock(), HttptoolsExchange(refuse=lambda _: None)
        api = HttpSource("https://fake.test", key or fake.api_key, clock=clock, exchange=fake.exchange)
        feed = Polling(
            api, Plan(Start("ada", events), "ask"), source="fake", secret=SECRET, after=after,
            keep=([] if kept is None else kept).append, watcher=seen, clock=clock,
        )  # fmt: skip
        pipeline = Pipeline(
            Forwarder(url, exchange), Signing(SECRET), watcher=seen, answered=feed.answered, clock=clock
        )
        task = asyncio.create_task(Listening(feed, pipeline, clock=clock, until=Until(count, idle_ms)).run())
        if publish:
            await seen.until(lambda: bool(seen.begins))
            for number in range(publish):
                await asyncio.to_thread(fake.publish, "user.created", {"object": "user", "id": f"user_{number}"})
        try:
            await task
        finally:
            await exchange.close()

    run(test())
    return seen


def test_events_come_as_webhooks_and_the_place_moves_with_the_answers(fake: FakeWorkOS) -> None:
    """Who is new begins at now. The bytes are those of the feed, signed with this machine's secret."""
    fake.publish("user.created", {"object": "user", "id": "user_before"})
    kept: list[str] = []
    with Sink() as app:
        seen = poll(fake, app.url("/hooks"), count=3, publish=3, kept=kept)
        assert [(b'"user_%d"' % number) in app.seen[number].body for number in range(3)] == [True] * 3
        for request in app.seen:
            assert request.header("Content-Type") == "application/json"
            sent_ms = seen.items[1].sent_ms or 0
            verify_signature(request.body, request.header(HEADER), [SECRET], now_ms=sent_ms)
    assert seen.ways == ["poll"]
    assert kept == [seen.items[number].delivery.event_id for number in (1, 2, 3)]


@pytest.mark.parametrize(("missed", "came"), [("all", [b"a", b"b", b"a"]), ("latest", [b"b", b"a"]), ("none", [])])
def test_what_was_missed_is_offered(fake: FakeWorkOS, missed: Missed, came: list[bytes]) -> None:
    after = fake.publish("user.created", {"object": "user", "id": "user_last"})
    ids = [fake.publish("user.updated", {"object": "user", "id": f"user_{one}"}) for one in "aba"]
    fake.publish("organization.created", {"object": "organization", "id": "org_1"})
    kept: list[str] = []
    with Sink() as app:
        seen = poll(fake, app.url(), count=None, idle_ms=30, after=after, missed=missed, kept=kept)
        assert [request.body.partition(b'"id":"user_')[2][:1] for request in app.seen] == came
    [(hello, chosen)] = seen.begins
    assert (hello.missed, chosen) == (3, missed)
    assert hello.missed_since_ms is not None
    assert kept[-1] == ids[-1]


def test_an_outage_passes_and_a_wrong_key_does_not(fake: FakeWorkOS) -> None:
    with Sink() as app:
        fake.faults.expect("status/503", path="/events", times=2)
        seen = poll(fake, app.url(), count=1, publish=1)
        assert len(seen.losses) == 2
        with pytest.raises(RequestError) as caught:
            poll(fake, app.url(), count=1, key="sk_live_of_somebody_else")
        assert caught.value.status == 401
        fake.faults.expect("status/503", path="/events", times=following.FIRST_TRIES)
        with pytest.raises(SourceError):
            poll(fake, app.url(), count=1)


def test_a_place_that_the_source_does_not_know_is_left_for_now(fake: FakeWorkOS) -> None:
    with Sink() as app:
        seen = poll(fake, app.url(), count=1, after="event_01HF000000000000000000000A", publish=1)
        assert len(app.seen) == 1
    assert "does not know the event" in seen.losses[0]


def test_patterns_are_asked_for_by_name() -> None:
    found = types_of(("dsync.user.*", "custom.one"))
    assert found == ["custom.one", "dsync.user.created", "dsync.user.deleted", "dsync.user.updated"]
    assert len(types_of(("*",))) > 100

"""The server end of a relay: both transports tell the same, on both databases."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from workos import WorkOSClient

from hookline.errors import RequestError, StorageUnavailable
from hookline.relay import hub, server
from hookline.relay.frames import WINDOW, Answer, Beat, Begin, Bye, Delivery, Hello, Start
from hookline.relay.server import Relay
from hookline.sender.app import SenderApp

from .conftest import Source
from .lines import LIVE_KEY, TEST_KEY, Refused, SocketLine, StreamLine, answered, deliveries, silent, until

Make: TypeAlias = Callable[..., SocketLine | StreamLine]

ODD_BODIES = (
    b'{ "event" :"a.b",\t"data": {"z":1, "a" : 2,"z":3}\r\n}  ',
    b'{"event":"a.b","data":{"name":"\\u00e9\\u2028\\ud83d\\ude00","plain":"\xc3\xa9"}}',
    b'{"event":"a.b","data":{"n":1.0,"big":12345678901234567890,"e":1E+2}}',
    b'{"event":"a.b","data":{"much":"' + b"x" * 1_000_000 + b'"}}',
)


def told(line: Make, name: str, *, events: tuple[str, ...] = ("*",)) -> Any:
    """A listener that has begun at the feed's end."""

    async def begun() -> tuple[Any, Hello]:
        made = line()
        hello = await made.start(Start(name, events))
        await made.begin(hello.head)
        return made, hello

    return begun()


def test_bodies_arrive_as_they_are_and_signed(source: Source, line: Make, name: str) -> None:
    """Odd white space, escapes, key order, a megabyte: the hash is the same, and the official SDK verifies."""

    async def story() -> list[Delivery]:
        made, hello = await told(line, name)
        ids = source.put(*ODD_BODIES)
        found = await deliveries(made, len(ids))
        assert [one.event_id for one in found] == ids
        assert hello.secret.startswith("whsec_")
        sdk = WorkOSClient(api_key="sk_test_x", client_id="client_x")
        for one in found:
            [signature] = [value for key, value in one.headers if key == "WorkOS-Signature"]
            checked = sdk.webhooks.verify_event(
                event_body=one.body, event_signature=signature, secret=hello.secret, tolerance=10**9
            )
            assert checked is not None
        await made.leave()
        return found

    source.clock.set(time.time_ns() // 1_000_000)
    found = asyncio.run(story())
    assert [hashlib.sha256(one.body).hexdigest() for one in found] == [
        hashlib.sha256(body).hexdigest() for body in ODD_BODIES
    ]


def test_no_more_than_a_window_is_unanswered(source: Source, line: Make, name: str) -> None:
    async def story() -> None:
        made, hello = await told(line, name)
        source.put(*[b"{}"] * (WINDOW + 6))
        found = await deliveries(made, WINDOW)
        assert await silent(made)
        assert hello.window == WINDOW
        source.clock.advance(15_000)
        beat = await made.next()
        assert beat == Beat(found[-1].cursor, source.clock.now_ms(), is_behind=True)
        # Any of them makes room, not only the first.
        await made.answer(answered(found[5]), answered(found[9], 500))
        more = await deliveries(made, 2)
        assert await silent(made)
        await made.answer(*[answered(one) for one in (*found, *more)])
        await deliveries(made, 4)
        await made.leave()

    asyncio.run(story())


def test_what_was_not_answered_comes_again(source: Source, line: Make, name: str) -> None:
    """The place moves over the answers that have no gap before them, and never back."""

    async def story() -> None:
        made, _ = await told(line, name)
        ids = source.put(*[b"{}"] * 5)
        found = await deliveries(made, 5)
        await made.answer(answered(found[0]), answered(found[1], 500), answered(found[3]))
        await made.leave()

        again = line()
        hello = await again.start(Start(name))
        assert (hello.cursor, hello.missed) == (found[1].cursor, 3)
        await again.begin(hello.cursor or "")
        found = await deliveries(again, 3)
        assert [one.event_id for one in found] == ids[2:]
        assert [one.is_missed for one in found] == [True] * 3
        source.put(b"{}")
        [fresh] = await deliveries(again, 1)
        assert not fresh.is_missed
        await again.answer(*[answered(one) for one in (*found, fresh)])
        await again.leave()

        # From an old place on purpose: what was answered stays so.
        third = line()
        assert (await third.start(Start(name))).cursor == fresh.cursor
        await third.begin(found[0].cursor)
        await deliveries(third, 3)
        await third.leave()
        last = line()
        hello = await last.start(Start(name))
        assert (hello.cursor, hello.missed) == (fresh.cursor, 0)
        await last.begin(hello.head)
        await last.leave()

    asyncio.run(story())
    listener = source.sender.listeners.get("production", name)
    assert (listener.answered, listener.succeeded) == (7, 6)


def test_the_place_of_a_time_is_told_to_whoever_asks(source: Source, line: Make, name: str) -> None:
    """What was published then or later comes after it; what retention has taken does not."""

    async def story() -> None:
        source.put(b"{}")
        source.clock.advance(60_000)
        since_ms = source.clock.now_ms()
        ids = source.put(*[b"{}"] * 3)
        made = line()
        hello = await made.start(Start(name, since_ms=since_ms))
        await made.begin(hello.since or "")
        assert [one.event_id for one in await deliveries(made, 3)] == ids
        await made.leave()

        source.prune(ids[:1])
        again = line()
        hello = await again.start(Start(name, since_ms=since_ms))
        await again.begin(hello.since or "")
        assert [one.event_id for one in await deliveries(again, 2)] == ids[1:]
        await again.leave()

        last = line()
        source.clock.advance(1)
        hello = await last.start(Start(name, since_ms=source.clock.now_ms()))
        assert hello.since == hello.head
        assert (await line().start(Start(name))).since is None

    asyncio.run(story())


def test_what_was_published_since_a_time_comes_also_before_what_was_published_earlier(
    source: Source, line: Make, name: str
) -> None:
    """A transaction of an app's that takes long has its events in the feed later than it published them."""
    began_ms = source.clock.now_ms()

    async def story() -> None:
        source.put(b"{}")
        source.clock.set(began_ms + 60_000)
        later = source.put(b"{}")
        source.clock.set(began_ms)
        earlier = source.put(b"{}")
        source.clock.set(began_ms + 60_000)
        made = line()
        hello = await made.start(Start(name, since_ms=began_ms + 30_000))
        await made.begin(hello.since or "")
        assert [one.event_id for one in await deliveries(made, 2)] == later + earlier
        await made.leave()

    asyncio.run(story())


def test_a_process_that_dies_loses_nothing(source: Source, line: Make, name: str) -> None:
    """Without a word noted at its end: what was answered before a commit of answers is kept, all else comes again."""

    async def story() -> None:
        made, hello = await told(line, name)
        source.put(b"{}")
        [first] = await deliveries(made, 1)
        await made.answer(answered(first))
        await until(lambda: source.sender.listeners.get("production", name).place == int(first.cursor))
        ids = source.put(*[b"{}"] * 3)
        await deliveries(made, 3)
        made.call.task.cancel()

        other = line(Relay(source.sender))
        hello = await other.start(Start(name))
        assert (hello.cursor, hello.missed) == (first.cursor, 3)
        await other.begin(hello.cursor or "")
        assert [one.event_id for one in await deliveries(other, 3)] == ids
        await other.leave()

    asyncio.run(story())


def test_who_is_new_and_dies_at_once_is_not_new_again(source: Source, line: Make, name: str) -> None:
    async def story() -> None:
        made, first = await told(line, name)
        assert first.cursor is None
        await until(lambda: source.sender.listeners.get("production", name).place is not None)
        made.call.task.cancel()
        source.put(b"{}")
        other = line(Relay(source.sender))
        hello = await other.start(Start(name))
        assert (hello.cursor, hello.missed, hello.secret) == (first.head, 1, first.secret)
        await other.begin(hello.cursor or "")
        await deliveries(other, 1)
        await other.leave()

    asyncio.run(story())


def test_only_what_is_asked_for_is_sent_and_counted(source: Source, line: Make, name: str) -> None:
    """Patterns are an endpoint's, the environment is the key's; `*` is not for what the sender tells of itself."""

    async def story() -> None:
        made, _ = await told(line, name, events=("dsync.*", "user.created"))
        await made.leave()
        source.put(b"{}", event_type="dsync.user.created")
        since_ms = source.clock.now_ms()
        source.clock.advance(60_000)
        source.put(b"{}", event_type="dsync.user.created", environment="staging")
        source.put(b"{}", event_type="user.created")
        source.put(b"{}", event_type="dsyncs.user")
        source.put(b"{}", event_type="user.created.x")
        source.put(b"{}", event_type="endpoint.failing")

        again = line()
        hello = await again.start(Start(name, ("dsync.*", "user.created")))
        assert (hello.missed, hello.missed_since_ms, hello.gone) == (2, since_ms, 0)
        await again.begin(hello.cursor or "")
        assert [one.event_type for one in await deliveries(again, 2)] == ["dsync.user.created", "user.created"]
        assert await silent(again)
        await again.leave()

        everything = line()
        assert (await everything.start(Start(name))).missed == 4
        await everything.begin(hello.cursor or "")
        await everything.leave()

        other = line(key=TEST_KEY)
        hello = await other.start(Start(name))
        assert (hello.environment, hello.cursor) == ("staging", None)
        await other.begin(hello.head)
        await other.leave()

    asyncio.run(story())


def test_counting_what_was_missed_has_an_end(source: Source, line: Make, name: str) -> None:
    async def story() -> None:
        made, _ = await told(line, name)
        await made.leave()
        ids = source.put(*[b"{}"] * 1_003)
        again = line()
        hello = await again.start(Start(name))
        assert (hello.missed, hello.missed_most) == (1_000, 1_000)
        source.prune(ids[:1_002])
        third = line()
        hello = await third.start(Start(name))
        assert (hello.missed, hello.gone) == (1, 1_000)
        # It was told: what is left comes.
        await third.begin(hello.cursor or "")
        assert [one.event_id for one in await deliveries(third, 1)] == ids[-1:]
        await third.leave()

    asyncio.run(story())


def test_a_place_past_retention_is_refused(source: Source, line: Make, name: str) -> None:
    """Who begins where it was not told to would hear nothing of the gap."""

    async def story() -> None:
        made, first = await told(line, name)
        gone = source.put(*[b"{}"] * 2)
        found = await deliveries(made, 2)
        await made.answer(*[answered(one) for one in found])
        await made.leave()
        source.prune(gone)
        again = line()
        await again.start(Start(name))
        await again.begin(first.head)
        bye = await again.next()
        assert isinstance(bye, Bye)
        assert (bye.reason, bye.retry_ms) == ("expired_cursor", 0)
        assert await again.next() is None

        third = line()
        hello = await third.start(Start(name))
        assert hello.gone == 0
        await third.begin(str(int(hello.head) + 1))
        bye = await third.next()
        assert isinstance(bye, Bye)
        assert bye.reason == "expired_cursor"
        assert "no place of this feed" in bye.message
        assert await third.next() is None

    asyncio.run(story())


@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["same process", "another"])
def test_the_later_session_takes_the_place(source: Source, line: Make, name: str, is_elsewhere: bool) -> None:
    async def story() -> None:
        made, first = await told(line, name)
        source.put(b"{}")
        [one] = await deliveries(made, 1)
        await made.answer(answered(one))
        if is_elsewhere:
            await until(lambda: source.sender.listeners.get("production", name).answered == 1)
        other = line(Relay(source.other)) if is_elsewhere else line()
        second = await other.start(Start(name))
        bye = await made.next()
        assert isinstance(bye, Bye)
        assert (bye.reason, bye.retry_ms) == ("elsewhere", None)
        assert await made.next() is None
        assert (second.secret, second.cursor, second.missed) == (first.secret, one.cursor, 0)
        await other.begin(second.head)
        source.put(b"{}")
        await deliveries(other, 1)
        await other.leave()

    asyncio.run(story())
    assert not source.sender.listeners.is_connected(source.sender.listeners.get("production", name))


def test_whom_people_remove_or_change_is_told(source: Source, line: Make, name: str) -> None:
    listeners = source.sender.listeners

    async def story() -> None:
        made, first = await told(line, name)
        assert listeners.is_connected(listeners.get("production", name))
        listeners.rotate("production", name)
        bye = await made.next()
        assert isinstance(bye, Bye)
        assert (bye.reason, bye.retry_ms) == ("changed", 0)
        assert await made.next() is None

        made, second = await told(line, name)
        assert second.secret != first.secret
        listeners.remove("production", name)
        bye = await made.next()
        assert isinstance(bye, Bye)
        assert (bye.reason, bye.retry_ms) == ("revoked", None)
        assert await made.next() is None

        made, third = await told(line, name)
        assert (third.cursor, third.secret != second.secret) == (None, True)
        await made.leave()

    asyncio.run(story())


def test_a_revoked_key_ends_what_is_open(source: Source, line: Make, name: str) -> None:
    api_keys = source.sender.api_keys

    async def story() -> None:
        key, clear = api_keys.create("production", name=None)
        made = line(key=clear)
        hello = await made.start(Start(name))
        await made.begin(hello.head)
        api_keys.revoke("production", key.id)
        await until(lambda: source.clock.next_due_ms() is not None)
        source.clock.advance(hub.POLL_MS)
        bye = await made.next()
        assert isinstance(bye, Bye)
        assert (bye.reason, bye.retry_ms) == ("revoked", None)
        assert await made.next() is None
        with pytest.raises(Refused, match=r"^401"):
            await line(key=clear).start(Start(name))

    asyncio.run(story())


def test_a_server_that_stops_says_when_to_come_back(source: Source, line: Make, relay: Relay, name: str) -> None:
    async def story() -> None:
        made, _ = await told(line, name)
        source.put(b"{}")
        [one] = await deliveries(made, 1)
        await made.answer(answered(one))
        waiting = line()
        await waiting.start(Start(f"{name}.waiting"))
        relay.drain()
        bye = await made.next()
        assert bye == Bye("stopping", "the server is stopping", 1000)
        assert await made.next() is None
        with pytest.raises(Refused, match=r"^503") as refused:
            await line().start(Start(name))
        assert "stopping" in str(refused.value)

        other = line(Relay(source.sender))
        assert (await other.start(Start(name))).cursor == one.cursor
        await other.begin(one.cursor)
        await other.leave()

    asyncio.run(story())


def test_it_beats_while_nothing_is_said(source: Source, line: Make, name: str) -> None:
    """A beat says up to where everything that was asked for was sent, what was not asked for too."""

    async def story() -> None:
        made, _ = await told(line, name, events=("user.created",))
        source.put(b"{}")
        last = source.sender.listeners.last()
        await silent(made)
        source.clock.advance(15_000)
        beat = await made.next()
        assert beat == Beat(str(last), source.clock.now_ms())
        assert await silent(made)
        # So far it is noted, too: nothing was missed up to there.
        await until(lambda: source.sender.listeners.get("production", name).place == last)
        await made.leave()

    asyncio.run(story())


def test_who_owes_answers_for_too_long_is_parted_from(source: Source, line: Make, name: str) -> None:
    async def story() -> None:
        made, _ = await told(line, name)
        await silent(made)
        source.clock.advance(1_000_000)
        # Nothing was owed so far.
        assert isinstance(await made.next(), Beat)
        source.put(b"{}")
        await deliveries(made, 1)
        source.clock.advance(890_000)
        assert isinstance(await made.next(), Beat)
        source.clock.advance(20_000)
        said = await made.next()
        if isinstance(said, Beat):
            said = await made.next()
        assert isinstance(said, Bye)
        assert (said.reason, said.retry_ms) == ("unanswered", 0)
        assert await made.next() is None

    asyncio.run(story())


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"{}", "required field `type`"),
        (b'{"type":"begin","after":"1"}', "expected a start first, got begin"),
        (b'{"type":"start","name":"a/b"}', r"at `$.name`"),
        (b'{"type":"start","name":"a","events":["Not A Type","x y"]}', "'Not A Type' is neither a type name"),
        (b'{"type":"start","name":"a","events":[]}', "expected at least one event type"),
        (b'{"type":"start","name":"a","events":[%s]}' % b",".join([b'"a.b"'] * 501), "expected at most 500"),
        (b"\xff\xfe", "hookline-relay.v1"),
    ],
)
def test_what_is_no_start_is_refused_with_the_reason(line: Make, frame: bytes, why: str) -> None:
    async def story() -> None:
        with pytest.raises(Refused, match=r"^400") as refused:
            await line().start(frame)
        assert why in str(refused.value).replace("\\\\", "\\")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b'{"type":"answer","cursor":"x","event_id":"event_1"}', "expected a cursor that the server has sent"),
        (b'{"type":"answer","cursor":"%s","event_id":"event_1"}', "expected an answer for event_"),
        (b'{"type":"start","name":"a"}', "expected one start|expected answers, got a start"),
        (b'{"type":"begin","after":"1"}', "expected one begin|expected answers, got a begin"),
        (b"\x00", "hookline-relay.v1"),
    ],
)
def test_what_is_no_answer_is_refused_with_the_reason(
    source: Source, line: Make, name: str, said: bytes, why: str
) -> None:
    async def story() -> str:
        made, _ = await told(line, name)
        source.put(b"{}")
        [one] = await deliveries(made, 1)
        frame = said.replace(b"%s", one.cursor.encode())
        if isinstance(made, SocketLine):
            await made.answer(frame)
            bye = await made.next()
            assert isinstance(bye, Bye)
            assert await made.next() is None
            assert (bye.reason, bye.retry_ms, made.close_code) == ("refused", None, 1008)
            assert bye.message.startswith(made.close_reason)
            return bye.message
        with pytest.raises(Refused, match=r"^400") as refused:
            await made.answer(frame)
        # A call that is refused is no word of the session's end.
        await made.answer(answered(one))
        await made.leave()
        detail: str = refused.value.problem["detail"]
        return detail

    message = asyncio.run(story())
    assert re.search(why, message), message


def test_answering_twice_is_answering_once(source: Source, line: Make, name: str) -> None:
    async def story() -> None:
        made, _ = await told(line, name)
        source.put(b"{}")
        [one] = await deliveries(made, 1)
        await made.answer(answered(one), answered(one), Answer("1", "event_of_before", None, error="dropped"))
        await made.leave()

    asyncio.run(story())
    listener = source.sender.listeners.get("production", name)
    assert (listener.answered, listener.succeeded) == (1, 1)


def test_a_slow_reader_costs_one_reading(
    source: Source, line: Make, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes nothing keeps no more than that in memory, and not for ever."""
    monkeypatch.setattr(server, "WRITTEN_WITHIN_S", 0.3)
    read: list[int] = []
    reading = source.sender.listeners.read

    def counted(*arguments: Any, **options: Any) -> Any:
        stretch = reading(*arguments, **options)
        read.append(sum(len(event.body) for _, event in stretch.events))
        return stretch

    async def story() -> None:
        made, _ = await told(line, name)
        await silent(made)
        made.stall()
        monkeypatch.setattr(source.sender.listeners, "read", counted)
        source.put(*[b"x" * 200_000] * 12)
        async with asyncio.timeout(20):
            await made.call.task
        assert [size for size in read if size] == [1_000_000]

    asyncio.run(story())


def test_a_process_takes_so_many_and_no_more(line: Make, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "MOST_SESSIONS", 2)

    async def story() -> None:
        made = [await told(line, f"{name}.{number}") for number in range(2)]
        with pytest.raises(Refused, match=r"^503"):
            await line().start(Start(name))
        for one, _ in made:
            await one.leave()
        one, _ = await told(line, name)
        await one.leave()

    asyncio.run(story())


def test_who_begins_too_often_waits(source: Source, way: tuple[str, Any], name: str) -> None:
    """As at the API, by key; what goes on in a session counts as no call."""
    strict = SenderApp(source.sender.database, api_keys={"production": LIVE_KEY}, api_calls_per_s=2, **source.options)

    async def story() -> None:
        relay = Relay(strict)
        made = [way[1](relay) for _ in range(2)]
        for number, one in enumerate(made):
            await one.begin((await one.start(Start(f"{name}.{number}"))).head)
        with pytest.raises(Refused, match=r"^429"):
            await way[1](relay).start(Start(name))
        source.put(*[b"{}"] * 4)
        for one in made:
            await one.answer(*[answered(delivery) for delivery in await deliveries(one, 4)])
            await one.leave()

    asyncio.run(story())
    strict.close()


def test_who_connects_and_says_nothing_is_parted_from(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "START_WITHIN_S", 0.05)

    async def story() -> None:
        made = SocketLine(relay)
        with pytest.raises(Refused, match="expected a start within"):
            await made.start(None)

    asyncio.run(story())


def test_who_has_no_key_does_not_listen(line: Make) -> None:
    async def story() -> None:
        for key in (None, "sk_live_nobodys"):
            with pytest.raises(Refused, match=r"^401"):
                await line(key=key).start(Start("a"))

    asyncio.run(story())


def test_nothing_goes_on_when_nobody_listens(source: Source, line: Make, name: str) -> None:
    async def story() -> None:
        before = asyncio.all_tasks()
        made, _ = await told(line, name)
        await made.leave()
        assert asyncio.all_tasks() == before

    asyncio.run(story())
    # Nobody sleeps on the clock, so nothing would be asked of the database either.
    assert source.clock.next_due_ms() is None


def test_an_event_goes_to_a_listener_once_more(source: Source, line: Make, name: str) -> None:
    """To whoever is connected and asks for its type, or to one by name, who may come later; until it is answered."""
    replays = source.sender.replays

    async def story() -> None:
        made, _ = await told(line, name, events=("user.*",))
        [event_id] = source.put(b"{ }", event_type="user.created")
        [first] = await deliveries(made, 1)
        await made.answer(answered(first, 500))
        assert replays.resend("production", event_id) == ([], [name])
        [second] = await deliveries(made, 1)
        assert (second.event_id, second.body, second.origin, second.is_missed) == (event_id, b"{ }", "replay", False)
        assert ("Hookline-Origin", "replay") in second.headers
        assert "Hookline-Origin" not in dict(first.headers)
        assert second.cursor != first.cursor
        # Not answered: it comes again. A place of its own is one to begin at.
        await made.leave()
        assert replays.resend("production", event_id) == ([], [])
        again = line()
        hello = await again.start(Start(name, ("dsync.*",)))
        assert (hello.cursor, hello.missed) == (first.cursor, 0)
        await again.begin(second.cursor)
        [third] = await deliveries(again, 1)
        assert third.cursor == second.cursor
        # It asks for other types now: by name it gets it all the same.
        assert replays.resend("production", event_id) == ([], [])
        assert replays.resend("production", event_id, listener=name) == ([], [name])
        [fourth] = await deliveries(again, 1)
        await again.answer(answered(third), answered(fourth))
        await again.leave()
        last = line()
        await last.begin((await last.start(Start(name))).head)
        assert await silent(last)
        await last.leave()

    asyncio.run(story())
    assert not source.sender.listeners.is_connected(source.sender.listeners.get("production", name))
    with pytest.raises(RequestError, match="Listener not found"):
        replays.resend("production", source.put(b"{}")[0], listener=f"{name}.nobody")


def test_what_was_to_go_once_more_and_is_gone_is_left_out(source: Source, line: Make, name: str) -> None:
    async def story() -> None:
        source.sender.listeners.keep("production", name)
        gone, kept = source.put(b"{}", b"{}")
        for event_id in (gone, kept):
            source.sender.replays.resend("production", event_id, listener=name)
        source.prune([gone])
        made, _ = await told(line, name)
        [one] = await deliveries(made, 1)
        assert one.event_id == kept
        await made.answer(answered(one))
        await made.leave()
        again, _ = await told(line, name)
        assert await silent(again)
        await again.leave()

    asyncio.run(story())


def test_an_event_can_go_once_more_again_and_again(source: Source, line: Make, name: str) -> None:
    """Also after everything that was sent so before is answered and forgotten."""

    async def story() -> None:
        made, _ = await told(line, name)
        [event_id] = source.put(b"{}")
        [one] = await deliveries(made, 1)
        await made.answer(answered(one))
        for count in (2, 3, 4):
            source.sender.replays.resend("production", event_id, listener=name)
            [one] = await deliveries(made, 1)
            assert one.origin == "replay"
            await made.answer(answered(one))
            await until(lambda count=count: source.sender.listeners.get("production", name).answered == count)
        await made.leave()

    asyncio.run(story())


def test_who_is_still_to_begin_has_answered_nothing(source: Source, name: str) -> None:
    """Whatever is written between the listener's word and the first reading: it must not pass what was missed."""
    holder = source.sender.key_holder(LIVE_KEY)
    assert holder is not None

    async def story() -> None:
        hub_ = hub.Hub(source.sender)
        first, hello = await hub_.open(Start(name), holder)
        first.hear(Begin(hello.head))
        frames = first.frames()
        source.put(b"{}")
        assert isinstance(await anext(frames), Delivery)
        await frames.aclose()
        await hub_.close(first)
        source.put(b"{}")

        second, again = await hub_.open(Start(name), holder)
        assert again.missed == 2
        second.hear(Begin(again.cursor or ""))
        await hub_.save()
        await hub_.close(second)
        assert str(source.sender.listeners.get("production", name).place) == again.cursor

    asyncio.run(story())


def test_answers_alone_ask_nothing_of_the_database(
    source: Source, line: Make, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing more is to be sent: they are written together, and nothing is read for each."""
    read: list[int] = []
    reading = source.sender.listeners.read

    def counted(*arguments: Any, **options: Any) -> Any:
        read.append(1)
        return reading(*arguments, **options)

    async def story() -> None:
        made, _ = await told(line, name)
        source.put(*[b"{}"] * 20)
        found = await deliveries(made, 20)
        await silent(made)
        monkeypatch.setattr(source.sender.listeners, "read", counted)
        for one in found:
            await made.answer(answered(one))
            await asyncio.sleep(0)
        await until(lambda: source.sender.listeners.get("production", name).answered == 20)
        await made.leave()

    asyncio.run(story())
    assert read == []


def test_a_database_that_is_away_ends_no_session(
    source: Source, line: Make, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is asked again each second, said once in the log, and what came meanwhile is sent then."""

    def away(*_: Any, **__: Any) -> Any:
        raise StorageUnavailable("the database is away")

    async def story() -> None:
        made, _ = await told(line, name)
        await silent(made)
        with monkeypatch.context() as patched:
            patched.setattr(source.sender.listeners, "read", away)
            [event_id] = source.put(b"{}")
            assert await silent(made)
            source.clock.advance(1_000)
            assert await silent(made)
        source.clock.advance(1_000)
        [one] = await deliveries(made, 1)
        assert one.event_id == event_id
        await made.leave()

    asyncio.run(story())
    assert [record.name for record in caplog.records if "cannot be read" in record.message] == ["hookline.relay"]


def test_who_cannot_begin_for_the_database_is_told_to_come_back(
    line: Make, source: Source, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However many try: the log says it once, and once that it is over."""

    def away(*_: Any, **__: Any) -> Any:
        raise StorageUnavailable("the database is away")

    async def story() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(source.sender.listeners, "open", away)
            for _ in range(3):
                with pytest.raises(Refused, match=r"^503.*come back in a moment"):
                    await line().start(Start(name))
        made, _ = await told(line, name)
        await made.leave()

    asyncio.run(story())
    said = [record.getMessage() for record in caplog.records if record.name == "hookline.relay"]
    assert len(said) == 2
    assert "after 3 failures" in said[1]

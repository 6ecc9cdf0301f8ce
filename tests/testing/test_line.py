"""The line of a pair: what was asked for befalls requests, and nothing else."""

from __future__ import annotations

import asyncio
import random

from hookline.sender.http import Answer, Headers, Request
from hookline.testing.line import Line


class Receiver:
    """Keeps what arrives and answers 200 with its number."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def receive(
        self, method: str, path: str, headers: Headers, body: bytes, peer: str
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        assert (method, path, headers, peer) == ("POST", "/webhooks", (("X-One", "1"),), "127.0.0.1")
        self.bodies.append(body)
        return 200, [("x-number", str(len(self.bodies)))], b""


def send(line: Line, body: bytes) -> Answer:
    return asyncio.run(line.send(Request("https://receiver.example/webhooks", (("X-One", "1"),), body)))


def test_a_request_passes_unless_something_else_was_asked_for() -> None:
    """The receiver gets the bytes, the sender the receiver's answer."""
    receiver = Receiver()
    line = Line(receiver.receive)

    answer = send(line, b"one")

    assert (answer.status, answer.error, answer.headers) == (200, None, (("x-number", "1"),))
    assert receiver.bodies == [b"one"]
    assert [(one.body, one.status) for one in line.arrivals] == [(b"one", 200)]


def test_fates_befall_requests_in_the_order_asked_for() -> None:
    """Lost, unanswered, doubled and late each mean one thing at the receiver and one at the sender."""
    receiver = Receiver()
    line = Line(receiver.receive)
    for fate in ("lost", "unanswered", "doubled", "late"):
        line.expect(fate)

    answers = [send(line, body) for body in (b"a", b"b", b"c", b"d", b"e")]

    assert [one.error for one in answers] == ["reset", "timeout", None, "timeout", None]
    assert receiver.bodies == [b"b", b"c", b"c", b"e"]
    assert line.late == 1
    assert line.let_through() == [200]
    assert receiver.bodies[-1] == b"d"
    assert line.late == 0


def test_while_it_is_down_nobody_listens() -> None:
    """What was asked for waits until the line is up again."""
    receiver = Receiver()
    line = Line(receiver.receive)
    line.expect("doubled")
    line.is_down = True

    assert send(line, b"a").error == "connect_refused"
    line.is_down = False
    assert send(line, b"b").status == 200
    assert receiver.bodies == [b"b", b"b"]


def test_what_is_late_arrives_in_a_shuffled_order_if_asked() -> None:
    """The same seed shuffles alike; nothing is lost by it."""
    orders = []
    for _ in range(2):
        receiver = Receiver()
        line = Line(receiver.receive)
        line.expect("late", times=20)
        for number in range(20):
            send(line, b"%d" % number)
        line.let_through(random.Random(3))
        orders.append(receiver.bodies)

    assert orders[0] == orders[1]
    assert orders[0] != [b"%d" % number for number in range(20)]
    assert sorted(orders[0]) == sorted(b"%d" % number for number in range(20))


def test_chance_decides_by_its_seed_until_it_is_calm() -> None:
    """`shake` draws every fate it was given a chance for; after `calm` everything passes."""
    receiver = Receiver()
    line = Line(receiver.receive)
    line.shake(random.Random(1), lost=0.2, unanswered=0.2, doubled=0.2, late=0.2)
    for number in range(100):
        send(line, b"%d" % number)
    seen = dict(line.fates)
    line.calm()
    send(line, b"last")

    assert set(seen) == {"pass", "lost", "unanswered", "doubled", "late"}
    assert line.fates["pass"] == seen["pass"] + 1

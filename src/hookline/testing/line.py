"""The line between the ends of a `Pair`: an `Exchange` that hands requests over in memory, or loses them.

What befalls a request is told beforehand, in the words of a network: it is lost, its answer is lost, it arrives
twice, it arrives late, nobody listens. Nothing here knows events, databases or retries.
"""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from hookline.sender.http import NO_TIME, Answer, CoroutineExchange, ErrorCode, Headers, Request, no_answer

Fate: TypeAlias = Literal["pass", "lost", "unanswered", "doubled", "late"]
# As `Receiver.receive`: method, path, headers, body, peer -> status, headers, body.
Receive: TypeAlias = Callable[[str, str, Headers, bytes, str], tuple[int, list[tuple[str, str]], bytes]]

PEER: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that reached the receiver, and the status it was answered."""

    body: bytes
    status: int


class Line(CoroutineExchange):
    """An `Exchange`. Requests pass unless something else was asked for. Safe to use from several threads."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._guard = threading.Lock()
        self._next: deque[Fate] = deque()
        self._draw: Callable[[], Fate] | None = None
        self._late: list[Request] = []
        self.is_down = False
        self.fates: Counter[Fate] = Counter()
        self.arrivals: list[Arrival] = []

    def hand_to(self, receive: Receive) -> None:
        """Have requests handed to somebody else from here on."""
        self._receive = receive

    # -- what is to befall requests ----------------------------------------------------------------------------

    def expect(self, fate: Fate, times: int = 1) -> None:
        """Have this befall the next requests, after whatever was asked for before."""
        with self._guard:
            self._next.extend([fate] * times)

    def shake(
        self, rng: random.Random, *, lost: float = 0, unanswered: float = 0, doubled: float = 0, late: float = 0
    ) -> None:
        """Let chance decide about every request from here on; the figures are chances between 0 and 1."""
        fates: tuple[Fate, ...] = ("lost", "unanswered", "doubled", "late", "pass")
        chances = (lost, unanswered, doubled, late, max(0.0, 1 - lost - unanswered - doubled - late))
        with self._guard:
            self._draw = lambda: rng.choices(fates, chances)[0]

    def calm(self) -> None:
        """Forget everything that was asked for; what is late stays late."""
        with self._guard:
            self._next.clear()
            self._draw = None

    def let_through(self, shuffle: random.Random | None = None) -> list[int]:
        """Hand over what is late, in the order it was sent or in a shuffled one.

        Returns: how each was answered, to nobody.
        """
        with self._guard:
            late, self._late = self._late, []
        if shuffle is not None:
            shuffle.shuffle(late)
        return [self._hand_over(request)[0] for request in late]

    @property
    def late(self) -> int:
        """How many requests wait for `let_through`."""
        return len(self._late)

    # -- the Exchange ------------------------------------------------------------------------------------------

    async def send(self, request: Request) -> Answer:
        if self.is_down:
            return _silence(request, "connect_refused")
        with self._guard:
            fate = self._next.popleft() if self._next else self._draw() if self._draw else "pass"
            self.fates[fate] += 1
            if fate == "late":
                self._late.append(request)
        match fate:
            case "lost":
                return _silence(request, "reset")
            case "late":
                return _silence(request, "timeout")
            case "unanswered":
                self._hand_over(request)
                return _silence(request, "timeout")
            case "doubled":
                self._hand_over(request)
        return _answer(request, *self._hand_over(request))

    async def close(self) -> None:
        """Nothing is held open."""

    def _hand_over(self, request: Request) -> tuple[int, Headers, bytes]:
        path = urlsplit(request.url).path
        status, headers, content = self._receive(request.method, path, request.headers, request.body, PEER)
        with self._guard:
            self.arrivals.append(Arrival(request.body, status))
        return status, tuple(headers), content


def _answer(request: Request, status: int, headers: Headers, content: bytes) -> Answer:
    return Answer(
        status=status,
        error=None,
        detail=None,
        headers=headers,
        body=content,
        body_bytes=len(content),
        body_end="complete",
        address=PEER,
        tls=None,
        reused=False,
        redone=False,
        sent_headers=request.headers,
        timings=NO_TIME,
    )


def _silence(request: Request, error: ErrorCode) -> Answer:
    return no_answer(error, f"the line of this pair: {error}", address=PEER, sent_headers=request.headers)

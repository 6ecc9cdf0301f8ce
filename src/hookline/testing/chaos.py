"""Chaos: whether an app's handlers come to the same end, whatever the order in which events come."""

from __future__ import annotations

import copy
import difflib
import pprint
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from hookline.receiver.app import Receiver
from hookline.receiver.model import RunRow
from hookline.testing.clock import TurnedClock, on_clock
from hookline.testing.disorder import Arrival, Plan, closing, disorder, orderly, simplest
from hookline.testing.findings import key_of
from hookline.testing.inbox import Inbox
from hookline.testing.watched import Call
from hookline.wire.event import Event

RUNS: Final = 10
SIMPLER_TRIES: Final = 150
_MOST: Final = 10_000

Failure: TypeAlias = Literal["state", "dead"]
Fresh: TypeAlias = Callable[[], AbstractContextManager[Receiver]]
"""Gives a receiver with the app's handlers, on a database where nothing has happened yet; ended with the block."""


@dataclass(frozen=True, slots=True)
class End:
    """What a run came to: what the handlers wrote, what they were called with, and what they gave up."""

    state: Any
    calls: list[Call]
    dead: list[RunRow]


class Chaos:
    """Lets a history of events come in order, and then out of order, some twice, late, or never; and compares.

    Each time on a fresh database, with the app's own handlers, through the door, on this thread. At the end of each
    comes what a complete pass over the source would find: the last event about each object and each relation once
    more, which is a duplicate where it has come before and counts where it had been lost.

    Args:
        clock: turned meanwhile, for each run anew from where it is, and then back to it.
        fresh: where a call does not say; it may raise what says why there is none.
    """

    def __init__(self, clock: TurnedClock, fresh: Fresh) -> None:
        self._clock = clock
        self._fresh = fresh

    def __call__(
        self,
        events: Iterable[Event],
        *,
        state: Callable[[], Any],
        fresh: Fresh | None = None,
        runs: int = RUNS,
        seed: int | None = None,
        doubled: float = 0.25,
        late: float = 0.25,
        lost: float = 0.1,
    ) -> None:
        """Assert that after any disorder the state is what it is after order.

        Args:
            events: the history, of which nothing has been delivered; it is told in the order of `created_at`.
            state: what the handlers wrote, as anything that can be compared: rows, a dict. Without keys and times that
                are made anew each time.
            fresh: gives the receiver of each run, on a database where nothing has happened yet; in a Django project
                every run is rolled back instead.
            runs: so many seeds are tried, from 0 on.
            seed: this one alone: to see a failure again.
            doubled, late, lost: chances, from 0 to 1, that an event comes twice; that it comes behind others; that it
                never comes, but for the pass at the end. Handlers of facts (`on`) never hear of what is lost: 0 where
                every event comes in the end.

        Raises:
            AssertionError: with the seed, the shortest order found that fails, and what each handler was told.
            Exception: what a handler raises even in order.
        """
        __tracebackhide__ = True
        history = sorted(events, key=lambda event: (event.created_us or 0, event.id or ""))
        trial = Trial(history, state, fresh or self._fresh, self._clock)
        trial.rehearse()
        for number in range(runs) if seed is None else [seed]:
            rng = random.Random(f"hookline {number}")  # noqa: S311 - makes disorder, guards nothing
            plan = disorder(rng, len(history), doubled=doubled, late=late, lost=lost)
            failure = trial.failure(plan)
            if failure is not None:
                raise AssertionError(trial.report(trial.simplest(plan, failure), number))


class Trial:
    """One history and one app."""

    def __init__(self, history: Sequence[Event], state: Callable[[], Any], fresh: Fresh, clock: TurnedClock) -> None:
        self._history = history
        self._state = state
        self._fresh = fresh
        self._clock = clock
        self._start_ms = clock.now_ms()
        self._expected: dict[tuple[int, ...], End] = {}
        self._beginnings: list[Any] = []

    def rehearse(self) -> None:
        """See that the history tells handlers something, that they take it in order, and that it always ends alike."""
        whole = orderly(range(len(self._history)))
        end = self._expected[whole.events] = self._run(whole, raises=True)
        if not end.calls:
            raise AssertionError(f"no handler is told of any of these {len(self._history)} events: nothing is tried")
        again = self._run(whole, raises=True)
        if again.state != end.state:
            raise AssertionError(
                "in order twice, and state() is not the same: leave out keys and times that are made anew\n"
                + _difference(end.state, again.state)
            )

    def failure(self, plan: Plan) -> Failure | None:
        """What is wrong after a plan that is not wrong in order: a handler gives up, or the state is another."""
        expected = self._expected_of(plan)
        if expected.dead:
            return None
        end = self._run(plan)
        return "dead" if end.dead else "state" if end.state != expected.state else None

    def simplest(self, plan: Plan, failure: Failure) -> Plan:
        """The simplest plan found after which the same is wrong."""
        return simplest(plan, lambda one: self.failure(one) == failure, tries=SIMPLER_TRIES)

    def report(self, plan: Plan, seed: int) -> str:
        """What is wrong, for people, of a plan that fails."""
        end, expected = self._run(plan), self._expected_of(plan)
        lines = [f"handlers end otherwise after disorder (seed={seed} makes this one again)", ""]
        if end.state != expected.state:
            lines += ["state() in order (-), and now (+):", _difference(expected.state, end.state)]
        for run in end.dead:
            lines += [f"{run.handler} gave up on {run.event_id}, after {run.tries} tries:", str(run.error).rstrip()]
        lines += ["", f"in the shortest order found, of {len(plan.events)} events:"]
        lines += [f"  {line}" for line in self._arrivals(plan)]
        lines += ["", "what handlers were told in it:"]
        lines += [f"  {call}" for call in end.calls] or ["  nothing"]
        if plan.lost:
            lines += ["", "facts of events that never come are never told; lost=0 where every event comes in the end"]
        return "\n".join(lines)

    def _expected_of(self, plan: Plan) -> End:
        if plan.events not in self._expected:
            self._expected[plan.events] = self._run(orderly(plan.events))
        return self._expected[plan.events]

    def _run(self, plan: Plan, *, raises: bool = False) -> End:
        self._clock.set(self._start_ms)
        with self._fresh() as receiver, on_clock(self._clock, receiver):
            inbox = Inbox(receiver)
            self._check_beginning(receiver)
            for arrival in plan.arrivals:
                self._clock.advance(arrival.wait_s * 1_000)
                inbox.deliver(self._history[arrival.index])
                if arrival.is_applied:
                    inbox.drain(raises=raises)
            inbox.finish()
            inbox.deliver(*(self._history[index] for index in self._closing(plan)))
            inbox.finish()
            with receiver.look() as (queries, connection):
                dead = queries.runs(connection, state="failed", limit=_MOST)
            end = End(_kept(self._state()), inbox.calls, dead)
        self._clock.set(self._start_ms)
        return end

    def _check_beginning(self, receiver: Receiver) -> None:
        """See that nothing has happened yet: over what an earlier run has left, all of this would be duplicates."""
        with receiver.look() as (queries, connection):
            known = [event for event in self._history if queries.entry(connection, key_of(event)) is not None]
        if known:
            raise AssertionError(
                f"{len(known)} of these events had been received before the run began: fresh must give a database "
                "where nothing has happened yet, and nothing of the history may be delivered before"
            )
        try:
            beginning = _kept(self._state())
        except Exception as error:  # it may ask for what is not there before anything has come
            beginning = type(error)
        self._beginnings = self._beginnings or [beginning]
        if beginning != self._beginnings[0]:
            raise AssertionError(
                "state() is not the same at the beginning of every run: fresh leaves what an earlier run has written\n"
                + _difference(self._beginnings[0], beginning)
            )

    def _closing(self, plan: Plan) -> list[int]:
        return [plan.events[place] for place in closing([self._history[index] for index in plan.events])]

    def _arrivals(self, plan: Plan) -> Iterator[str]:
        number = {index: place for place, index in enumerate(plan.events, 1)}
        width = max((len(self._history[index].type) for index in plan.events), default=0)

        def said(index: int) -> str:
            event = self._history[index]
            return f"{number[index]}. {event.type:{width}} {event.id}"

        came: set[int] = set()
        for arrival in plan.arrivals:
            yield f"{said(arrival.index)}{_how(arrival, is_again=arrival.index in came)}"
            came.add(arrival.index)
        yield from (f"{said(index)}, lost" for index in plan.lost)
        again = ", ".join(str(number[index]) for index in self._closing(plan))
        yield f"and at the end of all, the last of each object again: {again}"


def _how(arrival: Arrival, *, is_again: bool) -> str:
    words = ["once more"] if is_again else []
    words += [f"{arrival.wait_s} s later"] if arrival.wait_s else []
    words += [] if arrival.is_applied else ["applied together with the next"]
    return "".join(f", {word}" for word in words)


def _kept(value: Any) -> Any:
    """What `state` gave, as it is now: an iterator or a query is asked, what goes on changing is copied."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | list | tuple | set | frozenset):
        value = list(value)
    return copy.deepcopy(value)


def _difference(expected: Any, got: Any) -> str:
    before, after = (pprint.pformat(value, width=100).splitlines() for value in (expected, got))
    return "\n".join(f"  {line}" for line in difflib.ndiff(before, after) if not line.startswith("?"))

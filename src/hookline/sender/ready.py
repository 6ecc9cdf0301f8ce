"""Which endpoints have work, when, and how much of it may be claimed now.

The delivery loop's memory: per endpoint with work its window, what is under way and when its next delivery is due; per
process how many slots there are and who may hold them. Endpoints that answer, that nobody has tried and that fail are
three classes with room of their own, so that a dead endpoint only ever waits for other dead ones. Choosing costs what
is chosen, not what waits.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from hookline.rules.window import FIRST, LARGEST, Standing, Window, after_answer, allowed

if TYPE_CHECKING:
    from hookline.rules.response import Outcome

# Windows of endpoints that have nothing to do are remembered for so many, those used last.
REMEMBERED: Final = 10_000
# Of more sizes than these, slots are rounded down to powers of two, which are seven.
SIZES: Final = 4
NOTHING: Final[Mapping[int, int]] = {}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is under way at once.

    Attributes:
        in_flight: attempts of this process in all.
        largest_window: attempts of one endpoint, however well it answers.
        first_window: attempts of one that has not answered yet, or not lately.
        unproven: attempts of all those together.
        failing: attempts of those among them that were silent or overloaded last: dead endpoints leave the others'
            slots to those that nobody has tried.
    """

    in_flight: int = 500
    largest_window: int = LARGEST
    first_window: int = FIRST
    unproven: int = 250
    failing: int = 125


# Who comes first: nothing under way before something; among those, who answers before who might before who does not.
_Turn: TypeAlias = tuple[Standing, bool]
_TURNS: Final[tuple[_Turn, ...]] = (
    ("proven", False),
    ("untried", False),
    ("failing", False),
    ("proven", True),
    ("untried", True),
    ("failing", True),
)


class _Endpoint:
    """What the loop knows of one endpoint.

    `turn` is the queue it stands in, None where it stands in none. Before `not_before_ms` there is no use in a claim.
    """

    __slots__ = ("due_ms", "in_flight", "is_ready", "not_before_ms", "turn", "window")

    def __init__(self, window: Window) -> None:
        self.window = window
        self.in_flight = 0
        self.due_ms: int | None = None
        self.not_before_ms = 0
        self.is_ready = False
        self.turn: _Turn | None = None


class ReadySet:
    """The endpoints of one delivery loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._fresh = Window(size=limits.first_window)
        self._known_failing = Window(size=limits.first_window, standing="failing")
        self._endpoints: dict[int, _Endpoint] = {}
        # Those that are ready and have a slot free in their window, least recently claimed first.
        self._queues: dict[_Turn, dict[int, _Endpoint]] = {turn: {} for turn in _TURNS}
        self._under_way: dict[Standing, int] = {"proven": 0, "untried": 0, "failing": 0}
        # A heap over the due times of endpoints that are not ready; stale entries are skipped.
        self._heap: list[tuple[int, int]] = []
        self._timers = 0
        self._seen: dict[Standing, int] = {"proven": 0, "untried": 0, "failing": 0}
        # Learned windows of endpoints without work, the one used last at the end.
        self._windows: dict[int, Window] = {}

    # -- when ----------------------------------------------------------------------------------------------------

    def note_due(self, endpoint_row: int, due_ms: int, *, is_failing: bool = False) -> None:
        """An endpoint has a delivery due then. `is_failing`: the database has seen it fail."""
        endpoint = self._known(endpoint_row)
        if is_failing and endpoint.window is self._fresh:
            self._see(endpoint_row, endpoint, self._known_failing)
        due_ms = max(due_ms, endpoint.not_before_ms)
        if endpoint.is_ready or (endpoint.due_ms is not None and endpoint.due_ms <= due_ms):
            return
        if endpoint.due_ms is None:
            self._timers += 1
        endpoint.due_ms = due_ms
        heapq.heappush(self._heap, (due_ms, endpoint_row))
        if len(self._heap) > 2 * self._timers + 64:
            # Stale entries may lie days ahead: they must not pile up until then.
            self._heap = [(one.due_ms, row) for row, one in self._endpoints.items() if one.due_ms is not None]
            heapq.heapify(self._heap)

    def look_at(self, endpoint_row: int, now_ms: int) -> None:
        """An endpoint has work now, whatever was known of it."""
        self._known(endpoint_row).not_before_ms = 0
        self.note_due(endpoint_row, now_ms)

    def forget_times(self) -> None:
        """The clock was set back: what was to come then is found anew by a discovery."""
        self._heap.clear()
        self._timers = 0
        for endpoint_row, endpoint in list(self._endpoints.items()):
            endpoint.due_ms = None
            endpoint.not_before_ms = 0
            self._forget_idle(endpoint_row)

    def promote(self, now_ms: int) -> None:
        """Endpoints whose time has come are ready."""
        heap = self._heap
        while heap and heap[0][0] <= now_ms:
            due_ms, endpoint_row = heapq.heappop(heap)
            endpoint = self._endpoints.get(endpoint_row)
            if endpoint is not None and endpoint.due_ms == due_ms:
                endpoint.due_ms = None
                self._timers -= 1
                endpoint.is_ready = True
                self._place(endpoint_row, endpoint)

    def next_ms(self) -> int | None:
        """When the next endpoint becomes ready."""
        heap = self._heap
        while heap:
            due_ms, endpoint_row = heap[0]
            endpoint = self._endpoints.get(endpoint_row)
            if endpoint is not None and endpoint.due_ms == due_ms:
                return due_ms
            heapq.heappop(heap)
        return None

    # -- how much ------------------------------------------------------------------------------------------------

    def free_slots(self) -> dict[int, int]:
        """How many deliveries to claim of which endpoint now; of few sizes, for each costs the claim a statement."""
        limits, under_way = self._limits, self._under_way
        room = limits.in_flight - self.under_way
        unproven_room = limits.unproven - under_way["untried"] - under_way["failing"]
        failing_room = limits.failing - under_way["failing"]
        slots: dict[int, int] = {}
        for turn in _TURNS:
            queue = self._queues[turn]
            if not queue:
                continue
            standing, is_busy = turn
            left = room
            if standing != "proven":
                left = min(left, unproven_room)
            if standing == "failing":
                left = min(left, failing_room)
            if left <= 0:
                continue
            if is_busy:
                chosen = sorted(queue.items(), key=lambda item: item[1].in_flight)[:left]
            else:
                chosen = list(islice(queue.items(), left))
            share = max(1, left // len(chosen))
            for endpoint_row, endpoint in chosen:
                free = min(self._allowed(endpoint) - endpoint.in_flight, share, left)
                if standing == "proven":
                    # Never so much that it holds more than it leaves: however many stop answering at once with full
                    # windows, one that has nothing under way finds a slot.
                    free = min(free, max((room - endpoint.in_flight) // 2, 0 if is_busy else 1))
                if free <= 0:
                    continue
                slots[endpoint_row] = slots.get(endpoint_row, 0) + free
                room -= free
                left -= free
                if standing != "proven":
                    unproven_room -= free
                if standing == "failing":
                    failing_room -= free
        if len(set(slots.values())) > SIZES:
            return {row: 1 << (count.bit_length() - 1) for row, count in slots.items()}
        return slots

    def claimed(
        self, slots: Mapping[int, int], short: Mapping[int, int | None], waits: Mapping[int, int] = NOTHING
    ) -> None:
        """A claim was made: of `slots` those in `short` gave less than asked, and have more then (None: nothing).

        Those in `waits` are not asked again before that time, whatever is due.
        """
        for endpoint_row in slots:
            endpoint = self._known(endpoint_row)
            self._unplace(endpoint_row, endpoint)
            endpoint.is_ready = endpoint_row not in short
            endpoint.not_before_ms = waits.get(endpoint_row, 0)
            # Claimed last, so named last among equals.
            self._place(endpoint_row, endpoint)
        for endpoint_row, due_ms in short.items():
            if due_ms is not None:
                self.note_due(endpoint_row, due_ms)
            else:
                self._forget_idle(endpoint_row)

    @property
    def ready(self) -> int:
        """Endpoints that may be claimed from: they have due work and a slot of their window free."""
        return sum(len(queue) for queue in self._queues.values())

    @property
    def proven(self) -> int:
        """Endpoints that answered last, with work or without, as far as they are remembered."""
        return self._seen["proven"]

    @property
    def failing(self) -> int:
        """Endpoints that were silent or overloaded last, or that the database has seen fail."""
        return self._seen["failing"]

    @property
    def under_way(self) -> int:
        """Attempts of all endpoints together."""
        return sum(self._under_way.values())

    def begin(self, endpoint_row: int, count: int = 1) -> None:
        """So many attempts begin."""
        endpoint = self._known(endpoint_row)
        endpoint.in_flight += count
        self._under_way[endpoint.window.standing] += count
        self._place(endpoint_row, endpoint)

    def end(self, endpoint_row: int, outcome: Outcome | None, latency_ms: float = 0.0) -> None:
        """An attempt ended; without an outcome it says nothing about the endpoint."""
        endpoint = self._known(endpoint_row)
        in_flight = endpoint.in_flight
        endpoint.in_flight -= 1
        self._under_way[endpoint.window.standing] -= 1
        window = endpoint.window
        if outcome is not None:
            window = after_answer(
                window,
                outcome,
                latency_ms=latency_ms,
                in_flight=in_flight,
                has_more=endpoint.is_ready,
                largest=self._limits.largest_window,
            )
        self._see(endpoint_row, endpoint, window)
        self._place(endpoint_row, endpoint)
        self._forget_idle(endpoint_row)

    # -- bookkeeping ---------------------------------------------------------------------------------------------

    def _allowed(self, endpoint: _Endpoint) -> int:
        return allowed(endpoint.window, first=self._limits.first_window)

    def _see(self, endpoint_row: int, endpoint: _Endpoint, window: Window) -> None:
        before, endpoint.window = endpoint.window, window
        if before.standing != window.standing:
            self._under_way[before.standing] -= endpoint.in_flight
            self._under_way[window.standing] += endpoint.in_flight
            self._seen[before.standing] -= 1
            self._seen[window.standing] += 1
            self._place(endpoint_row, endpoint)

    def _place(self, endpoint_row: int, endpoint: _Endpoint) -> None:
        """Let it stand in the queue where it belongs; where it stands there already it keeps its place."""
        turn: _Turn | None = None
        if endpoint.is_ready and endpoint.in_flight < self._allowed(endpoint):
            turn = (endpoint.window.standing, endpoint.in_flight > 0)
        if turn == endpoint.turn:
            return
        self._unplace(endpoint_row, endpoint)
        if turn is not None:
            self._queues[turn][endpoint_row] = endpoint
            endpoint.turn = turn

    def _unplace(self, endpoint_row: int, endpoint: _Endpoint) -> None:
        if endpoint.turn is not None:
            del self._queues[endpoint.turn][endpoint_row]
            endpoint.turn = None

    def _known(self, endpoint_row: int) -> _Endpoint:
        endpoint = self._endpoints.get(endpoint_row)
        if endpoint is None:
            endpoint = self._endpoints[endpoint_row] = _Endpoint(self._windows.pop(endpoint_row, self._fresh))
        return endpoint

    def _forget_idle(self, endpoint_row: int) -> None:
        """Of an endpoint without work its window is remembered, of so many and no more."""
        endpoint = self._endpoints[endpoint_row]
        if endpoint.in_flight or endpoint.is_ready or endpoint.due_ms is not None:
            return
        del self._endpoints[endpoint_row]
        if endpoint.window is not self._fresh:
            self._windows[endpoint_row] = endpoint.window
            if len(self._windows) > REMEMBERED:
                self._seen[self._windows.pop(next(iter(self._windows))).standing] -= 1

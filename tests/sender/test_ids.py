"""Ids grow, whatever the clock does."""

from __future__ import annotations

import random
import threading

import pytest
from ulid import ULID

from hookline.sender.ids import IdMaker, encode_ulid


def test_the_encoding_is_that_of_the_ulid_library() -> None:
    """Any 128-bit value is written as python-ulid writes it."""
    drawn = random.Random(7)
    values = [0, 1, (1 << 128) - 1, *(drawn.getrandbits(128) for _ in range(200))]

    assert [encode_ulid(value) for value in values] == [str(ULID.from_int(value)) for value in values]


def test_the_time_part_is_the_time_given() -> None:
    """An id's first ten characters are its millisecond."""
    made = IdMaker().make("event", 1_764_000_000_123)

    assert made.startswith("event_")
    assert ULID.from_str(made.removeprefix("event_")).milliseconds == 1_764_000_000_123


@pytest.mark.parametrize("step_ms", [0, 1, -1, -3_600_000])
def test_ids_grow_while_the_clock_stands_runs_or_steps_back(step_ms: int) -> None:
    """Each id is larger than the one before."""
    ids = IdMaker()

    made = [ids.make("event", 1_764_000_000_000 + turn * step_ms) for turn in range(1000)]

    assert made == sorted(set(made))


def test_the_largest_random_part_leaves_room_to_count() -> None:
    """A millisecond that starts at the largest random value can still be counted up."""
    ids = IdMaker(lambda bits: (1 << bits) - 1)

    made = [ULID.from_str(ids.make("x", 5).removeprefix("x_")) for _ in range(3)]

    assert [ulid.milliseconds for ulid in made] == [5, 5, 5]


def test_threads_never_get_the_same_id() -> None:
    """Four threads on one maker make distinct ids."""
    ids = IdMaker()
    made: list[str] = []

    def work() -> None:
        made.extend([ids.make("event", 1) for _ in range(2000)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(made)) == 8000

"""What a pass may conclude, and when it goes on."""

from __future__ import annotations

import pytest

from hookline.rules.passes import go_on_ms, may_die


@pytest.mark.parametrize(("live", "most"), [(0, 10), (1, 10), (200, 10), (219, 10), (220, 11), (100_000, 5_000)])
def test_a_twentieth_may_go_and_always_ten(live: int, most: int) -> None:
    assert may_die(live) == most


def test_waits_grow_up_to_five_minutes_and_are_never_shorter_than_asked_for() -> None:
    waits = [go_on_ms(0, tries, jitter=0) for tries in (0, 1, 2, 3, 9, 10, 2_000_000)]
    assert waits == [1_000, 1_000, 2_000, 4_000, 256_000, 300_000, 300_000]
    assert go_on_ms(0, 1, jitter=1) == 1_200
    assert go_on_ms(0, 1, jitter=0, retry_after_s=77.5) == 77_500
    assert go_on_ms(0, 10, jitter=0, retry_after_s=1) == 300_000

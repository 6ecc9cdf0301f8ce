"""How soon another sign-in is taken: what is free, how the wait grows, what ends it."""

from __future__ import annotations

import ipaddress

import pytest

from hookline.rules.sign_in import FORGET_MS, WITH_ADDRESS, WITH_NAME, WITH_PAIR, Patience, Tries, place_of

NOW_MS = 1_700_000_000_000


def failed(times: int, patience: Patience, *, every_ms: int = 0) -> Tries:
    tries = Tries()
    for number in range(times):
        tries = tries.failed(patience, NOW_MS + number * every_ms)
    return tries


def test_the_first_failures_cost_nothing() -> None:
    assert failed(5, WITH_PAIR).wait_ms(WITH_PAIR, NOW_MS) == 0
    assert failed(50, WITH_NAME).wait_ms(WITH_NAME, NOW_MS) == 0
    assert failed(20, WITH_ADDRESS).wait_ms(WITH_ADDRESS, NOW_MS) == 0


def test_each_further_one_doubles_the_wait_up_to_a_bound() -> None:
    waits_s = [failed(number, WITH_PAIR).wait_ms(WITH_PAIR, NOW_MS) // 1000 for number in range(6, 15)]
    assert waits_s == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    for patience, longest_ms in ((WITH_PAIR, 900_000), (WITH_ADDRESS, 900_000), (WITH_NAME, 30_000)):
        assert failed(10_000, patience).wait_ms(patience, NOW_MS) == longest_ms


def test_the_wait_passes() -> None:
    tries = failed(8, WITH_PAIR)
    assert tries.wait_ms(WITH_PAIR, NOW_MS + 3_999) == 1
    assert tries.wait_ms(WITH_PAIR, NOW_MS + 4_000) == 0


def test_a_quiet_hour_is_forgotten() -> None:
    tries = failed(9, WITH_PAIR).failed(WITH_PAIR, NOW_MS + FORGET_MS + 1)
    assert tries.failures == 1
    assert tries.wait_ms(WITH_PAIR, tries.last_ms) == 0


def test_a_clock_that_is_set_back_makes_nobody_wait_longer() -> None:
    tries = failed(30, WITH_PAIR)
    assert tries.wait_ms(WITH_PAIR, NOW_MS - 86_400_000) == WITH_PAIR.longest_wait_ms


def test_a_success_takes_its_own_try_back_alone() -> None:
    tries = failed(25, WITH_ADDRESS)
    taken_back = tries.failed(WITH_ADDRESS, NOW_MS).taken_back()
    assert taken_back.failures == tries.failures
    assert taken_back.wait_ms(WITH_ADDRESS, NOW_MS) == 0
    assert Tries().taken_back().failures == 0


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
    ],
)
def test_an_ipv6_network_counts_as_one_place(address: str, place: str) -> None:
    assert place_of(ipaddress.ip_address(address)) == place
    assert place_of(None) == "unknown"

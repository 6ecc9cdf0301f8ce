"""From publishing to rows, with everything a network can do in between, on a clock that is turned."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hookline import Event
from hookline.demo.company import Company
from hookline.demo.look import look_at
from hookline.demo.truth import Truth, truth_of
from hookline.receiver.handlers import Change
from hookline.rules.schedule import PRODUCTION
from hookline.testing.pair import Pair
from hookline.testing.samples import sample_event

USER = "dsync.user.created"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path) as pair:
        yield pair


def user() -> dict[str, Any]:
    data: dict[str, Any] = sample_event(USER).data
    return data


def live_company(pair: Pair, acts: int, *, seed: int, step_s: float = 1) -> Company:
    """A company's life at the pair's source; nothing is drained."""
    company = Company(random.Random(seed), pair.directories)
    for _ in range(acts):
        company.act()
        pair.clock.advance(round(step_s * 1000))
    return company


def truth_at(pair: Pair) -> Truth:
    with look_at(pair.sender_url) as sender:
        return truth_of(sender)


def differences(pair: Pair) -> list[str]:
    truth = truth_at(pair)
    held = {
        (row["group_id"], row["user_id"], row["directory_id"]) for row in pair.live("directory_membership").values()
    }
    return [*pair.compare(truth.objects), *(f"membership {one}" for one in sorted(held ^ truth.memberships))]


def told_times(pair: Pair) -> Counter[str]:
    """How often each event reached the receiver and was answered 200."""
    return Counter(json.loads(one.body)["id"] for one in pair.line.arrivals if one.status == 200)


# -- convergence -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_everything_twice_and_in_any_order_leaves_the_mirror_equal_to_the_source(pair: Pair, seed: int) -> None:
    """No attempt is answered; what was sent arrives in a shuffled order, and each retry brings all of it again."""
    pair.line.expect("late", times=10_000)
    live_company(pair, 80, seed=seed, step_s=0.5)
    pair.drain()
    pair.line.calm()
    shuffled = pair.line.let_through(random.Random(seed))
    pair.finish()

    assert len(shuffled) > 100
    assert set(shuffled) == {200}
    assert set(told_times(pair).values()) == {2}
    assert differences(pair) == []


@pytest.mark.parametrize("seed", range(3))
def test_losses_doubles_and_delays_leave_the_mirror_equal_to_the_source(pair: Pair, seed: int) -> None:
    """A third is lost, a fifth doubled, a tenth arrives late: after the retries every live row and column is right."""
    rng = random.Random(seed)
    pair.line.shake(rng, lost=0.2, unanswered=0.1, doubled=0.2, late=0.1)
    company = live_company(pair, 60, seed=seed)
    pair.drain()
    for _ in range(20):
        company.act()
    pair.turn(100)
    pair.line.let_through(rng)
    pair.turn(1_200)
    # Seven losses in a row would be a delivery given up; what is proved here is what retries can mend.
    pair.line.calm()
    pair.line.let_through(rng)
    pair.finish()

    assert all(pair.line.fates[fate] for fate in ("pass", "lost", "unanswered", "doubled", "late"))
    assert differences(pair) == []


def test_so_it_is_by_standard_webhooks(tmp_path: Path) -> None:
    """Our own sender's headers of that standard, with the secret in the form it shows for it."""
    with Pair(tmp_path, scheme="standard_webhooks") as pair:
        heard: list[tuple[str | None, str | None]] = []
        pair.receiver.on("*", name="h")(lambda event, tx: heard.append((event.id, event.source)))
        pair.line.expect("lost", times=5)
        pair.line.expect("doubled", times=5)
        live_company(pair, 30, seed=5)
        pair.finish()
        ids = [json.loads(one.body)["id"] for one in pair.line.arrivals if one.status == 200]

        assert differences(pair) == []
        assert set(ids) == {id_ for id_, _ in heard}
        assert {source for _, source in heard} == {"default"}
        assert len(heard) == len(set(heard)) < len(ids)


def test_a_lost_event_is_seen_by_the_comparison(pair: Pair) -> None:
    """The comparison is not blind: where one event never arrives, the mirror is not the source."""
    company = live_company(pair, 1, seed=1)
    pair.drain()
    directory_id = next(iter(truth_at(pair).objects["directory"]))
    pair.line.is_down = True
    while not re.search(" is now (?!called)", company.act().summary):
        pass
    pair.drain()

    assert directory_id in pair.live("directory")
    assert any("directory_user" in one for one in differences(pair))


# -- three days --------------------------------------------------------------------------------------------------


def test_seven_attempts_in_three_days_then_failed_then_a_person_retries(pair: Pair) -> None:
    """Retries come at the schedule's times, jitter within a fifth of each gap; then none, until a person asks."""
    pair.line.expect("lost", times=7)
    event_id = pair.publish(USER, user())
    start_ms = pair.clock.now_ms()
    pair.finish()
    attempts = pair.attempts(event_id)
    offsets_s = [(one.started_ms - start_ms) / 1000 for one in attempts]
    planned_s = (0.0, *PRODUCTION.offsets_s)
    gaps_s = (0.0, *(later - earlier for earlier, later in pairwise(planned_s)))

    assert len(attempts) == 7
    for offset_s, at_s, gap_s in zip(offsets_s, planned_s, gaps_s, strict=True):
        assert abs(offset_s - at_s) <= 0.2 * gap_s + 0.001
    assert offsets_s[-1] == 259_200
    assert pair.delivery(event_id).state == "failed"
    assert pair.live("directory_user") == {}

    pair.turn(1_000_000)
    assert len(pair.attempts(event_id)) == 7

    pair.retry(event_id)
    assert pair.delivery(event_id).state == "succeeded"
    assert [one.kind for one in pair.attempts(event_id)][-1] == "manual"
    assert list(pair.live("directory_user")) == [user()["id"]]


def test_what_a_receiver_missed_while_it_was_down_arrives_when_it_is_back(pair: Pair) -> None:
    """A receiver that is away for a quarter of an hour loses nothing; every attempt is on record."""
    pair.line.is_down = True
    event_ids = [pair.publish(USER, {**user(), "id": f"directory_user_{number}"}) for number in range(5)]
    pair.turn(0)
    pair.turn(300)
    assert pair.live("directory_user") == {}

    pair.line.is_down = False
    pair.turn(900)

    assert len(pair.live("directory_user")) == 5
    for event_id in event_ids:
        outcomes = [(one.outcome, one.status) for one in pair.attempts(event_id)]
        assert outcomes == [("failed", None), ("failed", None), ("succeeded", 200)]


def test_a_request_that_comes_too_late_is_refused_and_its_retry_is_not(pair: Pair) -> None:
    """Held up beyond the receiver's window a genuine request is refused as expired; the retry is signed anew."""
    pair.line.expect("late")
    event_id = pair.publish(USER, user())
    pair.drain()
    pair.clock.advance(181_000)

    assert pair.line.let_through() == [401]
    assert pair.live("directory_user") == {}

    pair.finish()
    assert pair.delivery(event_id).state == "succeeded"
    assert len(pair.live("directory_user")) == 1


# -- handlers ----------------------------------------------------------------------------------------------------


def test_a_handler_runs_once_however_often_its_event_arrives(pair: Pair) -> None:
    """Doubled, unanswered and retried: one event, one run, one row of the handler's own."""
    runs: list[str | None] = []

    @pair.receiver.on(USER)
    def welcome(event: Event, tx: Any) -> None:
        runs.append(event.id)

    pair.line.expect("doubled")
    pair.line.expect("unanswered", times=2)
    first = pair.publish(USER, user())
    second = pair.publish(USER, {**user(), "id": "directory_user_2"})
    pair.finish()

    assert sorted(runs, key=str) == sorted([first, second])
    assert sum(told_times(pair).values()) > 2


def test_a_failing_handler_is_tried_again_and_its_writes_count_once(pair: Pair) -> None:
    """What a failed run wrote is undone; the mirror does not wait for it."""
    tries = 0

    @pair.receiver.on(USER)
    def write_then_fail(event: Event, tx: Any) -> None:
        nonlocal tries
        tries += 1
        tx.execute("create table if not exists app_notes (user_id text)")
        tx.execute("insert into app_notes values (?)", (event.data["id"],))
        if tries < 3:
            raise RuntimeError("the mail server is away")

    pair.publish(USER, user())
    pair.drain()
    assert tries == 1
    assert len(pair.live("directory_user")) == 1

    pair.finish()
    assert tries == 3
    database = pair.receiver.database
    assert database is not None
    with database.read() as connection:
        assert connection.execute("select count(*) from app_notes").fetchone()[0] == 1


def test_changes_are_heard_in_order_and_a_directorys_death_takes_its_users_along(pair: Pair) -> None:
    """A change handler that keeps a list by transitions alone ends with exactly the live, active users."""
    access: dict[str, str] = {}

    @pair.receiver.on_change("directory_user")
    def sync(change: Change, tx: Any) -> None:
        if change.is_live and change.after is not None and change.after["state"] == "active":
            access[change.id] = change.after["email"]
        else:
            access.pop(change.id, None)

    pair.line.shake(random.Random(5), lost=0.2, doubled=0.3, late=0.2)
    live_company(pair, 120, seed=5)
    pair.drain()
    pair.line.calm()
    pair.line.let_through(random.Random(6))
    pair.finish()
    users = truth_at(pair).objects["directory_user"]

    assert access == {key: one["email"] for key, one in users.items() if one["state"] == "active"}
    assert access

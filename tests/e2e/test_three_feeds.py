"""Webhooks, tail and passes: whichever a receiver has, whatever is lost, however it changes its mind, one mirror."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hookline.demo.company import Company
from hookline.receiver.sources import TailMode

from .three_feeds import Ends

S_PER_ACT = 2.0


def live(ends: Ends, acts: int) -> None:
    for _ in range(acts):
        ends.act()
        ends.clock.advance(round(S_PER_ACT * 1_000))


@pytest.mark.parametrize(
    ("tail", "loss"),
    [("off", 0.0), ("only", 0.0), ("on", 0.0), ("on", 0.5), ("on", 1.0)],
    ids=["webhooks", "tail", "both", "both, half of the webhooks lost", "both, all of the webhooks lost"],
)
def test_any_feed_makes_the_same_mirror(tmp_path: Path, tail: TailMode, loss: float) -> None:
    with Ends(tmp_path, tail=tail, loss=loss, seed=3) as ends:
        ends.settle()
        for _ in range(6):
            live(ends, 12)
            ends.turn(10)
        ends.turn(120)

        assert ends.differences() == []


def test_switching_in_mid_run_makes_the_same_mirror(tmp_path: Path) -> None:
    """What fell between two ways of hearing is made good by one pass, and by a tail that goes on where it stood."""
    with Ends(tmp_path, tail="on", seed=5) as ends:
        ends.settle()
        for tail in ("only", "on", "off", "on", "only", "off"):
            live(ends, 10)
            ends.turn(10)
            ends.switch(tail)
        live(ends, 10)
        ends.switch("on")
        ends.turn(300_000)
        ends.turn(120)

        assert ends.differences() == []


def test_without_any_webhook_one_pass_makes_mirror_and_source_equal(tmp_path: Path) -> None:
    with Ends(tmp_path, loss=1.0, seed=7) as ends:
        live(ends, 80)
        ends.settle()
        assert ends.rows("select id from hookline_directories_live") == []
        ends.clock.advance(60_000)

        assert ends.reconcile() == "completed"
        assert ends.differences() == []


@pytest.mark.parametrize("seed", [17, 19])
def test_one_pass_makes_the_demos_company_equal_though_it_is_interrupted_at_every_page(
    tmp_path: Path, seed: int
) -> None:
    """Each answer goes to a process that ends with it; the next one asks again, and goes on where the pass stood."""
    with Ends(tmp_path, loss=1.0) as ends:
        company = Company(random.Random(seed), ends.source.directories, environment=ends.env)
        for _ in range(120):
            company.act()
            ends.clock.advance(500)
        ends.settle()
        ends.clock.advance(60_000)
        ends.source.faults.page_size = 2
        ends.dies = True
        asked = ends.source.faults.seen.total()

        assert ends.reconcile() == "completed"

        ends.dies = False
        ends.source.faults.calm()
        assert ends.source.faults.seen.total() - asked > 60, "dying in a few places proves little"
        assert ends.differences() == []


def test_passes_beside_webhooks_that_go_missing(tmp_path: Path) -> None:
    """Passes at a replica that lags, with requests that fail, while things happen and a third of the news is lost."""
    with Ends(tmp_path, loss=0.3, seed=11) as ends:
        ends.source.faults.lag_s = 10
        ends.source.faults.page_size = 2
        for number in range(6):
            ends.source.faults.shake({"status/503": 0.05, "rate-limited/1": 0.05, "reset": 0.03})
            live(ends, 8)
            ends.turn(5)
            if number in (1, 4):
                ends.reconcile()
        ends.source.faults.calm()
        ends.turn(3_600)

        assert ends.reconcile() == "completed"
        assert ends.differences() == []


# -- the end of access -------------------------------------------------------------------------------------------


HOW = {"webhooks": ("off", 0.0), "tail": ("only", 0.0), "a pass": ("off", 1.0)}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "never heard of"])
def test_the_end_of_access_at_the_source_is_one_here_and_makes_nobody(tmp_path: Path, how: str, is_known: bool) -> None:
    """Deactivation in either flow, deletion, removal, and the end of a group, a directory and an organization."""
    tail, loss = HOW[how]
    with Ends(tmp_path, tail=tail, loss=0.0 if is_known else 1.0, seed=13) as ends:  # type: ignore[arg-type]
        write, env = ends.source.directories, ends.env
        secure, custom, doomed = ends.found(), ends.found(inactive_flow="custom"), ends.found()
        of = {one: sorted(ends.listed("directory_user", directory=one)) for one in (secure, custom, doomed)}
        groups = {one: sorted(ends.listed("directory_group", directory=one)) for one in (secure, custom)}
        if is_known:
            ends.settle()
            if how != "webhooks":
                ends.reconcile()
        ends.clock.advance(600_000)
        if not is_known:
            ends.source.drain()  # what was sent of it is lost before anything else is
        if not is_known and how == "tail":
            ends.settle()  # it begins behind all that
        ends.source.faults.webhooks_lost = loss
        ended = [of[secure][0], of[custom][0], of[secure][1], *of[doomed]]
        write.deactivate_user(env, secure, of[secure][0])
        write.deactivate_user(env, custom, of[custom][0])
        write.delete_user(env, secure, of[secure][1])
        write.remove_member(env, custom, groups[custom][0], of[custom][1])
        write.delete_group(env, secure, groups[secure][0])
        write.delete_directory(env, doomed)
        organization = next(item for item in ends.listed("organization").values())
        if is_known:
            ended += [
                id_
                for directory, item in ends.listed("directory").items()
                if item["organization_id"] == organization["id"]
                for id_ in ends.listed("directory_user", directory=directory)
            ]
        write.delete_organization(env, organization["id"])
        ends.turn(10)
        if how == "a pass":
            ends.turn(60)
            assert ends.reconcile() == "completed"

        assert [id_ for id_ in ended if ends.receiver.is_active("directory_user", id_)] == []
        assert {id_ for (id_,) in ends.rows("select id from access")} & set(ended) == set()
        if is_known or how == "a pass":
            assert ends.differences() == []
        elif how != "a pass":
            made = {id_ for (id_,) in ends.rows("select id from hookline_directory_users_live where is_active = 1")}
            assert made == set(), "whoever was never heard of is made by no event that ends something"
        ends.turn(300_000)
        assert {id_ for (id_,) in ends.rows("select id from access")} & set(ended) == set()

"""The overview, and traffic over time: figures that are those of the databases, by every state there is."""

from __future__ import annotations

import pytest

from hookline.dashboard.app import Dashboard
from hookline.sender.statistics import HOUR_MS

from .browser import Browser
from .people import PASSWORD
from .world import World


def _count(world: World, sql: str) -> int:
    with world.database.read() as connection:
        cursor = connection.cursor()
        cursor.execute(sql)
        count: int = cursor.fetchall()[0][0]
        cursor.close()
    return count


def test_the_day_in_figures(world: World, ada: Browser) -> None:
    world.sender.statistics.flush(world.clock.now_ms())
    told = ada.get("/dashboard/?format=json").json
    since_ms = told["since_ms"]
    events = f"select count(*) from hookline_sender_events where published_ms >= {since_ms}"
    deliveries = "select count(*) from hookline_sender_deliveries where state"
    assert 0 < told["sender"]["published"] == _count(world, events)
    assert 0 < told["sender"]["delivered"] == _count(world, f"{deliveries} = 'succeeded' and updated_ms >= {since_ms}")
    assert told["sender"]["given_up"] == _count(world, f"{deliveries} = 'failed'")
    waiting = told["sender"]["waiting"]
    assert waiting["due"] + waiting["soon"] + waiting["later"] == _count(world, f"{deliveries} = 'pending'")
    assert sum(slot["delivered"] for slot in told["slots"]) == told["sender"]["delivered"]
    assert len(told["slots"]) == 48
    assert any("has been failing" in need["text"] for need in told["needs"])


def test_the_page_says_what_its_twin_says(ada: Browser) -> None:
    told, page = ada.get("/dashboard/?format=json").json, ada.get("/dashboard/")
    assert page.status == 200
    assert str(told["sender"]["published"]) in page.page.text
    assert all(need["text"] in page.page.text for need in told["needs"])


def test_staging_is_empty(ada: Browser) -> None:
    told = ada.get("/dashboard/?environment=staging&format=json").json
    assert told["sender"]["published"] == 0
    assert ada.get("/dashboard/?environment=elsewhere").status == 404


def test_traffic_by_every_span_holds_the_same_events(world: World, ada: Browser) -> None:
    world.sender.statistics.flush(world.clock.now_ms())
    whole = _count(world, "select count(*) from hookline_sender_events")
    for name in ("7d", "30d"):
        told = ada.get(f"/dashboard/production/traffic?span={name}&format=json").json
        assert sum(row["published"] for row in told["rows"]) == whole
    hour = ada.get("/dashboard/production/traffic?span=1h&format=json").json["rows"]
    assert len(hour) == 61
    assert all(row["at_ms"] > world.clock.now_ms() - HOUR_MS - 60_000 for row in hour)
    assert "Nothing was published" in ada.get("/dashboard/staging/traffic").page.text
    assert ada.get("/dashboard/production/traffic?span=1y").status == 422


@pytest.mark.parametrize("end", ["sender", "receiver", "neither"])
def test_with_an_end_alone(world: World, end: str) -> None:
    alone = Dashboard(
        accounts=world.accounts,
        sender=world.sender if end == "sender" else None,
        receiver=world.receiver if end == "receiver" else None,
        clock=world.clock,
    )
    with Browser(alone) as browser:
        browser.cookies["hookline_session"] = world.accounts.sign_in("ada", PASSWORD, address="127.0.0.1").token
        told = browser.get("/dashboard/?format=json").json
        assert (told["sender"] is not None, told["receiver"] is not None) == (end == "sender", end == "receiver")
        assert browser.get("/dashboard/").status == 200
        assert browser.get("/dashboard/production/traffic").status == (200 if end == "sender" else 404)

"""The pages of endpoints by HTTP: listed, made, changed, paused, resumed, deleted; and who may what."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
import zlib
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import pytest

from hookline.dashboard.frame import Action, Page
from hookline.dashboard.pages import endpoint_acts, endpoint_forms, endpoints, trials
from hookline.dashboard.pages.endpoint_acts import SNIPPETS, snippet
from hookline.dashboard.pages.endpoints import retry_plan, url_parts
from hookline.rules.schedule import PRODUCTION
from hookline.sender.statistics import HOUR_MS, LATENCY_MS, Counted, StatisticsStore
from hookline.wire.signature import sign

from ..postgres import Cluster
from .browser import Browser
from .endpoint_world import NOW_MS, Ends, ends

NEW = "/dashboard/production/endpoints/new"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def world(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Ends]:
    folder = tmp_path_factory.mktemp("endpoints")
    if request.param == "sqlite":
        with ends(folder) as made:
            yield made
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    name = cluster.migrated()
    with ends(folder, cluster.url(name)) as made:
        yield made
    cluster.drop(name)


@pytest.fixture
def operator(world: Ends) -> Iterator[Browser]:
    with world.browser("operator") as browser:
        yield browser


@pytest.fixture
def admin(world: Ends) -> Iterator[Browser]:
    with world.browser("admin") as browser:
        yield browser


@pytest.fixture
def made(world: Ends, request: pytest.FixtureRequest) -> Any:
    return world.endpoint(
        f"https://made.example/{zlib.crc32(request.node.nodeid.encode())}", description=request.node.name[:60]
    )


def at(endpoint_id: str, tab: str = "") -> str:
    return f"/dashboard/production/endpoints/{endpoint_id}{tab}"


# --- the list -------------------------------------------------------------------------------------------------------


def test_the_list_says_how_each_is_doing(world: Ends, operator: Browser) -> None:
    """Status in words, a part of the URL dimmed, and the types behind a disclosure."""
    token = "n0dbga5x8Qw3e4r5t6Yu"
    first = world.endpoint(f"https://list.example/hooks/{token}", ["*"], description="Billing of the list")
    second = world.endpoint("https://list.example/paused", description="Paused of the list")
    third = world.endpoint("https://list.example/off", description="Off of the list")
    world.sender.registry.pause("production", second.id)
    world.sender.registry.change("production", third.id, status="disabled")

    found = operator.get("/dashboard/production/endpoints?q=of+the+list&format=json").json["endpoints"]
    assert [(one["name"].split()[0], one["state"]) for one in found] == [
        ("Off", "disabled"),
        ("Paused", "paused"),
        ("Billing", "enabled"),
    ]
    assert found[2]["url_parts"] == ["https://list.example/hooks/", token, ""]
    page = operator.get("/dashboard/production/endpoints?q=of+the+list")
    assert f'<span class="dim">{token}</span>' in page.text
    assert page.page.link("Billing of the list") == at(first.id)
    assert "all events" in page.page.text
    oldest = operator.get("/dashboard/production/endpoints?q=of+the+list&sort=oldest&format=json").json
    assert [one["id"] for one in oldest["endpoints"]] == [first.id, second.id, third.id]


@pytest.mark.parametrize("status", ["paused", "disabled", "enabled", "failing"])
def test_the_list_can_be_searched(world: Ends, operator: Browser, status: str) -> None:
    """By name or URL in any case, and by status; none that fits is told apart from none at all."""
    endpoint = world.endpoint(f"https://search.example/{status}", description=f"Wanted {status}")
    if status == "paused":
        world.sender.registry.pause("production", endpoint.id)
    elif status == "disabled":
        world.sender.registry.change("production", endpoint.id, status="disabled")
    elif status == "failing":
        with world.database.transaction() as connection:
            connection.execute(
                f"update hookline_sender_endpoints set failing_since_ms = {NOW_MS - 60_000}, failing_attempts = 3"
                f" where id = '{endpoint.id}'"
            )

    found = operator.get(f"/dashboard/production/endpoints?q=WANTED&status={status}&format=json").json["endpoints"]
    assert [one["id"] for one in found] == [endpoint.id]
    if status == "failing":
        assert "3 failed attempts" in operator.get("/dashboard/production/endpoints?status=failing").page.text
    assert "No match" in operator.get("/dashboard/production/endpoints?q=%25nothing").page.text
    assert "No endpoints in staging" in operator.get("/dashboard/staging/endpoints").page.text


def test_the_list_is_paged(world: Ends, operator: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """By cursors, forth and back, and what was searched for stays."""
    monkeypatch.setattr(endpoints, "PAGE", 2)
    ids = [world.endpoint(f"https://paged.example/{number}").id for number in range(5)]
    path, seen = "/dashboard/production/endpoints?q=paged.example", []
    for _ in range(3):
        answer = operator.get(path)
        seen += [href.rpartition("/")[2] for text, href in answer.page.links if "/endpoints/we_" in href]
        path = next((href for text, href in answer.page.links if text.startswith("After")), "")
    assert seen == ids[::-1]
    back = next(href for text, href in answer.page.links if "Before" in text)
    assert "q=paged.example" in back
    assert [one["id"] for one in operator.get(back + "&format=json").json["endpoints"]] == [ids[2], ids[1]]


def test_only_the_part_that_nobody_guesses_is_dimmed() -> None:
    """Long, letters and digits; the last such part of the path, never of the host or the words of a path."""
    assert url_parts("https://a.example/webhooks") == ("https://a.example/webhooks", "", "")
    assert url_parts("https://abcdefgh12345678.example/in") == ("https://abcdefgh12345678.example/in", "", "")
    assert url_parts("https://a.example/a1b2c3d4e5f6g7h8/x") == ("https://a.example/", "a1b2c3d4e5f6g7h8", "/x")
    assert url_parts("https://a.example/webhooks-of-our-app-for-users")[1] == ""
    assert url_parts("https://a.example") == ("https://a.example", "", "")


def test_health_is_told_by_numbers_and_bars(world: Ends, operator: Browser) -> None:
    """Of the last 24 hours: how many attempts succeeded, how long they took, and when the last one was."""
    endpoint = world.endpoint("https://health.example/", description="Of known health")
    hour_ms = NOW_MS - NOW_MS % HOUR_MS
    latencies = [0] * (len(LATENCY_MS) + 1)
    latencies[3] = 9  # 50 to 100 ms
    old = [5, 5, 0, 0, *latencies]
    counted = Counted(
        endpoints={
            (endpoint.row_id, hour_ms): [9, 1, 9, 0, *latencies],
            (endpoint.row_id, hour_ms - 24 * HOUR_MS): old,
        },
        last_ms={(endpoint.row_id, hour_ms): NOW_MS - 60_000, (endpoint.row_id, hour_ms - 24 * HOUR_MS): 1},
    )
    world.database.run(lambda connection: StatisticsStore(world.database.dialect).add(connection, counted))

    page = operator.get("/dashboard/production/endpoints?q=known+health")
    [told] = operator.get("/dashboard/production/endpoints?q=known+health&format=json").json["endpoints"]
    assert (told["traffic"]["succeeded"], told["traffic"]["failed"]) == (9, 1)
    assert told["traffic"]["last_ms"] == NOW_MS - 60_000
    assert 50 < told["traffic"]["p95_ms"] <= 100
    assert "90 %" in page.page.text
    assert 'aria-label="Attempts by hour: 9 succeeded, 1 failed"' in page.text
    assert "90 %" in operator.get(at(endpoint.id)).page.text


def test_the_picker_tells_how_many_of_each_type_there_were(world: Ends, operator: Browser) -> None:
    """In the last seven days, before anything is saved."""
    world.publish("dsync.user.deleted", 3)
    world.sender.statistics.flush(NOW_MS)

    row = operator.get(NEW).text.partition('data-picker-type="dsync.user.deleted"')[2].partition("</div>")[0]

    assert "3 in 7 days" in row


# --- making one ------------------------------------------------------------------------------------------------------


def test_an_endpoint_is_made_without_javascript(world: Ends, operator: Browser) -> None:
    """URL checked, types picked, a path suggested; then its page, where an operator finds no secret."""
    empty = operator.get(NEW)
    form = empty.page.form("new")
    assert not [value for name, value in form.fields if name == "events"]  # nothing is chosen beforehand

    suggested = operator.submit(empty, "new", button="suggest", url="https://app.example/webhooks")
    url = dict(suggested.page.form("new").fields)["url"]
    assert url.startswith("https://app.example/webhooks/")
    assert len(url.rpartition("/")[2]) >= 22  # 128 bits in base 64

    checked = operator.submit(suggested, "new", button="check", events="dsync.user.created")
    assert "93.184.215.14" in checked.page.text
    fields = dict(checked.page.form("new").fields)
    assert (fields["url"], fields["events"]) == (url, "dsync.user.created")

    answer = operator.submit(
        checked,
        "new",
        button="create",
        description="Made by form",
        schedule="1m, 5m",
        timeout_s="10",
        rate_limit_per_min="60",
        headers="X-Tenant: acme\n\nX-Empty:",
        secret_headers="Authorization: Bearer top-secret-value",
        patterns="dsync.group.*",
    )

    assert answer.path.endswith("/secret?new=1")
    endpoint = world.found(answer.path.split("/")[4])
    assert (endpoint.url, endpoint.description) == (url, "Made by form")
    assert endpoint.events == ("dsync.group.*", "dsync.user.created")
    assert (endpoint.timeout_ms, endpoint.rate_limit_per_min) == (10_000, 60)
    assert json.loads(endpoint.schedule or "") == [60, 300]
    headers = [(one.name, one.value, one.is_sensitive) for one in world.sender.registry.headers_of(endpoint)]
    assert headers == [
        ("X-Tenant", "acme", False),
        ("X-Empty", "", False),
        ("Authorization", "Bearer top-secret-value", True),
    ]
    assert world.secret(endpoint.id) not in answer.text
    assert "does not read secrets" in answer.page.text
    assert "Verify with it" in answer.page.text


@pytest.mark.parametrize(
    ("fields", "where", "said"),
    [
        ({"url": ""}, "url", "expected where to send events"),
        ({"url": "https://inner.example/x"}, "url", "HOOKLINE_ALLOWED_TARGETS"),
        ({"url": "https://10.0.0.1/"}, "url", "HOOKLINE_ALLOWED_TARGETS"),
        ({"url": "http://app.example/"}, "url", "https"),
        ({"url": "https://app.example/refused", "events": ""}, "events", "at least one"),
        ({"patterns": "Nonsense!"}, "events", "neither a type name nor a pattern"),
        ({"timeout_s": "0.5"}, "timeout_s", "1 to 30"),
        ({"timeout_s": "nan"}, "timeout_s", "1 to 30"),
        ({"rate_limit_per_min": "1.5"}, "rate_limit_per_min", "whole number"),
        ({"schedule": "soon"}, "schedule", "expected waits"),
        ({"schedule": "1s,1s,1s,1s,1s,1s,1s"}, "schedule", "at most 6"),
        ({"schedule": "10ms"}, "schedule", "at least 1s"),
        ({"headers": "no colon here"}, "headers", "no colon"),
        ({"headers": "Host: x"}, "headers", "set by Hookline"),
        ({"secret_headers": "X-Key:"}, "headers", "none is kept"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(
    world: Ends, operator: Browser, fields: dict[str, str], where: str, said: str
) -> None:
    """With a summary on top; what was typed is kept, and nothing is made."""
    before = world.rows("select count(*) from hookline_sender_endpoints")
    typed = {
        "url": "https://app.example/refused",
        "events": "dsync.user.created",
        "description": "Typed & <kept>",
        "do": "create",
        **fields,
    }

    answer = operator.post(NEW, [(name, value) for name, value in typed.items() if value])

    assert answer.status == 422
    assert 'id="problems"' in answer.text
    error = answer.text.partition(f'id="error-{where}"')[2] or answer.text.partition(f'id="field-{where}"')[2]
    assert said in error.partition("</p>")[0], answer.page.text
    kept = dict(answer.page.form("new").fields)
    assert kept["description"] == "Typed & <kept>"
    for name in ("url", "timeout_s", "schedule", "headers", "patterns"):
        assert kept[name] == typed.get(name, "")
    assert world.rows("select count(*) from hookline_sender_endpoints") == before


def test_all_that_is_wrong_is_said_at_once(operator: Browser) -> None:
    """Whatever finds it: the form, the types, the address."""
    answer = operator.post(NEW, {"url": "https://inner.example/", "timeout_s": "100", "schedule": "x", "do": "create"})

    summary = answer.text.partition('id="problems"')[2].partition("</section>")[0]
    assert [name for name in ("url", "events", "timeout_s", "schedule") if f"#field-{name}" not in summary] == []


def test_the_same_url_twice_is_refused(operator: Browser, made: Any) -> None:
    """Beside the URL."""
    answer = operator.post(NEW, {"url": made.url, "events": "dsync.*", "do": "create"})

    assert answer.status == 422
    assert "already exists" in answer.text.partition('id="error-url"')[2].partition("</p>")[0]


def test_the_picker_filters_on_the_server(operator: Browser) -> None:
    """Groups by the first part; what is chosen stays chosen though it does not match."""
    answer = operator.post(
        NEW, [("events", "user.created"), ("events", "dsync.*"), ("search", "group.user"), ("do", "filter")]
    )

    chosen = [value for name, value in answer.page.form("new").fields if name == "events"]
    assert sorted(chosen) == ["dsync.*", "user.created"]
    row = answer.text.partition('data-picker-type="dsync.group.user_added"')[2].partition(">")[0]
    assert "hidden" not in row
    assert "hidden" in answer.text.partition('data-picker-type="dsync.user.created"')[2].partition(">")[0]


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ([("events", "dsync.*"), ("events", "dsync.user.created")], ["dsync.*"]),
        ([("events", "*"), ("events", "user.created"), ("events", "endpoint.failing")], ["*", "endpoint.failing"]),
        ([("events", "user.created"), ("patterns", "invoice.paid, invoice.*")], ["invoice.*", "user.created"]),
    ],
)
def test_what_a_pattern_takes_is_not_asked_for_twice(
    world: Ends, operator: Browser, made: Any, given: list[tuple[str, str]], asked: list[str]
) -> None:
    """All of these and future ones is one pattern; the sender's own events go by name beside `*`."""
    answer = operator.post(at(made.id, "/subscriptions"), [*given, ("do", "save")])

    assert answer.status == 200
    assert sorted(world.found(made.id).events) == sorted(asked)


def test_a_retry_plan_is_clock_times() -> None:
    """Of a delivery that begins now: its first attempt and its six retries, to the end of three days."""
    plan = retry_plan(PRODUCTION, NOW_MS)

    assert [one["at_ms"] - NOW_MS for one in plan] == [0, *(round(one * 1000) for one in PRODUCTION.offsets_s)]
    assert plan[-1]["after_ms"] == 3 * 86_400_000


def test_the_plan_of_other_waits_is_shown(operator: Browser) -> None:
    """By a button, before anything is saved."""
    answer = operator.post(NEW, {"schedule": "1m, 1h", "do": "plan"})

    assert "2026-11-27T09:01:00.000Z" in answer.text
    assert "2026-11-27T10:01:00.000Z" in answer.text


# --- changing one ----------------------------------------------------------------------------------------------------


def test_settings_are_changed(world: Ends, operator: Browser) -> None:
    """As they stand in the form; a sensitive header's value is not shown, and stays."""
    endpoint = world.endpoint("https://settings.example/", schedule=[60, 120], timeout_ms=5_000)
    tab = at(endpoint.id, "/settings")
    operator.submit(operator.get(tab), "settings", button="save", secret_headers="X-Key: hidden-value")
    page = operator.get(tab)
    fields = dict(page.page.form("settings").fields)
    assert (fields["schedule"], fields["timeout_s"], fields["secret_headers"]) == ("60s, 120s", "5", "X-Key:")
    assert "hidden-value" not in page.text

    answer = operator.submit(page, "settings", button="save", schedule="none", timeout_s="", description="Changed")

    assert answer.status == 200
    found = world.found(endpoint.id)
    assert (found.schedule, found.timeout_ms, found.description) == ("[]", None, "Changed")
    assert [one.value for one in world.sender.registry.headers_of(found)] == ["hidden-value"]
    assert dict(operator.get(tab).page.form("settings").fields)["schedule"] == "none"
    wrong = operator.submit(operator.get(tab), "settings", button="save", url="https://inner.example/")
    assert wrong.status == 422
    assert "HOOKLINE_ALLOWED_TARGETS" in wrong.page.text


def test_pause_and_resume_say_what_they_do(world: Ends, operator: Browser) -> None:
    """Counts first: all, the latest of each object, since, none; then what was chosen happens."""
    endpoint = world.endpoint("https://held.example/", ["dsync.user.updated"])
    paused = operator.submit(operator.get(at(endpoint.id, "/pause")), "pause")
    assert "held" in paused.page.text
    world.publish("dsync.user.updated", 3)
    page = operator.get(at(endpoint.id, "/resume?since=1h"))
    counts = operator.get(at(endpoint.id, "/resume?since=1h&format=json")).json["counts"]
    assert {name: (one["to_send"], one["to_cancel"]) for name, one in counts.items()} == {
        "all": (3, 0),
        "latest": (1, 2),
        "none": (0, 3),
        "since": (3, 0),
    }

    answer = operator.submit(page, "resume", deliver="latest")

    assert answer.path == at(endpoint.id)
    row = world.found(endpoint.id).row_id
    states = world.rows(f"select state from hookline_sender_deliveries where endpoint_row = {row} order by row_id")
    assert states == [("canceled",), ("canceled",), ("pending",)]
    assert operator.post(at(endpoint.id, "/resume"), {"deliver": "since", "since": "later"}).status == 422
    assert operator.post(at(endpoint.id, "/resume"), {"deliver": "some"}).status == 422


def test_disable_and_enable(world: Ends, operator: Browser, made: Any) -> None:
    """Each on a page that says what it means."""
    page = operator.get(at(made.id, "/disable"))
    assert "never gets those" in page.page.text
    operator.submit(page, "disable")
    assert world.found(made.id).status == "disabled"
    operator.submit(operator.get(at(made.id, "/enable")), "enable")
    assert world.found(made.id).status == "enabled"


def test_deleting_takes_the_typed_name(world: Ends, operator: Browser) -> None:
    """Another name deletes nothing."""
    endpoint = world.endpoint("https://delete.example/", description="To be deleted")
    page = operator.get(at(endpoint.id, "/delete"))

    wrong = operator.submit(page, "delete", name="something else")
    assert (wrong.status, world.found(endpoint.id).deleted_ms) == (422, None)
    answer = operator.submit(page, "delete", name="To be deleted")

    assert answer.path == "/dashboard/production/endpoints"
    assert world.found(endpoint.id).deleted_ms is not None
    assert operator.get(at(endpoint.id)).status == 404
    assert operator.get(at(endpoint.id, "/activity")).status == 200  # what became of it is still told


def test_the_tab_of_deliveries(world: Ends, operator: Browser) -> None:
    """What was sent there, by state and type."""
    endpoint = world.endpoint("https://deliveries.example/", ["dsync.*"])
    assert "Nothing was sent here yet" in operator.get(at(endpoint.id)).page.text
    [event_id] = world.publish("dsync.group.created")

    found = operator.get(at(endpoint.id, "?format=json")).json["deliveries"]
    assert [(one["event_id"], one["type"], one["state"]) for one in found] == [
        (event_id, "dsync.group.created", "pending")
    ]
    assert event_id in operator.get(at(endpoint.id)).page.text
    assert operator.get(at(endpoint.id, "?state=failed&format=json")).json["deliveries"] == []
    assert "No match" in operator.get(at(endpoint.id, "?type=user.created")).page.text


def test_the_tab_of_activity(world: Ends, operator: Browser, made: Any) -> None:
    """Versions, and who did what."""
    operator.post(at(made.id, "/pause"))

    told = operator.get(at(made.id, "/activity?format=json")).json

    assert [(one["actor"], one["action"]) for one in told["trail"]] == [
        ("user:ada", "endpoint.paused"),
        ("command", "endpoint.created"),
    ]
    assert [one["state"] for one in told["versions"]] == ["paused", "enabled"]


def test_recovering_counts_first_and_runs_as_a_job(world: Ends, operator: Browser) -> None:
    """Failed deliveries, and events never sent; nothing to send is said too."""
    endpoint = world.endpoint("https://recover.example/", ["dsync.group.updated"])
    world.publish("dsync.group.updated", 2)
    with world.database.transaction() as connection:
        row = world.found(endpoint.id).row_id
        connection.execute(
            "update hookline_sender_deliveries set state = 'failed', due_ms = null, reason = 'status_500'"
            f" where endpoint_row = {row}"
        )
    tab = at(endpoint.id, "/recover")
    counted = operator.get(tab + "?since=2h")
    assert "2 events since" in " ".join(counted.page.text.split())

    operator.submit(counted, "Send them")

    [(total, filtered)] = world.rows("select total, filter from hookline_sender_replays")
    assert total == 2
    assert json.loads(filtered)["endpoints"] == [endpoint.id]
    assert json.loads(filtered)["states"] == ["failed"]
    missing = operator.get(tab + "?what=missing&since=2h&events=dsync.group.updated")
    assert "There is nothing to send" in missing.page.text
    assert operator.get(tab + "?since=yesterday").status == 422
    assert operator.post(tab, {"since": "yesterday"}).status == 422


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_an_admin_sees_a_secret_by_a_press_that_is_recorded(world: Ends, admin: Browser, made: Any) -> None:
    """Not before, not in the twin, not again without another press."""
    secret, tab = world.secret(made.id), at(made.id, "/secret")
    before = admin.get(tab)
    assert secret not in before.text
    assert secret not in admin.get(tab + "?format=json").text

    shown = admin.submit(before, "Show the secret")

    assert secret in shown.text
    assert secret not in admin.post(tab + "?format=json").text
    assert secret not in admin.get(tab).text
    actions = [one["action"] for one in admin.get(at(made.id, "/activity?format=json")).json["trail"]]
    assert actions.count("endpoint.secret_revealed") == 2


def test_rotation(world: Ends, admin: Browser, made: Any) -> None:
    """An overlap is chosen, counts down, and can be ended now."""
    old, tab = world.secret(made.id), at(made.id, "/secret")
    assert admin.post(at(made.id, "/rotate"), {"overlap_h": "5"}).status == 422

    rotated = admin.submit(admin.get(at(made.id, "/rotate")), "rotate", overlap_h="72")

    assert world.secret(made.id) != old
    assert "2026-11-30T09:00:00.000Z" in rotated.text
    assert "data-due" in rotated.text
    revealed = admin.submit(admin.get(tab), "Show the secret").text
    assert old in revealed
    admin.submit(admin.get(at(made.id, "/revoke")), "revoke")
    assert world.found(made.id).old_secret_enc is None
    assert "No rotation is under way" in admin.get(at(made.id, "/revoke")).page.text


def test_an_operator_reads_no_secret(world: Ends, operator: Browser, made: Any) -> None:
    """In no page, no twin and no error; the presses of admins are refused by HTTP, and change nothing."""
    secret = world.secret(made.id)
    texts = []
    for page in (*endpoints.PAGES, *endpoint_forms.PAGES, *endpoint_acts.PAGES, *trials.PAGES):
        path = f"/dashboard{page.path}".replace("{environment}", "production").replace("{id}", made.id)
        if isinstance(page, Page):
            texts += [operator.get(path).text, operator.get(path + "?format=json").text]
    for refused in ("/secret", "/rotate", "/revoke"):
        answer = operator.post(at(made.id, refused), {"overlap_h": "0"})
        assert answer.status == 403
        texts += [answer.text, operator.post(at(made.id, refused + "?format=json"), {"overlap_h": "0"}).text]

    assert len(texts) > 30
    assert not [text for text in texts if secret in text]
    assert world.secret(made.id) == secret


def test_a_viewer_writes_nothing(world: Ends, made: Any) -> None:
    """Every action of these pages is refused by HTTP, and the pages have no forms that post."""
    before = world.rows("select count(*) from hookline_sender_audit")
    with world.browser("viewer") as viewer:
        for page in (*endpoints.PAGES, *endpoint_forms.PAGES, *endpoint_acts.PAGES, *trials.PAGES):
            path = f"/dashboard{page.path}".replace("{environment}", "production").replace("{id}", made.id)
            if isinstance(page, Action):
                assert viewer.post(path, {"do": "create", "name": made.description}).status == 403, path
            else:
                answer = viewer.get(path)
                assert answer.status == (200 if page.role == "viewer" else 403), path
                assert [form.action for form in answer.page.forms if form.method == "post"] in (
                    [],
                    ["/dashboard/sign-out"],
                )
    assert world.rows("select count(*) from hookline_sender_audit") == before


def test_what_is_not_there(operator: Browser) -> None:
    """A helpful 404, whatever stands in the path."""
    for tab in ("", "/test", "/subscriptions", "/settings", "/secret", "/activity", "/pause", "/resume", "/recover"):
        assert operator.get(at("we_%3Cscript%3E", tab)).status == 404
    for act in (
        "/test",
        "/check",
        "/subscriptions",
        "/settings",
        "/pause",
        "/resume",
        "/disable",
        "/delete",
        "/recover",
    ):
        answer = operator.post(at("we_unknown", act), {"type": "user.created", "data": "{}", "deliver": "all"})
        assert answer.status == 404, act
    assert operator.get("/dashboard/elsewhere/endpoints").status == 404


def test_texts_that_attack_the_page(world: Ends, operator: Browser) -> None:
    """What people and consumers write is text."""
    attack = '"><script>alert(1)</script></textarea>\u202e'
    endpoint = world.endpoint("https://attack.example/x?y=%22%3E", ["*"], description=attack)
    for tab in ("", "/test", "/subscriptions", "/settings", "/secret", "/activity", "/pause", "/delete"):
        text = operator.get(at(endpoint.id, tab)).text
        assert "<script>alert" not in text
        assert "\u202e" not in text.replace("&", "") or "value=" in text


# --- snippets --------------------------------------------------------------------------------------------------------


def test_each_framework_of_the_guide_has_code(admin: Browser, made: Any) -> None:
    """A tab each; the header's name is filled in, and no placeholder is left."""
    names = [entry.name for entry in (resources.files("hookline.dashboard") / "snippets").iterdir()]
    assert sorted(names) == sorted(f"{file}.txt" for _, _, file in SNIPPETS)
    for key, label, file in SNIPPETS:
        page = admin.get(at(made.id, f"/secret?code={key}"))
        assert label in page.page.text
        assert "workos-signature" in snippet(file).lower() or "HTTP_WORKOS_SIGNATURE" in snippet(file)
        assert "@" not in snippet(file).replace("@app", "").replace("@csrf", "").replace("@require", "").replace(
            "@workos-inc", ""
        )


_BODY = (
    b'{"object":"event","id":"event_01","event":"nobody.knows","data":{"id":"x"},"created_at":"2026-11-27T09:00:00Z"}'
)


def _asked_flask(code: str, kept: list[Any], headers: dict[str, str]) -> int:
    space: dict[str, Any] = {"__name__": "snippet", "keep": kept.append}
    exec(code, space)
    answer = space["app"].test_client().post("/webhooks", data=_BODY, headers=headers, content_type="application/json")
    status: int = answer.status_code
    return status


def _asked_fastapi(code: str, kept: list[Any], headers: dict[str, str]) -> int:
    space: dict[str, Any] = {"__name__": "snippet", "keep": kept.append}
    exec(code, space)
    with Browser(space["app"]) as browser:
        return browser._ask("POST", "/webhooks", _BODY, headers, follow=False).status


def _asked_django(code: str, kept: list[Any], headers: dict[str, str]) -> int:
    program = textwrap.dedent(
        """
        import json, sys
        import django
        from django.conf import settings
        settings.configure(ALLOWED_HOSTS=["*"])
        django.setup()
        from django.test import RequestFactory
        given = json.loads(sys.stdin.read())
        kept = []
        space = {"__name__": "snippet", "keep": kept.append}
        exec(given["code"], space)
        request = RequestFactory().post(
            "/webhooks", data=given["body"], content_type="application/json", headers=given["headers"]
        )
        print(json.dumps([space["webhooks"](request).status_code, len(kept)]))
        """
    )
    given = json.dumps({"code": code, "body": _BODY.decode(), "headers": headers})
    done = subprocess.run([sys.executable, "-c", program], input=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    status, count = json.loads(done.stdout)
    kept += [None] * count
    return int(status)


@pytest.mark.parametrize(
    ("file", "ask"), [("flask.py", _asked_flask), ("fastapi.py", _asked_fastapi), ("django.py", _asked_django)]
)
def test_the_python_code_does_what_it_says(
    monkeypatch: pytest.MonkeyPatch, file: str, ask: Callable[[str, list[Any], dict[str, str]], int]
) -> None:
    """As it is copied: a genuine request is kept and answered 200, a forged one is refused."""
    pytest.importorskip("workos")
    for name, value in {
        "WORKOS_API_KEY": "sk_test",
        "WORKOS_CLIENT_ID": "client_test",
        "WEBHOOK_SECRET": "whsec_of_the_snippet",
    }.items():
        monkeypatch.setenv(name, value)
    now_ms = int(time.time() * 1000)
    kept: list[Any] = []

    genuine = ask(snippet(file), kept, {"WorkOS-Signature": sign(_BODY, "whsec_of_the_snippet", timestamp_ms=now_ms)})
    forged = ask(snippet(file), kept, {"WorkOS-Signature": sign(_BODY, "whsec_another", timestamp_ms=now_ms)})

    assert (genuine, forged, len(kept)) == (200, 401, 1)

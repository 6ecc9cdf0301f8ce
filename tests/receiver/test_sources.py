"""Several sources in one receiver: each with its own door, its own mirror, its own handlers, and in one database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import BuiltinMethodType
from typing import Any

import pytest

from hookline import Change, ConfigError, Event, Receiver, Retention, Source
from hookline.receiver.asgi import AsgiDoor
from hookline.receiver.receive import Door, Doors
from hookline.receiver.retention import DAY_S
from hookline.receiver.sources import DEFAULT_PATH
from hookline.testing.clock import TurnedClock
from hookline.testing.signed import signed_request

from .company import START_MS, Company

PRODUCTION, STAGING, PARTNER = "whsec_production_0001", "whsec_staging_0001", "whsec_partner_0001"
TOKEN = "k7Yp-unguessable"
PEER = "203.0.113.7"
PATHS = {"production": "/webhooks/production", "staging": f"/from-staging/{TOKEN}", "partner": "/webhooks/partner"}


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(START_MS)


def three(**changes: Any) -> list[Source]:
    """One of each kind: the usual, a hidden one with a short memory, and one whose secrets are not set."""
    return [
        Source("production", [PRODUCTION], **changes),
        Source(
            "staging",
            [STAGING],
            path="/from-staging",
            path_token=TOKEN,
            max_body=2_000,
            retention=Retention(bodies_s=DAY_S, redacted_s=2 * DAY_S, ids_s=100 * DAY_S),
        ),
        Source("partner", allowed_ips=["203.0.113.0/24"]),
    ]


@pytest.fixture
def hooks(database_url: str, clock: TurnedClock) -> Iterator[Receiver]:
    with Receiver(database_url, sources=three(), clock=clock) as hooks:
        yield hooks


def post(hooks: Receiver, source: str, event: dict[str, Any], secret: str, *, peer: str = PEER) -> int:
    request = signed_request(json.dumps(event).encode(), secret, timestamp_ms=hooks.clock.now_ms())
    return hooks.receive("POST", PATHS[source], request.headers, request.body, peer)[0]


def rows(hooks: Receiver, sql: str) -> list[tuple[Any, ...]]:
    database = hooks.database
    assert database is not None
    with database.read() as connection:
        return [tuple(row) for row in connection.cursor().execute(sql).fetchall()]


# -- the doors


def test_each_source_takes_what_its_own_secrets_sign(hooks: Receiver, company: Company) -> None:
    """Another source's secret proves nothing, and what is not configured is closed for itself alone."""
    event = company.user("created")

    answers = {
        (source, secret): post(hooks, source, event, secret) for source in PATHS for secret in (PRODUCTION, STAGING)
    }

    assert answers == {
        ("production", PRODUCTION): 200,
        ("production", STAGING): 401,
        ("staging", PRODUCTION): 401,
        ("staging", STAGING): 200,
        ("partner", PRODUCTION): 503,
        ("partner", STAGING): 503,
    }
    assert rows(hooks, "select source, event_id from hookline_inbox order by source") == [
        ("production", event["id"]),
        ("staging", event["id"]),
    ]
    assert hooks.is_ready()


def test_the_rules_of_a_source_are_its_own(hooks: Receiver, company: Company) -> None:
    """Size and addresses are asked of the source at that path, not of another."""
    large = company.user("created", last_name="x" * 3_000)

    sizes = [post(hooks, "production", large, PRODUCTION), post(hooks, "staging", large, STAGING)]
    addresses = [post(hooks, source, large, PRODUCTION, peer="192.0.2.9") for source in ("production", "partner")]

    assert sizes == [200, 413]
    assert addresses == [200, 403]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize(
    "path",
    ["/webhooks", "/from-staging", f"/from-staging/{TOKEN}x", f"/webhooks/{TOKEN}", f"/webhooks/production/{TOKEN}"],
)
def test_elsewhere_there_is_no_door(hooks: Receiver, method: str, path: str) -> None:
    """404 for every method: a scanner learns of no source."""
    assert hooks.receive(method, path, {}, b"", PEER)[0] == 404


def test_refusals_are_counted_by_source(hooks: Receiver, company: Company) -> None:
    """What is refused where there is no door is no source's."""
    event = company.user("created")
    post(hooks, "production", event, STAGING)
    post(hooks, "staging", event, PRODUCTION)
    post(hooks, "staging", event, PRODUCTION)
    post(hooks, "partner", event, PRODUCTION)
    hooks.receive("POST", "/elsewhere", {}, b"", PEER)
    hooks.flush()

    assert rows(hooks, "select source, reason, times from hookline_rejections order by 1") == [
        ("", "path", 1),
        ("partner", "no_secret", 1),
        ("production", "mismatch", 1),
        ("staging", "mismatch", 2),
    ]
    assert hooks.counters.refused["staging", "mismatch"] == 2
    with hooks.look("staging") as (queries, connection):
        assert queries.stats(connection, since_ms=0).rejections == {"mismatch": 2}
    with hooks.look() as (queries, connection):
        assert queries.stats(connection, since_ms=0).rejections == {"mismatch": 3, "no_secret": 1, "path": 1}


def test_one_door_is_found_without_a_call_of_ours() -> None:
    """Where no path is a secret the way to the door is one look-up in a dict, however many sources there are."""
    doors = Doors([Door([PRODUCTION], source=name, path=f"/{name}") for name in ("one", "other")])

    assert isinstance(doors.find, BuiltinMethodType)
    found = [doors.find(path) for path in ("/one", "/one/", "/other", "/", "/one//")]
    one, other = doors
    assert found == [one, one, other, None, None]


def test_every_token_is_compared_wherever_the_path_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time a wrong path takes says nothing of a token, nor of how many sources there are before it."""
    compared: list[bytes] = []

    def compare(given: bytes, secret: bytes) -> bool:
        compared.append(secret)
        return given == secret

    monkeypatch.setattr("hookline.receiver.receive.hmac.compare_digest", compare)
    doors = Doors([Door([PRODUCTION], source=name, path=f"/{name}", path_token=f"{name}-token") for name in "abc"])
    counts = []
    for path in ("/a/a-token", "/b/b-token/", "/c/c-token", "/a", "/elsewhere", "/b/a-token", "/é\udcff"):
        compared.clear()
        doors.find(path)
        counts.append(len(compared))

    assert counts == [3] * 7
    assert doors.find("/b/b-token/") is list(doors)[1]


def test_the_door_is_the_same_through_a_server(hooks: Receiver, company: Company) -> None:
    """WSGI and ASGI ask the door at the path, too."""
    import asyncio
    import io

    body = json.dumps(company.user("created")).encode()
    request = signed_request(body, STAGING, timestamp_ms=hooks.clock.now_ms())
    statuses: list[Any] = []

    for source in ("staging", "production"):
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": PATHS[source],
            "REMOTE_ADDR": PEER,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()},
        }
        statuses.append(hooks.wsgi().answer(environ, PATHS[source])[0])
        statuses.append(asyncio.run(_status(hooks.asgi(), PATHS[source], request.headers, body)))

    assert statuses == [200, 200, 401, 401]


async def _status(door: AsgiDoor, path: str, headers: Any, body: bytes) -> int:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": path, "headers": pairs, "client": (PEER, 1)}
    await door(scope, receive, send)
    return int(sent[0]["status"])


# -- handlers and the mirror


def test_handlers_hear_of_their_source_or_of_all(hooks: Receiver, company: Company) -> None:
    """Facts and changes alike; what they are told says where it is from."""
    heard: list[tuple[str, str | None]] = []

    @hooks.on("dsync.user.created", name="fact of all")
    def fact(event: Event, tx: Any) -> None:
        heard.append(("fact", event.source))

    @hooks.on("dsync.*", source="staging", name="fact of one")
    def fact_of_one(event: Event, tx: Any) -> None:
        heard.append(("fact of staging", event.source))

    @hooks.on_change("directory_user", source="production", name="change of one")
    def change_of_one(change: Change, tx: Any) -> None:
        heard.append(("change of production", change.source))

    @hooks.on_change("directory_user", name="change of all")
    def change(change: Change, tx: Any) -> None:
        heard.append(("change", change.source))

    hooks.drain()
    event = company.user("created")
    assert [post(hooks, "production", event, PRODUCTION), post(hooks, "staging", event, STAGING)] == [200, 200]
    hooks.drain()

    assert sorted(heard) == [
        ("change", "production"),
        ("change", "staging"),
        ("change of production", "production"),
        ("fact", "production"),
        ("fact", "staging"),
        ("fact of staging", "staging"),
    ]
    assert rows(hooks, "select name, source from hookline_handlers where source is not null order by 1") == [
        ("change of one", "production"),
        ("fact of one", "staging"),
    ]


def test_whatever_process_applies_makes_the_runs_of_a_source(hooks: Receiver, company: Company) -> None:
    """Which source a handler is for is stored: a worker without that handler makes its runs, and no others."""
    hooks.on("dsync.*", source="staging", name="for staging")(lambda event, tx: None)
    hooks.worker().register()
    for source, secret in (("production", PRODUCTION), ("staging", STAGING)):
        post(hooks, source, company.user("created"), secret)

    database_url = hooks._database_url
    with Receiver(database_url, sources=three(), clock=hooks.clock) as without_handlers:
        without_handlers.drain()

    assert rows(
        hooks,
        "select r.handler, i.source, r.state from hookline_runs r join hookline_inbox i on i.seq = r.inbox_seq",
    ) == [("for staging", "staging", "pending")]


def test_a_handler_may_come_to_be_for_another_source(hooks: Receiver, company: Company) -> None:
    """The newest registration says it, as it does of the pattern."""
    database_url = hooks._database_url
    hooks.on("dsync.*", source="staging", name="mine")(lambda event, tx: None)
    hooks.worker().register()
    with Receiver(database_url, sources=three(), clock=hooks.clock) as later:
        later.on("dsync.*", name="mine")(lambda event, tx: None)
        later.worker().register()
        post(later, "production", company.user("created"), PRODUCTION)
        later.drain()

        assert rows(later, "select handler, state from hookline_runs") == [("mine", "succeeded")]


def test_each_source_has_its_own_mirror(hooks: Receiver, company: Company) -> None:
    """The same id in two sources is two objects; whoever asks says whose, or is told to."""
    post(hooks, "production", company.user("created"), PRODUCTION)
    post(hooks, "staging", company.user("created", state="inactive"), STAGING)
    hooks.drain()

    assert hooks.is_active("directory_user", "user_1", source="production")
    assert not hooks.is_active("directory_user", "user_1", source="staging")
    assert not hooks.is_active("directory_user", "user_1", source="partner")
    with pytest.raises(ConfigError, match=r"^source: expected one of production, staging, partner"):
        hooks.is_active("directory_user", "user_1")
    with pytest.raises(ConfigError, match=r"^is_active: no source is 'prodution'; did you mean 'production'"):
        hooks.is_active("directory_user", "user_1", source="prodution")


def test_what_is_looked_at_is_of_one_source_or_of_all(hooks: Receiver, company: Company) -> None:
    """Entries and runs say whose they are; of one event id each source may have one."""
    hooks.on("dsync.user.created", name="welcome")(lambda event, tx: None)
    hooks.worker().register()
    event = company.user("created")
    for source, secret in (("production", PRODUCTION), ("staging", STAGING)):
        post(hooks, source, event, secret)
    post(hooks, "staging", company.user("deleted", "user_2"), STAGING)
    hooks.drain()

    def seen(source: str | None) -> tuple[Any, ...]:
        with hooks.look(source) as (queries, connection):
            stats = queries.stats(connection, since_ms=0)
            return (
                [entry.source for entry in queries.entries(connection)],
                [entry.source for entry in queries.entries(connection, event_id=event["id"])],
                [run.source for run in queries.runs(connection)],
                (stats.entries, sum(stats.outcomes.values())),
                queries.sources(connection),
                queries.body(connection, event["id"]) is not None,
            )

    both = ["staging", "staging", "production"]
    assert seen(None)[0] == both
    assert seen(None)[1:] == (both[1:], both[1:], (3, 3), ["partner", "production", "staging"], True)
    assert seen("staging") == (both[:2], both[:1], both[:1], (2, 2), ["staging"], True)
    assert seen("partner") == ([], [], [], (0, 0), ["partner"], False)


def test_what_is_kept_is_kept_by_the_rule_of_its_source(hooks: Receiver, company: Company, clock: TurnedClock) -> None:
    """One worker prunes all sources, each by its own retention; what was refused at no door goes with any."""
    for source, secret in (("production", PRODUCTION), ("staging", STAGING)):
        post(hooks, source, company.user("created"), secret)
    hooks.receive("POST", "/elsewhere", {}, b"", PEER)
    hooks.flush()
    hooks.drain()
    clock.advance(3 * DAY_S * 1000)

    hooks.worker().prune()

    assert rows(hooks, "select source, body is null from hookline_inbox order by 1") == [
        ("production", False),
        ("staging", True),
    ]
    assert rows(hooks, "select * from hookline_rejections") == []


def test_an_idle_worker_comes_to_the_retention_of_every_source(
    hooks: Receiver, company: Company, clock: TurnedClock
) -> None:
    """Also without being told to, and also of the last one."""
    post(hooks, "staging", company.user("created"), STAGING)
    hooks.drain()
    clock.advance(3 * DAY_S * 1000)

    hooks.drain()

    assert rows(hooks, "select body is null from hookline_inbox") == [(True,)]


# -- what is refused when it is built


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], "sources: expected a list of Source"),
        (["production"], "sources: expected a list of Source"),
        ([Source("one", path="/a"), Source("one", path="/b")], "sources: expected each name once, got two of 'one'"),
        ([Source("one", path="/a"), Source("two", path="/a")], "sources: 'two' has the path of another source"),
        (
            [Source("one", path="/a"), Source("two", path="/a", path_token="t")],
            "sources: 'two' has the path of another source",
        ),
        (
            [Source("one", path="/a/secret-word"), Source("two", path="/a", path_token="secret-word")],
            "sources: 'two' has the path of another source",
        ),
    ],
)
def test_sources_that_cannot_be_told_apart_are_refused(sources: list[Any], message: str) -> None:
    """Of one name, or at one path, in whatever way that comes to be; a token is not shown."""
    with pytest.raises(ConfigError) as refused:
        Receiver("sqlite:///x.db", sources=sources)

    assert str(refused.value).startswith(message)
    assert "secret-word" not in str(refused.value)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("secrets", [PRODUCTION]),
        ("source", "staging"),
        ("path", "/hooks"),
        ("path_token", "t"),
        ("allowed_ips", "workos"),
        ("tolerance_s", None),
        ("max_body", 10),
        ("redact", None),
        ("retention", None),
    ],
)
def test_what_is_of_one_source_is_not_said_beside_several(argument: str, value: Any) -> None:
    """It would be unclear which of them it is about."""
    with pytest.raises(ConfigError) as refused:
        Receiver("sqlite:///x.db", sources=three(), **{argument: value})

    assert refused.value.setting == argument


@pytest.mark.parametrize("name", ["", "a b", "a/b", "..", "é", "x" * 65, "-a", None])
def test_names_fit_into_paths(name: Any) -> None:
    """And into keys, logs and settings."""
    with pytest.raises(ConfigError, match="expected a name"):
        Source(name)


def test_a_source_shows_no_secret() -> None:
    """Neither in its repr nor in an error."""
    text = repr(Source("one", [PRODUCTION], path_token=TOKEN))

    assert PRODUCTION not in text
    assert TOKEN not in text


@pytest.mark.parametrize("decorate", ["on", "on_change"])
def test_a_handler_for_a_source_that_is_not_there_is_refused(hooks: Receiver, decorate: str) -> None:
    """It would never be called; the nearest name is said."""
    what = "dsync.*" if decorate == "on" else "directory_user"

    with pytest.raises(ConfigError, match=f"^{decorate}: no source is 'stagin'; did you mean 'staging'"):
        getattr(hooks, decorate)(what, source="stagin")


def test_the_short_form_is_one_source() -> None:
    """Its path is the same whatever its name; a source of a list has its name in its path, but for `default`."""
    [alone] = Receiver("sqlite:///x.db", secrets=[PRODUCTION], source="staging").sources

    assert (alone.name, alone.path, list(alone.secrets)) == ("staging", DEFAULT_PATH, [PRODUCTION])
    assert [Source(name).path for name in ("default", "staging")] == ["/webhooks", "/webhooks/staging"]

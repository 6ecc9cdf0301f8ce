"""Hookline as an extension of Flask apps: the door among what stands before views, contexts, settings, the command."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import TestResponse

from hookline.adapters.dbapi import SqliteTransactions
from hookline.adapters.flask import Hooks
from hookline.errors import ConfigError
from hookline.testing.signed import SignedRequest, signed_request

from ..apps import rows_at
from ..receiver.company import Company
from .flask_shop import SECRET, create_app, db, hooks

DOOR = "/hooks/webhooks"


def request_of(body: bytes | None = None, *, secret: str = SECRET) -> SignedRequest:
    if body is None:
        body = json.dumps(Company().user("created")).encode()
    return signed_request(body, secret, timestamp_ms=time.time_ns() // 1_000_000)


def post(app: Flask, signed: SignedRequest | None = None, path: str = DOOR, **environ: Any) -> TestResponse:
    signed = signed or request_of()
    return app.test_client().post(path, data=signed.body, headers=signed.headers, environ_overrides=environ)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shop.db'}"
    cluster = request.getfixturevalue("postgres")
    made: str = cluster.url(cluster.create())
    return made


@pytest.fixture
def shop(url: str) -> Iterator[Flask]:
    """The shop, its tables and Hookline's on that database."""
    app = create_app(url)
    with app.app_context():
        db.create_all()
        hooks.receiver.migrate()
        hooks.receiver.drain()  # handlers start at now
    yield app
    with app.app_context():
        hooks.receiver.close()
        db.engine.dispose()


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., tuple[Flask, Hooks]]:
    """Makes an app on a database of Hookline's own."""

    def made(*, url_prefix: str = "/hooks", **settings: Any) -> tuple[Flask, Hooks]:
        app, own = Flask("small"), Hooks(url_prefix=url_prefix)
        url = f"sqlite:///{tmp_path / 'own.db'}"
        app.config["HOOKLINE"] = {"WEBHOOK_SECRETS": [SECRET], "DATABASE_URL": url, **settings}
        own.init_app(app)
        return app, own

    return made


# -- the app's transaction and its context


def test_a_webhook_is_kept_mirrored_and_handled_in_the_shops_transaction(shop: Flask, url: str) -> None:
    """No login, no CSRF token, though the shop asks for both; a repeat has no second effect."""
    answers = [post(shop), post(shop)]
    with shop.app_context():
        hooks.receiver.drain()
        is_active = hooks.receiver.is_active("directory_user", "user_1")

    assert [(answer.status_code, answer.data) for answer in answers] == [(200, b"")] * 2
    assert rows_at(url, "select event_id, app from letters") == [("event_000001", "the shop")]
    assert rows_at(url, "select id from hookline_directory_users_live") == [("user_1",)]
    assert rows_at(url, "select handler, state, attempt from hookline_runs") == [("shop.letters", "succeeded", 1)]
    assert is_active
    assert shop.test_client().post("/orders").status_code == 400  # no CSRF token
    assert shop.test_client().get("/account").status_code == 401


def test_handlers_are_called_within_the_context_of_their_app(tmp_path: Path) -> None:
    """One extension, two apps of a factory, each with its database; plain and async, registered early and late."""
    own = Hooks()
    heard: list[tuple[str, str]] = []

    @own.on("dsync.user.created", name="plain")
    def plain(event: Any, tx: Any) -> None:
        heard.append(("plain", current_app.name))

    apps = []
    for name in ("first", "second"):
        app = Flask(name)
        app.config["HOOKLINE"] = {"WEBHOOK_SECRETS": SECRET, "DATABASE_URL": f"sqlite:///{tmp_path / name}.db"}
        own.init_app(app)
        apps.append(app)

    @own.on_change("directory_user", name="async")
    async def later(change: Any, tx: Any) -> None:
        heard.append(("async", current_app.name))

    for app in apps:
        receiver = app.extensions["hookline"]
        receiver.drain()
        assert post(app, path="/webhooks").status_code == 200
        receiver.drain()
        receiver.close()

    assert sorted(heard) == [("async", "first"), ("async", "second"), ("plain", "first"), ("plain", "second")]


def test_what_fails_after_the_commit_does_not_unsay_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Functions of `teardown_appcontext` are called when all is kept: the sender is answered 200, the run is done."""
    path = tmp_path / "own.db"
    app = Flask("torn down")
    app.config["HOOKLINE"] = {"WEBHOOK_SECRETS": SECRET}
    Hooks(app, transactions=SqliteTransactions(lambda: sqlite3.connect(path)))

    @app.teardown_appcontext
    def fail(error: BaseException | None) -> None:
        raise RuntimeError("of whsec_somebody")

    receiver = app.extensions["hookline"]
    receiver.migrate()
    answer = post(app, path="/webhooks")

    assert (answer.status_code, answer.data) == (200, b"")
    assert rows_at(f"sqlite:///{path}", "select count(*) from hookline_inbox") == [(1,)]
    assert "teardown_appcontext failed (RuntimeError)" in caplog.text
    assert "whsec_somebody" not in caplog.text


def test_a_receiver_is_found_by_its_apps_context(make: Callable[..., tuple[Flask, Hooks]]) -> None:
    """As everything of Flask's is."""
    app, own = make()

    with app.app_context():
        assert own.receiver is app.extensions["hookline"]
    with pytest.raises(RuntimeError, match="application context"):
        _ = own.receiver
    with pytest.raises(ConfigError, match="initialised with it before"):
        own.init_app(app)


# -- the door


def guarded_by_a_login(app: Flask) -> None:
    app.before_request(lambda: ("who are you?", 401))


def moved_to_https(app: Flask) -> None:
    app.before_request(lambda: redirect(request.url.replace("http://", "https://")))


def read_to_its_end(app: Flask) -> None:
    def read() -> None:
        request.stream.read()

    app.before_request(read)


def read_as_json(app: Flask) -> None:
    def read() -> None:
        assert request.get_json()

    app.before_request(read)


def failing_afterwards(app: Flask) -> None:
    def fail(response: Any) -> ResponseReturnValue:
        raise RuntimeError

    app.after_request(fail)


def limited_in_size(app: Flask) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 10


def told_its_hosts(app: Flask) -> None:
    app.config["TRUSTED_HOSTS"] = ["shop.example"]


@pytest.mark.parametrize(
    "trap",
    [
        guarded_by_a_login,
        moved_to_https,
        read_to_its_end,
        read_as_json,
        failing_afterwards,
        limited_in_size,
        told_its_hosts,
    ],
)
@pytest.mark.parametrize("is_early", [True, False], ids=["before init_app", "after init_app"])
def test_nothing_of_the_apps_stands_before_the_door(
    make: Callable[..., tuple[Flask, Hooks]], tmp_path: Path, trap: Callable[[Flask], None], is_early: bool
) -> None:
    """What it has for all its requests is for its pages; a webhook is kept and answered 200."""
    app, own = Flask("trapped"), Hooks(url_prefix="/hooks")
    app.config["HOOKLINE"] = {"WEBHOOK_SECRETS": SECRET, "DATABASE_URL": f"sqlite:///{tmp_path / 'own.db'}"}
    if is_early:
        trap(app)
    own.init_app(app)
    if not is_early:
        trap(app)

    answer = post(app)

    assert (answer.status_code, answer.data) == (200, b"")
    assert rows_at(f"sqlite:///{tmp_path / 'own.db'}", "select count(*) from hookline_inbox") == [(1,)]


def test_a_middleware_around_the_app_that_reads_the_body(
    make: Callable[..., tuple[Flask, Hooks]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has the bytes then: the operator reads why, and the sender comes again."""
    app, _ = make()
    inner = app.wsgi_app

    def outer(environ: Any, start_response: Any) -> Any:
        environ["wsgi.input"].read()
        return inner(environ, start_response)

    app.wsgi_app = outer  # type: ignore[method-assign]
    answer = post(app)
    app.extensions["hookline"].flush()

    assert (answer.status_code, answer.data, answer.headers["retry-after"]) == (503, b"consumed\n", "60")
    assert "has read the body before the door could" in caplog.text


@pytest.mark.parametrize("is_outermost", [True, False], ids=["around the door", "within the door"])
@pytest.mark.parametrize(
    ("trusted", "forwarded", "status"),
    [
        ("127.0.0.1", "3.217.146.166", 200),
        ("127.0.0.1", "203.0.113.9", 403),
        ("127.0.0.1", "3.217.146.166, 203.0.113.9", 403),
        (None, "3.217.146.166", 403),
    ],
    ids=["the source", "somebody", "somebody who says to be the source", "no proxy is trusted"],
)
def test_proxy_fix_changes_nothing_for_the_door(
    make: Callable[..., tuple[Flask, Hooks]], is_outermost: bool, trusted: str | None, forwarded: str, status: int
) -> None:
    """It believes a number of entries whoever connects; the door believes the proxies it was told of."""
    app, own = Flask("behind a proxy"), Hooks(url_prefix="/hooks")
    app.config["HOOKLINE"] = {
        "WEBHOOK_SECRETS": SECRET,
        "ALLOWED_IPS": "3.217.146.166",
        "TRUSTED_PROXIES": trusted,
        "DATABASE_URL": make()[0].config["HOOKLINE"]["DATABASE_URL"],
    }
    if not is_outermost:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=2)  # type: ignore[method-assign]
    own.init_app(app)
    if is_outermost:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=2)  # type: ignore[method-assign]
    signed = request_of()

    answer = post(app, SignedRequest(signed.body, {**signed.headers, "X-Forwarded-For": forwarded}))

    assert answer.status_code == status


def test_who_does_not_know_the_token_hears_nothing_of_the_app(make: Callable[..., tuple[Flask, Hooks]]) -> None:
    """Below the door all paths are alike, and alike for every method."""
    app, _ = make(PATH_TOKEN="tok3n_of_the_tests")
    guarded_by_a_login(app)
    client = app.test_client()

    answers = {
        client.open(path, method=method).status_code
        for path in (DOOR, f"{DOOR}/", f"{DOOR}/other", f"{DOOR}/tok3n_of_the_tests/more")
        for method in ("GET", "POST", "PUT")
    }

    assert answers == {404}
    assert [
        post(app, path=path).status_code for path in (f"{DOOR}/tok3n_of_the_tests", f"{DOOR}/tok3n_of_the_tests/")
    ] == [200, 200]


@pytest.mark.parametrize(
    "path", ["/hooks/webhooks/more", "/hooks/webhooksx", "/webhooks", "/hooks", "/x/hooks/webhooks"]
)
def test_other_paths_are_the_apps(make: Callable[..., tuple[Flask, Hooks]], path: str) -> None:
    """Also those that look like it."""
    app, _ = make()
    app.add_url_rule(path, view_func=lambda: "of the app", methods=["POST"])

    assert post(app, path=path).data == b"of the app"


def test_a_source_may_have_its_path_apart_from_the_others(make: Callable[..., tuple[Flask, Hooks]]) -> None:
    """The app has all that is at neither; a handler of a source that there is not is refused."""
    sources = {"a": {"WEBHOOK_SECRETS": SECRET}, "b": {"WEBHOOK_SECRETS": SECRET, "PATH": "/of/b"}}
    app, own = make(SOURCES=sources, WEBHOOK_SECRETS=None)
    guarded_by_a_login(app)

    paths = [DOOR, f"{DOOR}/a", f"{DOOR}/b", "/hooks/of/b", "/hooks/of/b/", "/hooks/of"]
    assert [post(app, path=path).status_code for path in paths] == [401, 200, 401, 200, 200, 401]

    own.on("dsync.user.created", source="c", name="h")(lambda event, tx: None)
    with pytest.raises(ConfigError, match="no source is 'c'"):
        app.extensions["hookline"].drain()


def test_a_database_that_is_away_keeps_the_rest_of_the_site(tmp_path: Path) -> None:
    """503 to the sender, at once; the shop's own pages go on."""
    for away in ("postgresql://hookline@127.0.0.1:1/nobody", f"sqlite:///{tmp_path}/missing/shop.db"):
        shop = create_app(away)
        answer, page = post(shop), shop.test_client().get("/")

        assert (answer.status_code, answer.data, answer.headers["retry-after"]) == (503, b"unavailable\n", "5")
        assert (page.status_code, page.data) == (200, b"open")


# -- settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"WEBHOOK_SECRET": ["x"]}, "the nearest is WEBHOOK_SECRETS"),
        ({"PORT": 80}, "PORT: not a key of HOOKLINE"),
        ({"MAX_BODY": "much"}, r'HOOKLINE\["MAX_BODY"\]: expected a size'),
        ({"DATABASE_URL": "mysql://x"}, "database_url: "),
        ("secrets", "HOOKLINE: expected a dict, got str"),
    ],
)
def test_a_setting_that_is_wrong_is_named(given: Any, message: str) -> None:
    """Where the app is made, not where the first webhook fails."""
    app = Flask("wrong")
    app.config["HOOKLINE"] = given

    with pytest.raises(ConfigError, match=message):
        Hooks(app)


def test_two_databases_are_refused(shop: Flask) -> None:
    """Which of them would hold the inbox?"""
    app = Flask("two")
    app.config["HOOKLINE"] = {"DATABASE_URL": "sqlite:///x.db"}

    with pytest.raises(ConfigError, match="not both"):
        hooks.init_app(app)
    with pytest.raises(ConfigError, match="url_prefix: expected a path"):
        Hooks(url_prefix="hooks/")


def test_what_is_not_in_the_dict_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As everywhere in Hookline; the database, too."""
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", SECRET)
    monkeypatch.setenv("HOOKLINE_DATABASE_URL", f"sqlite:///{tmp_path / 'of_the_environment.db'}")
    app = Flask("bare")
    Hooks(app)

    assert post(app, path="/webhooks").status_code == 200
    assert rows_at(f"sqlite:///{tmp_path / 'of_the_environment.db'}", "select count(*) from hookline_inbox") == [(1,)]


def test_a_handler_for_what_is_not_mirrored_is_refused(make: Callable[..., tuple[Flask, Hooks]]) -> None:
    """It would never be called; said where the worker starts, whichever came first, the handler or the app."""
    app, own = make()
    own.on_change("invitation", name="invited")(lambda change, tx: None)
    other, mirroring = make(MIRROR=["invitation"])
    mirroring.on_change("invitation", name="invited")(lambda change, tx: None)

    with pytest.raises(ConfigError, match=r"MIRROR.*invited waits for changes of 'invitation'"):
        app.extensions["hookline"].drain()
    other.extensions["hookline"].drain()


# -- the command


def command(app: Flask, *arguments: str) -> Any:
    result = app.test_cli_runner().invoke(args=["hookline", *arguments])
    assert result.exit_code == (1 if arguments[0] == "status" else 0), result.output  # no worker was ever seen
    return json.loads(result.stdout)


def test_the_command_is_hooklines_own_on_the_apps_database(shop: Flask) -> None:
    """By the receiver of an app that is no attribute of any module."""
    post(shop)
    with shop.app_context():
        hooks.receiver.drain()

    assert [entry["event_id"] for entry in command(shop, "inbox", "list", "--json")] == ["event_000001"]
    status = command(shop, "status", "--json")
    assert (status["receiver"]["waiting"], len(status["needs"])) == (0, 1)
    assert {one["check"]: one["verdict"] for one in command(shop, "doctor", "--json")}["database"] == "ok"
    assert command(shop, "mirror", "status", "--json")
    runner = shop.test_cli_runner()
    assert runner.invoke(args=["hookline", "inbox", "show", "event_9"]).exit_code == 3
    assert runner.invoke(args=["hookline", "migrate"]).stdout == "up to date\n"
    assert "Commands" in runner.invoke(args=["hookline", "--help"]).stdout


def test_commands_that_open_the_database_themselves_find_it(make: Callable[..., tuple[Flask, Hooks]]) -> None:
    """By its URL, which is that of each app; where the app alone knows it, they say so and make none."""
    app, _ = make()
    migrated = app.test_cli_runner().invoke(args=["hookline", "migrate"])
    current = json.loads(app.test_cli_runner().invoke(args=["hookline", "db", "current", "--json"]).stdout)
    unknown = Flask("unknown")
    Hooks(unknown, transactions=SqliteTransactions(lambda: sqlite3.connect(":memory:")))

    assert migrated.stdout == "up to date\n"  # one of Hookline's own is, once it is open
    assert [one["applied"] == one["known"] for one in current if one["part"] == "receiver"] == [True]
    refused = unknown.test_cli_runner().invoke(args=["hookline", "db", "upgrade"])
    assert (refused.exit_code, "flask hookline migrate" in refused.stderr) == (2, True)
    assert "HOOKLINE_APP" not in os.environ

"""Hookline as an app of a Django project: the door, its settings, the tables, the command."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import date
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from django.core import checks
from django.core.management import CommandError, call_command
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.test import AsyncClient, Client, override_settings
from django.urls import clear_url_caches, reverse

from hookline.adapters.django import hooks, urls
from hookline.adapters.settings import receiver_options
from hookline.errors import ConfigError
from hookline.receiver.app import Receiver
from hookline.receiver.sources import Source
from hookline.storage.migrate import load_migrations
from hookline.testing.fake_workos import FakeWorkOS
from hookline.testing.signed import SignedRequest, signed_request

from ..apps import django_database, rows_at
from ..postgres import Cluster
from ..receiver.company import Company
from .shop import urls as shop_urls
from .shop.models import Letter
from .shop.settings import MIDDLEWARE, SECRET, database_at

DOOR = "/hooks/webhooks"


def request(body: bytes | None = None, *, secret: str = SECRET) -> SignedRequest:
    if body is None:
        body = json.dumps(Company().user("created")).encode()
    return signed_request(body, secret, timestamp_ms=time.time_ns() // 1_000_000)


def post(signed: SignedRequest, path: str = DOOR, **more: Any) -> Any:
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    headers = {name: value for name, value in signed.headers.items() if name.lower() != "content-type"}
    return client.post(path, signed.body, content_type="application/json", headers=headers, **more)


def kept(url: str) -> int:
    ((count,),) = rows_at(url, "select count(*) from hookline_inbox")
    return int(count)


# -- the door


def test_a_webhook_is_kept_mirrored_and_handled_in_the_shops_transaction(shop: str) -> None:
    """No login, no CSRF token; the handler is found in `webhooks.py`, and a repeat has no second effect."""
    hooks.drain()
    answers = [post(request()), post(request())]
    hooks.drain()

    assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"")] * 2
    assert [letter.event_id for letter in Letter.objects.all()] == ["event_000001"]
    assert rows_at(shop, "select id from hookline_directory_users_live") == [("user_1",)]
    assert rows_at(shop, "select handler, state from hookline_runs") == [("shop.letters", "succeeded")]
    assert hooks.is_active("directory_user", "user_1")


@pytest.mark.parametrize("path", [DOOR, DOOR + "/"])
def test_both_spellings_of_the_path_are_the_door(sqlite_shop: str, path: str) -> None:
    """A redirect to the other one would lose the event: senders do not follow."""
    client = Client()

    assert post(request(), path).status_code == 200
    assert [(answer.status_code, answer.content) for answer in (client.get(path), client.head(path))] == [
        (200, b""),
        (200, b""),
    ]
    assert client.put(path).status_code == 405
    assert kept(sqlite_shop) == 1


def test_atomic_requests_do_not_enclose_the_door(shop: str) -> None:
    """Whatever fails later in the request, an entry that was answered 200 is committed."""
    connections["default"].settings_dict["ATOMIC_REQUESTS"] = True

    assert post(request()).status_code == 200
    assert kept(shop) == 1


@pytest.mark.parametrize(("size", "status"), [(3_000_000, 200), (4_000_000, 200), (4_194_305, 413)])
def test_the_size_of_a_body_is_the_doors_to_limit(sqlite_shop: str, size: int, status: int) -> None:
    """Django's own limit (2.5 MB) would answer 400, which tells the sender nothing."""
    with override_settings(HOOKLINE={"WEBHOOK_SECRETS": [SECRET], "MAX_BODY": "4 MiB"}):
        answer = post(request(b'"' + b"x" * (size - 2) + b'"'))

    assert answer.status_code == status
    assert kept(sqlite_shop) == (status == 200)


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("asks_for_the_body", 200, None),
        ("reads_the_form", 200, None),
        ("reads_the_body", 503, "consumed"),
    ],
)
def test_a_middleware_that_reads_the_body(
    sqlite_shop: str, name: str, status: int, reason: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Where Django kept the bytes they are as good; where nobody has them, the operator reads why, and the sender comes
    again.
    """
    with override_settings(MIDDLEWARE=[f"tests.adapters.shop.middleware.{name}", *MIDDLEWARE]):
        answer = post(request())
    hooks.flush()

    assert answer.status_code == status
    assert rows_at(sqlite_shop, "select reason from hookline_rejections") == ([(reason,)] if reason else [])
    if reason:
        assert "a middleware of it, has read the body" in caplog.text
        assert answer["retry-after"] == "60"


@pytest.mark.parametrize(("body", "status"), [(None, 200), (b"x" * 2_200_000, 413)], ids=["an event", "too large"])
def test_under_asgi_the_door_answers_alike(sqlite_shop: str, body: bytes | None, status: int) -> None:
    """Django's other handler gives requests of another kind; the door waits in a thread."""
    signed = request(body)
    headers = {name: value for name, value in signed.headers.items() if name.lower() != "content-type"}

    async def post_async() -> Any:
        client = AsyncClient(enforce_csrf_checks=True)
        return await client.post(DOOR, signed.body, content_type="application/json", headers=headers)

    answer = asyncio.run(post_async())

    assert answer.status_code == status
    assert kept(sqlite_shop) == (status == 200)


def test_a_path_token_is_part_of_the_path(sqlite_shop: str) -> None:
    """Who does not know it learns nothing, by any method."""
    with override_settings(HOOKLINE={"WEBHOOK_SECRETS": SECRET, "PATH_TOKEN": "tok3n_of_the_tests"}):
        answers = [
            post(request(), f"{DOOR}{rest}").status_code
            for rest in ("", "/", "/other", "/tok3n_of_the_tests", "/tok3n_of_the_tests/")
        ]
        looked = [Client().get(f"{DOOR}{rest}").status_code for rest in ("", "/tok3n_of_the_tests")]

    assert answers == [404, 404, 404, 200, 200]
    assert looked == [404, 200]


def test_a_refusal_says_one_word(sqlite_shop: str) -> None:
    """As the door answers everywhere."""
    answer = post(request(secret="whsec_other"))

    assert (answer.status_code, answer.content) == (401, b"mismatch\n")
    assert answer["content-type"] == "text/plain; charset=utf-8"


def test_a_database_that_is_away_keeps_the_rest_of_the_site(tmp_path: Path) -> None:
    """503 to the sender, at once; the shop's own pages go on."""
    for away in ("postgresql://hookline@127.0.0.1:1/nobody", f"sqlite:///{tmp_path}/missing/shop.db"):
        with django_database(away):
            hooks.reload()
            answer, page = post(request()), Client().get("/")
            hooks.close()

        assert (answer.status_code, answer.content, answer["retry-after"]) == (503, b"unavailable\n", "5")
        assert (page.status_code, page.content) == (200, b"open")


# -- settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"WEBHOOK_SECRET": ["x"]},
            "WEBHOOK_SECRET: not a key of HOOKLINE that Hookline knows; the nearest is WEBHOOK_SEC",
        ),
        ({"PORT": 80}, "PORT: not a key of HOOKLINE"),
        ({"MAX_BODY": "much"}, r'HOOKLINE\["MAX_BODY"\]: expected a size'),
        ({"ALLOWED_IPS": ["300.0.0.1"]}, r'HOOKLINE\["ALLOWED_IPS"\]: '),
        ({"MIRROR": ["users"]}, "mirror: expected a list of some of"),
        ("secrets", "HOOKLINE: expected a dict, got str"),
    ],
)
def test_a_setting_that_is_wrong_is_named(given: Any, message: str) -> None:
    """Where Django starts, not where the first webhook fails."""
    with pytest.raises(ConfigError, match=message), override_settings(HOOKLINE=given):
        pass
    hooks.reload()


def test_a_secret_is_in_no_error_of_the_settings() -> None:
    """They end in logs."""
    with pytest.raises(ConfigError) as caught:
        receiver_options({"WEBHOOK_SECRETS": {"whsec_told": 1}}, name="HOOKLINE")

    assert "whsec_told" not in str(caught.value)


def test_what_is_not_in_the_dict_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere in Hookline; the dict wins."""
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", "whsec_1,whsec_2")
    monkeypatch.setenv("HOOKLINE_MAX_BODY", "1 KiB")

    options = receiver_options({"MAX_BODY": 10, "PATH_TOKEN": None}, name="HOOKLINE")

    assert (options["secrets"], options["max_body"], "path_token" in options) == (("whsec_1", "whsec_2"), 10, False)


def test_settings_that_change_are_taken_and_handlers_stay(sqlite_shop: str) -> None:
    """As tests do with `override_settings`."""
    with override_settings(HOOKLINE={"WEBHOOK_SECRETS": ["whsec_another_secret"]}):
        within = post(request()).status_code, post(request(secret="whsec_another_secret")).status_code
        names = [handler.name for handler in hooks.handlers]
    after = post(request()).status_code

    assert (within, after) == ((401, 200), 200)
    assert names == ["shop.letters"]


SOURCES = {
    "WEBHOOK_TOLERANCE": "5m",
    "SOURCES": {
        "production": {"WEBHOOK_SECRETS": [SECRET]},
        "staging": {"WEBHOOK_SECRETS": "whsec_staging_of_the_tests", "PATH": "/from-staging", "PATH_TOKEN": "t" * 16},
    },
}


@pytest.fixture
def sources(sqlite_shop: str) -> Iterator[None]:
    """A project of two sources: URLs are made when a project starts."""
    with override_settings(HOOKLINE=SOURCES):
        importlib.reload(urls)
        clear_url_caches()
        importlib.reload(shop_urls)
        yield
    importlib.reload(urls)
    importlib.reload(shop_urls)
    clear_url_caches()


def test_several_sources_each_have_their_url(sources: None, sqlite_shop: str) -> None:
    """At their names below the usual path, or where their PATH says; each takes its own secrets."""
    staging = request(secret="whsec_staging_of_the_tests")
    at_staging = f"/hooks/from-staging/{'t' * 16}"

    statuses = [
        post(request(), "/hooks/webhooks/production").status_code,
        post(staging, "/hooks/webhooks/production").status_code,
        post(staging, at_staging).status_code,
        post(request(), at_staging + "/").status_code,
        post(staging, "/hooks/from-staging").status_code,
        post(request(), DOOR).status_code,
    ]

    assert statuses == [200, 401, 200, 401, 404, 404]
    assert rows_at(sqlite_shop, "select source from hookline_inbox order by 1") == [("production",), ("staging",)]
    assert (reverse("hookline:webhooks", kwargs={"rest": "/production"}), reverse("hookline:webhooks-staging")) == (
        "/hooks/webhooks/production",
        "/hooks/from-staging",
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"SOURCES": {"one": {"WEBHOOK_SECRET": "x"}}},
            r'WEBHOOK_SECRET: not a key of HOOKLINE\["SOURCES"\]\["one"\] .* nearest is WEBHOOK_SECRETS',
        ),
        ({"SOURCES": {"one": {"MAX_BODY": "much"}}}, r'HOOKLINE\["SOURCES"\]\["one"\]\["MAX_BODY"\]: expected a size'),
        ({"SOURCES": ["one"]}, r'HOOKLINE\["SOURCES"\]: expected a dict of dicts'),
        ({"SOURCES": {"a b": {}}}, "sources.a b: source: expected a name"),
        ({"SOURCE": "one", "SOURCES": {"two": {}}}, "source: expected as Source"),
        ({"WEBHOOK_SECRETS": SECRET, "SOURCES": {"two": {}}}, r'HOOKLINE\["WEBHOOK_SECRETS"\]: is of one source'),
        ({"SORCES": {}}, "SORCES: not a key of HOOKLINE that Hookline knows; the nearest is SOURCES"),
    ],
)
def test_a_wrong_source_is_named(given: Any, message: str) -> None:
    """With its place in the dict."""
    with pytest.raises(ConfigError, match=message), override_settings(HOOKLINE=given):
        pass
    hooks.reload()


def test_a_source_may_have_its_secret_in_a_file(tmp_path: Path) -> None:
    """As containers hand them over."""
    (tmp_path / "secret").write_text("whsec_in_a_file\n", encoding="utf-8")

    options = receiver_options(
        {"SOURCES": {"one": {"WEBHOOK_SECRETS_FILE": str(tmp_path / "secret")}}}, name="HOOKLINE"
    )

    assert options["sources"] == [Source("one", ("whsec_in_a_file",))]


# -- system checks


def found(**changed: Any) -> set[str]:
    with override_settings(**changed):
        return {message.id for message in checks.run_checks() if message.id.startswith("hookline.")}


def test_a_sound_project_has_nothing_to_say(sqlite_shop: str) -> None:
    """No check cries wolf."""
    assert found(DATA_UPLOAD_MAX_MEMORY_SIZE=4_000_000) == set()


@pytest.mark.parametrize(
    ("changed", "id_"),
    [
        ({"HOOKLINE": {}}, "hookline.E001"),
        ({"HOOKLINE": {"WEBHOOK_SECRETS": "short"}}, "hookline.W001"),
        ({"HOOKLINE": {"WEBHOOK_SECRETS": [SECRET, "whsec_your_secret_here"]}}, "hookline.W001"),
        ({"DATA_UPLOAD_MAX_MEMORY_SIZE": 1_000_000}, "hookline.W002"),
        (
            {"HOOKLINE": {"WEBHOOK_SECRETS": SECRET, "ALLOWED_IPS": "workos"}, "USE_X_FORWARDED_HOST": True},
            "hookline.W003",
        ),
        ({"ROOT_URLCONF": "django.contrib.auth.urls"}, "hookline.W004"),
        ({"HOOKLINE": {"SOURCES": {"one": {"WEBHOOK_SECRETS": SECRET}, "two": {}}}}, "hookline.W005"),
        ({"HOOKLINE": {"SOURCES": {"one": {}, "two": {}}}}, "hookline.E001"),
        (
            {
                "HOOKLINE": {"WEBHOOK_SECRETS": SECRET, "ALLOWED_IPS_URL": "https://sender.example/list"},
                "USE_X_FORWARDED_HOST": True,
            },
            "hookline.W003",
        ),
        (
            {
                "HOOKLINE": {
                    "WEBHOOK_SECRETS": SECRET,
                    "INBOX_RETENTION": "401d",
                    "INBOX_REDACTED_RETENTION": "401d",
                    "INBOX_ID_RETENTION": "401d",
                }
            },
            "hookline.W008",
        ),
    ],
)
def test_what_would_go_wrong_is_found(sqlite_shop: str, changed: dict[str, Any], id_: str) -> None:
    """Each with an id, to be silenced one by one."""
    assert found(**changed) == {id_}


def test_a_database_that_hookline_does_not_speak_to_is_found() -> None:
    """Before the first webhook."""
    connections.databases["default"] = connections.configure_settings(
        {"default": {"ENGINE": "django.db.backends.dummy"}}
    )["default"]
    try:
        assert "hookline.E002" in found()
    finally:
        del connections["default"]


# -- tables


def test_django_and_hookline_agree_on_what_was_applied(postgres: Cluster, tmp_path: Path) -> None:
    """Whoever comes first makes the tables, and the other finds nothing to do."""
    places = [f"sqlite:///{tmp_path / 'a.db'}", f"sqlite:///{tmp_path / 'b.db'}"]
    places += [postgres.url(postgres.create()), postgres.url(postgres.create())]
    for number, place in enumerate(places):
        with django_database(place):
            hooks.reload()
            if number % 2:
                assert hooks.migrate() > 0
            call_command("migrate", "hookline", verbosity=0)
            assert hooks.migrate() == 0
            with Receiver(f"{place}") as own:
                own.open()
            hooks.close()


def test_djangos_migrations_reach_the_last_of_ours() -> None:
    """A new `.sql` file needs a migration of Django's that applies it."""
    from importlib import import_module, resources

    names = sorted(
        file.name.removesuffix(".py")
        for file in (resources.files("hookline.adapters.django") / "migrations").iterdir()
        if file.name[:1].isdigit()
    )
    last = import_module(f"hookline.adapters.django.migrations.{names[-1]}")

    assert len(load_migrations("hookline.receiver", "sqlite")) == last.UP_TO


def test_nothing_is_left_for_makemigrations(sqlite_shop: str) -> None:
    """A project that runs it must not get a migration in our package."""
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_an_old_list_of_addresses_is_told(sqlite_shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of the release after a year; a published one as soon as it cannot be read, if databases are checked."""
    listed = {"WEBHOOK_SECRETS": SECRET, "ALLOWED_IPS": "workos"}
    assert found(HOOKLINE=listed, DATA_UPLOAD_MAX_MEMORY_SIZE=4_000_000) == set()
    monkeypatch.setattr("hookline.adapters.django.checks.WORKOS_READ", date(2020, 1, 1))
    assert found(HOOKLINE=listed, DATA_UPLOAD_MAX_MEMORY_SIZE=4_000_000) == {"hookline.W006"}
    assert found(DATA_UPLOAD_MAX_MEMORY_SIZE=4_000_000) == set()

    url = "https://sender.example/list"
    now_ms = time.time_ns() // 1_000_000
    with override_settings(HOOKLINE={"WEBHOOK_SECRETS": SECRET, "ALLOWED_IPS_URL": url}):

        def told() -> list[str]:
            every = checks.run_checks(databases=["default"])
            return [message.msg for message in every if message.id == "hookline.W007"]

        (never,) = told()
        assert "was never read" in never
        statement = "insert into hookline_address_lists (url, document, fetched_ms) values (%s, %s, %s)"
        with connections["default"].cursor() as cursor:
            cursor.execute(statement, [url, b"{}", now_ms])
        assert told() == []
        with connections["default"].cursor() as cursor:
            cursor.execute("update hookline_address_lists set fetched_ms = %s", [now_ms - 8 * 86_400_000])
        (old,) = told()
        assert "an old copy is in force" in old
        assert [message for message in checks.run_checks() if message.id == "hookline.W007"] == []


# -- the command


def command(*arguments: str, code: int = 0) -> Any:
    out = io.StringIO()
    with redirect_stdout(out), contextlib.ExitStack() as expected:
        if code:
            expected.enter_context(pytest.raises(CommandError, match=f"exited with {code}"))
        call_command("hookline", *arguments)
    return json.loads(out.getvalue())


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command sets what the project does not."""
    for name in ("HOOKLINE_APP", "HOOKLINE_DATABASE_URL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_the_command_is_hooklines_own_on_the_projects_database(shop: str, clean_environment: None) -> None:
    """By the receiver where it goes by one, by its URL where it opens a database by itself."""
    hooks.drain()
    post(request())
    hooks.drain()

    assert [entry["event_id"] for entry in command("inbox", "list", "--json")] == ["event_000001"]
    status = command("status", "--json", code=1)
    assert (status["receiver"]["waiting"], len(status["needs"])) == (0, 1)  # no worker was ever seen
    assert command("mirror", "status", "--json")
    with pytest.raises(CommandError, match="hookline inbox show exited with 3"):
        call_command("hookline", "inbox", "show", "event_9")


def test_the_mirror_is_filled_and_compared_on_the_projects_transactions(
    shop: str, clean_environment: None, tmp_path: Path
) -> None:
    """`manage.py hookline backfill` and `reconcile`, by the project's settings, from a source that is served."""
    with FakeWorkOS(tmp_path) as fake:
        directory = fake.directories.create_directory(fake.environment, organization_id=None, name="Staff")
        user = fake.directories.create_user(fake.environment, directory.id, idp_id="u1", email="ada@acme.example")
        group = fake.directories.create_group(fake.environment, directory.id, idp_id="g1", name="Team")
        fake.directories.add_member(fake.environment, directory.id, group.id, user.id)
        with override_settings(
            HOOKLINE={"WEBHOOK_SECRETS": SECRET, "WORKOS_API_KEY": fake.api_key, "WORKOS_BASE_URL": fake.url}
        ):
            assert command("backfill", "--json")["state"] == "completed"
            assert hooks.is_active("directory_user", user.id)
            assert hooks.is_active("directory_membership", f"{group.id}/{user.id}")
            fake.directories.update_user(fake.environment, directory.id, user.id, first_name="Ida")
            (item,) = command("reconcile", "--json", code=5)["items"]
            assert (item["object_id"], item["kind"]) == (user.id, "differs")
            assert len(command("reconcile", "heal", "--all", "--json")["healed"]) == 1
            assert command("reconcile", "--apply", "--json")["state"] == "completed"
            assert command("reconcile", "--json")["items"] == []


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


@contextlib.contextmanager
def listening() -> Iterator[str]:
    """The project on a socket, with the settings of this moment; the door's URL."""
    server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{DOOR}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def probed(url: str, *, code: int = 0) -> dict[str, tuple[str, str]]:
    """What `manage.py hookline doctor --send` says of the three requests."""
    found = command("doctor", "--send", url, "--json", code=code)
    return {one["check"]: (one["verdict"], one["text"]) for one in found if one["check"].startswith("a ")}


def test_the_doctor_finds_an_open_door(sqlite_shop: str, clean_environment: None) -> None:
    """Through all of the project's middleware; the shop's handler, which takes everything, hears of nothing."""
    with listening() as url:
        found = probed(url)
    hooks.drain()
    assert [verdict for verdict, _ in found.values()] == ["ok", "ok", "ok"]
    assert "bytes unchanged" in found["a signed POST"][1]
    assert rows_at(sqlite_shop, "select count(*) from hookline_runs") == [(0,)]


BODY_READER = {"MIDDLEWARE": ["tests.adapters.shop.middleware.reads_the_body", *MIDDLEWARE]}


@pytest.mark.parametrize(
    ("changed", "path", "told"),
    [
        ({"ALLOWED_HOSTS": ["shop.example"]}, DOOR, "ALLOWED_HOSTS"),
        ({"SECURE_SSL_REDIRECT": True}, DOOR, "SECURE_PROXY_SSL_HEADER"),
        ({}, "/webhooks", "no route leads to it"),
        ({}, "/admin/hooks", "CSRF protection"),
        (BODY_READER, DOOR, "reads the body before the door"),
        ({"HOOKLINE": {"WEBHOOK_SECRETS": [SECRET], "PATH_TOKEN": "n0body-guesses-this"}}, DOOR, "HOOKLINE_PATH_TOKEN"),
        ({"HOOKLINE": {"WEBHOOK_SECRETS": [SECRET], "ALLOWED_IPS": "192.0.2.1"}}, DOOR, "not among the addresses"),
    ],
    ids=["host", "https", "route", "csrf", "body", "token", "address"],
)
def test_the_doctor_names_what_django_has_in_front(
    sqlite_shop: str, clean_environment: None, changed: dict[str, Any], path: str, told: str
) -> None:
    """Each trap by what this Django really answers."""
    with override_settings(**changed), listening() as url:
        found = probed(url.replace(DOOR, path), code=0 if "address" in told else 1)
    verdict, text = found["a signed POST"]
    assert verdict == ("warning" if "address" in told else "problem")
    assert told in text


def test_the_doctor_asks_for_the_url_that_the_app_alone_knows(
    sqlite_shop: str, clean_environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match="exited with 2"):
        call_command("hookline", "doctor", "--send")
    assert "expected the URL of the door" in capsys.readouterr().err


def test_urls_of_databases_are_those_of_hookline() -> None:
    """With what a URL must escape, and the options about TLS."""
    from hookline.adapters.django.management.commands.hookline import _url

    place = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "shop",
        "USER": "u@x",
        "PASSWORD": "p/w",
        "HOST": "/run/postgresql",
        "PORT": 5433,
        "OPTIONS": {"sslmode": "verify-full", "pool": True},
    }

    assert _url(place) == "postgresql://u%40x:p%2Fw@%2Frun%2Fpostgresql:5433/shop?sslmode=verify-full"
    assert _url(database_at("sqlite:////srv/shop.db")) == "sqlite:////srv/shop.db"

"""`hookline listen` as a command: what it prints, what it leaves its caller with, what it does with the secret."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hookline.cli import Exit, main
from hookline.relay import following, pipeline
from hookline.relay.frames import Bye
from hookline.testing import FakeWorkOS, Sink
from hookline.wire.signature import HEADER, verify_signature

from ..relay.feed_server import KEY, SECRET, FeedServer


@contextmanager
def serving(server: FeedServer) -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Runs the server in a thread; gives a way to have something done there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def there(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(10)

    there(server.start())
    try:
        yield there
    finally:
        there(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FeedServer]:
    """A relay that has three events for ada, which she has missed; and the settings that lead to it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(following, "BACKOFF_FIRST_MS", 1)
    monkeypatch.setattr(pipeline, "LOOK_FIRST_MS", 1)
    made = FeedServer()
    with serving(made) as there:
        made.kept_of().place = 0
        for body in (b'{"data":{"id":"user_1"}}', b"{}", b"{}"):
            there(made.publish(body))
        monkeypatch.setenv("HOOKLINE_URL", made.url)
        monkeypatch.setenv("HOOKLINE_API_KEY", KEY)
        yield made


def listen(*arguments: str) -> int:
    """Run the command as ada."""
    return main(["listen", "--name", "ada", *arguments])


def test_lines_for_people(server: FeedServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows on stdout, the head and what to do on stderr; no secret in clear on either."""
    with Sink() as app:
        app.expect("status/200", "status/404", "status/200")
        assert listen("--forward-to", app.url("/hooks"), "--exit-after", "3", "--events", "all,dsync.*") == Exit.FAILED
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()]
    assert [row[1] for row in rows] == ["→", "←"] * 3
    assert [row[2] for row in rows if row[1] == "←"] == ["200", "404", "200"]
    assert rows[0][2:] == ["dsync.user.created", "event_1", "missed"]
    assert rows[1][5:] == ["event_1", "user_1"]
    assert f"Sender   {server.url}  (production)" in err
    assert "no route /hooks: check the path" in err
    assert "3 events missed since 2023-11-14T22:13:20.000Z: all" in err
    assert "2 answered 2xx, 1 failed" in err
    assert SECRET not in out + err
    assert server.starts[0].events == ("*", "dsync.*")


def test_objects_for_machines(server: FeedServer, capsys: pytest.CaptureFixture[str]) -> None:
    with Sink() as app:
        app.expect("status/200", "status/500")
        assert listen("--forward-to", app.url(), "--until-idle", "0s", "--missed", "all", "--json") == Exit.FAILED
    out, err = capsys.readouterr()
    told = [json.loads(line) for line in out.splitlines()]
    assert [one["type"] for one in told] == ["connected", "began", "request", "request", "request", "ended"]
    assert told[0]["missed"] == 3
    assert told[2]["status"] == 200
    assert told[2]["hint"] is None
    assert told[3]["hint"]["code"] == "server_error"
    assert {key: told[-1][key] for key in ("ending", "arrived", "answered", "failed", "dropped")} == {
        "ending": "idle", "arrived": 3, "answered": 2, "failed": 1, "dropped": 0,
    }  # fmt: skip
    assert err == ""


def test_all_2xx_is_success(server: FeedServer) -> None:
    with Sink() as app:
        assert listen("--forward-to", app.url(), "--exit-after", "3", "--output", "json") == Exit.OK
        assert len(app.seen) == 3
    assert len(server.kept_of().answers) == 3


def test_a_listener_whose_name_is_taken_elsewhere(server: FeedServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.bye = Bye("elsewhere", "another connection came")
    with Sink() as app:
        assert listen("--forward-to", app.url()) == Exit.FAILED
    assert "ada listens elsewhere now" in capsys.readouterr().err


@pytest.mark.parametrize(("reason", "code"), [("revoked", Exit.NOT_LOGGED_IN), ("refused", Exit.FAILED)])
def test_a_goodbye_for_good(server: FeedServer, reason: Any, code: Exit) -> None:
    server.bye = Bye(reason, "no more")
    with Sink() as app:
        assert listen("--forward-to", app.url()) == code


def test_no_key_or_a_wrong_one_is_not_logged_in(
    server: FeedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOOKLINE_API_KEY", "sk_live_of_nobody_at_all")
    assert listen("--forward-to", "localhost:9", "--json") == Exit.NOT_LOGGED_IN
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "not_logged_in"
    monkeypatch.delenv("HOOKLINE_API_KEY")
    assert listen("--forward-to", "localhost:9") == Exit.NOT_LOGGED_IN
    assert "HOOKLINE_API_KEY is not set" in capsys.readouterr().err
    monkeypatch.delenv("HOOKLINE_URL")
    assert listen("--forward-to", "localhost:9") == Exit.NOT_LOGGED_IN
    assert "there is no database" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_named_with_its_setting(
    server: FeedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Sink() as gone:
        url = gone.url("")
    monkeypatch.setenv("HOOKLINE_URL", url)
    assert listen("--forward-to", "localhost:9") == Exit.FAILED
    err = capsys.readouterr().err
    assert f"error[unreachable]: cannot reach {url}, which HOOKLINE_URL names: Connection refused." in err
    tries = [line for line in err.splitlines() if line.startswith("no connection")]
    assert len(tries) == following.FIRST_TRIES - 1


def test_the_secret_is_written_into_a_file(
    server: FeedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_text("A=1\n")
    with Sink() as app:
        arguments = ("--forward-to", app.url(), "--exit-after", "3", "--write-env", ".env", "--env-name", "WH_SECRET")
        assert listen(*arguments) == Exit.OK
    assert (tmp_path / ".env").read_text() == f"A=1\nWH_SECRET={SECRET}\n"
    out, err = capsys.readouterr()
    assert ".env: WH_SECRET added" in err
    assert SECRET not in out + err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--forward-to: expected the app's URL"),
        (("--forward-to", "ftp://x"), "--forward-to: expected https"),
        (("--forward-to", "localhost:9", "--events", "nonsense!"), "--events: "),
        (("--forward-to", "localhost:9", "--events", ","), "--events: expected types"),
        (("--forward-to", "localhost:9", "--name", "a b"), "--name: expected"),
        (("--forward-to", "localhost:9", "--since", "1h", "--missed", "all"), "--since: says where to begin"),
        (("--forward-to", "localhost:9", "--missed", "ask"), "--missed: expected all, none or latest"),
        (("--forward-to", "localhost:9", "--until-idle", "soon"), "--until-idle: expected a duration"),
        (("--forward-to", "localhost:9", "--env-name", "a-b"), "--env-name: expected"),
        (("--forward-to", "localhost:9", "--secret-env", "X"), "--secret-env: goes with --resign"),
        (("--forward-to", "localhost:9", "--resign"), "--secret-env: expected the name"),
        (("--forward-to", "localhost:9", "--resign", "--secret-env", "NO_SUCH"), "NO_SUCH: expected"),
        (("--forward-to", "localhost:9", "--secret", "whsec_x"), "--secret: a secret given as a flag"),
    ],
)
def test_flags_that_cannot_be_meant(
    server: FeedServer, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    assert main(["listen", *arguments]) == Exit.USAGE
    assert told in capsys.readouterr().err
    assert server.starts == []


ODD = b'{ "id":"event_1",\t"event":"dsync.user.created",  "b":1.0,"a":1e2,\r\n"u":"\\u00e9\\/\xc3\xa9","data":{} }\n\n'


def test_what_was_recorded_can_be_sent_again(
    server: FeedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Byte for byte, headers in order, signed anew; a second recording goes on counting."""
    headers = (("Content-Type", "application/json"), ("x-twice", "1"), ("X-Twice", "2"), ("X-A", "\u00e9"))
    server.feed[0] = ("event_1", "dsync.user.created", headers, ODD)
    with Sink() as app:
        app.raw["no-http"] = b"what?\r\n\r\n"
        app.expect("status/200", "status/500", "raw/no-http")
        assert listen("--forward-to", app.url("/x?y=1"), "--exit-after", "3", "--record", "rec") == Exit.FAILED
        first = app.seen[0]
    names = sorted(one.name for one in (tmp_path / "rec").iterdir())
    assert names == [f"000{number}-dsync.user.created{end}" for number in (1, 2, 3) for end in (".answer", ".http")]
    raw = (tmp_path / "rec" / names[1]).read_bytes()
    assert raw.startswith(b"POST /x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert raw.endswith(b"\r\n\r\n" + ODD)
    assert (tmp_path / "rec" / names[0]).read_bytes().startswith(b"HTTP/1.1 200 OK\r\n")
    assert (tmp_path / "rec" / names[4]).read_bytes().startswith(b"no answer: protocol: ")
    assert {one.stat().st_mode & 0o777 for one in (tmp_path / "rec").iterdir()} == {0o600}
    monkeypatch.setenv("APP_SECRET", SECRET)
    explain = ["explain", "--request", f"rec/{names[1]}", "--tolerance", "none", "--secret-env", "APP_SECRET"]
    assert main(explain) == Exit.OK  # what was kept is what was signed
    capsys.readouterr()

    monkeypatch.setenv("APP_SECRET", "whsec_of_the_app")
    with Sink() as app:
        arguments = ("--forward-to", app.url(), "--secret-env", "APP_SECRET", "--record", "rec")
        assert main(["replay", "rec", *arguments]) == Exit.OK
        again = app.seen[0]
        assert [request.body for request in app.seen] == [ODD, b"{}", b"{}"]
    assert [name for name, _ in again.headers] == [name for name, _ in first.headers]
    assert again.headers[1:-2] == first.headers[1:-2]
    now_ms = time.time_ns() // 1_000_000
    verify_signature(ODD, again.header(HEADER), ["whsec_of_the_app"], now_ms=now_ms)
    assert (tmp_path / "rec" / "0004-dsync.user.created.http").exists()

    with Sink() as app:
        app.expect("status/404")
        assert main(["replay", f"rec/{names[1]}", "--forward-to", app.url(), "--as-recorded"]) == Exit.FAILED
        assert app.seen[0].header(HEADER) == first.header(HEADER)
    assert "no route /" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "expected a folder"), (b"what?", "expected a request"), (b"POST / HTTP/1.1\r\nA: 1", "holds no body")],
)
def test_what_cannot_be_sent_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, told: str
) -> None:
    file = tmp_path / "one.http"
    if content is not None:
        file.write_bytes(content)
    assert main(["replay", str(file), "--forward-to", "localhost:9", "--as-recorded"]) == Exit.USAGE
    assert told in capsys.readouterr().err


def test_disorder_on_purpose(server: FeedServer, capsys: pytest.CaptureFixture[str]) -> None:
    """What was dropped is no failure; the seed is said, so that the same can be had again."""
    with Sink() as app:
        assert listen("--forward-to", app.url(), "--exit-after", "3", "--drop", "1") == Exit.OK
        assert app.seen == []
    assert {answer.error for answer in server.kept_of().answers} == {"dropped"}
    out, err = capsys.readouterr()
    assert out.count("dropped") == 3
    assert "disorder with --seed " in err
    assert "0 answered 2xx, 0 failed, 3 dropped" in err
    assert listen("--forward-to", "localhost:9", "--delay", "20m") == Exit.USAGE
    assert "--delay: expected at most 600s" in capsys.readouterr().err


def test_beside_a_server_on_this_machine_nothing_has_to_be_set(
    server: FeedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key is made in the database that both share, and ends with the command; the secret stays."""
    for name in ("HOOKLINE_URL", "HOOKLINE_API_KEY"):
        monkeypatch.delenv(name)
    assert main(["db", "upgrade"]) == Exit.OK
    capsys.readouterr()
    for _ in range(2):
        assert listen("--print-secret", "--json") == Exit.OK
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[0] == told[1] == {"listener": "ada", "secret": told[0]["secret"]}
    assert listen("--print-secret") == Exit.OK
    assert capsys.readouterr().out == told[0]["secret"] + "\n"
    server.takes_any_key = True
    monkeypatch.setenv("HOOKLINE_PORT", str(server.port))
    with Sink() as app:
        assert listen("--forward-to", app.url(), "--exit-after", "3", "--json") == Exit.OK
    capsys.readouterr()
    assert main(["keys", "list", "--json"]) == Exit.OK
    [key] = json.loads(capsys.readouterr().out)["data"]
    assert (key["name"], key["revoked_at"] is None) == ("listen ada", False)
    [asked_with] = server.asked_with
    assert asked_with.startswith("sk_live_")


def test_from_workos_needs_no_server_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Polls the API itself, signs with a secret that stays, remembers its place; all of it the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    arguments = ["listen", "--from", "workos", "--events", "user.*", "--json"]
    assert main([*arguments, "--print-secret"]) == Exit.NOT_LOGGED_IN
    assert "HOOKLINE_WORKOS_API_KEY is not set" in capsys.readouterr().err
    with FakeWorkOS(tmp_path, delivers=False) as fake, Sink() as app:
        monkeypatch.setenv("HOOKLINE_WORKOS_API_KEY", fake.api_key)
        monkeypatch.setenv("HOOKLINE_WORKOS_BASE_URL", fake.url)
        assert main([*arguments, "--print-secret", "--write-env", ".env"]) == Exit.OK
        secret = json.loads(capsys.readouterr().out)["secret"]
        assert (tmp_path / ".env").read_text() == f"HOOKLINE_WEBHOOK_SECRETS={secret}\n"
        fake.publish("user.created", {"object": "user", "id": "user_1"})
        run = [*arguments, "--forward-to", app.url(), "--exit-after", "1"]
        assert main([*run, "--since", "1h"]) == Exit.OK
        fake.publish("user.updated", {"object": "user", "id": "user_1"})
        assert main(run) == Exit.OK
        told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [one["missed"] for one in told if one["type"] == "connected"] == [0, 1]
        assert [b"user.created" in app.seen[0].body, b"user.updated" in app.seen[1].body] == [True, True]
        now_ms = time.time_ns() // 1_000_000
        for request in app.seen:
            verify_signature(request.body, request.header(HEADER), [secret], now_ms=now_ms)
    [file] = (tmp_path / "config" / "hookline").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert fake.api_key not in file.read_text()


def test_resigned_with_the_secret_in_a_file(
    server: FeedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("whsec_of_the_app\n")
    with Sink() as app:
        arguments = ("--exit-after", "3", "--resign", "--secret-file", "secret")
        assert listen("--forward-to", app.url(), *arguments) == Exit.OK
        for request in app.seen:
            now_ms = time.time_ns() // 1_000_000
            verify_signature(request.body, request.header(HEADER), ["whsec_of_the_app"], now_ms=now_ms)
    assert "the app's own" in capsys.readouterr().err

"""`hookline check`: what the terminal, a pipe and a machine get to see of it, and what it leaves its caller with."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.sender import consumers
from tests.sender.conftest import served
from tests.sender.consumers import NOW_MS, SECRET, Consumer, Consumers, Timeless

from hookline.cli import Exit, check, main
from hookline.receiver.app import Receiver
from hookline.sender.conformance import CHECKS
from hookline.sender.http import Answer, Request, no_answer
from hookline.testing.clock import TurnedClock
from hookline.wire.standard import secret_form

NAMES = [one.name for one in CHECKS]
Checked = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def served_consumers() -> Iterator[tuple[str, Consumers]]:
    app = Consumers()
    with served(app) as url:
        yield url, app


@pytest.fixture
def checked(
    served_consumers: tuple[str, Consumers],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Checked:
    """Run the command on a consumer of this kind: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOOKLINE_WEBHOOK_SECRETS", "HOOKLINE_DATABASE_URL", "HOOKLINE_RECEIVER_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHECK_SECRET", SECRET)
    monkeypatch.setattr(check, "SystemClock", lambda: TurnedClock(NOW_MS))
    monkeypatch.setattr(check, "HttptoolsExchange", Timeless)
    url, app = served_consumers

    def run(kind: type[Consumer], *arguments: str, secret: str = "--secret-env=CHECK_SECRET") -> tuple[int, str, str]:
        app.by_name[kind.__name__] = kind()
        code = main(["check", f"{url}/{kind.__name__}", *([secret] if secret else []), *arguments])
        out, err = capsys.readouterr()
        assert SECRET not in out + err
        return code, out, err

    return run


# -- what is shown ----------------------------------------------------------------------------------------------------


def test_a_line_for_each_check(checked: Checked) -> None:
    """As they come: what was done in a few words, and what came. The stale one cannot be judged from outside."""
    code, out, err = checked(Consumer)

    lines = out.splitlines()
    assert (code, err) == (Exit.OK, "")
    assert re.fullmatch(r"  ✓ valid event accepted +200 in 0 ms", lines[0])
    assert re.fullmatch(r"  ✓ old timestamp refused +401", lines[NAMES.index("old_timestamp")])
    assert re.fullmatch(r"  ✓ out-of-order sequence accepted +200 × 3", lines[NAMES.index("out_of_order")])
    assert re.fullmatch(r"  – stale update +200, 200; which state .* receiver of ours", lines[NAMES.index("stale")])
    assert [line[2] for line in lines[:-1]].count("✓") == len(NAMES) - 1
    assert lines[-1] == f"{len(NAMES)} checks, 1 unknown"


def test_a_failure_says_what_to_do(checked: Checked) -> None:
    """On its line, uncut where it is piped; the last line says where it is explained. The exit code says that too."""
    code, out, _ = checked(consumers.TakesAnyAge, "--only", "old_timestamp,wrong-secret")

    lines = out.splitlines()
    assert code == Exit.FAILED
    assert [line.split()[0] for line in lines] == ["✓", "✓", "✗", "3"]
    assert lines[2].startswith("  ✗ old timestamp accepted")
    advice = "compare the signed timestamp with the clock, with a tolerance of 3 to 5 minutes"
    assert lines[2].endswith(f"200   expected 4xx; {advice}")
    assert lines[3] == "3 checks, 1 failed      docs: docs/check.md#old_timestamp"


def test_a_warning_fails_where_that_is_asked_for(checked: Checked) -> None:
    """It is 0 otherwise; without the check that warns it is 0 either way."""
    code, out, _ = checked(consumers.RedirectsTheSlash, "--only=trailing_slash")

    assert code == Exit.OK
    assert "  ! other trailing slash redirected" in out
    assert "308 to /…   expected 2xx or 404" in out
    assert out.endswith("2 checks, 1 warning      docs: docs/check.md#trailing_slash\n")
    assert checked(consumers.RedirectsTheSlash, "--only=trailing_slash", "--strict")[0] == Exit.FAILED
    skipped = checked(consumers.RedirectsTheSlash, "--skip=trailing_slash,burst", "--skip=oversize", "--strict")
    assert (skipped[0], skipped[1].splitlines()[-1]) == (Exit.OK, f"{len(NAMES) - 3} checks, 1 unknown")


def test_where_the_valid_event_is_refused_one_line_is_enough(checked: Checked) -> None:
    """The others were not made, and why is said once."""
    code, out, _ = checked(consumers.ParsesFirst)

    first, last = out.splitlines()
    assert code == Exit.FAILED
    assert first.startswith("  ✗ valid event not accepted")
    assert "raw bytes" in first
    assert last == (
        f"1 check, 1 failed, {len(NAMES) - 1} not made: a refusal proves nothing where the valid event is refused      "
        "docs: docs/check.md#valid"
    )


def test_without_the_other_checks_none_is_said_to_be_left_out(checked: Checked) -> None:
    """The valid event was all that was asked for."""
    code, out, _ = checked(consumers.ParsesFirst, "--only=valid")

    assert code == Exit.FAILED
    assert out.splitlines()[-1] == "1 check, 1 failed      docs: docs/check.md#valid"


def test_an_endpoint_that_is_gone_in_the_middle_has_failed_from_there_on(
    checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It did answer the valid event: each line is shown, the one at which it went too."""

    class DiesOfALargeBody(Timeless):
        is_dead = False

        async def send(self, request: Request) -> Answer:
            self.is_dead = self.is_dead or len(request.body) > consumers.MOST_BYTES
            if self.is_dead:
                return no_answer("connect_refused", "the connection was refused")
            return await super().send(request)

    monkeypatch.setattr(check, "HttptoolsExchange", DiesOfALargeBody)
    code, out, err = checked(Consumer, "--only=oversize,other_methods")

    lines = out.splitlines()
    assert code == Exit.FAILED
    assert [re.split(" {2,}", line.strip())[0] for line in lines[:-1]] == [
        "✓ valid event accepted",
        "✗ body of 3 MiB not refused",
        "✗ GET and HEAD met an error",
    ]
    assert lines[-1] == "3 checks, 2 failed      docs: docs/check.md#oversize"
    assert err == "left there, since it could not be deleted: 1 of what was made up\n"


def test_on_a_terminal_lines_fold_and_have_colour(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the columns, at the width of the terminal."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    code, out, _ = checked(consumers.TakesAnyAge, "--only", "old_timestamp")

    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert code == Exit.FAILED
    assert "\x1b[31m  ✗\x1b[0m" in out
    assert max(len(line.rstrip()) for line in plain.splitlines()) <= 80
    assert "minutes" in plain


def test_json_is_one_object(checked: Checked) -> None:
    """With every line, its requests and their masked headers; without the path, which may be the endpoint's secret."""
    code, out, err = checked(
        consumers.TakesForms,
        "--json",
        "--only=content_type",
        "--header=X-Tenant: acme",
        "--header=Authorization: Bearer s3cr3t",
    )

    told = json.loads(out)
    assert (code, err) == (Exit.FAILED, "")
    assert sorted(told) == ["checks", "counts", "left_behind", "origin"]
    assert told["counts"] == {"passed": 1, "warning": 0, "failed": 1, "unknown": 0}
    assert told["left_behind"] == 0
    assert "TakesForms" not in out
    valid, form = told["checks"]
    assert (valid["name"], form["name"], form["verdict"]) == ("valid", "content_type", "failed")
    assert sorted(form) == ["advice", "came", "docs", "expected", "name", "requests", "short", "title", "verdict"]
    [sent] = form["requests"]
    assert (sent["what"], sent["status"], sent["event_id"]) == ("a form, not signed", 200, None)
    headers = dict(sent["headers"])
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert (headers["X-Tenant"], headers["Authorization"], headers["Hookline-Origin"]) == ("…", "…", "test")
    assert "s3cr3t" not in out


def test_the_list(checked: Checked, capsys: pytest.CaptureFixture[str]) -> None:
    """Names, what each sends and what passes, without a URL or a secret."""
    assert main(["check", "--list"]) == Exit.OK
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["CHECK", *NAMES]
    assert main(["check", "--list", "--only=burst", "--json"]) == Exit.OK
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["valid", "burst"]


def test_what_is_left_there_is_said(checked: Checked) -> None:
    """On stderr: it is no verdict."""
    code, out, err = checked(consumers.KeepsWhatIsDeleted, "--only=duplicate")

    assert (code, out.splitlines()[-1]) == (Exit.OK, "2 checks")
    assert err == "left there, since it could not be deleted: 2 of what was made up\n"


# -- with what --------------------------------------------------------------------------------------------------------


def test_where_the_secret_comes_from(checked: Checked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable, a file, or what is in force; not a flag, and not from nowhere."""
    only = "--only=valid"
    (tmp_path / "secret").write_text(f"{SECRET}\n", encoding="utf-8")
    assert checked(Consumer, only, secret="--secret-file=secret")[0] == Exit.OK
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", f"{SECRET},whsec_another_that_is_not_used")
    assert checked(Consumer, only, secret="")[0] == Exit.OK
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", "whsec_of_somebody_else")
    assert checked(Consumer, only, secret="")[0] == Exit.FAILED
    monkeypatch.delenv("HOOKLINE_WEBHOOK_SECRETS")
    for given, said in {
        "": "expected the name of a variable that holds the secret",
        "--secret-file=nowhere": "nowhere cannot be read",
        "--secret-env=NOT_SET": "it is not set or empty",
        "--secret=whsec_in_the_process_list": "seen in process lists",
    }.items():
        code, out, err = checked(Consumer, only, secret=given)
        assert (code, out) == (Exit.USAGE, "")
        assert said in err


def test_standard_webhooks(checked: Checked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed by that scheme alone, with a secret of its form; the forged ones too."""
    monkeypatch.setenv("STANDARD", secret_form(SECRET))
    with (
        Receiver(
            f"sqlite:///{tmp_path / 'r.db'}",
            secrets=[secret_form(SECRET)],
            scheme="standard_webhooks",
            clock=TurnedClock(NOW_MS),
        ) as receiver,
        served(receiver.asgi()) as url,
    ):
        code = main(["check", f"{url}/webhooks", "--secret-env=STANDARD", "--standard", "--skip=burst", "--strict"])
    assert code == Exit.OK
    code, _, err = checked(Consumer, "--standard")
    assert code == Exit.USAGE
    assert "expected secrets of Standard Webhooks" in err


def test_observed(
    checked: Checked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the receiver's database at hand nothing is left unknown; one that is no receiver's is refused."""
    monkeypatch.setenv("HOOKLINE_DATABASE_URL", f"sqlite:///{tmp_path / 'r.db'}")
    code, _, err = checked(Consumer, "--observe")
    assert code == Exit.USAGE
    assert "--observe: expected HOOKLINE_DATABASE_URL to name the receiver's database" in err
    with Receiver(f"sqlite:///{tmp_path / 'r.db'}", secrets=[SECRET], clock=TurnedClock(NOW_MS)) as receiver:
        receiver.open()
        receiver.drain()  # imports what applies: CPython 3.11 cannot parse, as pytest rewrites, on two threads at once
        door, draining = receiver.asgi(), asyncio.Lock()

        async def drained(scope: Any, receive: Any, send: Any) -> None:
            await door(scope, receive, send)
            async with draining:
                await asyncio.to_thread(receiver.drain)

        with served(drained) as url:
            names = ("duplicate", "out_of_order", "stale")
            flags = ("--secret-env=CHECK_SECRET", "--observe", "--json", f"--only={','.join(names)}")
            code = main(["check", f"{url}/webhooks", *flags])
    out, err = capsys.readouterr()
    assert (code, err) == (Exit.OK, "")
    told = json.loads(out)
    came = {line["name"]: line["came"] for line in told["checks"]}
    assert [came[name].partition("; ")[2] for name in names] == [
        "taken in once",
        "the membership is there",
        "the newer state was kept",
    ]


# -- what cannot be checked -------------------------------------------------------------------------------------------


def test_nobody_there(checked: Checked, capsys: pytest.CaptureFixture[str]) -> None:
    """Which origin, why, and what to do; the path is not shown."""
    for arguments in ([], ["--json"]):
        code = main(["check", "http://127.0.0.1:9/secret-path", "--secret-env=CHECK_SECRET", *arguments])
        out, err = capsys.readouterr()
        assert (code, out) == (Exit.FAILED, "")
        message = "http://127.0.0.1:9: cannot be checked: the connection was refused"
        to_do = "look whether the endpoint runs and the port is right"
        if arguments:
            assert json.loads(err) == {"error": {"code": "unreachable", "message": message, "to_do": to_do}}
        else:
            assert err == f"error[unreachable]: {message}\n  to do: {to_do}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected the URL of the endpoint"),
        (["http://localhost/", "--skip=,"], "--list has them"),
        (["localhost:8000/webhooks"], "expected https://… or http://…, got 'localhost'"),
        (["http://user:password@localhost/"], "without user name or password"),
        (["http://localhost/", "--only=old_timestmp"], "the nearest is old_timestamp"),
        (["http://localhost/", "--skip=valid"], "expected checks other than valid"),
        (["http://localhost/", "--only="], "--list has them"),
        (["http://localhost/", "--timeout=0"], "expected seconds above 0"),
        (["http://localhost/", "--header=X-Tenant"], "expected each header as 'name: value'"),
        (["http://localhost/", "--header=WorkOS-Signature: t=1"], "is set by Hookline"),
    ],
)
def test_bad_usage(checked: Checked, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """Names what was expected and what came; nothing is sent."""
    assert main(["check", *arguments]) == Exit.USAGE

    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "password@" not in err


def test_an_authority_that_is_none(checked: Checked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the sender's setting, which holds here as well."""
    (tmp_path / "ca.pem").write_text("no certificate", encoding="utf-8")
    monkeypatch.setenv("HOOKLINE_TARGETS_CA", str(tmp_path / "ca.pem"))

    code, out, err = checked(Consumer)

    assert (code, out) == (Exit.USAGE, "")
    assert "HOOKLINE_TARGETS_CA: expected a file with certificates in PEM" in err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Says what the command does to an endpoint, and every flag."""
    assert main(["check", "--help"]) == Exit.OK

    text = " ".join(capsys.readouterr().out.split())
    assert "redirects are never followed" in text
    flags = "--secret-env --secret-file --only --skip --header --timeout --standard --observe --strict --list --json"
    assert [flag for flag in flags.split() if flag not in text] == []
    assert "--empty" not in text

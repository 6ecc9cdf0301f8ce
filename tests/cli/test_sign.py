"""`hookline sign` and `hookline verify`, against the functions and against the official SDK."""

from __future__ import annotations

import io
import json
import shlex
import sys
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook
from workos import WorkOSClient

from hookline.cli import Exit, main
from hookline.wire.signature import HEADER, sign

SECRET = "whsec_test"
BODY = '{"event":"dsync.user.created",  "id":"event_01", "data":{"name":"Žofia"}}\n'.encode()


@pytest.fixture
def body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A body in a file with odd spaces, and SIGNING_SECRET set; the working directory has no hookline.toml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGNING_SECRET", SECRET)
    monkeypatch.delenv("HOOKLINE_WEBHOOK_SECRETS", raising=False)
    file = tmp_path / "body.json"
    file.write_bytes(BODY)
    return file


def signed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `hookline sign` prints for these arguments."""
    assert main(["sign", *arguments]) == Exit.OK
    return capsys.readouterr().out.strip()


def test_sign_prints_the_header_value(body: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The printed value is that of `wire.signature.sign` over the file's bytes."""
    value = signed(capsys, str(body), "--secret-env", "SIGNING_SECRET", "--timestamp-ms", "1700000000000")

    assert value == sign(BODY, SECRET, timestamp_ms=1_700_000_000_000)


def test_the_official_sdk_accepts_what_sign_printed(body: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`workos` verifies a header made by `hookline sign`, at the present time."""
    value = signed(capsys, str(body), "--secret-env", "SIGNING_SECRET")

    webhooks = WorkOSClient(api_key="sk_test", client_id="client_test").webhooks

    webhooks.verify_header(event_body=BODY, event_signature=value, secret=SECRET)
    with pytest.raises(ValueError, match="Signature hash does not match"):
        webhooks.verify_header(event_body=BODY, event_signature=value, secret="another")


def test_sign_reads_standard_input(
    body: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-` signs the bytes of standard input, whatever their encoding."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(BODY), encoding="ascii"))

    value = signed(capsys, "-", "--secret-env", "SIGNING_SECRET", "--timestamp-ms", "1700000000000")

    assert value == sign(BODY, SECRET, timestamp_ms=1_700_000_000_000)


def test_sign_uses_the_webhook_secrets_in_force(
    body: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --secret-env the first of HOOKLINE_WEBHOOK_SECRETS signs."""
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", "first,second")

    value = signed(capsys, str(body), "--timestamp-ms", "1700000000000")

    assert value == sign(BODY, "first", timestamp_ms=1_700_000_000_000)


def test_a_secret_out_of_a_file(body: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the line end that an editor leaves; for both commands; not beside a variable."""
    (body.parent / "secret").write_text(f"{SECRET}\n", encoding="utf-8")
    value = signed(capsys, str(body), "--secret-file", "secret", "--timestamp-ms", "1700000000000")

    assert value == sign(BODY, SECRET, timestamp_ms=1_700_000_000_000)
    verify = ("verify", str(body), "--header", value, "--tolerance", "none", "--secret-file", "secret")
    assert main(verify) == Exit.OK
    assert main([*verify, "--secret-env", "SIGNING_SECRET"]) == Exit.USAGE


def test_sign_prints_a_curl_command(body: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--curl prints one shell-quoted command that posts the file's exact bytes with the header."""
    words = shlex.split(
        signed(capsys, str(body), "--secret-env", "SIGNING_SECRET", "--curl", "http://127.0.0.1:9/webhooks?a=b&c")
    )

    assert words[0] == "curl"
    assert "http://127.0.0.1:9/webhooks?a=b&c" in words
    assert words[-2:] == ["--data-binary", f"@{body}"]
    assert any(word.startswith(f"{HEADER}: t=") for word in words)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--secret-env", "NOT_SET_AT_ALL"], "NOT_SET_AT_ALL"),
        ([], "HOOKLINE_WEBHOOK_SECRETS"),
        (["--secret-env", "SIGNING_SECRET", "--timestamp-ms", "1700000000"], "--timestamp-ms"),
    ],
)
def test_sign_names_what_is_wrong(
    body: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    """No secret, or a time in seconds, exits 2 and names the flag or variable."""
    code = main(["sign", str(body), *arguments])

    captured = capsys.readouterr()
    assert (code, captured.out) == (Exit.USAGE, "")
    assert named in captured.err


def test_a_file_that_is_not_there_is_named(body: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A body that cannot be read exits 2 with its name and the reason."""
    code = main(["sign", "gone.json", "--secret-env", "SIGNING_SECRET"])

    assert code == Exit.USAGE
    assert "gone.json: cannot be read: No such file" in capsys.readouterr().err


def test_verify_accepts_a_genuine_signature(body: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A fresh signature is genuine: exit 0, with the event's type and id."""
    value = signed(capsys, str(body), "--secret-env", "SIGNING_SECRET")

    code = main(["verify", str(body), "--header", value, "--secret-env", "SIGNING_SECRET"])

    assert code == Exit.OK
    assert capsys.readouterr().out.startswith("genuine: dsync.user.created event_01, signed ")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("", "missing"),
        ("t=1700000000000", "malformed"),
        (f"t=1700000000000, v1={'0' * 64}", "mismatch"),
        (sign(BODY, SECRET, timestamp_ms=1_700_000_000_000), "expired"),
        (sign(BODY, SECRET, timestamp_ms=9_700_000_000_000), "future"),
    ],
)
def test_verify_gives_the_reason_of_a_refusal(
    body: Path, capsys: pytest.CaptureFixture[str], header: str, reason: str
) -> None:
    """A refusal exits 1 and says at which step, in text and in JSON."""
    arguments = ["verify", str(body), "--header", header, "--secret-env", "SIGNING_SECRET"]

    code = main(arguments)
    text = capsys.readouterr().out
    json_code = main([*arguments, "--json"])
    verdict = json.loads(capsys.readouterr().out)

    assert (code, json_code) == (Exit.FAILED, Exit.FAILED)
    assert text.startswith(f"refused: {reason}: ")
    assert (verdict["verdict"], verdict["reason"]) == ("refused", reason)


def test_verify_without_a_tolerance_takes_any_age(body: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--tolerance none accepts an old genuine signature; a number bounds it."""
    header = sign(BODY, SECRET, timestamp_ms=1_700_000_000_000)
    arguments = ["verify", str(body), "--header", header, "--secret-env", "SIGNING_SECRET"]

    assert main([*arguments, "--tolerance", "none"]) == Exit.OK
    assert main([*arguments, "--tolerance", "10"]) == Exit.FAILED
    assert main([*arguments, "--tolerance", "soon"]) == Exit.USAGE


def test_verify_says_when_a_genuine_body_is_no_event(body: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A signed body that is not JSON is refused as such, not as a forgery."""
    body.write_bytes(b"hello")
    header = signed(capsys, str(body), "--secret-env", "SIGNING_SECRET")

    code = main(["verify", str(body), "--header", header, "--secret-env", "SIGNING_SECRET", "--json"])

    assert code == Exit.FAILED
    assert json.loads(capsys.readouterr().out)["reason"] == "not_json"


def test_verify_tells_which_of_several_secrets_signed(
    body: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """During a rotation the verdict names the secret's place in the list, never the secret."""
    monkeypatch.setenv("BOTH", f"other,{SECRET}")
    header = signed(capsys, str(body), "--secret-env", "SIGNING_SECRET")

    main(["verify", str(body), "--header", header, "--secret-env", "BOTH", "--json"])

    output = capsys.readouterr().out
    assert json.loads(output)["secret"] == 2
    assert SECRET not in output


# -- Standard Webhooks

STANDARD = "whsec_dGhpcnR5LXR3byBieXRlcyBvZiBhIHNoYXJlZCBrZXk="
BY_STANDARD = ("--scheme", "standard_webhooks", "--secret-env", "SIGNING_SECRET")


@pytest.fixture
def standard_body(body: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A body in the envelope of the standard, and SIGNING_SECRET in its form."""
    monkeypatch.setenv("SIGNING_SECRET", STANDARD)
    body.write_bytes(b'{"type": "parcel.sent", "data": {}}')
    return body


def test_the_foreign_library_accepts_what_sign_printed(standard_body: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All three headers, at the present time; and `verify` says so, too, with the id that is signed."""
    lines = signed(capsys, str(standard_body), "--event-id", "msg_1", *BY_STANDARD).splitlines()

    headers = dict(line.split(": ", 1) for line in lines)
    assert Webhook(STANDARD).verify(standard_body.read_bytes(), headers) == {"type": "parcel.sent", "data": {}}
    given = [part for line in lines for part in ("--header", line)]
    assert main(["verify", str(standard_body), *given, *BY_STANDARD, "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["event"] == {"id": "msg_1", "type": "parcel.sent"}

    standard_body.write_bytes(b"{}")
    assert main(["verify", str(standard_body), *given, *BY_STANDARD, "--json"]) == Exit.FAILED
    assert json.loads(capsys.readouterr().out)["reason"] == "mismatch"


def test_the_id_of_the_body_is_signed_unless_another_is_given(
    standard_body: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As our sender does it; a body without one needs to be given it."""
    assert main(["sign", str(standard_body), *BY_STANDARD]) == Exit.USAGE
    assert "--event-id: expected the id to sign" in capsys.readouterr().err

    standard_body.write_bytes(BODY)
    told = json.loads(signed(capsys, str(standard_body), *BY_STANDARD, "--json"))
    curl = shlex.split(signed(capsys, str(standard_body), *BY_STANDARD, "--curl", "http://127.0.0.1:1/webhooks"))

    assert told["headers"]["webhook-id"] == "event_01"
    assert "webhook-id: event_01" in curl
    assert sum(part.startswith("webhook-") for part in curl) == 3


@pytest.mark.parametrize("event_id", ["", "a\nb", "é", "x" * 256])
def test_an_id_that_is_no_name_is_refused(
    standard_body: Path, event_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No door would take it."""
    assert main(["sign", str(standard_body), "--event-id", event_id, *BY_STANDARD]) == Exit.USAGE
    assert "--event-id: expected 1 to 255" in capsys.readouterr().err

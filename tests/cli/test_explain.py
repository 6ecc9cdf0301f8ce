"""`hookline explain`: from pasted parts, saved requests, a delivery, a refusal; over bodies that frameworks made."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import flask
import pytest
from pydantic import BaseModel
from tests.relay.test_hints import answered
from tests.sender.test_app import Sink
from tests.wire.vectors import CAPTURED

from hookline import Receiver
from hookline.cli import Exit, main
from hookline.relay.frames import Delivery
from hookline.relay.pipeline import Item
from hookline.relay.record import Recording
from hookline.wire.signature import HEADER, digest, sign

SECRET = "whsec_of_the_tests_of_explain_0123456789"
NOW_MS = 1_700_000_000_000
BODY = (
    '{"id":"event_01HF","data":{"id":"directory_user_1","name":"Zoë 😀","object":"directory_user",'
    '"created_at":"2023-11-14T22:13:20.000Z"},"event":"dsync.user.created","created_at":"2023-11-14T22:13:20.120Z"}'
).encode()
GOOD = sign(BODY, SECRET, timestamp_ms=NOW_MS)
V1 = GOOD.partition("v1=")[2]

Told = Callable[..., Any]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    """Runs `hookline explain … --json` over files of these contents, with the secret in OWN_SECRET."""
    for name in [name for name in os.environ if name.startswith("HOOKLINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OWN_SECRET", SECRET)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, as_json: bool = True, code: int | None = None, **files: bytes) -> Any:
        for name, content in files.items():
            Path(name).write_bytes(content)
        capsys.readouterr()
        ended = main(["explain", *arguments, *(["--json"] if as_json else [])])
        said = capsys.readouterr()
        assert SECRET not in said.out + said.err
        assert V1 not in said.out + said.err
        if code is not None:
            assert ended == code, said.err
        if not as_json:
            return said.out + said.err
        found = json.loads(said.out)
        assert ended == (Exit.OK if found["broken"] is None else Exit.FAILED)
        return found

    return run


BY_VARIABLE = ("--secret-env", "OWN_SECRET", "--now", str(NOW_MS))


def over(body: bytes, t: str = str(NOW_MS)) -> str:
    return f"t={t}, v1={digest(SECRET, t.encode() + b'.' + body)}"


# --- the executed matrix of the reference (workos-protocol 1.4): header, body, flags; and what is named ---------------

OTHER_V1 = "0" * 64
SPELLINGS = {
    "no space after the comma": f"t={NOW_MS},v1={V1}",
    "two spaces": f"t={NOW_MS},  v1={V1}",
    "leading space": f" t={NOW_MS}, v1={V1}",
    "trailing space": f"{GOOD} ",
    "v1 first": f"v1={V1}, t={NOW_MS}",
    "two v1, good first": f"{GOOD}, v1={OTHER_V1}",
    "two v1, good last": f"t={NOW_MS}, v1={OTHER_V1}, v1={V1}",
    "extra v0": f"{GOOD}, v0={OTHER_V1}",
}
AT = "--now"
MATRIX: list[tuple[str, str, bytes, tuple[str, ...], str, str]] = [
    ("as signed", GOOD, BODY, (), "genuine", ""),
    *((name, header, BODY, (), "genuine", "some official SDKs read") for name, header in SPELLINGS.items()),
    ("upper-case hex", f"t={NOW_MS}, v1={V1.upper()}", BODY, (), "signature_upper_case", "upper-case"),
    ("not ASCII in v1", f"t={NOW_MS}, v1=é{V1[1:]}", BODY, (), "header_not_ascii", "not ASCII"),
    ("t in seconds", over(BODY, "1700000000"), BODY, (), "seconds_for_milliseconds", "10 digits"),
    ("t with a fraction", over(BODY, f"{NOW_MS}.5"), BODY, (), "timestamp_malformed", "no number"),
    ("age 179 s", GOOD, BODY, (AT, str(NOW_MS + 179_000)), "genuine", ""),
    ("age 181 s", GOOD, BODY, (AT, str(NOW_MS + 181_000)), "expired", "tolerance is 180 s"),
    ("future 181 s", GOOD, BODY, (AT, str(NOW_MS - 181_000)), "future", "Node, PHP and Elixir accept"),
    ("future 1 day", GOOD, BODY, (AT, str(NOW_MS - 86_400_000)), "future", "Node, PHP and Elixir accept"),
    ("tolerance 0, age 1 s", GOOD, BODY, (AT, str(NOW_MS + 1_000), "--tolerance", "0"), "expired", "tolerance is 0 s"),
    (
        "180 taken for milliseconds",
        GOOD,
        BODY,
        (AT, str(NOW_MS + 5_000), "--tolerance", "0.18"),
        "expired",
        "180 there is 0.18 s",
    ),
    ("header as bytes", repr(GOOD.encode()), BODY, (), "header_quoted", "bytes object"),
    ("body as the text of bytes", GOOD, repr(BODY).encode(), (), "body_wrapped", "bytes object"),
    ("body as the text of a bytearray", GOOD, repr(bytearray(BODY)).encode(), (), "body_wrapped", "bytes object"),
    ("no JSON", over(b"hello"), b"hello", (), "genuine", "(not_json)"),
    ("a JSON array", over(b"[1]"), b"[1]", (), "genuine", "(not_event)"),
    ("no event", over(b'{"data":{}}'), b'{"data":{}}', (), "genuine", "(not_event)"),
    ("unknown type", over(b'{"event":"no.one","data":{}}'), b'{"event":"no.one","data":{}}', (), "genuine", ""),
]


@pytest.mark.parametrize(
    ("header", "body", "flags", "code", "said"), [case[1:] for case in MATRIX], ids=[case[0] for case in MATRIX]
)
def test_the_matrix(told: Told, header: str, body: bytes, flags: tuple[str, ...], code: str, said: str) -> None:
    """Each case by its code, exit 1 where our door refuses it, and the words that tell the trap."""
    found = told("body", "--header", header, *BY_VARIABLE[:2], *(flags or BY_VARIABLE[2:]), body=body)

    assert found["code"] == code
    assert said in json.dumps([found["message"], found["to_do"], *found["notes"]], ensure_ascii=False)


# --- bodies that frameworks wrote again ------------------------------------------------------------------------------


class Strict(BaseModel):
    """As people declare it: times as times, and what is not always there as optional."""

    id: str
    event: str
    data: dict[str, Any]
    created_at: datetime
    context: dict[str, Any] | None = None


class Loose(BaseModel):
    """In an order of its own."""

    event: str
    id: str
    data: dict[str, Any]
    created_at: str


def _by_flask(how: Callable[[Any], flask.Response | str]) -> Callable[[bytes], bytes]:
    app = flask.Flask("again")

    @app.post("/")
    def again() -> flask.Response | str:
        return how(flask.request.get_json())

    def through(body: bytes) -> bytes:
        return app.test_client().post("/", data=body, content_type="application/json").get_data()

    return through


def _by_node(body: bytes) -> bytes:
    program = "process.stdout.write(JSON.stringify(JSON.parse(require('fs').readFileSync(0, 'utf8'))))"
    return subprocess.run(["node", "-e", program], input=body, stdout=subprocess.PIPE, check=True).stdout


SPACED = json.dumps(json.loads(BODY)).encode()  # as a sender in Python writes it
AGAIN: dict[str, tuple[Callable[[bytes], bytes], bytes, str]] = {
    "Express: JSON.stringify(req.body)": (_by_node, SPACED, "json.dumps"),
    "Flask: json.dumps(request.get_json())": (_by_flask(json.dumps), BODY, "json.dumps"),
    "Flask: jsonify(request.get_json())": (_by_flask(flask.jsonify), BODY, "in another order, at every level"),
    "FastAPI: model_dump_json()": (
        lambda body: Strict.model_validate_json(body).model_dump_json().encode(),
        (CAPTURED / "p3.json").read_bytes(),
        "times with milliseconds and no members that are null",
    ),
    "FastAPI: another order": (
        lambda body: Loose.model_validate_json(body).model_dump_json().encode(),
        BODY,
        "in another order",
    ),
    "FastAPI: json.dumps(event.model_dump(mode='json'))": (
        lambda body: json.dumps(Loose.model_validate_json(body).model_dump(mode="json")).encode(),
        SPACED,
        "",
    ),
}


@pytest.mark.parametrize("how", AGAIN)
def test_bodies_that_frameworks_wrote_again(told: Told, how: str) -> None:
    """Real bytes of each, none of them those that were signed: the culprit is named, and what to do instead."""
    again, signed, said = AGAIN[how]
    came = again(signed)
    assert came != signed

    found = told("body", "--header", over(signed), *BY_VARIABLE, body=came)

    assert (found["code"], found["broken"]) == ("body_rewritten", "signature")
    assert said in found["message"]
    assert found["is_proved"] or not said
    for word in ("await request.body()", "request.get_data()", "express.raw()"):
        assert word in found["to_do"]


# --- saved requests ---------------------------------------------------------------------------------------------------

RAW = f"POST /webhooks HTTP/1.1\r\nHost: example.com\r\n{HEADER}: {GOOD}\r\nContent-Length: {len(BODY)}\r\n\r\n"
TEXT = BODY.decode()
HAR_HEADERS = [{"name": "Host", "value": "example.com"}, {"name": HEADER.lower(), "value": GOOD}]
UNSIGNED = {"request": {"method": "GET", "url": "https://example.com/", "headers": []}}
SAVED: dict[str, bytes] = {
    "raw": RAW.encode() + BODY,
    "raw, a line end more": RAW.encode() + BODY + b"\n",
    "raw, line ends of an editor": RAW.encode().replace(b"\r\n", b"\n") + BODY,
    "no start line": RAW.partition("\r\n")[2].encode() + BODY,
    ".http": f"@host = x\n# sent again\nPOST http://localhost/ HTTP/1.1\n{HEADER}: {GOOD}\n\n{TEXT}\n".encode(),
    ".http of several": (
        f"### first\nGET http://localhost/\n\n### second\nPOST http://localhost/\n{HEADER}: {GOOD}\n\n{TEXT}\n\n"
        "### third\nGET http://localhost/\n"
    ).encode(),
    "curl": f"curl -X POST http://localhost/ \\\n  -H '{HEADER}: {GOOD}' \\\n  --data-raw '{TEXT}'\n".encode(),
    "curl with a file": f"curl -sS -i http://localhost/ -H '{HEADER}: {GOOD}' --data-binary @body".encode(),
    "HAR": json.dumps(
        {"log": {"entries": [UNSIGNED, {"request": {"headers": HAR_HEADERS, "postData": {"text": TEXT}}}]}}
    ).encode(),
    "of a gateway": json.dumps(
        {"headers": {HEADER: GOOD}, "body": base64.b64encode(BODY).decode(), "isBase64Encoded": True}
    ).encode(),
    "pairs and base 64": json.dumps(
        {"headers": [["Host", "x"], [HEADER, GOOD]], "body_base64": base64.b64encode(BODY).decode()}
    ).encode(),
}


@pytest.mark.parametrize("how", SAVED)
def test_saved_requests(told: Told, how: str) -> None:
    """Each gives the same header and the same bytes; with another body the same step fails as with pasted parts."""
    found = told("--request", "saved", *BY_VARIABLE, saved=SAVED[how], body=BODY)
    changed = told("body", "--request", "saved", *BY_VARIABLE, saved=SAVED[how], body=BODY + b"\n")

    assert (found["code"], found["body_bytes"]) == ("genuine", len(BODY))
    assert changed["code"] == "body_line_end"


def test_saved_requests_that_lost_something(told: Told) -> None:
    """A cut body and JSON that was read are noted; a trace has no body; what is no request is said to be none."""
    cut = told("--request", "saved", *BY_VARIABLE, saved=RAW.encode() + BODY[:50])
    read = told(
        "--request", "saved", *BY_VARIABLE, saved=json.dumps({"headers": {HEADER: GOOD}, "body": {"a": 1}}).encode()
    )
    trace = f"* Connected\n> POST / HTTP/1.1\n> {HEADER}: {GOOD}\n>\n< HTTP/1.1 200 OK\n".encode()
    traced = told("body", "--request", "saved", *BY_VARIABLE, saved=trace, body=BODY)
    bare = told("--request", "saved", *BY_VARIABLE, as_json=False, code=Exit.USAGE, saved=trace)
    none = told("--request", "saved", *BY_VARIABLE, as_json=False, code=Exit.USAGE, saved=b"hello")

    assert any("Content-Length says" in note for note in cut["notes"])
    assert any("how they were is lost" in note for note in read["notes"])
    assert traced["code"] == "genuine"
    assert "holds no body" in bare
    assert "expected a request" in none


def test_a_recording(told: Told) -> None:
    """As `hookline listen --record` keeps a request: its file is read, byte for byte."""
    body = BODY + b"\n"
    delivery = Delivery("c", "event_1", "dsync.user.created", "2023-11-14T22:13:20.000Z", ((HEADER, GOOD),), body)
    sent = (("Host", "localhost:8000"), (HEADER, over(body)), ("Content-Length", str(len(body))))
    item = Item(1, delivery, NOW_MS, sent=sent, answer=answered(401))
    Recording(Path("recorded"), "http://localhost:8000/webhooks").keep(item)
    [file] = Path("recorded").glob("*.http")

    found = told("--request", str(file), *BY_VARIABLE)

    assert (found["code"], found["body_bytes"]) == ("genuine", len(BODY) + 1)


# --- secrets, times, words --------------------------------------------------------------------------------------------


def test_secrets_from_everywhere(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, a variable, the settings; those of the settings are recognised where another is given."""
    header = ("--header", GOOD, "--now", str(NOW_MS))
    by_file = told("body", *header, "--secret-file", "secret", body=BODY, secret=SECRET.encode() + b"\n")
    spaced = told("body", *header, "--secret-file", "secret", secret=b" " + SECRET.encode())
    nothing = told("body", *header)
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", f"another_0123456789,{SECRET}")
    in_force = told("body", *header)
    monkeypatch.setenv("WRONG", "whsec_wrong")
    other = told("body", *header, "--secret-env", "WRONG")

    assert (by_file["code"], by_file["secret"]) == ("genuine", "the secret in secret")
    assert spaced["code"] == "secret_white_space"
    assert nothing["code"] == "no_secret"
    assert (in_force["code"], in_force["secret"]) == ("genuine", "secret 2 in HOOKLINE_WEBHOOK_SECRETS")
    assert (other["code"], other["secret"]) == ("secret_other", "secret 2 in HOOKLINE_WEBHOOK_SECRETS")
    assert "NOT_SET" in told("body", *header, "--secret-env", "NOT_SET", as_json=False, code=Exit.USAGE)


def test_what_people_read(told: Told) -> None:
    """A line per step, then the verdict, why and what to do; an old request is told how to be judged as of then."""
    headers = f"content-type: application/json\n{HEADER}: {GOOD}\n".encode()
    text = told(
        "body", "--headers-file", "headers", *BY_VARIABLE, as_json=False, code=1, body=BODY + b" ", headers=headers
    )
    old = told("body", "--headers-file", "headers", "--secret-env", "OWN_SECRET", as_json=False, code=1, body=BODY)
    young = told("body", "--header", GOOD, "--secret-env", "OWN_SECRET", "--tolerance", "none")

    assert "FAILED   signature         body_white_space\n" in text
    assert "verdict  body_white_space" in text
    assert "to do    verify the raw bytes" in text
    assert "--now TIME judges" in old
    assert young["code"] == "genuine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "expected BODY_FILE"),
        (("body", "--now", "soon"), "--now: expected a time"),
        (("body", "--tolerance", "-1"), "--tolerance"),
        (("--request", "x", "--delivery", "y"), "expected one of --request, --delivery and --refused"),
        (("gone", "--header", "x"), "gone: cannot be read"),
        (("--refused", "--reason", "bored"), "--reason: expected one of"),
        (("body", "--source", "acme"), "--source"),
    ],
)
def test_usage(told: Told, arguments: tuple[str, ...], said: str) -> None:
    """Exit 2 with the flag's name."""
    Path("hookline.toml").write_text("[sources.one]\nwebhook_secrets = ['a_long_enough_secret_for_one']\n")
    assert said in told(*arguments, as_json=False, code=Exit.USAGE, body=BODY)


# --- deliveries and refusals -----------------------------------------------------------------------------------------


@pytest.fixture
def refused_delivery(told: Told, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The id of a delivery that an endpoint answered 401; its endpoint in ENDPOINT, what it read in the file `read`."""
    monkeypatch.setenv("HOOKLINE_ALLOW_PRIVATE_TARGETS", "true")
    sink = Sink()
    sink.statuses = [401]
    try:
        assert main(["db", "upgrade"]) == Exit.OK
        capsys.readouterr()
        assert main(["endpoints", "create", sink.url, "--events", "*", "--json"]) == Exit.OK
        endpoint = json.loads(capsys.readouterr().out)
        main(["endpoints", "test", endpoint["id"], "dsync.user.created", "--json"])
        tried = json.loads(capsys.readouterr().out)
    finally:
        sink.close()
    monkeypatch.setenv("ENDPOINT", endpoint["id"])
    monkeypatch.setenv("ENDPOINT_SECRET", endpoint["secret"])
    Path("read").write_bytes(sink.got[0][0])
    delivery: str = tried["delivery"]["id"]
    return delivery


def test_a_delivery(told: Told, refused_delivery: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole signature is made again, and so is what a rewritten body or another secret does to it."""
    ours = told("--delivery", refused_delivery)
    theirs = told("read", "--delivery", refused_delivery, "--secret-env", "ENDPOINT_SECRET")
    wrong = told("--delivery", refused_delivery, "--secret-env", "OWN_SECRET")
    again = json.dumps(json.loads(Path("read").read_bytes()), indent=1).encode()
    rewritten = told("again", "--delivery", refused_delivery, again=again)
    text = told("--delivery", refused_delivery, as_json=False, code=Exit.OK)

    assert (ours["code"], ours["delivery"]["delivery"]) == ("genuine", refused_delivery)
    assert ours["delivery"]["answer"].startswith("401")
    assert any("was not accepted" in note for note in ours["notes"])
    assert theirs["code"] == "genuine"
    assert (wrong["code"], wrong["secret"]) == ("secret_other", "the current secret of the endpoint")
    assert rewritten["code"] == "body_not_as_sent"
    assert "the digits that are kept" in text
    assert "not_found" in told("--delivery", "delivery_nowhere", "--json", as_json=False, code=Exit.NOT_FOUND)
    assert "no such attempt: it has 1" in told(
        "--delivery", refused_delivery, "--attempt", "7", as_json=False, code=Exit.USAGE
    )

    assert main(["endpoints", "rotate-secret", os.environ["ENDPOINT"], "--overlap", "0s"]) == Exit.OK
    rotated = told("--delivery", refused_delivery)
    assert rotated["broken"] == "header"  # of what is kept alone
    assert any("has another secret now" in note for note in rotated["notes"])


def test_no_refusals_without_a_receiver(told: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A database that is none of a receiver's is said, and not made one by looking."""
    monkeypatch.setenv("HOOKLINE_RECEIVER_DATABASE_URL", f"sqlite:///{tmp_path / 'none.db'}")

    assert "expected HOOKLINE_RECEIVER_DATABASE_URL to name" in told("--refused", as_json=False, code=Exit.USAGE)
    given = told("--refused", "--database-url", f"sqlite:///{tmp_path / 'no.db'}", as_json=False, code=Exit.USAGE)
    assert "expected --database-url to name" in given
    (tmp_path / "app_without_tables.py").write_text(
        f"import hookline\nhooks = hookline.Receiver('sqlite:///{tmp_path}/no_app.db')\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("HOOKLINE_APP", "app_without_tables:hooks")
    assert "the app's receiver (HOOKLINE_APP) lacks tables" in told("--refused", as_json=False, code=Exit.USAGE)
    assert not [one.name for one in tmp_path.iterdir() if one.name.startswith("no")]


def test_a_refusal(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the door kept of it, and with parts of such a request which step fails."""
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", SECRET)
    with Receiver("sqlite:///hookline.db", secrets=[SECRET]) as receiver:
        receiver.open()
        nothing = told("--refused", as_json=False, code=Exit.NOT_FOUND)
        status, *_ = receiver.receive("POST", "/webhooks", [(HEADER, GOOD)], b"{}", peer="203.0.113.9")
        assert status == 401

    found = told("--refused")
    text = told("--refused", "--reason", "mismatch", as_json=False, code=Exit.FAILED)
    parts = told("body", "--refused", "--header", GOOD, "--now", str(NOW_MS), body=BODY + b"\n")

    assert "has refused nothing" in nothing
    assert (found["broken"], found["code"], found["refusal"]["times"]) == ("door", "mismatch", 1)
    assert "203.0.113.9" in text
    assert "middleware" in text
    assert (parts["code"], parts["refusal"]["reason"]) == ("body_line_end", "mismatch")
    assert told("--refused", "--reason", "expired", as_json=False, code=Exit.NOT_FOUND)

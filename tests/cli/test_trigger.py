"""`hookline trigger`: events and scenarios by the sender and straight to a URL, and what is said of bad input."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from standardwebhooks.webhooks import Webhook
from tests.cli.world import Said
from tests.sender.conftest import served
from workos import WorkOSClient

import hookline
from hookline import Receiver
from hookline.cli import Exit, main, trigger_verify
from hookline.cli.trigger_events import Samples
from hookline.cli.trigger_ways import ByUrl
from hookline.loop import SystemClock
from hookline.rules.address import parse_networks
from hookline.sender.app import SenderApp
from hookline.storage import connect
from hookline.testing import SCENARIOS, Sink
from hookline.wire.catalogue import CATALOGUE, sample, sampled_types
from hookline.wire.signature import HEADER, verify_signature
from hookline.wire.timestamps import parse_us

SECRET = "whsec_trigger"
STANDARD_SECRET = "whsec_dGhpcnR5LXR3byBieXRlcyBvZiBhIHNoYXJlZCBrZXk="
ENCRYPTION_KEY = Fernet.generate_key().decode()


Run = Callable[..., Said]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a database of both ends in it, the same for all: every event is about new objects."""
    folder = tmp_path_factory.mktemp("trigger")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HOOKLINE_ENCRYPTION_KEY", ENCRYPTION_KEY)
        assert main(["db", "upgrade"]) == Exit.OK
    return folder


@pytest.fixture
def trigger(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `hookline trigger …` in this process, where only the secrets are set."""
    for name in [name for name in os.environ if name.startswith("HOOKLINE_") or name in {"VISUAL", "EDITOR"}]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOOKLINE_WEBHOOK_SECRETS", SECRET)
    monkeypatch.setenv("HOOKLINE_ENCRYPTION_KEY", ENCRYPTION_KEY)
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        code = main(["trigger", *arguments])
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


def published(capsys: pytest.CaptureFixture[str], event_id: str) -> dict[str, Any]:
    """An event as the sender has it."""
    capsys.readouterr()
    assert main(["events", "show", event_id, "--json"]) == Exit.OK
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


# -- by the sender -------------------------------------------------------------------------------------------------


def test_an_event_is_published_about_a_new_object(trigger: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Its id, type and object on a line; that no endpoint asks for it is talk."""
    one, other = trigger("dsync.user.created"), trigger("dsync.user.created")
    event_id, type_, object_id = one.out.split()
    event = published(capsys, event_id)

    assert (one.code, type_, event["event"]) == (Exit.OK, "dsync.user.created", "dsync.user.created")
    assert "no endpoint asks for dsync.user.created" in one.err
    assert event["data"]["id"] == object_id
    assert object_id not in other.out
    assert event["data"]["first_name"] == "Ada"
    assert event["created_at"] == event["data"]["updated_at"]


@pytest.mark.parametrize("event_type", ["dsync.group.user_added", "organization_membership.created", "flag.updated"])
def test_objects_agree_with_each_other(trigger: Run, event_type: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No id of the sample is left, and what was one id in it is one id still."""
    event = published(capsys, trigger(event_type, "--json").json["sent"][0]["id"])

    def ids(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [id_ for one in value.values() for id_ in ids(one)]
        if isinstance(value, list):
            return [id_ for one in value for id_ in ids(one)]
        return [value] if isinstance(value, str) and "_01" in value else []

    old, new = ids(sample(event_type)), ids(event["data"])
    assert not set(old) & set(new)
    assert [old.index(one) for one in old] == [new.index(one) for one in new]
    assert [one.rpartition("_")[0] for one in old] == [one.rpartition("_")[0] for one in new]


def test_every_type_with_a_sample_can_be_sent(folder: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official SDK verifies and reads each."""
    monkeypatch.chdir(folder)
    webhooks = WorkOSClient(api_key="sk_test", client_id="client_test").webhooks
    before = len(sink.seen)
    way = ByUrl(sink.url("/types"), SECRET, SystemClock(), is_quiet=True)
    done = way.send_drafts([Samples(name, SystemClock()).next() for name in sampled_types()])

    seen = sink.seen[before:]
    assert done.is_whole
    assert [json.loads(request.body)["event"] for request in seen] == list(sampled_types())
    for request in seen:
        signature = request.header(HEADER)
        assert signature is not None
        event = webhooks.verify_event(event_body=request.body, event_signature=signature, secret=SECRET)
        assert getattr(event, "id", None) == json.loads(request.body)["id"]


def test_the_payload_is_changed_as_asked(trigger: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Overridden, added to, and left out; an unknown place is an error, and nothing is published."""
    said = trigger(
        "dsync.group.user_added",
        *("--override", "user.state=inactive", "--override", 'data.group.raw_attributes={"a": [1]}'),
        *("--add", "group.raw_attributes.a[1]=two", "--add", "context={}", "--add", "context.actor=null"),
        *("--remove", "user.idp_id", "--organization", "org_7", "--json"),
    )  # fmt: skip
    event = published(capsys, said.json["sent"][0]["id"])

    assert event["data"]["user"]["state"] == "inactive"
    assert event["data"]["group"]["raw_attributes"] == {"a": [1, "two"]}
    assert "idp_id" not in event["data"]["user"]
    assert event["context"] == {"actor": None}
    assert {event["data"][one]["organization_id"] for one in ("user", "group")} == {"org_7"}


def test_several_are_about_several_objects_of_one_directory(trigger: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Each a moment after the one before, with an email and idp_id of its own; of a relation the second end differs."""
    users = [
        published(capsys, one["id"]) for one in trigger("dsync.user.created", "--count", "3", "--json").json["sent"]
    ]
    adds = [
        published(capsys, one["id"])["data"]
        for one in trigger("dsync.group.user_added", "--count", "2", "--json").json["sent"]
    ]

    for field, different in (("id", 3), ("email", 3), ("idp_id", 3), ("directory_id", 1), ("organization_id", 1)):
        assert len({one["data"][field] for one in users}) == different, field
    assert users[1]["data"]["email"] == "ada+2@lanternworks.example"
    times = [parse_us(one["created_at"]) for one in users]
    assert times == sorted(set(times))
    assert len({one["user"]["id"] for one in adds}) == 2
    assert len({one["group"]["id"] for one in adds}) == 1


def test_it_may_have_happened_before(trigger: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """All its times move with it."""
    event = published(
        capsys,
        trigger("dsync.user.updated", "--created-at", "2026-02-03T04:05:06Z", "--json").json["sent"][0]["id"],
    )

    assert event["created_at"] == event["data"]["updated_at"] == "2026-02-03T04:05:06.000Z"
    assert event["data"]["created_at"] < event["created_at"]


def test_a_type_of_ones_own_has_the_sample_it_was_described_with(
    trigger: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known to the sender alone: to a URL there is none."""
    file = tmp_path / "sample.json"
    file.write_text(json.dumps({"id": "invoice_01KERW2T5YZQQ463A0QNBXXTP1", "amount": 7}))
    assert main(["events", "types", "put", "invoice.paid", "--sample", str(file)]) == Exit.OK
    event = published(capsys, trigger("invoice.paid", "--override", "amount=8", "--json").json["sent"][0]["id"])
    several = trigger("invoice.paid", "--count", "2", "--json").json["sent"]
    near = trigger("invoice.payed")

    assert event["data"]["amount"] == 8
    assert event["data"]["id"].startswith("invoice_")
    assert event["data"]["id"] != "invoice_01KERW2T5YZQQ463A0QNBXXTP1"
    assert len({one["object_id"] for one in several}) == 2
    assert (near.code, "invoice.paid?" in near.err) == (Exit.USAGE, True)
    assert trigger("invoice.paid", "--to", "localhost:1").code == Exit.USAGE


def test_the_event_of_a_file_is_published(trigger: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As `events show` prints it: but for its id, which the sender gives."""
    event = published(capsys, trigger("dsync.user.created", "--json").json["sent"][0]["id"])
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event))
    said = trigger("--raw", str(file), "--json")
    again = published(capsys, said.json["sent"][0]["id"])

    assert "its id is left out" in said.err
    assert again["id"] != event["id"]
    assert {**again, "id": event["id"]} == event


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "expected an event as JSON"),
        ("[]", "an object with event, a name, and data, an object"),
        ('{"event": "a.b"}', "an object with event, a name, and data, an object"),
        ('{"event": "a.b", "data": {}, "created_at": "yesterday"}', "created_at: expected an RFC 3339 time"),
        ('{"event": "A", "data": {}}', "event: expected two or more lower-case words"),
    ],
)
def test_a_file_that_is_no_event_is_refused(
    trigger: Run, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    found = trigger("--raw", "-")

    assert (found.code, found.out) == (Exit.USAGE, "")
    assert said in found.err


# -- in an editor --------------------------------------------------------------------------------------------------


@pytest.fixture
def editor(tmp_path: Path, trigger: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes a shell script the editor of somebody at a terminal; gives the file where its argument is kept."""

    def make(script: str) -> Path:
        file = tmp_path / "editor with spaces.sh"
        file.write_text(
            f'#!/bin/sh\necho "$2" > {str(tmp_path / "name")!r}\ncp "$2" {str(tmp_path / "shown")!r}\n{script}\n'
        )
        file.chmod(0o700)
        monkeypatch.setenv("EDITOR", "false")
        monkeypatch.setenv("VISUAL", f"'{file}' --wait")
        for stream in (sys.stdin, sys.stderr):
            monkeypatch.setattr(stream, "isatty", lambda: True)
        return tmp_path / "name"

    return make


def test_an_event_is_edited_first(
    trigger: Run, editor: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is shown has the overrides in it; what is left of it is published, and the file is gone."""
    name = editor('sed -i s/Ada/Eve/ "$2"')
    said = trigger("dsync.user.created", "--override", "state=inactive", "--edit", "--json")
    shown = json.loads((tmp_path / "shown").read_text())
    data = published(capsys, said.json["sent"][0]["id"])["data"]

    assert (said.code, shown["event"]) == (Exit.OK, "dsync.user.created")
    assert [shown["data"][name] for name in ("first_name", "state")] == ["Ada", "inactive"]
    assert [data[name] for name in ("first_name", "state")] == ["Eve", "inactive"]
    assert not Path(name.read_text().strip()).exists()


@pytest.mark.parametrize("script", [': > "$2"', "exit 3", 'rm "$2"'])
def test_nothing_is_sent_where_the_editor_leaves_nothing(
    trigger: Run, editor: Callable[[str], Path], script: str
) -> None:
    """Emptied, failed, or deleted."""
    name = editor(script)
    said = trigger("dsync.user.created", "--edit")

    assert (said.code, said.out) == (Exit.FAILED, "")
    assert "nothing was sent" in said.err
    assert not Path(name.read_text().strip()).exists()


def test_a_text_that_is_no_event_is_kept(trigger: Run, editor: Callable[[str], Path]) -> None:
    """Somebody typed it: the error says where it is, and nobody else can read it."""
    name = editor('echo "{oops" > "$2"')
    said = trigger("dsync.user.created", "--edit")
    kept = Path(name.read_text().strip())

    assert (said.code, said.out) == (Exit.USAGE, "")
    assert f"the text is kept in {kept}" in said.err
    assert kept.read_text() == "{oops\n"
    assert kept.stat().st_mode & 0o077 == 0
    kept.unlink()


def test_an_editor_that_is_not_there_is_named(
    trigger: Run, editor: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    editor("")
    monkeypatch.setenv("VISUAL", "no-such-editor -w")
    missing = trigger("dsync.user.created", "--edit")
    monkeypatch.setenv("VISUAL", "'of a quote that is open")
    unreadable = trigger("dsync.user.created", "--edit")
    monkeypatch.delenv("VISUAL")
    monkeypatch.delenv("EDITOR")
    unset = trigger("dsync.user.created", "--edit")

    assert (missing.code, unreadable.code, unset.code) == (Exit.USAGE, Exit.USAGE, Exit.USAGE)
    assert "--edit: no-such-editor cannot be started" in missing.err
    assert "--edit: expected VISUAL or EDITOR to be a command as a shell reads it" in unreadable.err


def test_without_a_terminal_nothing_is_edited(trigger: Run) -> None:
    said = trigger("dsync.user.created", "--edit")

    assert (said.code, said.out) == (Exit.USAGE, "")
    assert "--edit: expected a terminal to edit in; elsewhere use --override" in said.err


# -- to a URL --------------------------------------------------------------------------------------------------------


def test_a_request_is_as_a_delivery_is(trigger: Run, sink: Sink) -> None:
    """Headers and their order, signed now by the secret in force; nothing of it is stored anywhere."""
    before = len(sink.seen)
    said = trigger("dsync.user.created", "--to", sink.url("/hook?a=1").removeprefix("http://"))
    [request] = sink.seen[before:]

    assert (said.code, said.err) == (Exit.OK, "")
    assert said.out.startswith("200  ")
    assert json.loads(request.body)["id"] in said.out
    assert (request.method, request.path) == ("POST", "/hook?a=1")
    assert [name for name, _ in request.headers] == [
        "Host",
        "Content-Type",
        "User-Agent",
        "WorkOS-Signature",
        "Content-Length",
    ]
    assert request.header("User-Agent") == f"Hookline/{hookline.__version__}"
    now_ms = parse_us(json.loads(request.body)["created_at"]) // 1_000
    verify_signature(request.body, request.header(HEADER) or "", [SECRET], tolerance_s=60, now_ms=now_ms)


def test_the_secret_comes_by_environment_or_file(
    trigger: Run, sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the variable named, of the file named, or those in force; never by a flag."""
    file = tmp_path / "secret"
    file.write_text("whsec_of_a_file\n")
    monkeypatch.setenv("OTHER_SECRET", "whsec_other, whsec_older")
    ways = {("--secret-env", "OTHER_SECRET"): "whsec_other", ("--secret-file", str(file)): "whsec_of_a_file"}
    for flags, secret in ways.items():
        assert trigger("dsync.deleted", "--to", sink.url(), *flags).code == Exit.OK
        request = sink.seen[-1]
        WorkOSClient(api_key="sk_test", client_id="client_test").webhooks.verify_header(
            event_body=request.body, event_signature=request.header(HEADER) or "", secret=secret
        )
    refused = trigger("dsync.deleted", "--to", sink.url(), "--secret", "whsec_seen")
    monkeypatch.delenv("HOOKLINE_WEBHOOK_SECRETS")
    unset = trigger("dsync.deleted", "--to", sink.url())

    assert (refused.code, unset.code) == (Exit.USAGE, Exit.USAGE)
    assert "whsec_seen" not in refused.err
    assert "--secret-env VARIABLE" in refused.err
    assert "HOOKLINE_WEBHOOK_SECRETS" in unset.err


def test_it_is_signed_by_standard_webhooks_where_that_is_asked_for(
    trigger: Run, sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their own library verifies it; what has no id goes under one of its hash."""
    monkeypatch.setenv("STANDARD", STANDARD_SECRET)
    flags = ("--to", sink.url(), "--standard", "--secret-env")
    file = tmp_path / "body"
    file.write_bytes(b'{"type": "a"}')
    for what in (("dsync.deleted",), ("--raw", str(file))):
        assert trigger(*what, *flags, "STANDARD").code == Exit.OK
        request = sink.seen[-1]
        headers = {name.lower(): value for name, value in request.headers}
        Webhook(STANDARD_SECRET).verify(request.body, headers)
        assert HEADER.lower() not in headers
    monkeypatch.setenv("STANDARD", "whsec_?")
    refused = trigger("dsync.deleted", *flags, "STANDARD")

    assert (refused.code, refused.out) == (Exit.USAGE, "")
    assert "whsec_?" not in refused.err


@pytest.mark.parametrize("body", [b"\xff\x00 no JSON", b'{ "event":"a.b",\n "id":"event_1", "data":{"n":1.0} }\n', b""])
def test_raw_bytes_arrive_as_they_are(trigger: Run, sink: Sink, tmp_path: Path, body: bytes) -> None:
    """Whatever they are."""
    file = tmp_path / "body"
    file.write_bytes(body)
    said = trigger("--raw", str(file), "--to", sink.url(), "--json")

    assert said.code == Exit.OK
    assert sink.seen[-1].body == body
    assert said.json["sent"][0]["id"] == ("event_1" if b"event_1" in body else None)


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        ("status/401", 401, "HOOKLINE_WEBHOOK_SECRETS, --secret-env or --secret-file"),
        ("redirect/elsewhere", 307, "redirects are not followed"),
        ("status/503", 503, "the app failed"),
        ("reset", None, "the app may have restarted or crashed: its log tells"),
    ],
)
def test_what_is_not_taken_is_said_with_what_to_do(
    trigger: Run, sink: Sink, fault: str, status: int | None, said: str
) -> None:
    """Exit 1, in text and as JSON; a redirect is not followed."""
    sink.expect(fault)
    text = trigger("dsync.user.created", "--to", sink.url())
    sink.expect(fault)
    before = len(sink.seen)
    found = trigger("dsync.user.created", "--to", sink.url(), "--json")
    [item] = found.json["sent"]

    assert (text.code, found.code) == (Exit.FAILED, Exit.FAILED)
    assert said in text.err
    assert text.out.startswith("no answer" if status is None else str(status))
    assert (item["status"], item["event"], item["error"] is None) == (status, "dsync.user.created", status is not None)
    assert said in item["hint"]
    assert "full screen" not in item["hint"]
    assert len(sink.seen) <= before + 1


def test_where_nobody_listens_the_rest_is_not_sent(trigger: Run) -> None:
    said = trigger("dsync.user.created", "--count", "5", "--to", "http://127.0.0.1:9/webhooks")

    assert said.code == Exit.FAILED
    assert said.out.count("\n") == 1
    assert "4 more were not sent" in said.err


# -- scenarios -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def door(folder: Path) -> Iterator[str]:
    """The URL of the receiver on that database, served, with a worker."""
    stop = threading.Event()
    with Receiver(f"sqlite:///{folder / 'hookline.db'}", secrets=[SECRET]) as receiver, contextlib.ExitStack() as ends:
        url = ends.enter_context(served(receiver.asgi())) + "/webhooks"
        worker = threading.Thread(target=receiver.run_worker, args=(stop,))
        worker.start()
        ends.callback(worker.join)
        ends.callback(stop.set)
        yield url


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_sent_and_verified(trigger: Run, door: str, name: str) -> None:
    """To a real door, in its own order; the mirror is compared once all is worked off."""
    count = ("--count", "5") if SCENARIOS[name].takes_users else ()
    said = trigger("--scenario", name, *count, "--to", door, "--verify", "--json")

    assert said.code == Exit.OK, said
    assert said.json["scenario"] == name
    outline = SCENARIOS[name].at(0 + 10**12, users=5 if count else None)
    assert [one["says"] for one in said.json["sent"]] == [step.says for step in outline.steps]
    assert said.json["verified"]["holds"] is True
    assert len(said.json["verified"]["expected"]) == len(outline.expected)
    assert {one["difference"] for one in said.json["verified"]["expected"]} == {None}


def test_a_verdict_per_line(trigger: Run, door: str) -> None:
    """For people; and where something does not hold it says what, and the exit code is 1."""
    said = trigger("--scenario", "duplicate", "--to", door, "--verify")
    sent, verdicts = said.out.split("VERDICT")

    assert said.code == Exit.OK
    assert sent.count("200  ") == len(sent.splitlines()) == 15
    assert [line.split()[0] for line in verdicts.splitlines()[1:]] == ["ok"] * 4


def test_what_does_not_hold_fails(trigger: Run, door: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody writes to the mirror what the receiver never would."""
    database = connect(f"sqlite:///{folder / 'hookline.db'}")
    plain = trigger_verify.verify

    def spoiled(receiver: Receiver, *args: Any, **kwargs: Any) -> Any:
        plain(receiver, *args, **kwargs)
        database.run(lambda tx: tx.execute("update hookline_directory_users set last_name = 'Nobody'"))
        return plain(receiver, *args, **kwargs)

    monkeypatch.setattr(trigger_verify, "verify", spoiled)
    text = trigger("--scenario", "stale", "--to", door, "--verify")
    found = trigger("--scenario", "stale", "--to", door, "--verify", "--json")
    database.close()

    assert (text.code, found.code) == (Exit.FAILED, Exit.FAILED)
    assert "\nFAILED   directory_user " in text.out
    assert "last_name: expected 'Okafor-Reyes', got 'Nobody'" in text.out
    assert found.json["verified"]["holds"] is False


def test_what_does_not_come_is_said(trigger: Run, sink: Sink) -> None:
    """Another endpoint took it: nothing reaches the receiver, and patience ends."""
    said = trigger("--scenario", "stale", "--to", sink.url(), "--verify", "--within", "0s", "--json")

    assert said.code == Exit.FAILED
    assert len(said.json["verified"]["waiting"]) == 7
    assert "7 event(s) did not come or were not worked off within 0 s" in said.err


def test_what_is_refused_is_not_verified(trigger: Run, door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_SECRET", "whsec_other")
    said = trigger("--scenario", "stale", "--to", door, "--verify", "--secret-env", "OTHER_SECRET")

    assert said.code == Exit.FAILED
    assert said.out.count("401  ") == 7
    assert said.err.count("--secret-env or --secret-file") == 1
    assert "not verified, since not all of it was taken" in said.err


def test_without_a_receiver_nothing_is_sent(
    trigger: Run, sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database without its tables is said at once."""
    monkeypatch.setenv("HOOKLINE_RECEIVER_DATABASE_URL", f"sqlite:///{tmp_path / 'none.db'}")
    before = len(sink.seen)
    said = trigger("--scenario", "stale", "--to", sink.url(), "--verify")

    assert (said.code, len(sink.seen)) == (Exit.USAGE, before)
    assert "expected HOOKLINE_RECEIVER_DATABASE_URL to name the receiver's database" in said.err
    assert not (tmp_path / "none.db").exists()


def test_a_scenario_is_published(trigger: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """In its order, with the times at which it happened; what comes again is sent again."""
    said = trigger("--scenario", "duplicate", "--json")
    items = said.json["sent"]
    first = [one for one in items if "resent" not in one]
    scenario = SCENARIOS["duplicate"].at(10**12)

    assert said.code == Exit.OK
    assert len(items) == len(scenario.steps)
    assert len(first) == len(scenario.history)
    assert {one["id"] for one in items} == {one["id"] for one in first}
    assert {(one["resent"], *one["listeners"]) for one in items if "resent" in one} == {(0,)}
    assert trigger("--scenario", "duplicate").out.count("  (again to 0 endpoint(s), 0 listener(s))") == 6
    assert [one["says"] for one in first][:3] == ["a user", "the user changes", "a group"]
    event = published(capsys, first[0]["id"])
    assert event["created_at"] == first[0]["created_at"] == event["data"]["created_at"]
    assert "cannot be forced" in said.err
    assert said.json["verified"] is None


def test_a_published_scenario_is_delivered_and_verified(
    trigger: Run, door: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a sender that makes deliveries side by side, to a door on the same database: what must hold does."""
    monkeypatch.setenv("HOOKLINE_ALLOW_PRIVATE_TARGETS", "true")
    made = ("--env", "staging", "--json")
    capsys.readouterr()
    assert main(["endpoints", "create", "http://127.0.0.1:9/", "--events", "*", *made]) == Exit.OK
    endpoint = json.loads(capsys.readouterr().out)
    url = f"sqlite:///{folder / 'hookline.db'}"
    with contextlib.ExitStack() as ends:
        receiver = ends.enter_context(Receiver(url, secrets=[endpoint["secret"]]))
        door_url = f"{ends.enter_context(served(receiver.asgi()))}/webhooks"
        assert main(["endpoints", "update", endpoint["id"], "--new-url", door_url, *made]) == Exit.OK
        database = ends.enter_context(contextlib.closing(connect(url)))
        loopback = parse_networks(["127.0.0.0/8"], setting="")
        sender = SenderApp(database, encryption_keys=[ENCRYPTION_KEY], allowed_targets=loopback, makes_keys=False)
        ends.callback(sender.close)
        ends.enter_context(delivering(sender))
        said = trigger("--scenario", "duplicate", "--verify", *made)

    assert said.code == Exit.OK, said
    assert said.json["verified"]["holds"] is True
    assert [one["resent"] for one in said.json["sent"] if "resent" in one] == [1] * 6
    assert "no endpoint asks" not in said.err


@contextlib.contextmanager
def delivering(sender: SenderApp) -> Iterator[None]:
    """The delivery loop on a thread of its own."""
    stop = threading.Event()

    async def deliver() -> None:
        stopping = asyncio.Event()
        work = asyncio.create_task(sender.run(stopping))
        await asyncio.to_thread(stop.wait)
        stopping.set()
        await work

    thread = threading.Thread(target=asyncio.run, args=(deliver(),))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_what_a_scenario_asks_of_a_person(trigger: Run, sink: Sink) -> None:
    """Without --verify it says what must hold."""
    said = trigger("--scenario", "stale", "--to", sink.url())

    assert said.code == Exit.OK
    assert f"must hold at its end: {SCENARIOS['stale'].holds}" in said.err


# -- lists -----------------------------------------------------------------------------------------------------------


def test_what_there_is(trigger: Run) -> None:
    """Types and scenarios, as text and as JSON; no database is needed."""
    text, found = trigger("--list"), trigger("--list", "--json")

    assert (text.code, found.code, text.err) == (Exit.OK, Exit.OK, "")
    assert [one["name"] for one in found.json["events"]] == list(sampled_types())
    assert {one["name"]: one["object"] for one in found.json["events"]}["dsync.user.created"] == "directory_user"
    assert [one["name"] for one in found.json["scenarios"]] == list(SCENARIOS)
    lines = {line.split()[0] for line in text.out.splitlines() if line}
    assert {*CATALOGUE, *SCENARIOS, "EVENT", "SCENARIO"} == lines


def test_the_scenarios_there_are(trigger: Run) -> None:
    """What each proves and what must hold."""
    text, found = trigger("scenarios"), trigger("scenarios", "--json")

    assert found.json == trigger("--list", "--json").json["scenarios"]
    for outline in SCENARIOS.values():
        assert outline.proves in text.out
        assert outline.holds in text.out
    assert found.json[0] == {
        "name": "onboard",
        "proves": SCENARIOS["onboard"].proves,
        "holds": SCENARIOS["onboard"].holds,
        "rules": ["A1", "A2", "C1"],
    }


@pytest.mark.parametrize("name", ["duplicate", "burst"])
def test_a_scenario_step_by_step(trigger: Run, name: str) -> None:
    """In which order it comes and happened, and by which rule what must hold."""
    text, found = trigger("scenarios", name), trigger("scenarios", name, "--json")
    happened = [one["happened"] for one in found.json["steps"]]

    assert (text.code, found.code) == (Exit.OK, Exit.OK)
    assert set(happened) == set(range(1, max(happened) + 1))
    assert found.json["expected"][0].keys() == {"resource", "id", "is_live", "because", "columns", "rules"}
    for step in found.json["steps"]:
        assert step["says"] in text.out


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected an EVENT, --scenario or --raw; got none of them"),
        (["dsync.deleted", "--scenario", "stale"], "got an EVENT and --scenario"),
        (["--raw", "x", "--scenario", "stale"], "got --scenario and --raw"),
        (["dsync.user.craeted"], "dsync.user.created"),
        (["nonsense"], "`hookline trigger --list` has those there are"),
        (["../../etc/passwd"], "there is no sample of"),
        (["dsync.deleted", "--count", "0"], "--count: expected 1 to 1,000, got 0"),
        (["dsync.deleted", "--count", "1001"], "--count: expected 1 to 1,000, got 1001"),
        (["dsync.deleted", "--count", "2", "--edit"], "--edit: expected without --count"),
        (["dsync.deleted", "--created-at", "soon"], "--created-at: expected a time, or an age"),
        (["dsync.deleted", "--override", "nme=x"], "--override: there is no nme: name?"),
        (["dsync.deleted", "--override", "name"], "--override: expected path=value"),
        (["dsync.deleted", "--add", "name=x"], "--add: name is there already"),
        (["dsync.deleted", "--remove", "nam"], "--remove: there is no nam: name?"),
        (["dsync.deleted", "--verify"], "--verify: expected with --scenario"),
        (["dsync.deleted", "--secret-env", "A"], "--secret-env: expected with --to"),
        (["dsync.deleted", "--standard"], "--standard: expected with --to"),
        (["dsync.deleted", "--secret-file", "a"], "--secret-file: expected with --to"),
        (["dsync.deleted", "--to", "http://a b"], "--to: "),
        (["dsync.deleted", "--to", "ftp://localhost/"], "--to: "),
        (["dsync.deleted", "--to", "localhost:1", "--url", "http://localhost:2"], "--url: expected it or --to"),
        (
            ["dsync.deleted", "--to", "localhost:1", "--database-url", "sqlite:///x"],
            "--database-url: expected it or --to",
        ),
        (["dsync.deleted", "--to", "localhost:1", "--override", "data=1"], "data: expected an object, got int"),
        (["dsync.deleted", "--to", "localhost:1", "--add", "context=[]"], "context: expected an object, got list"),
        (["dsync.deleted", "--to", "localhost:1", "--remove", "data"], "data: expected an object, got nothing"),
        (["dsync.deleted", "--remove", "data", "--remove", "name"], "data: expected an object, got nothing"),
        (["dsync.deleted", "--override", "data=1", "--override", "data.a=1"], "data: expected an object, got int"),
        (["dsync.deleted", "--to", "localhost:1", "--override", 'name="\\ud800"'], "name"),
        (["--scenario", "rehier"], "--scenario: expected rehire?"),
        (["--scenario", "zzz"], "--scenario: expected one of onboard, offboard"),
        (["--scenario", "stale", "--count", "3"], "--count: expected with an EVENT, not with the scenario stale"),
        (["--scenario", "burst", "--count", "0"], "--count: burst takes 1 to 10,000 users, got 0"),
        (["--scenario", "stale", "--override", "a=1"], "--override: expected with an EVENT"),
        (["--scenario", "stale", "--verify", "--within", "soon"], "--within: expected a duration"),
        (["--raw", "/nowhere/at/all"], "cannot be read"),
        (["--raw", "x", "--organization", "org_1"], "--organization: expected with an EVENT, not with --raw"),
        (["scenarios", "rehier"], "--scenario: expected rehire?"),
    ],
)
def test_bad_input_is_said(trigger: Run, arguments: list[str], said: str) -> None:
    """With the flag it is about, and what to do, a line each; nothing is printed, and the exit code is 2."""
    found = trigger(*arguments)
    what, to_do = found.err.splitlines()

    assert (found.code, found.out) == (Exit.USAGE, "")
    assert what.startswith("error[config]: ")
    assert said in what
    assert to_do.startswith("  to do: ")


def test_an_error_is_json_where_that_was_asked_for(trigger: Run) -> None:
    found = trigger("dsync.user.craeted", "--json")

    assert (found.code, found.out) == (Exit.USAGE, "")
    assert json.loads(found.err)["error"]["code"] == "config"

"""Well-signed bodies made to break whoever reads them, and what must never be seen in a log or a table.

Both ends run as processes with their logs at debug, so that whatever could be said is said.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hookline.testing import sample_event
from hookline.wire.signature import sign

from .processes import API_KEY, SECRET, Served, call, deliver, rows, serving, wait_for

TYPE: Final = "dsync.user.created"
PERSON: Final = "very.private@example.com"


def body(name: str, *, data: str = "", **members: Any) -> bytes:
    """An event about a user of its own, with raw JSON put into its data and members of its envelope replaced."""
    event = sample_event(TYPE, id=f"directory_user_{name}", email=PERSON)
    envelope = json.loads(event.raw) | {"id": f"event_{name}"} | members
    text = json.dumps(envelope, ensure_ascii=False)
    return text.replace('"data": {', '"data": {' + data + ", " if data else '"data": {', 1).encode()


def with_field(name: str, **fields: Any) -> bytes:
    """An event about a user of its own with odd values in known fields."""
    event = sample_event(TYPE, id=f"directory_user_{name}", email=PERSON)
    envelope = json.loads(event.raw) | {"id": f"event_{name}"}
    envelope["data"] |= fields
    return json.dumps(envelope).encode()


HOSTILE: Final[Mapping[str, bytes]] = {
    "deep": body("deep", data='"deep": ' + "[" * 100_000 + "]" * 100_000),
    "deep_objects": body("deep_objects", data='"deep": ' + '{"a":' * 100_000 + "1" + "}" * 100_000),
    "never_closed": b'{"event":' * 100_000,
    "digits": body("digits", data='"number": ' + "7" * 5_000),
    "digits_minus": body("digits_minus", data='"number": -' + "7" * 5_000),
    "exponent": body("exponent", data='"number": 1e999999999'),
    "nan": body("nan", data='"number": NaN'),
    "nul": body("nul", data='"text": "a\\u0000b", "a\\u0000b": 1'),
    "nul_raw": body("nul_raw", data='"text": "a\x00b"'),
    "surrogate": body("surrogate", data='"text": "\\ud800"'),
    "surrogate_low": body("surrogate_low", data='"text": "\\udc00 first"'),
    "surrogate_raw": body("surrogate_raw", data='"text": "SURROGATE"').replace(b"SURROGATE", b"\xed\xa0\x80"),
    "twice": body("twice", data='"email": "first@example.com", "email": "second@example.com"'),
    "twice_id": body("twice_id").replace(b'"id": "event_twice_id"', b'"id": "event_x", "id": "event_twice_id"', 1),
    "id_number": body("id_number", id=7),
    "id_null": body("id_null", id=None),
    "id_object": body("id_object", id={"a": 1}),
    "id_empty": body("id_empty", id=""),
    "id_newline": body("id_newline", id="event_a\nb"),
    "id_megabyte": body("id_megabyte", id="e" * 1_000_000),
    "megabyte": body("megabyte", data=f'"text": "{"x" * 1_000_000}"'),
    "list": b'["dsync.user.created", {"email": "very.private@example.com"}]',
    "text": b'"very.private@example.com"',
    "null": b"null",
    "not_json": b"event=dsync.user.created&email=very.private@example.com",
    "empty": b"",
    "utf8": body("utf8", data='"text": "BROKEN"').replace(b"BROKEN", b"caf\xe9"),
    "utf16": body("utf16").decode().encode("utf-16"),
    "bom": b"\xef\xbb\xbf" + body("bom"),
    "no_type": body("no_type").replace(b'"event": "dsync.user.created"', b'"type": "dsync.user.created"'),
    "no_data": b'{"id": "event_no_data", "event": "dsync.user.created"}',
    "data_list": b'{"id": "event_data_list", "event": "dsync.user.created", "data": ["very.private@example.com"]}',
    "unknown_type": body("unknown_type", event="payroll.salary.raised"),
    "object_id_number": with_field("object_id_number", id=7),
    "object_id_missing": with_field("object_id_missing", id=None),
    "object_id_list": with_field("object_id_list", id=["a"]),
    "object_id_megabyte": with_field("object_id_megabyte", id="u" * 1_000_000),
    "fields_odd": with_field(
        "fields_odd", email={"a": 1}, first_name=["b"], state=7, username=2**70, job_title=1.5, last_name=True
    ),
    "parents_odd": with_field("parents_odd", directory_id=7, organization_id={"a": "b"}),
    "times_odd": with_field("times_odd", updated_at=12, created_at="yesterday"),
    "times_far": with_field("times_far", updated_at="9999-12-31T23:59:59.999Z", created_at="0001-01-01T00:00:00Z"),
}

Fate = tuple[str | None, str, str | None]  # the door's reason, what became of the entry, the worker's reason
NOT_JSON: Final[Fate] = ("not_json", "dead", "not_json")
NO_EVENT: Final[Fate] = ("not_event", "dead", "not_event")
NO_TEXT: Final[Fate] = ("encoding", "dead", "encoding")
LATE: Final[Fate] = (None, "dead", "not_json")  # the door leaves data alone: the worker meets the number
APPLIED: Final[Fate] = (None, "applied", None)
NO_KEY: Final[Fate] = (None, "ignored", "data.id: expected 1 to 255 printable characters")

FATES: Final[Mapping[str, Fate]] = {
    **dict.fromkeys(("deep", "deep_objects", "nan", "nul_raw", "not_json", "empty", "bom"), NOT_JSON),
    **dict.fromkeys(("digits", "digits_minus", "exponent"), LATE),
    **dict.fromkeys(("surrogate", "surrogate_low", "surrogate_raw", "utf8", "utf16"), NO_TEXT),
    **dict.fromkeys(("id_number", "id_object", "id_empty", "id_newline", "id_megabyte"), NO_EVENT),
    **dict.fromkeys(("never_closed", "list", "text", "null", "no_type", "no_data", "data_list"), NO_EVENT),
    **dict.fromkeys(("nul", "twice", "twice_id", "id_null", "megabyte", "fields_odd", "parents_odd"), APPLIED),
    **dict.fromkeys(("object_id_number", "object_id_missing", "object_id_list", "object_id_megabyte"), NO_KEY),
    "unknown_type": (None, "ignored", None),
    "times_odd": (None, "applied", "refetch:weak"),
    "times_far": APPLIED,
}

# Handlers that let what they were given into every message they can.
APP: Final = f"""
import logging, os
from hookline import Receiver

hooks = Receiver(os.environ["APP_DATABASE"], secrets=[{SECRET!r}])

@hooks.on("dsync.user.created", name="raises")
def raises(event, tx):
    try:
        raise KeyError(event.data["email"])
    except KeyError as cause:
        raise ValueError("cannot welcome " + event.data["email"]) from cause

@hooks.on("dsync.user.created", name="bad-sql")
def bad_sql(event, tx):
    tx.execute("insert into " + event.data["email"])

@hooks.on_change("directory_user", name="raises-on-change")
async def raises_on_change(change, tx):
    assert not change.after, change.after
"""


def settled(database: Path) -> bool:
    """Whether every entry has been worked on."""
    return rows(database, "select count(*) from hookline_inbox_queue") == [(0,)]


def test_hostile_bodies_are_kept_and_set_aside(tmp_path: Path) -> None:
    """Each is answered 200 and isolated with its reason or applied as the legal data it is; the worker lives on."""
    database = tmp_path / "hookline.db"
    before, after = body("before"), body("after")
    with serving("receiver", tmp_path, webhook_secrets=SECRET) as receiver:
        answers = {"before": deliver(receiver, before).status}
        answers |= {name: deliver(receiver, raw).status for name, raw in HOSTILE.items()}
        answers["after"] = deliver(receiver, after).status
        wait_for(lambda: settled(database), "all entries")
        code = receiver.stop()
        errors = [record for record in receiver.records() if record["level"] in {"error", "critical"}]

    assert set(answers.values()) == {200}
    found = rows(
        database,
        "select i.body, i.reason, o.outcome, o.reason from hookline_inbox i join hookline_inbox_outcomes o using (seq)",
    )
    fates = {raw: fate for raw, *fate in found}
    assert {name: tuple(fates[raw]) for name, raw in HOSTILE.items()} == FATES
    assert (tuple(fates[before]), tuple(fates[after])) == (APPLIED, APPLIED)
    assert errors == []
    assert code == 0


def test_legal_oddities_are_mirrored_as_they_are(tmp_path: Path) -> None:
    """Repeated keys (the last counts) and a megabyte of text are data; only NUL is shown as U+FFFD."""
    database = tmp_path / "hookline.db"
    with serving("receiver", tmp_path, webhook_secrets=SECRET) as receiver:
        for name in ("nul", "twice", "megabyte", "fields_odd"):
            deliver(receiver, HOSTILE[name])
        wait_for(lambda: settled(database), "all entries")

    shown = dict(rows(database, "select id, payload from hookline_directory_users_live"))
    payloads = {id_.removeprefix("directory_user_"): json.loads(payload) for id_, payload in shown.items()}
    assert (payloads["nul"]["text"], payloads["nul"]["a\ufffdb"]) == ("a\ufffdb", 1)
    assert payloads["twice"]["email"] == PERSON
    assert payloads["megabyte"]["text"] == "x" * 1_000_000
    assert payloads["fields_odd"]["username"] in {2**70, float(2**70)}


@dataclass(frozen=True, slots=True)
class Line:
    """Both ends as processes with logs at debug, and an endpoint of the one at the other's door."""

    sender: Served
    receiver: Served
    secret: str
    sender_database: Path
    receiver_database: Path


@contextmanager
def line(folder: Path) -> Iterator[Line]:
    """A sender, and a receiver whose handlers all fail; the sender's second endpoint is signed with another secret."""
    (folder / "shop.py").write_text(APP)
    with serving(
        "sender",
        folder,
        "--allow-private-targets",
        "--log-level=debug",
        "--retry-schedule=100ms, 200ms, 1h",
        api_key=API_KEY,
        database_url=f"sqlite:///{folder / 'sender.db'}",
    ) as sender:
        secrets = [_endpoint(sender, f"http://127.0.0.1:9/{n}") for n in range(2)]
        (folder / "shop.py").write_text(APP.replace(SECRET, secrets[0][1]))
        database = folder / "receiver.db"
        with serving(
            "receiver",
            folder,
            "--log-level=debug",
            "--app=shop:hooks",
            environment={"APP_DATABASE": f"sqlite:///{database}"},
        ) as receiver:
            for number, (endpoint, _) in enumerate(secrets):
                url = f"{receiver.url}/webhooks" + "/" * number
                changed = call(sender, "PATCH", f"/webhook_endpoints/{endpoint}", {"endpoint_url": url})
                assert changed.status == 200, changed.body
            _endpoint(sender, "http://127.0.0.1:9/nobody")
            yield Line(sender, receiver, secrets[0][1], folder / "sender.db", database)


def _endpoint(sender: Served, url: str) -> tuple[str, str]:
    answer = call(sender, "POST", "/webhook_endpoints", {"endpoint_url": url, "events": [TYPE]})
    assert answer.status == 201, answer.body
    return answer.json["id"], answer.json["secret"]


def test_logs_and_tables_keep_secrets_and_people_to_themselves(tmp_path: Path) -> None:
    """Failing deliveries, forgeries, raising handlers: no log has secret, whole digest, key or e-mail address."""
    with line(tmp_path) as ends:
        data = json.loads(body("logged"))["data"]
        forged = body("forged")
        stale = sign(forged, ends.secret, timestamp_ms=(time.time_ns() // 1_000_000) - 3_600_000)
        wrong = sign(forged, "whsec_guessed", timestamp_ms=time.time_ns() // 1_000_000)
        headers = [stale, wrong, wrong.replace("v1=", "v2="), wrong.upper(), PERSON, ""]
        for number in range(3):
            published = call(ends.sender, "POST", "/api/v1/events", {"event": TYPE, "data": data | {"n": number}})
            assert published.status == 201
        bad = call(ends.sender, "POST", "/api/v1/events", {"event": TYPE, "data": data | {"n": 2**60}})
        refusals = [deliver(ends.receiver, forged, header=header).status for header in headers]
        hostile = [
            deliver(ends.receiver, HOSTILE[name], secret=ends.secret).status for name in ("digits", "deep", "utf8")
        ]
        wait_for(lambda: _are_done(ends), "attempts, retries and handlers")
        wait_for(
            lambda: "malformed" in ends.receiver.log() and "mismatch" in ends.receiver.log(), "refusals in the log"
        )
        assert (ends.sender.stop(), ends.receiver.stop()) == (0, 0)

    assert bad.status == 422
    assert refusals == [401, 401, 400, 400, 400, 400]
    assert hostile == [200, 200, 200]
    text = ends.sender.log() + ends.receiver.log()
    evidence = "".join(text for (text,) in rows(ends.sender_database, "select evidence from hookline_sender_attempts"))
    samples = "".join(text for (text,) in rows(ends.receiver_database, "select sample from hookline_rejections"))
    errors = "".join(
        text for (text,) in rows(ends.receiver_database, "select error from hookline_runs where error is not null")
    )
    digests = [header.rpartition("=")[2] for header in (stale, wrong)]
    for kept in (text, evidence, samples, errors):
        assert [part for part in (ends.secret, API_KEY, PERSON, *digests) if part in kept] == []
        assert not LONG_HEX.search(kept)
    assert "v1=" in evidence
    assert "ValueError" in errors
    assert ends.secret.encode() not in b"".join(file.read_bytes() for file in tmp_path.glob("sender.db*"))


# A whole digest, or half of one; evidence shows 8 digits.
LONG_HEX: Final = re.compile(r"[0-9a-f]{33,}")


def _are_done(ends: Line) -> bool:
    """Every endpoint has been tried three times or has its deliveries, and every handler has failed once."""
    tried = rows(
        ends.sender_database,
        "select min(attempt), count(*) from hookline_sender_deliveries where state <> 'succeeded'",
    )
    succeeded = rows(ends.sender_database, "select count(*) from hookline_sender_deliveries where state = 'succeeded'")
    runs = rows(ends.receiver_database, "select count(*), count(error) from hookline_runs where attempt > 0")
    return tried == [(3, 6)] and succeeded == [(3,)] and runs[0][1] >= 5

"""The door's questions, in their order, without a socket and without a database."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any

import pytest

from hookline.errors import OutcomeUnknown, StorageUnavailable
from hookline.receiver.model import Entry, PutKind, Receipt, Request
from hookline.receiver.receive import NO_PATH, Door, Doors, header_pairs
from hookline.storage import Verbs
from hookline.wire.signature import sign

SECRET = "whsec_door_secret_0001"
OLD_SECRET = "whsec_door_secret_0000"
TOKEN = "k7Yp-unguessable"
NOW_MS = 1_700_000_000_000
BODY = b'{"id":"event_01HF0000000000000000000001","event":"dsync.user.created","data":{"id":"directory_user_1"}}'


@dataclass
class Kept:
    """An inbox in a list, that answers as it is told."""

    kind: PutKind = "accepted"
    error: Exception | None = None
    entries: list[Entry] = field(default_factory=list)

    def put(self, entry: Entry) -> PutKind:
        if self.error is not None:
            raise self.error
        self.entries.append(entry)
        return self.kind


def signed(body: bytes = BODY, *, secret: str = SECRET, timestamp_ms: int = NOW_MS) -> Request:
    """A request in order, for the test to spoil."""
    headers = [
        (b"host", b"localhost"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"workos-signature", sign(body, secret, timestamp_ms=timestamp_ms).encode()),
    ]
    return Request("POST", "/webhooks", headers, body, "203.0.113.7")


def with_header(request: Request, name: bytes, value: bytes | None) -> Request:
    """The request with this header instead of its own; None leaves it out."""
    headers = [pair for pair in request.headers if pair[0] != name]
    return replace(request, headers=headers if value is None else [*headers, (name, value)])


def receive(door: Door, request: Request, kept: Kept | None = None) -> Receipt:
    at_path = Doors([door]).find(request.path)
    return NO_PATH if at_path is None else at_path.receive(request, (kept or Kept()).put, NOW_MS)


def test_a_signed_event_is_kept_under_its_id_with_its_bytes() -> None:
    """What is kept are the bytes as they came, their hash, and both times."""
    kept = Kept()

    receipt = receive(Door([SECRET]), signed(timestamp_ms=NOW_MS - 5_000), kept)

    assert receipt == Receipt(200, "accepted", "event_01HF0000000000000000000001")
    assert kept.entries == [
        Entry(
            source="default",
            event_id="event_01HF0000000000000000000001",
            sha256=hashlib.sha256(BODY).digest(),
            type="dsync.user.created",
            body=BODY,
            signed_ms=NOW_MS - 5_000,
            received_ms=NOW_MS,
            reason=None,
        )
    ]


@pytest.mark.parametrize(
    ("said", "number"),
    [
        (b"7", 7),
        (b"007", 7),
        (b"9" * 15, 10**15 - 1),
        (b"9" * 16, None),
        (b"0", None),
        (b"-1", None),
        (b"1.5", None),
        (b"seven", None),
        ("٧".encode(), None),
        (b"", None),
    ],
)
def test_the_number_of_an_objects_event_is_kept_and_a_bad_one_ignored(said: bytes, number: int | None) -> None:
    """It is not signed, and no reason to refuse anything."""
    kept = Kept()
    receipt = receive(Door([SECRET]), with_header(signed(), b"hookline-object-sequence", said), kept)

    assert receipt.kind == "accepted"
    assert [entry.object_sequence for entry in kept.entries] == [number]


@pytest.mark.parametrize("kind", ["accepted", "duplicate", "conflict"])
def test_whatever_became_of_the_entry_the_answer_is_200(kind: PutKind) -> None:
    """A sender cannot tell a first delivery from a repeated or a contradicting one."""
    receipt = receive(Door([SECRET]), signed(), Kept(kind))

    assert (receipt.status, receipt.kind, receipt.headers, receipt.message) == (200, kind, (), "")


@pytest.mark.parametrize("error", [StorageUnavailable("locked"), OutcomeUnknown("io")])
def test_what_cannot_be_kept_is_answered_503(error: Exception) -> None:
    """No 200 without a commit: neither when nothing was written nor when nobody knows."""
    receipt = receive(Door([SECRET]), signed(), Kept(error=error))

    assert (receipt.status, receipt.kind, receipt.reason) == (503, "refused", "unavailable")
    assert dict(receipt.headers).keys() == {"retry-after"}


REFUSED = [
    ("no signature", with_header(signed(), b"workos-signature", None), 400, "missing"),
    ("empty signature", with_header(signed(), b"workos-signature", b" "), 400, "missing"),
    ("garbage", with_header(signed(), b"workos-signature", b"t=,v1="), 400, "malformed"),
    ("no digits", with_header(signed(), b"workos-signature", b"t=1, v1=" + b"g" * 64), 400, "malformed"),
    ("not ASCII", with_header(signed(), b"workos-signature", "t=1, v1=é".encode("latin-1")), 400, "malformed"),
    ("expired", signed(timestamp_ms=NOW_MS - 180_001), 401, "expired"),
    ("future", signed(timestamp_ms=NOW_MS + 180_001), 401, "future"),
    ("other secret", signed(secret="whsec_other"), 401, "mismatch"),
    ("other body", replace(signed(), body=BODY + b" "), 401, "mismatch"),
    ("forged and old", signed(secret="whsec_other", timestamp_ms=1_600_000_000_000), 401, "mismatch"),
    ("wrong path", replace(signed(), path="/webhook"), 404, "path"),
    ("a token nobody set", replace(signed(), path="/webhooks/token"), 404, "path"),
    ("PUT", replace(signed(), method="PUT"), 405, "method"),
    ("OPTIONS", replace(signed(), method="OPTIONS"), 405, "method"),
    ("declared too large", with_header(signed(), b"content-length", b"1025"), 413, "size"),
    ("declared absurdly large", with_header(signed(), b"content-length", b"9" * 5_000), 413, "size"),
    ("counted too large", with_header(signed(b" " * 1025), b"content-length", None), 413, "size"),
    (
        "form",
        with_header(signed(), b"content-type", b"application/x-www-form-urlencoded"),
        415,
        "content_type",
    ),
    (
        "form with parts",
        with_header(signed(), b"content-type", b"Multipart/Form-Data ; boundary=x"),
        415,
        "content_type",
    ),
]


@pytest.mark.parametrize(
    ("request_", "status", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_the_answers_of_the_contract(request_: Request, status: int, reason: str) -> None:
    """Each refusal has its status and its one word, and keeps nothing."""
    kept = Kept()

    receipt = receive(Door([SECRET], max_body=1024), request_, kept)

    assert (receipt.status, receipt.kind, receipt.reason) == (status, "refused", reason)
    assert kept.entries == []


def test_405_names_the_methods_that_work() -> None:
    """RFC 9110 §15.5.6: a 405 carries Allow."""
    receipt = receive(Door([SECRET]), replace(signed(), method="DELETE"))

    assert receipt.headers == (("allow", "GET, HEAD, POST"),)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_registrars_that_look_first_are_greeted(method: str) -> None:
    """GET and HEAD are 200, need no signature and keep nothing."""
    kept = Kept()

    receipt = receive(Door([]), Request(method, "/webhooks", [], b"", None), kept)

    assert (receipt.status, receipt.kind, kept.entries) == (200, "greeted", [])


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT"])
@pytest.mark.parametrize(
    "path", ["/webhooks", "/webhooks/", "/webhooks/wrong", f"/webhooks/{TOKEN}x", f"/{TOKEN}", "/webhooks/é\udcff"]
)
def test_without_the_token_there_is_no_door(method: str, path: str) -> None:
    """404 for every method, so that a scanner does not learn that a token is asked for."""
    receipt = receive(Door([SECRET], path_token=TOKEN), replace(signed(), method=method, path=path))

    assert receipt.status == 404


@pytest.mark.parametrize("path", [f"/webhooks/{TOKEN}", f"/webhooks/{TOKEN}/"])
def test_the_token_opens_with_and_without_a_slash(path: str) -> None:
    """A redirect to the other spelling would lose the event: senders do not follow any."""
    receipt = receive(Door([SECRET], path_token=TOKEN), replace(signed(), path=path))

    assert receipt.status == 200


@pytest.mark.parametrize("path", ["/webhooks", "/webhooks/"])
def test_the_path_opens_with_and_without_a_slash(path: str) -> None:
    """The same without a token."""
    assert receive(Door([SECRET]), replace(signed(), path=path)).status == 200


def test_without_a_secret_nothing_is_accepted() -> None:
    """A receiver that cannot prove anything fails closed, whatever the signature."""
    kept = Kept()

    receipt = receive(Door([]), signed(), kept)

    assert (receipt.status, receipt.reason, kept.entries) == (503, "no_secret", [])


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_any_of_several_secrets_will_do(secret: str) -> None:
    """During a rotation both are in force."""
    assert receive(Door([SECRET, OLD_SECRET]), signed(secret=secret)).status == 200


def test_any_of_several_digests_will_do_in_one_header_or_two() -> None:
    """A sender that rotates may sign twice; proxies split and join headers as they like."""
    good = sign(BODY, SECRET, timestamp_ms=NOW_MS).encode()
    forged = b"v1=" + b"0" * 64
    door = Door([SECRET])

    joined = receive(door, with_header(signed(), b"workos-signature", good + b"," + forged))
    base = with_header(signed(), b"workos-signature", None)
    split = receive(
        door,
        replace(base, headers=[*base.headers, (b"workos-signature", forged), (b"workos-signature", good)]),
    )

    assert (joined.status, split.status) == (200, 200)


@pytest.mark.parametrize("tolerance_s", [0, 1, 180, None])
def test_the_tolerance_is_honoured_to_the_millisecond(tolerance_s: int | None) -> None:
    """0 means now; None says that age does not matter."""
    door = Door([SECRET], tolerance_s=tolerance_s)
    edge_ms = NOW_MS - (10_000_000 if tolerance_s is None else tolerance_s * 1000)

    inside, outside = receive(door, signed(timestamp_ms=edge_ms)), receive(door, signed(timestamp_ms=edge_ms - 1))

    assert inside.status == 200
    assert outside.status == (200 if tolerance_s is None else 401)


BODIES = {
    "a list": (b"[1,2]", "not_event"),
    "a string": (b'"event"', "not_event"),
    "no event": (b'{"id":"event_1","data":{}}', "not_event"),
    "a number as id": (b'{"id":7,"event":"a.b","data":{}}', "not_event"),
    "an empty id": (b'{"id":"","event":"a.b","data":{}}', "not_event"),
    "a giant id": (b'{"id":"' + b"x" * 1_000 + b'","event":"a.b","data":{}}', "not_event"),
    "not JSON": (b"event=1", "not_json"),
    "nothing": (b"", "not_json"),
    "bad UTF-8": (b'{"id":"event_1","event":"a.b","data":{"x":"\xff"}}', "encoding"),
    "100,000 deep": (
        b'{"id":"event_1","event":"a.b","data":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        "not_json",
    ),
    "lone surrogate in the id": (rb'{"id":"\ud800","event":"a.b","data":{}}', "encoding"),
}


@pytest.mark.parametrize(("body", "reason"), BODIES.values(), ids=BODIES)
def test_signed_bodies_that_are_no_event_are_kept_under_their_hash(body: bytes, reason: str) -> None:
    """They are the source's, so they are not asked for again: kept as they are, with the reason."""
    kept = Kept()

    receipt = receive(Door([SECRET]), signed(body), kept)

    assert (receipt.status, receipt.kind, receipt.reason) == (200, "accepted", reason)
    (entry,) = kept.entries
    assert (entry.event_id, entry.type, entry.body) == (f"sha256:{hashlib.sha256(body).hexdigest()}", None, body)


ODD_BUT_EVENTS = {
    "an unknown type": b'{"id":"event_1","event":"kitten.created","data":{}}',
    "a NUL": rb'{"id":"event_1","event":"a.b","data":{"x":"\u0000"}}',
    "duplicate keys": b'{"id":"event_0","id":"event_1","event":"a.b","data":{}}',
    "a 1 MB string": b'{"id":"event_1","event":"a.b","data":{"x":"' + b"y" * 1_000_000 + b'"}}',
    "an old id and no time": b'{"id":"event_1","data":{},"event":"dsync.user.created"}',
}


@pytest.mark.parametrize("body", ODD_BUT_EVENTS.values(), ids=ODD_BUT_EVENTS)
def test_odd_events_are_events(body: bytes) -> None:
    """What is legal JSON with a name and data is kept under its id, without a reason."""
    kept = Kept()

    receipt = receive(Door([SECRET]), signed(body), kept)

    assert (receipt.status, receipt.event_id, receipt.reason) == (200, "event_1", None)


def test_an_event_without_an_id_is_kept_under_its_hash() -> None:
    """It is an event all the same: no reason against it. A header that nobody signed is never the key."""
    kept = Kept()
    body = b'{"event":"a.b","data":{}}'

    receive(Door([SECRET]), with_header(signed(body), b"webhook-id", b"event_9"), kept)

    (entry,) = kept.entries
    assert (entry.event_id, entry.type, entry.reason) == (
        f"sha256:{hashlib.sha256(body).hexdigest()}",
        "a.b",
        None,
    )


def test_only_allowed_networks_may_call() -> None:
    """The peer is the client as long as no proxy is trusted, whatever a header says."""
    door = Door([SECRET], allowed=[ip_network("203.0.113.0/24")])
    inside, outside = signed(), replace(signed(), peer="198.51.100.1")

    assert receive(door, inside).status == 200
    assert receive(door, outside).status == 403
    assert receive(door, with_header(outside, b"x-forwarded-for", b"203.0.113.7")).status == 403
    assert receive(door, replace(outside, peer=None)).status == 403


def test_behind_a_trusted_proxy_the_forwarded_address_counts() -> None:
    """Read from the right, past trusted hops: what stands further left was written by the client."""
    door = Door([SECRET], allowed=[ip_network("203.0.113.0/24")], trusted_proxies=[ip_network("10.0.0.0/8")])
    proxied = replace(signed(), peer="10.0.0.1")

    assert receive(door, with_header(proxied, b"x-forwarded-for", b"203.0.113.7")).status == 200
    assert receive(door, with_header(proxied, b"x-forwarded-for", b"203.0.113.7, 10.0.0.9")).status == 200
    assert receive(door, with_header(proxied, b"x-forwarded-for", b"203.0.113.7, 198.51.100.1")).status == 403
    assert receive(door, with_header(proxied, b"x-forwarded-for", b"rubbish")).status == 403


def test_the_first_question_answers() -> None:
    """A request wrong in every way learns about its path first, then method, size, type, address, signature."""
    door = Door([SECRET], path_token=TOKEN, max_body=10, allowed=[ip_network("203.0.113.0/24")])
    request = Request(
        "PUT",
        "/webhooks",
        [(b"content-type", b"multipart/form-data"), (b"content-length", b"99")],
        BODY,
        "198.51.100.1",
    )
    steps = []
    cures: list[dict[str, Any]] = [
        {"path": f"/webhooks/{TOKEN}"},
        {"method": "POST"},
        {"headers": [(b"content-type", b"multipart/form-data")], "body": b"{}"},
        {"headers": []},
        {"peer": "203.0.113.1"},
        {},
    ]
    for cure in cures:
        steps.append(receive(door, request).status)
        request = replace(request, **cure)

    assert steps == [404, 405, 413, 415, 403, 400]


def test_no_refusal_repeats_what_came() -> None:
    """Neither a digest nor a secret nor a token nor a body is in any message."""
    told = []
    for _, request, _, _ in REFUSED:
        receipt = receive(Door([SECRET], max_body=1024), request)
        told.append(receipt.message + repr(receipt.headers))
    text = "".join(told)
    (signature,) = [value for name, value in signed().headers if name == b"workos-signature"]

    for secret in (SECRET, TOKEN, signature.decode()[-64:], signature.decode()[-64:-50], "directory_user_1"):
        assert secret not in text


def test_header_fuzzing_never_gets_past_the_door() -> None:
    """Anything but a genuine header is 400 or 401: nothing else escapes, nothing is kept."""
    seeded = random.Random(20240731)
    genuine = sign(BODY, SECRET, timestamp_ms=NOW_MS).encode()
    door, kept = Door([SECRET]), Kept()
    statuses = set()
    for _ in range(2_000):
        value = bytearray(genuine)
        for _ in range(seeded.randint(1, 6)):
            at = seeded.randrange(len(value))
            value[at : at + seeded.randint(0, 2)] = seeded.randbytes(seeded.randint(0, 3))
        receipt = receive(door, with_header(signed(), b"workos-signature", bytes(value)), kept)
        if not kept.entries:
            statuses.add(receipt.status)
        else:
            # The mutation left t and v1 alone (an extra pair, a space): it is genuine.
            assert genuine[2:15] in bytes(value)
            assert genuine[-64:] in bytes(value)
            kept.entries.clear()

    assert statuses == {400, 401}


@pytest.mark.parametrize("bit", range(0, len(BODY) * 8, 37))
def test_one_bit_of_the_body_is_enough(bit: int) -> None:
    """The signature covers every bit."""
    spoiled = bytearray(BODY)
    spoiled[bit // 8] ^= 1 << bit % 8

    assert receive(Door([SECRET]), replace(signed(), body=bytes(spoiled))).reason == "mismatch"


def test_headers_come_in_any_shape() -> None:
    """Mappings and pairs, text and bytes, any case, several values: the same pairs."""
    expected = [(b"workos-signature", b"t=1"), (b"x", b"2")]

    mixed: dict[str, str | bytes] = {"WorkOS-Signature": "t=1", "X": b"2"}

    assert header_pairs(mixed) == expected
    assert header_pairs([("WORKOS-SIGNATURE", b"t=1"), (b"x", "2")]) == expected
    assert header_pairs({"workos-signature": ["t=1"], "x": ["2"]}) == expected
    assert header_pairs({"x": "€"}) == [(b"x", "€".encode())]


def test_an_entry_is_bound_in_the_order_of_its_columns() -> None:
    """`Entry` goes to the database as it is: its fields are the placeholders of the verb, one to one."""
    assert Verbs("hookline.receiver", "sqlite")["inbox_put"].columns == Entry._fields


def test_captured_bodies_are_read_as_they_are() -> None:
    """A body of 2021 with a `wh_` id and no time is an event like any other."""
    body = json.dumps({"id": "wh_01FJ27WB8SNT7VN72KRMYJYV8P", "data": {"id": "u"}, "event": "dsync.user.created"})

    receipt = receive(Door([SECRET]), signed(body.encode()))

    assert (receipt.event_id, receipt.reason) == ("wh_01FJ27WB8SNT7VN72KRMYJYV8P", None)

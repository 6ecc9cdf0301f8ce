"""Why a signature does not hold: each way it breaks is named, proved where it can be, and nothing secret is told."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

import pytest

from hookline.errors import InvalidSignature
from hookline.wire import body_variants, culprits, standard
from hookline.wire.body_variants import written_as
from hookline.wire.explain import Explanation, NamedSecret, explain
from hookline.wire.schemes import signed_headers
from hookline.wire.signature import digest, verify_signature

from .vectors import BODY_A, BODY_B, BODY_C, BY_NUMBER, OWN_SECRET, OWN_TIMESTAMP_MS, VECTORS, Vector

NOW_MS = OWN_TIMESTAMP_MS
V1 = BY_NUMBER[7].v1
GOOD = f"t={NOW_MS}, v1={V1}"
CURRENT = NamedSecret("current", OWN_SECRET)
ROTATED = NamedSecret("rotated", "whsec_the_one_before")
OTHER = NamedSecret("endpoint we_other", "whsec_of_another_endpoint", in_force=False)
KNOWN = (CURRENT, ROTATED, OTHER)

NESTED = (
    '{"id":"event_01HF000000000000000000000C","event":"user.updated","data":{"last_name":"Zoë 😀","link":"a/b",'
    '"tags":[],"more":{"b":1.50,"a":[true,null,"<x> & \\"y\\""]}},"created_at":"2023-11-14T22:13:20.000Z"}'
).encode()


def told(
    header: Any, body: bytes | str = BODY_A, secrets: Sequence[NamedSecret] = KNOWN, **settings: Any
) -> Explanation:
    settings.setdefault("now_ms", NOW_MS)
    explanation = explain(body, header, secrets, **settings)
    text = repr(explanation) + json.dumps(dataclasses.asdict(explanation), default=str)
    for one in secrets:
        assert one.secret.strip().removeprefix("whsec_") not in text
    for whole in (V1, V1.upper()):
        assert whole not in text
    assert [step.name for step in explanation.steps] == ["header", "unit", "signature", "window"]
    assert explanation.broken == next((step.name for step in explanation.steps if step.state == "failed"), None)
    assert (explanation.broken is None) == (explanation.code == "genuine")
    return explanation


def states(explanation: Explanation) -> str:
    """A letter per step: passed, failed, skipped."""
    return "".join(step.state[0] for step in explanation.steps)


def signature_over(body: bytes, secret: str | bytes = OWN_SECRET) -> str:
    return f"t={NOW_MS}, v1={digest(secret, b'%d.%b' % (NOW_MS, body))}"


# --- a signature that holds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_vectors_are_genuine(vector: Vector) -> None:
    """Each captured and made vector passes every step at its time."""
    explanation = told(vector.header, vector.body, [NamedSecret("its own", vector.secret)], now_ms=vector.timestamp_ms)

    assert (explanation.code, states(explanation), explanation.secret) == ("genuine", "pppp", "its own")
    assert (explanation.scheme, explanation.skew_ms, explanation.tried_all) == ("workos", 0, True)


def test_the_secret_that_signed_is_named() -> None:
    """Of several in force, the one; and one that is known and not in force is a finding."""
    assert told(signature_over(BODY_A, ROTATED.secret)).secret == "rotated"

    other = told(signature_over(BODY_A, OTHER.secret))

    assert (other.code, other.broken, other.secret) == ("secret_other", "signature", "endpoint we_other")
    assert "endpoint we_other" in other.message


def test_without_a_secret_nothing_is_proved() -> None:
    """And that is said of the step where it shows."""
    explanation = told(GOOD, secrets=[])

    assert (explanation.code, states(explanation)) == ("no_secret", "ppfp")


# --- the matrix of workos-protocol §1.4, beside the official SDK ----------------------------------------------------

_OWN = NamedSecret("own", "whsec_made_up_for_python")
_SAMPLE = b'{"id":"event_01","event":"user.created","data":{"object":"user"},"created_at":"2023-11-14T22:13:20.000Z"}'


def _spelled(name: str, now_ms: int) -> str:
    """A header of the matrix, genuine but for how it is spelled."""
    v1 = digest(_OWN.secret, b"%d.%b" % (now_ms, _SAMPLE))
    wrong = "0" * 64
    return {
        "as signed": f"t={now_ms}, v1={v1}",
        "no space": f"t={now_ms},v1={v1}",
        "two spaces": f"t={now_ms},  v1={v1}",
        "leading space": f" t={now_ms}, v1={v1}",
        "trailing space": f"t={now_ms}, v1={v1} ",
        "v1 first": f"v1={v1}, t={now_ms}",
        "two v1, good first": f"t={now_ms}, v1={v1}, v1={wrong}",
        "two v1, good last": f"t={now_ms}, v1={wrong}, v1={v1}",
        "extra v0": f"t={now_ms}, v1={v1}, v0={wrong}",
        "upper case": f"t={now_ms}, v1={v1.upper()}",
        "not ASCII": f"t={now_ms}, v1=é{v1[1:]}",
    }[name]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("as signed", "genuine"),
        ("no space", "genuine"),
        ("two spaces", "genuine"),
        ("leading space", "genuine"),
        ("trailing space", "genuine"),
        ("v1 first", "genuine"),
        ("two v1, good first", "genuine"),
        ("two v1, good last", "genuine"),
        ("extra v0", "genuine"),
        ("upper case", "signature_upper_case"),
        ("not ASCII", "header_not_ascii"),
    ],
)
def test_spellings_of_the_header(monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> None:
    """What our door reads is genuine; where the official SDK refuses the spelling all the same, that is noted."""
    workos = pytest.importorskip("workos")
    header = _spelled(name, NOW_MS)
    explanation = told(header, _SAMPLE, [_OWN])
    assert explanation.code == code

    monkeypatch.setattr("time.time", lambda: NOW_MS / 1000)
    webhooks = workos.WorkOSClient(api_key="sk_test_nobody", client_id="client_nobody").webhooks
    try:
        webhooks.verify_header(event_body=_SAMPLE, event_signature=header, secret=_OWN.secret)
        is_taken = True
    except (ValueError, TypeError):
        is_taken = False
    assert is_taken == (code == "genuine" and not explanation.notes)
    try:
        verify_signature(_SAMPLE, header, [_OWN.secret], now_ms=NOW_MS)
        is_ours = True
    except InvalidSignature:
        is_ours = False
    assert is_ours == (code == "genuine")


def test_seconds_where_milliseconds_are_meant() -> None:
    """The signature over that text holds; how long ago it was is told by the unit it has."""
    t = NOW_MS // 1000
    header = f"t={t}, v1={digest(OWN_SECRET, b'%d.%b' % (t, BODY_A))}"

    explanation = told(header)

    assert (explanation.code, states(explanation)) == ("seconds_for_milliseconds", "pfpp")
    assert explanation.signed_ms == NOW_MS
    assert "10 digits" in explanation.message


def test_a_signature_over_the_time_in_another_unit() -> None:
    """The header has milliseconds, and the signer put seconds into what it signed."""
    header = f"t={NOW_MS}, v1={digest(OWN_SECRET, b'%d.%b' % (NOW_MS // 1000, BODY_A))}"

    assert told(header).code == "signed_other_message"


@pytest.mark.parametrize("digits", [16, 19])
def test_finer_units(digits: int) -> None:
    """Microseconds have 16 digits, nanoseconds 19: the one is read and refused, the other is no number of ms at all."""
    t = NOW_MS * 10 ** (digits - 13)
    explanation = told(f"t={t}, v1={digest(OWN_SECRET, b'%d.%b' % (t, BODY_A))}")

    assert explanation.code == ("unknown_unit" if digits == 16 else "timestamp_malformed")
    assert explanation.signed_ms == NOW_MS


def test_a_decimal_point() -> None:
    """A `t` of 123.5 correctly signed is malformed all the same; Node takes it."""
    t = f"{NOW_MS}.5"
    explanation = told(f"t={t}, v1={digest(OWN_SECRET, t.encode() + b'.' + BODY_A)}")

    assert (explanation.code, states(explanation)) == ("timestamp_malformed", "fsss")


@pytest.mark.parametrize(
    ("s_ago", "tolerance_s", "code"),
    [
        (179, 180, "genuine"),
        (181, 180, "expired"),
        (-181, 180, "future"),
        (-86_400, 180, "future"),
        (1, 0, "expired"),
        (0, 0, "genuine"),
        (5, 0.18, "expired"),
        (10**7, None, "genuine"),
    ],
)
def test_the_window(s_ago: int, tolerance_s: float | None, code: str) -> None:
    """Both ways, ends included, and by how much; None means that age does not matter."""
    explanation = told(GOOD, now_ms=NOW_MS + s_ago * 1000, tolerance_s=tolerance_s)

    assert (explanation.code, explanation.skew_ms) == (code, s_ago * 1000)
    if code == "expired" and s_ago < 300:
        assert "milliseconds in Node's" in explanation.to_do  # the trap of `tolerance=180` there
    if code == "future":
        assert any("Node, PHP and Elixir accept" in note for note in explanation.notes)


def test_skew_is_told_in_people_units() -> None:
    """Seconds, minutes, hours, days; past or future."""
    assert "signed 181 s... ago" not in told(GOOD, now_ms=NOW_MS + 200_000).message
    assert "3.3 minutes ago" in told(GOOD, now_ms=NOW_MS + 200_000).message
    assert "2.0 hours from now" in told(GOOD, now_ms=NOW_MS - 7_200_000).message
    assert "3.0 days ago" in told(GOOD, now_ms=NOW_MS + 3 * 86_400_000).message


@pytest.mark.parametrize("header", [GOOD.encode(), [GOOD], [GOOD.encode()], f"WorkOS-Signature: {GOOD}"])
def test_shapes_of_the_header(header: Any) -> None:
    """Text, bytes, a list, a line as logs have it."""
    assert told(header).code == "genuine"


@pytest.mark.parametrize("body", [BODY_A.decode(), bytearray(BODY_A), memoryview(BODY_A)])
def test_shapes_of_the_body(body: Any) -> None:
    """Text counts as its UTF-8."""
    assert told(GOOD, body).code == "genuine"


@pytest.mark.parametrize(
    ("body", "noted"),
    [
        (b"not JSON", "not_json"),
        (b"[1]", "not_event"),
        (b'{"data":{}}', "not_event"),
        (b'{"event":"nobody.knows","data":{}}', None),
        (b'{"event":"dsync.user.created","data":{"state":"new_word"}}', None),
    ],
)
def test_a_genuine_body_that_is_no_event(body: bytes, noted: str | None) -> None:
    """Signature and shape are two questions: the one is answered, the other noted."""
    explanation = told(signature_over(body), body)

    assert explanation.code == "genuine"
    assert [str(noted) in note for note in explanation.notes] == ([True] if noted else [])


# --- headers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "code", "steps"),
    [
        (None, "header_missing", "fsss"),
        ("", "header_missing", "fsss"),
        (" , ", "header_missing", "fsss"),
        ([], "header_missing", "fsss"),
        ("Content-Type: application/json\nContent-Length: 5", "header_missing", "fsss"),
        (f"Stripe-Signature: {GOOD}", "header_other_scheme", "fsss"),
        ("X-Hub-Signature-256: sha256=00", "header_other_scheme", "fsss"),
        ("WorkOS-Signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=", "header_other_scheme", "fsss"),
        ("whatever", "timestamp_missing", "fsss"),
        (f"v1={V1}", "timestamp_missing", "fsss"),
        (f"t=now, v1={V1}", "timestamp_malformed", "fsss"),
        (f"t=٣, v1={V1}", "header_not_ascii", "fsss"),
        (f"t={NOW_MS}, t={NOW_MS + 1}, v1={V1}", "timestamp_twice", "fppp"),
        (f"t={NOW_MS}", "signature_missing", "fpsp"),
        (f"t={NOW_MS}, v1=", "signature_missing", "fpsp"),
        (f"t={NOW_MS}, v1=xyz", "signature_malformed", "fpsp"),
        (f"t={NOW_MS}; v1={V1}", "pair_malformed", "fppp"),
        (f"t={NOW_MS} v1={V1}", "pair_malformed", "fppp"),
        (f"t = {NOW_MS}, v1 = {V1}", "pair_malformed", "fppp"),
        (f"t={NOW_MS}, v1={V1}, junk", "pair_malformed", "fppp"),
        (f"t={NOW_MS}, v1={V1[:48]}", "signature_truncated", "fppp"),
        (f"t={NOW_MS}, v1={V1[:30]}", "signature_truncated", "fpsp"),
        (f"t={NOW_MS}, v1={V1[:8]}…", "signature_masked", "fpsp"),
        (f"t={NOW_MS}, v1={V1[:8]}...", "signature_masked", "fpsp"),
        (f"t={NOW_MS}, v1={V1.upper()}", "signature_upper_case", "fppp"),
        (f"t={NOW_MS}, v1={base64.b64encode(bytes.fromhex(V1)).decode()}", "signature_base64", "fppp"),
        (f"t={NOW_MS}, v1={base64.urlsafe_b64encode(bytes.fromhex(V1)).decode()}", "signature_base64", "fppp"),
        (f'"{GOOD}"', "header_quoted", "fppp"),
        (f"['{GOOD}']", "header_quoted", "fppp"),
        (f"b'{GOOD}'", "header_quoted", "fppp"),
        (GOOD.replace("=", "%3D").replace(", ", "%2C%20"), "header_url_encoded", "fppp"),
        (GOOD + "," * 8_192, "header_too_long", "fsss"),
    ],
)
def test_which_part_of_a_header_is_wrong(header: Any, code: str, steps: str) -> None:
    """Each by its own code; what it says all the same is looked at further."""
    explanation = told(header)

    assert (explanation.code, explanation.broken, states(explanation)) == (code, "header", steps)
    if steps[2] == "p":
        assert explanation.secret == "current"
    if code not in {"header_other_scheme", "header_too_long"}:  # our own door refuses all of them as well
        with pytest.raises(InvalidSignature):
            verify_signature(BODY_A, header, [OWN_SECRET], now_ms=NOW_MS)


@pytest.mark.parametrize("name", ["sha1", "sha512"])
def test_another_hash(name: str) -> None:
    """Told by its length, and tried."""
    mark = hmac.new(OWN_SECRET.encode(), b"%d.%b" % (NOW_MS, BODY_A), name).hexdigest()
    explanation = told(f"t={NOW_MS}, v1={mark}")

    assert (explanation.code, states(explanation)) == ("signature_algorithm", "fppp")
    assert name.upper() in explanation.message


def test_a_short_piece_of_a_digest_tells_nothing() -> None:
    """Nobody may find a digest out byte by byte, from what is answered about guesses at its beginning."""
    for length in range(1, 32):
        explanation = told(f"t={NOW_MS}, v1={V1[:length]}")
        assert explanation.steps[2].state == "skipped"


def test_one_header_among_all_of_a_request() -> None:
    """As copied from a log, from curl, or as JSON or CGI names."""
    lines = f"> POST /webhooks HTTP/1.1\n> Host: example.com:443\n> workos-signature: {GOOD}\n> Accept: */*"
    assert told(lines).code == "genuine"
    assert told(f'  "workos-signature": "{GOOD}",').code == "genuine"
    assert told(f"HTTP_WORKOS_SIGNATURE: {GOOD}").code == "genuine"


# --- secrets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "signed_with", "code"),
    [
        (OWN_SECRET + "\n", OWN_SECRET, "secret_white_space"),
        (" " + OWN_SECRET, OWN_SECRET, "secret_white_space"),
        (OWN_SECRET, OWN_SECRET + "\n", "secret_white_space"),
        (OWN_SECRET, OWN_SECRET + "\r\n", "secret_white_space"),
        (f'"{OWN_SECRET}"', OWN_SECRET, "secret_quoted"),
        (OWN_SECRET, f"'{OWN_SECRET}'", "secret_quoted"),
        (OWN_SECRET, OWN_SECRET.removeprefix("whsec_"), "secret_prefix"),
        (OWN_SECRET.removeprefix("whsec_"), OWN_SECRET, "secret_prefix"),
        (OWN_SECRET, "whsec_" + OWN_SECRET, "secret_prefix"),
        ("whsec_" + OWN_SECRET, OWN_SECRET, "secret_prefix"),
        (standard.secret_form(OWN_SECRET), OWN_SECRET, "secret_decoded"),
        ("whsec_c2VjcmV0LXNlY3JldA==", b"secret-secret", "secret_decoded"),
        ("whsec_" + "ab" * 16, b"\xab" * 16, "secret_decoded"),
        (OWN_SECRET, standard.secret_form(OWN_SECRET), "secret_not_decoded"),
    ],
)
def test_a_secret_misread(given: str, signed_with: str | bytes, code: str) -> None:
    """Here or where it was signed: whichever, the one change that makes it hold is named."""
    explanation = told(signature_over(BODY_A, signed_with), secrets=[NamedSecret("mine", given)])

    assert (explanation.code, explanation.is_proved, explanation.secret) == (code, True, "mine")
    assert "(mine)" in explanation.message


def test_vector_12() -> None:
    """The negative vector, signed without the prefix, is not accepted, and explained."""
    header = f"t={NOW_MS}, v1=a3a615fc16bf3b94ca662cde2615afd94f5a777b6e156c1ddaa8c43d1e5e80ea"

    assert told(header).code == "secret_prefix"


# --- what was signed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (BODY_A, "signed_without_timestamp"),
        (b"%d%b" % (NOW_MS, BODY_A), "signed_other_message"),
    ],
)
def test_another_message(message: bytes, code: str) -> None:
    """The body alone, or joined otherwise."""
    assert told(f"t={NOW_MS}, v1={digest(OWN_SECRET, message)}").code == code


def _rewritten(body: bytes, how: str) -> bytes:
    value = json.loads(body)
    return {
        "json.dumps": json.dumps(value),
        "json.dumps, not ASCII": json.dumps(value, ensure_ascii=False),
        "compact ASCII": json.dumps(value, separators=(",", ":")),
        "indent 2": json.dumps(value, indent=2, ensure_ascii=False),
        "indent 4": json.dumps(value, indent=4),
        "tabs": json.dumps(value, indent="\t"),
        "Flask": json.dumps(value, separators=(",", ":")) + "\n",
    }[how].encode()


# 1.50 is not written again by any of them.
_BODY = NESTED.replace(b"1.50", b"1.5")


@pytest.mark.parametrize(
    "how", ["json.dumps", "json.dumps, not ASCII", "compact ASCII", "indent 2", "indent 4", "tabs", "Flask"]
)
@pytest.mark.parametrize("is_signed", [True, False], ids=["signed so", "came so"])
def test_a_body_that_was_read_and_written_again(how: str, is_signed: bool) -> None:
    """Whichever of the two is the compact one; how what came is written is told."""
    again = _rewritten(_BODY, how)
    signed, came = (again, _BODY) if is_signed else (_BODY, again)

    explanation = told(signature_over(signed), came)

    assert (explanation.code, explanation.is_proved) == ("body_rewritten", True)
    assert explanation.secret == "current"
    assert "raw bytes" in explanation.to_do
    assert written_as(came) is not None
    assert str(written_as(came)) in explanation.message


def test_numbers_and_escapes_keep_their_spelling() -> None:
    """`1.50` was signed so: only the spaces have changed."""
    came = NESTED.replace(b":1.50", b": 1.50").replace(b'","', b'", "')

    assert told(signature_over(NESTED), came).code == "body_rewritten"


def test_sorted_keys_are_found_where_they_were_signed_so() -> None:
    """A signer that sorts, and a body in another order; the other way round the order is lost, and that is likely."""
    in_order = json.dumps(json.loads(_BODY), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    spaced = json.dumps(json.loads(_BODY), sort_keys=True).encode()

    assert told(signature_over(in_order), _BODY).code == "body_rewritten"
    lost = told(signature_over(_BODY), spaced)
    assert (lost.code, lost.is_proved) == ("body_rewritten", False)
    assert "json.dumps" in lost.message


@pytest.mark.parametrize(
    ("signed", "came", "code"),
    [
        (BODY_A, BODY_A + b"\n", "body_line_end"),
        (BODY_A + b"\n", BODY_A, "body_line_end"),
        (BODY_A, BODY_A + b"\r\n", "body_line_end"),
        (b'{\n"a":1}', b'{\r\n"a":1}', "body_line_end"),
        (b'{\r\n"a":1}', b'{\n"a":1}', "body_line_end"),
        (BODY_A, b"\xef\xbb\xbf" + BODY_A, "body_byte_order_mark"),
        (b"\xef\xbb\xbf" + BODY_A, BODY_A, "body_byte_order_mark"),
        (BODY_A, b"  " + BODY_A + b" \n", "body_white_space"),
        (BODY_B, BODY_C, "body_rewritten"),
        ('{"n":"Zoë"}'.encode(), '{"n":"Zoë"}'.encode("latin-1"), "body_charset"),
        ('{"n":"Zoë"}'.encode("latin-1"), '{"n":"Zoë"}'.encode(), "body_charset"),
        ('{"n":"Zoë"}'.encode(), '{"n":"Zoë"}'.encode().decode("latin-1").encode(), "body_charset"),
        ('{"n":"€"}'.encode(), '{"n":"€"}'.encode("cp1252"), "body_charset"),
        (BODY_B, BODY_B.decode().encode("utf-16"), "body_charset"),
        (BODY_A.decode().encode("utf-16-le"), BODY_A, "body_charset"),
        (BODY_A, json.dumps(BODY_A.decode()).encode(), "body_wrapped"),
        (BODY_A, repr(BODY_A).encode(), "body_wrapped"),
        (BODY_A, base64.b64encode(BODY_A), "body_wrapped"),
        (BODY_A, b"payload=%7B" + BODY_A[1:].replace(b'"', b"%22"), "body_wrapped"),
        (b"", BODY_A, "body_emptied"),
    ],
)
def test_a_body_that_was_changed(signed: bytes, came: bytes, code: str) -> None:
    """Bytes and charsets: what was signed is found again, and the signature proves it."""
    explanation = told(signature_over(signed), came)

    assert (explanation.code, explanation.broken, explanation.is_proved) == (code, "signature", True)


@pytest.mark.parametrize(
    ("came", "code"),
    [
        (b"", "body_emptied"),
        ("Zo\ufffd".encode(), "body_charset"),
        (b"[object Object]", "body_rewritten"),
        (b"{'id': 'event_01'}", "body_rewritten"),
    ],
)
def test_what_is_lost_is_likely(came: bytes, code: str) -> None:
    """Not proved, and said not to be."""
    explanation = told(signature_over(BODY_A), came)

    assert (explanation.code, explanation.is_proved) == (code, False)
    assert "most likely" in explanation.message


def test_the_body_that_was_sent() -> None:
    """Where it is known, the place where they differ is told, and none of what stands there."""
    came = BODY_A.replace(b"user.created", b"user.deleted")
    explanation = told(signature_over(BODY_A), came, sent=BODY_A)

    assert (explanation.code, explanation.is_proved) == ("body_not_as_sent", True)
    at = next(place for place in range(len(came)) if came[place] != BODY_A[place])
    assert f"from byte {at + 1} on" in explanation.message
    assert "user.deleted" not in explanation.message


def test_nothing_explains_it() -> None:
    """A body of another event: that is said, and what to compare."""
    explanation = told(GOOD, b'{"id":"event_02","event":"user.created","data":{}}', secrets=[CURRENT])

    assert (explanation.code, explanation.is_proved, explanation.secret) == ("mismatch", False, None)
    assert states(explanation) == "ppfp"


def test_the_signature_is_said_before_the_time() -> None:
    """As our door does; the official SDKs the other way round, which is noted."""
    explanation = told(signature_over(b"{}"), now_ms=NOW_MS + 10**9)

    assert (explanation.code, states(explanation)) == ("mismatch", "ppff")
    assert any("look at the time first" in note for note in explanation.notes)


# --- Standard Webhooks ----------------------------------------------------------------------------------------------

STANDARD = NamedSecret("current", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
EVENT_ID = "event_01HF000000000000000000000A"


def lines(secret: str = STANDARD.secret, changed: Mapping[str, str | None] | None = None) -> str:
    headers: dict[str, str | None] = dict(
        signed_headers("standard_webhooks", BODY_A, secret, event_id=EVENT_ID, now_ms=NOW_MS)
    )
    headers |= {name.replace("_", "-"): value for name, value in (changed or {}).items()}
    return "\n".join(f"{name}: {value}" for name, value in headers.items() if value is not None)


def mark_over(message: bytes, key: bytes = standard.key_of(STANDARD.secret)) -> str:
    return base64.b64encode(hmac.digest(key, message, "sha256")).decode()


def test_standard_webhooks_hold() -> None:
    """By its three headers, in any order and case, and with several signatures in the list."""
    held = told(lines(), secrets=[STANDARD])
    assert (held.code, held.scheme, held.skew_ms) == ("genuine", "standard_webhooks", 0)
    two = lines().replace("v1,", "v1a,not-ours v1,")
    assert told(two.upper().replace(two.upper(), two), secrets=[STANDARD]).code == "genuine"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"webhook_id": None}, "id_missing"),
        ({"webhook_timestamp": None}, "timestamp_missing"),
        ({"webhook_signature": None}, "signature_missing"),
        ({"webhook_timestamp": "today"}, "timestamp_malformed"),
        ({"webhook_signature": "v2,abc"}, "signature_missing"),
        ({"webhook_signature": "v1,abc"}, "signature_malformed"),
        ({"webhook_signature": "v1,K5oZ..."}, "signature_masked"),
        ({"webhook_signature": "v1," + "0" * 64}, "signature_hex"),
        ({"webhook_id": "i" * 300}, "id_malformed"),
        ({"webhook_signature": mark_over(b"%b.%d.%b" % (EVENT_ID.encode(), NOW_MS // 1000, BODY_A))}, "pair_malformed"),
        ({"webhook_timestamp": str(NOW_MS)}, "milliseconds_for_seconds"),
        (
            {"webhook_signature": "v1," + mark_over(b"%d.%b" % (NOW_MS // 1000, BODY_A))},
            "signed_without_id",
        ),
        ({"webhook_signature": "v1," + mark_over(BODY_A)}, "signed_without_timestamp"),
        (
            {"webhook_signature": "v1," + mark_over(b"%d.%b" % (NOW_MS, BODY_A), STANDARD.secret.encode())},
            "signed_by_other_scheme",
        ),
    ],
)
def test_standard_webhooks_break(changed: dict[str, str | None], code: str) -> None:
    """Which of the three is wrong, or what was signed instead."""
    assert told(lines(changed=changed), secrets=[STANDARD]).code == code


def test_standard_secrets_misread() -> None:
    """The text instead of what it says; another endpoint's; the scheme's own form of a WorkOS secret."""
    text = mark_over(b"%b.%d.%b" % (EVENT_ID.encode(), NOW_MS // 1000, BODY_A), STANDARD.secret.encode())
    assert told(lines(changed={"webhook_signature": f"v1,{text}"}), secrets=[STANDARD]).code == "secret_not_decoded"
    other = NamedSecret("other", standard.secret_form("another"), in_force=False)
    assert told(lines(other.secret), secrets=[STANDARD, other]).code == "secret_other"
    assert told(lines(), BODY_A + b"\n", secrets=[STANDARD]).code == "body_line_end"


def test_a_door_of_the_other_scheme() -> None:
    """Headers of the one, and a door that reads the other."""
    assert told(lines(), secrets=[STANDARD], scheme="workos").code == "header_other_scheme"
    assert told(GOOD, scheme="standard_webhooks").code == "header_other_scheme"


# --- hostile input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"a":' * 90_000 + b"1" + b"}" * 90_000,
        b'"' + b"\\" * 200_001,
        b"b'" + b"\\" * 200_001,
        b"[" * 128 + b"1," * 100_000,
        b'{"n":' + b"9" * 300_000 + b"}",
        b'["\\ud800"]',
        b"\xff\xfe\x00",
        b"%7B" * 1000,
    ],
    ids=["depth", "deep objects", "backslashes", "bytes literal", "indent", "digits", "surrogate", "UTF-16", "form"],
)
def test_hostile_bodies_end(body: bytes) -> None:
    """None makes anything else come out than an explanation."""
    assert told(signature_over(BODY_A), body, secrets=[CURRENT]).broken == "signature"


def test_hostile_headers_end() -> None:
    """Many signatures, many lines, spaces without end."""
    for header in (
        "t=1," + ",".join(f"v1={number:064x}" for number in range(10_000)),
        ["a: " + " " * 100_000 + "x"] * 100,
        "x: y\n" * 100_000,
        "t" * 100_000,
        [b"\xff" * 100_000],
        " t" * 4_000,
    ):
        assert told(header).broken == "header"


def test_the_work_is_bounded() -> None:
    """A body of 8 MiB is not hashed for ever: the budget is kept, and what was left out is said."""
    hashed = 0
    real = hmac.digest  # of whole megabytes it would take seconds, and only how many there are is asked

    def counted(key: bytes, message: bytes, name: str) -> bytes:
        nonlocal hashed
        hashed += len(message)
        return real(key, message, name) if len(message) < 1000 else hashlib.sha256(name.encode()).digest()

    secrets = [
        CURRENT,
        *(NamedSecret(f"other {number}", f"whsec_other_{number}", in_force=False) for number in range(100)),
    ]
    with mock.patch("hmac.digest", counted):
        explanation = told(GOOD, b"\xff" * (8 * 1024 * 1024), secrets)

    assert (explanation.code, explanation.tried_all) == ("mismatch", False)
    assert hashed <= culprits.MOST_HASHED_BYTES


def test_variants_are_few_and_no_longer_than_said() -> None:
    """The bound that the module states, for a body that every rule applies to."""
    body = b"\xef\xbb\xbf" + NESTED + b"\r\n"
    some = [*body_variants.body_variants(body), *body_variants.body_variants(NESTED)]

    assert len(some) < 2 * body_variants.MOST_VARIANTS
    assert all(variant.body != body for variant in body_variants.body_variants(body))
    deep = b"[" * 128 + b"1," * 200_000
    assert all(len(one.body) <= body_variants.MOST_VARIANT_BYTES + 1 for one in body_variants.body_variants(deep))

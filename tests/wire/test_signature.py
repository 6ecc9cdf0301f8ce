"""The header grammar, signing, and what is and is not accepted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.errors import ConfigError, InvalidBody, InvalidSignature, WebhookError
from hookline.wire import signature
from hookline.wire.signature import Signer, Verified, Verifier, digest, parse_header, sign, verify_signature

from .vectors import BODY_A, BY_NUMBER, OWN_SECRET, OWN_TIMESTAMP_MS, VECTORS, Vector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW_MS = OWN_TIMESTAMP_MS
V1 = BY_NUMBER[7].v1
GOOD = f"t={NOW_MS}, v1={V1}"
WRONG = "0" * 64


def verify(header: Any, *, body: Any = BODY_A, now_ms: int = NOW_MS, **settings: Any) -> Verified:
    return verify_signature(body, header, settings.pop("secrets", [OWN_SECRET]), now_ms=now_ms, **settings)


def reason(header: Any, **settings: Any) -> str:
    with pytest.raises(InvalidSignature) as caught:
        verify(header, **settings)
    return caught.value.reason


# --- vectors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_vectors_are_accepted_at_their_time(vector: Vector) -> None:
    """Each vector's header proves its body, at the moment it was signed."""
    verified = verify_signature(vector.body, vector.header, [vector.secret], now_ms=vector.timestamp_ms)

    assert verified == Verified(vector.timestamp_ms, 0)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_vectors_are_made_again(vector: Vector) -> None:
    """Signing a vector's body gives its header, character for character."""
    assert sign(vector.body, vector.secret, timestamp_ms=vector.timestamp_ms) == vector.header


@pytest.mark.parametrize("secret", ["w", "whsec_" + "k" * 58, "k" * 65, "\u00e9" * 33, OWN_SECRET])
@pytest.mark.parametrize("body", [b"", BODY_A, bytes(5_000)])
def test_a_prepared_key_signs_alike(secret: str, body: bytes) -> None:
    """Keys shorter than a block of the hash, as long, and longer, which are hashed themselves; again and again."""
    signer = Signer(secret)
    for timestamp_ms in (OWN_TIMESTAMP_MS, OWN_TIMESTAMP_MS + 1):
        assert signer.sign(body, timestamp_ms=timestamp_ms) == sign(body, secret, timestamp_ms=timestamp_ms)


def test_a_prepared_key_refuses_what_sign_refuses() -> None:
    """No empty secret, and no time in seconds."""
    with pytest.raises(ConfigError):
        Signer("")
    with pytest.raises(ValueError, match="13 digits"):
        Signer(OWN_SECRET).sign(BODY_A, timestamp_ms=1_700_000_000)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", "f7f9bd47fb987337b5796fdc1fdb9ba221d0d5396814bfcaf9521f43fd8927fd"),
        ("😀".encode(), "837da296d05c4fe31f61d5d7ead035099d9585a5bcde87de952012a78f0b0c43"),
    ],
    ids=["5 empty", "6 U+1F600"],
)
def test_bare_digests(message: bytes, expected: str) -> None:
    """The vectors without a timestamp hold for the digest alone, whether the secret is text or bytes."""
    assert digest("test_secret", message) == expected
    assert digest(b"test_secret", message) == expected


def test_the_prefix_is_part_of_the_key() -> None:
    """Vector 12: what the secret without `whsec_` signs is refused under the whole secret, and vice versa."""
    stripped = "a3a615fc16bf3b94ca662cde2615afd94f5a777b6e156c1ddaa8c43d1e5e80ea"
    assert sign(BODY_A, "vector_secret_0001", timestamp_ms=NOW_MS).endswith(stripped)

    assert reason(f"t={NOW_MS}, v1={stripped}") == "mismatch"
    assert reason(GOOD, secrets=["vector_secret_0001"]) == "mismatch"


def test_bytes_count_not_meaning() -> None:
    """Escaping a character or adding a line feed keeps the JSON and breaks the signature."""
    assert BY_NUMBER[9].v1 != BY_NUMBER[8].v1
    assert BY_NUMBER[11].v1 != BY_NUMBER[7].v1

    assert reason(BY_NUMBER[8].header, body=BY_NUMBER[9].body) == "mismatch"
    assert reason(BY_NUMBER[7].header, body=BY_NUMBER[11].body) == "mismatch"


def flips(data: bytes) -> Iterator[bytes]:
    for index in range(len(data)):
        for bit in range(8):
            yield data[:index] + bytes([data[index] ^ 1 << bit]) + data[index + 1 :]


def test_every_one_bit_change_of_the_body_is_refused() -> None:
    """No single bit of a signed body can be turned."""
    assert {reason(GOOD, body=body) for body in flips(BODY_A)} == {"mismatch"}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_every_one_bit_change_of_the_header_is_refused(vector: Vector) -> None:
    """No single bit of `t`, of `v1` or of what joins them can be turned, even where age does not matter."""
    for header in flips(vector.header.encode()):
        got = reason(header, body=vector.body, secrets=[vector.secret], now_ms=vector.timestamp_ms, tolerance_s=None)

        assert got in {"malformed", "mismatch"}, header


# --- grammar: every case run against the official SDKs, with our answer beside it ---------------------------

MATRIX: list[tuple[str, Any, str]] = [
    # what, header, our answer
    ("as written", GOOD, "ok"),
    ("no space after comma", f"t={NOW_MS},v1={V1}", "ok"),
    ("two spaces", f"t={NOW_MS},  v1={V1}", "ok"),
    ("a tab after comma", f"t={NOW_MS},\tv1={V1}", "ok"),
    ("leading space", f" {GOOD}", "ok"),
    ("trailing space", f"{GOOD} ", "ok"),
    ("trailing comma", f"{GOOD},", "ok"),
    ("v1 first", f"v1={V1}, t={NOW_MS}", "ok"),
    ("two v1, good first", f"{GOOD}, v1={WRONG}", "ok"),
    ("two v1, good last", f"t={NOW_MS}, v1={WRONG}, v1={V1}", "ok"),
    ("two v1, none good", f"t={NOW_MS}, v1={WRONG}, v1={'f' * 64}", "mismatch"),
    ("extra v0 pair", f"{GOOD}, v0={WRONG}", "ok"),
    ("unknown key first", f"nonce=a=b, {GOOD}", "ok"),
    ("the same t twice", f"t={NOW_MS}, {GOOD}", "ok"),
    ("two different t", f"t={NOW_MS + 1}, {GOOD}", "malformed"),
    ("the same t in other digits", f"t=0{NOW_MS}, {GOOD}", "malformed"),
    ("upper-case hex", f"t={NOW_MS}, v1={V1.upper()}", "malformed"),
    ("63 digits", f"t={NOW_MS}, v1={V1[1:]}", "malformed"),
    ("65 digits", f"t={NOW_MS}, v1={V1}0", "malformed"),
    ("one bad v1 among good", f"{GOOD}, v1=abc", "malformed"),
    ("v1 empty", f"t={NOW_MS}, v1=", "malformed"),
    ("no v1", f"t={NOW_MS}", "malformed"),
    ("no t", f"v1={V1}", "malformed"),
    ("t empty", f"t=, v1={V1}", "malformed"),
    ("t with decimals", f"t={NOW_MS}.5, v1={V1}", "malformed"),
    ("t negative", f"t=-{NOW_MS}, v1={V1}", "malformed"),
    ("t with plus", f"t=+{NOW_MS}, v1={V1}", "malformed"),
    ("t with underscore", f"t=1_700_000_000_000, v1={V1}", "malformed"),
    ("t in hex", f"t=0x18bcfe56800, v1={V1}", "malformed"),
    ("t in Arabic-Indic digits", f"t=١٧٠٠٠٠٠٠٠٠٠٠٠, v1={V1}", "malformed"),
    ("t of 5,000 digits", f"t={'1' * 5000}, v1={V1}", "malformed"),
    ("spaces around =", f"t = {NOW_MS}, v1 = {V1}", "malformed"),
    ("non-ASCII in v1", f"t={NOW_MS}, v1=é{V1[1:]}", "malformed"),
    ("non-ASCII in an unknown key", f"{GOOD}, é=1", "malformed"),
    ("a part without =", f"{GOOD}, hello", "malformed"),
    ("garbage", "hello", "malformed"),
    ("semicolons", f"t={NOW_MS}; v1={V1}", "malformed"),
    ("another scheme", "sha256=abcdef", "malformed"),
    ("line feed at the end", f"{GOOD}\n", "malformed"),
    ("None", None, "missing"),
    ("empty", "", "missing"),
    ("blank", "  ", "missing"),
    ("empty bytes", b"", "missing"),
    ("empty list", [], "missing"),
    ("list of None", [None], "missing"),
    ("bytes", GOOD.encode(), "ok"),
    ("bytes beyond ASCII", GOOD.encode() + b"\xe9", "malformed"),
    ("list of one", [GOOD], "ok"),
    ("tuple of bytes", (GOOD.encode(),), "ok"),
    ("list, split at the comma", [f"t={NOW_MS}", f"v1={V1}"], "ok"),
    ("list of two headers, the second good", [f"t={NOW_MS}, v1={WRONG}", GOOD], "ok"),
    ("list of two times", [f"t={NOW_MS + 1}, v1={WRONG}", GOOD], "malformed"),
]


@pytest.mark.parametrize(("header", "answer"), [case[1:] for case in MATRIX], ids=[case[0] for case in MATRIX])
def test_header_matrix(header: Any, answer: str) -> None:
    """Each shape of header met in the field gets the answer written beside it."""
    try:
        verify(header)
        got = "ok"
    except InvalidSignature as error:
        got = error.reason

    assert got == answer


def test_parse_keeps_the_text_of_t() -> None:
    """The signed message holds `t` as written, so leading zeros survive parsing."""
    parsed = parse_header(f"t=000{NOW_MS}, v1={V1}")

    assert (parsed.timestamp_ms, parsed.timestamp_text) == (NOW_MS, f"000{NOW_MS}")


@pytest.mark.parametrize("header", [7, {"t": 1}, bytearray(b"t=1"), [7], object()])
def test_alien_header_types_are_programming_errors(header: Any) -> None:
    """No client can cause these, so they are loud and outside the family of untrusted input."""
    with pytest.raises(TypeError, match="expected the header as"):
        verify(header)


@given(st.text() | st.binary() | st.lists(st.text() | st.binary(), max_size=4))
def test_no_header_makes_anything_else_escape(header: Any) -> None:
    """Whatever the header, the answer is one of the family."""
    with pytest.raises(WebhookError):
        verify(header)


# --- time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tolerance_s", "age_ms", "answer"),
    [
        (180, 179_000, "ok"),
        (180, 180_000, "ok"),
        (180, 180_001, "expired"),
        (180, 181_000, "expired"),
        (180, 5_000, "ok"),
        (180, -180_000, "ok"),
        (180, -180_001, "future"),
        (180, -181_000, "future"),
        (180, -86_400_000, "future"),
        (0, 0, "ok"),
        (0, 1, "expired"),
        (0, 1_000, "expired"),
        (0, -1, "future"),
        (0.5, 500, "ok"),
        (0.5, 501, "expired"),
        (None, 10**12, "ok"),
        (None, -(10**12), "ok"),
    ],
)
def test_tolerance_is_seconds_either_way(tolerance_s: float | None, age_ms: int, answer: str) -> None:
    """The window is symmetric and inclusive, 0 is honoured, and None alone switches it off."""
    try:
        verify(GOOD, tolerance_s=tolerance_s, now_ms=NOW_MS + age_ms)
        got = "ok"
    except InvalidSignature as error:
        got = error.reason

    assert got == answer


def test_default_tolerance() -> None:
    """Without a word about it the window is 180 seconds."""
    assert signature.TOLERANCE_S == 180
    assert verify(GOOD, now_ms=NOW_MS + 180_000)
    assert reason(GOOD, now_ms=NOW_MS + 180_001) == "expired"


def test_seconds_for_milliseconds_are_expired() -> None:
    """A genuine signature over a `t` in seconds is 1970 to us."""
    header = f"t=1700000000, v1={digest(OWN_SECRET, b'1700000000.' + BODY_A)}"

    assert reason(header) == "expired"


@pytest.mark.parametrize("age_ms", [10**9, -(10**9)])
def test_time_is_only_judged_of_a_genuine_signature(age_ms: int) -> None:
    """A forgery outside the window is a mismatch: whoever reads `expired` knows the sender is who he says."""
    assert reason(f"t={NOW_MS}, v1={WRONG}", now_ms=NOW_MS + age_ms) == "mismatch"


@pytest.mark.parametrize("tolerance_s", [-1, float("nan"), float("inf"), -0.001])
def test_no_tolerance_switches_the_check_off_by_accident(tolerance_s: float) -> None:
    """A tolerance that is no duration is refused, whatever the header."""
    with pytest.raises(ValueError, match="expected tolerance_s"):
        verify(GOOD, tolerance_s=tolerance_s)


# --- secrets ------------------------------------------------------------------------------------------------


def test_any_secret_with_any_v1() -> None:
    """Several secrets meet several digests; the answer names the secret that fits."""
    old, new = "whsec_old", "whsec_new"
    by_new = sign(BODY_A, new, timestamp_ms=NOW_MS)
    both = sign(BODY_A, "whsec_other", timestamp_ms=NOW_MS) + ", " + by_new.split(", ")[1]

    assert verify(by_new, secrets=[old, new]).secret_index == 1
    assert verify(by_new, secrets=(new, old)).secret_index == 0
    assert verify(both, secrets=[old, new]).secret_index == 1
    assert reason(both, secrets=[old]) == "mismatch"


@pytest.mark.parametrize("secrets", [[], [""], [OWN_SECRET, ""]])
def test_without_a_secret_nothing_is_accepted(secrets: list[str]) -> None:
    """No secret, or an empty one beside a good one, is a wrong setting and refuses everything."""
    with pytest.raises(ConfigError, match="secret") as caught:
        verify(GOOD, secrets=secrets)

    assert not isinstance(caught.value, WebhookError)


@pytest.mark.parametrize("secrets", [OWN_SECRET, OWN_SECRET.encode(), [OWN_SECRET.encode()], [None]])
def test_secrets_are_a_list_of_text(secrets: Any) -> None:
    """One string as `secrets` would be tried letter by letter; it is refused."""
    with pytest.raises(TypeError, match="expected"):
        verify(GOOD, secrets=secrets)


def test_an_empty_secret_signs_nothing() -> None:
    """Signing with an empty secret is refused: anybody could do it."""
    with pytest.raises(ConfigError):
        sign(BODY_A, "", timestamp_ms=NOW_MS)


def test_a_secret_without_utf8_is_a_wrong_setting() -> None:
    """What an environment in another encoding makes of a secret is refused, and not carried along."""
    with pytest.raises(ConfigError, match="no UTF-8") as caught:
        verify(GOOD, secrets=["whsec_\udcff"])

    assert caught.value.__suppress_context__


def test_secrets_beyond_ascii_are_their_utf8() -> None:
    """The key is the secret's UTF-8, whatever its characters."""
    header = sign(BODY_A, "sécrèt", timestamp_ms=NOW_MS)

    assert header.endswith(digest("sécrèt".encode(), f"{NOW_MS}.".encode() + BODY_A))
    assert verify(header, secrets=["sécrèt"])


# --- bodies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview], ids=lambda kind: kind.__name__)
def test_every_kind_of_bytes(kind: type) -> None:
    """A body is its bytes in whatever holder."""
    assert verify(GOOD, body=kind(BODY_A))


def test_a_strided_memoryview_is_read_in_its_own_order() -> None:
    """A view that skips bytes is what it shows, not what lies under it."""
    spread = bytes(byte for pair in zip(BODY_A, b"." * len(BODY_A), strict=True) for byte in pair)

    assert verify(GOOD, body=memoryview(spread)[::2])


def test_text_counts_as_its_utf8() -> None:
    """A body given as text is encoded first."""
    vector = BY_NUMBER[8]

    assert verify(vector.header, body=vector.body.decode())


def test_text_without_utf8_is_a_body_error() -> None:
    """A lone surrogate has no bytes, so there is nothing to verify."""
    with pytest.raises(InvalidBody) as caught:
        verify(GOOD, body="\ud800")

    assert caught.value.reason == "encoding"


@pytest.mark.parametrize("body", [{"id": "event_1"}, None, 7, [1, 2]])
def test_a_parsed_body_is_a_programming_error(body: Any) -> None:
    """Handing over what a JSON reader made is answered with what to do instead."""
    with pytest.raises(TypeError, match="verify before parsing"):
        verify(GOOD, body=body)


@given(st.binary(max_size=200), st.text(min_size=1).filter(lambda s: s.isprintable()))
def test_what_is_signed_verifies(body: bytes, secret: str) -> None:
    """Any bytes signed with any secret verify under it, and under no other."""
    header = sign(body, secret, timestamp_ms=NOW_MS)

    assert verify(header, body=body, secrets=[secret])
    assert reason(header, body=body, secrets=[secret + "x"]) == "mismatch"


# --- what is written ----------------------------------------------------------------------------------------


def test_the_written_header_has_the_one_form_every_sdk_reads() -> None:
    """`t` in 13 digits, comma, one space, `v1` in 64 lower-case digits."""
    assert re.fullmatch(r"t=\d{13}, v1=[0-9a-f]{64}", sign(b"{}", "s", timestamp_ms=NOW_MS))


@pytest.mark.parametrize("timestamp_ms", [0, -1, 1_700_000_000, 1_700_000_000_000_000, -1_700_000_000_000])
def test_signing_in_another_unit_is_refused(timestamp_ms: int) -> None:
    """Seconds and microseconds are caught where they are made, not at every receiver."""
    with pytest.raises(ValueError, match="13 digits"):
        sign(b"{}", "s", timestamp_ms=timestamp_ms)


def test_errors_hold_neither_secret_nor_digest() -> None:
    """Nothing an error says helps to forge: no secret, no digest expected or received, no body."""
    secret = "whsec_do_not_print_me"
    expected = digest(secret, f"{NOW_MS}.".encode() + BODY_A)
    headers: list[Any] = [case[1] for case in MATRIX] + [f"t={NOW_MS}, v1={WRONG}"]
    texts = []
    for header in headers:
        for now_ms in (NOW_MS, NOW_MS + 10**9):
            with pytest.raises(InvalidSignature) as caught:
                verify(header, secrets=[secret], now_ms=now_ms)
            texts.append(f"{caught.value} {caught.value!r} {caught.value.__cause__} {caught.value.__context__}")
    with pytest.raises(InvalidSignature) as expired:
        verify(sign(BODY_A, secret, timestamp_ms=NOW_MS), secrets=[secret], now_ms=NOW_MS + 10**9)
    texts.append(repr(expired.value))

    for text in texts:
        assert secret not in text
        assert expected[:16] not in text
        assert V1[:16] not in text
        assert "event_01" not in text


# --- the prepared verifier ------------------------------------------------------------------------------------


@given(
    header=st.one_of(
        st.sampled_from([GOOD, GOOD.replace(", ", ","), f"t={NOW_MS}, v1={WRONG}", GOOD.upper(), "", "é"]),
        st.builds(lambda at, bit: _flip(GOOD, at, bit), st.integers(0, len(GOOD) - 1), st.integers(0, 6)),
        st.text(max_size=100),
    ),
    age_ms=st.sampled_from([0, 1, 179_999, 180_000, 180_001, -180_000, -180_001]),
    secrets=st.sampled_from([[OWN_SECRET], ["other", OWN_SECRET], ["other"], []]),
    tolerance_s=st.sampled_from([0, 180, None]),
)
def test_a_prepared_verifier_says_what_verify_signature_says(
    header: str, age_ms: int, secrets: list[str], tolerance_s: float | None
) -> None:
    """The same answer and the same refusal, whatever the header, its age, the secrets and the tolerance."""
    value = header.encode("utf-8", "surrogatepass")
    prepared = Verifier(secrets, tolerance_s=tolerance_s)
    now_ms = NOW_MS + age_ms

    asked = _outcome(lambda: verify_signature(BODY_A, [value], secrets, tolerance_s=tolerance_s, now_ms=now_ms))

    assert _outcome(lambda: prepared.verify(BODY_A, [value], now_ms=now_ms)) == asked


def test_a_prepared_verifier_is_used_again_and_again() -> None:
    """Verifying one body leaves nothing behind for the next."""
    prepared = Verifier([OWN_SECRET])

    for vector in VECTORS * 2:
        if vector.secret == OWN_SECRET:
            verified = prepared.verify(vector.body, [vector.header.encode()], now_ms=vector.timestamp_ms)

            assert verified == Verified(vector.timestamp_ms, 0)


def test_a_prepared_verifier_refuses_an_empty_secret() -> None:
    """Anybody could sign with it, so it is not even prepared."""
    with pytest.raises(ConfigError):
        Verifier([OWN_SECRET, ""])


def _flip(text: str, at: int, bit: int) -> str:
    return text[:at] + chr(ord(text[at]) ^ 1 << bit) + text[at + 1 :]


def _outcome(act: Callable[[], Verified]) -> Any:
    try:
        return act()
    except (InvalidSignature, ConfigError) as error:
        return type(error), str(error)

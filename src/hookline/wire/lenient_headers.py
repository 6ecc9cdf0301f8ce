"""Signature headers read past their grammar: what is wrong with them, and what they say all the same.

For whoever explains, never for a door: `signature.parse_header` and `standard.parse_headers` say what is accepted.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from hookline.errors import InvalidSignature
from hookline.wire import signature, standard
from hookline.wire.body_variants import percent_decoded
from hookline.wire.findings import Finding
from hookline.wire.schemes import Scheme
from hookline.wire.signature import HeaderValue

MOST_HEADER_CHARS: Final = 8 * 1024
MOST_CLAIMS: Final = 16
# Of a cut signature: shorter ones could be guessed byte by byte, by whoever is told whether they hold.
LEAST_CUT_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Claim:
    """A digest that the header holds, whole or cut, in whatever letters it was written."""

    digest: bytes = field(repr=False)
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"


@dataclass(frozen=True, slots=True)
class Read:
    """The headers as far as they can be read, leniently where they do not follow the grammar."""

    scheme: Scheme
    timestamp_text: str | None
    claims: tuple[Claim, ...]
    event_id: str | None = None
    problem: Finding | None = None
    notes: tuple[str, ...] = ()

    @property
    def unit_ms(self) -> float | None:
        """How many ms the unit of the timestamp most likely is long, by its size; None where there is none."""
        text = self.timestamp_text
        if text is None or not (text.isascii() and text.isdigit()) or len(text) > 19:
            return None
        if len(text) < 9:
            return 1 if self.scheme == "workos" else 1000
        return 1000 if len(text) < 12 else 1 if len(text) < 15 else 1e-3 if len(text) < 18 else 1e-6

    @property
    def signed_ms(self) -> int | None:
        """The timestamp in Unix ms, in the unit it most likely has."""
        unit_ms = self.unit_ms
        if unit_ms is None or self.timestamp_text is None:
            return None
        number = int(self.timestamp_text)
        return number * round(unit_ms) if unit_ms >= 1 else number // round(1 / unit_ms)


_WORKOS: Final = signature.HEADER.lower()
_STANDARD: Final = (standard.ID_HEADER, standard.TIMESTAMP_HEADER, standard.SIGNATURE_HEADER)
# A line `name: value`, as logs, curl and people write it; what begins with t= or v1 is a bare value.
_LINE: Final = re.compile(r"""[<>\s]*["']?([A-Za-z][A-Za-z0-9_-]*)["']?\s*:""")
_FOREIGN: Final = re.compile(r"signature|hmac|^svix-")

_HEADER_AS_IT_CAME: Final = "hand the header's value to the verifier exactly as it came"
_WORKOS_FORM: Final = "t=<Unix milliseconds>, v1=<64 lower-case hex digits>"


def given_headers(header: HeaderValue) -> dict[str, list[str]]:
    """Lower-cased names and their values. Without any signature among them a line without a name is taken for one."""
    values = [header] if header is None or isinstance(header, str | bytes) else list(header)
    found: dict[str, list[str]] = {}
    bare: list[str] = []
    left = MOST_HEADER_CHARS * 4
    for value in values:
        text = value.decode("latin-1") if isinstance(value, bytes) else value or ""
        for line in text[:left].splitlines():
            if not line.strip():
                continue
            match = _LINE.match(line)
            if match is None:
                bare.append(line)
                continue
            name = match[1].lower().replace("_", "-").removeprefix("http-")
            own = line[match.end() :].strip()
            # A member of JSON or of a dict: its value is quoted, too.
            if match[0].count('"') + match[0].count("'") == 2:
                own = own.rstrip(",").strip("\"'")
            found.setdefault(name, []).append(own)
        left = max(0, left - len(text))
    if bare and _WORKOS not in found and standard.SIGNATURE_HEADER not in found:
        found[standard.SIGNATURE_HEADER if bare[0].lstrip().startswith("v1,") else _WORKOS] = bare
    return found


def scheme_of(given: Mapping[str, list[str]]) -> Scheme:
    """Whose headers they are; WorkOS's where both are there, or neither."""
    return "standard_webhooks" if _WORKOS not in given and any(name in given for name in _STANDARD) else "workos"


def _not_there(given: Mapping[str, list[str]], wanted: str, others: Sequence[str]) -> Finding:
    own = {_WORKOS, *_STANDARD} - set(others)
    if foreign := [name for name in given if name not in own and (name in others or _FOREIGN.search(name))]:
        return Finding(
            "header_other_scheme",
            f"expected {wanted}, got {', '.join(name[:40] for name in foreign[:5])}: a signature of another scheme",
            "verify by the scheme that the sender signs by, or have it sign by this one",
        )
    return Finding(
        "header_missing",
        f"expected {wanted}, got {'none' if not given else 'other headers only'}",
        "look whether a proxy drops it, whether its name is looked up without regard to case, and whether this request "
        "is a webhook at all",
    )


def read_workos(given: Mapping[str, list[str]]) -> Read:
    """The `WorkOS-Signature` header, as far as it can be read."""
    values = [value for value in given.get(_WORKOS, ()) if value.strip(" \t,")]
    if not values:
        return Read("workos", None, (), problem=_not_there(given, f"a {signature.HEADER} header", _STANDARD))
    text = ",".join(values)
    if len(text) > MOST_HEADER_CHARS:
        problem = Finding(
            "header_too_long", f"expected some 80 characters, got {len(text)}", "look who else writes this header"
        )
        return Read("workos", None, (), problem=problem)
    try:
        parsed = signature.parse_header(text)
    except InvalidSignature as error:
        return _read_broken(text, str(error))
    claims = tuple(Claim(bytes.fromhex(digest)) for digest in parsed.digests[:MOST_CLAIMS])
    notes: tuple[str, ...] = ()
    if not re.fullmatch(r"t=[0-9]+, v1=[0-9a-f]{64}", text) or len(values) > 1:
        notes = (f"this spelling is read here; some official SDKs read {_WORKOS_FORM} alone and refuse it",)
    return Read("workos", parsed.timestamp_text, claims, _event_id(given), notes=notes)


def _event_id(given: Mapping[str, list[str]]) -> str | None:
    return next(iter(given.get(standard.ID_HEADER, ())), None)


def _read_broken(text: str, why: str) -> Read:
    """A header beside the grammar: which part is wrong, and what it says if one looks past that."""
    why = why.removeprefix(f"{signature.HEADER}: ")
    plain, dressing = _undressed(text)
    if dressing is not None:
        try:
            parsed = signature.parse_header(plain)
        except InvalidSignature:
            pass
        else:
            claims = tuple(Claim(bytes.fromhex(digest)) for digest in parsed.digests[:MOST_CLAIMS])
            return Read("workos", parsed.timestamp_text, claims, problem=dressing)
    times = re.findall(r"(?:^|[,;\s&])t\s*=\s*([^,;&\s]*)", plain)
    marks = re.findall(r"(?:^|[,;\s&])v1\s*=\s*([^,;&\s]*)", plain)
    digests = [_digest(mark) for mark in marks[:MOST_CLAIMS]]
    timestamp = times[0] if times and re.fullmatch(r"[0-9]{1,19}", times[0]) else None
    return Read(
        "workos",
        timestamp,
        tuple(claim for claim, _ in digests if claim is not None),
        problem=dressing or _malformed(plain, times, marks, [problem for _, problem in digests], why),
    )


def _undressed(text: str) -> tuple[str, Finding | None]:
    """The value without what was put around it on the way, and what that was."""
    problem: Finding | None = None
    plain = text.strip()
    if "%3d" in plain.lower():
        plain = percent_decoded(plain.encode(errors="surrogatepass")).decode("latin-1")
        problem = Finding(
            "header_url_encoded", "the header's value is URL-encoded (%3D for =)", f"decode it, or {_HEADER_AS_IT_CAME}"
        )
    match = re.fullmatch(r"""[\[(]?b?(["'])(.*)\1[\])]?""", plain, re.DOTALL)
    if match is not None or (plain[:1] + plain[-1:]) in {"[]", "()", "<>"}:
        plain = match[2] if match is not None else plain[1:-1]
        problem = Finding(
            "header_quoted",
            "the header's value stands in quotes or brackets: it is the text of a list, of JSON or of a bytes object",
            f"take the first value as it is: {_HEADER_AS_IT_CAME}",
        )
    return plain, problem


def _malformed(text: str, times: list[str], marks: list[str], digests: list[Finding | None], why: str) -> Finding:
    to_do = f"expected {_WORKOS_FORM}; {_HEADER_AS_IT_CAME}"
    if text.strip().startswith("v1,"):
        return Finding(
            "header_other_scheme",
            f"expected {_WORKOS_FORM}, got a signature of Standard Webhooks",
            "verify it with webhook-id and webhook-timestamp, as that standard says",
        )
    masked = next((one for one in digests if one is not None and one.code == "signature_masked"), None)
    if masked is not None:
        return masked
    if not text.isascii():
        return Finding("header_not_ascii", "the header's value holds characters that are not ASCII", to_do)
    if not times:
        return Finding("timestamp_missing", f"the header's value has no t: {why}", to_do)
    if not all(re.fullmatch(r"[0-9]{1,16}", one) for one in times):
        return Finding("timestamp_malformed", f"t is no number of milliseconds: {why}", to_do)
    if len(set(times)) > 1:
        return Finding("timestamp_twice", f"the header's value has two times: {why}", to_do)
    if not any(marks):
        return Finding("signature_missing", "the header's value has no v1, or an empty one", to_do)
    found = next((problem for problem in digests if problem is not None), None)
    return found or Finding(
        "pair_malformed", f"the parts of the header's value are not joined as they must be: {why}", to_do
    )


def _digest(mark: str) -> tuple[Claim | None, Finding | None]:
    """What a `v1` beside the grammar says, and what is wrong with it."""
    if re.fullmatch(r"[0-9a-f]{64}", mark):
        return Claim(bytes.fromhex(mark)), None
    to_do = f"expected v1 as 64 lower-case hex digits of the HMAC-SHA256; {_HEADER_AS_IT_CAME}"
    if re.fullmatch(r"[0-9a-fA-F]*(?:…|\.\.\.|\\u2026)", mark):
        return None, Finding(
            "signature_masked",
            "v1 is cut as logs show it, and cannot be verified",
            "take the header that the endpoint received, not the one from a log",
        )
    if re.fullmatch(r"[0-9a-fA-F]+", mark):
        raw = bytes.fromhex(mark[: len(mark) // 2 * 2])
        if len(mark) in {40, 128}:
            name: Literal["sha1", "sha512"] = "sha1" if len(mark) == 40 else "sha512"
            said = f"v1 has {len(mark)} hex digits, as an HMAC with {name.upper()} has"
            return Claim(raw, name), Finding("signature_algorithm", said, to_do)
        if len(mark) < 64:
            said = f"v1 has {len(mark)} hex digits, expected 64: it was cut"
            claim = Claim(raw) if len(raw) >= LEAST_CUT_BYTES else None
            return claim, Finding("signature_truncated", said, to_do)
        if len(mark) == 64:
            return Claim(raw), Finding("signature_upper_case", "v1 is written in upper-case hex digits", to_do)
    raw_or_none = of_base64(mark)
    if raw_or_none is not None and len(raw_or_none) == 32:
        return Claim(raw_or_none), Finding("signature_base64", "v1 is base 64, expected hex digits", to_do)
    return None, Finding(
        "signature_malformed", f"v1 is no digest: {len(mark)} characters, expected 64 hex digits", to_do
    )


def of_base64(text: str) -> bytes | None:
    """What base 64 says, in either alphabet, padded or not; None where it is none."""
    if not re.fullmatch(r"[A-Za-z0-9+/_-]{2,}={0,2}", text):
        return None
    try:
        return base64.b64decode(text.rstrip("=").translate({45: 43, 95: 47}) + "=" * (-len(text.rstrip("=")) % 4))
    except ValueError:
        return None


def read_standard(given: Mapping[str, list[str]]) -> Read:
    """The three headers of Standard Webhooks, as far as they can be read."""
    wanted = {name: [value for value in given.get(name, ()) if value.strip()] for name in _STANDARD}
    scheme: Scheme = "standard_webhooks"
    problem: Finding | None
    if not any(wanted.values()):
        problem = _not_there(given, "the headers webhook-id, webhook-timestamp and webhook-signature", (_WORKOS,))
        return Read(scheme, None, (), problem=problem)
    lists = " ".join(wanted[standard.SIGNATURE_HEADER])
    if len(lists) > MOST_HEADER_CHARS:
        problem = Finding(
            "header_too_long", f"expected some 50 characters, got {len(lists)}", "look who else writes this header"
        )
        return Read(scheme, None, (), problem=problem)
    marks = [mark for mark in re.split(r"\s+", lists.strip()) if mark][:MOST_CLAIMS]
    read = [_standard_digest(mark) for mark in marks]
    event_id = next(iter(wanted[standard.ID_HEADER]), None)
    time = next(iter(wanted[standard.TIMESTAMP_HEADER]), "").strip()
    problem = None
    try:
        standard.parse_headers(
            [(name.encode(), value.encode(errors="replace")) for name, values in wanted.items() for value in values]
        )
    except InvalidSignature as error:
        problem = _standard_problem(wanted, [one for _, one in read], time, str(error))
    return Read(
        scheme,
        time if re.fullmatch(r"[0-9]{1,19}", time) else None,
        tuple(claim for claim, _ in read if claim is not None),
        event_id,
        problem,
    )


def _standard_digest(mark: str) -> tuple[Claim | None, Finding | None]:
    version, comma, text = mark.partition(",")
    if comma and version != "v1":
        return None, None  # of a version that is none of ours
    digest = of_base64(text if comma else version.removeprefix("v1="))
    if comma and digest is not None and len(digest) == 32:
        return Claim(digest), None
    to_do = f"expected v1,<base 64 of the HMAC-SHA256>; {_HEADER_AS_IT_CAME}"
    text = text if comma else version.removeprefix("v1=")
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return Claim(bytes.fromhex(text)), Finding("signature_hex", "v1 is hex digits, expected base 64", to_do)
    if digest is not None and len(digest) == 32:
        return Claim(digest), Finding("pair_malformed", "the signature has no v1, before it", to_do)
    if text.endswith(("…", "...")):
        return None, Finding(
            "signature_masked",
            "the signature is cut as logs show it, and cannot be verified",
            "take the headers that the endpoint received, not those from a log",
        )
    if digest is not None and LEAST_CUT_BYTES <= len(digest) < 32:
        return Claim(digest), Finding("signature_truncated", f"v1 has {len(text)} characters, expected 44", to_do)
    return None, Finding("signature_malformed", f"v1 is no digest: {len(text)} characters, expected 44", to_do)


def _standard_problem(wanted: Mapping[str, list[str]], digests: list[Finding | None], time: str, why: str) -> Finding:
    to_do = "expected webhook-id, webhook-timestamp in Unix seconds, and webhook-signature, each as it came"
    ids, marks = wanted[standard.ID_HEADER], wanted[standard.SIGNATURE_HEADER]
    if not ids:
        return Finding("id_missing", f"the id is missing, which is signed, too: {why}", to_do)
    if not time:
        return Finding("timestamp_missing", f"the time is missing, which is signed, too: {why}", to_do)
    if not marks:
        return Finding("signature_missing", f"the signature is missing: {why}", to_do)
    if not all(text.isascii() for text in (*ids, *marks, time)):
        return Finding("header_not_ascii", f"the headers hold characters that are not ASCII: {why}", to_do)
    if not re.fullmatch(r"[0-9]{1,16}", time):
        return Finding("timestamp_malformed", f"the time is no number of seconds: {why}", to_do)
    if len(set(wanted[standard.TIMESTAMP_HEADER])) > 1:
        return Finding("timestamp_twice", f"there are two times: {why}", to_do)
    found = next((problem for problem in digests if problem is not None), None)
    if found is not None:
        return found
    if "id" in why.partition(":")[0]:
        return Finding("id_malformed", f"the id is none: {why}", to_do)
    return Finding("signature_missing", f"there is no signature of the version v1: {why}", to_do)

"""What may be found wrong with a signature: the words, and what each finding says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from hookline.wire.body_variants import BodyChange

Code: TypeAlias = (
    Literal[
        "genuine",
        # header
        "header_missing",
        "header_other_scheme",
        "header_too_long",
        "header_not_ascii",
        "header_quoted",
        "header_url_encoded",
        "pair_malformed",
        "timestamp_missing",
        "timestamp_malformed",
        "timestamp_twice",
        "id_missing",
        "id_malformed",
        "signature_missing",
        "signature_malformed",
        "signature_upper_case",
        "signature_base64",
        "signature_hex",
        "signature_truncated",
        "signature_masked",
        "signature_algorithm",
        # unit
        "seconds_for_milliseconds",
        "milliseconds_for_seconds",
        "unknown_unit",
        # signature
        "no_secret",
        "secret_other",
        "secret_white_space",
        "secret_quoted",
        "secret_prefix",
        "secret_decoded",
        "secret_not_decoded",
        "signed_without_timestamp",
        "signed_without_id",
        "signed_other_message",
        "signed_by_other_scheme",
        "body_not_as_sent",
        "mismatch",
        # window
        "expired",
        "future",
    ]
    | BodyChange
)


@dataclass(frozen=True, slots=True)
class NamedSecret:
    """A secret and what to call it in an answer.

    `in_force`: the door in question verifies with it; others are there to be recognised.
    """

    name: str
    secret: str = field(repr=False)
    in_force: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and what to do; `is_proved` where the signature itself, or the header's own text, shows it."""

    code: Code
    message: str
    to_do: str
    is_proved: bool = True


SEND_RAW: Final = (
    "verify the raw bytes of the request, before any JSON reader: await request.body() in FastAPI, request.get_data() "
    "in Flask, request.body in Django, express.raw() in Express"
)

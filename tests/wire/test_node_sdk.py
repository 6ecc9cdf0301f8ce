"""The official JavaScript SDKs accept what we sign: current ones raw and parsed, older ones parsed."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from hookline.wire.catalogue import CATALOGUE, matches
from hookline.wire.event import Event
from hookline.wire.signature import sign

from .deliveries import AWKWARD, DELIVERIES

NODE = Path(__file__).parent.parent / "node"
SECRET = "whsec_made_up_for_javascript"
# Raw bodies failed in every release before 9.3.1: those always parse and write again (docs/decisions/0011).
WAYS = [("workos", "text"), ("workos", "bytes"), ("workos", "object"), ("workos-8", "object")]
# What came into the protocol after 8.13.0: it verifies these and then returns nothing.
UNKNOWN_TO_8 = (
    "action.*",
    "agent.*",
    "api_key.updated",
    "authentication.email_verification_failed",
    "authentication.mfa_failed",
    "authentication.reauthentication_succeeded",
    "authentication.sso_started",
    "authentication.sso_timed_out",
    "connection.saml_certificate_renewal_required",
    "connection.saml_certificate_renewed",
    "dsync.token.*",
    "group.*",
    "order.*",
    "pipes.*",
    "radar.*",
    "vault.byok_key.deleted",
    "vault.kek.deleted",
    "waitlist_user.*",
)


def is_unknown_to_8(name: str) -> bool:
    return any(matches(pattern, name) for pattern in UNKNOWN_TO_8)


def seen(event: Event) -> dict[str, Any]:
    """The answer of an SDK that verified this event and read the same in it."""
    return {"accepted": event.id, "event": event.type}


@pytest.fixture(scope="module")
def node() -> str:
    executable = shutil.which("node")
    if executable is None:
        pytest.skip("no `node` on PATH: the official JavaScript SDKs were not asked")
    if not (NODE / "node_modules" / "workos").is_dir():
        pytest.skip("tests/node/node_modules is missing (`npm ci --prefix tests/node`): the SDKs were not asked")
    return executable


def ask(node: str, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the SDKs say of each case, all in one process."""
    done = subprocess.run(
        [node, NODE / "verify.mjs"], input=json.dumps(cases).encode(), stdout=subprocess.PIPE, check=True
    )
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def case(
    sdk: str,
    form: str,
    body: bytes,
    *,
    signed_s_ago: float = 0,
    secret: str = SECRET,
    tolerance_ms: int | None = None,
) -> dict[str, Any]:
    header = sign(body, SECRET, timestamp_ms=int((time.time() - signed_s_ago) * 1000))
    return {
        "sdk": sdk,
        "form": form,
        "body": base64.b64encode(body).decode(),
        "header": header,
        "secret": secret,
        "tolerance": tolerance_ms,
    }


@pytest.mark.parametrize(("sdk", "form"), WAYS)
def test_our_deliveries_are_accepted(node: str, sdk: str, form: str) -> None:
    """`constructEvent` takes every sample and the awkward body, and sees the same event in it."""
    answers = ask(node, [case(sdk, form, event.raw) for event in DELIVERIES])

    assert answers == [
        {"accepted": None} if sdk == "workos-8" and is_unknown_to_8(event.type) else seen(event) for event in DELIVERIES
    ]


def test_every_type_was_among_them() -> None:
    """The deliveries above are one of each type, and 8.13.0 reads more than it only verifies."""
    assert {event.type for event in DELIVERIES} == {*CATALOGUE, AWKWARD.type}
    assert sum(is_unknown_to_8(name) for name in CATALOGUE) == 36


@pytest.mark.parametrize(("sdk", "form"), WAYS)
def test_forgeries_are_refused(node: str, sdk: str, form: str) -> None:
    """The same way refuses another secret, an old signature, and honours a tolerance in milliseconds."""
    body = AWKWARD.raw

    wrong, old, tolerated = ask(
        node,
        [
            case(sdk, form, body, secret="whsec_another"),
            case(sdk, form, body, signed_s_ago=200),
            case(sdk, form, body, signed_s_ago=200, tolerance_ms=300_000),
        ],
    )

    assert "does not match" in wrong["refused"]
    assert "tolerance zone" in old["refused"]
    assert "accepted" in tolerated


def test_bodies_that_are_not_canonical_fail_parsed(node: str) -> None:
    """What canonical bytes are for: the same event spelled otherwise verifies raw and fails parsed."""
    value = json.loads(AWKWARD.raw)
    spellings = [
        json.dumps(value, ensure_ascii=False).encode(),
        json.dumps(value, separators=(",", ":")).encode(),
        AWKWARD.raw + b"\n",
    ]
    for body in spellings:
        assert Event.from_bytes(body).id == AWKWARD.id

        raw, parsed = ask(node, [case("workos", "bytes", body), case("workos", "object", body)])

        assert raw == seen(AWKWARD)
        assert "does not match" in parsed["refused"]

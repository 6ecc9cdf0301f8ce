"""What the conformance check leaves open of a foreign example: its settings, its grammar, and how it ends."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import hmac
import http.client
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hookline.wire.catalogue import sample
from hookline.wire.signature import sign

from ..receiver.company import wait_for
from .served import FOREIGN, SECRET, Example, Running, each, running


def body_of(event_id: str, **members: str) -> bytes:
    event = {
        "id": event_id,
        "event": "dsync.user.created",
        "data": sample("dsync.user.created") | {"id": f"directory_{event_id}", "first_name": "Zoë", **members},
        "created_at": "2026-01-01T00:00:00.000Z",
    }
    return json.dumps(event, ensure_ascii=False).encode()


def signed(body: bytes, *, ahead_ms: int = 0) -> str:
    return sign(body, SECRET, timestamp_ms=time.time_ns() // 1_000_000 + ahead_ms)


def post(
    served: Running, body: bytes, signature: str | None, path: str = "/webhooks", **headers: str
) -> http.client.HTTPResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if signature is not None:
        named["WorkOS-Signature"] = signature
    return served.ask("POST", path, body, {"Content-Type": "application/json", **named})


def hashed(signature: str) -> tuple[str, str]:
    timestamp, _, v1 = signature.partition(", ")
    return timestamp, v1


def malformed(body: bytes) -> Iterator[str]:
    """Headers over a good signature that are not the header."""
    timestamp, v1 = hashed(signed(body))
    milliseconds = timestamp.removeprefix("t=")
    yield from ("", "t=", "v1=", ",", "t=,v1=", v1, timestamp, f"{v1}, {timestamp}")
    yield f"{timestamp}, {v1}, {v1}"
    yield f"{timestamp}, {v1}, v0={'0' * 64}"
    yield f"{timestamp}, {v1[:-1]}"
    yield f"{timestamp}, {v1}\xff"
    yield f"{timestamp}, {v1.replace('v1=', 'v2=')}"
    yield f"t=+{milliseconds}, {v1}"
    yield f"t={milliseconds[:10]}, {v1}"
    # Signed well, by somebody who has the secret, over a time that is none.
    for odd in ("now", f"{milliseconds}.5", f"{milliseconds}e0", "-1", "9" * 40):
        yield f"t={odd}, {hashed(sign_over(body, odd))[1]}"


def sign_over(body: bytes, timestamp: str) -> str:
    """As sign(), with a timestamp that it would not take."""
    digest = hmac.new(SECRET.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={timestamp}, v1={digest}"


@each(FOREIGN)
def test_what_it_takes_and_what_it_refuses(example: Example, ready: Callable[[Example], Path], tmp_path: Path) -> None:
    """Refusals are 4xx whatever comes, and leave nothing in the log."""
    with running(example, ready(example), tmp_path / "run.log") as served:
        body = body_of("event_good")
        timestamp, v1 = hashed(signed(body))
        taken = [
            post(served, body, signed(body)).status,
            post(served, body, f"{timestamp},{v1}").status,
            post(served, body, signed(body), Content_Type="application/json; charset=utf-8").status,
            post(served, body, signed(body), path="/webhooks/").status,
            *(post(served, body, signed(body, ahead_ms=off)).status for off in (-170_000, 170_000)),
        ]
        assert taken == [200] * 6

        bad = body_of("event_bad")
        refused = [post(served, bad, header).status for header in malformed(bad)]
        refused += [post(served, bad, signed(bad, ahead_ms=off)).status for off in (-190_000, 190_000)]
        refused += [post(served, bad, None).status, post(served, bad, signed(body)).status]
        assert set(refused) == {401}

        squeezed = gzip.compress(bad)
        assert post(served, squeezed, signed(bad), Content_Encoding="gzip").status in {401, 415}
        large = bad + b" " * 2_100_000
        assert post(served, large, signed(large)).status == 413
        assert in_chunks(served, large, signed(large)) == 413
        for kind in ("text/plain", "application/x-www-form-urlencoded"):
            assert post(served, bad, signed(bad), Content_Type=kind).status == 415
        no_form = post(served, bad, signed(bad), Content_Type="multipart/form-data; boundary=x").status
        assert no_form in {400, 415}  # a framework may have read it first
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
            answer = served.ask(method, "/webhooks")
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        for path in ("/", "/webhooks/token", "/webhooksx", "/webhooks/%20"):
            assert post(served, bad, signed(bad), path=path).status == 404
        # Signed well, and no event: taken, for a retry would not better it.
        for odd in (b"[]", b"null", b"nope", b'{"event": 1}', b'{"event": "dsync.user.created", "data": null}'):
            assert post(served, odd, signed(odd)).status == 200
        assert post(served, b"", signed(b"")).status < 500
        # As of no time that can be read: what comes next of the same object is not older than that.
        for odd in (body_of("event_untimed", updated_at="soon"), body_of("event_timed", id="directory_event_untimed")):
            assert post(served, odd, signed(odd)).status == 200

        last = body_of("event_last")
        assert post(served, last, signed(last)).status == 200
        wait_for(lambda: served.outcomes("event_last") != [])
        assert served.outcomes("event_good") == ["applied"] + ["duplicate, ignored"] * 5
        assert served.outcomes("event_bad") == []
        assert (served.outcomes("event_untimed"), served.outcomes("event_timed")) == ([], ["applied"])
        assert "Zo" not in served.log.read_text("utf-8")


def in_chunks(served: Running, body: bytes, signature: str) -> int:
    """The status of an answer to a body without a length."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    headers = {"Content-Type": "application/json", "WorkOS-Signature": signature}
    pieces = (body[start : start + 65_536] for start in range(0, len(body), 65_536))
    with contextlib.closing(connection):
        with contextlib.suppress(BrokenPipeError):  # answered before it was read whole
            connection.request("POST", "/webhooks", pieces, headers, encode_chunked=True)
        return connection.getresponse().status


@each(FOREIGN)
def test_its_path_and_its_callers_can_be_restricted(
    example: Example, ready: Callable[[Example], Path], tmp_path: Path
) -> None:
    """Behind one proxy, which adds the address it saw: what the caller claims before it is not believed."""
    settings = {
        "WEBHOOK_PATH_TOKEN": "n0dbga5x",
        "ALLOWED_IPS": "203.0.113.7, 203.0.113.8",
        "TRUSTED_PROXY_HOPS": "1",
    }
    with running(example, ready(example), tmp_path / "run.log", **settings) as served:
        body = body_of("event_01")

        def status(path: str, forwarded: str | None) -> int:
            headers = {} if forwarded is None else {"X_Forwarded_For": forwarded}
            return post(served, body, signed(body), path, **headers).status

        there = "/webhooks/n0dbga5x"
        assert [status(there, "203.0.113.8"), status(there, "198.51.100.1, 203.0.113.7")] == [200, 200]
        assert [status(there, forwarded) for forwarded in (None, "203.0.113.7, 198.51.100.1", "")] == [403] * 3
        assert [status(path, "203.0.113.7") for path in ("/webhooks", "/webhooks/n0dbga5X", f"{there}y")] == [404] * 3
        assert served.ask("GET", "/webhooks").status == 404


@each(FOREIGN)
def test_what_is_queued_is_processed_before_it_ends(
    example: Example, ready: Callable[[Example], Path], tmp_path: Path
) -> None:
    """SIGTERM, as a deployment sends it, right after many answers."""
    ids = [f"event_{number}" for number in range(50)]
    with running(example, ready(example), tmp_path / "run.log") as served:
        for event_id in ids:
            body = body_of(event_id)
            assert post(served, body, signed(body)).status == 200
        served.process.terminate()
        served.process.wait(timeout=30)
        assert [served.outcomes(event_id) for event_id in ids] == [["applied"]] * 50


@each(FOREIGN)
def test_without_a_secret_it_does_not_start(example: Example, ready: Callable[[Example], Path], tmp_path: Path) -> None:
    """Nothing could be verified, so nothing is taken in."""
    log = tmp_path / "run.log"
    with (
        pytest.raises(AssertionError, match="WORKOS_WEBHOOK_SECRET: expected the endpoint's secret, got nothing"),
        running(example, ready(example), log, WORKOS_WEBHOOK_SECRET=""),
    ):
        pass


@each(one for one in FOREIGN if one.name == "nextjs")
def test_an_allow_list_that_anybody_could_pass_is_refused(
    example: Example, ready: Callable[[Example], Path], tmp_path: Path
) -> None:
    """Next.js sees no address but what a header claims: it is believed of a proxy alone."""
    log = tmp_path / "run.log"
    with (
        pytest.raises(AssertionError, match="TRUSTED_PROXY_HOPS: expected 1 or more beside ALLOWED_IPS"),
        running(example, ready(example), log, ALLOWED_IPS="203.0.113.7"),
    ):
        pass

"""What the spans of the sender say: of an event that is published, and of each attempt at a delivery.

An attempt belongs to the trace of its event's publisher, whose `traceparent` is stored with the event, and its own goes
with the request. Names and attributes are those of OpenTelemetry's semantic conventions for messaging and HTTP clients;
what these do not know is under `hookline.`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from hookline.tracing import SYSTEM, Span, current, is_on, start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hookline.rules.response import Outcome
    from hookline.sender.delivery_store import Claimed
    from hookline.sender.event_writer import Publication, Published
    from hookline.sender.http import Answer
    from hookline.sender.model import AttemptKind


_POST: Final = {**SYSTEM, "http.request.method": "POST"}


def begin_publishing(publication: Publication) -> Span | None:
    """The span of one call that publishes; under the caller's own, or else under what the call said of itself."""
    if not is_on():
        return None
    drafts = publication.drafts
    only = drafts[0].type if len(drafts) == 1 else None
    return start(
        "publish" if only is None else f"publish {only}",
        "producer",
        {
            **SYSTEM,
            "messaging.operation.name": "publish",
            "messaging.operation.type": "send",
            "messaging.batch.message_count": len(drafts) if only is None else None,
            "hookline.event.type": only,
            "hookline.environment": publication.environment,
        },
        parent=current() or publication.traceparent,
    )


def note_published(span: Span, published: Sequence[Published]) -> None:
    """It is committed."""
    span.note({"messaging.message.id": published[0].id if len(published) == 1 else None})


def begin_attempt(claimed: Claimed) -> Span | None:
    """The span of one request, before it is signed."""
    return start("POST", "client", _POST, parent=claimed.event.traceparent)


def end_attempt(
    span: Span,
    claimed: Claimed,
    number: int,
    kind: AttemptKind,
    outcome: Outcome,
    answer: Answer | None,
    *,
    ended_ns: int | None = None,
) -> None:
    """What came of it, said at its end or later. Of the URL only what a connection needs: its path may be a secret."""
    url = urlsplit(claimed.endpoint.url)
    address = None if answer is None else answer.address
    span.note(
        {
            "messaging.operation.name": "deliver",
            "messaging.operation.type": "send",
            "messaging.message.id": claimed.event.id,
            "messaging.message.body.size": len(claimed.event.body),
            "messaging.destination.name": claimed.endpoint.id,
            "http.response.status_code": outcome.status,
            "http.request.resend_count": number - 1 if number > 1 else None,
            "url.scheme": url.scheme,
            "server.address": url.hostname,
            "server.port": url.port or (443 if url.scheme == "https" else 80),
            "network.peer.address": None if address is None else address.rpartition(":")[0].strip("[]"),
            "hookline.environment": claimed.endpoint.environment,
            "hookline.endpoint.id": claimed.endpoint.id,
            "hookline.delivery.id": claimed.id,
            "hookline.event.type": claimed.event.type,
            "hookline.origin": claimed.origin,
            "hookline.attempt.number": number,
            "hookline.attempt.kind": kind,
            "hookline.outcome": outcome.kind,
            "hookline.reason": outcome.reason,
        }
    )
    span.end(error=None if outcome.kind == "succeeded" else str(outcome.status or outcome.reason), end_ns=ended_ns)

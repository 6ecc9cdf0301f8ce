"""What the spans of the receiver say: of a webhook that is kept, of a batch that is applied, of each handler's run.

A webhook is kept within the trace of the request that brought it (its `traceparent` header), and that is kept with it,
so that its handlers' runs, in whatever process and however late, belong to the same trace. What is refused has no span:
a caller who cannot sign must not fill anybody's collector. Names and attributes are those of OpenTelemetry's semantic
conventions for messaging and HTTP servers; what these do not know is under `hookline.`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hookline.receiver.handlers import Change
from hookline.receiver.model import shown_id
from hookline.tracing import SYSTEM, Attributes, Span, current, is_on, start
from hookline.wire.traceparent import parse_traceparent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hookline.receiver.mirror import Applied
    from hookline.receiver.mirror_store import Claimed
    from hookline.receiver.model import Entry, Headers, PutKind
    from hookline.receiver.run_store import Run
    from hookline.wire.event import Event


def begin_receiving(entry: Entry, headers: Headers, route: str) -> Span | None:
    """The span of a request that is verified, until it is kept; under the server's own, or else under its sender's."""
    if not is_on():
        return None
    parents = [value for name, value in headers if name == b"traceparent"]
    return start(
        f"POST {route}",
        "server",
        {
            **SYSTEM,
            "http.request.method": "POST",
            "http.route": route,
            "messaging.operation.name": "receive",
            "messaging.operation.type": "receive",
            "messaging.message.id": shown_id(entry.event_id),
            "messaging.message.body.size": len(entry.body),
            "hookline.source": entry.source,
            "hookline.event.type": entry.type,
        },
        parent=current() or (parse_traceparent(parents[0].decode("latin-1")) if len(parents) == 1 else None),
    )


def note_received(span: Span, kind: PutKind) -> None:
    """It is kept, or was already."""
    span.note({"http.response.status_code": 200, "hookline.receipt": kind})


def tell_applied(entries: Sequence[Claimed], done: Applied, began_ns: int) -> None:
    """The span of a batch that is committed, linked to what brought its entries; `began_ns` as `time.time_ns` tells."""
    span = start(
        "apply",
        "consumer",
        {
            **SYSTEM,
            "messaging.operation.name": "apply",
            "messaging.operation.type": "process",
            "messaging.batch.message_count": len(entries),
            "hookline.changes": done.changes,
            "hookline.runs": done.runs,
        },
        parent=None,
        links=[entry.traceparent for entry in entries if entry.traceparent is not None],
        start_ns=began_ns,
    )
    if span is not None:
        span.end()


def begin_run(run: Run, what: Event | Change, parent: str | None) -> Span | None:
    """The span of one attempt of a run, the handler's transaction and its commit in it."""
    about: Attributes
    if isinstance(what, Change):
        about = {
            "messaging.message.id": what.cause,
            "hookline.change.kind": what.kind,
            "hookline.change.resource": what.resource,
        }
    else:
        about = {"messaging.message.id": what.id, "hookline.event.type": what.type}
    return start(
        f"process {run.handler}",
        "consumer",
        {
            **SYSTEM,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "hookline.handler": run.handler,
            "hookline.attempt.number": run.tries,
            "hookline.replay": run.replay_id,
            **about,
        },
        parent=parent,
    )

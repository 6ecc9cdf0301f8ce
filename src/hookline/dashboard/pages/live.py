"""The live page: what passes at both ends, joined by event id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from starlette.responses import Response

from hookline.dashboard.formats import exact, span, visible
from hookline.dashboard.frame import Call, FormProblems, Page, Shown
from hookline.dashboard.live_model import GOT_WORDS, SENT_WORDS, Chosen, Cursor, Row, lines_of, sent_word
from hookline.dashboard.live_stream import LiveStream
from hookline.dashboard.sessions import session_token
from hookline.wire.catalogue import is_pattern

if TYPE_CHECKING:
    from hookline.receiver.live import LiveEntry
    from hookline.sender.live import LastTry

# On the page as it comes; a browser with JavaScript keeps as many as the source.
SHOWN_AT_FIRST: Final = 100
_KINDS: Final = {
    "delivered": "ok",
    "applied": "ok",
    "fact": "ok",
    "failed": "bad",
    "dead": "bad",
    "retrying": "wait",
    "pending": "wait",
    "running": "wait",
    "waiting": "wait",
    "held": "hold",
}


def live(call: Call) -> Shown:
    """The newest rows, and where a stream goes on after them."""
    chosen, problems = _chosen(call)
    rows, cursor = call.parts.live.recent(chosen, SHOWN_AT_FIRST) if not problems else ([], Cursor())
    asked = {name: call.query.get(name, "") for name in ("type", "object", "status", "q")}
    kept = {name: value for name, value in asked.items() if value}
    return Shown(
        "live.html",
        "Live",
        {"rows": [_told(call, row) for row in rows], "cursor": str(cursor), "filter": asked},
        {
            "problems": problems,
            "stream": call.link("live_stream", query=kept),
            "is_filtered": bool(kept),
            "statuses": [("", "any")] + [(word, word) for word in (*SENT_WORDS, *GOT_WORDS)],
            "lanes": {"sender": call.parts.sender is not None, "receiver": call.parts.receiver is not None},
        },
        status=422 if problems else 200,
    )


def stream(call: Call) -> Response:
    """What comes after a place: that of `Last-Event-ID`, or of `after` in the query."""
    chosen, problems = _chosen(call)
    if problems:
        return Response(problems["type"], 422, media_type="text/plain")
    after = Cursor.of(call.request.headers.get("last-event-id")) or Cursor.of(call.query.get("after"))
    if after is None:
        after = call.parts.live.recent(chosen, 0)[1]
    return LiveStream(
        call.parts.live,
        chosen,
        after,
        clock=call.parts.clock,
        may_listen=lambda: _may_listen(call),
        shown=lambda row: _told(call, row),
    )


def _may_listen(call: Call) -> bool:
    """Whether whoever began to listen may still: the session has not been ended, the key not been revoked."""
    if call.viewer.is_key:
        key = call.request.headers.get("authorization", "").partition(" ")[2].strip()
        return call.sender.key_holder(key) is not None
    token = session_token(call.request)
    return token is not None and call.parts.accounts.viewer_of(token) is not None


def _chosen(call: Call) -> tuple[Chosen, FormProblems]:
    asked = {name: call.query.get(name, "").strip()[:500] for name in ("type", "object", "status", "q")}
    problems = FormProblems()
    if asked["type"] and not is_pattern(asked["type"]):
        message = "expected a type, or a pattern as in dsync.* or *"
        problems = FormProblems({"type": message}, summary="The filter cannot be read")
    return Chosen(asked["type"], asked["object"], asked["status"], asked["q"], call.viewer.environment), problems


def _told(call: Call, row: Row) -> dict[str, Any]:
    """As it is asked for: to be shown, or with `form=lines` as `hookline logs tail` prints it."""
    return {"lines": lines_of(row)} if call.query.get("form") == "lines" else _shown(call, row)


def _shown(call: Call, row: Row) -> dict[str, Any]:
    """A row as page and stream show it: words, and where they lead."""
    has = call.parts.links.has
    href = None
    if row.feed_seq is not None and has("event"):
        href = call.link("event", environment=row.environment, id=row.event_id)
    elif row.entries and has("inbox_entry"):
        href = call.link("inbox_entry", source=row.entries[0].source, id=row.event_id)
    in_lane = sum(count for _, count in row.counts)
    sent = [_sent(call, row, one) for one in row.tries]
    if row.feed_seq is not None and not in_lane:
        sent = [{"word": "no endpoint", "kind": "idle", "note": "nobody asks for this type", "href": None}]
    return {
        "id": row.event_id,
        "href": href,
        "type": visible(row.type or "(no type)"),
        "object": None if row.object_id is None else visible(row.object_id),
        "environment": row.environment,
        "at": exact(row.at_ms),
        "sent": sent,
        "sent_more": in_lane - len(row.tries),
        "got": [_got(call, one) for one in row.entries],
    }


def _sent(call: Call, row: Row, one: LastTry) -> dict[str, Any]:
    word = sent_word(one)
    said = [urlsplit(one.endpoint_url).netloc]
    if one.status is not None:
        said.append(str(one.status))
    if one.duration_ms is not None:
        said.append(span(one.duration_ms))
    if one.attempt > 1:
        said.append(f"attempt {one.attempt}")
    href = call.link("delivery", environment=row.environment, id=one.id) if call.parts.links.has("delivery") else None
    return {"word": word, "kind": _KINDS.get(word, "idle"), "note": visible(" · ".join(said)), "href": href}


def _got(call: Call, entry: LiveEntry) -> dict[str, Any]:
    said = [] if entry.source == "default" else [entry.source]
    if entry.via != "webhook":
        said.append(f"by {entry.via}")
    if entry.reason is not None:
        said.append(entry.reason)
    if entry.finished_ms is not None:
        said.append(f"{span(max(0, entry.finished_ms - entry.received_ms))} after it came")
    has = call.parts.links.has("inbox_entry")
    href = call.link("inbox_entry", source=entry.source, id=entry.event_id) if has else None
    kind = _KINDS.get(entry.state, "idle")
    return {"word": entry.state, "kind": kind, "note": visible(" · ".join(said)), "href": href}


PAGES: tuple[Page, ...] = (
    Page("live", "/live", live),
    Page("live_stream", "/live/stream", stream),
)

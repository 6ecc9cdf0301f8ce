"""What an event is about, in one id: the object it speaks of first, or the pair."""

from __future__ import annotations

from typing import NamedTuple

from hookline.errors import InvalidBody
from hookline.receiver.kept import kept_event
from hookline.receiver.resources import OPTIONAL, observe


class Subject(NamedTuple):
    """An object. `is_mirrored` says whether the mirror has a table for it; `id` is as the mirror calls it."""

    resource: str
    id: str
    is_mirrored: bool


def subjects_of(body: bytes, event_id: str, type_: str | None, received_ms: int) -> tuple[Subject, ...]:
    """What the event in these bytes is about, what it is about first of all before the rest; nothing where that is no
    event, or of nothing that has an id.
    """
    try:
        event = kept_event(body, event_id, type_)
    except InvalidBody:
        return ()
    seen = observe(event, event_id, received_ms, OPTIONAL)
    edges = () if seen.edge is None else (Subject(seen.edge.resource, "/".join(seen.edge.keys), True),)
    if found := (*edges, *(Subject(one.resource, one.key, True) for one in seen.objects)):
        return found
    # What a stranger calls an id may be anything JSON has.
    resource, id_ = event.data.get("object"), event.data.get("id")
    return (Subject(resource, id_, False),) if isinstance(resource, str) and isinstance(id_, str) else ()

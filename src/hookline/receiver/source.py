"""The source as the receiver reads it: lists, single objects and the feed of its events.

`SourceApi` is what tail, refetches and passes ask; source_http.py asks over HTTP. An answer is evidence as of the
moment its request was sent, in the *source's* time (`requested_us`, Unix microseconds: our clock, corrected by the
`Date` headers of its answers). Whatever is no answer is a `SourceError`, and no evidence at all (merge rule A20).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

# What the source lists, and where.
PATHS: Final[Mapping[str, str]] = {
    "organization": "/organizations",
    "directory": "/directories",
    "directory_user": "/directory_users",
    "directory_group": "/directory_groups",
}
PAGE: Final = 100
WORKOS_URL: Final = "https://api.workos.com"


class Page(NamedTuple):
    """One page of a list: objects, each with an `id` that is text, and the cursor to the next, None on the last."""

    items: tuple[dict[str, Any], ...]
    after: str | None
    requested_us: int


class Found(NamedTuple):
    """An object as the source has it."""

    item: dict[str, Any]
    requested_us: int


class Gone(NamedTuple):
    """The source has no such object (404)."""

    requested_us: int


class FeedEvent(NamedTuple):
    """An event of the feed; `body` are its bytes as they stood in the list."""

    id: str
    type: str
    body: bytes


class EventPage(NamedTuple):
    """Events after a cursor, oldest first; `has_more` says whether the source has later ones already."""

    events: tuple[FeedEvent, ...]
    has_more: bool
    requested_us: int


class SourceApi(Protocol):
    """What can be asked of a source. Every call may raise `SourceError`."""

    def page(self, resource: str, filters: Mapping[str, str], *, after: str | None = None) -> Page:
        """The next page of a list of `PATHS`, filtered as its query parameters say (`directory`, `group`, `user`)."""

    def get(self, resource: str, id_: str) -> Found | Gone:
        """One object."""

    def events(self, types: Sequence[str], *, after: str | None = None, since_us: int | None = None) -> EventPage:
        """The events of these types after an event's id, or since a time."""

    def close(self) -> None:
        """Close its connections."""

"""Writes the table of docs/events.md from the catalogue: `make docs`, or `python -m docs.events` in a checkout.

The text around the table is written by hand; a test fails when the table is stale.
"""

from __future__ import annotations

import re
from pathlib import Path

from hookline.receiver.resources import EDGES, OPTIONAL, RESOURCES, observe
from hookline.testing import sample_event
from hookline.wire.catalogue import CATALOGUE, WEBHOOK_TYPES, EventType

PAGE = Path(__file__).with_suffix(".md")
_GENERATED = re.compile(r"(?<=<!-- made by docs/events\.py -->\n).*(?=<!-- to here -->)", re.DOTALL)

_KINDS = {"F": "state", "D": "deletion", "L": "fact", "M": "fact around an object"}
_HEAD = ("type", "by webhook", "what it is", "`data.object`", "key", "parents", "clock", "mirrored into")


def render(page: str) -> str:
    """The page with its table made anew; ValueError where the marks around the table are missing."""
    made, count = _GENERATED.subn(lambda _: table(), page)
    if count != 1:
        raise ValueError(f"expected one pair of marks around the table of {PAGE.name}, got {count}")
    return made


def table() -> str:
    """What the catalogue and the mirror say of every type, in Markdown."""
    lines = [
        f"This version knows {len(CATALOGUE)} types; webhooks carry {len(WEBHOOK_TYPES)} of them.",
        "",
        f"| {' | '.join(_HEAD)} |",
        "|---" * len(_HEAD) + "|",
        *(f"| {' | '.join(_cells(type_))} |" for type_ in CATALOGUE.values()),
    ]
    return "\n".join(lines) + "\n"


def _cells(type_: EventType) -> tuple[str, ...]:
    return (
        f"`{type_.name}`",
        "yes" if type_.subscribable else "–",
        _what(type_),
        _code(type_.object),
        _code(*type_.key),
        ", ".join(f"{parent.resource} (`{parent.field}`)" for parent in type_.parents) or "–",
        "`updated_at`" if type_.clock == "updated_at" else "the event's",
        _code(*_tables(type_.name)) + (" if asked" if type_.object in OPTIONAL else ""),
    )


def _what(type_: EventType) -> str:
    if type_.edge is None:
        return _KINDS[type_.kind]
    return f"{'adds' if type_.edge.adds else 'removes'} a {type_.edge.resource}"


def _code(*words: str | None) -> str:
    return ", ".join(f"`{word}`" for word in words if word) or "–"


def _tables(event_type: str) -> list[str]:
    """Where the receiver writes what the sample of this type says: it is asked, not listed."""
    event = sample_event(event_type)
    observed = observe(event, event.id or event_type, 0, OPTIONAL)
    if observed.ignored:
        raise ValueError(f"the sample of {event_type} is ignored: {observed.ignored}")
    edges = [EDGES[observed.edge.resource].table] if observed.edge else []
    return list(dict.fromkeys([*edges, *(RESOURCES[seen.resource].table for seen in observed.objects)]))


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

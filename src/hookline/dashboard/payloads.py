"""JSON as people read it: laid out, coloured on the server, and cut where it is too long to be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import JsonLexer

from hookline.dashboard.formats import visible

# What a browser lays out at once, and nobody reads to its end.
MOST_SHOWN: Final = 65_536

_LEXER: Final = JsonLexer(stripnl=False)
_FORMATTER: Final = HtmlFormatter(nowrap=True, classprefix="j-")


@dataclass(frozen=True, slots=True)
class Laid:
    """JSON laid out: its text as HTML, and how many characters of how many that is."""

    html: Markup
    shown: int
    whole: int

    @property
    def is_cut(self) -> bool:
        return self.shown < self.whole


def lay_out(value: Any) -> Laid:
    """A JSON value, or bytes or text that should be JSON; what is none is shown as the text it is."""
    return laid_text(layout(value))


def layout(value: Any) -> str:
    """A JSON value as indented text."""
    try:
        raw = value if isinstance(value, (bytes, str)) else msgspec.json.encode(value)
        return msgspec.json.format(raw if isinstance(raw, bytes) else raw.encode(), indent=2).decode("utf-8", "replace")
    except (msgspec.DecodeError, msgspec.EncodeError, RecursionError, UnicodeError):
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def laid_text(text: str) -> Laid:
    """Text that is JSON, or nearly, coloured."""
    shown = text[:MOST_SHOWN]
    html: str = highlight(visible(shown), _LEXER, _FORMATTER)
    # Pygments escapes; its output is the only markup here.
    return Laid(Markup(html.rstrip("\n")), len(shown), len(text))  # noqa: S704

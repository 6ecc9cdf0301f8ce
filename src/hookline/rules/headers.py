"""Which headers of their own may users add to deliveries?

Names are tokens and values visible text (RFC 9110 §5.1, §5.5), so that none can smuggle in a second header. What the
delivery itself says, its length, its signature, its trace, is ours to say, and what speaks about the connection
(RFC 9110 §7.6.1) is nobody's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

MAX_HEADERS: Final = 20
MAX_NAME_CHARS: Final = 100
MAX_VALUE_CHARS: Final = 4_096
MAX_TOTAL_CHARS: Final = 8_192
"""Names and values of one endpoint together: many servers read no more than 8 KiB of headers."""

RESERVED: Final = frozenset(
    {
        "content-type",
        "content-length",
        "content-encoding",
        "host",
        "date",
        "expect",
        "workos-signature",
        "traceparent",
        "tracestate",
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""In lower case."""

RESERVED_PREFIXES: Final = ("webhook-", "hookline-")

SENSITIVE: Final = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"})
"""Masked in evidence whether marked as sensitive or not; in lower case."""

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Visible ASCII, spaces and tabs, none at either end. Bytes above it mean something else to every reader.
_VALUE: Final = re.compile(r"(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?")


def header_problem(name: str, value: str) -> str | None:
    """Why a header may not be added to deliveries, in words that name it and never its value; None where it may."""
    shown = repr(name[:40])
    if not 0 < len(name) <= MAX_NAME_CHARS or _NAME.fullmatch(name) is None:
        return f"{shown}: expected a header name of 1 to {MAX_NAME_CHARS} letters, digits and any of !#$%&'*+-.^_`|~"
    if name.lower() in RESERVED or name.lower().startswith(RESERVED_PREFIXES):
        return f"{shown} is set by Hookline or belongs to the connection; choose another name"
    if len(value) > MAX_VALUE_CHARS:
        return f"{shown}: expected a value of at most {MAX_VALUE_CHARS} characters, got {len(value)}"
    if _VALUE.fullmatch(value) is None:
        return f"{shown}: expected a value of visible ASCII characters, without spaces at its ends or line breaks"
    return None


def headers_problems(headers: Sequence[tuple[str, str]]) -> list[str]:
    """What is wrong with an endpoint's headers, a sentence each; empty where nothing is."""
    problems = [problem for name, value in headers if (problem := header_problem(name, value)) is not None]
    if len(headers) > MAX_HEADERS:
        problems.append(f"expected at most {MAX_HEADERS} headers, got {len(headers)}")
    names = [name.lower() for name, _ in headers]
    problems += [
        f"{name[:40]!r} is given twice; names differ in more than case" for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]  # fmt: skip
    if not problems and (total := sum(len(name) + len(value) for name, value in headers)) > MAX_TOTAL_CHARS:
        problems.append(f"expected at most {MAX_TOTAL_CHARS} characters of names and values together, got {total}")
    return problems


def is_sensitive(name: str) -> bool:
    """Whether a header's value is masked wherever evidence is kept, whoever set it."""
    return name.lower() in SENSITIVE

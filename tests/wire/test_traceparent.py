"""`traceparent`: what is read of it, and that everything else counts as none."""

from __future__ import annotations

import pytest

from hookline.wire.traceparent import parse_traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01"),
        (f"\t 00-{TRACE}-{PARENT}-00 ", f"00-{TRACE}-{PARENT}-00"),
        # A later version is read as far as 00 goes.
        (f"cc-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01"),
        (f"cc-{TRACE}-{PARENT}-01-what-will-be", f"00-{TRACE}-{PARENT}-01"),
    ],
)
def test_a_valid_header_is_read(text: str, read: str) -> None:
    """Version 00, and what a later one has in common with it."""
    assert parse_traceparent(text) == read


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-01\n",
        f"cc-{TRACE}-{PARENT}-01.more",
        f"0٠-{TRACE}-{PARENT}-01",
        f"cc-{TRACE}-{PARENT}-01-" + "x" * 10_000,
    ],
)
def test_anything_else_is_as_good_as_none(text: str | None) -> None:
    """Never an error: a trace is no reason to refuse a call."""
    assert parse_traceparent(text) is None

"""Which headers a user may add to deliveries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.rules.headers import (
    MAX_HEADERS,
    MAX_NAME_CHARS,
    MAX_TOTAL_CHARS,
    MAX_VALUE_CHARS,
    header_problem,
    headers_problems,
    is_sensitive,
)


@pytest.mark.parametrize(
    ("name", "value"),
    [("Authorization", "Bearer abc"), ("X-Tenant", "7"), ("User-Agent", "Acme/1"), ("a", ""), ("X", "a\tb c")],
)
def test_ordinary_headers_may_be_added(name: str, value: str) -> None:
    """Tokens as names, visible text as values, an empty one too."""
    assert header_problem(name, value) is None


@pytest.mark.parametrize(
    "name",
    [
        "Content-Type", "content-length", "HOST", "WorkOS-Signature", "Webhook-Id", "webhook-signature",
        "webhook-anything", "traceparent", "Hookline-Origin", "Connection", "Transfer-Encoding", "TE", "Upgrade",
        "Expect", "Proxy-Authorization",
    ],
)  # fmt: skip
def test_ours_and_the_connections_cannot_be_set(name: str) -> None:
    """In whatever case."""
    problem = header_problem(name, "x")

    assert problem is not None
    assert name in problem


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "é", "a\x00", "(", "x" * (MAX_NAME_CHARS + 1)])
def test_what_is_no_name_is_refused(name: str) -> None:
    """RFC 9110 tokens alone."""
    assert header_problem(name, "x") is not None


@pytest.mark.parametrize("value", ["a\r\nInjected: yes", "a\nb", "a\x00", " a", "a ", "é", "x" * (MAX_VALUE_CHARS + 1)])
def test_what_is_no_value_is_refused_without_showing_it(value: str) -> None:
    """A value may be a secret: the problem names the header alone."""
    problem = header_problem("X-Secret", value)

    assert problem is not None
    assert value.strip() not in problem or len(value.strip()) < 2


@given(st.text(max_size=20), st.text(max_size=20))
def test_whatever_passes_is_one_line_of_ascii(name: str, value: str) -> None:
    """No header that passes can end its line or begin another."""
    if header_problem(name, value) is None:
        line = f"{name}: {value}"
        assert line.isascii()
        assert len(line.splitlines()) == 1
        assert line.partition(":")[0] == name


def test_a_list_is_judged_as_a_whole() -> None:
    """Too many, twice the same, too long together: each is said."""
    many = [(f"X-{number}", "v") for number in range(MAX_HEADERS + 1)]
    long = [(f"X-{number}", "v" * MAX_VALUE_CHARS) for number in range(MAX_TOTAL_CHARS // MAX_VALUE_CHARS)]

    assert headers_problems([("X-A", "1"), ("X-B", "2")]) == []
    assert len(headers_problems(many)) == 1
    assert "twice" in headers_problems([("X-A", "1"), ("x-a", "2")])[0]
    assert "together" in headers_problems(long)[0]
    assert len(headers_problems([("Host", "1"), ("a b", "2")])) == 2


def test_what_authenticates_is_sensitive() -> None:
    """Marked or not."""
    assert [is_sensitive(name) for name in ("Authorization", "X-API-Key", "X-Tenant")] == [True, True, False]

"""Following what takes long: a bar on a terminal, lines elsewhere, nothing where no talk is wanted."""

from __future__ import annotations

import io
import re

import pytest
from tests.cli.test_talk import Terminal

from hookline.cli import MANNER, Manner
from hookline.cli.progress import LINE_EVERY_S, Following


@pytest.fixture
def now_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock of this module says: its one item."""
    now = [1_000.0]
    monkeypatch.setattr("hookline.cli.progress.time.monotonic", lambda: now[0])
    return now


def test_lines_where_nobody_is_at_a_terminal(monkeypatch: pytest.MonkeyPatch, now_s: list[float]) -> None:
    """One every ten seconds, the first at once where that is wanted."""
    monkeypatch.setattr("sys.stderr", stream := io.StringIO())
    with Following("events") as following:
        for done in (1_000, 2_000, 3_000):
            following.tell(done, 5_000)
            now_s[0] += LINE_EVERY_S
        following.tell(4_000)
    with Following("objects", at_once=True) as following:
        following.tell(1, said="pass 1: begins")

    assert stream.getvalue().splitlines() == [
        "2,000 of 5,000 events",
        "3,000 of 5,000 events",
        "4,000 events",
        "pass 1: begins",
    ]
    assert following.done == 1


@pytest.mark.parametrize("is_quiet", [False, True])
def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, is_quiet: bool) -> None:
    """With how many there are of how many; nothing with --quiet."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("sys.stderr", stream := Terminal())
    token = MANNER.set(Manner(quiet=is_quiet))
    try:
        with Following("events") as following:
            following.tell(1_000, 5_000)
    finally:
        MANNER.reset(token)

    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert ("1000/5000" in shown) is not is_quiet
    assert (shown == "") is is_quiet

"""The picture, the lines and the summary: they fit, they say what is given, and the verdict is the truth."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from hookline.demo.compare import Difference
from hookline.demo.figures import AttemptLine, ChangeLine, ReceiverFigures, SenderFigures
from hookline.demo.view import Handlers, Report, Snapshot, picture, plain_line, print_summary
from hookline.demo.wire import Deed, WireFigures

SENDER = SenderFigures(
    published=1214,
    deliveries={"succeeded": 1209, "pending": 4, "running": 1},
    attempts=1310,
    attempts_failed=101,
    next_due_ms=1_000_400,
    last_attempts=(
        AttemptLine(1_000_000, 1, "dsync.group.user_added", "succeeded", "200", 12),
        AttemptLine(1_000_000, 2, "dsync.user.created", "failed", "connect_refused", 1200),
    )
    * 20,
)
RECEIVER = ReceiverFigures(
    accepted=1209,
    duplicates=61,
    conflicts=0,
    refused={"mismatch": 22, "expired": 11, "missing": 11, "size": 5},
    waiting=12,
    oldest_waiting_ms=999_988,
    outcomes={"applied": 1150, "stale": 59},
    runs={"succeeded": 1300, "pending": 3},
    cascades=0,
    mirror={
        "organization": 1,
        "directory": 2,
        "directory_user": 34,
        "directory_group": 9,
        "directory_membership": 51,
    },
    changes=1500,
    last_changes=(
        ChangeLine(1, "created", "directory_user", "Zoë Bergström"),
        ChangeLine(1, "updated", "organization", "青空商会 Group with a name that is far too long for its line"),
    )
    * 20,
)
WIRE = WireFigures(1300, 130, 88, 61, 44, 0, 40, 12, 2, is_down=False, is_calm=False)
SNAPSHOT = Snapshot(
    now_ms=1_000_000,
    elapsed_s=12.3,
    duration_s=20,
    rate=20,
    seed=7,
    phase="publishing",
    sender=SENDER,
    wire=WIRE,
    receiver=RECEIVER,
    deeds=[Deed(number, 1, "reset before", "dsync.group.user_removed") for number in range(30)],
    happening="Zoë Bergström leaves Finance and enters Travel approvers at 青空商会 with many more words",
)
REPORT = Report(
    seed=7,
    rate=20,
    published_s=20.04,
    drained_s=2.1,
    drained=True,
    sender=SENDER,
    wire=WIRE,
    receiver=RECEIVER,
    handlers=Handlers(61, 61, 31, 31, is_right=True),
    compared=98,
    differences=(),
    kept=None,
)


def shown(what: RenderableType, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None, legacy_windows=False)
    console.print(what)
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue().splitlines()


def summary(report: Report) -> str:
    console = Console(width=120, file=io.StringIO(), color_system=None)
    print_summary(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 40), (100, 24), (120, 30), (200, 50)])
def test_the_picture_fits_the_terminal(width: int, height: int) -> None:
    """No line is wider than the terminal and there is room left for the cursor, whatever is in it."""
    lines = shown(picture(SNAPSHOT, width, height), width)

    assert all(cell_len(line) <= width for line in lines)
    assert len(lines) == height - 1


@pytest.mark.parametrize("width", [80, 120])
def test_the_picture_never_jumps(width: int) -> None:
    """An empty demo and a busy one have the same height."""
    quiet = replace(
        SNAPSHOT,
        deeds=[],
        happening="",
        sender=replace(SENDER, last_attempts=(), next_due_ms=None, deliveries={}),
        receiver=replace(RECEIVER, last_changes=(), oldest_waiting_ms=None),
    )

    assert len(shown(picture(quiet, width, 30), width)) == len(shown(picture(SNAPSHOT, width, 30), width))


@pytest.mark.parametrize("width", [80, 120])
def test_the_picture_shows_the_figures_of_both_ends(width: int) -> None:
    """Sender, wire and receiver each show their own counts, the next retry and the lag."""
    text = "\n".join(shown(picture(SNAPSHOT, width, 30), width))

    for part in ("1,214", "1,209", "1,310", "101 failed", "next in 0.4 s", "#2", "lag 12 ms", "1,150", "3 wait"):
        assert part in text
    for part in ("● up", "reset before", "created  user", "97  rows, 34 users", "12 s of 20 s", "Ctrl-C"):
        assert part in text


def test_an_outage_and_the_calm_can_be_seen() -> None:
    """The wire's state is the first thing in its panel."""
    down = replace(SNAPSHOT, wire=replace(WIRE, is_down=True))
    calm = replace(SNAPSHOT, wire=replace(WIRE, is_calm=True), phase="draining", duration_s=None)

    assert "▼ down" in "\n".join(shown(picture(down, 80, 24), 80))
    assert "● calm" in "\n".join(shown(picture(calm, 120, 24), 120))
    assert "Ctrl-C gives up" in "\n".join(shown(picture(calm, 120, 24), 120))


def test_a_plain_line_is_one_line() -> None:
    """Without a terminal one line tells the moment, without colour."""
    line = plain_line(SNAPSHOT)

    assert "\n" not in line
    assert "\x1b" not in line
    assert "published 1214, delivered 1209, open 5, attempts 1310" in line
    assert "refused 44" in line


def test_only_broken_signatures_count_as_forged() -> None:
    """A body that is too large is refused, but nobody forged it."""
    assert REPORT.forged_refused == 44


def test_the_summary_says_that_the_mirror_equals_the_source() -> None:
    """A good end is one line that says so, after the figures."""
    text = summary(REPORT)

    assert "✓ mirror equals source: 98 rows and memberships" in text
    assert "forged refused 44" in text
    assert "2 directories, 34 users" in text
    assert REPORT.is_good


@pytest.mark.parametrize(
    ("report", "told"),
    [
        (replace(REPORT, drained=False), "✗ did not drain: 20 deliveries, entries and handler runs still wait"),
        (replace(REPORT, handlers=Handlers(61, 61, 31, 31, is_right=False)), "✗ the handlers' own tables"),
        (replace(REPORT, wire=replace(WIRE, forged_accepted=2)), "✗ 2 forged requests were accepted"),
        (
            replace(REPORT, differences=[Difference("differs", "directory_user", "u1", "email", "a", "b")] * 12),
            "differs from the source in 12 places",
        ),
    ],
)
def test_whatever_is_wrong_is_said(report: Report, told: str) -> None:
    """A run that did not drain, handlers that ran twice and a mirror that differs are each told, and not good."""
    text = summary(report)

    assert told in text
    assert "--seed 7 --keep DIR" in text
    assert not report.is_good
    if report.differences:
        assert "directory_user u1 email: source 'a', mirror 'b'" in text
        assert "and 2 more" in text
        assert "equals" not in text


def test_the_object_for_machines_has_the_agreed_keys() -> None:
    """The contract's eight keys are there, with the ends' own counts; it is one JSON object."""
    told = json.loads(json.dumps(REPORT.as_json()))
    agreed: Sequence[tuple[str, object]] = (
        ("published", 1214),
        ("delivered", 1209),
        ("attempts", 1310),
        ("duplicates_ignored", 61),
        ("stale_ignored", 59),
        ("forged_refused", 44),
        ("applied", 1150),
        ("mirror_equals_source", True),
        ("seed", 7),
    )

    assert [(key, told[key]) for key, _ in agreed] == list(agreed)

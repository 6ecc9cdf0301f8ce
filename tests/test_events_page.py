"""docs/events.md lists what the catalogue and the mirror say."""

from __future__ import annotations

import pytest
from docs.events import PAGE, render

from hookline.receiver.resources import EDGES, RESOURCES
from hookline.wire.catalogue import CATALOGUE


def test_the_page_is_what_its_generator_writes() -> None:
    """Where this fails: `make docs`."""
    page = PAGE.read_text(encoding="utf-8")

    assert render(page) == page


def test_the_page_lists_every_type_and_every_table() -> None:
    """A row per type; and each table of the mirror is written by some type, else its column would be wrong."""
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]

    assert [row.split("`")[1] for row in rows] == list(CATALOGUE)
    for table in [*(resource.table for resource in RESOURCES.values()), *(edge.table for edge in EDGES.values())]:
        assert any(f"`{table}`" in row for row in rows)


def test_a_page_without_marks_is_refused() -> None:
    """Nothing is lost by writing a page whose table cannot be found."""
    with pytest.raises(ValueError, match="marks"):
        render("# Events\n")

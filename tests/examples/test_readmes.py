"""The READMEs of the examples in other languages, done from top to bottom as test_docs does all others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..test_docs import FOREIGN as LEFT_OUT
from .served import FOREIGN, Example, each


def test_each_readme_that_test_docs_leaves_out_is_done_here() -> None:
    """None is left to nobody."""
    assert {path.parent.name for path in LEFT_OUT} == {example.name for example in FOREIGN}


@each(FOREIGN)
def test_a_readme_does_what_it_says(example: Example, ready: Callable[[Example], Path]) -> None:
    """As it stands, but for the port; what it leaves behind is what the other tests start."""
    assert (ready(example) / "run.log").exists()

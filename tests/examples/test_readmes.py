"""The READMEs of the examples in other languages, done from top to bottom as test_docs does all others."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from docs.blocks import ROOT

from ..test_docs import FOREIGN, Shell, follow
from . import served


def test_each_of_them_is_served_here() -> None:
    """None is left to nobody."""
    assert {path.parent.name for path in FOREIGN} == {example.name for example in served.FOREIGN}


@pytest.mark.timeout(150, func_only=False)  # packages are fetched, a server is started
@pytest.mark.parametrize("example", served.FOREIGN, ids=lambda example: example.name)
def test_a_readme_does_what_it_says(example: served.Example, tmp_path: Path) -> None:
    """As it stands, but for the port."""
    served.require(example)
    with contextlib.closing(Shell(tmp_path)) as shell:
        follow(ROOT / "examples" / example.name / "README.md", shell)

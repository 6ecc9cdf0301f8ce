"""What several files of these tests need."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import pytest

NODE: Final = Path(__file__).parent.parent / "node"


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the official JavaScript SDK beside the tests' scripts."""
    executable = shutil.which("node")
    if executable is None:
        pytest.skip("no `node` on PATH: the official JavaScript SDK was not asked")
    if not (NODE / "node_modules" / "workos").is_dir():
        pytest.skip("tests/node/node_modules is missing (`npm ci --prefix tests/node`): the SDK was not asked")
    return executable

"""Each example is made ready once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .served import Example, is_lacking, made_ready


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Example], Path]:
    """The folder of an example that is ready to start; a skip where it cannot be made so here."""
    folder, made = tmp_path_factory.mktemp("examples"), dict[str, Path | None]()

    def of(example: Example) -> Path:
        if is_lacking(example):
            pytest.skip(f"{' '.join(example.needs)} does not run here: .ci/run brings what it needs")
        if example.name not in made:
            made[example.name] = None  # until it is: what failed once is not tried for each test
            made[example.name] = made_ready(example, folder)
        if (found := made[example.name]) is None:
            pytest.fail(f"{example.name} was not made ready: the first test of it says why")
        return found

    return of

"""Each example is made ready once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .served import Example, made_ready


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Example], Path]:
    """The folder of an example that is ready to start."""
    folder, made = tmp_path_factory.mktemp("examples"), dict[str, Path]()

    def of(example: Example) -> Path:
        if example.name not in made:
            made[example.name] = made_ready(example, folder)
        return made[example.name]

    return of

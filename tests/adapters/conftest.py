"""The tests' Django project, and databases of its own for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..apps import django_database, migrate_shop, start_django
from ..postgres import Cluster

# Before any test module imports a model.
start_django()

from hookline.adapters.django import hooks  # noqa: E402


@pytest.fixture(scope="session")
def shop_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's SQLite file as `manage.py migrate` makes it, to copy."""
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    migrate_shop(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def shop_template(postgres: Cluster) -> str:
    """The same on PostgreSQL."""
    name = postgres.create()
    migrate_shop(postgres.url(name))
    return name


@pytest.fixture(params=["sqlite", "postgres"])
def shop_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the shop's own, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{shutil.copy(request.getfixturevalue('shop_file'), tmp_path)}"
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    name = cluster.create(request.getfixturevalue("shop_template"))
    yield cluster.url(name)
    cluster.drop(name)


@pytest.fixture
def shop(shop_url: str) -> Iterator[str]:
    """The shop on that database; its URL."""
    with django_database(shop_url):
        hooks.reload()
        yield shop_url
        hooks.close()


@pytest.fixture
def sqlite_shop(shop_file: Path, tmp_path: Path) -> Iterator[str]:
    """The shop on SQLite, for what is the same on both."""
    url = f"sqlite:///{shutil.copy(shop_file, tmp_path)}"
    with django_database(url):
        hooks.reload()
        yield url
        hooks.close()

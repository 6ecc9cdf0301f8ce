"""The Flask shop under gunicorn, loaded before it forks, with a worker in a process of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..apps import rows_at
from ..postgres import Cluster
from ..receiver.company import wait_for
from .flask_shop import SECRET
from .served import event, post, running, served

APP = "tests.adapters.flask_shop:create_served_app"


def serve_and_work(url: str, *options: str) -> None:
    """Every worker of the server keeps what it answers 200; `flask hookline worker` handles each event once."""
    environment = {"SHOP_DATABASE_URL": url}
    with served(environment, "gunicorn", "--preload", *options, f"{APP}()") as port:
        with ThreadPoolExecutor(8) as senders:
            answers = list(senders.map(lambda n: post(port, event(n % 12), SECRET, is_chunked=bool(n % 2)), range(24)))
        too_large = post(port, b"x" * 2_200_000, SECRET, is_chunked=True)
        with running(environment, "flask", "--app", APP, "hookline", "worker"):
            wait_for(lambda: rows_at(url, "select count(*) from letters") == [(12,)])

    assert answers == [(200, b"")] * 24
    assert too_large == (413, b"size\n")
    assert rows_at(url, "select distinct handler, state, attempt from hookline_runs") == [
        ("shop.letters", "succeeded", 1)
    ]


def test_under_gunicorns_sync_workers(tmp_path: Path) -> None:
    """Three processes of one request at a time, on SQLite."""
    serve_and_work(f"sqlite:///{tmp_path / 'shop.db'}", "--workers", "3")


def test_under_gunicorns_threads_on_postgres(postgres: Cluster) -> None:
    """Two processes of four threads each, made of one that has used the pool before it forked."""
    serve_and_work(postgres.url(postgres.create()), "--workers", "2", "--threads", "4")

"""The FastAPI shop under several uvicorn processes below a root path, each with a worker in its lifespan."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..apps import rows_at
from ..receiver.company import wait_for
from .fastapi_shop import SECRET
from .served import event, post, served


def test_under_uvicorn_with_a_worker_in_each_process(tmp_path: Path) -> None:
    """Each keeps what it answers 200; all of them handle each event once; what is under way at the end is finished."""
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    app = ("--workers", "2", "--root-path", "/api", "--factory", "tests.adapters.fastapi_shop:create_app")
    with served({"SHOP_DATABASE_URL": url}, "uvicorn", *app) as port:
        with ThreadPoolExecutor(8) as senders:
            answers = list(senders.map(lambda n: post(port, event(n % 12), SECRET, is_chunked=bool(n % 2)), range(24)))
        too_large = post(port, b"x" * 2_200_000, SECRET, is_chunked=True)
        done = "select count(*) from hookline_runs where state = 'succeeded' and handler = 'shop.letters'"
        wait_for(lambda: rows_at(url, done) == [(12,)])

    assert answers == [(200, b"")] * 24
    assert too_large == (413, b"size\n")
    assert rows_at(url, "select count(*) from letters") == [(12,)]
    assert rows_at(url, "select distinct handler, state, attempt from hookline_runs order by 1") == [
        ("shop.accounts", "succeeded", 1),
        ("shop.letters", "succeeded", 1),
    ]

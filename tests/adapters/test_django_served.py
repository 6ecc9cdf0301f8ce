"""The Django project under gunicorn, on a socket, with a worker in a process of its own."""

from __future__ import annotations

from ..apps import rows_at
from ..receiver.company import wait_for
from .served import event, post, running, served
from .shop.settings import SECRET


def test_under_gunicorn_with_a_worker_beside_it(shop_url: str) -> None:
    """Bodies without a length are read, and counted; what was kept is handled once by `manage.py hookline worker`."""
    environment = {"SHOP_DATABASE_URL": shop_url, "DJANGO_SETTINGS_MODULE": "tests.adapters.shop.settings"}
    with served(environment, "gunicorn", "--workers", "2", "tests.adapters.shop.wsgi:application") as port:
        answers = [post(port, event(number % 3), SECRET, is_chunked=True) for number in range(6)]
        too_large = post(port, b"x" * 2_200_000, SECRET, is_chunked=True)
        with running(environment, "django", "hookline", "worker"):
            wait_for(lambda: rows_at(shop_url, "select count(*) from shop_letter") == [(3,)])

    assert answers == [(200, b"")] * 6
    assert too_large == (413, b"size\n")
    # A worker that has ended has left nothing running.
    assert rows_at(shop_url, "select distinct handler, state, attempt from hookline_runs") == [
        ("shop.letters", "succeeded", 1)
    ]

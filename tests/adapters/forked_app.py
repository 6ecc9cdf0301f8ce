"""An app that has used its pool before it forks, as under `gunicorn --preload`: which connection each process gets.

Usage: python -m tests.adapters.forked_app DATABASE_URL
"""

from __future__ import annotations

import os
import sys

from tests.apps import sqlalchemy_session


def main(url: str) -> None:
    with sqlalchemy_session(url) as app:

        def backend() -> int:
            with app.transactions.begin() as transaction:
                return int(transaction.dbapi.execute("select pg_backend_pid()").fetchone()[0])

        print(backend(), flush=True)
        for _ in range(2):
            if os.fork() == 0:
                print(backend(), backend(), flush=True)
                os._exit(0)
            os.wait()
        print(backend(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

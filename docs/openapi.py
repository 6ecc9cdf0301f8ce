"""Writes docs/openapi.json, the description of the sender's API: `make docs`, or `python -m docs.openapi`.

It is what a server answers at /openapi.json; a test fails when the file is stale.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.fernet import Fernet

from hookline.sender.app import SenderApp
from hookline.storage import connect

FILE = Path(__file__).with_suffix(".json")


def render() -> str:
    """The description, from a sender that is put together for it on an empty database."""
    with TemporaryDirectory() as folder:
        database = connect(f"sqlite:///{folder}/hookline.db")
        app = SenderApp(database, encryption_keys=[Fernet.generate_key().decode()])
        try:
            return json.dumps(app.openapi, indent=1, ensure_ascii=False) + "\n"
        finally:
            app.close()
            database.close()


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")

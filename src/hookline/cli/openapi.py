"""`hookline openapi`: the description of the sender's API, as this version answers it at /openapi.json."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hookline.cli.parameters import AsJson


def openapi(*, output: Path | None = None, as_json: AsJson = False) -> None:
    """Print the description of the sender's API, in OpenAPI.

    Parameters
    ----------
    output:
        Write it to this file instead.
    as_json:
        In one line.
    """
    text = json.dumps(description(), indent=None if as_json else 1, ensure_ascii=False)
    if output is None:
        print(text)
    else:
        output.write_text(text + "\n", encoding="utf-8")


def description() -> dict[str, Any]:
    """Of a sender that is put together for it on an empty database."""
    from cryptography.fernet import Fernet

    from hookline.sender.app import SenderApp
    from hookline.storage import connect

    with TemporaryDirectory() as folder:
        database = connect(f"sqlite:///{folder}/hookline.db")
        app = SenderApp(database, encryption_keys=[Fernet.generate_key().decode()])
        try:
            return app.openapi
        finally:
            app.close()
            database.close()

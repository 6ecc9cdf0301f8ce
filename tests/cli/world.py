"""One SQLite world for the tests of the commands: both ends in a database, with something of everything in it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hookline import Receiver
from hookline.cli import main
from hookline.testing import sample_event, signed_request

SECRET = "a_secret_of_the_commands_world_01"
KEYS = {"HOOKLINE_API_KEY": "production_key_0123456789", "HOOKLINE_STAGING_API_KEY": "sk_test_0123456789abcdef"}


@dataclass
class Said:
    """What one command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Of a stream of objects."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class World:
    """A folder with `hookline.db` and what is known of it.

    Attributes:
        settings: what is in the environment for it.
        ids: of an endpoint, an event, its delivery, an entry, a mirrored user, by those names.
    """

    folder: Path
    settings: dict[str, str]
    ids: dict[str, str]

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make it the working directory, with its settings and no others."""
        for name in [name for name in os.environ if name.startswith("HOOKLINE_")]:
            monkeypatch.delenv(name)
        for name, value in self.settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(self.folder)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    """`hookline …` in this process."""
    capsys.readouterr()
    code = main(arguments)
    captured = capsys.readouterr()
    return Said(code, captured.out, captured.err)


def make_world(folder: Path) -> World:
    """Both ends on one file: a paused endpoint, three events and their held deliveries, three entries that are applied.

    The first event's data is what csv has to quote.
    """
    settings = {**KEYS, "HOOKLINE_ALLOW_PRIVATE_TARGETS": "true", "HOOKLINE_WEBHOOK_SECRETS": SECRET}
    with pytest.MonkeyPatch.context() as patched:
        made = World(folder, settings, {})
        made.enter(patched)
        made.ids.update(_filled())
    return made


def _filled() -> dict[str, str]:
    def said(*arguments: str) -> Any:
        with pytest.MonkeyPatch.context() as patched:
            told: list[str] = []
            patched.setattr("builtins.print", lambda text="", **_: told.append(str(text)))
            assert main(arguments) == 0, told
        return json.loads(told[0])

    assert main(["db", "upgrade", "--quiet"]) == 0
    endpoint = said("endpoints", "create", "http://127.0.0.1:9/hooks", "--events", "*", "--json")["id"]
    said("endpoints", "pause", endpoint, "--json")
    data = [
        {"object": "directory_user", "id": "directory_user_1", "name": 'Zoë, "Z"\n;'},
        {"list": [1, {"a": None}]},
        {},
    ]
    events = []
    for number, one in enumerate(data):
        file = Path(f"data{number}.json")
        file.write_text(json.dumps(one), encoding="utf-8")
        events.append(said("events", "publish", "dsync.user.created", str(file), "--json")["id"])
    delivery = said("deliveries", "list", "--event", events[0], "--json")["data"][0]["id"]
    with Receiver("sqlite:///hookline.db", secrets=[SECRET]) as receiver:
        receiver.open()
        now_ms = receiver.clock.now_ms()
        received = [sample_event(name) for name in ("dsync.user.created", "dsync.group.created", "dsync.activated")]
        for event in received:
            request = signed_request(event, SECRET, timestamp_ms=now_ms)
            status, *_ = receiver.receive("POST", "/webhooks", request.headers, request.body, peer="127.0.0.1")
            assert status == 200
        receiver.drain()
    return {
        "endpoint": endpoint,
        "event": events[0],
        "delivery": delivery,
        "entry": str(received[0].id),
        "user": str(received[0].data["id"]),
    }

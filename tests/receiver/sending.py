"""The sending end as a source: its API, asked in process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hookline.receiver.source_http import Answered, HttpSource
from hookline.sender.app import SenderApp
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication
from hookline.storage import connect
from hookline.testing.clock import TurnedClock
from tests.sender.conftest import LIVE_KEY, Client

KEY = LIVE_KEY
URL = "https://api.source.test"


class SendingEnd:
    """A sender with a database of its own; `asked` are the targets it was asked for."""

    def __init__(self, folder: Path, clock: TurnedClock) -> None:
        self.clock = clock
        self._database = connect(f"sqlite:///{folder / 'sender.db'}")
        self.app = SenderApp(self._database, api_keys={"production": KEY}, clock=clock, jitter=lambda: 0.0)
        self.asked: list[str] = []
        self._client = Client(self.app.load_api(), key=None)

    def publish(self, *events: tuple[str, Mapping[str, Any]]) -> list[str]:
        """Publish events, in this order and one commit; their ids."""
        drafts = tuple(draft_event({"event": type_, "data": data}) for type_, data in events)
        return [one.id for one in self.app.publisher.publish_inline(Publication("production", drafts))]

    def exchange(self, method: str, target: str, headers: Mapping[str, str]) -> Answered:
        """An `Exchange`."""
        self.asked.append(target)
        answer = self._client(method, target, headers=headers)
        return Answered(answer.status, answer.headers, answer.body)

    def api(self) -> HttpSource:
        """The API as a receiver asks it."""
        return HttpSource(URL, KEY, clock=self.clock, exchange=self.exchange)

    def close(self) -> None:
        self.app.publisher.close()
        self._database.close()

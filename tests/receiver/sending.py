"""A source to read at, which tells what it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hookline.receiver.source_http import Answered, HttpSource
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication
from hookline.testing.clock import TurnedClock
from hookline.testing.fake_workos import FakeWorkOS

URL: Final = "https://api.source.test"


class Sending(FakeWorkOS):
    """`asked` are the targets it was asked for in process."""

    def __init__(self, folder: Path, clock: TurnedClock) -> None:
        super().__init__(folder, clock=clock, delivers=False)
        self.clock = clock
        self.asked: list[str] = []

    def exchange(self, method: str, target: str, headers: Mapping[str, str]) -> Answered:
        self.asked.append(target)
        return super().exchange(method, target, headers)

    def publish_all(self, *events: tuple[str, Mapping[str, Any]]) -> list[str]:
        """Publish events, in this order and one commit; their ids."""
        drafts = tuple(draft_event({"event": type_, "data": data}) for type_, data in events)
        return [one.id for one in self.sender.publisher.publish_inline(Publication(self.environment, drafts))]

    def api(self) -> HttpSource:
        """Its API, asked in process."""
        return HttpSource(URL, self.api_key, clock=self.clock, exchange=self.exchange)

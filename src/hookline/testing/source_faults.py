"""What befalls requests to a `FakeWorkOS`, told beforehand in words, or drawn by chance; nothing here does it.

| word | what happens |
|---|---|
| `status/CODE` | that status, with an error in the API's own words |
| `rate-limited[/SECONDS]` | 429 with the JSON string "Ratelimited", and `Retry-After` where seconds are given |
| `reset` | the connection breaks before an answer |
| `cut` | the connection breaks in the middle of the answer |
| `silence` | nothing is ever answered |
| `html[/CODE]` | a page of HTML: of a proxy, or of a wrong address |
| `truncated` | the first half of the answer's JSON, as a whole answer |
| `wrong-types` | the answer with numbers for ids, and text for an empty list |
| `cycle` | a list whose cursor leads back to where its page began |
| `expired` | `after` is answered as a cursor that is no longer kept; what has none passes |
"""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_WORDS: Final = re.compile(
    r"status/[45][0-9]{2}|rate-limited(?:/[0-9]{1,5})?|reset|cut|silence|html(?:/[2-5][0-9]{2})?|truncated|wrong-types"
    r"|cycle|expired"
)


@dataclass(slots=True)
class _Expected:
    word: str
    path: str
    skip: int
    times: int


class SourceFaults:
    """What befalls the next requests, and what the API hides. Safe to use from several threads.

    Args:
        seed: of what chance decides.

    Attributes:
        page_size: lists give at most so many at once, whatever `limit` says; None leaves it to the reader.
        lag_s: lists and objects are shown as they were so long ago. It counts from when it is set.
        events_lag_s: `GET /events` shows the feed as it was so long ago: younger events are withheld.
        webhooks_lost: the chance, from 0 to 1, that a delivery the sender believes to have arrived never does.
        webhooks_delay_s: deliveries are so long on their way; below 25, since a sender gives up on what takes longer.
        seen: how many requests there were, by word; `pass` where nothing befell one.
    """

    def __init__(self, seed: int = 0) -> None:
        self.page_size: int | None = None
        self.lag_s = 0.0
        self.events_lag_s = 0.0
        self.webhooks_lost = 0.0
        self.webhooks_delay_s = 0.0
        self.seen: Counter[str] = Counter()
        self._rng = random.Random(seed)  # noqa: S311 - decides what breaks, guards nothing
        self._guard = threading.Lock()
        self._expected: list[_Expected] = []
        self._chances: tuple[str, Mapping[str, float]] = ("", {})

    def expect(self, word: str, times: int = 1, *, path: str = "", skip: int = 0) -> None:
        """Have this befall the next requests, after whatever was asked for before.

        Args:
            path: of requests alone whose path begins so.
            skip: so many of those pass first: `skip=2` is in the middle of a pass.
        """
        _check(word)
        with self._guard:
            self._expected.append(_Expected(word, path, skip, times))

    def shake(self, chances: Mapping[str, float], *, path: str = "") -> None:
        """Let chance decide, by the seed, about every request from here on: word -> chance between 0 and 1."""
        for word in chances:
            _check(word)
        if sum(chances.values()) > 1:
            raise ValueError(f"expected chances that add up to at most 1, got {sum(chances.values()):g}")
        with self._guard:
            self._chances = (path, dict(chances))

    def calm(self) -> None:
        """Forget all of it: requests pass, pages are whole, nothing lags and every webhook arrives."""
        with self._guard:
            self._expected.clear()
            self._chances = ("", {})
            self.page_size, self.lag_s, self.events_lag_s = None, 0.0, 0.0
            self.webhooks_lost, self.webhooks_delay_s = 0.0, 0.0

    def draw(self, path: str) -> str | None:
        """What befalls this request; None: it passes. Counts it."""
        with self._guard:
            word = self._draw(path)
            self.seen[word or "pass"] += 1
            return word

    def loses_webhook(self) -> bool:
        """Whether this delivery is lost."""
        with self._guard:
            return self._rng.random() < self.webhooks_lost

    def _draw(self, path: str) -> str | None:
        for at, one in enumerate(self._expected):
            if not path.startswith(one.path):
                continue
            if one.skip:
                one.skip -= 1
                return None
            one.times -= 1
            if not one.times:
                del self._expected[at]
            return one.word
        begins, chances = self._chances
        if not chances or not path.startswith(begins):
            return None
        drawn = self._rng.random()
        for word, chance in chances.items():
            drawn -= chance
            if drawn < 0:
                return word
        return None


def _check(word: str) -> None:
    if not _WORDS.fullmatch(word):
        raise ValueError(f"expected a word of hookline.testing.source_faults, got {word!r}")

"""Whether a scenario's end holds in a receiver's mirror: waits until its events are worked off, then compares."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from hookline.cli.tables import print_table
from hookline.receiver.app import Receiver
from hookline.testing.scenarios import Expected, Scenario

_POLL_S: Final = 0.1
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one thing holds that must. `difference` is None where it does."""

    expected: Expected
    difference: str | None


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    Attributes:
        waiting: events that had not come, or were not worked off, when patience ended; the verdicts are of before.
        dead: events that could not be applied.
    """

    verdicts: tuple[Verdict, ...]
    waiting: tuple[str, ...]
    dead: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.waiting and not self.dead and all(one.difference is None for one in self.verdicts)

    def obstacles(self, within_s: float) -> list[str]:
        """What kept events from being worked off within that time, a line each."""
        lines = [f"{event_id} could not be applied: `hookline inbox show {event_id}`" for event_id in self.dead]
        if self.waiting:
            few = ", ".join(self.waiting[:_SHOWN]) + (", …" if len(self.waiting) > _SHOWN else "")
            lines.append(
                f"{len(self.waiting)} event(s) did not come or were not worked off within {within_s:g} s ({few}): is a "
                "worker running, and is this the database of the receiver that gets them?"
            )
        return lines


def verify(receiver: Receiver, scenario: Scenario, event_ids: Sequence[str], *, within_s: float) -> Verification:
    """Compare the mirror with what must hold, once these events are worked off or so many seconds have passed."""
    ends_at = time.monotonic() + within_s
    open_ids, dead, sources = list(event_ids), [], set[str]()
    while True:
        with receiver.look() as (queries, connection):
            for event_id in list(open_ids):
                entries = queries.entries(connection, event_id=event_id)
                if any(one.state == "waiting" for one in entries) or not entries:
                    continue
                open_ids.remove(event_id)
                sources |= {one.source for one in entries}
                dead += [event_id] * any(one.state == "dead" for one in entries)
        if not open_ids or time.monotonic() > ends_at:
            break
        time.sleep(_POLL_S)
    verdicts = tuple(
        Verdict(one, one.difference(_shown(receiver, sources, one.resource, one.id))) for one in scenario.expected
    )
    return Verification(verdicts, tuple(open_ids), tuple(dead))


def as_json(found: Verification) -> dict[str, Any]:
    """As `--json` shows it."""
    lines = [
        {**asdict(one.expected), "rules": one.expected.rules, "difference": one.difference} for one in found.verdicts
    ]
    return {"holds": found.holds, "expected": lines, "waiting": found.waiting, "dead": found.dead}


def print_verdicts(found: Verification) -> None:
    """A line for each thing that must hold."""
    rows = [
        (
            "ok" if one.difference is None else "FAILED",
            one.expected.resource,
            one.expected.id,
            one.difference or ("shown" if one.expected.is_live else "not shown"),
            one.expected.because,
        )
        for one in found.verdicts
    ]
    print_table(("VERDICT", "RESOURCE", "ID", "MIRROR", "RULES: WHY"), rows, empty="nothing must hold")


def _shown(receiver: Receiver, sources: set[str], resource: str, id_: str) -> Mapping[str, Any] | None:
    for source in sorted(sources):
        with receiver.look_at_mirror(source) as mirror:
            row = mirror.queries.row(mirror.connection, resource, id_)
        if row is not None and row.is_live:
            return row.columns
    return None

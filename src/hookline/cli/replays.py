"""`hookline replays`: sending events of the past again, as jobs of the server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import cyclopts
from cyclopts import Parameter

from hookline.cli import Exit, talk
from hookline.cli.api_client import HERE, Place, segment, sender_api
from hookline.cli.parameters import AsJson
from hookline.cli.progress import Following
from hookline.cli.sender_commands import (
    FIRST,
    Columns,
    DryRun,
    Pages,
    Yes,
    is_sure,
    moment,
    show_list,
    words,
)
from hookline.cli.tables import print_facts, print_json

if TYPE_CHECKING:
    from hookline.cli.api_client import ApiClient

replays = cyclopts.App(name="replays", help="Send events of the past again: count, start, follow, cancel.")

ROOT: Final = "/api/v1/replays"
LOOK_EVERY_S: Final = 1.0
_COLUMNS: Final[Columns] = (
    ("REPLAY", "id"),
    ("STATE", "state"),
    ("TOTAL", "total"),
    ("MADE", "made"),
    ("SKIPPED", lambda item: sum(item["skipped"].values())),
    ("CREATED", "created_at"),
    ("FINISHED", "finished_at"),
)

SINCE: Final = "Published since: a time, or how long ago: 15m, 2h, 3d."


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class ReplayFlags:
    """What of the past is sent again to whom, and how.

    Parameters
    ----------
    until:
        Published before.
    types:
        Type names or patterns such as dsync.*; comma separated.
    endpoints:
        Ids of endpoints, comma separated; else all.
    rate_per_s:
        Deliveries a second at most.
    wait:
        Stay until it is finished, and say how it goes.
    """

    until: str | None = None
    types: Annotated[str | None, Parameter("--type")] = None
    endpoints: Annotated[str | None, Parameter("--endpoint")] = None
    rate_per_s: int | None = None
    dry_run: DryRun = False
    yes: Yes = False
    wait: Annotated[bool, Parameter("--wait", negative=())] = False


NO_FLAGS: Final = ReplayFlags()


@replays.command(name="list")
def list_(
    *,
    pages: Pages = FIRST,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """The newest first."""
    with sender_api(place) as api:
        show_list(api, ROOT, _COLUMNS, pages=pages, as_json=as_json, empty="no replays")


@replays.command
def show(
    replay: str,
    /,
    *,
    wait: Annotated[bool, Parameter("--wait", negative=(), help="Follow it until it is finished.")] = False,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """How far one came, and what became of its deliveries.

    Parameters
    ----------
    replay:
        Its id.
    """
    with sender_api(place) as api:
        found = api.get(f"{ROOT}/{segment(replay)}")
        _print(_followed(api, found) if wait else found, as_json=as_json)


@replays.command
def create(
    *,
    since: Annotated[str | None, Parameter(help=SINCE)] = None,
    states: Annotated[
        str | None,
        Parameter(
            "--state",
            help="How the newest delivery ended: succeeded, failed, canceled, never; comma separated; else any.",
        ),
    ] = None,
    flags: ReplayFlags = NO_FLAGS,
    place: Place = HERE,
    as_json: AsJson = False,
) -> int:
    """Send events of the past to endpoints again: the same event ids, freshly signed."""
    with sender_api(place) as api:
        return start(api, flags, since=since, states=words(states), as_json=as_json)


@replays.command
def cancel(replay: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """Make no more deliveries, and cancel those that still wait.

    Parameters
    ----------
    replay:
        Its id.
    """
    with sender_api(place) as api:
        _print(api.post(f"{ROOT}/{segment(replay)}/cancel"), as_json=as_json)


def start(api: ApiClient, flags: ReplayFlags, *, since: str | None, states: Sequence[str] | None, as_json: bool) -> int:
    """Count, ask, and begin a replay; where it is waited for, follow it to its end: 0, or 6 where some was left out."""
    asked = {
        "since": moment("--since", since),
        "until": moment("--until", flags.until),
        "events": words(flags.types),
        "endpoints": words(flags.endpoints),
        "states": None if states is None else list(states),
    }
    chosen = {name: value for name, value in asked.items() if value is not None}
    preview = api.post(ROOT, {"filter": chosen, "dry_run": True})
    if flags.dry_run or preview["to_make"] == 0:
        if as_json:
            print_json(preview)
        else:
            print(f"would make {preview['to_make']} deliveries{_but(preview['skipped'])}")
        return Exit.OK
    if not is_sure(f"Make {preview['to_make']} deliveries{_but(preview['skipped'])}?", yes=flags.yes):
        return Exit.FAILED
    body = {"filter": chosen} | ({} if flags.rate_per_s is None else {"rate_per_s": flags.rate_per_s})
    replay = api.post(ROOT, body)
    if flags.wait:
        replay = _followed(api, replay)
    _print(replay, as_json=as_json)
    if not flags.wait:
        if not as_json:
            talk(f"a running server does it; follow it with: hookline replays show {replay['id']} --wait")
        return Exit.OK
    return Exit.OK if replay["state"] == "succeeded" and not replay["skipped"] else Exit.PARTLY_DONE


def _followed(api: ApiClient, replay: dict[str, Any]) -> dict[str, Any]:
    """The replay once it is finished. Interrupting this leaves the replay at work, and says so."""
    try:
        with Following("deliveries made") as following:
            while replay["finished_at"] is None:
                time.sleep(LOOK_EVERY_S)
                replay = api.get(f"{ROOT}/{replay['id']}")
                following.tell(replay["made"], replay["total"])
    except KeyboardInterrupt:
        talk(f"\nit goes on; follow it again with: hookline replays show {replay['id']} --wait")
        raise
    return replay


def _but(skipped: dict[str, int]) -> str:
    return f", leaving out {', '.join(f'{count} ({reason})' for reason, count in skipped.items())}" if skipped else ""


def _print(replay: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(replay)
        return
    print_facts(
        [
            ("replay", replay["id"]),
            ("state", replay["state"]),
            *(
                (name, value if isinstance(value, str) else ", ".join(value))
                for name, value in replay["filter"].items()
                if value
            ),
            ("rate", replay["rate_per_s"] and f"{replay['rate_per_s']} a second"),
            ("total", replay["total"]),
            ("made", replay["made"]),
            *((f"skipped, {reason}", count) for reason, count in replay["skipped"].items()),
            *((f"deliveries {state}", count) for state, count in replay.get("deliveries", {}).items()),
            ("created", replay["created_at"]),
            ("finished", replay["finished_at"]),
        ]
    )

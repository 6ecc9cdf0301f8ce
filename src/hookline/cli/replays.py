"""`hookline replays`: sending events of the past again, as jobs of the server."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import cyclopts
from cyclopts import Parameter

from hookline.cli import Exit
from hookline.cli.api_client import HERE, Place, segment, sender_api
from hookline.cli.parameters import AsJson
from hookline.cli.sender_commands import (
    After,
    All,
    Columns,
    DryRun,
    Limit,
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
TELL_EVERY_S: Final = 10.0
_COLUMNS: Final[Columns] = (
    ("REPLAY", "id"),
    ("STATE", "state"),
    ("TOTAL", "total"),
    ("MADE", "made"),
    ("SKIPPED", lambda item: sum(item["skipped"].values())),
    ("CREATED", "created_at"),
    ("FINISHED", "finished_at"),
)

State: TypeAlias = Literal["succeeded", "failed", "canceled", "never"]
Since = Annotated[str | None, Parameter(help="Published since: a time, or how long ago: 15m, 2h, 3d.")]
Until = Annotated[str | None, Parameter(help="Published before.")]
Types = Annotated[str | None, Parameter("--type", help="Type names or patterns such as dsync.*; comma separated.")]
Endpoints = Annotated[str | None, Parameter("--endpoint", help="Ids of endpoints, comma separated; else all.")]
Rate = Annotated[int | None, Parameter(help="Deliveries a second at most.")]
Wait = Annotated[bool, Parameter("--wait", negative=(), help="Stay until it is finished, and say how it goes.")]


@replays.command(name="list")
def list_(
    *,
    limit: Limit = 20,
    after: After = None,
    every_page: All = False,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """The newest first."""
    with sender_api(place) as api:
        show_list(
            api, ROOT, _COLUMNS, limit=limit, after=after, every_page=every_page, as_json=as_json, empty="no replays"
        )


@replays.command
def show(replay: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """How far one came, and what became of its deliveries.

    Parameters
    ----------
    replay:
        Its id.
    """
    with sender_api(place) as api:
        _print(api.get(f"{ROOT}/{segment(replay)}"), as_json=as_json)


@replays.command
def create(
    *,
    since: Since = None,
    until: Until = None,
    types: Types = None,
    endpoints: Endpoints = None,
    states: Annotated[
        str | None,
        Parameter(
            "--state",
            help="How the newest delivery ended: succeeded, failed, canceled, never; comma separated; else any.",
        ),
    ] = None,
    rate_per_s: Rate = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Wait = False,
    place: Place = HERE,
    as_json: AsJson = False,
) -> int:
    """Send events of the past to endpoints again: the same event ids, freshly signed."""
    with sender_api(place) as api:
        return start(
            api,
            selection(since, until, types, endpoints, words(states)),
            rate_per_s=rate_per_s,
            dry_run=dry_run,
            yes=yes,
            wait=wait,
            as_json=as_json,
        )


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


def selection(
    since: str | None, until: str | None, types: str | None, endpoints: str | None, states: Sequence[str] | None
) -> dict[str, Any]:
    """The filter of a replay, from flags."""
    chosen = {
        "since": moment("--since", since),
        "until": moment("--until", until),
        "events": words(types),
        "endpoints": words(endpoints),
        "states": None if states is None else list(states),
    }
    return {name: value for name, value in chosen.items() if value is not None}


def start(
    api: ApiClient,
    chosen: dict[str, Any],
    *,
    rate_per_s: int | None,
    dry_run: bool,
    yes: bool,
    wait: bool,
    as_json: bool,
) -> int:
    """Count, ask, and begin a replay; with `wait`, follow it to its end: 0, or 6 where some of it was left out."""
    preview = api.post(ROOT, {"filter": chosen, "dry_run": True})
    if dry_run or preview["to_make"] == 0:
        if as_json:
            print_json(preview)
        else:
            print(f"would make {preview['to_make']} deliveries{_but(preview['skipped'])}")
        return Exit.OK
    if not is_sure(f"Make {preview['to_make']} deliveries{_but(preview['skipped'])}?", yes=yes):
        return Exit.FAILED
    body = {"filter": chosen} | ({} if rate_per_s is None else {"rate_per_s": rate_per_s})
    replay = api.post(ROOT, body)
    if wait:
        replay = _followed(api, replay)
    _print(replay, as_json=as_json)
    if not wait:
        if not as_json:
            print(f"a running server does it; look at it with: hookline replays show {replay['id']}", file=sys.stderr)
        return Exit.OK
    return Exit.OK if replay["state"] == "succeeded" and not replay["skipped"] else Exit.PARTLY_DONE


def _followed(api: ApiClient, replay: dict[str, Any]) -> dict[str, Any]:
    """The replay once it is finished. Interrupting this leaves the replay at work, and says so."""
    told_s = time.monotonic()
    try:
        while replay["finished_at"] is None:
            time.sleep(LOOK_EVERY_S)
            replay = api.get(f"{ROOT}/{replay['id']}")
            if sys.stderr.isatty() or time.monotonic() - told_s >= TELL_EVERY_S:
                told_s = time.monotonic()
                end = "\r" if sys.stderr.isatty() else "\n"
                print(f"{replay['made']} of {replay['total']} made", end=end, file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print(f"\nit goes on; look at it with: hookline replays show {replay['id']}", file=sys.stderr)
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

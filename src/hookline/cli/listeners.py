"""`hookline listeners`: who hears the feed on their own machine, by `hookline listen`."""

from __future__ import annotations

from typing import Any, Final

import cyclopts

from hookline.cli import Exit
from hookline.cli.api_client import HERE, Place, segment, sender_api
from hookline.cli.parameters import AsJson
from hookline.cli.sender_commands import FIRST, Columns, Pages, Yes, is_sure, show_list
from hookline.cli.tables import print_facts, print_json

listeners = cyclopts.App(name="listeners", help="Who listens on their own machine: list, show, rotate secrets, remove.")

ROOT: Final = "/api/v1/listeners"
_COLUMNS: Final[Columns] = (
    ("LISTENER", "name"),
    ("CONNECTED", lambda item: "yes" if item["is_connected"] else "no"),
    ("LAST SEEN", "last_seen_at"),
    ("EVENTS", lambda item: ", ".join(item["events"])),
    ("ANSWERED", "answered"),
    ("SUCCEEDED", "succeeded"),
)


@listeners.command(name="list")
def list_(*, pages: Pages = FIRST, place: Place = HERE, as_json: AsJson = False) -> None:
    """The newest first."""
    with sender_api(place) as api:
        show_list(api, ROOT, _COLUMNS, pages=pages, as_json=as_json, empty="no listeners")


@listeners.command
def show(listener: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """One listener, and what it missed; its secret is masked.

    Parameters
    ----------
    listener:
        Its name.
    """
    with sender_api(place) as api:
        _print(api.get(_path(listener)), as_json=as_json)


@listeners.command
def add(listener: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """Make a listener before it first listens, where there is none of that name.

    Parameters
    ----------
    listener:
        What to call it: letters, digits and any of . _ @ + -
    """
    with sender_api(place) as api:
        _print(api.put(_path(listener), None), as_json=as_json)


@listeners.command
def reveal_secret(listener: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """Print its secret in clear; the audit trail keeps that it was asked for.

    Parameters
    ----------
    listener:
        Its name.
    """
    with sender_api(place) as api:
        answer = api.post(_path(listener, "reveal_secret"))
    if as_json:
        print_json(answer)
    else:
        print(answer["secret"])


@listeners.command
def rotate_secret(listener: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """Give it another secret, which signs from now on: there is no overlap.

    Parameters
    ----------
    listener:
        Its name.
    """
    with sender_api(place) as api:
        _print(api.post(_path(listener, "rotate_secret")), as_json=as_json)


@listeners.command
def remove(listener: str, /, *, yes: Yes = False, place: Place = HERE, as_json: AsJson = False) -> int:
    """Forget a listener, its secret and how far it came; a connection it has ends.

    Parameters
    ----------
    listener:
        Its name.
    """
    if not is_sure(f"Remove {listener}?", yes=yes):
        return Exit.FAILED
    with sender_api(place) as api:
        api.delete(_path(listener))
    if as_json:
        print_json({"name": listener, "removed": True})
    else:
        print(f"removed: {listener}")
    return Exit.OK


def _path(listener: str, action: str = "") -> str:
    return f"{ROOT}/{segment(listener)}" + (f"/{action}" if action else "")


def _print(listener: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(listener)
        return
    names = (
        "name", "environment", "secret", "events", "is_connected", "last_seen_at", "missed", "missed_since", "gone",
        "answered", "succeeded", "last_answer_at", "created_at",
    )  # fmt: skip
    shown = {**listener, "events": ", ".join(listener["events"])}
    print_facts([(name, shown[name]) for name in names])

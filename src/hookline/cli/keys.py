"""`hookline keys` and `hookline audit`: who may call the API, and who did what."""

from __future__ import annotations

from typing import Annotated, Any, Final

import cyclopts
from cyclopts import Parameter

from hookline.cli import Exit
from hookline.cli.api_client import HERE, Place, segment, sender_api
from hookline.cli.parameters import AsJson
from hookline.cli.sender_commands import FIRST, Columns, Pages, Yes, is_sure, show_list
from hookline.cli.tables import print_facts, print_json

keys = cyclopts.App(name="keys", help="API keys: list, create, revoke.")

ROOT: Final = "/api/v1/api_keys"
_COLUMNS: Final[Columns] = (
    ("KEY", "id"),
    ("NAME", "name"),
    ("HINT", "hint"),
    ("CREATED", "created_at"),
    ("LAST USED", "last_used_at"),
    ("REVOKED", "revoked_at"),
)


@keys.command(name="list")
def list_(
    *,
    pages: Pages = FIRST,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Keys that were made, revoked ones too; those of the configuration are nowhere stored."""
    with sender_api(place) as api:
        show_list(api, ROOT, _COLUMNS, pages=pages, as_json=as_json, empty="no keys")


@keys.command
def show(key: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """One key: its name, when it was made, last used, revoked.

    Parameters
    ----------
    key:
        Its id.
    """
    with sender_api(place) as api:
        _print(api.get(f"{ROOT}/{segment(key)}"), as_json=as_json)


@keys.command
def create(
    *,
    name: Annotated[str | None, Parameter(help="To tell it from others.")] = None,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it: a production key for the only time."""
    with sender_api(place) as api:
        _print(api.post(ROOT, None if name is None else {"name": name}), as_json=as_json)


@keys.command
def reveal(key: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """Print a staging key once more; the audit trail keeps that it was asked for.

    Parameters
    ----------
    key:
        Its id.
    """
    with sender_api(place) as api:
        _print(api.post(f"{ROOT}/{segment(key)}/reveal"), as_json=as_json)


@keys.command
def revoke(key: str, /, *, yes: Yes = False, place: Place = HERE, as_json: AsJson = False) -> int:
    """Revoke a key: every process refuses it within 5 s.

    Parameters
    ----------
    key:
        Its id.
    """
    if not is_sure(f"Revoke {key}?", yes=yes):
        return Exit.FAILED
    with sender_api(place) as api:
        api.delete(f"{ROOT}/{segment(key)}")
    if as_json:
        print_json({"id": key, "revoked": True})
    else:
        print(f"revoked: {key}")
    return Exit.OK


def audit(
    *,
    action: str | None = None,
    object_id: Annotated[str | None, Parameter("--object")] = None,
    pages: Pages = FIRST,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Who did what, newest first.

    Parameters
    ----------
    action:
        Only these, as endpoint.created.
    object_id:
        Only what was done to this.
    """
    columns: Columns = (("AT", "at"), ("WHO", "actor"), ("WHAT", "action"), ("OBJECT", "object_id"))
    with sender_api(place) as api:
        show_list(
            api,
            "/api/v1/audit",
            columns,
            query={"action": action, "object_id": object_id},
            pages=pages,
            as_json=as_json,
            empty="nothing was done",
        )


def _print(key: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(key)
        return
    names = ("id", "name", "hint", "environment", "key", "created_at", "last_used_at", "revoked_at")
    print_facts([(name, key[name]) for name in names])

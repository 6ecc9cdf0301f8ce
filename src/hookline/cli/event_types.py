"""`hookline events types`: which types there are, and what is said of them: schema, mode, sample, description."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import cyclopts
from cyclopts import Parameter

from hookline.cli import Exit
from hookline.cli.api_client import HERE, Place, segment, sender_api
from hookline.cli.parameters import AsJson
from hookline.cli.sender_commands import Columns, Yes, is_sure, payload, print_rows
from hookline.cli.tables import print_facts, print_json
from hookline.errors import ConfigError

types = cyclopts.App(name="types", help="The types there are, their schemas and samples: list, describe, forget.")

ROOT: Final = "/api/v1/event_types"
_COLUMNS: Final[Columns] = (
    ("TYPE", "name"),
    ("ORIGIN", "origin"),
    ("RESOURCE", "resource"),
    ("BY WEBHOOK", lambda item: "yes" if item["subscribable"] else "no"),
    ("SCHEMA", lambda item: item["mode"] if item["has_schema"] else "-"),
    ("SAMPLE", lambda item: "yes" if item["has_sample"] else "no"),
)

Mode = Literal["off", "warn", "reject"]


@types.default
def list_(
    part: Annotated[str | None, Parameter(help="Only those with this in their name.")] = None,
    /,
    *,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """The catalogue's types and your own, with what their schemas do and whether there is a sample to test with."""
    with sender_api(place) as api:
        found = api.get(ROOT)
    if part is not None:
        found["data"] = [item for item in found["data"] if part in item["name"]]
    if as_json:
        print_json(found)
    else:
        print_rows(found["data"], _COLUMNS, empty="no such type")


@types.command
def show(name: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """One type, its schema and its sample.

    Parameters
    ----------
    name:
        As dsync.user.created or invoice.paid.
    """
    with sender_api(place) as api:
        _print(api.get(_path(name)), as_json=as_json)


@types.command
def put(
    name: str,
    schema: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    mode: Annotated[Mode | None, Parameter(help="What an event that breaks it gets; reject unless told.")] = None,
    sample: Annotated[
        str | None,
        Parameter(allow_leading_hyphen=True, help="File with the data of a test event; - as for the schema."),
    ] = None,
    description: Annotated[str | None, Parameter(help="What it tells of.")] = None,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Describe a type, in place of all that was said of it before.

    Parameters
    ----------
    name:
        As invoice.paid; one of the catalogue can be described too.
    schema:
        File with a JSON Schema (Draft 2020-12) of its data; - reads standard input.
    """
    if schema == sample == "-":
        raise ConfigError("--sample", "expected a file, since standard input is the schema")
    given: dict[str, Any] = {"mode": mode, "description": description}
    given["schema"] = None if schema is None else payload(schema)
    given["sample"] = None if sample is None else payload(sample)
    body = {field: value for field, value in given.items() if value is not None}
    with sender_api(place) as api:
        _print(api.put(_path(name), body), as_json=as_json)


@types.command(name="mode")
def set_mode(name: str, mode: Mode, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """Say what an event that breaks the schema gets; schema, sample and description stay.

    Parameters
    ----------
    name:
        A type that has been described.
    mode:
        off: nothing. warn: it is taken, with a warning in the answer and in the log. reject: it is refused.
    """
    with sender_api(place) as api:
        _print(api.patch(_path(name), {"mode": mode}), as_json=as_json)


@types.command
def delete(name: str, /, *, yes: Yes = False, place: Place = HERE, as_json: AsJson = False) -> int:
    """Forget what was said of a type: its events are still taken, unchecked.

    Parameters
    ----------
    name:
        Which.
    """
    if not is_sure(f"Forget schema, sample and description of {name}?", yes=yes):
        return Exit.FAILED
    with sender_api(place) as api:
        api.delete(_path(name))
    if as_json:
        print_json({"name": name, "deleted": True})
    else:
        print(f"forgotten: {name}")
    return Exit.OK


def _path(name: str) -> str:
    return f"{ROOT}/{segment(name)}"


def _print(item: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(item)
        return
    names = ("name", "origin", "resource", "description", "mode", "subscribers", "created_at", "updated_at")
    print_facts([(name, item[name]) for name in names])
    for name in ("schema", "sample"):
        if item[name] is not None:
            print(f"{name}:")
            print_json(item[name])

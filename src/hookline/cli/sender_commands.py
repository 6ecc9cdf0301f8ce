"""What the commands over the sender share: lists and their pages, times, confirmations, payloads."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from cyclopts import Parameter

from hookline.cli import Exit, fail, may_ask, talk
from hookline.cli.app import exit_of
from hookline.cli.parameters import moment_of, read_body
from hookline.cli.tables import print_json, print_table
from hookline.errors import ConfigError, RequestError
from hookline.wire.timestamps import format_ms, parse_us

if TYPE_CHECKING:
    from hookline.cli.api_client import ApiClient

PAGE: Final = 100
# Before the year 1 there are no times to write.
_FIRST_MS: Final = parse_us("0001-01-01T00:00:00Z") // 1_000
_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

# A column's title, and what stands in it: a key of the item, or a function of it.
Columns: TypeAlias = Sequence[tuple[str, "str | Callable[[dict[str, Any]], object]"]]

Yes: TypeAlias = Annotated[bool, Parameter("--yes", negative=(), help="Do not ask.")]
DryRun: TypeAlias = Annotated[bool, Parameter("--dry-run", negative=(), help="Only say what it would do.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Pages:
    """Which part of a list, or all of it.

    Parameters
    ----------
    limit:
        How many at most, 1 to 100.
    after:
        Go on behind the item of this id.
    every_page:
        Every page; with --json an object per line, and no list around them.
    """

    limit: int = 20
    after: str | None = None
    every_page: Annotated[bool, Parameter("--all", negative=())] = False


FIRST: Final = Pages()


def show_list(
    api: ApiClient,
    path: str,
    columns: Columns,
    *,
    query: Mapping[str, object] | None = None,
    pages: Pages,
    as_json: bool = False,
    empty: str,
) -> None:
    """Print a list of the API: one page with a word about the next, or all of them."""
    asked = {**(query or {}), "after": pages.after}
    if not pages.every_page:
        page = api.get(path, {**asked, "limit": pages.limit})
        if as_json:
            print_json(page)
            return
        print_rows(page["data"], columns, empty=empty)
        if (following := page.get("list_metadata", {}).get("after")) is not None:
            talk(f"there is more: --after {following}, or --all")
        return
    rows: list[dict[str, Any]] = []
    for page in api.pages(path, {**asked, "limit": PAGE}):
        if as_json:
            for item in page["data"]:
                print_json(item)
        else:
            rows += page["data"]
    if not as_json:
        print_rows(rows, columns, empty=empty)


def print_rows(items: Iterable[dict[str, Any]], columns: Columns, *, empty: str) -> None:
    """Print items of the API as a table."""
    print_table(
        [title for title, _ in columns],
        ([item.get(what) if isinstance(what, str) else what(item) for _, what in columns] for item in items),
        empty=empty,
    )


def each(ids: Sequence[str], act: Callable[[str], Any], word: str, *, as_json: bool) -> int:
    """Do something to each of several; 0 where all went, 6 where some did, else the code of the first refusal."""
    if not ids:
        raise ConfigError("", "expected at least one id")
    done: list[Any] = []
    refused: list[tuple[str, RequestError]] = []
    for one in ids:
        try:
            done.append(act(one))
        except RequestError as error:
            refused.append((one, error))
        else:
            if not as_json:
                print(f"{word}: {one}")
    if as_json:
        failed = [{"id": one, "code": error.code, "message": error.message} for one, error in refused]
        print_json({"done": done, "failed": failed})
    if not refused:
        return Exit.OK
    first = refused[0][1]
    code = Exit.PARTLY_DONE if done else exit_of(first)
    message = "; ".join(f"{one}: {error.message}" for one, error in refused)
    return fail(first.code or code.name.lower(), message, code, as_json=as_json)


def moment(flag: str, text: str | None) -> str | None:
    """A time as the API takes it: one given as a time, or as how long ago it was.

    Raises:
        ConfigError: under the name `flag`.
    """
    ms = moment_of(flag, text)
    return None if ms is None else format_ms(max(ms, _FIRST_MS) * 1000)


def seconds(flag: str, text: str) -> int:
    """A duration such as 90, 90s, 15m, 24h or 7d. ConfigError, under the name `flag`, for anything else."""
    if match := re.fullmatch(r"(\d{1,9})([smhd]?)", text.strip()):
        return int(match[1]) * _UNITS_MS[match[2] or "s"] // 1000
    raise ConfigError(flag, f"expected a duration as in 90s, 15m, 24h, 7d; got {text[:80]!r}")


def words(text: str | None) -> list[str] | None:
    """A comma separated list; None where it was not given."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def payload(file: str) -> Any:
    """JSON out of a file, or - for standard input. ConfigError where it is none."""
    try:
        return json.loads(read_body(file))
    except ValueError as error:
        raise ConfigError(file, f"expected JSON: {error}") from None


def is_sure(question: str, *, yes: bool) -> bool:
    """Ask before what cannot be taken back.

    Raises:
        ConfigError: nobody is there to be asked, and --yes was not given.
    """
    if yes:
        return True
    if not may_ask():
        raise ConfigError("--yes", f"{question} Expected --yes, since nobody is there to ask")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}

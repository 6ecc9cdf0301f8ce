"""Rows written out, one after the other: csv, a JSON object a line, or Parquet. What is kept of them is one batch.

A file appears under its name when it is whole; what an interrupted export has written is taken away.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from cyclopts import Parameter

from hookline.cli.progress import Following
from hookline.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

Format: TypeAlias = Literal["csv", "jsonl", "parquet"]
FormatFlag: TypeAlias = Annotated[
    Format,
    Parameter("--format", help="csv with a head line, jsonl: an object a line, or parquet (needs hookline[parquet])."),
]
Output: TypeAlias = Annotated[
    Path | None, Parameter(name=("--output", "--to"), help="Write to this file; else to standard output.")
]

ROWS_AT_ONCE: Final = 1_000


def export_rows(
    names: Sequence[str], rows: Iterable[Mapping[str, Any]], format_: Format, output: Path | None, *, what: str
) -> int:
    """Write rows out, and say how many there were. Values that are no scalar are JSON: as text in csv and Parquet.

    Args:
        names: the columns, in order.
        what: what they are, for who waits: `events`.

    Raises:
        ConfigError: the file cannot be written; Parquet without its extra, or onto a terminal.
    """
    if format_ == "parquet":
        _check_parquet(output)
    has_screen = output is not None or not sys.stdout.isatty()
    with Following(what, has_screen=has_screen) as following, _opened(output, is_text=format_ != "parquet") as out:
        counted = _counted(rows, following)
        if format_ == "jsonl":
            for row in counted:
                out.write(json.dumps({name: row.get(name) for name in names}, ensure_ascii=False) + "\n")
        elif format_ == "csv":
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([_scalar(row.get(name)) for name in names] for row in counted)
        else:
            _write_parquet(names, counted, out)
        return following.done


def _counted(rows: Iterable[Mapping[str, Any]], following: Following) -> Iterator[Mapping[str, Any]]:
    for number, row in enumerate(rows, 1):
        yield row
        following.done = number
        if number % ROWS_AT_ONCE == 0:
            following.tell(number)


def _scalar(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping | list) else value


@contextmanager
def _opened(output: Path | None, *, is_text: bool) -> Iterator[IO[Any]]:
    if output is None:
        yield sys.stdout if is_text else sys.stdout.buffer
        return
    part = output.with_name(output.name + ".part")
    try:
        # A lone surrogate, which JSON may hold, is written as JSON's own escape.
        file: IO[Any] = part.open("wb")
        if is_text:
            file = io.TextIOWrapper(file, encoding="utf-8", newline="", errors="backslashreplace")
    except OSError as error:
        raise ConfigError("--output", f"{output} cannot be written: {error.strerror}") from None
    try:
        with file:
            yield file
        part.replace(output)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _check_parquet(output: Path | None) -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ModuleNotFoundError:
        raise ConfigError("--format", "parquet needs a package more: pip install 'hookline[parquet]'") from None
    if output is None and sys.stdout.isatty():
        raise ConfigError("--output", "expected a file: parquet is nothing to read on a terminal")


def _write_parquet(names: Sequence[str], rows: Iterator[Mapping[str, Any]], out: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = list(islice(rows, ROWS_AT_ONCE))
    schema = pa.schema([(name, _type_of([row.get(name) for row in first])) for name in names])
    with pq.ParquetWriter(_Pipe(out), schema) as writer:
        left = chain(first, rows)
        while batch := list(islice(left, ROWS_AT_ONCE)):
            columns = [[_fitting(row.get(field.name), field.type) for row in batch] for field in schema]
            writer.write_batch(pa.record_batch(columns, schema=schema))


def _type_of(values: Sequence[object]) -> pa.DataType:
    """By the first batch: whole numbers, truths, or text."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    return {frozenset({bool}): pa.bool_(), frozenset({int}): pa.int64()}.get(frozenset(kinds), pa.string())


def _fitting(value: object, wanted: pa.DataType) -> object:
    """As its column takes it: a text column anything, the others what they are of."""
    import pyarrow as pa

    if value is None or wanted != pa.string():
        return value
    value = _scalar(value)
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="backslashreplace").decode()


class _Pipe:
    """Bytes for a file that may be a pipe, which cannot say where it stands."""

    closed = False

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._place = 0

    def write(self, data: bytes) -> int:
        self._out.write(data)
        self._place += len(data)
        return len(data)

    def tell(self) -> int:
        return self._place

    def flush(self) -> None:
        self._out.flush()

    def close(self) -> None:
        """The file is its owner's to close."""

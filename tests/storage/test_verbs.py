"""Verbs: named parameters, row templates, dialects."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from hookline.storage.verbs import MAX_ROWS, Verbs, compile_verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("create table t (a integer primary key, b text)")
    yield connection
    connection.close()


PUT = """-- Keeps each a once.
insert into t (a, b) values /*rows*/ (:a, coalesce(:b, ')')) on conflict do nothing returning a"""


def test_a_statement_with_names(connection: sqlite3.Connection) -> None:
    """Names are bound by value wherever they stand, also twice; text and comments are left alone."""
    verb = compile_verb(
        "x", '-- Promise.\nselect :b, \':b\', :a /* :c */, :b -- :d\n, "a:x" from (select 1 as "a:x")', "sqlite"
    )

    assert verb.run(connection, {"a": 1, "b": 2}) == [(2, ":b", 1, 2, 1)]
    assert verb.guarantee == "Promise."


def test_a_missing_name_is_an_error(connection: sqlite3.Connection) -> None:
    """A parameter nobody gave is no null."""
    with pytest.raises(KeyError):
        compile_verb("x", "-- P\nselect :a", "sqlite").run(connection, {})


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 64, 100, 2 * MAX_ROWS + 3])
def test_many_rows(connection: sqlite3.Connection, count: int) -> None:
    """Any number of rows arrives, each once, in few texts."""
    verb = compile_verb("put", PUT, "sqlite")
    got = verb.run_many(connection, [{"b": "x", "a": a} for a in range(count)])

    assert [a for (a,) in got] == list(range(count))
    assert connection.execute("select count(*) from t").fetchone() == (count,)
    assert len(verb._texts) <= 10


def test_many_rows_as_tuples(connection: sqlite3.Connection) -> None:
    """Tuples in the order of `columns` do as well."""
    verb = compile_verb("put", PUT, "sqlite")

    assert verb.columns == ("a", "b")
    assert verb.run_many(connection, [(1, "x"), (2, None)]) == [(1,), (2,)]
    assert connection.execute("select a, b from t").fetchall() == [(1, "x"), (2, ")")]


def test_common_values_around_the_rows(connection: sqlite3.Connection) -> None:
    """Parameters before and after the template are given once."""
    connection.execute("insert into t values (1, 'x'), (2, 'x')")
    verb = compile_verb(
        "set",
        "-- P\nupdate t set b = :prefix || v.column2 from (values /*rows*/ (:a, :b)) as v"
        " where t.a = v.column1 and t.b = :old",
        "sqlite",
    )
    verb.run_many(connection, [(1, "one"), (2, "two"), (3, "three")], {"prefix": "+", "old": "x"})

    assert connection.execute("select b from t order by a").fetchall() == [("+one",), ("+two",)]


def test_count(connection: sqlite3.Connection) -> None:
    """count() tells how many rows were written."""
    connection.execute("insert into t values (1, 'x'), (2, 'y')")

    assert compile_verb("x", "-- P\ndelete from t where b = :b", "sqlite").count(connection, {"b": "x"}) == 1


def test_postgres_placeholders() -> None:
    """For PostgreSQL a parameter is %s and a per cent sign is doubled, also inside text."""
    verb = compile_verb("x", "-- P\nselect :a, '5 %', 7 % :b", "postgres")

    assert verb._head.text == "select %s, '5 %%', 7 %% %s"
    assert verb._head.names == ("a", "b")


@pytest.mark.parametrize("sql", ["select 1", "-- P\nvalues /*rows*/ :a", "-- P\nvalues /*rows*/ (:a, (:b)"])
def test_a_file_that_breaks_the_rules(sql: str) -> None:
    """A file without its promise, or with a template that is none, is refused when it is loaded."""
    with pytest.raises(ValueError, match=r"x\.sql"):
        compile_verb("x", sql, "sqlite")


def test_run_many_needs_a_template(connection: sqlite3.Connection) -> None:
    """A verb for one row says so."""
    with pytest.raises(TypeError, match="row template"):
        compile_verb("x", "-- P\nselect 1", "sqlite").run_many(connection, [(1,)])


@pytest.mark.parametrize("package", ["hookline.sender", "hookline.receiver"])
def test_every_verb_of_ours_compiles(package: str) -> None:
    """Each .sql file of both ends keeps the rules."""
    for verb in Verbs(package, "sqlite").values():
        assert len(verb.guarantee) > 10, verb.name


def test_one_verb_for_tables_that_are_alike(
    connection: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words are filled in, a dialect's file stands in the place of the common one, and neither is a verb by itself."""
    folder = tmp_path / "package_of_verbs" / "sql"
    for place, text in (("each", "select :a, '{word}' from {table}"), ("postgres/each", "select :a from {table} p")):
        (folder / place).mkdir(parents=True)
        (folder / place / "look.sql").write_text(f"-- Looks at a table.\n{text}")
    (tmp_path / "package_of_verbs" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    connection.execute("insert into t values (1, 'x')")
    words = {"table": "t", "word": "one"}

    verbs = Verbs("package_of_verbs", "sqlite")
    assert verbs.filled("each", "look", words).run(connection, {"a": 5}) == [(5, "one")]
    assert verbs.filled("each", "look", {**words, "word": "other"}).run(connection, {"a": 6}) == [(6, "other")]
    assert Verbs("package_of_verbs", "postgres").filled("each", "look", words)._head.text == "select %s from t p"
    assert len(verbs) == 0
    with pytest.raises(KeyError, match="word"):
        verbs.filled("each", "look", {"table": "t"})
    with pytest.raises(KeyError, match="other"):
        verbs.filled("each", "other", words)

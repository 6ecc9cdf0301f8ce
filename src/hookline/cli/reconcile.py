"""`hookline backfill` and `hookline reconcile`: fill the mirror from the source, compare the two, put it right."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any, Final, TypeAlias

import cyclopts
from cyclopts import Parameter

from hookline.cli import Exit, fail, talk
from hookline.cli.parameters import AsJson
from hookline.cli.progress import Following
from hookline.cli.receiver_app import AppName, DatabaseUrl, receiver_in_force
from hookline.cli.reconciling import (
    print_applied,
    print_items,
    print_pass,
    print_passes,
    print_values,
    tell_pass,
)
from hookline.cli.tables import print_json
from hookline.errors import ConfigError
from hookline.receiver.drift import DriftItem
from hookline.receiver.drift_words import summary
from hookline.receiver.listing import MassDelete
from hookline.receiver.pass_store import Kind, Mode, Pass
from hookline.receiver.reconcile import Reconciler, Report

reconcile = cyclopts.App(
    name="reconcile",
    help="Compare the mirror with all that the source lists, say where and why they differ, and put it right.",
)

SHOWN: Final = 50
DIFFERENCES: Final = ("missing", "extra", "differs")
ASKED_BY: Final = "command"

OneSource: TypeAlias = Annotated[
    str | None, Parameter("--source", help="Of this source; needed only where there are several.")
]
Directory: TypeAlias = Annotated[
    str | None, Parameter("--directory", help="The id of one directory, to read it alone.")
]
Resume: TypeAlias = Annotated[int | None, Parameter(help="Go on with the pass of this number.")]
AllowMassDelete: TypeAlias = Annotated[
    bool,
    Parameter(
        "--allow-mass-delete", negative=(), help="Let go whatever is gone at the source, however much of a list it is."
    ),
]
Values: TypeAlias = Annotated[
    bool, Parameter("--values", negative=(), help="Also the values that differ: personal data.")
]


def backfill(
    *,
    directory: Directory = None,
    resume: Resume = None,
    allow_mass_delete: AllowMassDelete = False,
    source: OneSource = None,
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> int:
    """Read all that the source lists into the mirror. It can be interrupted at any time and goes on where it stood.

    Exit 0 done, 1 stopped with a reason, 130 interrupted.
    """
    with _reconciler(app, database_url, source) as reconciler:
        report = _run(
            reconciler, "backfill", "apply", directory, resume, allow_mass_delete=allow_mass_delete, as_json=as_json
        )
    return _ended(report, as_json=as_json)


@reconcile.default
def run(
    *,
    directory: Directory = None,
    dry_run: Annotated[
        bool, Parameter("--dry-run", negative=(), help="Only say where they differ. The default.")
    ] = False,
    apply: Annotated[bool, Parameter("--apply", negative=(), help="Put the mirror right.")] = False,
    resume: Resume = None,
    allow_mass_delete: AllowMassDelete = False,
    values: Values = False,
    source: OneSource = None,
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> int:
    """Compare the mirror with the source; with --apply put it right.

    Exit 0 equal or put right, 1 stopped with a reason, 5 they differ, 130 interrupted.
    """
    if dry_run and apply:
        raise ConfigError("--apply", "expected without --dry-run")
    if resume is not None and (dry_run or apply):
        raise ConfigError("--resume", "expected without --apply and --dry-run: a pass goes on as it was begun")
    if allow_mass_delete and not (apply or resume is not None):
        raise ConfigError("--allow-mass-delete", "expected with --apply: a dry run deletes nothing")
    mode: Mode = "apply" if apply else "dry_run"
    with _reconciler(app, database_url, source) as reconciler:
        report = _run(
            reconciler, "reconcile", mode, directory, resume, allow_mass_delete=allow_mass_delete, as_json=as_json
        )
        if report.pass_.state != "completed" or report.pass_.mode == "apply":
            return _ended(report, as_json=as_json)
        _say_report(reconciler, report, values=values, as_json=as_json)
    return Exit.DRIFT if report.has_drift else Exit.OK


@reconcile.command(name="list")
def list_(
    *,
    limit: Annotated[int, Parameter(help="At most so many.")] = 20,
    source: Annotated[str | None, Parameter("--source", help="Of this source alone; else of all.")] = None,
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """The newest passes first, those of the schedule, too."""
    with receiver_in_force(app, database_url) as receiver:
        passes = receiver.passes(source, limit=limit)
    if as_json:
        print_json([_pass_json(one) for one in passes])
    else:
        print_passes(passes)


@reconcile.command
def show(
    pass_id: Annotated[int | None, Parameter("pass", help="Its number; else the newest.")] = None,
    /,
    *,
    every: Annotated[bool, Parameter("--all", negative=(), help="All items, not only the first.")] = False,
    values: Values = False,
    source: OneSource = None,
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> int:
    """How a pass stands and what it found; without a number the newest dry run. Exit 3 where there is none."""
    with _reconciler(app, database_url, source) as reconciler:
        pass_ = _pass_of(reconciler, pass_id)
        if pass_ is None:
            return _no_pass(pass_id, as_json=as_json)
        report = reconciler.report(pass_)
        if as_json:
            _say_report(reconciler, report, values=values, as_json=True)
            return Exit.OK
        print_pass(pass_)
        print()
        _say_report(reconciler, report, values=values, every=every)
    return Exit.OK


@reconcile.command
def heal(
    *items: Annotated[int, Parameter("item")],
    every: Annotated[bool, Parameter("--all", negative=(), help="All that are open of a dry run.")] = False,
    pass_id: Annotated[int | None, Parameter("--pass", help="Of this dry run, else of the newest.")] = None,
    allow_mass_delete: AllowMassDelete = False,
    source: OneSource = None,
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> int:
    """Ask the source about items of a dry run and put them right. Exit 6 where some still differ.

    Parameters
    ----------
    items:
        Their numbers, as `hookline reconcile show` gives them.
    """
    if every == bool(items):
        raise ConfigError("heal", "expected the numbers of items, or --all")
    with _reconciler(app, database_url, source) as reconciler:
        if every:
            pass_ = _pass_of(reconciler, pass_id)
            if pass_ is None:
                return _no_pass(pass_id, as_json=as_json)
            chosen = list(reconciler.items(pass_.row_id, state="open", kinds=DIFFERENCES))
        else:
            chosen = _items(reconciler, items)
        try:
            done = reconciler.heal(chosen, allow_mass_delete=allow_mass_delete)
        except MassDelete as guard:
            message = f"{guard}; with it: --allow-mass-delete. Nothing was changed"
            return fail("mass_delete", message, Exit.FAILED, as_json=as_json)
    if as_json:
        print_json(
            {
                "healed": [_item_json(one) for one in done.healed],
                "left": [_item_json(one) for one in done.left],
                "why": done.why,
            }
        )
    else:
        print(f"healed {len(done.healed):,}, left {len(done.left):,}" + (f": {done.why}" if done.why else ""))
        print_items(done.left[:SHOWN])
    return Exit.PARTLY_DONE if done.left else Exit.OK


@reconcile.command
def ignore(
    *items: Annotated[int, Parameter("item")],
    note: Annotated[str, Parameter(help="Why: it is shown with them from now on.")],
    source: OneSource = None,
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> int:
    """Leave items as they are, in later passes too, until they differ otherwise.

    Parameters
    ----------
    items:
        Their numbers, as `hookline reconcile show` gives them.
    """
    if not items:
        raise ConfigError("ignore", "expected the numbers of items")
    with _reconciler(app, database_url, source) as reconciler:
        count = reconciler.ignore(_items(reconciler, items), note)
    if as_json:
        print_json({"ignored": count})
    else:
        print(f"ignored {count}")
    return Exit.OK if count == len(set(items)) else Exit.PARTLY_DONE


@reconcile.command
def cancel(
    pass_id: Annotated[int, Parameter("pass", help="Its number.")],
    /,
    *,
    source: OneSource = None,
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> int:
    """End a pass for good; what it did stays. Exit 3 where none of that number runs or has stopped."""
    with _reconciler(app, database_url, source) as reconciler:
        if not reconciler.cancel(pass_id, asked_by=ASKED_BY):
            return fail("not_found", f"no pass {pass_id} that runs or has stopped", Exit.NOT_FOUND, as_json=as_json)
    if as_json:
        print_json({"canceled": pass_id})
    else:
        print(f"canceled pass {pass_id}")
    return Exit.OK


@contextmanager
def _reconciler(app: str | None, database_url: str | None, source: str | None) -> Iterator[Reconciler]:
    with receiver_in_force(app, database_url) as receiver, receiver.reconciler(source) as reconciler:
        yield reconciler


def _run(
    reconciler: Reconciler,
    kind: Kind,
    mode: Mode,
    directory_id: str | None,
    resume: int | None,
    *,
    allow_mass_delete: bool,
    as_json: bool,
) -> Report:
    if resume is not None and directory_id is not None:
        raise ConfigError("--resume", "expected without --directory: a pass goes on as it was begun")
    if resume is None:
        pass_id = reconciler.passes.start(
            kind, mode, directory_id=directory_id, allow_mass_delete=allow_mass_delete, asked_by=ASKED_BY
        )
    else:
        pass_id = resume
        known = reconciler.read(pass_id)
        if known is None or not reconciler.passes.resume(pass_id, allow_mass_delete=allow_mass_delete):
            raise ConfigError("--resume", f"no pass {pass_id} that runs or has stopped: `hookline reconcile list`")
    try:
        if as_json:
            return reconciler.follow(pass_id, tell=None)
        with Following("objects", at_once=True) as following:
            return reconciler.follow(pass_id, tell=lambda progress: tell_pass(following, progress))
    except KeyboardInterrupt:
        talk(
            f"\ninterrupted; a worker goes on with pass {pass_id} where it stands, or: "
            f"hookline {kind} --resume {pass_id}"
        )
        raise


def _ended(report: Report, *, as_json: bool) -> int:
    """What a pass that puts things right, or did not come to its end, is told as."""
    pass_ = report.pass_
    if as_json:
        print_json(_pass_json(pass_))
    elif pass_.mode == "apply":
        print_applied(pass_)
    if pass_.state == "completed":
        return Exit.OK
    again = f"hookline {pass_.kind} --resume {pass_.row_id}"
    message = f"pass {pass_.row_id} was {pass_.state}: {pass_.reason}"
    if pass_.state == "stopped":
        message += f"; go on with: {again}"
    return fail(pass_.state, message, Exit.FAILED, as_json=as_json)


def _say_report(
    reconciler: Reconciler, report: Report, *, values: bool = False, every: bool = False, as_json: bool = False
) -> None:
    pass_ = report.pass_
    items = reconciler.items(pass_.row_id)
    if as_json:
        print_json(
            {
                **_pass_json(pass_),
                "items": [
                    {**_item_json(one), **({"values": reconciler.values(one)} if values else {})} for one in items
                ],
            }
        )
        return
    shown = list(items if every else itertools.islice(items, SHOWN))
    print_items(shown)
    if values:
        for one in shown:
            if one.kind == "differs":
                print(one.object_id)
                print_values(reconciler.values(one))
    total = sum(count for *_, count in report.found)
    if total > len(shown):
        print(f"… and {total - len(shown):,} more: hookline reconcile show {pass_.row_id} --all")
    print(summary(report))
    if report.has_drift and pass_.mode == "dry_run":
        print(
            f"Nothing was changed. Put right with: hookline reconcile --apply, or these: "
            f"hookline reconcile heal --all --pass {pass_.row_id}"
        )


def _pass_of(reconciler: Reconciler, pass_id: int | None) -> Pass | None:
    return reconciler.newest_report() if pass_id is None else reconciler.read(pass_id)


def _no_pass(pass_id: int | None, *, as_json: bool) -> int:
    what = "no dry run that came to its end" if pass_id is None else f"no pass {pass_id}"
    return fail("not_found", f"{what}: see `hookline reconcile list`", Exit.NOT_FOUND, as_json=as_json)


def _items(reconciler: Reconciler, numbers: tuple[int, ...]) -> list[DriftItem]:
    found = {number: reconciler.item(number) for number in dict.fromkeys(numbers)}
    if unknown := [str(number) for number, one in found.items() if one is None]:
        raise ConfigError("item", f"no item {', '.join(unknown)}: see `hookline reconcile show`")
    return [one for one in found.values() if one is not None]


def _pass_json(pass_: Pass) -> dict[str, Any]:
    return asdict(pass_)


def _item_json(item: DriftItem) -> dict[str, Any]:
    return asdict(item)

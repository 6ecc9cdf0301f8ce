"""A mirror made equal to a source it has never heard of, and put right after changes that nobody told it of: 100,000
users, 2,000 groups and 500,000 memberships, by `hookline backfill` and `hookline reconcile` over HTTP.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.databases import Databases, opened
from bench.served import API_KEY, Served, serving

from hookline.loop import SystemClock
from hookline.sender.directories import MAX_OPERATIONS, Directories
from hookline.sender.directory_changes import (
    AddMember,
    CreateGroup,
    CreateUser,
    DeleteGroup,
    DeleteUser,
    IdpId,
    Operation,
    RemoveMember,
    UpdateUser,
)
from hookline.sender.ids import IdMaker
from hookline.sender.store import SenderStore
from hookline.storage import Database, connect
from hookline.storage.migrate import migrate
from hookline.wire.timestamps import format_ms
from soak.report import Report

USERS: Final = 100_000
GROUPS: Final = 2_000
MEMBERSHIPS: Final = 500_000
DIRECTORIES: Final = 10
ENVIRONMENT: Final = "production"
LOOK_S: Final = 0.1
PATIENCE_S: Final = 3_600.0
_INTRODUCTION = """\
# A mirror and a source that never told it anything

The source holds {users:,} users, {groups:,} groups and {memberships:,} memberships in {directories} directories; no
webhook of any of it was ever sent. `hookline backfill` fills an empty mirror over HTTP from `hookline serve sender` on
the same machine, is killed with SIGKILL when half of the users are there, and is told to go on, which it does when the
lease of the killed process has passed, a minute later (that minute is in the time below). Then, without an event,
{share:,} users are changed at the source, as many deleted and as many made, as many memberships ended and as many made,
and {dissolved:,} groups deleted: `hookline reconcile` says where the mirror differs, `hookline reconcile --apply` puts
it right. Both ends keep their data on {database}. The limit of WorkOS, 4 requests a second for each directory's users,
is off at both ends: by it alone the {pages:,} pages of users and members would take {limited:.0f} minutes.
"""


@dataclass(slots=True)
class Ran:
    """One run of a command: `most_mb` is the most it held of memory."""

    took_s: float
    code: int
    told: dict[str, Any]
    most_mb: float
    stderr: str = ""


@dataclass(slots=True)
class Truth:
    """The sizes that were drawn, and who is where."""

    directories: list[str] = field(default_factory=list)
    users: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    pairs: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


def soak(*, seed: int, scale: float, say: Callable[[str], None], database: str = "sqlite") -> Report:
    """Run it.

    Args:
        seed: who is in which group.
        scale: multiplies the numbers of users, groups and memberships.
        say: told how far it is.
        database: of both ends: `sqlite`, or `postgresql`: the system's own, started for it, with fsync.
    """
    sizes = [max(DIRECTORIES * 2, round(size * scale)) for size in (USERS, GROUPS, MEMBERSHIPS)]
    rng = random.Random(seed)
    with (
        opened("sqlite" if database == "sqlite" else "postgres") as databases,
        databases.fresh() as sender_url,
        databases.fresh() as receiver_url,
    ):
        return _soak(databases, sender_url, receiver_url, rng, sizes, say)


def _soak(
    databases: Databases,
    sender_url: str,
    receiver_url: str,
    rng: random.Random,
    sizes: Sequence[int],
    say: Callable[[str], None],
) -> Report:
    sender, receiver = connect(sender_url), connect(receiver_url)
    try:
        migrate(sender, "sender", "hookline.sender")
        migrate(receiver, "receiver", "hookline.receiver")
        source = Directories(sender, SenderStore(sender.dialect), clock=SystemClock(), ids=IdMaker(), is_silent=True)
        truth = _fill(source, rng, *sizes)
        say(f"reconcile: the source is filled, {sum(map(len, truth.pairs.values())):,} memberships")
        report = Report(_introduction(databases, sizes).splitlines())
        report.lines += [
            "",
            "| | took | requests | requests/s | MiB, most | equal | exit |",
            "|---|---|---|---|---|---|---|",
        ]
        with serving(databases, sender_url, "sender") as served:
            end = _Receiver(receiver_url, served)
            half = sizes[0] // 2
            killed = end.run("backfill", until=lambda: _count(receiver, "hookline_directory_users") > half)
            say(f"reconcile: killed after {killed.took_s:.0f} s")
            ran = end.run("backfill", "--resume", "1")
            ran.took_s, ran.most_mb = ran.took_s + killed.took_s, max(ran.most_mb, killed.most_mb)
            _tell(report, "`backfill`, killed once and resumed", ran, sender, receiver, expected=0)
            say(f"reconcile: filled, {report.lines[-1]}")
            changed = _change(source, truth, rng)
            looked = end.run("reconcile")
            _tell(report, "`reconcile`", looked, sender, receiver, expected=5, is_equal=False)
            say(f"reconcile: looked, {report.lines[-1]}")
            _tell(report, "`reconcile --apply`", end.run("reconcile", "--apply"), sender, receiver, expected=0)
            say(f"reconcile: put right, {report.lines[-1]}")
            _tell(report, "`reconcile` once more", end.run("reconcile"), sender, receiver, expected=0)
            _check_drift(report, looked, changed)
            report.lines.append(f"The sender held {served.rss_mb():.0f} MiB at the end.")
        return report
    finally:
        sender.close()
        receiver.close()


# -- the source ------------------------------------------------------------------------------------------------


def _fill(source: Directories, rng: random.Random, users: int, groups: int, memberships: int) -> Truth:
    truth = Truth()
    organization = source.create_organization(ENVIRONMENT, name="Acme")
    for place in range(DIRECTORIES):
        directory = source.create_directory(
            ENVIRONMENT, organization_id=organization.id, name=f"Directory {place}", type="okta scim v2.0"
        )
        id_ = directory.id
        truth.directories.append(id_)
        truth.users[id_] = [f"u{place}-{number}" for number in range(users // DIRECTORIES)]
        truth.groups[id_] = [f"g{place}-{number}" for number in range(groups // DIRECTORIES)]
        _apply(source, id_, (CreateUser(_person(name)) for name in truth.users[id_]))
        _apply(source, id_, (CreateGroup({"idp_id": name, "name": f"Team {name}"}) for name in truth.groups[id_]))
        wanted: dict[tuple[str, str], None] = {}
        most = len(truth.users[id_]) * len(truth.groups[id_]) // 2  # small scales have fewer pairs than are asked for
        while len(wanted) < min(memberships // DIRECTORIES, most):
            wanted[rng.choice(truth.groups[id_]), rng.choice(truth.users[id_])] = None
        truth.pairs[id_] = list(wanted)
        _apply(source, id_, (AddMember(IdpId(group), IdpId(user)) for group, user in truth.pairs[id_]))
    return truth


def _person(name: str, job_title: str = "Engineer") -> dict[str, Any]:
    return {
        "idp_id": name,
        "email": f"{name}@acme.example",
        "first_name": "Ada",
        "last_name": f"Number {name}",
        "job_title": job_title,
        "state": "active",
        "custom_attributes": {"department": "Engineering", "cost_center": name},
    }


@dataclass(slots=True)
class Changed:
    """What was changed without a word: how many of each a drift report has to name."""

    users: int = 0
    left: int = 0
    came: int = 0
    ended: int = 0
    made: int = 0
    dissolved: int = 0


def _change(source: Directories, truth: Truth, rng: random.Random) -> Changed:
    done = Changed()
    for place, id_ in enumerate(truth.directories):
        users, groups, pairs = truth.users[id_], truth.groups[id_], truth.pairs[id_]
        share = max(1, len(users) // 100)
        picked = rng.sample(users, 2 * share)
        changed, left = picked[:share], picked[share:]
        dissolved = rng.sample(groups, max(1, len(groups) // 100))
        came = [f"n{place}-{number}" for number in range(share)]
        gone_users, gone_groups = set(left), set(dissolved)
        kept = [pair for pair in pairs if pair[0] not in gone_groups and pair[1] not in gone_users]
        ended = rng.sample(kept, share)
        held = set(pairs)
        made: dict[tuple[str, str], None] = {}
        alive = [name for name in groups if name not in gone_groups]
        while len(made) < share:
            pair = rng.choice(alive), rng.choice([name for name in rng.sample(users, 8) if name not in gone_users])
            if pair not in held:
                made[pair] = None
        _apply(source, id_, (UpdateUser(IdpId(name), {"job_title": "Lead"}) for name in changed))
        _apply(source, id_, (DeleteUser(IdpId(name)) for name in left))
        _apply(source, id_, (CreateUser(_person(name)) for name in came))
        _apply(source, id_, (RemoveMember(IdpId(group), IdpId(user)) for group, user in ended))
        _apply(source, id_, (AddMember(IdpId(group), IdpId(user)) for group, user in made))
        _apply(source, id_, (DeleteGroup(IdpId(name)) for name in dissolved))
        done.users += len(changed)
        done.left += len(left)
        done.came += len(came)
        done.ended += len(ended)
        done.made += len(made)
        done.dissolved += len(dissolved)
    return done


def _apply(source: Directories, directory_id: str, operations: Iterable[Operation]) -> None:
    part: list[Operation] = []
    for operation in operations:
        part.append(operation)
        if len(part) == MAX_OPERATIONS:
            source.apply(ENVIRONMENT, directory_id, part)
            part = []
    if part:
        source.apply(ENVIRONMENT, directory_id, part)


# -- the receiver ----------------------------------------------------------------------------------------------


class _Receiver:
    """The command, run on the receiver's database against a served sender."""

    def __init__(self, url: str, served: Served) -> None:
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HOOKLINE_")},
            "HOOKLINE_DATABASE_URL": url,
            "HOOKLINE_WORKOS_API_KEY": API_KEY,
            "HOOKLINE_WORKOS_BASE_URL": f"http://127.0.0.1:{served.port}",
        }

    def run(self, *arguments: str, until: Callable[[], bool] | None = None) -> Ran:
        """Run a command to its end, or kill it once `until` is so."""
        began_s = time.monotonic()
        command = [sys.executable, "-m", "hookline", *arguments, "--json"]
        most_mb = 0.0
        with subprocess.Popen(
            command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:
            output: list[str] = []
            reading = threading.Thread(target=lambda: output.append(child.stdout.read() if child.stdout else ""))
            complaining = threading.Thread(target=lambda: output.append(child.stderr.read() if child.stderr else ""))
            reading.start()
            while child.poll() is None:
                most_mb = max(most_mb, _rss_mb(child.pid))
                if until is not None and until():
                    child.send_signal(signal.SIGKILL)
                    break
                if time.monotonic() > began_s + PATIENCE_S:
                    child.kill()
                    raise RuntimeError(f"{arguments}: no end within {PATIENCE_S:g} s")
                time.sleep(LOOK_S)
            child.wait()
            reading.join()
            complaining.start()
            complaining.join()
        text = output[0]
        return Ran(time.monotonic() - began_s, child.returncode, json.loads(text) if text else {}, most_mb, output[1])


def _rss_mb(pid: int) -> float:
    try:
        found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return 0.0 if found is None else int(found[1]) / 1024


# -- the report ------------------------------------------------------------------------------------------------


def _introduction(databases: Databases, sizes: Sequence[int]) -> str:
    users, groups, memberships = sizes
    pages = users / 100 + groups * math.ceil(memberships / groups / 100)
    share = users // DIRECTORIES // 100 or 1
    return _INTRODUCTION.format(
        users=users,
        groups=groups,
        memberships=memberships,
        directories=DIRECTORIES,
        share=share * DIRECTORIES,
        dissolved=max(1, groups // DIRECTORIES // 100) * DIRECTORIES,
        pages=round(pages),
        limited=pages / DIRECTORIES / 4 / 60,
        database=databases.described,
    )


def _tell(
    report: Report, name: str, ran: Ran, sender: Database, receiver: Database, *, expected: int, is_equal: bool = True
) -> None:
    """A line of the report; wrong is another exit code, and a mirror that is not, or is, equal to the source."""
    differing = _differing(sender, receiver)
    requests = ran.told.get("counts", {}).get("requests", 0)
    report.lines.append(
        f"| {name} | {ran.took_s:,.0f} s | {requests:,} | {requests / ran.took_s:,.0f} | {ran.most_mb:.0f} "
        f"| {'yes' if not differing else 'no'} | {ran.code} |"
    )
    if ran.code != expected:
        report.wrong.append(f"{name}: expected exit {expected}, got {ran.code}: {ran.stderr[-500:]}")
    if bool(differing) == is_equal:
        report.wrong.append(f"{name}: {differing[:5] or 'mirror and source are equal'}")


def _differing(sender: Database, receiver: Database) -> list[str]:
    """Where the live views are not what the source holds, by id, last change and name."""
    compared = {
        "directory_user": (
            "select u.id, u.updated_ms, u.email from hookline_sender_directory_users u",
            "select id, updated_at, email from hookline_directory_users_live",
        ),
        "directory_group": (
            "select g.id, g.updated_ms, g.name from hookline_sender_directory_groups g",
            "select id, updated_at, name from hookline_directory_groups_live",
        ),
        "directory_membership": (
            "select group_id, user_id, null from hookline_sender_memberships where is_member = 1",
            "select group_id, user_id, null from hookline_directory_memberships_live",
        ),
    }
    wrong: list[str] = []
    for resource, (at_source, here) in compared.items():
        with sender.read() as connection:
            truth = {
                (one, format_ms(other * 1_000) if isinstance(other, int) else other, third)
                for one, other, third in connection.execute(at_source).fetchall()
            }
        with receiver.read() as connection:
            shown = {tuple(row) for row in connection.execute(here).fetchall()}
        wrong += [f"{resource} {row[0]} {row[1]}" for row in sorted(truth ^ shown, key=str)[:5]]
    return wrong


def _check_drift(report: Report, ran: Ran, changed: Changed) -> None:
    """That the dry run has found exactly what was changed, and of each kind as many."""
    items = ran.told.get("items", [])
    found = Counter((one["resource"], one["kind"]) for one in items)
    expected = {
        ("directory_user", "differs"): changed.users,
        ("directory_user", "extra"): changed.left,
        ("directory_user", "missing"): changed.came,
        ("directory_group", "extra"): changed.dissolved,
        ("directory_membership", "missing"): changed.made,
        ("directory_membership", "extra"): changed.ended,
    }
    for key, count in expected.items():
        if found[key] != count:
            report.wrong.append(f"drift {' '.join(key)}: expected {count:,}, got {found[key]:,}")
    if more := {key: count for key, count in found.items() if key not in expected}:
        report.wrong.append(f"drift: also found {more}")
    causes = Counter(one["cause"] for one in items)
    report.lines += [
        "",
        f"The dry run named {len(items):,} differences, each of them changed above; likely causes: "
        + ", ".join(f"{cause} {count:,}" for cause, count in causes.most_common())
        + ".",
    ]


def _count(database: Database, table: str) -> int:
    with database.read() as connection:
        ((count,),) = connection.execute(f"select count(*) from {table}").fetchall()
    return int(count)

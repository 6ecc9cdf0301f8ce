"""Announcements under events that no source would send, in any order: what handlers were told is what is shown.

Histories of a source (`stored`) are consistent: a membership names the directory its ends are in, a copy says what its
object was at that moment. Here every part of every event is drawn on its own. Users are often known from copies alone,
move between directories, name none or an unknown one, tie with what they hang on; memberships name a directory,
another one or none. Nobody can say what the end should be, but the mirror's own answers must agree: the views,
`announced_live`, and an app that keeps for each object the last `Change.is_active` it was told of.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from hookline.receiver.handlers import Change
from hookline.receiver.queries import is_active
from hookline.receiver.resources import EDGES, RESOURCES
from hookline.storage import Verbs
from hookline.wire.timestamps import format_ms

from .source import START_US, S
from .stored import Tables

WAVE: Final = 20
"""So many soups are mingled."""
_WORDS: Final = ("active", "active", "active", "inactive", "suspended_by_moonlight")


@dataclass(slots=True)
class Result:
    """How much was stirred, what was told of it, and whatever did not agree.

    Attributes:
        silent: objects shown that nobody was told of: known from copies alone, and unchanged since.
        ended: changes that took access away while the object stayed shown.
    """

    soups: int = 0
    events: int = 0
    changes: int = 0
    silent: int = 0
    ended: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, part: Result) -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(part, one.name))


def soup(rng: random.Random, number: int) -> list[bytes]:
    """The events of a few objects, in the order of their ids; `number` makes keys and ids this soup's own."""
    organizations = [f"org{n}_{number}" for n in range(2)]
    directories = [f"dir{n}_{number}" for n in range(2)]
    users, groups = [f"usr{n}_{number}" for n in range(2)], [f"grp{n}_{number}" for n in range(2)]
    members, teams = [f"mem{n}_{number}" for n in range(2)], [f"team_{number}"]
    names_none, is_lone = rng.choice((0.0, 0.3, 1.0)), rng.random() < 0.3

    def one(of: list[str]) -> str | None:
        return None if rng.random() < names_none else of[0] if rng.random() < 0.8 else of[1]

    def part(resource: str, id_: str, **fields: Any) -> dict[str, Any]:
        data = {"object": resource, "id": id_, "name": f"n{rng.randrange(4)}", **fields}
        if rng.random() < 0.9:
            data["updated_at"] = time()
        return {name: value for name, value in data.items() if value is not None}

    def time() -> str:
        return format_ms(START_US + rng.randrange(12) * S)

    def user() -> dict[str, Any]:
        above = {"directory_id": one(directories), "organization_id": one(organizations)}
        return part("directory_user", rng.choice(users), state=rng.choice(_WORDS), **above)

    def group() -> dict[str, Any]:
        above = {"directory_id": one(directories), "organization_id": one(organizations)}
        return part("directory_group", rng.choice(groups), **above)

    def domains() -> list[dict[str, Any]] | None:
        if rng.random() < 0.5:
            return None
        return [part("organization_domain", f"dom{n}_{number}") for n in range(2) if rng.random() < 0.6]

    events = []
    for place in range(rng.randrange(3, 16)):
        draw = rng.random()
        if draw < 0.35:
            type_ = f"dsync.group.user_{rng.choice(('added', 'added', 'added', 'removed'))}"
            data: dict[str, Any] = {"user": user(), "group": group()}
            if rng.random() < 0.5:
                data["directory_id"] = rng.choice(directories)
        elif draw < 0.55:
            if is_lone:
                continue
            type_, data = f"dsync.user.{rng.choice(('created', 'updated', 'updated', 'deleted'))}", user()
        elif draw < 0.62:
            type_, data = f"dsync.group.{rng.choice(('created', 'updated', 'deleted'))}", group()
        elif draw < 0.8:
            above = {"organization_id": one(organizations)}
            type_ = f"dsync.{rng.choice(('activated', 'activated', 'deleted'))}"
            data = part("directory", rng.choice(directories), state="active", **above)
        elif draw < 0.9:
            type_ = f"organization.{rng.choice(('created', 'updated', 'deleted'))}"
            data = part("organization", rng.choice(organizations), domains=domains())
        elif draw < 0.94:
            type_ = f"organization_membership.{rng.choice(('created', 'updated', 'deleted'))}"
            id_ = rng.choice(members)  # of users of their own: of two of one pair the view shows the later alone
            above = {"user_id": f"of_{id_}", "organization_id": one(organizations)}
            data = part("organization_membership", id_, status=rng.choice(_WORDS), **above)
        elif draw < 0.97:
            above = {"organization_id": one(organizations)}
            type_, data = f"group.{rng.choice(('created', 'deleted'))}", part("group", teams[0], **above)
        else:
            type_ = f"group.member_{rng.choice(('added', 'added', 'removed'))}"
            data = {"group_id": teams[0], "organization_membership_id": rng.choice(members)}
        event = {"id": f"event_{number:06d}_{place:03d}", "event": type_, "created_at": time(), "data": data}
        events.append(json.dumps(event).encode())
    return events


class App:
    """Keeps access as handlers are told to, per resource and id."""

    def __init__(self) -> None:
        self.access: dict[tuple[str, str], bool] = {}
        self.seq = 0

    def listen(self, tables: Tables, result: Result) -> None:
        """Hear of the changes since the last call."""
        columns = "seq, kind, resource, object_id, before, after, is_live, cause"
        for row in tables.rows(f"select {columns} from hookline_changes where seq > {self.seq} order by seq"):
            seq, kind, resource, id_, before, after, is_live, cause = row
            read = [None if text is None else json.loads(text) for text in (before, after)]
            change = Change(seq, kind, resource, id_, read[0], read[1], bool(is_live), cause)
            result.ended += bool(self.access.get((resource, id_))) and change.is_live and not change.is_active
            self.access[resource, id_] = change.is_active
            self.seq = seq
            result.changes += 1


def judge(tables: Tables, app: App, result: Result) -> Iterator[str]:
    """What does not agree, once nothing is left to do."""
    verbs = Verbs("hookline.receiver", tables.database.dialect)
    with tables.database.read() as connection:
        for (resource, id_), has_access in app.access.items():
            may = is_active(connection, verbs, "default", resource, id_)
            if has_access != may:
                yield f"{resource} {id_}: the app keeps {has_access}, is_active says {may}"
    for name, table in [(r.name, r.table) for r in RESOURCES.values()] + [(e.name, e.table) for e in EDGES.values()]:
        key = " || '/' || ".join(column for _, column in EDGES[name].ends) if name in EDGES else "id"
        life = "0" if name in EDGES else "life_us"
        live = {id_ for (id_,) in tables.rows(f"select {key} from {table}_live")}
        for id_, announced, life_us in tables.rows(f"select {key}, announced_live, {life} from {table}"):
            if bool(announced) != (id_ in live):
                yield f"{name} {id_}: announced_live {announced}, in the view {id_ in live}"
            if id_ in live and (name, id_) not in app.access:
                result.silent += 1
                if life_us != -1:
                    yield f"{name} {id_}: is shown, is more than copies, and nobody was told"
    columns = "id, payload, state, is_active, directory_id, organization_id"
    for id_, payload, *columns_say in tables.rows(f"select {columns} from {RESOURCES['directory_user'].table}"):
        said = json.loads(payload or "{}")
        state = said.get("state")
        if columns_say != [state, int(state == "active"), said.get("directory_id"), said.get("organization_id")]:
            yield f"directory_user {id_}: columns {columns_say}, payload {payload}"


def run(place: Path | str, *, seed: str, count: int, workers: int) -> Result:
    """Stir so many soups through one database, with one worker or several taking turns; judge now and again."""
    result = Result()
    with contextlib.closing(Tables(place, workers=workers)) as tables:
        for start in range(0, count, WAVE):
            rng = random.Random(f"{seed}/{start}")
            soups = [soup(rng, number) for number in range(start, min(start + WAVE, count))]
            came = [body for one in soups for body in one]
            result.soups, result.events = result.soups + len(soups), result.events + len(came)
            came += [body for body in came if rng.random() < 0.2]
            if rng.random() < 0.8:
                rng.shuffle(came)
            app = App()
            while came:
                size = rng.choice((1, 7, 40, 400))
                tables.take(rng, came[:size])
                came = came[size:]
                app.listen(tables, result)
                found = list(judge(tables, app, result))
                result.wrong += [f"{seed}/{start}: {one}" for one in found]
                if found:
                    break
            tables.forget()
    return result

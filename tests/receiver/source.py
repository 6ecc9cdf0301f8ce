"""A source in memory behind `SourceApi`: directories as state, and the events of what changes in it.

It goes by a desk's clock: every request takes a second of it. What it is to answer wrongly is put into `faults`, by the
number of the request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hookline.errors import SourceError
from hookline.receiver.source import PATHS, EventPage, Found, Gone, Page
from hookline.testing.clock import TurnedClock
from hookline.wire.timestamps import format_ms

from .company import Event

Objects = dict[str, dict[str, Any]]
# Gets the honest answer, and gives another or raises.
Fault = Callable[[Any], Any]


class MemorySource:
    """State and its events. Writes give the events they cause, for a test to deliver or to drop."""

    def __init__(self, clock: TurnedClock, *, page: int = 2) -> None:
        self.clock = clock
        self.size = page
        self.objects: dict[str, Objects] = {resource: {} for resource in PATHS}
        self.members: dict[str, set[str]] = {}
        self.faults: dict[int, Fault] = {}
        self.before: Callable[[int], None] | None = None
        self.requests: list[str] = []
        self._events = 0

    # -- state ---------------------------------------------------------------------------------------------------

    def put(self, resource: str, id_: str, *, silent: bool = False, **fields: Any) -> Event:
        """Create or change an object."""
        now = self._now()
        before = self.objects[resource].get(id_)
        made = now if before is None else before["created_at"]
        item = {"object": resource, "id": id_, "created_at": made, "updated_at": now, **(before or {}), **fields}
        if not silent:
            item["updated_at"] = now
        self.objects[resource][id_] = item
        word = "created" if before is None else "updated"
        names = {
            "organization": f"organization.{word}",
            "directory": "dsync.activated",
            "directory_user": f"dsync.user.{word}",
            "directory_group": f"dsync.group.{word}",
        }
        return self._event(names[resource], item, now)

    def delete(self, resource: str, id_: str) -> Event:
        """Delete an object, and what is in it without a word."""
        item = self.objects[resource].pop(id_)
        if resource == "directory":
            for of in ("directory_user", "directory_group"):
                for child in [one["id"] for one in self.objects[of].values() if one["directory_id"] == id_]:
                    self._drop(of, child)
        else:
            self._drop(resource, id_)
        names = {
            "organization": "organization.deleted",
            "directory": "dsync.deleted",
            "directory_user": "dsync.user.deleted",
            "directory_group": "dsync.group.deleted",
        }
        return self._event(names[resource], item, self._now())

    def join(self, group_id: str, user_id: str) -> Event:
        self.members.setdefault(group_id, set()).add(user_id)
        return self._member("added", group_id, user_id)

    def leave(self, group_id: str, user_id: str) -> Event:
        self.members[group_id].remove(user_id)
        return self._member("removed", group_id, user_id)

    def _drop(self, resource: str, id_: str) -> None:
        self.objects[resource].pop(id_, None)
        if resource == "directory_group":
            self.members.pop(id_, None)
        for users in self.members.values():
            users.discard(id_)

    def _member(self, word: str, group_id: str, user_id: str) -> Event:
        group, user = self.objects["directory_group"][group_id], self.objects["directory_user"][user_id]
        data = {"directory_id": group["directory_id"], "user": dict(user), "group": dict(group)}
        return self._event(f"dsync.group.user_{word}", data, self._now())

    def _event(self, type_: str, data: Mapping[str, Any], created_at: str) -> Event:
        self._events += 1
        id_ = f"event_{self._events:06d}"
        return {"object": "event", "id": id_, "event": type_, "created_at": created_at, "data": dict(data)}

    def _now(self) -> str:
        self.clock.advance(1_000)
        return format_ms(self.clock.now_ms() * 1_000)

    # -- answers -------------------------------------------------------------------------------------------------

    def page(self, resource: str, filters: Mapping[str, str], *, after: str | None = None) -> Page:
        asked = "&".join(f"{name}={value}" for name, value in {**filters, "after": after}.items() if value)
        requested_us = self._ask(f"{PATHS[resource]}?{asked}")
        ids = sorted(self._of(resource, filters))
        if after is not None:
            ids = [id_ for id_ in ids if id_ > after]
        shown = ids[: self.size]
        last = shown[-1] if len(ids) > len(shown) else None
        answer = Page(tuple(dict(self.objects[resource][id_]) for id_ in shown), last, requested_us)
        found: Page = self._answer(answer)
        return found

    def get(self, resource: str, id_: str) -> Found | Gone:
        requested_us = self._ask(f"{PATHS[resource]}/{id_}")
        item = self.objects[resource].get(id_)
        found: Found | Gone = self._answer(Gone(requested_us) if item is None else Found(dict(item), requested_us))
        return found

    def events(self, types: Sequence[str], *, after: str | None = None, since_us: int | None = None) -> EventPage:
        raise NotImplementedError

    def close(self) -> None:
        return None

    def _of(self, resource: str, filters: Mapping[str, str]) -> list[str]:
        items = self.objects[resource]
        if "directory" in filters:
            return [id_ for id_, item in items.items() if item["directory_id"] == filters["directory"]]
        if "group" in filters:
            if filters["group"] not in self.objects["directory_group"]:
                raise SourceError("refused", "404: no such group")
            return list(self.members.get(filters["group"], ()))
        if "user" in filters:
            if filters["user"] not in self.objects["directory_user"]:
                raise SourceError("refused", "404: no such user")
            return [group_id for group_id, users in self.members.items() if filters["user"] in users]
        return list(items)

    def _ask(self, what: str) -> int:
        self.requests.append(what)
        if self.before is not None:
            self.before(len(self.requests))
        self.clock.advance(1_000)
        return self.clock.now_ms() * 1_000

    def _answer(self, answer: Any) -> Any:
        fault = self.faults.get(len(self.requests))
        return answer if fault is None else fault(answer)


def refuse(reason: Any, message: str = "it says no", **named: Any) -> Fault:
    """A fault that is no answer."""

    def fault(_: Any) -> Any:
        raise SourceError(reason, message, **named)

    return fault


def small(clock: TurnedClock, *, users: int = 5, groups: int = 3, page: int = 2) -> tuple[MemorySource, list[Event]]:
    """An organization with a directory, its users and groups; each user is in the first group and in one other."""
    source = MemorySource(clock, page=page)
    events = [
        source.put("organization", "org_1", name="Acme", domains=[]),
        source.put("directory", "dir_1", organization_id="org_1", name="Staff", state="linked", type="okta scim v2.0"),
    ]
    within: dict[str, Any] = {"directory_id": "dir_1", "organization_id": "org_1"}
    events += [
        source.put("directory_group", f"group_{n:03d}", **within, name=f"Team {n}", idp_id=f"g{n}")
        for n in range(groups)
    ]
    for n in range(users):
        id_ = f"user_{n:03d}"
        events.append(
            source.put(
                "directory_user", id_, **within, idp_id=f"u{n}", email=f"{id_}@acme.example", state="active",
                first_name="Ada", custom_attributes={},
            )
        )  # fmt: skip
        events += [source.join(f"group_{group:03d}", id_) for group in dict.fromkeys((0, n % groups))]
    return source, events

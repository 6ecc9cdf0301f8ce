"""What `hookline trigger` sends: the sample of a type with ids and times of its own, changed as asked.

Nothing is sent here. The payload is as if it had happened now. Every id of the sample is exchanged for a new one, the
same for the same, so that a user stays in its directory and that in its organization.
"""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from hookline.cli.json_paths import Assignment, Place, add, override, parse_assignment, parse_path, remove
from hookline.errors import ConfigError
from hookline.loop import Clock
from hookline.sender.ids import IdMaker
from hookline.testing.story import Story
from hookline.wire.catalogue import CATALOGUE
from hookline.wire.timestamps import format_ms

# An event before it has an id, as `POST /api/v1/events` takes it: event, data, and perhaps context, created_at and
# organization_id.
Draft: TypeAlias = dict[str, Any]

_ID: Final = re.compile(r"([a-z][a-z0-9_]*)_[0-7][0-9A-HJKMNP-TV-Z]{25}")
_ORGANIZATION: Final = "org"
# What apps have unique among objects; an id as in `_ID` is a new one already.
_UNIQUE: Final = ("id", "email", "idp_id", "slug", "external_id", "external_key")
_MOST_NEAR: Final = 3


def no_sample(event_type: str, names: Iterable[str]) -> ConfigError:
    """There is no sample of this type; those with a name like it are named."""
    near = difflib.get_close_matches(event_type, list(names), n=_MOST_NEAR)
    hint = f"{' or '.join(near)}?" if near else "`hookline trigger --list` has those there are."
    return ConfigError(
        "trigger",
        f"there is no sample of {event_type[:80]!r}: {hint} With a payload of your own: `hookline events publish`",
    )


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be other than in the sample: what is overridden, then what is added, then what is removed."""

    overrides: tuple[Assignment, ...] = ()
    adds: tuple[Assignment, ...] = ()
    removes: tuple[Place, ...] = ()

    @classmethod
    def parsed(cls, overrides: Sequence[str], adds: Sequence[str], removes: Sequence[str]) -> Changes:
        """From the values of the flags. ConfigError where one is none."""
        return cls(
            tuple(parse_assignment(text, "--override") for text in overrides),
            tuple(parse_assignment(text, "--add") for text in adds),
            tuple(parse_path(text, "--remove") for text in removes),
        )

    def make(self, draft: Draft) -> None:
        """Change a draft. ConfigError for a place that is not there, or, of what is added, that is; and where the
        payload would be an object no longer.
        """
        for one in self.overrides:
            override(_document(draft, one.path), one, "--override")
        for one in self.adds:
            add(_document(draft, one.path), one, "--add")
        for place in self.removes:
            remove(_document(draft, place), place, "--remove")
        _payload(draft)


def _document(draft: Draft, place: Place) -> dict[str, Any]:
    """What a path begins in: the payload, unless it names that itself, or the context."""
    data = _payload(draft)
    return draft if place[0] in {"data", "context"} and place[0] not in data else data


def _payload(draft: Draft) -> dict[str, Any]:
    """The payload, which a change may have taken away or made something else. ConfigError where it is no object."""
    if "data" not in draft:
        raise ConfigError("data", "expected an object, got nothing")
    data = draft["data"]
    if not isinstance(data, dict):
        raise ConfigError("data", f"expected an object, got {type(data).__name__}")
    return data


@dataclass(slots=True)
class Samples:
    """Makes drafts of one type, each about an object of its own, all about the same others.

    Attributes:
        organization: the id of their organization, instead of a new one.
        created_us: when the first of them happened, in microseconds; now by default.
        own_sample: the payload, of a type that is not the catalogue's.
    """

    event_type: str
    clock: Clock
    organization: str | None = None
    created_us: int | None = None
    own_sample: Mapping[str, Any] | None = None
    _ids: IdMaker = field(default_factory=IdMaker)
    _new_ids: dict[str, str] = field(default_factory=dict)
    _made: int = 0
    _last_us: int = -1_000

    def next(self) -> Draft:
        """The next one."""
        now_us = self.clock.now_ms() * 1_000 if self.created_us is None else self.created_us
        # Of two of one moment nobody could say which is newer.
        self._last_us = max(now_us, self._last_us + 1_000)
        created_at = format_ms(self._last_us)
        self._made += 1
        draft: Draft = {"event": self.event_type}
        if self.own_sample is not None:
            draft["data"] = copy.deepcopy(dict(self.own_sample))
            own = draft["data"]
            self._new_ids.pop(str(own.get("id")), None)
        else:
            event = Story(self.clock)(self.event_type, created_at=created_at)
            draft["data"] = event.data
            if event.context is not None:
                draft["context"] = event.context
            own = self._own(event.data)
        if self._made > 1:
            _tell_apart(own, self._made)
        draft = _exchanged(draft, self._new_id)
        organization = next((new for old, new in self._new_ids.items() if _prefix(old) == _ORGANIZATION), None)
        if (organization := organization or self.organization) is not None:
            draft["organization_id"] = organization
        draft["created_at"] = created_at
        return draft

    def _own(self, data: dict[str, Any]) -> dict[str, Any]:
        """The object that is another one each time, whose id is forgotten: of a relation the second end, so that
        several users join one group.
        """
        key = CATALOGUE[self.event_type].key
        above, _, name = key[-1].rpartition(".") if key else ("", "", "id")
        own: dict[str, Any] = data[above] if above else data
        for known in (own.get(name), own.get("id")):
            self._new_ids.pop(str(known), None)
        return own

    def _new_id(self, old: str) -> str:
        if old not in self._new_ids:
            prefix = _prefix(old)
            is_given = prefix == _ORGANIZATION and self.organization not in {None, *self._new_ids.values()}
            new = self.organization if is_given else self._ids.make(prefix, self.clock.now_ms())
            self._new_ids[old] = str(new)
        return self._new_ids[old]


def _prefix(id_: str) -> str:
    return id_.rpartition("_")[0]


def _exchanged(value: Any, new_id: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: _exchanged(one, new_id) for name, one in value.items()}
    if isinstance(value, list):
        return [_exchanged(one, new_id) for one in value]
    return new_id(value) if isinstance(value, str) and _ID.fullmatch(value) else value


def _tell_apart(own: dict[str, Any], number: int) -> None:
    for name in _UNIQUE:
        if isinstance(value := own.get(name), str) and not _ID.fullmatch(value):
            local, at, domain = value.partition("@")
            own[name] = f"{local}+{number}{at}{domain}" if at else f"{value}-{number}"


def read_draft(raw: bytes, where: str) -> Draft:
    """A draft from JSON, as people write it.

    Raises: ConfigError under the name `where`: it is none.
    """
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ConfigError(where, f"expected an event as JSON: {error}") from None
    if not (isinstance(found, dict) and isinstance(found.get("event"), str) and isinstance(found.get("data"), dict)):
        raise ConfigError(where, "expected an event as JSON: an object with event, a name, and data, an object")
    return found

"""Which parts of an event may be kept, and for how long is a later question's: what takes one-time secrets out, and
what takes people out.

Two cuts, both on the bytes of a whole event:

- `without_secrets`, at the door, before anything is written: codes and tokens that let their bearer in (workos-protocol
  §6.2 says that WorkOS leaves them out; other senders, and older ones, do not). By type, at fixed places.
- `without_people`, once a body has been kept long enough: ids, times, states and structure stay, so that what
  happened to which object can still be told; every other text and number goes.

What is cut is replaced by `REDACTED`, so that it is seen that something was there. A text that is cut keeps nothing
of itself, not even its length.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from hookline.wire.catalogue import is_pattern, matches

REDACTED: Final = "[redacted]"

SECRETS: Final[Mapping[str, tuple[str, ...]]] = {
    "magic_auth.*": ("code",),
    "email_verification.*": ("code",),
    "password_reset.*": ("password_reset_token", "password_reset_url", "token"),
    "invitation.*": ("token", "accept_invitation_url"),
    "api_key.*": ("value", "key", "secret"),
    "pipes.connected_account.*": ("access_token", "refresh_token"),
    "agent.registration.*": ("token", "access_token", "client_secret", "secret"),
}
"""Pattern of types to the places in `data` that let their bearer in; dotted where they lie deeper."""

_SHOWN: Final = frozenset(
    {"id", "object", "event", "state", "status", "type", "slug", "kind", "result", "environment", "pricing_tier"}
)
_SHOWN_ENDINGS: Final = ("_id", "_at", "_slug", "_type")
# Ids by the identity provider and by the app are, more often than not, e-mail addresses and staff numbers.
_PERSONAL: Final = frozenset({"idp_id", "external_id", "client_id"})
# What a company puts there is anything.
_OPAQUE: Final = frozenset({"raw_attributes", "custom_attributes", "metadata", "previous_attributes"})

_ENVELOPE: Final = ("object", "id", "event", "created_at", "type", "timestamp")

_EVENT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_REDACTED_RAW = msgspec.Raw(msgspec.json.encode(REDACTED))


class Secrets:
    """Where the secrets of each type are.

    Args:
        places: pattern of types to places in `data`, as `SECRETS`. Every pattern that takes a type counts.

    Raises: ValueError naming the pattern or place that is none.
    """

    def __init__(self, places: Mapping[str, Sequence[str]] = SECRETS) -> None:
        for pattern, some in places.items():
            if not is_pattern(pattern):
                raise ValueError(f"expected a type, a prefix as in 'dsync.*' or '*', got {pattern!r}")
            if isinstance(some, str) or not all(isinstance(place, str) and all(place.split(".")) for place in some):
                raise ValueError(f"expected a list of places as in ['code', 'user.token'] for {pattern!r}")
        self._places = {pattern: tuple(tuple(place.split(".")) for place in some) for pattern, some in places.items()}
        # A stranger may name as many types as he likes.
        self.of = functools.lru_cache(maxsize=1024)(self._of)

    def _of(self, event_type: str) -> tuple[tuple[str, ...], ...]:
        """The places of one type."""
        return tuple(place for pattern, some in self._places.items() if matches(pattern, event_type) for place in some)


def without_secrets(raw: bytes, places: Sequence[Sequence[str]]) -> bytes | None:
    """The body with what is at `places` of its `data` cut; None where nothing is there to cut, or that is null.

    Everything else keeps its bytes, but for the white space between the members of the objects on the way, and but
    for members of the same name, of which the last one counts and stays.

    Args:
        raw: an event that `wire.event` accepts.
    """
    cut = _cut(msgspec.Raw(raw), [("data", *place) for place in places])
    return None if cut is None else bytes(cut)


def _cut(value: msgspec.Raw, places: Sequence[Sequence[str]]) -> msgspec.Raw | None:
    if not bytes(value).lstrip().startswith(b"{"):
        return None
    members = _EVENT.decode(value)
    changed = False
    by_name: dict[str, list[Sequence[str]]] = {}
    for name, *rest in places:
        by_name.setdefault(name, []).append(rest)
    for name, rests in by_name.items():
        if name not in members:
            continue
        if not all(rests):
            if bytes(members[name]) == b"null":
                continue
            members[name], changed = _REDACTED_RAW, True
        elif (within := _cut(members[name], rests)) is not None:
            members[name], changed = within, True
    return msgspec.Raw(msgspec.json.encode(members)) if changed else None


def without_people(raw: bytes) -> bytes | None:
    """The body without what may say who somebody is; None where it is no event and nothing of it can be kept.

    Kept are `id`, `event` and `created_at` (by Standard Webhooks `type` and `timestamp`), and of `data` and `context`:
    structure, truth values, nulls, and texts whose name says that they are an id, a time, a state or a kind. What
    companies put into open fields goes whole.
    """
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if not isinstance(body, dict):
        return None
    kept = {name: body[name] for name in _ENVELOPE if isinstance(body.get(name), str)}
    kept |= {name: _shown(body[name]) for name in ("data", "context") if isinstance(body.get(name), dict)}
    return msgspec.json.encode(kept)


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _member(name, member) for name, member in value.items()}
    if isinstance(value, list):
        return [_shown(one) for one in value]
    return value if value is None or isinstance(value, bool) else REDACTED


def _member(name: str, value: Any) -> Any:
    if name in _OPAQUE:
        return None if value is None else REDACTED
    if isinstance(value, str) and name not in _PERSONAL and (name in _SHOWN or name.endswith(_SHOWN_ENDINGS)):
        return value
    return _shown(value)


PERSONAL_PLACES: Final = (
    "$..[?@.object=='directory_user'].name",
    "$..[?@.object=='user'].name",
    "$..email",
    "$..emails",
    "$..first_name",
    "$..last_name",
    "$..username",
    "$..idp_id",
    "$..raw_attributes",
    "$..custom_attributes",
    "$..profile_picture_url",
    "$..ip_address",
)
"""What people looking at payloads do not need to see of others, unless the settings say otherwise."""

_STEP = re.compile(r"(\.\.|\.)(\*|[^.\[\]*'\"\s]+)|\[(?:(\*)|(\d+)|'([^']+)'|\"([^\"]+)\")\]")
_KIND = re.compile(r"\.\.\[\?\s*@\.object\s*==\s*'([^']+)'\s*\]")
_EVERY: Final = "*"


@dataclass(frozen=True, slots=True)
class _Kind:
    """Every object at any depth whose `object` is this."""

    object: str


class Places:
    """Places in JSON values, as JSONPath writes them, whose values are not shown.

    Taken are `$`, members `.name` and `['name']`, every member or item `.*` and `[*]`, an item `[0]`, a member at any
    depth `..name`, and every object of a kind at any depth, the outermost too: `..[?@.object=='directory_user']`. It is
    JSONPath (RFC 9535) without other filters, slices and functions.

    Raises: ValueError naming the path that is none.
    """

    def __init__(self, paths: Sequence[str] = PERSONAL_PLACES) -> None:
        self.paths = tuple(paths)
        self._steps = tuple(_parsed(path) for path in paths)

    def redacted(self, value: Any) -> Any:
        """A copy of a JSON value with `REDACTED` at every such place that is not null."""
        if not self._steps:
            return value
        try:
            return self._child(None, value, {(path, 0) for path in range(len(self._steps))})
        except RecursionError:
            return REDACTED

    def _walk(self, value: Any, open_steps: set[tuple[int, int]]) -> Any:
        if isinstance(value, dict):
            return {name: self._child(name, member, open_steps) for name, member in value.items()}
        if isinstance(value, list):
            return [self._child(index, item, open_steps) for index, item in enumerate(value)]
        return value

    def _child(self, key: str | int | None, value: Any, open_steps: set[tuple[int, int]]) -> Any:
        """A value below its parent; `key` is None of the outermost one, which only kinds of objects can take."""
        onward = set()
        for path, at in open_steps:
            steps = self._steps[path]
            is_deep, wanted = steps[at]
            if isinstance(wanted, _Kind):
                is_taken = isinstance(value, dict) and value.get("object") == wanted.object
            else:
                is_taken = key is not None and wanted in (_EVERY, key)
            if is_taken:
                if at + 1 == len(steps):
                    return None if value is None else REDACTED
                onward.add((path, at + 1))
            if is_deep or key is None:
                onward.add((path, at))
        return self._walk(value, onward) if onward else value


def _parsed(path: str) -> tuple[tuple[bool, str | int | _Kind], ...]:
    """The steps of a path: whether each is at any depth, and the member, the item, every one, or a kind of objects."""
    text = path.strip()
    steps: list[tuple[bool, str | int | _Kind]] = []
    at = 1
    while text.startswith("$") and at < len(text):
        if kind := _KIND.match(text, at):
            steps.append((True, _Kind(kind[1])))
            at = kind.end()
            continue
        found = _STEP.match(text, at)
        if found is None:
            break
        dots, name, every, index, single, double = found.groups()
        steps.append((dots == "..", int(index) if index else name or every or single or double))
        at = found.end()
    if not steps or at != len(text):
        raise ValueError(f"expected a JSON path as in '$.data.email' or '$..first_name', got {path!r}")
    return tuple(steps)

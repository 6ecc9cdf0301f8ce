"""Events as a source tells them, one after the other: each knows what was told before, and happens now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hookline.loop import Clock
from hookline.testing.samples import made_event
from hookline.wire import timestamps
from hookline.wire.catalogue import CATALOGUE, EventType, sample, sample_context, sample_created_us
from hookline.wire.event import Event

_DIFF: Final = "previous_attributes"


class Story:
    """Makes events of the sample company, by a clock. The same calls always make the same events.

        ada = story("dsync.user.created", first_name="Ada")
        story("dsync.user.updated", state="inactive")                # the rest stays as it was told
        team = story("dsync.group.created", name="Optics")
        story("dsync.group.user_added", user=ada, group=team)

    Every event is later than the one before, by a millisecond if the clock stands still: of two of one moment nobody
    could say which is newer. The first event about an object is its sample with all times moved to now; later ones
    are what was told of it last.

    Attributes:
        told: all events so far.
    """

    def __init__(self, clock: Clock) -> None:
        self.told: list[Event] = []
        self._clock = clock
        self._last_us = -1
        self._objects: dict[tuple[str, ...], dict[str, Any]] = {}

    def __call__(
        self,
        event_type: str,
        *,
        event_id: str | None = None,
        created_at: str | None = None,
        context: Mapping[str, Any] | None = None,
        **members: Any,
    ) -> Event:
        """The next event.

        Args:
            event_id: its id; by default one that follows from everything else.
            created_at: when it happened, in any format of the wire; by default now.
            context: what the event says around its payload; by default the sample's, where its type has one.
            members: of `data`, in place of what was told. Another event stands for the object it is about: in whole
                where `data` holds it (`user=`, `group=`), by its id where `data` names it (`directory=`,
                `organization=`).

        Raises:
            LookupError: the type has no sample; the nearest is named.
            TypeError: an event was given for a member that it cannot stand for.
            NotCanonical: a member is no JSON.
        """
        if created_at is not None:
            created_us = timestamps.parse_us(created_at)
        else:
            created_us = max(self._clock.now_ms() * 1_000, self._last_us + 1_000)
        shown = sample(event_type)
        moved: dict[str, Any] = _moved(shown, created_us - sample_created_us(event_type))
        kind = CATALOGUE[event_type]
        given = _plain(kind, shown, members)
        data = self._relation(moved, given) if kind.kind == "R" else self._object(kind, moved, given, created_us)
        if context is None:
            context = sample_context(event_type)
        event = made_event(event_type, data, created_us=created_us, context=context, event_id=event_id)
        self._last_us = max(self._last_us, created_us)
        self._objects.update(_objects_of(kind, data))
        self.told.append(event)
        return event

    def _object(self, kind: EventType, moved: dict[str, Any], given: dict[str, Any], created_us: int) -> dict[str, Any]:
        diff = moved.pop(_DIFF, None)
        last = self._objects.get(_key_of(kind, moved | given) or ())
        data = (moved if last is None else last) | given
        if kind.kind != "F":
            return data
        now = timestamps.format_ms(created_us)
        if "updated_at" in moved and "updated_at" not in given:
            data["updated_at"] = now
        if kind.name.endswith(".created") and "created_at" in moved and "created_at" not in given:
            data["created_at"] = now
        if diff is not None and _DIFF not in given:
            was = moved | diff if last is None else last
            data[_DIFF] = {name: was.get(name) for name in data if name != "updated_at" and was.get(name) != data[name]}
        return data

    def _relation(self, moved: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        data = moved | given
        for name, end in data.items():
            if name not in given and (key := _key_in(end)) in self._objects:
                data[name] = self._objects[key]
        names = [name for name in moved if name.endswith("_id") and name not in given]
        # The directory is that of whom it speaks; where ends differ, of whom the caller speaks.
        for _, end in sorted(data.items(), key=lambda one: one[0] in given):
            if isinstance(end, dict):
                data = data | {name: end[name] for name in names if name in end}
        return data


def _plain(kind: EventType, shown: Mapping[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """The members without events in them."""
    held = {name: one["object"] for name, one in shown.items() if isinstance(one, dict) and "object" in one}
    named = {one.field.removesuffix("_id"): one.resource for one in kind.parents if one.field in shown}
    given: dict[str, Any] = {}
    inherited: dict[str, Any] = {}
    for name, value in members.items():
        if not isinstance(value, Event):
            given[name] = value
        elif value.data.get("object") != (held | named).get(name, ""):
            known = " or ".join(f"{place}= ({resource})" for place, resource in (held | named).items())
            raise TypeError(
                f"{kind.name}: expected an event only for {known or 'nothing'}, got {value.type} for {name}="
            )
        elif name in held:
            given[name] = _without_diff(value.data)
        else:
            given[f"{name}_id"] = value.data["id"]
            # A user of a directory is of its organization, too.
            inherited |= {one: value.data[one] for one in shown if one.endswith("_id") and one in value.data}
    return inherited | given


def _objects_of(kind: EventType, data: Mapping[str, Any]) -> dict[tuple[str, ...], dict[str, Any]]:
    """What an event tells of which objects, whole."""
    if kind.kind == "R":
        ends = [(_key_in(value), value) for value in data.values()]
        return {key: _without_diff(value) for key, value in ends if key}
    key = _key_of(kind, data) if kind.kind in "FD" else None
    return {} if key is None else {key: _without_diff(data)}


def _key_of(kind: EventType, data: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What names the object that an event is about; None where nothing does."""
    values = [data.get(place) for place in kind.key]
    return None if kind.object is None or not values else (kind.object, *map(str, values))


def _key_in(value: Any) -> tuple[str, ...]:
    """What names an object that another one holds; nothing where it is none."""
    is_object = isinstance(value, dict) and "object" in value and "id" in value
    return (str(value["object"]), str(value["id"])) if is_object else ()


def _without_diff(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != _DIFF}


def _moved(value: Any, by_us: int, name: str = "") -> Any:
    """The same with every time in it moved."""
    if isinstance(value, dict):
        return {key: _moved(one, by_us, key) for key, one in value.items()}
    if isinstance(value, list):
        return [_moved(one, by_us) for one in value]
    if name.endswith("_at") and isinstance(value, str):
        return timestamps.format_ms(timestamps.parse_us(value) + by_us)
    return value

"""The two ways of `hookline trigger`: published by the sender, or posted straight to a URL.

Each sends drafts, raw bytes and scenarios, prints a line per event unless `--json` was asked for, and returns what
was sent as `--json` shows it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from hookline.cli import talk
from hookline.cli.api_client import ApiClient, segment
from hookline.cli.tables import printable
from hookline.cli.trigger_events import Draft, no_sample, read_draft
from hookline.cli.trigger_to import Sent, Webhook, send
from hookline.errors import ConfigError, InvalidBody, NotCanonical, RequestError
from hookline.loop import Clock
from hookline.sender.ids import IdMaker
from hookline.testing.scenarios import Scenario, Step
from hookline.wire.catalogue import sampled_types
from hookline.wire.event import Event, decode_envelope, encode_event
from hookline.wire.schemes import Scheme
from hookline.wire.timestamps import format_ms, parse_us

# One event as it was sent: its id and type, and by which way what came of it.
Item: TypeAlias = dict[str, Any]

_EVENTS: Final = "/api/v1/events"
_DELIVERIES: Final = "/api/v1/deliveries"
_TYPES: Final = "/api/v1/event_types"
_AT_ONCE: Final = 1_000
# So long it is waited in all for first deliveries to end.
_PATIENCE_S: Final = 10.0
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Done:
    """What was sent. `is_whole`: all of it, and taken. `ids` are those of the events, each once."""

    items: list[Item]
    is_whole: bool
    ids: tuple[str, ...] = ()


class Way(Protocol):
    """How events are sent."""

    def own_sample(self, event: str) -> Mapping[str, Any]:
        """The sample of a type that is not the catalogue's. ConfigError where there is none."""

    def send_drafts(self, drafts: Sequence[Draft]) -> Done:
        """Events, in this order."""

    def send_raw(self, body: bytes, name: str) -> Done:
        """What a file of this name holds."""

    def play(self, scenario: Scenario) -> Done:
        """A scenario."""


class BySender:
    """Published by the sender, which delivers to its endpoints and to who listens."""

    def __init__(self, api: ApiClient, *, is_quiet: bool) -> None:
        self._api = api
        self._is_quiet = is_quiet

    def own_sample(self, event: str) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] | None = self._api.get(f"{_TYPES}/{segment(event)}")["sample"]
        except RequestError as error:
            if error.status not in (404, 422):
                raise
            found = None
        if found is None:
            raise no_sample(event, [one["name"] for one in self._api.get(_TYPES)["data"] if one["has_sample"]])
        return found

    def send_drafts(self, drafts: Sequence[Draft]) -> Done:
        items = self._published(drafts)
        for item in items:
            self._say(f"{item['id']}  {item['event']}  {item['object_id'] or ''}")
        self._say_who(items[0])
        return Done(items, True, tuple(item["id"] for item in items))

    def send_raw(self, body: bytes, name: str) -> Done:
        draft = read_draft(body, name)
        if draft.pop("id", None) is not None:
            talk("its id is left out: the sender gives each event its own")
        draft.pop("object", None)
        return self.send_drafts([draft])

    def play(self, scenario: Scenario) -> Done:
        """In its order, each with the time it happened; what comes again is sent again afterwards, to each endpoint
        whose first delivery of it has ended.
        """
        seen: set[str | None] = set()
        first: list[Step] = []
        again: list[Step] = []
        for step in scenario.steps:
            (again if step.event.id in seen else first).append(step)
            seen.add(step.event.id)
        items = self._published([_draft_of(step.event) for step in first])
        ids = {step.event.id: item["id"] for step, item in zip(first, items, strict=True)}
        for step, item in zip(first, items, strict=True):
            item["says"] = step.says
        ends_at = time.monotonic() + _PATIENCE_S
        for step in again:
            id_ = ids[step.event.id]
            while self._is_open(id_) and time.monotonic() < ends_at:
                time.sleep(_POLL_S)
            made = self._api.post(f"{_EVENTS}/{segment(id_)}/resend")
            items.append(
                {
                    "id": id_,
                    "event": step.event.type,
                    "says": step.says,
                    "resent": len(made["data"]),
                    "listeners": made["listeners"],
                }
            )
        for item in items:
            line = f"{item['id']}  {item['event']:<22}  {item['says']}"
            if "resent" in item:
                line += f"  (again to {item['resent']} endpoint(s), {len(item['listeners'])} listener(s))"
            self._say(line)
        self._say_who(items[0])
        talk(
            "published in this order, each with the time it happened; what comes again was sent again afterwards. In "
            "which order they arrive cannot be forced so, since deliveries are made side by side: --to URL sends them "
            "in the scenario's order"
        )
        return Done(items, True, tuple(ids.values()))

    def _is_open(self, event_id: str) -> bool:
        """Whether an endpoint still waits for it: only what has ended is sent to it again."""
        made = self._api.get(_DELIVERIES, {"event": event_id, "limit": 100})["data"]
        return any(one["state"] in {"pending", "running"} for one in made)

    def _published(self, drafts: Sequence[Draft]) -> list[Item]:
        ids: list[str] = []
        if len(drafts) == 1:
            ids.append(self._api.post(_EVENTS, drafts[0])["id"])
        else:
            for start in range(0, len(drafts), _AT_ONCE):
                batch = {"events": list(drafts[start : start + _AT_ONCE])}
                ids += [one["id"] for one in self._api.post(_EVENTS, batch)["data"]]
        return [
            {
                "id": id_,
                "event": draft["event"],
                "object_id": draft["data"].get("id"),
                "created_at": draft.get("created_at"),
            }
            for id_, draft in zip(ids, drafts, strict=True)
        ]

    def _say_who(self, item: Item) -> None:
        if not self._api.get(_DELIVERIES, {"event": item["id"], "limit": 1})["data"]:
            talk(f"no endpoint asks for {item['event']}: it is in the feed all the same")

    def _say(self, line: str) -> None:
        if not self._is_quiet:
            print(printable(line).rstrip())


class ByUrl:
    """Posted to a URL, each request signed as a delivery is; no server is needed."""

    def __init__(self, url: str, secret: str, clock: Clock, *, scheme: Scheme = "workos", is_quiet: bool) -> None:
        self._url = url
        self._secret = secret
        self._scheme: Scheme = scheme
        self._clock = clock
        self._is_quiet = is_quiet
        self._said: tuple[str | None, ...] = ()

    def own_sample(self, event: str) -> Mapping[str, Any]:
        raise no_sample(event, sampled_types())

    def send_drafts(self, drafts: Sequence[Draft]) -> Done:
        ids = IdMaker()
        return self._send([_encoded(draft, ids, self._clock.now_ms()) for draft in drafts])

    def send_raw(self, body: bytes, name: str) -> Done:
        """The bytes as they are, whatever they are."""
        del name
        try:
            envelope = decode_envelope(body)
        except InvalidBody:
            return self._send([Webhook(body)])
        return self._send([Webhook(body, envelope.type, envelope.id)])

    def play(self, scenario: Scenario) -> Done:
        """In its order, what comes again with the same id and bytes."""
        webhooks = [Webhook(step.event.raw, step.event.type, step.event.id, step.says) for step in scenario.steps]
        return self._send(webhooks, at_once=scenario.at_once)

    def _send(self, webhooks: Sequence[Webhook], *, at_once: int = 1) -> Done:
        sent = send(
            self._url,
            self._secret,
            webhooks,
            clock=self._clock,
            scheme=self._scheme,
            at_once=at_once,
            told=self._say,
        )
        is_whole = len(sent) == len(webhooks) and all(one.is_accepted for one in sent)
        if (missing := len(webhooks) - len(sent)) > 0:
            print(f"{missing} more were not sent, since no answer came", file=sys.stderr)
        return Done(
            [_item(one) for one in sent], is_whole, tuple(dict.fromkeys(one.event_id or "" for one in webhooks))
        )

    def _say(self, sent: Sent) -> None:
        if self._is_quiet:
            return
        webhook = sent.webhook
        came = str(sent.status) if sent.status is not None else "no answer"
        what = f"{webhook.event_type or 'raw bytes'}  {webhook.event_id or f'{len(webhook.body)} bytes'}"
        says = f"  {webhook.says}" if webhook.says else ""
        print(printable(f"{came}  {sent.duration_ms:.0f} ms  {what}{says}"))
        # Why; once where the same comes again and again.
        told = (sent.error, sent.said, sent.hint)
        for line in told if told != self._said else ():
            if line is not None:
                print(printable(f"  {line.partition(chr(10))[0]}"), file=sys.stderr)
        self._said = told


def _item(sent: Sent) -> Item:
    webhook = sent.webhook
    says = {} if webhook.says is None else {"says": webhook.says}
    return {
        "id": webhook.event_id,
        "event": webhook.event_type,
        **says,
        "status": sent.status,
        "duration_ms": sent.duration_ms,
        "error": sent.error,
        "answer": sent.said,
        "hint": sent.hint,
    }


def _encoded(draft: Draft, ids: IdMaker, now_ms: int) -> Webhook:
    """The bytes of an event as the sender makes them. ConfigError for what has none."""
    created_at, context = draft.get("created_at"), draft.get("context")
    if context is not None and not isinstance(context, dict):
        raise ConfigError("context", f"expected an object, got {type(context).__name__}")
    event_id = str(draft.get("id") or ids.make("event", now_ms))
    try:
        body = encode_event(
            event_id=event_id,
            event_type=draft["event"],
            data=draft["data"],
            created_us=now_ms * 1_000 if created_at is None else parse_us(str(created_at)),
            context=context,
        )
    except (NotCanonical, ValueError) as error:
        raise ConfigError(draft["event"], str(error)) from None
    return Webhook(body, draft["event"], event_id)


def _draft_of(event: Event) -> Draft:
    draft: Draft = {"event": event.type, "data": event.data, "created_at": format_ms(event.created_us or 0)}
    about = event.data.get("user", event.data)
    organization = about["id"] if about.get("object") == "organization" else about.get("organization_id")
    return draft if organization is None else {**draft, "organization_id": organization}

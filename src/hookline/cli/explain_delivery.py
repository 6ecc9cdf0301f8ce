"""What a delivery was sent with, put together again from what the sender keeps: for `hookline explain --delivery`.

Of a signature the evidence holds eight digits. With the endpoint's secret and the event's bytes it is made again, and
these digits tell whether it is the one that was sent. The secret is asked of the API, which its audit trail keeps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from hookline.cli.api_client import ApiClient, Place, segment, sender_api
from hookline.errors import ConfigError, RequestError
from hookline.wire.explain import NamedSecret
from hookline.wire.signature import HEADER, sign
from hookline.wire.timestamps import parse_us

_MASKED: Final = re.compile(r"t=([0-9]{1,16}), v1=([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class SentDelivery:
    """An attempt of a delivery.

    Attributes:
        lines: its signature's header, whole again where the secret that signed is still there.
        body: the bytes that were sent.
        secrets: those that the endpoint has now.
        is_refused: it was answered, and not by 2xx.
    """

    delivery: dict[str, Any]
    attempt: dict[str, Any]
    lines: list[str] = field(repr=False)
    body: bytes = field(repr=False)
    secrets: list[NamedSecret]
    notes: list[str]

    @property
    def started_ms(self) -> int:
        """When the attempt began, in Unix milliseconds."""
        return parse_us(self.attempt["started_at"]) // 1000

    @property
    def is_refused(self) -> bool:
        status = self.attempt["status"]
        return status is not None and not 200 <= status < 300

    def shown(self) -> dict[str, Any]:
        """As it is printed."""
        answered = self.attempt["reason"] or self.attempt["outcome"]
        return {
            "delivery": self.delivery["id"],
            "event": f"{self.delivery['event']} {self.delivery['event_id']}",
            "endpoint": f"{self.delivery['endpoint_url']} {self.delivery['endpoint_id']}",
            "attempt": self.attempt["number"],
            "sent_at": self.attempt["started_at"],
            "answer": answered if self.attempt["status"] is None else f"{self.attempt['status']} ({answered})",
        }


def sent_delivery(place: Place, delivery: str, number: int | None) -> SentDelivery:
    """The attempt of that number, or the last.

    Raises:
        RequestError: 404 for no such delivery, 410 where the event's body is no longer kept.
        ConfigError: it has no such attempt.
    """
    with sender_api(place) as api:
        found = api.get(f"/api/v1/deliveries/{segment(delivery)}")
        attempts = [one for one in found["attempts"] if one["number"] == number or number is None]
        if not attempts:
            there = f"it has {len(found['attempts'])}" if found["attempts"] else "nothing was sent yet"
            raise ConfigError("--attempt" if number is not None else "--delivery", f"no such attempt: {there}")
        body = api.bytes_of(f"/api/v1/events/{segment(found['event_id'])}")
        secrets = _secrets(api, found["endpoint_id"])
    attempt = attempts[-1]
    pairs = attempt["evidence"].get("request", {}).get("headers", [])
    line, notes = _whole_again([(name, value) for name, value in pairs], body, secrets)
    return SentDelivery(found, attempt, line, body, secrets, notes)


def _secrets(api: ApiClient, endpoint: str) -> list[NamedSecret]:
    try:
        told = api.post(f"/api/v1/endpoints/{segment(endpoint)}/reveal_secret")
    except RequestError as error:
        if error.status != 404:
            raise
        return []  # the endpoint was deleted, and its secret with it
    return [
        NamedSecret(f"the {what} secret of the endpoint", told[key])
        for what, key in (("current", "secret"), ("old", "old_secret"))
        if told[key] is not None
    ]


def _whole_again(pairs: list[tuple[str, str]], body: bytes, secrets: list[NamedSecret]) -> tuple[list[str], list[str]]:
    shown = next((value for name, value in pairs if name.lower() == HEADER.lower()), None)
    masked = None if shown is None else _MASKED.match(shown)
    if shown is None or masked is None:
        return [], ["nothing was sent in this attempt: there is no signature to look at"]
    for one in secrets:
        value = sign(body, one.secret, timestamp_ms=int(masked[1]))
        if value.partition("v1=")[2].startswith(masked[2]):
            return [f"{HEADER}: {value}"], [f"it was signed with {one.name}, as the digits that are kept of it show"]
    why = "the endpoint is deleted, and its secret with it" if not secrets else "the endpoint has another secret now"
    return [f"{HEADER}: {shown}"], [f"{why}: the whole signature cannot be made again; what came of it is not proved"]

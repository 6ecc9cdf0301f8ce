"""Webhook requests of one's own: to a URL, without a server, as a delivery is made.

The bytes, the headers and their order, the timeouts and the exchange are the sender's. Nothing is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hookline.config import load
from hookline.loop import Clock
from hookline.relay.hints import HintCode, hint
from hookline.sender.attempt import first_headers
from hookline.sender.http import Answer, Exchange, Headers, Request, configured_tls
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.testing.signed import id_to_sign
from hookline.wire.schemes import Scheme, signed_headers

_SAID_CHARACTERS: Final = 200
# Where a forwarder would do something else about it.
_TO_DO: Final[Mapping[HintCode, str]] = {
    "signature": "sign with what the app verifies with: HOOKLINE_WEBHOOK_SECRETS, --secret-env or --secret-file; "
    "`hookline explain` says which step does not hold",
    "forbidden": "`hookline explain` explains the signature; where it holds, let this machine call the route",
    "timeout": "answer first and work afterwards",
    "refused": "start the app, or check the port",
    "closed": "the app may have restarted or crashed: its log tells",
}


@dataclass(frozen=True, slots=True)
class Webhook:
    """What is to be sent: the bytes, and what they are called. `event_type` and `event_id` are None of raw bytes."""

    body: bytes
    event_type: str | None = None
    event_id: str | None = None
    says: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of one.

    Attributes:
        status: of the answer; None where none came.
        error: why none came.
        hint: what to do; None where it was taken.
        said: the beginning of the answer's body, where it was not taken.
    """

    webhook: Webhook
    status: int | None
    duration_ms: float
    error: str | None = None
    hint: str | None = None
    said: str | None = None

    @property
    def is_accepted(self) -> bool:
        return self.status is not None and 200 <= self.status <= 299


def send(
    url: str,
    secret: str,
    webhooks: Sequence[Webhook],
    *,
    clock: Clock,
    scheme: Scheme = "workos",
    at_once: int = 1,
    told: Callable[[Sent], None] = lambda _: None,
) -> list[Sent]:
    """Send them in this order, each signed when it is its turn, and stop where no answer comes.

    Args:
        scheme: how they are signed; what has no id of its own is signed under that of its hash.
        at_once: so many are under way at a time.
        told: hears of each as soon as it has ended.
    """
    authorities = load()["targets_ca"]

    def signed(webhook: Webhook) -> Headers:
        event_id = id_to_sign(webhook.event_id, webhook.body)
        signature = signed_headers(scheme, webhook.body, secret, event_id=event_id, now_ms=clock.now_ms())
        return (*first_headers(()), *signature.items())

    async def run() -> list[Sent]:
        exchange = HttptoolsExchange(
            # Where it goes is what whoever calls has named, on their own machine as well.
            refuse=lambda _: None,
            tls=configured_tls(authorities),
        )
        try:
            return await _sent(exchange, url, signed, webhooks, at_once, told)
        finally:
            await exchange.close()

    return asyncio.run(run())


async def _sent(
    exchange: Exchange,
    url: str,
    signed: Callable[[Webhook], Headers],
    webhooks: Sequence[Webhook],
    at_once: int,
    told: Callable[[Sent], None],
) -> list[Sent]:
    waiting: Iterator[tuple[int, Webhook]] = iter(enumerate(webhooks))
    done: dict[int, Sent] = {}
    is_answered = True

    async def work() -> None:
        nonlocal is_answered
        for number, webhook in waiting:
            if not is_answered:
                return
            answer = await exchange.send(Request(url, signed(webhook), webhook.body))
            done[number] = sent = _judged(url, webhook, answer)
            told(sent)
            is_answered = is_answered and answer.status is not None

    await asyncio.gather(*(work() for _ in range(at_once)))
    return [done[number] for number in sorted(done)]


def _judged(url: str, webhook: Webhook, answer: Answer) -> Sent:
    duration_ms = round(answer.timings.total_ms, 1)
    found = hint(url, answer, flag="--to")
    if found is None:
        return Sent(webhook, answer.status, duration_ms)
    to_do = f"{found.message}: {_TO_DO.get(found.code, found.to_do)}"
    if answer.status is None:
        return Sent(webhook, None, duration_ms, error=answer.detail or answer.error, hint=to_do)
    said = answer.body.decode("utf-8", "replace").strip()[:_SAID_CHARACTERS]
    return Sent(webhook, answer.status, duration_ms, hint=to_do, said=said or None)

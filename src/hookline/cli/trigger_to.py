"""Webhook requests of one's own: to a URL, without a server, as a delivery is made.

The bytes, the headers and their order, the timeouts and how an answer is judged are the sender's; so is the exchange.
Nothing is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hookline.config import load
from hookline.errors import ConfigError
from hookline.loop import Clock
from hookline.sender.advice import advice_for
from hookline.sender.attempt import first_headers, judge_answer
from hookline.sender.http import Answer, Exchange, Request, tls_context
from hookline.sender.http_dial import destination
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.wire.signature import HEADER, Signer

_SAID_CHARACTERS: Final = 200


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


def endpoint_url(text: str) -> str:
    """The URL of an endpoint as it is given: without a scheme it is http, as of `localhost:8000/webhooks`.

    Raises: ConfigError.
    """
    url = text if "://" in text else f"http://{text}"
    try:
        destination(url, False)
    except ValueError as error:
        raise ConfigError("--to", f"{error} (as in http://localhost:8000/webhooks)") from None
    return url


def send(
    url: str,
    secret: str,
    webhooks: Sequence[Webhook],
    *,
    clock: Clock,
    at_once: int = 1,
    told: Callable[[Sent], None] = lambda _: None,
) -> list[Sent]:
    """Send them in this order, each signed when it is its turn, and stop where nobody can be reached.

    Args:
        at_once: so many are under way at a time.
        told: hears of each as soon as it has ended.
    """
    authorities = load()["targets_ca"]

    async def run() -> list[Sent]:
        exchange = HttptoolsExchange(
            # Where it goes is what whoever calls has named, on their own machine as well.
            refuse=lambda _: None,
            tls=tls_context(None if authorities is None else str(authorities)),
        )
        try:
            return await _sent(exchange, url, Signer(secret), webhooks, clock, at_once, told)
        finally:
            await exchange.close()

    return asyncio.run(run())


async def _sent(
    exchange: Exchange,
    url: str,
    signer: Signer,
    webhooks: Sequence[Webhook],
    clock: Clock,
    at_once: int,
    told: Callable[[Sent], None],
) -> list[Sent]:
    waiting: Iterator[tuple[int, Webhook]] = iter(enumerate(webhooks))
    done: dict[int, Sent] = {}
    is_reached = True

    async def work() -> None:
        nonlocal is_reached
        for number, webhook in waiting:
            if not is_reached:
                return
            headers = (*first_headers(()), (HEADER, signer.sign(webhook.body, timestamp_ms=clock.now_ms())))
            answer = await exchange.send(Request(url, headers, webhook.body))
            done[number] = sent = _judged(webhook, answer, clock.now_ms())
            told(sent)
            is_reached = is_reached and answer.status is not None

    await asyncio.gather(*(work() for _ in range(at_once)))
    return [done[number] for number in sorted(done)]


def _judged(webhook: Webhook, answer: Answer, now_ms: int) -> Sent:
    duration_ms = round(answer.timings.total_ms, 1)
    if answer.status is not None and 200 <= answer.status <= 299:
        return Sent(webhook, answer.status, duration_ms)
    to_do = advice_for(judge_answer(answer, now_ms).reason, answer.status).to_do
    if answer.status is None:
        return Sent(webhook, None, duration_ms, error=answer.detail or answer.error, hint=to_do)
    location = next((value for name, value in answer.headers if name.lower() == "location"), None)
    hint = to_do if location is None or to_do is None else f"{to_do}: {location}"
    said = answer.body.decode("utf-8", "replace").strip()[:_SAID_CHARACTERS]
    return Sent(webhook, answer.status, duration_ms, hint=hint, said=said or None)

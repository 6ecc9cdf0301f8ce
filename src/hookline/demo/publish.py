"""The company's own side of the sender: it registers an endpoint and publishes, over HTTP, with a bearer key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Self

import aiohttp

from hookline.demo.company import NewEvent
from hookline.errors import HooklineError
from hookline.wire.timestamps import format_ms

BATCH_MAX: Final = 100
TRIES: Final = 8
FIRST_WAIT_S: Final = 0.05


class Client:
    """A client of the sender's API. Use as an async context manager.

    Every publishing call carries an `Idempotency-Key` and is repeated with it where its outcome is not known, so
    that a broken connection publishes nothing twice.
    """

    def __init__(self, base_url: str, api_key: str, *, name: str) -> None:
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._name = name
        self._calls = 0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=aiohttp.ClientTimeout(total=30))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def register(self, url: str, types: Sequence[str]) -> str:
        """Register an endpoint through `POST /webhook_endpoints`; returns its signing secret."""
        made = await self._post("/webhook_endpoints", {"endpoint_url": url, "events": list(types)})
        secret: str = made["secret"]
        return secret

    async def publish(self, events: Sequence[NewEvent]) -> list[str]:
        """Publish through `POST /api/v1/events`, one by itself and several as a batch; returns their ids in order.

        Call it for one batch after another: the order of calls is the order of ids.
        """
        if len(events) == 1:
            made = await self._post("/api/v1/events", _draft(events[0]))
            return [made["id"]]
        made = await self._post("/api/v1/events", {"events": [_draft(event) for event in events]})
        return [one["id"] for one in made["data"]]

    async def _post(self, path: str, body: object) -> Any:
        assert self._session is not None, "the client is used as `async with Client(…)`"
        self._calls += 1
        headers = {"Idempotency-Key": f"{self._name}-{self._calls}"}
        for attempt in range(1, TRIES + 1):
            try:
                async with self._session.post(self._base_url + path, json=body, headers=headers) as response:
                    if response.status == 201:
                        return await response.json()
                    if response.status != 503 or attempt == TRIES:
                        told = (await response.text())[:200]
                        raise HooklineError(f"POST {path} was answered {response.status}, expected 201: {told}")
            except (aiohttp.ClientConnectionError, TimeoutError):
                if attempt == TRIES:
                    raise
            await asyncio.sleep(FIRST_WAIT_S * 2**attempt)
        raise AssertionError("the last try returns or raises")


def _draft(event: NewEvent) -> dict[str, Any]:
    data = event.data
    organization_id = data["id"] if data.get("object") == "organization" else _organization(data)
    return {
        "event": event.type,
        "data": data,
        "organization_id": organization_id,
        "created_at": format_ms(event.created_ms * 1000),
    }


def _organization(data: dict[str, Any]) -> str | None:
    found: str | None = data.get("organization_id") or data.get("user", {}).get("organization_id")
    return found

"""The receiver's owner at the sender: registers an endpoint over HTTP, with a bearer key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

import aiohttp

from hookline.errors import HooklineError

TRIES: Final = 8
FIRST_WAIT_S: Final = 0.05
_PATH: Final = "/webhook_endpoints"


async def register(base_url: str, api_key: str, url: str, types: Sequence[str]) -> str:
    """Register an endpoint through `POST /webhook_endpoints`; returns its signing secret.

    A call whose outcome is not known is repeated with its `Idempotency-Key`: a broken connection registers nothing
    twice.
    """
    headers = {"Authorization": f"Bearer {api_key}", "Idempotency-Key": uuid4().hex}
    body = {"endpoint_url": url, "events": list(types)}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=30)) as session:
        for attempt in range(1, TRIES + 1):
            try:
                async with session.post(base_url + _PATH, json=body) as response:
                    if response.status == 201:
                        secret: str = (await response.json())["secret"]
                        return secret
                    if response.status != 503 or attempt == TRIES:
                        told = (await response.text())[:200]
                        raise HooklineError(f"POST {_PATH} was answered {response.status}, expected 201: {told}")
            except (aiohttp.ClientConnectionError, TimeoutError):
                if attempt == TRIES:
                    raise
            await asyncio.sleep(FIRST_WAIT_S * 2**attempt)
    raise AssertionError("the last try returns or raises")

"""A FastAPI app with much in it that stands before its routes, and a worker in its lifespan.

As a process of its own it takes its database from `SHOP_DATABASE_URL`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hookline.adapters.fastapi import Hooks

SECRET = "whsec_fastapi_shop_secret"


async def login(authorization: Annotated[str | None, Header()] = None) -> None:
    """For every route of the app."""
    if authorization is None:
        raise HTTPException(401)


class Gate(BaseHTTPMiddleware):
    """Asks for a login for all pages but the first."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        if request.url.path != "/":
            return PlainTextResponse("who are you?", 401)
        return await call_next(request)


def make_hooks(database_url: str) -> Hooks:
    """Its receiver and its handlers: one plain, one async."""
    hooks = Hooks({"WEBHOOK_SECRETS": [SECRET], "DATABASE_URL": database_url})

    @hooks.on("dsync.user.created", name="shop.letters")
    def write(event: Any, tx: Any) -> None:
        tx.execute("create table if not exists letters (event_id text)")
        tx.execute(f"insert into letters values ('{event.id}')")

    @hooks.on_change("directory_user", name="shop.accounts")
    async def keep(change: Any, tx: Any) -> None:
        tx.execute("create table if not exists accounts (id text, process text)")
        tx.execute(f"insert into accounts values ('{change.id}', '{os.getpid()}')")

    return hooks


def create_app(database_url: str | None = None) -> FastAPI:
    """The shop, with everything in the way."""
    hooks = make_hooks(database_url or os.environ["SHOP_DATABASE_URL"])

    @contextlib.asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        yield {"of": "the shop"}

    app = FastAPI(lifespan=hooks.lifespan(own), dependencies=[Depends(login)])
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["shop.example"])
    hooks.install(app, "/hooks")
    app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example"])
    app.add_middleware(Gate)
    app.add_middleware(HTTPSRedirectMiddleware)
    app.state.hooks = hooks
    return app

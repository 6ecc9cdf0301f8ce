"""The dashboard as one ASGI application: who asks, may they, which page, how it is rendered, what an error looks like.

Pages know none of this (frame.py); they are listed in `MODULES`. Each is served for people, and as JSON with
`?format=json`, which an API key may ask for too: it reads as a viewer of its environment.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote

import jinja2
import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hookline.dashboard import formats
from hookline.dashboard.assets import load_assets
from hookline.dashboard.charts import bars, sparkline, split
from hookline.dashboard.frame import Action, Answered, Call, FormProblems, Page, Parts, SeeOther, Shown
from hookline.dashboard.links import ROOT, Links, is_local
from hookline.dashboard.live_source import LiveSource
from hookline.dashboard.pages import MODULES
from hookline.dashboard.payloads import laid_text, lay_out
from hookline.dashboard.proxies import as_seen
from hookline.dashboard.security import HEADERS, HSTS, REPORT_PATH, foreign_origin
from hookline.dashboard.sessions import session_token
from hookline.dashboard.viewer import Viewer
from hookline.errors import RequestError, StorageError
from hookline.loop import SystemClock
from hookline.rules.redaction import Places
from hookline.sender.model import ENVIRONMENTS

if TYPE_CHECKING:
    from hookline.dashboard.viewer import Known
    from hookline.loop import Clock
    from hookline.receiver.app import Receiver
    from hookline.rules.address import Network
    from hookline.sender.app import SenderApp
    from hookline.sender.model import Environment

log = logging.getLogger("hookline.dashboard")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Served: TypeAlias = Page | Action

# The explainer is given whole bodies, and a form may make three bytes of one.
MOST_FORM_BYTES: Final = 8 * 1024 * 1024
_MOST_FIELDS: Final = 5_000
_MOST_REPORT_BYTES: Final = 16_384
_SAID_COOKIE: Final = "hookline_said"
_MOST_SAID: Final = 1_000


class Dashboard:
    """The dashboard of one process, over the ends it has.

    Args:
        accounts: who may sign in; opened by the caller.
        sender: this process's sender, or None.
        receiver: this process's receiver, or None. The caller keeps both and closes them.
        clock: what time it is.
        redact: JSON paths of what is not shown of payloads and mirrored rows.
        trusted_proxies: whose word for who asked, and by which scheme, is taken.
        more: further pages and actions; their templates are looked for among ours.
        extra: what else pages find in `parts.extra`.

    Attributes:
        csp_reports: how many violations of the policy browsers have told of.
    """

    def __init__(
        self,
        *,
        accounts: Known,
        sender: SenderApp | None = None,
        receiver: Receiver | None = None,
        clock: Clock | None = None,
        redact: Places | None = None,
        trusted_proxies: Sequence[Network] = (),
        more: Sequence[Served] = (),
        extra: dict[str, Any] | None = None,
    ) -> None:
        has = {"sender": sender is not None, "receiver": receiver is not None, None: True}
        self._served: tuple[Served, ...] = (
            *(one for module in MODULES for one in module.PAGES if has[one.needs]),
            *more,
        )
        self._links = Links({one.name: one.path for one in self._served})
        clock = clock or SystemClock()
        self.parts = Parts(
            accounts=accounts,
            clock=clock,
            links=self._links,
            live=LiveSource(sender=sender, receiver=receiver, clock=clock),
            sender=sender,
            receiver=receiver,
            places=redact if redact is not None else Places(),
            trusted_proxies=tuple(trusted_proxies),
            extra=extra or {},
        )
        self.csp_reports = 0
        self._assets = load_assets()
        self._templates = self._make_templates()
        self._app = Starlette(
            routes=[
                *self._routes(),
                Route(f"{ROOT}/static/{{mark}}/{{name:path}}", self._asset, methods=["GET"]),
                Route(REPORT_PATH, self._report, methods=["POST"]),
            ],
            exception_handlers={HTTPException: self._no_page},
        )
        self._app.router.redirect_slashes = False

    @property
    def served(self) -> Sequence[Served]:
        """Every page and action there is."""
        return self._served

    def end_streams(self) -> None:
        """End what is answered without end, and begin nothing such: at once, before a server waits for its answers."""
        self.parts.live.end()

    def close(self) -> None:
        """`end_streams`, and wait until nothing of the dashboard reads any more. The caller then closes the ends."""
        self.parts.live.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: HTTP below `/dashboard`."""
        if scope["type"] != "http":
            return
        scope = as_seen(scope, self.parts.trusted_proxies)
        extra = [*HEADERS, HSTS] if scope.get("scheme") == "https" else HEADERS

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message["headers"] = [*headers, *extra]
            await send(message)

        if scope["path"] == ROOT:
            # Relative to nothing: one URL for the first page.
            scope = {**scope, "path": f"{ROOT}/"}
        await self._app(scope, receive, secured)

    def _routes(self) -> list[Route]:
        """One route per path: what is read and what is done there."""
        by_path: dict[str, list[Served]] = {}
        for one in self._served:
            by_path.setdefault(one.path, []).append(one)
        # Fixed paths before places that would take them too.
        ordered = sorted(by_path.items(), key=lambda item: (item[0].count("{"), ":path" in item[0], -len(item[0])))
        routes = []
        for path, several in ordered:
            page = next((one for one in several if isinstance(one, Page)), None)
            action = next((one for one in several if isinstance(one, Action)), None)
            methods = (["GET"] if page else []) + (["POST"] if action or (page and page.reveals) else [])
            routes.append(Route(ROOT + path, functools.partial(self._serve, page, action), methods=methods))
        return routes

    async def _serve(self, page: Page | None, action: Action | None, request: Request) -> Response:
        try:
            return await self._answer(page, action, request)
        except RequestError as error:
            return await self._refused(request, error)
        except HTTPException as error:
            return await self._refused(request, RequestError(error.status_code, None, str(error.detail)))
        except StorageError as error:
            log.warning("a page was not shown: the database is away (%s)", type(error).__name__)
            message = "The database does not answer now. Nothing was changed; try again in a moment."
            return await self._refused(request, RequestError(503, "unavailable", message))
        except Exception:
            log.exception("a page failed: %s %a", request.method, request.url.path)
            message = "This page failed. The log of the process has the reason; nothing was half written."
            return await self._refused(request, RequestError(500, "failed", message))

    async def _answer(self, page: Page | None, action: Action | None, request: Request) -> Response:
        writes = request.method == "POST"
        if writes and (why := foreign_origin(request.headers)) is not None:
            raise RequestError(403, "cross_site", f"This request came from another site. {why}")
        form = await _form(request) if writes else FormData()
        # A page that reveals has its POST; a path may have both, told apart by the field.
        reveals = writes and page is not None and page.reveals and (action is None or form.get("reveal") == "1")
        served: Served | None = page if reveals or not writes else action
        if served is None:
            raise RequestError(405, None, "Nothing is done at this address.")
        viewer = await self._viewer(request)
        if viewer is None and not served.is_open:
            return self._to_sign_in(request)
        if viewer is not None and not viewer.may(served.role):
            raise RequestError(403, "role", f"This needs the role {served.role}; yours is {viewer.role}.")
        if reveals and (viewer is None or not viewer.may("admin")):
            raise RequestError(403, "role", "What is redacted is shown to the role admin alone.")
        environment = _environment(request)
        if viewer is not None and viewer.is_key:
            if writes or request.query_params.get("format") != "json":
                raise RequestError(403, "role", "An API key reads pages as ?format=json, and does nothing else here.")
            if viewer.environment != environment and "environment" in request.path_params:
                raise RequestError(403, "role", "This API key is of another environment.")
        _refuse_nul(request, form)
        call = Call(
            parts=self.parts,
            viewer=viewer or Viewer("", "viewer"),
            environment=environment,
            params={name: str(value) for name, value in request.path_params.items()},
            query=request.query_params,
            form=form,
            now_ms=self.parts.clock.now_ms(),
            request=request,
            reveals=reveals,
        )
        if reveals:
            await run_in_threadpool(call.audit, "payload.revealed", request.url.path[:500])
        function: Callable[[Call], Any] = served.function
        answered: Answered
        if inspect.iscoroutinefunction(function):
            answered = await function(call)
        else:
            answered = await run_in_threadpool(function, call)
        if isinstance(answered, Response):
            return answered
        if isinstance(answered, SeeOther):
            return _see_other(request, answered)
        return await run_in_threadpool(self._rendered, call, answered)

    async def _viewer(self, request: Request) -> Viewer | None:
        if (token := session_token(request)) is not None:
            viewer = await run_in_threadpool(self.parts.accounts.viewer_of, token)
            if viewer is not None:
                return viewer
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.parts.sender is not None:
            holder = await run_in_threadpool(self.parts.sender.key_holder, key.strip())
            if holder is None:
                raise RequestError(401, None, "Unauthorized")
            return Viewer(holder.actor, "viewer", is_key=True, environment=holder.environment)
        return None

    def _to_sign_in(self, request: Request) -> Response:
        if request.query_params.get("format") == "json":
            raise RequestError(401, None, "Sign in, or come with an API key: Authorization: Bearer sk_…")
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        query = {"next": here} if request.method != "POST" and is_local(here) else {}
        location = self._links.to("sign_in", {}, query)
        if request.headers.get("hx-request") == "true":
            # The whole page goes there, not the part that asked.
            return Response(status_code=401, headers={"hx-redirect": location})
        response = RedirectResponse(location, 303)
        if request.method == "POST":
            _say(response, "Your session has ended: sign in, and do it again. Nothing was changed.")
        return response

    def _rendered(self, call: Call, shown: Shown) -> Response:
        if call.query.get("format") == "json":
            content = msgspec.json.encode(shown.data, enc_hook=str)
            return Response(content, shown.status, media_type="application/json")
        response = Response(
            self._html(shown.template, call, title=shown.title, data=shown.data, also=shown.also),
            shown.status,
            media_type="text/html",
        )
        if _SAID_COOKIE in call.request.cookies:
            response.delete_cookie(_SAID_COOKIE, path=ROOT)
        return response

    def _html(self, template: str, call: Call, **values: Any) -> str:
        return self._templates.get_template(template).render(
            call=call,
            viewer=call.viewer,
            now_ms=call.now_ms,
            link=call.link,
            here=call.here,
            has=self._links.has,
            said=_said(call.request),
            places=self._places(call),
            **values,
        )

    def _places(self, call: Call) -> list[tuple[str, list[tuple[str, str, bool]]]]:
        """The navigation: groups of name, URL and whether one is there."""
        path = call.request.url.path
        groups = []
        for title, names in _NAVIGATION:
            entries = []
            for name, label in names:
                if self._links.has(name):
                    location = call.link(name)
                    exact = location == f"{ROOT}/"
                    entries.append((label, location, path == location or (not exact and path.startswith(location))))
            if entries:
                groups.append((title, entries))
        return groups

    async def _refused(self, request: Request, error: RequestError) -> Response:
        if request.query_params.get("format") == "json":
            body = {"status": error.status, "code": error.code, "message": error.message, "errors": error.errors}
            return Response(msgspec.json.encode(body), error.status, media_type="application/json")
        viewer = None
        if error.status != 503:
            try:
                viewer = await self._viewer(request)
            except (RequestError, StorageError):
                viewer = None
        environment: Environment = "production"
        found = request.path_params.get("environment")
        if found in ENVIRONMENTS:
            environment = found
        call = Call(
            parts=self.parts,
            viewer=viewer or Viewer("", "viewer"),
            environment=environment,
            params={},
            query=request.query_params,
            form=FormData(),
            now_ms=self.parts.clock.now_ms(),
            request=request,
        )
        title = _TITLES.get(error.status, "That did not work")
        problems = FormProblems.of(error)
        html = await run_in_threadpool(
            self._html, "error.html", call, title=title, data={"status": error.status, "problems": problems}, also={}
        )
        return Response(html, error.status, media_type="text/html")

    async def _no_page(self, request: Request, error: Exception) -> Response:
        """What Starlette answers by itself: of a method or an address that there is no route for."""
        if isinstance(error, HTTPException) and error.status_code == 405:
            return await self._refused(request, RequestError(405, None, "This address is not asked like that."))
        if await self._viewer_or_none(request) is None:
            # Says nothing of which pages there are.
            return self._to_sign_in(request)
        return await self._refused(request, RequestError(404, None, f"There is no page at {request.url.path[:200]}."))

    async def _viewer_or_none(self, request: Request) -> Viewer | None:
        try:
            return await self._viewer(request)
        except (RequestError, StorageError):
            return None

    async def _asset(self, request: Request) -> Response:
        asset = self._assets.get(request.path_params["name"])
        if asset is None or asset.mark != request.path_params["mark"]:
            return Response("not found\n", 404, media_type="text/plain")
        headers = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(asset.content, headers=headers, media_type=asset.content_type)

    async def _report(self, request: Request) -> Response:
        """A browser tells that it kept something from happening. Anybody may post here: counted, and said once."""
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > _MOST_REPORT_BYTES:
                return Response(status_code=413)
        self.csp_reports += 1
        if self.csp_reports == 1:
            log.warning("a browser reported a violation of the content security policy; more are counted, not logged")
        return Response(status_code=204)

    def _make_templates(self) -> jinja2.Environment:
        made = jinja2.Environment(
            loader=jinja2.PackageLoader("hookline.dashboard"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        made.filters |= {
            "exact": formats.exact,
            "span": formats.span,
            "count": formats.count,
            "percent": formats.percent,
            "size": formats.size,
            "visible": formats.visible,
        }
        made.globals |= {
            "asset": self._asset_link,
            "relative": formats.relative,
            "lay_out": lay_out,
            "laid_text": laid_text,
            "bars": bars,
            "sparkline": sparkline,
            "split": split,
            "environments": ENVIRONMENTS,
        }
        return made

    def _asset_link(self, name: str) -> str:
        return f"{ROOT}/static/{self._assets[name].mark}/{quote(name)}"


_NAVIGATION: Final = (
    ("", (("overview", "Overview"), ("live", "Live"))),
    (
        "Sender",
        (("endpoints", "Endpoints"), ("events", "Events"), ("traffic", "Traffic"), ("replays", "Replays")),
    ),
    (
        "Receiver",
        (
            ("inbox", "Inbox"),
            ("dead_letters", "Dead letters"),
            ("mirror", "Mirror"),
            ("reconcile", "Reconcile"),
            ("handlers", "Handlers"),
        ),
    ),
    ("Tools", (("explainer", "Explain a signature"), ("jobs", "Jobs"), ("settings", "Settings"))),
)
_TITLES: Final = {
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Not like that",
    409: "Not now",
    410: "No longer kept",
    413: "Too large",
    422: "Not as expected",
    429: "Too often",
    500: "This page failed",
    503: "The database is away",
}


def _environment(request: Request) -> Environment:
    found = request.path_params.get("environment", "production")
    for one in ENVIRONMENTS:
        if found == one:
            return one
    raise RequestError(404, None, f"There is no environment of this name; expected one of {', '.join(ENVIRONMENTS)}.")


async def _form(request: Request) -> FormData:
    """The fields of a POST, read whole and within bounds."""
    received = 0
    chunks = []
    async for chunk in request.stream():
        received += len(chunk)
        if received > MOST_FORM_BYTES:
            raise RequestError(413, None, f"The form is larger than {formats.size(MOST_FORM_BYTES)}.")
        chunks.append(chunk)
    body = b"".join(chunks)
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        return await Request(request.scope, replay).form(
            max_files=10, max_fields=_MOST_FIELDS, max_part_size=MOST_FORM_BYTES
        )
    except HTTPException as error:
        raise RequestError(422, "invalid", f"The form cannot be read: {error.detail}") from None


def _refuse_nul(request: Request, form: FormData) -> None:
    """No id and no text of ours has NUL in it, and PostgreSQL could not even look for it."""
    if "\0" in request.url.path or "\0" in request.scope["path"]:
        raise RequestError(404, None, "Not found: no id has NUL in it.")
    for name, value in (*request.query_params.multi_items(), *form.multi_items()):
        if isinstance(value, str) and ("\0" in value or "\0" in name):
            shown = name.replace("\0", "")
            message = "expected text without NUL"
            raise RequestError(
                422, "invalid", f"{shown}: {message}", [{"code": "invalid", "field": shown, "message": message}]
            )


def _see_other(request: Request, answered: SeeOther) -> Response:
    if request.headers.get("hx-request") == "true":
        response = Response(status_code=200, headers={"hx-redirect": answered.location})
    else:
        response = RedirectResponse(answered.location, 303)
    if answered.said:
        _say(response, answered.said)
    return response


def _say(response: Response, text: str) -> None:
    encoded = base64.urlsafe_b64encode(text[:_MOST_SAID].encode()).decode()
    response.set_cookie(_SAID_COOKIE, encoded, max_age=60, path=ROOT, httponly=True, samesite="lax")


def _said(request: Request) -> str | None:
    found = request.cookies.get(_SAID_COOKIE)
    if found is None or len(found) > 4 * _MOST_SAID:
        return None
    try:
        return base64.urlsafe_b64decode(found.encode()).decode()[:_MOST_SAID]
    except (ValueError, UnicodeError):
        return None

"""A browser without JavaScript, in this process: cookies, redirects, and the links and forms of what an app answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import Any, Final, Self
from urllib.parse import unquote, urlencode, urljoin, urlsplit

HOST: Final = "hookline.test"
_MOST_REDIRECTS: Final = 5


@dataclass
class Form:
    """One form of a page: where it goes, and its fields as they stand."""

    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    buttons: list[tuple[str, str, str]] = field(default_factory=list)
    text: str = ""


@dataclass
class Answer:
    """What came back; `path` is where the redirects ended."""

    path: str
    status: int
    headers: Mapping[str, str]
    content: bytes
    set_cookies: Sequence[str]

    @property
    def text(self) -> str:
        return self.content.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def page(self) -> Page:
        found = Page()
        found.feed(self.text)
        return found


class Page(HTMLParser):
    """The links, the forms and the text of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[tuple[str, str]] = []
        self.forms: list[Form] = []
        self.text = ""
        self.headings: list[str] = []
        self._form: Form | None = None
        self._open: list[str] = []
        self._href: str | None = None
        self._linked = ""
        self._area: str | None = None
        self._typed = ""
        self._select: str | None = None
        self._chosen: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in ("script", "style"):
            self._open.append(tag)
        elif tag == "a" and "href" in given:
            self._href, self._linked = given["href"], ""
        elif tag == "h1":
            self.headings.append("")
        elif tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._form)
        elif self._form is not None:
            self._field(tag, given)

    def _field(self, tag: str, given: dict[str, str]) -> None:
        assert self._form is not None
        name = given.get("name", "")
        if tag == "input" and name and "disabled" not in given:
            kind = given.get("type", "text")
            if kind in ("checkbox", "radio"):
                if "checked" in given:
                    self._form.fields.append((name, given.get("value", "on")))
            elif kind not in ("submit", "button", "file"):
                self._form.fields.append((name, given.get("value", "")))
        elif tag == "textarea" and name:
            self._area, self._typed = name, ""
        elif tag == "select" and name:
            self._select, self._chosen = name, None
        elif tag == "option" and self._select is not None:
            if self._chosen is None or "selected" in given:
                self._chosen = given.get("value", "")
        elif tag == "button" and given.get("type", "submit") == "submit":
            self._form.buttons.append((name, given.get("value", ""), given.get("formaction", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style") and self._open:
            self._open.pop()
        elif tag == "a" and self._href is not None:
            self.links.append((" ".join(self._linked.split()), self._href))
            self._href = None
        elif tag == "textarea" and self._area is not None and self._form is not None:
            self._form.fields.append((self._area, self._typed.removeprefix("\n")))
            self._area = None
        elif tag == "select" and self._select is not None and self._form is not None:
            self._form.fields.append((self._select, self._chosen or ""))
            self._select = None
        elif tag == "form":
            self._form = None

    def handle_data(self, data: str) -> None:
        if self._open:
            return
        self.text += data
        if self._href is not None:
            self._linked += data
        if self._area is not None:
            self._typed += data
        if self._form is not None:
            self._form.text += data
        if self.lasttag == "h1" and self.headings and data.strip():
            self.headings[-1] += data.strip()

    def link(self, text: str) -> str:
        """The first link whose text holds this."""
        return next(href for found, href in self.links if text in found)

    def form(self, part: str = "") -> Form:
        """The first form that posts and whose action, text or buttons hold this."""
        return next(one for one in self.forms if one.method == "post" and (part in one.action or part in one.text))


class Browser:
    """Asks one app, as one person.

    Args:
        app: the application.
        headers: sent with every request.
        scheme: `http` or `https`.
        peer: where the connection comes from.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        *,
        headers: Mapping[str, str] | None = None,
        scheme: str = "http",
        peer: str = "127.0.0.1",
    ) -> None:
        self.app = app
        self.headers = dict(headers or {})
        self.scheme = scheme
        self.peer = peer
        self.cookies: dict[str, str] = {}
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._runner.close()

    def get(self, path: str, *, follow: bool = True, **headers: str) -> Answer:
        """Read a page; names of headers with underscores."""
        return self._ask("GET", path, b"", headers, follow=follow)

    def post(
        self,
        path: str,
        fields: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        *,
        follow: bool = True,
        **headers: str,
    ) -> Answer:
        """Send a form as a browser does from a page of the same site."""
        body = urlencode(list(fields.items()) if isinstance(fields, Mapping) else list(fields)).encode()
        given = {"content_type": "application/x-www-form-urlencoded", "sec_fetch_site": "same-origin", **headers}
        return self._ask("POST", path, body, given, follow=follow)

    def submit(
        self, answer: Answer, part: str = "", *, follow: bool = True, button: str | None = None, **changed: str
    ) -> Answer:
        """Send the form of a page that `Page.form` finds, with some of its fields changed, by a button of that name."""
        form = answer.page.form(part)
        fields = [(name, value) for name, value in form.fields if name not in changed]
        fields += list(changed.items())
        target = form.action
        for name, value, action in form.buttons:
            if button is not None and button in (name, value):
                fields += [(name, value)] if name else []
                target = action or target
                break
        return self.post(urljoin(answer.path, target) if target else answer.path, fields, follow=follow)

    def _ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str], *, follow: bool) -> Answer:
        answer = self._once(method, path, body, headers)
        for _ in range(_MOST_REDIRECTS):
            location = answer.headers.get("location")
            if not follow or answer.status not in (302, 303, 307) or location is None:
                break
            answer = self._once("GET", urljoin(answer.path, location), b"", {})
        return answer

    def _once(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        parts = urlsplit(path)
        assert not parts.netloc, f"a page led to another host: {parts.netloc}"
        given = {"host": HOST, **self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            given["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if body:
            given["content-length"] = str(len(body))
        scope: MutableMapping[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": self.scheme,
            "method": method,
            "path": unquote(parts.path),
            "raw_path": parts.path.encode(),
            "root_path": "",
            "query_string": parts.query.encode(),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in given.items()],
            "client": (self.peer, 4711),
            "server": (HOST, 443 if self.scheme == "https" else 80),
        }
        sent: list[MutableMapping[str, Any]] = []
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> MutableMapping[str, Any]:
            if not waiting:
                await asyncio.Event().wait()
            return waiting.pop()

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        async def ask() -> None:
            await self.app(scope, receive, send)

        self._runner.run(ask())
        start, *rest = sent
        pairs = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in start["headers"]]
        set_cookies = [value for name, value in pairs if name == "set-cookie"]
        for text in set_cookies:
            for name, morsel in SimpleCookie(text).items():
                if morsel["max-age"] == "0" or not morsel.value:
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        content = b"".join(message.get("body", b"") for message in rest)
        where = parts.path + (f"?{parts.query}" if parts.query else "")
        return Answer(where, start["status"], dict(pairs), content, set_cookies)

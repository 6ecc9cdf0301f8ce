"""What pages are made of: a call, what it may reach, and what a page answers it with.

A page is a function of a `Call` that gives a `Shown`: data, which is also its JSON twin (`?format=json`), and the name
of a template. An action is the same for a POST, and mostly gives a `SeeOther`. Everything else, who may call it, how
it is rendered, what an error looks like, is app.py's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from starlette.datastructures import FormData, QueryParams
from starlette.responses import Response

from hookline.errors import RequestError
from hookline.rules.redaction import Places
from hookline.sender.model import Environment

if TYPE_CHECKING:
    from starlette.requests import Request

    from hookline.dashboard.links import Links
    from hookline.dashboard.live_source import LiveSource
    from hookline.dashboard.viewer import Known, Role, Viewer
    from hookline.loop import Clock
    from hookline.receiver.app import Receiver
    from hookline.rules.address import Network
    from hookline.sender.app import SenderApp

Needs: TypeAlias = Literal["sender", "receiver"]


@dataclass(frozen=True, slots=True)
class Parts:
    """What pages reach. An end is None where this process does not have it."""

    accounts: Known
    clock: Clock
    links: Links
    live: LiveSource
    sender: SenderApp | None = None
    receiver: Receiver | None = None
    places: Places = field(default_factory=Places)
    trusted_proxies: Sequence[Network] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a page, of somebody who may make it.

    Attributes:
        viewer: who asks.
        environment: from the path; `production` where the path has none.
        params: what the path's places hold.
        query: what follows the question mark.
        form: the fields of a POST; empty else. No field has NUL in it.
        reveals: whether what is redacted is shown in full: an admin pressed for it, and it was recorded.
        now_ms: when it came.
        request: the request itself, for what is not said here.
    """

    parts: Parts
    viewer: Viewer
    environment: Environment
    params: Mapping[str, str]
    query: QueryParams
    form: FormData
    now_ms: int
    request: Request
    reveals: bool = False

    @property
    def sender(self) -> SenderApp:
        """This process's sender. A page that asks for it says `needs="sender"`."""
        if self.parts.sender is None:
            raise RequestError(404, None, "This process has no sender.")
        return self.parts.sender

    @property
    def receiver(self) -> Receiver:
        """This process's receiver. A page that asks for it says `needs="receiver"`."""
        if self.parts.receiver is None:
            raise RequestError(404, None, "This process has no receiver.")
        return self.parts.receiver

    @property
    def address(self) -> str:
        """Where the connection comes from."""
        return self.request.client.host if self.request.client else ""

    @property
    def is_htmx(self) -> bool:
        """Whether a part of a page asks, so that a part is enough."""
        return self.request.headers.get("hx-request") == "true"

    def link(self, name: str, /, *, query: Mapping[str, Any] | None = None, **params: object) -> str:
        """The URL of a page by its name. Pages of an environment lead to this call's unless another is given."""
        return self.parts.links.to(name, {"environment": self.environment, **params}, query)

    def here(self, **changed: object) -> str:
        """This page's URL with some of its query changed; None takes a name out."""
        return self.parts.links.with_query(self.request.url.path, self.query, changed)

    def text(self, name: str, *, most: int = 10_000) -> str:
        """A field of the form without white space at its ends; '' where it is missing.

        Raises: RequestError(422) naming the field where it is longer than `most`.
        """
        value = self.form.get(name, "")
        value = value.strip() if isinstance(value, str) else ""
        if len(value) > most:
            message = f"expected at most {most} characters, got {len(value)}"
            raise RequestError(422, "invalid", message, [{"code": "invalid", "field": name, "message": message}])
        return value

    def shown(self, value: Any) -> Any:
        """A JSON value with what is personal redacted, unless this call reveals it."""
        return value if self.reveals else self.parts.places.redacted(value)

    def shown_member(self, name: str, value: Any, *, of: str | None = None) -> Any:
        """One member or column by its name, redacted likewise. `of`: the object's kind, where it is known."""
        shown = self.shown({"object": of, name: value} if of else {name: value})
        return shown[name]

    def audit(self, action: str, object_id: str | None = None, **detail: Any) -> None:
        """Record that the viewer did something that no end records by itself."""
        self.parts.accounts.record(self.viewer.actor, action, object_id, detail, address=self.address)


@dataclass(frozen=True, slots=True)
class Shown:
    """A page to be shown.

    Attributes:
        template: a file under templates/.
        title: the page's one heading, and the window's.
        data: what it says; JSON-able, since it is the twin too. The template sees it as `data`.
        also: what the template alone needs; it sees it as `also`.
    """

    template: str
    title: str
    data: Any
    also: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class SeeOther:
    """Go on at another page of ours; `said` is shown there once."""

    location: str
    said: str | None = None


Answered: TypeAlias = "Shown | SeeOther | Response"
Function: TypeAlias = Callable[[Call], Answered] | Callable[[Call], Awaitable[Answered]]


@dataclass(frozen=True, slots=True)
class Page:
    """A page that is read.

    Attributes:
        path: below `/dashboard`, with places as Starlette writes them: `{id}`, `{id:path}`.
        role: who may read it.
        needs: the end without which there is no such page.
        reveals: whether an admin may press for what is redacted: a POST of `reveal=1` to the same URL.
        is_open: whether nobody needs to have signed in.
    """

    name: str
    path: str
    function: Function
    role: Role = "viewer"
    needs: Needs | None = None
    reveals: bool = False
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """Something that is done: a POST. The attributes are those of `Page`."""

    name: str
    path: str
    function: Function
    role: Role = "operator"
    needs: Needs | None = None
    is_open: bool = False


class FormProblems:
    """What is wrong with a form: by field, to stand beside it, and all together for the summary on top."""

    def __init__(self, by_field: Mapping[str, str] | None = None, *, summary: str = "") -> None:
        self.by_field = dict(by_field or {})
        self.summary = summary

    @classmethod
    def of(cls, error: RequestError) -> FormProblems:
        """Of a refusal by one of the ends."""
        found = cls(summary=error.message)
        for one in error.errors or ():
            name, message = one.get("field"), str(one.get("message", ""))
            if isinstance(name, str):
                found.by_field.setdefault(name.partition("[")[0], message.removeprefix(f"{name}: "))
        return found

    def __getitem__(self, name: str) -> str | None:
        return self.by_field.get(name)

    def __bool__(self) -> bool:
        return bool(self.by_field or self.summary)

"""Requests as the sender would send them, for tests of a receiver."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from hookline.errors import ConfigError
from hookline.loop import Clock
from hookline.wire.event import Event
from hookline.wire.schemes import Scheme, signed_headers

if TYPE_CHECKING:
    from hookline.receiver.app import Receiver

PATH: Final = "/webhooks"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What to POST: the exact body bytes, the headers that belong to them, and where.

    For each test client the same in its own words: `client.post(**request.django)`.
    """

    body: bytes
    headers: dict[str, str]
    path: str = PATH
    method: str = "POST"

    @property
    def django(self) -> dict[str, Any]:
        """For Django's `Client.post` and `AsyncClient.post`, which take the content type apart from the headers."""
        headers = {name: value for name, value in self.headers.items() if name != "Content-Type"}
        return {
            "path": self.path,
            "data": self.body,
            "content_type": self.headers["Content-Type"],
            "headers": headers,
        }

    @property
    def flask(self) -> dict[str, Any]:
        """For Flask's and Werkzeug's `Client.post`."""
        return {"path": self.path, "data": self.body, "headers": dict(self.headers)}

    @property
    def httpx(self) -> dict[str, Any]:
        """For the `post` of httpx, and of Starlette's and FastAPI's `TestClient`."""
        return {"url": self.path, "content": self.body, "headers": dict(self.headers)}


@dataclass(frozen=True, slots=True)
class Signing:
    """Signs events for one door, at the time of a clock."""

    secret: str = field(repr=False)
    clock: Clock
    path: str = PATH
    scheme: Scheme = "workos"

    @classmethod
    def of(cls, receiver: Receiver, source: str | None = None) -> Self:
        """For a door of a receiver: by its first secret and its path (relative to where it is mounted), at the
        receiver's time.

        Args:
            source: whose door; the first one's if not given.

        Raises:
            ConfigError: it has no secret.
            LookupError: there is no such source.
        """
        found = next((one for one in receiver.sources if source in {None, one.name}), None)
        if found is None:
            raise LookupError(f"expected one of {', '.join(one.name for one in receiver.sources)}, got {source!r}")
        if not found.secrets:
            raise ConfigError("secrets", "expected the receiver to have a signing secret in tests, too: it has none")
        token = "" if found.path_token is None else f"/{found.path_token}"
        return cls(found.secrets[0], receiver.clock, f"{found.path}{token}", found.scheme)

    def __call__(self, event: Event | bytes, *, secret: str | None = None, path: str | None = None) -> SignedRequest:
        """The request that delivers `event`, or these body bytes whatever they are, signed now.

        Args:
            secret: another one than the door's: a wrong one, or that of another source.
            path: another one than the door's.
        """
        return signed_request(
            event,
            self.secret if secret is None else secret,
            timestamp_ms=self.clock.now_ms(),
            path=self.path if path is None else path,
            scheme=self.scheme,
        )


def signed_request(
    event: Event | bytes, secret: str, *, timestamp_ms: int, path: str = PATH, scheme: Scheme = "workos"
) -> SignedRequest:
    """The request that delivers `event`, or these body bytes whatever they are, signed at `timestamp_ms`.

    By Standard Webhooks (`scheme="standard_webhooks"`) under the event's id; what has none goes under one of its hash,
    so that the same bytes again are a duplicate.
    """
    body = event.raw if isinstance(event, Event) else event
    event_id = id_to_sign(event.id if isinstance(event, Event) else None, body)
    signed = signed_headers(scheme, body, secret, event_id=event_id, now_ms=timestamp_ms)
    return SignedRequest(body=body, headers={"Content-Type": "application/json", **signed}, path=path)


def id_to_sign(own_id: str | None, body: bytes) -> str:
    """What Standard Webhooks signs a body under: its own id, else one of its hash."""
    return own_id or f"msg_{hashlib.sha256(body).hexdigest()[:24]}"

"""What accounts are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hookline.dashboard.viewer import Role, Theme, Viewer
from hookline.errors import HooklineError


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may sign in: with a password, by an identity provider, or by a one-time link alone."""

    name: str
    role: Role
    has_password: bool
    oidc_subject: str | None
    theme: Theme
    created_ms: int
    disabled_ms: int | None
    sessions: int = 0
    seen_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """One browser that is signed in. Its token is in that browser alone."""

    id: str
    user_name: str
    created_ms: int
    seen_ms: int
    expires_ms: int
    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Something that was done in the dashboard."""

    row_id: int
    at_ms: int
    actor: str
    action: str
    object_id: str | None
    detail: Mapping[str, Any]
    address: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session: its token, for the browser alone, and whose it is."""

    token: str
    viewer: Viewer
    lasts_s: int


class SignInRefused(HooklineError):
    """Nobody is let in. `wait_s`: how long until it may be tried again, 0 for at once."""

    def __init__(self, message: str, *, wait_s: int = 0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class UserRefused(HooklineError):
    """A user cannot be made or changed like that; `field` names what is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message

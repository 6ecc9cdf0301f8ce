"""Who there is, what they are signed in with, and what they did, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from hookline.dashboard.viewer import Role, Theme, Viewer

Method: TypeAlias = Literal["password", "link", "oidc"]
LinkKind: TypeAlias = Literal["first", "password"]


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may sign in. `issuer` and `subject`: who a provider of OpenID Connect says they are, or None."""

    row_id: int
    id: str
    name: str
    role: Role
    password_hash: str | None = field(repr=False)
    issuer: str | None
    subject: str | None
    theme: Theme
    created_ms: int
    signed_in_ms: int | None
    disabled_ms: int | None


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is signed in: since when, from where, and until when at most."""

    id: str
    user: str
    method: Method
    address: str
    agent: str
    created_ms: int
    used_ms: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session that has begun: its token, for the browser alone, whose it is, and how long it lasts at most."""

    token: str = field(repr=False)
    viewer: Viewer
    lasts_s: int


@dataclass(frozen=True, slots=True)
class Vouched:
    """Whom a provider vouches for, what its claims make them, in which sign-in, and where they wanted to go.

    `name`: what they are called here where they are new; who they are is `subject` of `issuer`.
    """

    issuer: str
    subject: str
    name: str
    role: Role
    state: str = field(repr=False)
    next: str = "/"


@dataclass(frozen=True, slots=True)
class LinkPurpose:
    """What a link that is good once is good for: `first` makes the first admin, `password` sets that of `user`."""

    kind: LinkKind
    user: str | None


@dataclass(frozen=True, slots=True)
class AuditLine:
    """Something that was done."""

    row_id: int
    at_ms: int
    actor: str
    action: str
    object_id: str | None
    detail: Mapping[str, Any]
    address: str


@dataclass(frozen=True, slots=True)
class AuditChoice:
    """Which lines of the audit trail to list; None leaves a side open."""

    action: str | None = None
    actor: str | None = None
    object_id: str | None = None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Lines of the audit trail, newest first, and the row to go on from in either direction, None at an end."""

    lines: Sequence[AuditLine]
    newer: int | None
    older: int | None

"""Who looks at the dashboard, and what they may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

from hookline.rules.roles import ROLES, Role

__all__ = ["ROLES", "THEMES", "Known", "Role", "Theme", "Viewer"]

Theme: TypeAlias = Literal["system", "light", "dark"]

THEMES: Final[tuple[Theme, ...]] = ("system", "light", "dark")


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who signed in, or an API key that reads (`is_key`).

    Attributes:
        name: how the audit trail calls them.
        session_id: of the session they came with; empty for a key.
        environment: the only one a key may see; None for people, who may see all.
    """

    name: str
    role: Role
    session_id: str = ""
    theme: Theme = "system"
    is_key: bool = False
    environment: str | None = None

    @property
    def actor(self) -> str:
        """How the audit trails of both ends call them."""
        return self.name if self.is_key else f"user:{self.name}"

    def may(self, role: Role) -> bool:
        """Whether they may do what this role may."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Known(Protocol):
    """What the frame asks of accounts: who a session belongs to, and where acts are recorded."""

    def viewer_of(self, token: str) -> Viewer | None:
        """Whose session this token is; None for one that is not valid, or no longer."""

    def record(
        self, actor: str, action: str, object_id: str | None, detail: Mapping[str, Any], *, address: str = ""
    ) -> None:
        """Write a row of the audit trail."""

"""What may somebody do in the dashboard, and what do a provider's claims make them?

Claims come in an ID token (OpenID Connect Core 1.0 §2); which of them tell groups or roles every provider decides for
itself, so that rules name the claim, one of its values, and the role: `groups:admins=admin`. A claim whose name
has dots in it is found by its name, or else, as Keycloak nests them, by its parts: `realm_access.roles:staff=viewer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

Role: TypeAlias = Literal["viewer", "operator", "admin"]

ROLES: Final[tuple[Role, ...]] = ("viewer", "operator", "admin")
"""Each may what the one before it may: a viewer reads, an operator acts, an admin reads secrets and manages people."""

EVERYBODY: Final = "*"


@dataclass(frozen=True, slots=True)
class RoleRule:
    """Whoever's `claim` is, or lists, `value` has `role`; claim `*` is everybody whom the provider vouches for."""

    claim: str
    value: str
    role: Role

    def __str__(self) -> str:
        return f"{self.claim}={self.role}" if self.claim == EVERYBODY else f"{self.claim}:{self.value}={self.role}"

    def takes(self, claims: Mapping[str, Any]) -> bool:
        """Whether it is about somebody with these claims."""
        if self.claim == EVERYBODY:
            return True
        found = _claim(claims, self.claim)
        values = found if isinstance(found, list) else [found]
        return any(_text(value) == self.value for value in values)


def parse_role_rule(text: str) -> RoleRule:
    """`claim:value=role`, or `*=role`. ValueError where it is neither."""
    before, _, role = text.strip().rpartition("=")
    claim, _, value = (EVERYBODY, "", "") if before == EVERYBODY else before.rpartition(":")
    known = next((one for one in ROLES if one == role), None)
    if known is None or not claim or (claim != EVERYBODY and not value):
        raise ValueError(f"expected claim:value=role or *=role with a role of {', '.join(ROLES)}")
    return RoleRule(claim.strip(), value.strip(), known)


def role_of(claims: Mapping[str, Any], rules: Sequence[RoleRule]) -> Role | None:
    """The highest role that a rule gives; None where none does, and nobody is let in."""
    given = [rule.role for rule in rules if rule.takes(claims)]
    return max(given, key=ROLES.index, default=None)


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else None

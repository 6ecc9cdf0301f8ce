"""Accounts as storage: each method is one verb or a few, on a connection somebody else has opened a transaction on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hookline.dashboard.account_model import AuditRow, Session, User
from hookline.dashboard.viewer import Role, Theme
from hookline.storage import Connection, Dialect, Row, Verbs


class AccountStore:
    """The verbs of users, sessions, links, failures and the audit trail. It decides nothing."""

    def __init__(self, dialect: Dialect) -> None:
        self._verbs = Verbs("hookline.dashboard", dialect)

    def add_user(
        self,
        connection: Connection,
        name: str,
        role: Role,
        *,
        now_ms: int,
        password_hash: str | None = None,
        oidc_subject: str | None = None,
    ) -> bool:
        """Whether the name was free."""
        named = {"password_hash": password_hash, "oidc_subject": oidc_subject, "now_ms": now_ms}
        return bool(self._run(connection, "users_add", {"name": name, "role": role, **named}))

    def add_first_user(self, connection: Connection, name: str, password_hash: str, *, now_ms: int) -> bool:
        """Whether there was nobody yet."""
        named = {"name": name, "password_hash": password_hash, "now_ms": now_ms}
        return bool(self._run(connection, "users_add_first", named))

    def user(self, connection: Connection, name: str) -> tuple[User, str | None] | None:
        """A user and the hash of their password."""
        rows = self._run(connection, "users_get", {"name": name})
        return (_user(rows[0]), rows[0][2]) if rows else None

    def user_of_subject(self, connection: Connection, oidc_subject: str) -> User | None:
        rows = self._run(connection, "users_by_subject", {"oidc_subject": oidc_subject})
        return _user(rows[0]) if rows else None

    def users(self, connection: Connection, *, now_ms: int) -> list[User]:
        return [_user(row) for row in self._run(connection, "users_list", {"now_ms": now_ms})]

    def count_users(self, connection: Connection) -> tuple[int, int]:
        """How many there are, and how many of them are admins who may sign in."""
        users, admins = self._run(connection, "users_count", {})[0]
        return users, admins

    def lock_users(self, connection: Connection) -> None:
        """First in every change that could leave no admin."""
        self._run(connection, "users_lock", {})

    def set_role(self, connection: Connection, name: str, role: Role) -> bool:
        return self._count(connection, "users_set_role", {"name": name, "role": role})

    def disable_user(self, connection: Connection, name: str, *, now_ms: int) -> bool:
        return self._count(connection, "users_disable", {"name": name, "now_ms": now_ms})

    def enable_user(self, connection: Connection, name: str) -> bool:
        return self._count(connection, "users_enable", {"name": name})

    def remove_user(self, connection: Connection, name: str) -> bool:
        return self._count(connection, "users_remove", {"name": name})

    def set_password(self, connection: Connection, name: str, password_hash: str) -> bool:
        return self._count(connection, "users_set_password", {"name": name, "password_hash": password_hash})

    def set_theme(self, connection: Connection, name: str, theme: Theme) -> bool:
        return self._count(connection, "users_set_theme", {"name": name, "theme": theme})

    def add_session(
        self,
        connection: Connection,
        token_sha256: str,
        session_id: str,
        user_name: str,
        *,
        now_ms: int,
        expires_ms: int,
        address: str,
        agent: str,
    ) -> None:
        named = {"now_ms": now_ms, "expires_ms": expires_ms, "address": address, "agent": agent}
        named |= {"token_sha256": token_sha256, "id": session_id, "user_name": user_name}
        self._run(connection, "sessions_add", named)

    def find_session(
        self, connection: Connection, token_sha256: str, *, now_ms: int, idle_ms: int
    ) -> tuple[str, int, str, Role, Theme] | None:
        """Its id, when it was last seen, and whose it is: name, role, theme."""
        named = {"token_sha256": token_sha256, "now_ms": now_ms, "idle_ms": idle_ms}
        rows = self._run(connection, "sessions_find", named)
        return tuple(rows[0]) if rows else None

    def see_session(self, connection: Connection, token_sha256: str, *, now_ms: int) -> None:
        self._run(connection, "sessions_seen", {"token_sha256": token_sha256, "now_ms": now_ms})

    def sessions_of(self, connection: Connection, user_name: str, *, now_ms: int, idle_ms: int) -> list[Session]:
        named = {"user_name": user_name, "now_ms": now_ms, "idle_ms": idle_ms}
        return [Session(*row) for row in self._run(connection, "sessions_of", named)]

    def end_session(self, connection: Connection, user_name: str, session_id: str) -> bool:
        return self._count(connection, "sessions_end", {"user_name": user_name, "id": session_id})

    def end_session_of_token(self, connection: Connection, token_sha256: str) -> str | None:
        """Whose it was."""
        rows = self._run(connection, "sessions_end_token", {"token_sha256": token_sha256})
        return rows[0][0] if rows else None

    def end_sessions_of(self, connection: Connection, user_name: str, *, kept_id: str = "") -> None:
        self._run(connection, "sessions_end_of", {"user_name": user_name, "kept_id": kept_id})

    def add_link(
        self,
        connection: Connection,
        token_sha256: str,
        kind: str,
        user_name: str | None,
        *,
        now_ms: int,
        expires_ms: int,
    ) -> None:
        named = {"token_sha256": token_sha256, "kind": kind, "user_name": user_name}
        self._run(connection, "links_add", {**named, "now_ms": now_ms, "expires_ms": expires_ms})

    def has_link(self, connection: Connection, token_sha256: str, kind: str, *, now_ms: int) -> bool:
        named = {"token_sha256": token_sha256, "kind": kind, "now_ms": now_ms}
        return bool(self._run(connection, "links_find", named))

    def take_link(
        self, connection: Connection, token_sha256: str, kind: str, *, now_ms: int
    ) -> tuple[str | None] | None:
        """Use it up: whom it lets in, of a link that was good."""
        rows = self._run(connection, "links_take", {"token_sha256": token_sha256, "kind": kind, "now_ms": now_ms})
        return (rows[0][0],) if rows else None

    def drop_links(self, connection: Connection, kind: str, *, now_ms: int) -> None:
        self._run(connection, "links_drop_kind", {"kind": kind, "now_ms": now_ms})

    def drop_links_to(self, connection: Connection, user_name: str) -> None:
        self._run(connection, "links_drop_user", {"user_name": user_name})

    def waits(self, connection: Connection, subjects: Sequence[str]) -> dict[str, int]:
        """Until when each of these has to wait."""
        rows = self._run(connection, "failures_of", {"subjects": json.dumps(subjects)})
        return {subject: wait_until_ms for subject, _, wait_until_ms in rows}

    def add_failure(self, connection: Connection, subject: str, *, now_ms: int, forgotten_ms: int) -> int:
        """How many in a row there are by now."""
        named = {"subject": subject, "now_ms": now_ms, "forgotten_ms": forgotten_ms}
        failures: int = self._run(connection, "failures_add", named)[0][0]
        return failures

    def set_wait(self, connection: Connection, subject: str, wait_until_ms: int) -> None:
        self._run(connection, "failures_wait", {"subject": subject, "wait_until_ms": wait_until_ms})

    def clear_failures(self, connection: Connection, subjects: Sequence[str]) -> None:
        self._run(connection, "failures_clear", {"subjects": json.dumps(subjects)})

    def prune(self, connection: Connection, *, now_ms: int, forgotten_ms: int, audit_before_ms: int) -> None:
        """Remove what has ended by itself, and what is past its retention."""
        self._run(connection, "sessions_prune", {"now_ms": now_ms})
        self._run(connection, "failures_prune", {"forgotten_ms": forgotten_ms})
        self._run(connection, "audit_prune", {"before_ms": audit_before_ms})

    def add_audit(
        self,
        connection: Connection,
        actor: str,
        action: str,
        object_id: str | None,
        detail: Mapping[str, Any],
        *,
        now_ms: int,
        address: str,
    ) -> None:
        named = {"actor": actor, "action": action, "object_id": object_id, "detail": json.dumps(dict(detail))}
        self._run(connection, "audit_add", {**named, "now_ms": now_ms, "address": address})

    def audit_page(self, connection: Connection, *, before_row: int, limit: int) -> list[AuditRow]:
        rows = self._run(connection, "audit_page", {"before_row": before_row, "limit": limit})
        return [
            AuditRow(row_id, at_ms, actor, action, object_id, json.loads(detail), address)
            for row_id, at_ms, actor, action, object_id, detail, address in rows
        ]

    def _run(self, connection: Connection, name: str, named: Mapping[str, Any]) -> list[Row]:
        return self._verbs[name].run(connection, named)

    def _count(self, connection: Connection, name: str, named: Mapping[str, Any]) -> bool:
        return self._verbs[name].count(connection, named) == 1


def _user(row: Row) -> User:
    name, role, password_hash, oidc_subject, theme, created_ms, disabled_ms, *rest = row
    return User(name, role, password_hash is not None, oidc_subject, theme, created_ms, disabled_ms, *rest)

"""The accounts' tables as verbs: each method runs one or a few `.sql` files on the connection it is given.

Nothing here opens a transaction, reads a clock, or decides who may do what.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Literal

from hookline.dashboard.account_model import AuditLine, LinkPurpose, Session, User
from hookline.rules.sign_in import Tries
from hookline.storage.verbs import Verbs

if TYPE_CHECKING:
    from hookline.dashboard.account_model import AuditChoice, LinkKind
    from hookline.dashboard.viewer import Role, Theme
    from hookline.storage.verbs import Connection, Dialect, Row

# More than anybody has open at once, and a bound where somebody makes them in a loop.
MOST_SESSIONS: Final = 200


class AccountStore:
    """Users, sessions, links, tries and the audit trail."""

    def __init__(self, dialect: Dialect) -> None:
        self._verbs = Verbs("hookline.dashboard", dialect)

    # -- users -------------------------------------------------------------------------------------------------

    def lock_users(self, connection: Connection) -> None:
        """Keeps others from changing who there is, until the commit; first in its transaction."""
        self._verbs["users_lock"].run(connection)

    def add_user(
        self,
        connection: Connection,
        user_id: str,
        name: str,
        name_key: str,
        role: Role,
        *,
        password_hash: str | None = None,
        issuer: str | None = None,
        subject: str | None = None,
        now_ms: int,
    ) -> int | None:
        """Adds a user; their row, or None where the name, or who the provider says they are, is taken."""
        values = {
            "id": user_id,
            "name": name,
            "name_key": name_key,
            "role": role,
            "password_hash": password_hash,
            "issuer": issuer,
            "subject": subject,
            "now_ms": now_ms,
        }
        rows = self._verbs["user_put"].run(connection, values)
        return int(rows[0][0]) if rows else None

    def has_users(self, connection: Connection) -> bool:
        """Whether there is anybody."""
        return bool(self._verbs["users_any"].run(connection))

    def users(self, connection: Connection) -> list[User]:
        """Everybody, by name."""
        return [User(*row) for row in self._verbs["users_all"].run(connection)]

    def user_named(self, connection: Connection, name_key: str) -> User | None:
        """The user of a name, or None."""
        return _user(self._verbs["user_named"].run(connection, {"name_key": name_key}))

    def user_at(self, connection: Connection, row_id: int) -> User | None:
        """The user of a row, or None."""
        return _user(self._verbs["user_at"].run(connection, {"row_id": row_id}))

    def user_of_subject(self, connection: Connection, issuer: str, subject: str) -> User | None:
        """The user whom a provider knows as this subject, or None."""
        return _user(self._verbs["user_of_subject"].run(connection, {"issuer": issuer, "subject": subject}))

    def count_admins(self, connection: Connection) -> int:
        """How many admins may sign in."""
        return int(self._verbs["admins_count"].run(connection)[0][0])

    def set_role(self, connection: Connection, row_id: int, role: Role) -> None:
        """Gives a user another role."""
        self._verbs["user_role"].run(connection, {"row_id": row_id, "role": role})

    def set_password(self, connection: Connection, row_id: int, password_hash: str) -> None:
        """Gives a user another password."""
        self._verbs["user_password"].run(connection, {"row_id": row_id, "password_hash": password_hash})

    def rehash(self, connection: Connection, row_id: int, old_hash: str, password_hash: str) -> None:
        """Keeps the same password under a newer hash, unless it changed meanwhile."""
        values = {"row_id": row_id, "old_hash": old_hash, "password_hash": password_hash}
        self._verbs["user_rehash"].run(connection, values)

    def set_theme(self, connection: Connection, row_id: int, theme: Theme) -> None:
        """Keeps how a user wants pages to look."""
        self._verbs["user_theme"].run(connection, {"row_id": row_id, "theme": theme})

    def set_disabled(self, connection: Connection, row_id: int, disabled_ms: int | None) -> None:
        """Disables a user, or with None enables them again."""
        self._verbs["user_disabled"].run(connection, {"row_id": row_id, "disabled_ms": disabled_ms})

    def remove_user(self, connection: Connection, row_id: int) -> None:
        """Removes a user with their sessions and links."""
        self.end_sessions(connection, row_id)
        self.drop_links(connection, "password", row_id)
        self._verbs["user_delete"].run(connection, {"row_id": row_id})

    # -- sessions ----------------------------------------------------------------------------------------------

    def begin_session(
        self,
        connection: Connection,
        token_hash: str,
        session: Session,
        user_row: int,
        *,
        password_hash: str | None,
    ) -> bool:
        """Begins a session; False where the user is gone or disabled, or their password is no longer this one."""
        may = {"row_id": user_row, "now_ms": session.created_ms, "password_hash": password_hash}
        # First, and a write: who changes the user meanwhile either sees the session and ends it, or is seen here.
        if not self._verbs["user_signed_in"].count(connection, may):
            return False
        values = {
            "token_hash": token_hash,
            "id": session.id,
            "user_row": user_row,
            "method": session.method,
            "address": session.address,
            "agent": session.agent,
            "now_ms": session.created_ms,
            "expires_ms": session.expires_ms,
        }
        self._verbs["session_put"].run(connection, values)
        return True

    def session(self, connection: Connection, token_hash: str, *, now_ms: int, idle_ms: int) -> Row | None:
        """Of the session of a token: its id, the user's row, when it was used last, and name, role and theme."""
        values = {"token_hash": token_hash, "now_ms": now_ms, "idle_ms": idle_ms}
        rows = self._verbs["session_get"].run(connection, values)
        return rows[0] if rows else None

    def note_use(self, connection: Connection, token_hash: str, now_ms: int) -> None:
        """Notes that a session was used."""
        self._verbs["session_used"].run(connection, {"token_hash": token_hash, "now_ms": now_ms})

    def end_session(self, connection: Connection, token_hash: str) -> int | None:
        """Ends the session of a token; whose it was."""
        rows = self._verbs["session_end"].run(connection, {"token_hash": token_hash})
        return int(rows[0][0]) if rows else None

    def revoke_session(self, connection: Connection, session_id: str) -> bool:
        """Ends a session by its id. False where there is none."""
        return bool(self._verbs["session_revoke"].run(connection, {"id": session_id}))

    def end_sessions(self, connection: Connection, user_row: int) -> int:
        """Ends every session of a user; how many there were."""
        return self._verbs["sessions_end"].count(connection, {"user_row": user_row})

    def sessions(self, connection: Connection, user_row: int | None, *, now_ms: int, idle_ms: int) -> list[Session]:
        """The sessions of one user, or of everybody, newest first."""
        values = {"user_row": user_row, "now_ms": now_ms, "idle_ms": idle_ms, "limit": MOST_SESSIONS}
        return [Session(*row) for row in self._verbs["sessions_of"].run(connection, values)]

    # -- links -------------------------------------------------------------------------------------------------

    def add_link(
        self,
        connection: Connection,
        token_hash: str,
        kind: LinkKind,
        user_row: int | None,
        *,
        now_ms: int,
        expires_ms: int,
    ) -> None:
        """Makes a link that is good once."""
        values = {
            "token_hash": token_hash,
            "kind": kind,
            "user_row": user_row,
            "now_ms": now_ms,
            "expires_ms": expires_ms,
        }
        self._verbs["link_put"].run(connection, values)

    def link(self, connection: Connection, token_hash: str, now_ms: int) -> tuple[LinkKind, int | None] | None:
        """What a link that is still good is good for, and for whom."""
        rows = self._verbs["link_get"].run(connection, {"token_hash": token_hash, "now_ms": now_ms})
        return (rows[0][0], rows[0][1]) if rows else None

    def purpose(self, connection: Connection, token_hash: str, now_ms: int) -> LinkPurpose | None:
        """The same with the user's name; None too where the user is gone."""
        found = self.link(connection, token_hash, now_ms)
        if found is None or found[1] is None:
            return None if found is None else LinkPurpose(found[0], None)
        user = self.user_at(connection, found[1])
        return None if user is None else LinkPurpose(found[0], user.name)

    def use_link(self, connection: Connection, token_hash: str, now_ms: int) -> tuple[LinkKind, int | None] | None:
        """Uses a link up; what it is for, None where it is good no longer."""
        rows = self._verbs["link_use"].run(connection, {"token_hash": token_hash, "now_ms": now_ms})
        return (rows[0][0], rows[0][1]) if rows else None

    def use_state(self, connection: Connection, token_hash: str, *, now_ms: int, expires_ms: int) -> bool:
        """Marks the state of a provider's answer as used. False where it was."""
        values = {"token_hash": token_hash, "kind": "oidc", "now_ms": now_ms, "expires_ms": expires_ms}
        return self._verbs["link_used_put"].count(connection, values) == 1

    def drop_links(self, connection: Connection, kind: LinkKind, user_row: int | None) -> None:
        """Takes back the links of a kind."""
        self._verbs["links_drop"].run(connection, {"kind": kind, "user_row": user_row})

    # -- tries -------------------------------------------------------------------------------------------------

    def tries(self, connection: Connection, tried: Sequence[str]) -> dict[str, Tries]:
        """How often each was tried in vain."""
        return _tries(self._verbs["tries_get"].run(connection, {"tried": json.dumps(tried)}))

    def take_tries(self, connection: Connection, tried: Sequence[str]) -> dict[str, Tries]:
        """The same, held until the commit. In order, so that two that hold the same never wait for each other."""
        return _tries(self._verbs["tries_take"].run_many(connection, [(one,) for one in sorted(tried)]))

    def put_tries(self, connection: Connection, tries: Mapping[str, Tries]) -> None:
        """Keeps how often each was tried in vain."""
        self._verbs["tries_put"].run_many(connection, [{"tried": one, **asdict(tries[one])} for one in sorted(tries)])

    # -- audit trail -------------------------------------------------------------------------------------------

    def audit(
        self,
        connection: Connection,
        *,
        actor: str,
        action: str,
        object_id: str | None,
        detail: Mapping[str, Any],
        address: str,
        now_ms: int,
    ) -> None:
        """Adds a line to the audit trail."""
        values = {
            "actor": actor,
            "action": action,
            "object_id": object_id,
            "detail": json.dumps(detail),
            "address": address,
            "now_ms": now_ms,
        }
        self._verbs["audit_put"].run(connection, values)

    def audit_lines(
        self,
        connection: Connection,
        choice: AuditChoice,
        direction: Literal["newer", "older"],
        cursor_row: int,
        limit: int,
    ) -> list[AuditLine]:
        """Lines beside a row, nearest first."""
        values = {**asdict(choice), "cursor_row": cursor_row, "limit": limit}
        rows = self._verbs[f"audit_{direction}"].run(connection, values)
        return [
            AuditLine(row_id, at_ms, actor, action, object_id, json.loads(detail), address)
            for row_id, at_ms, actor, action, object_id, detail, address in rows
        ]

    # -- retention ---------------------------------------------------------------------------------------------

    def forget_past(self, connection: Connection, *, now_ms: int, idle_ms: int, tries_before_ms: int) -> None:
        """Removes sessions and links that have ended, and tries that count no longer."""
        self._verbs["past_sessions"].run(connection, {"now_ms": now_ms, "idle_ms": idle_ms})
        self._verbs["past_links"].run(connection, {"now_ms": now_ms})
        self._verbs["past_tries"].run(connection, {"now_ms": now_ms, "cutoff_ms": tries_before_ms})

    def forget_audit(self, connection: Connection, *, cutoff_ms: int, limit: int) -> int:
        """Removes lines of the audit trail from before a time, at most so many; how many."""
        return self._verbs["past_audit"].count(connection, {"cutoff_ms": cutoff_ms, "limit": limit})


def _user(rows: Sequence[Row]) -> User | None:
    return User(*rows[0]) if rows else None


def _tries(rows: Sequence[Row]) -> dict[str, Tries]:
    return {tried: Tries(failures, last_ms, until_ms) for tried, failures, last_ms, until_ms in rows}

"""Who may use the dashboard: users and their roles, passwords, sessions, one-time links, and the audit trail.

Passwords are kept as argon2 hashes, tokens of sessions and links as SHA-256: what is in the database lets nobody in.
A session can be ended by anybody in charge, at once. Who guesses has to wait, longer each time.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from hookline.dashboard.account_model import AuditRow, Session, SignedIn, SignInRefused, User, UserRefused
from hookline.dashboard.account_store import AccountStore
from hookline.dashboard.viewer import ROLES, THEMES, Role, Viewer
from hookline.loop import SystemClock
from hookline.storage.migrate import migrate

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.storage import Connection, Database

PART: Final = "dashboard"
PACKAGE: Final = "hookline.dashboard"

SESSION_S: Final = 7 * 86_400
IDLE_S: Final = 86_400
LINK_S: Final = 86_400
LEAST_PASSWORD: Final = 10
MOST_PASSWORD: Final = 1_000
AUDIT_KEPT_S: Final = 400 * 86_400
# How far a session's last use may lag behind: it is not written with every page.
_SEEN_EVERY_MS: Final = 60_000
# Failures in a row that cost nothing, and the longest wait after: of a name from one address, of an address whoever it
# names, and of a name wherever from. The last must stay short: strangers could keep somebody out with it.
_FREE: Final = {"pair": 5, "address": 20, "name": 50}
_MOST_WAIT_S: Final = {"pair": 900, "address": 900, "name": 30}
_FORGOTTEN_MS: Final = 86_400_000
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,99}")
# How many passwords are hashed at once: each takes 64 MiB and a core.
_HASHED_AT_ONCE: Final = 2


class Accounts:
    """The accounts of one database.

    Args:
        database: the sender's where this process has one, else the receiver's. The caller closes it.
        clock: what time it is.
        draw: makes a token of so many bytes that nobody guesses.
        session_s: how long a session lasts at most.
        idle_s: how long it may be left alone.
        hasher: how passwords are hashed; argon2id with its recommended costs.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock | None = None,
        draw: Callable[[int], str] = secrets.token_urlsafe,
        session_s: float = SESSION_S,
        idle_s: float = IDLE_S,
        hasher: PasswordHash | None = None,
    ) -> None:
        self._database = database
        self._store = AccountStore(database.dialect)
        self._clock = clock or SystemClock()
        self._draw = draw
        self._session_ms = int(session_s * 1000)
        self._idle_ms = min(int(idle_s * 1000), self._session_ms)
        self._hasher = hasher or PasswordHash((Argon2Hasher(),))
        self._hashing = threading.BoundedSemaphore(_HASHED_AT_ONCE)
        self._nobody: str | None = None

    def open(self) -> int:
        """Bring the tables up to date; how many migrations were due.

        Raises: MigrationError, StorageUnavailable.
        """
        return migrate(self._database, PART, PACKAGE)

    # Sessions

    def viewer_of(self, token: str) -> Viewer | None:
        """Whose session this token is; None for one that is not valid, or no longer."""
        if len(token) > 200:
            return None
        now_ms, token_sha256 = self._clock.now_ms(), _sha256(token)
        with self._database.read() as connection:
            found = self._store.find_session(connection, token_sha256, now_ms=now_ms, idle_ms=now_ms - self._idle_ms)
        if found is None:
            return None
        session_id, seen_ms, name, role, theme = found
        if now_ms - seen_ms > _SEEN_EVERY_MS:
            self._database.run(lambda connection: self._store.see_session(connection, token_sha256, now_ms=now_ms))
        return Viewer(name, role, session_id, theme)

    def sign_in(self, name: str, password: str, *, address: str, agent: str = "") -> SignedIn:
        """Let somebody in by name and password.

        Raises: SignInRefused, in the same words and after the same work whoever is named.
        """
        name = name.strip().lower()
        subjects = _subjects(name, address)
        now_ms = self._clock.now_ms()
        with self._database.read() as connection:
            waits = self._store.waits(connection, list(subjects.values()))
            found = self._store.user(connection, name)
        if (wait_ms := max(waits.values(), default=0) - now_ms) > 0:
            raise SignInRefused("Too many attempts: wait before the next one.", wait_s=-(-wait_ms // 1000))
        user, password_hash = found if found is not None else (None, None)
        is_right = self._verify(password, password_hash)
        if user is None or not is_right or user.disabled_ms is not None:
            wait_s = self._failed(name, subjects, address)
            raise SignInRefused("Name and password do not belong together.", wait_s=wait_s)

        def write(connection: Connection) -> SignedIn:
            self._store.clear_failures(connection, [subjects["pair"], subjects["name"]])
            return self._let_in(connection, user, "session.signed_in", address=address, agent=agent)

        return self._database.run(write)

    def sign_out(self, token: str) -> None:
        """End the session of this token."""
        self._database.run(lambda connection: self._store.end_session_of_token(connection, _sha256(token)))

    def sessions(self, name: str) -> list[Session]:
        """The open sessions of a user, newest first."""
        now_ms = self._clock.now_ms()
        with self._database.read() as connection:
            return self._store.sessions_of(connection, name, now_ms=now_ms, idle_ms=now_ms - self._idle_ms)

    def end_session(self, name: str, session_id: str, *, actor: str, address: str = "") -> bool:
        """End one session of a user, wherever it is; whether there was one."""

        def write(connection: Connection) -> bool:
            ended = self._store.end_session(connection, name, session_id)
            if ended:
                self._audit(connection, actor, "session.ended", name, {"session": session_id}, address)
            return ended

        return self._database.run(write)

    def end_sessions(self, name: str, *, actor: str, address: str = "", kept_id: str = "") -> None:
        """End every session of a user, but the one to be kept."""

        def write(connection: Connection) -> None:
            self._store.end_sessions_of(connection, name, kept_id=kept_id)
            self._audit(connection, actor, "session.all_ended", name, {}, address)

        self._database.run(write)

    # One-time links

    def first_link(self) -> str | None:
        """A token that makes the first admin, once and for a day; None where there is a user already."""
        token = self._draw(32)

        def write(connection: Connection) -> str | None:
            now_ms = self._clock.now_ms()
            self._store.lock_users(connection)
            if self._store.count_users(connection)[0]:
                return None
            self._store.add_link(
                connection, _sha256(token), "first", None, now_ms=now_ms, expires_ms=now_ms + LINK_S * 1000
            )
            return token

        return self._database.run(write)

    def is_link(self, kind: str, token: str) -> bool:
        """Whether a link is good, without using it up. `kind`: `first` or `user`."""
        with self._database.read() as connection:
            return self._store.has_link(connection, _sha256(token), kind, now_ms=self._clock.now_ms())

    def redeem_first(self, token: str, name: str, password: str, *, address: str, agent: str = "") -> SignedIn:
        """Make the first admin.

        Raises: SignInRefused for a link that is not good, UserRefused for a name or password that cannot be.
        """
        name = _checked_name(name)
        password_hash = self._hashed(password)

        def write(connection: Connection) -> SignedIn:
            now_ms = self._clock.now_ms()
            if self._store.take_link(connection, _sha256(token), "first", now_ms=now_ms) is None:
                raise SignInRefused("This link has been used, or its time is over.")
            if not self._store.add_first_user(connection, name, password_hash, now_ms=now_ms):
                raise SignInRefused("Somebody has an account already: sign in with it.")
            self._store.drop_links(connection, "first", now_ms=now_ms)
            user = self._existing(connection, name)
            self._audit(connection, f"user:{name}", "user.created", name, {"role": "admin"}, address)
            return self._let_in(connection, user, "session.signed_in", address=address, agent=agent)

        return self._database.run(write)

    def link_for(self, name: str, *, actor: str, address: str = "", lasts_s: float = LINK_S) -> str:
        """A token that signs a user in, once: for a new one, or one who has lost the password.

        Raises: UserRefused.
        """
        token = self._draw(32)

        def write(connection: Connection) -> str:
            now_ms = self._clock.now_ms()
            self._existing(connection, name)
            self._store.drop_links_to(connection, name)
            expires_ms = now_ms + int(lasts_s * 1000)
            self._store.add_link(connection, _sha256(token), "user", name, now_ms=now_ms, expires_ms=expires_ms)
            self._audit(connection, actor, "user.link_made", name, {}, address)
            return token

        return self._database.run(write)

    def redeem_link(self, token: str, *, address: str, agent: str = "") -> SignedIn:
        """Sign in whoever a link is for.

        Raises: SignInRefused.
        """

        def write(connection: Connection) -> SignedIn:
            taken = self._store.take_link(connection, _sha256(token), "user", now_ms=self._clock.now_ms())
            found = self._store.user(connection, taken[0]) if taken is not None and taken[0] is not None else None
            if found is None or found[0].disabled_ms is not None:
                raise SignInRefused("This link has been used, or its time is over.")
            return self._let_in(connection, found[0], "session.signed_in_by_link", address=address, agent=agent)

        return self._database.run(write)

    # Users

    def users(self) -> list[User]:
        """Every user, by name."""
        with self._database.read() as connection:
            return self._store.users(connection, now_ms=self._clock.now_ms())

    def user(self, name: str) -> User | None:
        with self._database.read() as connection:
            found = self._store.user(connection, name)
        return found[0] if found is not None else None

    def add_user(self, name: str, role: str, *, password: str | None = None, actor: str, address: str = "") -> User:
        """A new user. Without a password a link lets them in (`link_for`).

        Raises: UserRefused.
        """
        name, checked = _checked_name(name), _checked_role(role)
        password_hash = None if password is None else self._hashed(password)

        def write(connection: Connection) -> User:
            now_ms = self._clock.now_ms()
            if not self._store.add_user(connection, name, checked, now_ms=now_ms, password_hash=password_hash):
                raise UserRefused("name", f"there is a user {name} already")
            self._audit(connection, actor, "user.created", name, {"role": checked}, address)
            return self._existing(connection, name)

        return self._database.run(write)

    def set_role(self, name: str, role: str, *, actor: str, address: str = "") -> User:
        """Give a user another role; they sign in anew.

        Raises: UserRefused.
        """
        checked = _checked_role(role)

        def write(connection: Connection) -> User:
            self._store.lock_users(connection)
            before = self._existing(connection, name)
            if not self._store.set_role(connection, name, checked):
                raise UserRefused("role", _LAST_ADMIN)
            self._store.end_sessions_of(connection, name)
            detail = {"from": before.role, "to": checked}
            self._audit(connection, actor, "user.role_changed", name, detail, address)
            return self._existing(connection, name)

        return self._database.run(write)

    def set_password(self, name: str, password: str, *, actor: str, address: str = "", kept_id: str = "") -> None:
        """Give a user another password; every session but the one to be kept ends, and so do links to them.

        Raises: UserRefused.
        """
        password_hash = self._hashed(password)

        def write(connection: Connection) -> None:
            if not self._store.set_password(connection, name, password_hash):
                raise _no_user(name)
            self._store.end_sessions_of(connection, name, kept_id=kept_id)
            self._store.drop_links_to(connection, name)
            self._audit(connection, actor, "user.password_changed", name, {}, address)

        self._database.run(write)

    def is_password(self, name: str, password: str) -> bool:
        """Whether it is the user's: asked before it may be changed."""
        with self._database.read() as connection:
            found = self._store.user(connection, name)
        return self._verify(password, found[1] if found is not None else None)

    def set_theme(self, name: str, theme: str) -> None:
        """Light, dark, or as the system is.

        Raises: UserRefused.
        """
        chosen = next((one for one in THEMES if one == theme), None)
        if chosen is None:
            raise UserRefused("theme", f"expected one of {', '.join(THEMES)}")
        self._database.run(lambda connection: self._store.set_theme(connection, name, chosen))

    def disable_user(self, name: str, *, actor: str, address: str = "") -> None:
        """Let a user sign in no longer; what they are signed in with ends.

        Raises: UserRefused.
        """

        def write(connection: Connection) -> None:
            self._store.lock_users(connection)
            if self._existing(connection, name).disabled_ms is not None:
                return
            if not self._store.disable_user(connection, name, now_ms=self._clock.now_ms()):
                raise UserRefused("name", _LAST_ADMIN)
            self._end_all_of(connection, name)
            self._audit(connection, actor, "user.disabled", name, {}, address)

        self._database.run(write)

    def enable_user(self, name: str, *, actor: str, address: str = "") -> None:
        """Let a user sign in again.

        Raises: UserRefused.
        """

        def write(connection: Connection) -> None:
            if not self._store.enable_user(connection, name):
                raise _no_user(name)
            self._audit(connection, actor, "user.enabled", name, {}, address)

        self._database.run(write)

    def remove_user(self, name: str, *, actor: str, address: str = "") -> None:
        """Remove a user; the audit trail keeps the name.

        Raises: UserRefused.
        """

        def write(connection: Connection) -> None:
            self._store.lock_users(connection)
            self._existing(connection, name)
            if not self._store.remove_user(connection, name):
                raise UserRefused("name", _LAST_ADMIN)
            self._end_all_of(connection, name)
            self._audit(connection, actor, "user.removed", name, {}, address)

        self._database.run(write)

    # The audit trail

    def record(
        self, actor: str, action: str, object_id: str | None, detail: Mapping[str, Any], *, address: str = ""
    ) -> None:
        """Write a row of the audit trail."""
        self._database.run(lambda connection: self._audit(connection, actor, action, object_id, detail, address))

    def audit_page(self, *, before_row: int = 2**62, limit: int = 50) -> list[AuditRow]:
        """The newest rows before a number."""
        with self._database.read() as connection:
            return self._store.audit_page(connection, before_row=before_row, limit=limit)

    def prune(self) -> None:
        """Remove sessions and failures that are over, and rows of the audit trail past their 400 days."""
        now_ms = self._clock.now_ms()
        self._database.run(
            lambda connection: self._store.prune(
                connection,
                now_ms=now_ms,
                forgotten_ms=now_ms - _FORGOTTEN_MS,
                audit_before_ms=now_ms - AUDIT_KEPT_S * 1000,
            )
        )

    def _let_in(self, connection: Connection, user: User, action: str, *, address: str, agent: str) -> SignedIn:
        now_ms = self._clock.now_ms()
        token, session_id = self._draw(32), f"session_{self._draw(12)}"
        self._store.add_session(
            connection,
            _sha256(token),
            session_id,
            user.name,
            now_ms=now_ms,
            expires_ms=now_ms + self._session_ms,
            address=address,
            agent=agent[:200],
        )
        self._audit(connection, f"user:{user.name}", action, user.name, {"session": session_id}, address)
        viewer = Viewer(user.name, user.role, session_id, user.theme)
        return SignedIn(token, viewer, self._session_ms // 1000)

    def _failed(self, name: str, subjects: Mapping[str, str], address: str) -> int:
        """Count a failure; how long the next one has to wait."""

        def write(connection: Connection) -> int:
            now_ms, longest_s = self._clock.now_ms(), 0
            for kind, subject in subjects.items():
                failures = self._store.add_failure(
                    connection, subject, now_ms=now_ms, forgotten_ms=now_ms - _FORGOTTEN_MS
                )
                over = failures - _FREE[kind]
                if over >= 0:
                    wait_s = min(2 ** min(over, 20), _MOST_WAIT_S[kind])
                    self._store.set_wait(connection, subject, now_ms + wait_s * 1000)
                    longest_s = max(longest_s, wait_s)
            # The name as it was typed may be a password in the wrong field: only a user's own is recorded.
            known = self._store.user(connection, name) is not None
            self._audit(connection, "", "session.refused", name if known else None, {}, address)
            return longest_s

        return self._database.run(write)

    def _end_all_of(self, connection: Connection, name: str) -> None:
        self._store.end_sessions_of(connection, name)
        self._store.drop_links_to(connection, name)

    def _existing(self, connection: Connection, name: str) -> User:
        found = self._store.user(connection, name)
        if found is None:
            raise _no_user(name)
        return found[0]

    def _audit(
        self,
        connection: Connection,
        actor: str,
        action: str,
        object_id: str | None,
        detail: Mapping[str, Any],
        address: str,
    ) -> None:
        self._store.add_audit(
            connection, actor, action, object_id, detail, now_ms=self._clock.now_ms(), address=address
        )

    def _hashed(self, password: str) -> str:
        if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
            raise UserRefused("password", f"expected at least {LEAST_PASSWORD} characters, at most {MOST_PASSWORD}")
        with self._hashing:
            return self._hasher.hash(password)

    def _verify(self, password: str, password_hash: str | None) -> bool:
        """The same work whether there is somebody or not."""
        with self._hashing:
            if self._nobody is None:
                self._nobody = self._hasher.hash(self._draw(16))
            is_right = self._hasher.verify(password[:MOST_PASSWORD], password_hash or self._nobody)
        return is_right and password_hash is not None


_LAST_ADMIN: Final = "this is the last admin who may sign in: make another one first"


def _subjects(name: str, address: str) -> dict[str, str]:
    """What failures are counted by; hashed, so that no typed name is kept."""
    return {
        "pair": _sha256(f"pair {address} {name}"),
        "address": _sha256(f"address {address}"),
        "name": _sha256(f"name {name}"),
    }


def _checked_name(name: str) -> str:
    name = name.strip().lower()
    if not _NAME.fullmatch(name):
        raise UserRefused("name", "expected 1 to 100 letters, digits, and . _ @ + -, beginning with a letter or digit")
    return name


def _checked_role(role: str) -> Role:
    for one in ROLES:
        if one == role:
            return one
    raise UserRefused("role", f"expected one of {', '.join(ROLES)}")


def _no_user(name: str) -> UserRefused:
    return UserRefused("name", f"there is no user {name[:100]}")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

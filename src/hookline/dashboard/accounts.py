"""Accounts: who may sign in to the dashboard, with what, and for how long; and the trail of what they did.

Passwords are kept as argon2; sessions and links are random tokens of which the SHA-256 is kept, so that what is in the
database lets nobody in. A name that is not known costs the same work as one that is, and gets the same answer. Tries
are counted in the database before a password is looked at, so that many at once, at many processes, are not taken for
fewer (rules/sign_in.py). Changing somebody's password or role, or disabling them, ends their sessions.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from hookline.dashboard.account_model import AuditChoice, AuditPage, LinkPurpose, Session, SignedIn, User, Vouched
from hookline.dashboard.account_store import AccountStore
from hookline.dashboard.credentials import Passwords, checked_name, checked_role, invalid, name_key, name_like
from hookline.dashboard.viewer import THEMES, Viewer
from hookline.errors import RequestError, SignInRefused, StorageError
from hookline.loop import SystemClock
from hookline.rules.sign_in import FORGET_MS, WITH_ADDRESS, WITH_NAME, WITH_PAIR, Patience, Tries, place_of
from hookline.sender.ids import IdMaker
from hookline.storage.migrate import migrate

if TYPE_CHECKING:
    from pwdlib import PasswordHash

    from hookline.dashboard.account_model import Method
    from hookline.dashboard.viewer import Role, Theme
    from hookline.loop import Clock
    from hookline.storage import Database
    from hookline.storage.verbs import Connection

log = logging.getLogger("hookline.dashboard")

PART: Final = "dashboard"
PACKAGE: Final = "hookline.dashboard"

DAY_MS: Final = 86_400_000
# How long a session lasts at most unless the settings say otherwise, and unused.
SESSION_S: Final = 7 * 86_400.0
IDLE_MS: Final = DAY_MS
LINK_MS: Final = DAY_MS
AUDIT_MS: Final = 365 * DAY_MS
# How long the state of a provider's answer is known as used: longer than a provider takes its code for good.
STATE_MS: Final = 3_600_000

# How often it is written that a session is used.
_USED_MS: Final = 60_000
_TEND_MS: Final = 3_600_000
_AUDIT_AT_ONCE: Final = 1_000
_MOST_AGENT: Final = 200
_MOST_TEXT: Final = 500
_MOST_TOKEN: Final = 200

_WRONG: Final = "This name and password do not go together."
_SPENT: Final = "This link was used, or is no longer good. Ask for a new one: `hookline users link`."

# What audit trails call who did something: `user:<name>`, an API key's id, `command`, or `provider`.
Actor: TypeAlias = str


class Accounts:
    """The people of one dashboard, in one database. Safe to share between threads.

    Args:
        database: opened and closed by the caller; the tables are those of `open`.
        draw: makes a token.
        hasher: how passwords are hashed; argon2 with its library's defaults unless given.
        session_s: how long a session lasts at most.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock | None = None,
        draw: Callable[[], str] = secrets.token_urlsafe,
        hasher: PasswordHash | None = None,
        session_s: float | None = None,
    ) -> None:
        self._database = database
        self._store = AccountStore(database.dialect)
        self._clock = clock or SystemClock()
        self._draw = draw
        self._passwords = Passwords(hasher)
        self.session_s = SESSION_S if session_s is None else session_s
        self._idle_ms = min(IDLE_MS, round(self.session_s * 1000))
        self._ids = IdMaker()
        self._tended_ms: int | None = None

    @property
    def database(self) -> Database:
        """Where they are."""
        return self._database

    def open(self) -> None:
        """Bring the tables up to date."""
        migrate(self._database, PART, PACKAGE)

    # -- signing in --------------------------------------------------------------------------------------------

    def viewer_of(self, token: str) -> Viewer | None:
        """Whose session a token is; None for one that is not valid, or no longer."""
        if not token or len(token) > _MOST_TOKEN:
            return None
        now_ms = self._clock.now_ms()
        token_hash = _hash(token)
        with self._database.read() as connection:
            row = self._store.session(connection, token_hash, now_ms=now_ms, idle_ms=now_ms - self._idle_ms)
        if row is None:
            return None
        session_id, _, used_ms, name, role, theme = row
        if now_ms - used_ms >= _USED_MS:
            self._note_use(token_hash, now_ms)
        return Viewer(name, role, session_id=session_id, theme=theme)

    def sign_in(self, name: str, password: str, address: str, *, agent: str = "") -> SignedIn:
        """Begin a session with a password.

        Args:
            address: where the request comes from.
            agent: what the browser calls itself.

        Raises:
            SignInRefused: the name and the password do not go together, the user is disabled, or there were too many
                tries.
        """
        key = name_key(name)
        place = _place(address)
        patience = {
            f"pair:{place}:{_hash(key)}": WITH_PAIR,
            f"address:{place}": WITH_ADDRESS,
            f"name:{_hash(key)}": WITH_NAME,
        }
        failures = self._take_try(patience)
        self._passwords.prepare()
        with self._database.read() as connection:
            user = self._store.user_named(connection, key)
        known = user.password_hash if user is not None else None
        is_right, newer_hash = self._passwords.compare(password, known)
        signed_in = None
        if user is not None and known is not None and is_right and user.disabled_ms is None:
            signed_in = self._begin(user, "password", address, agent, password_hash=known, forgives=tuple(patience))
        if signed_in is None or user is None:
            detail = {"failures": failures}
            self.record("nobody", "user.sign_in_failed", user.id if user else None, detail, address=address)
            raise SignInRefused(_WRONG)
        if newer_hash is not None:
            row_id, old = user.row_id, str(known)
            self._database.run(lambda connection: self._store.rehash(connection, row_id, old, newer_hash))
        return signed_in

    def count_try(self, address: str) -> None:
        """Count a try to sign in without a password: a success, `sign_in_as`, takes it back.

        Raises: SignInRefused where there were too many.
        """
        self._take_try({f"address:{_place(address)}": WITH_ADDRESS})

    def sign_in_as(self, vouched: Vouched, address: str, *, agent: str = "") -> SignedIn:
        """Begin a session of somebody whom a provider vouches for, who may be new here; their role is its word.

        Raises:
            SignInRefused: the user is disabled here, or this sign-in was completed before.
        """
        now_ms = self._clock.now_ms()
        token = self._draw()
        session = self._session(vouched.name, "oidc", address, agent, now_ms)
        state_hash = _hash(vouched.state)

        def write(connection: Connection) -> User | None:
            self._store.lock_users(connection)
            if not self._store.use_state(connection, state_hash, now_ms=now_ms, expires_ms=now_ms + STATE_MS):
                raise SignInRefused("This sign-in was completed before: begin again.")
            user = self._store.user_of_subject(connection, vouched.issuer, vouched.subject)
            if user is None:
                user = self._add_vouched(connection, vouched, address, now_ms)
            elif user.role != vouched.role:
                self._change_role(connection, user, vouched.role, actor="provider", address=address, now_ms=now_ms)
            if not self._store.begin_session(connection, _hash(token), session, user.row_id, password_hash=None):
                return None
            self._forgive_on(connection, (f"address:{_place(address)}",))
            self._audit_sign_in(connection, user, session, now_ms)
            return self._store.user_at(connection, user.row_id)

        user = self._database.run(write)
        if user is None:
            raise SignInRefused("This account may not sign in here.")
        return self._signed_in(token, user, session)

    def sign_out(self, token: str) -> None:
        """End the session of a token; one that is none is none afterwards."""
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> None:
            row_id = self._store.end_session(connection, _hash(token))
            user = None if row_id is None else self._store.user_at(connection, row_id)
            if user is not None:
                self._audit(connection, f"user:{user.name}", "user.signed_out", user, now_ms=now_ms)

        self._database.run(write)

    # -- links -------------------------------------------------------------------------------------------------

    def first_link(self) -> str | None:
        """A token that makes the first admin, good once and for a day; None where there is somebody already."""
        with self._database.read() as connection:
            if self._store.has_users(connection):
                return None
        now_ms = self._clock.now_ms()
        token = self._draw()
        self._database.run(
            lambda connection: self._store.add_link(
                connection, _hash(token), "first", None, now_ms=now_ms, expires_ms=now_ms + LINK_MS
            )
        )
        return token

    def purpose_of(self, token: str) -> LinkPurpose | None:
        """What a link is good for; None where it is good for nothing, or no longer."""
        if not token or len(token) > _MOST_TOKEN:
            return None
        with self._database.read() as connection:
            found = self._store.purpose(connection, _hash(token), self._clock.now_ms())
            if found is not None and found.kind == "first" and self._store.has_users(connection):
                return None
        return found

    def redeem_first(self, token: str, name: str, password: str, address: str, *, agent: str = "") -> SignedIn:
        """Make the first admin, by the link that a start without users printed, and sign them in.

        Raises:
            SignInRefused: the link is not good, or no longer.
            RequestError: 422 naming the field, for a name or a password that is none.
        """
        purpose = self.purpose_of(token)
        if purpose is None or purpose.kind != "first":
            raise SignInRefused(_SPENT)
        name = checked_name(name)
        password_hash = self._passwords.hashed(password, name)
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> User | None:
            self._store.lock_users(connection)
            used = self._store.use_link(connection, _hash(token), now_ms)
            if used is None or used[0] != "first" or self._store.has_users(connection):
                return None
            self._store.drop_links(connection, "first", None)
            user = self._add(connection, name, "admin", password_hash=password_hash, now_ms=now_ms)
            self._audit(connection, f"user:{name}", "user.created", user, {"role": "admin"}, address, now_ms)
            return user

        user = self._database.run(write)
        if user is None:
            raise SignInRefused(_SPENT)
        return self._begun(user, "link", address, agent, password_hash=password_hash)

    def redeem_password(self, token: str, password: str, address: str, *, agent: str = "") -> SignedIn:
        """Set the password that a link is for, end the sessions there were, and sign its user in.

        Raises:
            SignInRefused: the link is not good, or no longer, or its user is disabled.
            RequestError: 422 for a password that is none.
        """
        purpose = self.purpose_of(token)
        if purpose is None or purpose.user is None:
            raise SignInRefused(_SPENT)
        password_hash = self._passwords.hashed(password, purpose.user)
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> User | None:
            self._store.lock_users(connection)
            used = self._store.use_link(connection, _hash(token), now_ms)
            user = None if used is None or used[1] is None else self._store.user_at(connection, used[1])
            if user is None or user.disabled_ms is not None:
                return None
            self._put_password(connection, user, password_hash)
            self._audit(connection, f"user:{user.name}", "user.password_changed", user, {"by": "link"}, address, now_ms)
            return user

        user = self._database.run(write)
        if user is None:
            raise SignInRefused(_SPENT)
        return self._begun(user, "link", address, agent, password_hash=password_hash)

    def make_link(self, name: str, *, actor: Actor = "command", address: str = "") -> str:
        """A token by which a user sets their password, good once and for a day; those made before are taken back.

        Raises: RequestError 404.
        """
        now_ms = self._clock.now_ms()
        token = self._draw()

        def write(connection: Connection) -> None:
            self._store.lock_users(connection)
            user = self._named(connection, name)
            self._store.drop_links(connection, "password", user.row_id)
            self._store.add_link(
                connection, _hash(token), "password", user.row_id, now_ms=now_ms, expires_ms=now_ms + LINK_MS
            )
            self._audit(connection, actor, "user.link_made", user, address=address, now_ms=now_ms)

        self._database.run(write)
        return token

    # -- users -------------------------------------------------------------------------------------------------

    def users(self) -> list[User]:
        """Everybody, by name."""
        with self._database.read() as connection:
            return self._store.users(connection)

    def user(self, name: str) -> User:
        """The user of a name. RequestError 404 where there is none."""
        with self._database.read() as connection:
            return self._named(connection, name)

    def add_user(
        self, name: str, role: Role, *, password: str | None = None, actor: Actor = "command", address: str = ""
    ) -> User:
        """Add a user. Without a password they sign in by a link first (`make_link`).

        Raises: RequestError 422 naming the field; 409 `name_taken`.
        """
        name = checked_name(name)
        role = checked_role(role)
        password_hash = None if password is None else self._passwords.hashed(password, name)
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> User:
            self._store.lock_users(connection)
            user = self._add(connection, name, role, password_hash=password_hash, now_ms=now_ms)
            # Who is made by hand is the first as well.
            self._store.drop_links(connection, "first", None)
            self._audit(connection, actor, "user.created", user, {"role": role}, address, now_ms)
            return user

        return self._database.run(write)

    def set_role(self, name: str, role: Role, *, actor: Actor = "command", address: str = "") -> None:
        """Give a user another role, and end their sessions; the role they have changes nothing.

        Raises: RequestError 404; 409 `last_admin`.
        """
        role = checked_role(role)
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> None:
            self._store.lock_users(connection)
            user = self._named(connection, name)
            if user.role == role:
                return
            if role != "admin":
                self._keep_an_admin(connection, user)
            self._change_role(connection, user, role, actor=actor, address=address, now_ms=now_ms)

        self._database.run(write)

    def set_password(self, name: str, password: str, *, actor: Actor = "command", address: str = "") -> None:
        """Give a user another password, and end their sessions. RequestError 404; 422 for a password that is none."""
        password_hash = self._passwords.hashed(password, name)
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> None:
            self._store.lock_users(connection)
            user = self._named(connection, name)
            self._put_password(connection, user, password_hash)
            self._audit(connection, actor, "user.password_changed", user, address=address, now_ms=now_ms)

        self._database.run(write)

    def change_password(self, viewer: Viewer, old: str, new: str, address: str, *, agent: str = "") -> SignedIn:
        """Change one's own password: every session ends, and a new one begins here.

        Raises:
            SignInRefused: too many tries.
            RequestError: 422 naming the field: the old one is wrong, or the new one is none.
        """
        self._take_try(patience := {f"own:{_hash(name_key(viewer.name))}": WITH_PAIR})
        user = self.user(viewer.name)
        is_right, _ = self._passwords.compare(old, user.password_hash)
        if not is_right:
            raise invalid("old", "this is not your password")
        self._forgive(tuple(patience))
        self.set_password(viewer.name, new, actor=viewer.actor, address=address)
        return self._begun(self.user(viewer.name), "password", address, agent, password_hash=None)

    def disable(self, name: str, *, actor: Actor = "command", address: str = "") -> None:
        """Let a user in no longer, and end their sessions. RequestError 404; 409 `last_admin`."""
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> None:
            self._store.lock_users(connection)
            user = self._named(connection, name)
            if user.disabled_ms is not None:
                return
            self._keep_an_admin(connection, user)
            self._store.set_disabled(connection, user.row_id, now_ms)
            self._store.end_sessions(connection, user.row_id)
            self._store.drop_links(connection, "password", user.row_id)
            self._audit(connection, actor, "user.disabled", user, address=address, now_ms=now_ms)

        self._database.run(write)

    def enable(self, name: str, *, actor: Actor = "command", address: str = "") -> None:
        """Let a user in again. RequestError 404."""
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> None:
            self._store.lock_users(connection)
            user = self._named(connection, name)
            if user.disabled_ms is not None:
                self._store.set_disabled(connection, user.row_id, None)
                self._audit(connection, actor, "user.enabled", user, address=address, now_ms=now_ms)

        self._database.run(write)

    def remove(self, name: str, *, actor: Actor = "command", address: str = "") -> None:
        """Remove a user with their sessions; what they did stays in the trail. RequestError 404; 409 `last_admin`."""
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> None:
            self._store.lock_users(connection)
            user = self._named(connection, name)
            self._keep_an_admin(connection, user)
            self._store.remove_user(connection, user.row_id)
            self._audit(connection, actor, "user.removed", user, address=address, now_ms=now_ms)

        self._database.run(write)

    def set_theme(self, viewer: Viewer, theme: Theme) -> None:
        """Keep how pages are to look for somebody."""
        if theme not in THEMES:
            raise invalid("theme", f"expected one of {', '.join(THEMES)}")

        def write(connection: Connection) -> None:
            self._store.lock_users(connection)
            self._store.set_theme(connection, self._named(connection, viewer.name).row_id, theme)

        self._database.run(write)

    # -- sessions ----------------------------------------------------------------------------------------------

    def sessions(self, name: str | None = None) -> list[Session]:
        """Who is signed in, newest first: one user, or everybody. RequestError 404."""
        now_ms = self._clock.now_ms()
        with self._database.read() as connection:
            row = None if name is None else self._named(connection, name).row_id
            return self._store.sessions(connection, row, now_ms=now_ms, idle_ms=now_ms - self._idle_ms)

    def revoke_session(
        self, session_id: str, *, of: str | None = None, actor: Actor = "command", address: str = ""
    ) -> None:
        """End one session; with `of`, only where it is that user's. RequestError 404."""
        now_ms = self._clock.now_ms()
        found = next((one for one in self.sessions(of) if one.id == session_id), None)
        if found is None:
            raise RequestError(404, "entity_not_found", f"Session not found: '{session_id[:80]}'. It may have ended.")

        def write(connection: Connection) -> None:
            if self._store.revoke_session(connection, session_id):
                user = self._store.user_named(connection, name_key(found.user))
                detail = {"session": session_id}
                self._audit(connection, actor, "session.revoked", user, detail, address, now_ms)

        self._database.run(write)

    def revoke_sessions(self, name: str, *, actor: Actor = "command", address: str = "") -> int:
        """End every session of a user; how many there were. RequestError 404."""
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> int:
            self._store.lock_users(connection)
            user = self._named(connection, name)
            ended = self._store.end_sessions(connection, user.row_id)
            self._audit(connection, actor, "session.all_revoked", user, {"sessions": ended}, address, now_ms)
            return ended

        return self._database.run(write)

    # -- audit trail -------------------------------------------------------------------------------------------

    def record(
        self, actor: str, action: str, object_id: str | None, detail: Mapping[str, Any], *, address: str = ""
    ) -> None:
        """Write a line of the audit trail, of what no end records by itself.

        Args:
            actor: `user:<name>`, an API key's, or `command`.
            action: what was done, as `mirror.reconciled`.
            object_id: to what.
            detail: JSON-able; nothing secret, and no payload.
        """
        now_ms = self._clock.now_ms()
        self._database.run(
            lambda connection: self._store.audit(
                connection,
                actor=_plain(actor),
                action=_plain(action),
                object_id=None if object_id is None else _plain(object_id),
                detail=detail,
                address=_plain(address),
                now_ms=now_ms,
            )
        )

    def audit_page(
        self,
        choice: AuditChoice | None = None,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> AuditPage:
        """A page of the audit trail, newest first: the newest, or beside a row."""
        chosen = choice or AuditChoice()
        direction: Literal["newer", "older"] = "older" if after is None else "newer"
        cursor = after if after is not None else before if before is not None else (1 << 63) - 1
        with self._database.read() as connection:
            lines = self._store.audit_lines(connection, chosen, direction, cursor, limit + 1)
        has_more = len(lines) > limit
        lines = lines[:limit]
        if direction == "newer":
            lines.reverse()
            has_newer, has_older = has_more, bool(lines)
        else:
            has_newer, has_older = before is not None and bool(lines), has_more
        return AuditPage(
            lines,
            newer=lines[0].row_id if lines and has_newer else None,
            older=lines[-1].row_id if lines and has_older else None,
        )

    def prune(self) -> int:
        """Remove what has ended, and lines of the audit trail that are older than a year; how many of those."""
        now_ms = self._clock.now_ms()
        self._tended_ms = now_ms
        self._database.run(
            lambda connection: self._store.forget_past(
                connection, now_ms=now_ms, idle_ms=now_ms - self._idle_ms, tries_before_ms=now_ms - FORGET_MS
            )
        )
        removed, at_once = 0, _AUDIT_AT_ONCE
        while at_once == _AUDIT_AT_ONCE:
            at_once = self._database.run(
                lambda connection: self._store.forget_audit(
                    connection, cutoff_ms=now_ms - AUDIT_MS, limit=_AUDIT_AT_ONCE
                )
            )
            removed += at_once
        return removed

    # -- within ------------------------------------------------------------------------------------------------

    def _take_try(self, patience: Mapping[str, Patience]) -> int:
        """Count a try as failed before it is one; how many failures of the first in a row there are now.

        Raises: SignInRefused where one of them has to wait; that costs the database no write.
        """
        now_ms = self._clock.now_ms()
        with self._database.read() as connection:
            _refuse_hasty(self._store.tries(connection, list(patience)), patience, now_ms)

        def write(connection: Connection) -> int:
            found = self._store.take_tries(connection, list(patience))
            _refuse_hasty(found, patience, now_ms)
            failed = {one: found[one].failed(patience[one], now_ms) for one in patience}
            self._store.put_tries(connection, failed)
            return failed[next(iter(patience))].failures

        failures = self._database.run(write)
        self._tend(now_ms)
        return failures

    def _forgive(self, tried: tuple[str, ...]) -> None:
        self._database.run(lambda connection: self._forgive_on(connection, tried))

    def _forgive_on(self, connection: Connection, tried: tuple[str, ...]) -> None:
        """The last try was none. A name begins anew; what an address failed at with other names still counts."""
        if tried:
            found = self._store.take_tries(connection, tried)
            kept = {one: tries.taken_back() if one.startswith("address:") else Tries() for one, tries in found.items()}
            self._store.put_tries(connection, kept)

    def _begin(
        self,
        user: User,
        method: Method,
        address: str,
        agent: str,
        *,
        password_hash: str | None,
        forgives: tuple[str, ...] = (),
    ) -> SignedIn | None:
        now_ms = self._clock.now_ms()
        token = self._draw()
        session = self._session(user.name, method, address, agent, now_ms)

        def write(connection: Connection) -> bool:
            begun = self._store.begin_session(
                connection, _hash(token), session, user.row_id, password_hash=password_hash
            )
            if begun:
                self._forgive_on(connection, forgives)
                self._audit_sign_in(connection, user, session, now_ms)
            return begun

        return self._signed_in(token, user, session) if self._database.run(write) else None

    def _begun(self, user: User, method: Method, address: str, agent: str, *, password_hash: str | None) -> SignedIn:
        signed_in = self._begin(user, method, address, agent, password_hash=password_hash)
        if signed_in is None:
            raise SignInRefused(_WRONG)
        return signed_in

    def _signed_in(self, token: str, user: User, session: Session) -> SignedIn:
        viewer = Viewer(user.name, user.role, session_id=session.id, theme=user.theme)
        return SignedIn(token, viewer, lasts_s=int(self.session_s))

    def _session(self, name: str, method: Method, address: str, agent: str, now_ms: int) -> Session:
        return Session(
            id=self._ids.make("session", now_ms),
            user=name,
            method=method,
            address=_plain(address),
            agent=_plain(agent)[:_MOST_AGENT],
            created_ms=now_ms,
            used_ms=now_ms,
            expires_ms=now_ms + round(self.session_s * 1000),
        )

    def _audit_sign_in(self, connection: Connection, user: User, session: Session, now_ms: int) -> None:
        detail = {"by": session.method, "session": session.id}
        self._audit(connection, f"user:{user.name}", "user.signed_in", user, detail, session.address, now_ms)

    def _note_use(self, token_hash: str, now_ms: int) -> None:
        try:
            self._database.run(lambda connection: self._store.note_use(connection, token_hash, now_ms))
        except StorageError as error:
            # The page is read all the same; the next use is noted.
            log.debug("the use of a session was not noted: %s", error)
        self._tend(now_ms)

    def _tend(self, now_ms: int) -> None:
        """Remove what is past once an hour, as long as somebody comes: what grows, grows by who comes."""
        if self._tended_ms is None or not 0 <= now_ms - self._tended_ms < _TEND_MS:
            try:
                self.prune()
            except StorageError as error:
                log.debug("what is past was not removed: %s", error)

    def _named(self, connection: Connection, name: str) -> User:
        user = self._store.user_named(connection, name_key(name))
        if user is None:
            raise RequestError(404, "entity_not_found", "There is no user of this name.")
        return user

    def _add(
        self,
        connection: Connection,
        name: str,
        role: Role,
        *,
        password_hash: str | None = None,
        issuer: str | None = None,
        subject: str | None = None,
        now_ms: int,
    ) -> User:
        row_id = self._store.add_user(
            connection,
            self._ids.make("account", now_ms),
            name,
            name_key(name),
            role,
            password_hash=password_hash,
            issuer=issuer,
            subject=subject,
            now_ms=now_ms,
        )
        user = None if row_id is None else self._store.user_at(connection, row_id)
        if user is None:
            message = "there is somebody of this name"
            raise RequestError(
                409, "name_taken", message, [{"code": "name_taken", "field": "name", "message": message}]
            )
        return user

    def _add_vouched(self, connection: Connection, vouched: Vouched, address: str, now_ms: int) -> User:
        """A user under the first name like this one that is free: whoever has it here may be somebody else."""
        name = name_like(vouched.name)
        number, free = 1, name
        while self._store.user_named(connection, name_key(free)) is not None:
            number += 1
            free = f"{name}~{number}"
        user = self._add(
            connection,
            free,
            vouched.role,
            issuer=vouched.issuer,
            subject=vouched.subject,
            now_ms=now_ms,
        )
        self._store.drop_links(connection, "first", None)
        detail = {"role": vouched.role, "by": "oidc"}
        self._audit(connection, "provider", "user.created", user, detail, address, now_ms)
        return user

    def _change_role(
        self, connection: Connection, user: User, role: Role, *, actor: Actor, address: str, now_ms: int
    ) -> None:
        self._store.set_role(connection, user.row_id, role)
        self._store.end_sessions(connection, user.row_id)
        detail = {"from": user.role, "to": role}
        self._audit(connection, actor, "user.role_changed", user, detail, address, now_ms)

    def _put_password(self, connection: Connection, user: User, password_hash: str) -> None:
        self._store.set_password(connection, user.row_id, password_hash)
        self._store.end_sessions(connection, user.row_id)
        self._store.drop_links(connection, "password", user.row_id)

    def _keep_an_admin(self, connection: Connection, user: User) -> None:
        """Refuse what would leave nobody who can let others in."""
        is_one = user.role == "admin" and user.disabled_ms is None
        if is_one and self._store.count_admins(connection) < 2:
            raise RequestError(409, "last_admin", "this is the last admin: make another user an admin first")

    def _audit(
        self,
        connection: Connection,
        actor: Actor,
        action: str,
        user: User | None,
        detail: Mapping[str, Any] | None = None,
        address: str = "",
        now_ms: int = 0,
    ) -> None:
        named = {"name": user.name} if user is not None else {}
        self._store.audit(
            connection,
            actor=_plain(actor),
            action=action,
            object_id=user.id if user is not None else None,
            detail={**named, **(detail or {})},
            address=_plain(address),
            now_ms=now_ms,
        )


def _refuse_hasty(found: Mapping[str, Tries], patience: Mapping[str, Patience], now_ms: int) -> None:
    wait_ms = max((tries.wait_ms(patience[one], now_ms) for one, tries in found.items()), default=0)
    if wait_ms:
        wait_s = -(-wait_ms // 1000)
        raise SignInRefused(f"Too many tries. The next is taken in {wait_s} s.", wait_s=wait_s)


def _hash(token: str) -> str:
    # Tokens are random: a plain hash cannot be guessed back. Of a name it is no secret, but of one length.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _place(address: str) -> str:
    try:
        return place_of(ipaddress.ip_address(address))
    except ValueError:
        return place_of(None)


def _plain(text: str) -> str:
    """As every database keeps it."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:_MOST_TEXT]

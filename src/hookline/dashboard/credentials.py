"""What may be a name, a role or a password, and how passwords are kept and compared."""

from __future__ import annotations

import re
import secrets
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pwdlib import PasswordHash

from hookline.dashboard.viewer import ROLES, Role
from hookline.errors import RequestError, SignInRefused

LEAST_PASSWORD: Final = 10
MOST_PASSWORD: Final = 500
MOST_NAME: Final = 100
# It is a part of paths, and of the names in audit trails.
_NAME: Final = re.compile(r"[^\W_][\w.@+~-]{0,99}")
_NO_NAME: Final = re.compile(r"[^\w.@+~-]+")
_MOST_KEY: Final = 500
# Passwords compared at once: each takes 64 MiB for a moment.
_AT_ONCE: Final = 2
_TURN_S: Final = 10.0


class Passwords:
    """How passwords are hashed and compared, a few at a time.

    Args:
        hasher: argon2 with its library's costs unless given.
    """

    def __init__(self, hasher: PasswordHash | None = None) -> None:
        self._hasher = hasher or PasswordHash.recommended()
        self._nobodys_hash: str | None = None
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def hashed(self, password: str, name: str) -> str:
        """What is kept of a user's new password. RequestError 422 `password` where it is none."""
        password = checked_password(password, name)
        with self._turn():
            return self._hasher.hash(password)

    def compare(self, password: str, password_hash: str | None) -> tuple[bool, str | None]:
        """Whether a password is the one of a hash; and a newer hash where that one is of an older strength.

        Without a hash it is not, after the same work; so with what no password can be.
        """
        password = _normalized(password)
        if password_hash is None or len(password) > MOST_PASSWORD or not _is_encodable(password):
            password, password_hash = "", self._hash_of_nobody()
        with self._turn():
            return self._hasher.verify_and_update(password, password_hash)

    def _hash_of_nobody(self) -> str:
        if self._nobodys_hash is None:
            self._nobodys_hash = self._hasher.hash(secrets.token_urlsafe())
        return self._nobodys_hash

    def prepare(self) -> None:
        """Make what unknown names are compared with, so that the first of them takes no longer than the others."""
        self._hash_of_nobody()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(timeout=_TURN_S):
            raise SignInRefused("Too many sign in at this moment. Try again in a moment.", wait_s=5)
        try:
            yield
        finally:
            self._turns.release()


def name_key(name: str) -> str:
    """A name as it is compared: `Ada` and `ada` are one."""
    return unicodedata.normalize("NFKC", name).casefold().strip()[:_MOST_KEY].encode("utf-8", "replace").decode()


def checked_name(name: str) -> str:
    """A name that somebody may have. RequestError 422 `name` where it is none."""
    name = unicodedata.normalize("NFC", name).strip()
    if not _NAME.fullmatch(name):
        raise invalid(
            "name", f"expected 1 to {MOST_NAME} letters, digits and . _ @ + ~ -, beginning with a letter or a digit"
        )
    return name


def name_like(name: str) -> str:
    """A name that somebody may have, out of whatever a provider calls them; short enough for a number behind it."""
    plain = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
    return _NO_NAME.sub(".", plain).strip("._@+~-")[: MOST_NAME - 10] or "somebody"


def checked_role(role: str) -> Role:
    """A role. RequestError 422 `role` where it is none."""
    for known in ROLES:
        if role == known:
            return known
    raise invalid("role", f"expected one of {', '.join(ROLES)}")


def checked_password(password: str, name: str) -> str:
    """A password that somebody of this name may have, as it is hashed. RequestError 422 `password` where it is none."""
    password = _normalized(password)
    if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD or not _is_encodable(password):
        raise invalid("password", f"expected {LEAST_PASSWORD} to {MOST_PASSWORD} characters")
    if name_key(password) == name_key(name) or len(set(password)) < 4:
        raise invalid(
            "password", "expected something harder to guess: not the name, and not one letter again and again"
        )
    return password


def invalid(field: str, message: str) -> RequestError:
    """What is wrong with a field of a form."""
    return RequestError(422, "invalid", message, [{"code": "invalid", "field": field, "message": message}])


def _normalized(password: str) -> str:
    """As every keyboard means it: composed and decomposed letters are one (RFC 8265)."""
    return unicodedata.normalize("NFC", password)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

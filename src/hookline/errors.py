"""Every exception Hookline raises.

    HooklineError
    ├── WebhookError                what arrived from outside is not acceptable
    │   ├── InvalidSignature        .reason: missing | malformed | expired | future | mismatch
    │   └── InvalidBody             .reason: encoding | not_json | not_event
    ├── NotCanonical                a value to publish has no canonical JSON bytes; .path names the place
    ├── ConfigError                 a setting is wrong; .setting names it
    ├── StorageError
    │   ├── StorageUnavailable      locked, full, unwritable or gone: nothing was written, try again later
    │   ├── OutcomeUnknown          the commit's answer never came: it may or may not have been written
    │   └── MigrationError          the schema is newer, altered or half known: refuse to run
    ├── SourceError                 the source's API gave no answer to go by; .reason says of what kind
    ├── RequestError                an API call is refused; .status .code .message .errors make the answer
    │   └── SignInRefused           a sign-in to the dashboard is; .wait_s says how long to wait before the next
    ├── ServerUnreachable           the server that a command asks gives no answer
    ├── InvalidFrame                the other end of a relay says what its protocol does not know
    └── TransactionMisuse           a handler ended the transaction it was lent; an event was to be published in none

A class exists where a caller would act differently. Messages say what was expected, what came and what to do;
never a secret, a whole digest or a person's data.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

SignatureReason: TypeAlias = Literal["missing", "malformed", "expired", "future", "mismatch"]
BodyReason: TypeAlias = Literal["encoding", "not_json", "not_event"]
SourceReason: TypeAlias = Literal["unavailable", "rate_limited", "unauthorized", "refused", "expired", "nonsense"]


class HooklineError(Exception):
    """The base of them all."""


class WebhookError(HooklineError):
    """What arrived from outside is not acceptable; the one family to catch around `verify`."""


class InvalidSignature(WebhookError):
    """The signature does not hold; `reason` says at which step."""

    def __init__(self, reason: SignatureReason, message: str) -> None:
        super().__init__(message)
        self.reason: SignatureReason = reason


class InvalidBody(WebhookError):
    """The body is no event, whatever its signature; `reason` says why."""

    def __init__(self, reason: BodyReason, message: str) -> None:
        super().__init__(message)
        self.reason: BodyReason = reason


class NotCanonical(HooklineError):
    """A value has no canonical JSON bytes; `path` names the place, as in `data.emails[0].value`."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class ConfigError(HooklineError):
    """A setting is missing or wrong; `setting` is its name as the user wrote it."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting}: {message}" if setting else message)
        self.setting = setting


class StorageError(HooklineError):
    """The database did not do what was asked."""


class StorageUnavailable(StorageError):
    """The database is locked, full, unwritable or gone. Nothing was written; the same call may succeed later."""


class OutcomeUnknown(StorageError):
    """The commit was sent and its answer never came: the write may or may not be there."""


class MigrationError(StorageError):
    """The schema in the database is not one this version can run on."""


class SourceError(HooklineError):
    """The source's API gave no answer that says anything of the objects asked about.

    `reason`: `unavailable` (no connection, a timeout, 5xx) and `rate_limited` pass by themselves; `unauthorized` (401,
    403) and `refused` (any other 4xx) need a person; `expired`: the cursor leads to events that it no longer keeps;
    `nonsense`: what it answered is not what it should be. `retry_after_s` is what it asked for, or None.
    """

    def __init__(self, reason: SourceReason, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.reason: SourceReason = reason
        self.retry_after_s = retry_after_s


class RequestError(HooklineError):
    """An API request is refused.

    Args:
        status: HTTP status.
        code: the protocol's machine word (`entity_not_found`, …), or None where the protocol has none.
        message: for people.
        errors: the protocol's `errors` list, already in the dialect of its resource, or None.
    """

    def __init__(self, status: int, code: str | None, message: str, errors: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors


class SignInRefused(RequestError):
    """A sign-in to the dashboard is refused: it never says whether the name or the password was the wrong one.

    `wait_s`: how long none is taken, 0 where the next may come at once.
    """

    def __init__(self, message: str, *, wait_s: int = 0) -> None:
        super().__init__(429 if wait_s else 401, "wait" if wait_s else "not_signed_in", message)
        self.wait_s = wait_s


class ServerUnreachable(HooklineError):
    """The server that a command asks gives no answer, or none that Hookline would give."""


class InvalidFrame(HooklineError):
    """A message of a relay's other end is not what the protocol says (relay/frames.py)."""


class TransactionMisuse(HooklineError):
    """A handler called commit or rollback on the transaction it was lent, which Hookline ends; or an `Outbox` was given
    a connection that is in no transaction."""

"""The codes of errors that the command tells, what each means, and what helps. They stay: scripts know them.

What a server of ours refuses comes with the API's own code, of which those that people meet are here, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class ErrorCode(NamedTuple):
    """What a code means; and what to do, where the error itself does not say it better."""

    meaning: str
    to_do: str | None = None


ERRORS: Final[Mapping[str, ErrorCode]] = {
    "usage": ErrorCode("The command line cannot be understood.", "`hookline --help` lists what there is"),
    "config": ErrorCode(
        "A setting or a flag has a value that it does not take, or lacks one.",
    ),
    "missing_extra": ErrorCode("Packages are not installed that the command needs."),
    "storage": ErrorCode(
        "The database does not do what it should: it is locked, full, unwritable or gone.",
        "`hookline doctor` looks at it; the same command may go well later",
    ),
    "migrations": ErrorCode(
        "The tables in the database are of another version than this command.",
        "`hookline db upgrade` brings older ones up to date; newer ones need a newer Hookline",
    ),
    "unreachable": ErrorCode("The server that was asked does not answer, or not as Hookline does."),
    "not_logged_in": ErrorCode(
        "The API key of the server is missing or wrong.",
        "set HOOKLINE_API_KEY, of staging HOOKLINE_STAGING_API_KEY, to a key that `hookline keys create` made there",
    ),
    "elsewhere": ErrorCode(
        "A listener of this name has connected from elsewhere; one connection at a time has a name.",
        "`hookline listen --name` makes another",
    ),
    "revoked": ErrorCode("The API key, or the listener, was removed while it listened."),
    "no_relay": ErrorCode("The server takes no listeners: it is none of Hookline's, or an older one."),
    "no_since": ErrorCode("The server cannot say where in its feed a time is.", "leave --since out"),
    "source": ErrorCode(
        "The source's API gave no answer to go by.", "`hookline doctor` asks it, and says what it answers"
    ),
    "not_found": ErrorCode("There is nothing of that id or name."),
    "doctor": ErrorCode("The doctor found something wrong.", "each line says what helps"),
    "db_check": ErrorCode("A database is not as it should be.", "the message says which, and what of it"),
    "mass_delete": ErrorCode(
        "A comparison would remove so much that it stopped.",
        "look at what the source lists; `--allow-mass-delete` where it is right",
    ),
    "failed": ErrorCode("What was asked could not be done."),
    "refused": ErrorCode("A server refused, without a code."),
    "system": ErrorCode("The operating system refuses: a file that cannot be written, a full disk."),
    "unexpected": ErrorCode(
        "An error that nobody thought of: most likely one of Hookline itself.",
        "run the same with --debug for the traceback, and report that with what `hookline version` prints",
    ),
    "entity_not_found": ErrorCode("The API knows nothing of that id in this environment.", "is it of the other --env?"),
    "unauthorized": ErrorCode("The API key is none of this server's."),
    "invalid_request_parameters": ErrorCode("The API does not take a value; the message names the field."),
    "invalid_event": ErrorCode("What was to be published is no event."),
    "invalid_url": ErrorCode("An endpoint may not have this URL."),
    "duplicate_endpoint": ErrorCode("Another endpoint of the environment has this URL.", "`hookline endpoints list`"),
    "endpoint_not_active": ErrorCode("The endpoint is paused or disabled.", "`hookline endpoints resume` or `enable`"),
    "delivery_moved": ErrorCode("The delivery is in another state by now.", "`hookline deliveries show` says in which"),
    "event_pruned": ErrorCode("The event's body is no longer kept: it cannot be sent again."),
    "too_many_keys": ErrorCode("An environment has as many API keys as it may.", "`hookline keys revoke` ends one"),
    "storage_unavailable": ErrorCode("The server's database takes nothing for now.", "try again later"),
    "internal_error": ErrorCode("The server failed.", "its log has the traceback, by the request's id"),
}

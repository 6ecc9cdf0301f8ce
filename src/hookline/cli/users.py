"""`hookline users`: who may sign in to the dashboard, straight in the database, also when nobody can sign in."""

from __future__ import annotations

import getpass
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias
from urllib.parse import urlsplit

import cyclopts
from cyclopts import Parameter

from hookline.cli import MANNER, Exit
from hookline.cli.parameters import AsJson
from hookline.cli.sender_commands import Yes, is_sure
from hookline.cli.tables import print_json, print_table, time_of
from hookline.config import SETTINGS, Settings, load
from hookline.dashboard.accounts import Accounts
from hookline.dashboard.credentials import LEAST_PASSWORD
from hookline.dashboard.links import ROOT
from hookline.errors import ConfigError
from hookline.rules.roles import Role
from hookline.storage import connect, database_file

if TYPE_CHECKING:
    from hookline.dashboard.account_model import User

users = cyclopts.App(name="users", help="Who may sign in to the dashboard: add, roles, passwords, sessions, links.")
sessions = cyclopts.App(name="sessions", help="Who is signed in: list, revoke.")
users.command(sessions)

DatabaseUrl: TypeAlias = Annotated[
    str | None,
    Parameter("--database-url", help="The database the accounts are in. Else the sender's, or the receiver's."),
]
At: TypeAlias = Annotated[
    str | None,
    Parameter(
        "--at",
        help="Where the server is reached, as http://127.0.0.1:9000, where `serve` was given another port by a flag; "
        "else HOOKLINE_DASHBOARD_PUBLIC_URL, or host and port of the settings.",
    ),
]
_ACTOR: Final = "command"


@users.command(name="list")
def list_(*, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Everybody, by name."""
    with ExitStack() as ends:
        found = opened_accounts(load({"database_url": database_url}), database_url, ends).users()
    if as_json:
        print_json([_shown(one) for one in found])
        return
    print_table(
        ("NAME", "ROLE", "SIGNS IN BY", "LAST SIGNED IN", "STATE"),
        (
            (one.name, one.role, _by(one), time_of(one.signed_in_ms), "disabled" if one.disabled_ms else "active")
            for one in found
        ),
        empty="nobody has an account; `hookline users add` makes one, `hookline users link` a link that does",
    )


@users.command
def add(
    name: str,
    /,
    *,
    role: Role = "viewer",
    ask_password: Annotated[
        bool, Parameter("--ask-password", negative=(), help="Ask for a password, or read it from standard input.")
    ] = False,
    at: At = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Add a user, and print the link in which they choose their password; with --ask-password it is set here.

    Parameters
    ----------
    name:
        What they sign in as: without spaces, as ada or an e-mail address.
    role:
        A viewer reads, an operator acts, an admin reads secrets and manages people.
    """
    secret = _password() if ask_password else None
    settings = load({"database_url": database_url})
    with ExitStack() as ends:
        accounts = opened_accounts(settings, database_url, ends)
        user = accounts.add_user(name, role, password=secret, actor=_ACTOR)
        link = None if secret is not None else _link(settings, accounts.make_link(user.name, actor=_ACTOR), at)
    if as_json:
        print_json({**_shown(user), "link": link})
    else:
        print(f"added: {user.name}, {user.role}")
        _print_link(link)


@users.command(name="set-role")
def set_role(name: str, role: Role, /, *, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Give a user another role; their sessions end.

    Parameters
    ----------
    name:
        Whose.
    role:
        Which.
    """
    with ExitStack() as ends:
        accounts = opened_accounts(load({"database_url": database_url}), database_url, ends)
        accounts.set_role(name, role, actor=_ACTOR)
        _tell(accounts.user(name), "is now", role, as_json=as_json)


@users.command(name="set-password")
def set_password(name: str, /, *, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Give a user another password, asked for or read from standard input; their sessions end.

    Parameters
    ----------
    name:
        Whose.
    """
    secret = _password()
    with ExitStack() as ends:
        accounts = opened_accounts(load({"database_url": database_url}), database_url, ends)
        accounts.set_password(name, secret, actor=_ACTOR)
        _tell(accounts.user(name), "has another password", as_json=as_json)


@users.command
def disable(name: str, /, *, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Let a user sign in no longer; their sessions end.

    Parameters
    ----------
    name:
        Whom.
    """
    with ExitStack() as ends:
        accounts = opened_accounts(load({"database_url": database_url}), database_url, ends)
        accounts.disable(name, actor=_ACTOR)
        _tell(accounts.user(name), "is disabled", as_json=as_json)


@users.command
def enable(name: str, /, *, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Let a user sign in again.

    Parameters
    ----------
    name:
        Whom.
    """
    with ExitStack() as ends:
        accounts = opened_accounts(load({"database_url": database_url}), database_url, ends)
        accounts.enable(name, actor=_ACTOR)
        _tell(accounts.user(name), "is enabled", as_json=as_json)


@users.command
def remove(name: str, /, *, yes: Yes = False, database_url: DatabaseUrl = None, as_json: AsJson = False) -> int:
    """Remove a user with their sessions; what they did stays in the audit trail.

    Parameters
    ----------
    name:
        Whom.
    """
    with ExitStack() as ends:
        accounts = opened_accounts(load({"database_url": database_url}), database_url, ends)
        user = accounts.user(name)
        if not is_sure(f"Remove {user.name}, {user.role}?", yes=yes):
            return Exit.FAILED
        accounts.remove(name, actor=_ACTOR)
    if as_json:
        print_json({"name": user.name, "removed": True})
    else:
        print(f"removed: {user.name}")
    return Exit.OK


@users.command
def link(
    name: str | None = None, /, *, at: At = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Print a link, good once and for a day: in it a user chooses a password, or the first account is made.

    Parameters
    ----------
    name:
        For whom; without a name, while nobody has an account, for the first admin.
    """
    settings = load({"database_url": database_url})
    with ExitStack() as ends:
        accounts = opened_accounts(settings, database_url, ends)
        token = accounts.first_link() if name is None else accounts.make_link(name, actor=_ACTOR)
    if token is None:
        raise ConfigError("NAME", "expected a name, since somebody has an account: `hookline users list`")
    if as_json:
        print_json({"name": name, "link": _link(settings, token, at)})
    else:
        _print_link(_link(settings, token, at))


@sessions.default
def sessions_list(name: str | None = None, /, *, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Who is signed in, newest first.

    Parameters
    ----------
    name:
        Only this user.
    """
    with ExitStack() as ends:
        found = opened_accounts(load({"database_url": database_url}), database_url, ends).sessions(name)
    if as_json:
        print_json(
            [
                {
                    "id": one.id,
                    "name": one.user,
                    "by": one.method,
                    "address": one.address,
                    "agent": one.agent,
                    "created_at": time_of(one.created_ms),
                    "used_at": time_of(one.used_ms),
                    "expires_at": time_of(one.expires_ms),
                }
                for one in found
            ]
        )
        return
    print_table(
        ("SESSION", "NAME", "BY", "FROM", "BEGAN", "USED", "BROWSER"),
        (
            (
                one.id,
                one.user,
                one.method,
                one.address or None,
                time_of(one.created_ms),
                time_of(one.used_ms),
                one.agent,
            )
            for one in found
        ),
        empty="nobody is signed in",
    )


@sessions.command
def revoke(
    session: str | None = None,
    /,
    *,
    user: Annotated[str | None, Parameter(help="Every session of this user instead of one.")] = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """End a session, or all of a user's: whoever holds one is out with their next click.

    Parameters
    ----------
    session:
        Its id, as listed.
    """
    if (session is None) == (user is None):
        raise ConfigError("SESSION", "expected the id of a session, or --user with a name")
    with ExitStack() as ends:
        accounts = opened_accounts(load({"database_url": database_url}), database_url, ends)
        ended = 1
        if session is not None:
            accounts.revoke_session(session, actor=_ACTOR)
        elif user is not None:
            ended = accounts.revoke_sessions(user, actor=_ACTOR)
    if as_json:
        print_json({"revoked": ended})
    else:
        print(f"revoked: {ended} session{'' if ended == 1 else 's'}")


def opened_accounts(settings: Settings, database_url: str | None, ends: ExitStack) -> Accounts:
    """The accounts of a database, whose tables are brought up to date; of the end's where they are.

    `serve` keeps them in the sender's database, and in the receiver's where a process has no sender: where the two
    differ, the one that has somebody is meant.
    """
    if database_url is not None:
        return _accounts_at(settings["database_url"], "--database-url", ends)
    setting = SETTINGS["database_url"].variable
    urls = dict.fromkeys((settings.sender().database_url, settings.receiver().database_url))
    there = [url for url in urls if not url.startswith("sqlite:") or database_file(url, setting=setting).exists()]
    found = [_accounts_at(url, setting, ends) for url in there or urls]
    return next((accounts for accounts in found if accounts.users()), found[0])


def _accounts_at(url: str, setting: str, ends: ExitStack) -> Accounts:
    if url.startswith("sqlite:") and not (file := database_file(url, setting=setting)).exists():
        raise ConfigError(setting, f"there is no database {file}; `hookline serve` and `hookline db upgrade` make one")
    database = connect(url, setting=setting)
    ends.callback(database.close)
    accounts = Accounts(database)
    accounts.open()
    return accounts


def _password() -> str:
    """A password, from a terminal twice, else the first line of standard input. Never a flag: those are seen."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    if not MANNER.get().asks:
        raise ConfigError("--no-input", "expected a password on standard input: nobody may be asked")
    first = getpass.getpass(f"Password, {LEAST_PASSWORD} characters or more: ", stream=sys.stderr)
    if getpass.getpass("Once more: ", stream=sys.stderr) != first:
        raise ConfigError("password", "the two are not the same; nothing was changed")
    return first


def _link(settings: Settings, token: str, at: str | None) -> str:
    if at is not None:
        parts = urlsplit(at)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError("--at", "expected where the server is reached, as http://127.0.0.1:9000")
        return f"{at.rstrip('/')}{ROOT}/first?token={token}"
    config = settings.serve()
    return f"{config.dashboard.public_url or config.url_here}{ROOT}/first?token={token}"


def _print_link(link: str | None) -> None:
    if link is not None:
        print(f"good once, for a day: {link}")


def _tell(user: User, *said: str, as_json: bool) -> None:
    if as_json:
        print_json(_shown(user))
    else:
        print(" ".join((user.name, *said)))


def _by(user: User) -> str:
    ways = [way for way, has in (("password", user.password_hash), ("provider", user.subject)) if has]
    return " and ".join(ways) or "a link first"


def _shown(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "name": user.name,
        "role": user.role,
        "has_password": user.password_hash is not None,
        "issuer": user.issuer,
        "created_at": time_of(user.created_ms),
        "signed_in_at": time_of(user.signed_in_ms),
        "disabled_at": time_of(user.disabled_ms),
    }

"""The command tree. Each command is named here with its help and imported only when it is called."""

from __future__ import annotations

import difflib
import functools
import itertools
import os
from collections.abc import Iterator, Sequence

import cyclopts
from cyclopts.exceptions import (
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

import hookline
from hookline.cli import EVERYWHERE, Exit, Manner, fail, tell_traceback
from hookline.config import FILE_NAME, PREFIX, refuse_secret_flags
from hookline.errors import (
    ConfigError,
    HooklineError,
    MigrationError,
    RequestError,
    ServerUnreachable,
    SourceError,
    StorageError,
)

app = cyclopts.App(
    name="hookline",
    help=(
        "Sync data with webhooks, both ends of the line.\n\n"
        "Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 not logged in, 5 drift, 6 partly done, "
        "130 interrupted (`hookline help exit-codes`); codes of errors: `hookline help errors`.\n\n"
        "Every command takes, wherever they stand: --quiet, --verbose, --no-input, --debug. HOOKLINE_OUTPUT=json is "
        "--json, NO_COLOR=1 no colour."
    ),
    version=hookline.__version__,
    help_format="markdown",
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # main answers it
)
app.command("hookline.cli.demo:demo", name="demo", help="Watch both ends at work, with a bad wire in between.")
app.command("hookline.cli.serve:serve", name="serve", help="Run the sender, the receiver, or both.")
app.command(
    "hookline.cli.listen:listen", name="listen", help="Bring events to an app on this machine, without a tunnel."
)
app.command(
    "hookline.cli.replay:replay", name="replay", help="Send recorded requests to an app again, each signed anew."
)
app.command(
    "hookline.cli.endpoints:endpoints",
    name="endpoints",
    help="Who wants which events: create, pause, rotate secrets, test.",
)
app.command("hookline.cli.events:events", name="events", help="What was published: look, publish, send again, explain.")
app.command(
    "hookline.cli.trigger:trigger",
    name="trigger",
    help="Make an event or a scenario happen, by the sender or straight to a URL.",
)
app.command(
    "hookline.cli.deliveries:deliveries",
    name="deliveries",
    help="What is sent to whom: look, retry, cancel, recover.",
)
app.command(
    "hookline.cli.replays:replays", name="replays", help="Send events of the past again: count, start, follow, cancel."
)
app.command(
    "hookline.cli.listeners:listeners",
    name="listeners",
    help="Who listens on their own machine: list, show, rotate secrets, remove.",
)
app.command("hookline.cli.keys:keys", name="keys", help="API keys: list, create, revoke.")
app.command("hookline.cli.keys:audit", name="audit", help="Who did what to the sender, newest first.")
app.command(
    "hookline.cli.users:users", name="users", help="Who may sign in to the dashboard: add, roles, sessions, links."
)
app.command("hookline.cli.db:db", name="db", help="The databases: upgrade, check, prune.")
app.command("hookline.cli.status:status", name="status", help="How both ends are doing, and what needs you.")
app.command("hookline.cli.doctor:doctor", name="doctor", help="Look for what keeps webhooks away, and say the cure.")
app.command("hookline.cli.logs:logs", name="logs", help="What passes at both ends, as it happens.")
app.command("hookline.cli.inbox:inbox", name="inbox", help="What arrived, what became of it, and once more.")
app.command("hookline.cli.handlers:handlers", name="handlers", help="The app's handlers: pause, resume, forget.")
app.command(
    "hookline.cli.check:check",
    name="check",
    help=(
        "Hold any endpoint, in any language, against what the guide asks of one.\n\n"
        "Each request is signed as WorkOS signs and marked as test traffic; the users and groups in them are made up, "
        "and deleted again at the end. Plain http and private addresses are allowed, since this is for the desk; "
        "redirects are never followed."
    ),
)
app.command("hookline.cli.sign:sign", name="sign", help="Sign a body as the sender does.")
app.command("hookline.cli.sign:verify", name="verify", help="Say whether a signature holds, and why not.")
app.command(
    "hookline.cli.explain:explain",
    name="explain",
    help="Say why a signature does not hold: which step, the culprit, the cure.",
)
app.command("hookline.cli.mirror:mirror", name="mirror", help="Show what the mirror holds, and why.")
app.command(
    "hookline.cli.reconcile:backfill",
    name="backfill",
    help="Fill the mirror with all that the source's API lists.",
)
app.command(
    "hookline.cli.reconcile:reconcile",
    name="reconcile",
    help="Compare the mirror with the source's API, say where and why they differ, and put it right.",
)
app.command("hookline.cli.config:config", name="config", help="Show the settings in force.")
app.command("hookline.cli.openapi:openapi", name="openapi", help="Print the description of the sender's API.")
app.command("hookline.cli.help:help_", name="help", help="Help for a command; exit-codes; errors.")
app.command(
    "hookline.cli.completion:completion", name="completion", help="Completion for bash, zsh and fish: print, install."
)
app.command("hookline.cli.version:version", name="version", help="Print the version.")


def run(arguments: Sequence[str], manner: Manner) -> int:
    """Parse and run one command; an expected error becomes lines on stderr and its exit code."""
    told = functools.partial(fail, as_json=manner.as_json)
    try:
        refuse_secret_flags(arguments)
    except ConfigError as error:
        # Why there is no such option is more than that there is none.
        return told("config", str(error), Exit.USAGE, to_do=_cure_of(error, arguments))
    try:
        _check_environment()
        result = app(
            with_json(arguments) if manner.as_json else list(arguments), exit_on_error=False, print_error=False
        )
    except CycloptsError as error:
        return told("usage", usage_of(error), Exit.USAGE, to_do=_help_of(error.command_chain or ()))
    except ConfigError as error:
        tell_traceback()
        if error.setting in arguments and (said := _mistaken_for_a_file(arguments)) is not None:
            return told("usage", said, Exit.USAGE, to_do=_cure_of(error, arguments))
        return told("config", str(error), Exit.USAGE, to_do=_cure_of(error, arguments))
    except HooklineError as error:
        tell_traceback()
        code, exit_code = _told_as(error)
        return told(code, _text_of(error), exit_code)
    return result if isinstance(result, int) else Exit.OK


def _told_as(error: HooklineError) -> tuple[str, Exit]:
    """The code of an error, and what the caller is left with."""
    if isinstance(error, MigrationError):
        return "migrations", Exit.FAILED
    if isinstance(error, StorageError):
        return "storage", Exit.FAILED
    if isinstance(error, ServerUnreachable):
        return "unreachable", Exit.FAILED
    if isinstance(error, SourceError):
        return "source", Exit.FAILED
    if isinstance(error, RequestError):
        return error.code or "refused", exit_of(error)
    return "failed", Exit.FAILED


def _text_of(error: HooklineError) -> str:
    return _told(error) if isinstance(error, RequestError) else str(error)


def _check_environment() -> None:
    given = os.environ.get("HOOKLINE_OUTPUT", "")
    if given not in ("", "json", "text"):
        raise ConfigError("HOOKLINE_OUTPUT", f"expected json or text; got {given[:40]!r}")


def with_json(arguments: Sequence[str]) -> list[str]:
    """The same with `--json`, where the command knows it and it is not there: for `HOOKLINE_OUTPUT=json`."""
    given = list(arguments)
    if {"--json", "--help", "-h"} & set(given):
        return given
    chain, apps, _ = app.parse_commands(given)
    if apps[-1].default_command is None:
        return given
    takes = apps[-1].assemble_argument_collection()
    if not any("--json" in argument.names for argument in takes):
        return given
    return [*given[: len(chain)], "--json", *given[len(chain) :]]


def usage_of(error: CycloptsError) -> str:
    """What is wrong with a command line, in one line, with the nearest that is right."""
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        return _unknown_command(error.unused_tokens[0], error)
    if isinstance(error, UnknownOptionError):
        return _unknown_option(error)
    if isinstance(error, MissingArgumentError) and error.argument is not None and not error.tokens_so_far:
        return f"expected {error.argument.name}" + (", and a value for it" if error.keyword else "")
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        mistaken = _mistaken_for_a_file(error.root_input_tokens or ())
        return mistaken or f"expected no more, got {error.unused_tokens[0]!r}"
    return str(error)


def _unknown_command(given: str, error: CycloptsError) -> str:
    if given.startswith("-"):
        options = difflib.get_close_matches(given, [*EVERYWHERE, "--help", "--version"], n=1, cutoff=0.5)
        return f"there is no option {given} here" + "".join(f"; did you mean {name}?" for name in options)
    known = _commands_of(error.app or app)
    nearest = difflib.get_close_matches(given, known, n=3, cutoff=0.6)
    if nearest:
        said = " or ".join(f"`{' '.join(('hookline', *(error.command_chain or ()), name))}`" for name in nearest)
        return f"there is no command {given!r}; did you mean {said}?"
    elsewhere = [f"`hookline {' '.join(chain)}`" for chain, _ in command_tree() if chain[-1] == given]
    if elsewhere:
        return f"there is no command {given!r} here; did you mean {' or '.join(elsewhere[:4])}?"
    return f"there is no command {given!r}; there are {', '.join(known)}"


def _unknown_option(error: UnknownOptionError) -> str:
    given = (error.token.keyword or error.token.value).partition("=")[0]
    return _no_option(given, [name for argument in error.argument_collection for name in argument.names])


def _no_option(given: str, names: Sequence[str]) -> str:
    """That a command has no such option, with those that it has and that come near."""
    known = [name for name in names if name.startswith("--")]
    all_known = [*known, *EVERYWHERE, "--help"]
    nearest = difflib.get_close_matches(given, all_known, n=1, cutoff=0.8)
    if nearest := nearest or difflib.get_close_matches(given, all_known, n=2, cutoff=0.5):
        return f"there is no option {given}; did you mean {' or '.join(nearest)}?"
    return f"there is no option {given}" + (f"; there are {', '.join(known[:12])}" if known else " here, nor any other")


def _mistaken_for_a_file(arguments: Sequence[str]) -> str | None:
    """Commands that read a file take `-` for one, and with it an option that they do not know: that is said then."""
    _, apps, _ = app.parse_commands(list(arguments))
    names = [name for argument in apps[-1].assemble_argument_collection() for name in argument.names]
    given = (one.partition("=")[0] for one in itertools.takewhile(lambda one: one != "--", arguments))
    unknown = next((one for one in given if one.startswith("--") and one not in names), None)
    return None if unknown is None else _no_option(unknown, names)


def _help_of(chain: Sequence[str]) -> str:
    return f"`{' '.join(('hookline', *chain))} --help` says what it takes"


def _cure_of(error: ConfigError, arguments: Sequence[str]) -> str:
    """Where to look: at the settings for one of them, else at what the command takes."""
    if error.setting.startswith(PREFIX) or FILE_NAME in error.setting:
        return "`hookline config show --origins` lists every setting and where it comes from"
    return _help_of(app.parse_commands(list(arguments))[0])


def command_tree() -> Iterator[tuple[tuple[str, ...], cyclopts.App]]:
    """Every command that can be called, and the words that call it; all their modules are imported."""

    def within(chain: tuple[str, ...], parent: cyclopts.App) -> Iterator[tuple[tuple[str, ...], cyclopts.App]]:
        for name in _commands_of(parent):
            one = parent[name]
            if one.default_command is not None:
                yield (*chain, name), one
            yield from within((*chain, name), one)

    return within((), app)


def _commands_of(parent: cyclopts.App) -> list[str]:
    return [name for name in parent.resolved_commands() if not name.startswith("-")]


def exit_of(error: RequestError) -> Exit:
    """What a refusal of the API leaves the command's caller with."""
    if error.status in (401, 403):
        return Exit.NOT_LOGGED_IN
    if error.status == 404:
        return Exit.NOT_FOUND
    return Exit.USAGE if error.status in (400, 422) else Exit.FAILED


def _placed(field: object, message: str) -> str:
    """With the place it is about, which some messages begin with."""
    return message if not isinstance(field, str) or message.startswith(f"{field}: ") else f"{field}: {message}"


def _told(error: RequestError) -> str:
    details = [_placed(one.get("field"), str(one["message"])) for one in error.errors or () if one.get("message")]
    return "; ".join(details) if details and len(details) < 4 else error.message

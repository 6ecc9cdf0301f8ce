"""The command tree. Each command is named here with its help and imported only when it is called."""

from __future__ import annotations

from collections.abc import Sequence

import cyclopts
from cyclopts.exceptions import CycloptsError

import hookline
from hookline.cli import Exit, fail
from hookline.config import refuse_secret_flags
from hookline.errors import ConfigError, HooklineError, RequestError, StorageError

app = cyclopts.App(
    name="hookline",
    help=(
        "Sync data with webhooks, both ends of the line.\n\n"
        "Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 not logged in, 5 drift, 6 partly done, "
        "130 interrupted."
    ),
    version=hookline.__version__,
    help_format="markdown",
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # main answers it
)
app.command("hookline.cli.demo:demo", name="demo", help="Watch both ends at work, with a bad wire in between.")
app.command("hookline.cli.serve:serve", name="serve", help="Run the sender, the receiver, or both.")
app.command(
    "hookline.cli.endpoints:endpoints",
    name="endpoints",
    help="Who wants which events: create, pause, rotate secrets, test.",
)
app.command("hookline.cli.events:events", name="events", help="What was published: look, publish, send again, explain.")
app.command(
    "hookline.cli.deliveries:deliveries",
    name="deliveries",
    help="What is sent to whom: look, retry, cancel, recover.",
)
app.command(
    "hookline.cli.replays:replays", name="replays", help="Send events of the past again: count, start, follow, cancel."
)
app.command("hookline.cli.keys:keys", name="keys", help="API keys: list, create, revoke.")
app.command("hookline.cli.keys:audit", name="audit", help="Who did what to the sender, newest first.")
app.command(
    "hookline.cli.users:users", name="users", help="Who may sign in to the dashboard: add, roles, sessions, links."
)
app.command("hookline.cli.db:db", name="db", help="The databases: upgrade, check, prune.")
app.command("hookline.cli.status:status", name="status", help="How both ends are doing, and what needs you.")
app.command("hookline.cli.doctor:doctor", name="doctor", help="Look for what keeps webhooks away, and say the cure.")
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
app.command("hookline.cli.version:version", name="version", help="Print the version.")


def run(arguments: Sequence[str], *, as_json: bool) -> int:
    """Parse and run one command; an expected error becomes a line on stderr and its exit code."""
    try:
        refuse_secret_flags(arguments)
        result = app(list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return fail("usage", str(error), Exit.USAGE, as_json=as_json)
    except ConfigError as error:
        return fail("config", str(error), Exit.USAGE, as_json=as_json)
    except StorageError as error:
        return fail("storage", str(error), Exit.FAILED, as_json=as_json)
    except RequestError as error:
        return fail(error.code or "refused", _told(error), exit_of(error), as_json=as_json)
    except HooklineError as error:
        return fail("failed", str(error), Exit.FAILED, as_json=as_json)
    return result if isinstance(result, int) else Exit.OK


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

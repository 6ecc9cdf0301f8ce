"""The command tree. Each command is named here with its help and imported only when it is called."""

from __future__ import annotations

from collections.abc import Sequence

import cyclopts
from cyclopts.exceptions import CycloptsError

import hookline
from hookline.cli import Exit, fail
from hookline.config import refuse_secret_flags
from hookline.errors import ConfigError, HooklineError, StorageError

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
app.command("hookline.cli.inbox:inbox", name="inbox", help="What arrived, what became of it, and once more.")
app.command("hookline.cli.handlers:handlers", name="handlers", help="The app's handlers: pause, resume, forget.")
app.command("hookline.cli.sign:sign", name="sign", help="Sign a body as the sender does.")
app.command("hookline.cli.sign:verify", name="verify", help="Say whether a signature holds, and why not.")
app.command("hookline.cli.mirror:mirror", name="mirror", help="Show what the mirror holds, and why.")
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
    except HooklineError as error:
        return fail("failed", str(error), Exit.FAILED, as_json=as_json)
    return result if isinstance(result, int) else Exit.OK

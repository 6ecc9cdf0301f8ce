"""`hookline help`: a command's help, what exit codes mean, and the codes of errors."""

from __future__ import annotations

from typing import Final

from hookline.cli import Exit
from hookline.cli.app import app, command_tree
from hookline.cli.error_codes import ERRORS
from hookline.cli.parameters import AsJson
from hookline.cli.tables import print_json, print_table
from hookline.errors import ConfigError

EXIT_CODES: Final = {
    Exit.OK: "done; of checks: all is well",
    Exit.FAILED: "failed: a check, a delivery, a database, a server; the error's code says what",
    Exit.USAGE: "the command line, a setting or a value is not what it should be; nothing was done",
    Exit.NOT_FOUND: "there is nothing of that id or name",
    Exit.NOT_LOGGED_IN: "the server's API key is missing or wrong",
    Exit.DRIFT: "mirror and source differ, and nothing was changed",
    Exit.PARTLY_DONE: "some of it was done and some could not be; the error names what",
    Exit.INTERRUPTED: "interrupted; what runs on a server goes on there",
}


def help_(*topic: str, as_json: AsJson = False) -> None:
    """Show help: of the whole, of a command, of exit-codes, or of errors.

    Parameters
    ----------
    topic:
        A command, as `endpoints create`; or exit-codes; or errors.
    """
    if topic == ("exit-codes",):
        if as_json:
            print_json([{"code": int(code), "name": code.name.lower(), "meaning": EXIT_CODES[code]} for code in Exit])
        else:
            print_table(("CODE", "MEANING"), [(int(code), EXIT_CODES[code]) for code in Exit], empty="")
    elif topic == ("errors",):
        if as_json:
            print_json([{"code": code, **one._asdict()} for code, one in ERRORS.items()])
        else:
            rows = [(code, one.meaning, one.to_do or "") for code, one in ERRORS.items()]
            print_table(("CODE", "MEANING", "TO DO"), rows, empty="")
    else:  # text, also where HOOKLINE_OUTPUT says json: there is no other form of it
        chain, _, rest = app.parse_commands(list(topic))
        if rest or chain != topic:
            known = ", ".join(sorted({one[0] for one, _ in command_tree()}))
            raise ConfigError("help", f"expected a command, exit-codes or errors; there are {known}")
        app.help_print(list(topic))

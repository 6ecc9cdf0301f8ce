"""`hookline completion`: the script that lets a shell complete commands, options and their choices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from cyclopts import Parameter
from cyclopts.completion.install import add_to_rc_file, get_default_completion_path

from hookline.cli import talk
from hookline.cli.app import app
from hookline.cli.parameters import AsJson
from hookline.cli.tables import print_json

# The script is a function and nothing else, which zsh takes for the one that its file is named after. With this it may
# have any name in `fpath`, and may be read by `source` too.
_ZSH_TAIL: Final = """
if [[ "$funcstack[1]" == _*hookline ]]; then
  _cyclopts_hookline "$@"
elif (( $+functions[compdef] )); then
  compdef _cyclopts_hookline hookline
fi
"""

Shell: TypeAlias = Literal["bash", "zsh", "fish"]


def completion(
    shell: Shell,
    /,
    *,
    install: Annotated[bool, Parameter(negative=())] = False,
    output: Annotated[Path | None, Parameter(name="--output")] = None,
    startup: Annotated[bool, Parameter(negative="--no-startup")] = True,
    as_json: AsJson = False,
) -> None:
    """Print the completion script of a shell, or install it.

    Parameters
    ----------
    shell:
        Which shell.
    install:
        Write it where the shell looks, and have the shell's startup file read it.
    output:
        With --install: write it to this file instead.
    startup:
        With --install: leave the startup file as it is.
    """
    script = script_of(shell)
    if not install and output is None:
        if as_json:
            print_json({"shell": shell, "script": script})
        else:
            print(script)
        return
    file = (output or get_default_completion_path(shell, "hookline")).absolute()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(script, encoding="utf-8")
    if startup and output is None and shell != "fish":  # which looks by itself
        add_to_rc_file(file, "hookline", shell)
    if as_json:
        print_json({"shell": shell, "file": str(file)})
    else:
        print(file)
        talk("open a new shell, or read the file into this one")


def script_of(shell: Shell) -> str:
    """What a shell reads, in its language."""
    return app.generate_completion(shell=shell) + (_ZSH_TAIL if shell == "zsh" else "")

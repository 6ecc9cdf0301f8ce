"""`hookline demo`: both ends in one process with a simulated company and an unreliable wire between them."""

from __future__ import annotations

import secrets
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from hookline.cli import Exit
from hookline.cli.parameters import AsJson
from hookline.config import load
from hookline.errors import ConfigError

DURATION_S = 20.0
MAX_RATE = 500


def demo(
    *,
    duration: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    rate: Annotated[float, Parameter(validator=Number(gt=0, lte=MAX_RATE))] = 20,
    seed: Annotated[int | None, Parameter(validator=Number(gte=0))] = None,
    keep: Path | None = None,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 0,
    as_json: AsJson = False,
) -> int:
    """Watch a company's changes leave a sender, cross a bad wire, and become rows at a receiver.

    Exit 0 only where the mirror equals the source in the end, and the handlers ran once each.

    Parameters
    ----------
    duration:
        Seconds to publish for; by default until Ctrl-C on a terminal, 20 elsewhere. Then everything drains.
    rate:
        Events per second.
    seed:
        Decides what the company does and what the wire does; by default another each time.
    keep:
        A new or empty folder for both databases and the log, kept afterwards; by default a temporary one.
    port:
        Port of the sender's API on 127.0.0.1, to look into it meanwhile; its key is HOOKLINE_API_KEY, and is made and
        printed where that is not set. Without it a free port is taken.
    """
    from hookline.demo.run import Options
    from hookline.demo.show import play

    if duration is None and (as_json or not sys.stdout.isatty()):
        duration = DURATION_S
    with ExitStack() as folders:
        if keep is None:
            folder = Path(folders.enter_context(tempfile.TemporaryDirectory(prefix="hookline-demo-")))
        else:
            folder = _empty_folder(keep)
        options = Options(
            duration_s=duration,
            rate=rate,
            seed=secrets.randbelow(1_000_000) if seed is None else seed,
            folder=folder,
            kept=keep is not None,
            port=port,
            api_key=_api_key(port) if port else None,
        )
        report = play(options, as_json=as_json)
    if report is None:
        print("given up: not everything had arrived", file=sys.stderr)
        return Exit.INTERRUPTED
    return Exit.OK if report.is_good else Exit.FAILED


def _api_key(port: int) -> str:
    configured: str | None = load()["api_key"]
    from hookline.sender.keys import make_api_key

    key = configured or make_api_key("production")
    told = "key HOOKLINE_API_KEY" if configured else f"key {key}, for this run only"
    print(f"the sender's API is at http://127.0.0.1:{port}, {told}", file=sys.stderr)
    return key


def _empty_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as error:
        raise ConfigError("--keep", f"expected a folder to write to, got {folder}: {error.strerror}") from None
    if not is_empty:
        raise ConfigError("--keep", f"expected a new or an empty folder, got {folder}, which has files in it")
    return folder

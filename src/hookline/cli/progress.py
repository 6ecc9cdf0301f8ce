"""Following what takes long: a bar on a terminal, elsewhere a line every ten seconds; on stderr, if talk is wanted."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from hookline.cli import MANNER, talk

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_EVERY_S: Final = 10.0


class Following:
    """How far something has come, for whoever waits.

    Args:
        what: what is counted, as `events`.
        at_once: the first line does not wait.
        has_screen: nothing else is written to the terminal meanwhile, so that a bar can stand there.

    Attributes:
        done: how many there were.
    """

    def __init__(self, what: str, *, at_once: bool = False, has_screen: bool = True) -> None:
        self.done = 0
        self._what = what
        self._has_screen = has_screen
        self._told_s = float("-inf") if at_once else time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Show the bar, on a terminal that shows nothing else."""
        if self._has_screen and sys.stderr.isatty() and not MANNER.get().quiet:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TimeRemainingColumn

            self._bar = Progress(
                SpinnerColumn(),
                "{task.description}",
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=Console(stderr=True),
                transient=True,
                # Else what is printed to a file or pipe while the bar stands would go to the terminal instead.
                redirect_stdout=False,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, done: int, total: int | None = None, *, said: str | None = None) -> None:
        """Say how many there are by now; `said` is what a line says of it, and the bar beside itself."""
        self.done = done
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, description=said or self._what)
        elif time.monotonic() - self._told_s >= LINE_EVERY_S:
            self._told_s = time.monotonic()
            of = "" if total is None else f" of {total:,}"
            talk(said or f"{done:,}{of} {self._what}")

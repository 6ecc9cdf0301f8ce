"""How a server of ours logs: the standard library's loggers, rendered by structlog, on stderr.

The library itself logs by stdlib `logging` and configures nothing; a process that is Hookline's calls this once.
Tracebacks are plain: a renderer that prints local variables would print payloads and secrets.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import structlog

from hookline.config import LogFormat, LogLevel


def configure_logging(level: LogLevel, log_format: LogFormat) -> None:
    """Send every log record to stderr: lines for people, or one JSON object per line.

    Args:
        level: the least severe that is shown. Other libraries' are shown from warning on, unless it is higher.
        log_format: `auto` is `console` where stderr is a terminal and `json` elsewhere.
    """
    is_terminal = sys.stderr.isatty()
    for_people = log_format == "console" or (log_format == "auto" and is_terminal)
    renderer: list[Any] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=is_terminal and not os.environ.get("NO_COLOR"),
                exception_formatter=structlog.dev.plain_traceback,
                pad_event_to=0,
            )
        ]
        if for_people
        else [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    own = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(own, logging.WARNING))
    logging.getLogger("hookline").setLevel(own)
    # uvicorn tells at info what the start block and the last line tell already, and names every refused request.
    logging.getLogger("uvicorn").setLevel(max(own, logging.WARNING))

"""How a server logs: one line or one JSON object per record, on stderr, without what must not be seen."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from hookline.cli.log_setup import configure_logging
from hookline.config import LogFormat


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Puts the process's loggers back afterwards."""
    root, ours, theirs = (logging.getLogger(name) for name in ("", "hookline", "uvicorn"))
    handlers, levels = root.handlers[:], [logger.level for logger in (root, ours, theirs)]
    yield
    root.handlers[:] = handlers
    for logger, level in zip((root, ours, theirs), levels, strict=True):
        logger.setLevel(level)


def break_with_a_secret() -> None:
    """Raise from a frame that holds a secret in a local variable."""
    secret = "".join(["whsec_", "in_a_local"])
    raise RuntimeError(f"broken, {len(secret)} characters")


def test_json_is_one_object_per_record(capsys: pytest.CaptureFixture[str]) -> None:
    """Time, level, logger and message are keys; `extra` becomes keys as well."""
    configure_logging("info", "json")

    logging.getLogger("hookline.test").warning("refused %d", 3, extra={"event_id": "event_01"})

    record = json.loads(capsys.readouterr().err)
    assert record["message"] == "refused 3"
    assert (record["level"], record["logger"], record["event_id"]) == ("warning", "hookline.test", "event_01")
    assert record["timestamp"].endswith("Z")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_local_variable(capsys: pytest.CaptureFixture[str], log_format: LogFormat) -> None:
    """The traceback is logged, in JSON within the record's one line, and no value of a variable with it."""
    configure_logging("info", log_format)

    try:
        break_with_a_secret()
    except RuntimeError:
        logging.getLogger("hookline.test").exception("it broke")

    text = capsys.readouterr().err
    assert "RuntimeError: broken, 16 characters" in text
    assert "whsec_in_a_local" not in text
    assert log_format == "console" or len(text.splitlines()) == 1


def test_console_is_plain_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    """Not on a terminal there are no colours."""
    configure_logging("info", "console")

    logging.getLogger("hookline.test").error("stopped")

    text = capsys.readouterr().err
    assert "stopped" in text
    assert "\x1b" not in text


def test_auto_is_json_away_from_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """`auto` writes for machines unless stderr is a terminal."""
    configure_logging("info", "auto")

    logging.getLogger("hookline.test").info("started")

    assert json.loads(capsys.readouterr().err)["message"] == "started"


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["ours debug", "ours info", "ours warning", "theirs warning"]),
        ("info", ["ours info", "ours warning", "theirs warning"]),
        ("error", []),
    ],
)
def test_the_level_is_ours_and_others_speak_from_warning_on(
    capsys: pytest.CaptureFixture[str], level: str, shown: list[str]
) -> None:
    """The level counts for Hookline's loggers; other libraries are heard from warning on."""
    configure_logging(level, "json")  # type: ignore[arg-type]  # parametrized

    for name, owner in (("hookline.test", "ours"), ("somebody.else", "theirs")):
        for method in ("debug", "info", "warning"):
            getattr(logging.getLogger(name), method)(f"{owner} {method}")

    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == shown

"""A watch over the whole suite: no test may make Hookline tell a secret, a whole digest, an e-mail address or a name.

While a test runs, this plugin takes in

- every record of a `hookline` logger at any level: message, traceback and the fields beside it;
- the text of every `HooklineError` that is made, and its notes;
- every metric that is read from a registry, and every answer to `GET /metrics` of a process;
- what Python processes that a test starts write to stderr, and what reaches the test's own.

After each of its phases that is searched, and a finding fails this very test: it names the place and masks the text.
A test that must make one of these tell something says so, and why: `@pytest.mark.may_tell("a digest", reason="…")`.
"""

from __future__ import annotations

import functools
import http.client
import json
import logging
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import pytest
from prometheus_client import CollectorRegistry

import hookline.wire.signature
from hookline.config import SETTINGS
from hookline.demo.names import COMPANIES, FIRST_NAMES, LAST_NAMES
from hookline.errors import HooklineError, RequestError

# Shorter secrets, words, and twelve times the same are in texts by chance; no source gives out such.
LEAST_SECRET: Final = 12
LEAST_SIGNS: Final = 6
KEPT_SECRETS: Final = 200
SHOWN: Final = 300
_SRC: Final = Path(hookline.wire.signature.__file__).parents[1]
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__)

_TOKEN: Final = re.compile(r"(?<![A-Za-z0-9])(?:whsec|sk)_[A-Za-z0-9+/=_-]{6,}")
_HEX: Final = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64}(?![0-9A-Fa-f])")
_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/_-]{43}=?(?![A-Za-z0-9+/=_-])")
_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}")
_NAME: Final = re.compile(r"(?<!\w)[^\W\d_a-z](?:[\w'’-]*\w)?")
_ID: Final = re.compile(r"[a-z_]+_[0-9A-HJKMNP-TV-Z]{26}")


def _people() -> tuple[frozenset[str], re.Pattern[str]]:
    """First and last names by themselves, and what is written in several words."""
    words = {name for name, _ in (*FIRST_NAMES, *LAST_NAMES)}
    for sample in (_SRC / "wire/samples").glob("*.json"):
        words.update(_names_in(json.loads(sample.read_bytes())))
    companies = "|".join(re.escape(name) for name, _ in COMPANIES)
    return frozenset(words), re.compile(companies)


def _names_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (value[key] for key in ("first_name", "last_name") if isinstance(value.get(key), str))
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _names_in(one)


_PEOPLE, _COMPANIES = _people()


class Told(NamedTuple):
    """A text that somebody may read, and where it came from."""

    place: str
    text: str


class Watch:
    """What was told since it was last searched, and the secrets that were in use."""

    def __init__(self) -> None:
        self._told: dict[Told, None] = {}
        self._secrets: dict[str, None] = {}

    def tell(self, place: str, text: str) -> None:
        """Something was told."""
        if text:
            self._told[Told(place, text)] = None

    def use(self, secret: str) -> None:
        """A secret is in use: from now on nobody may tell it."""
        is_one = len(secret) >= LEAST_SECRET and len(set(secret)) >= LEAST_SIGNS and not secret.isalpha()
        if is_one and secret not in self._secrets:
            self._secrets[secret] = None
            if len(self._secrets) > KEPT_SECRETS:
                self._secrets.pop(next(iter(self._secrets)))

    def use_settings(self, environment: dict[str, str]) -> None:
        """The secrets among these variables are in use."""
        for setting in SETTINGS.values():
            if setting.secret:
                for secret in environment.get(setting.variable, "").split(","):
                    self.use(secret.strip())

    def search(self, allowed: frozenset[str] = frozenset()) -> list[str]:
        """What was found, a line each, with all of it masked; what was told is forgotten."""
        told, self._told = self._told, {}
        if not told:
            return []
        together = "\n".join(one.text for one in told)
        secrets = [secret for secret in list(self._secrets) if secret in together]
        if not any(found for found in _found(together, secrets)):
            return []
        lines = []
        for place, text in told:
            found = dict(_found(text, secrets))
            kinds = sorted(set(found.values()) - allowed)
            if kinds:
                for leak, kind in sorted(found.items(), key=lambda one: -len(one[0])):
                    text = text.replace(leak, f"‹{kind}›")
                lines.append(f"{place} told {', '.join(kinds)}: {text[:SHOWN]}")
        return lines


def _found(text: str, secrets: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What must not be told, and which kind it is of."""
    yield from ((secret, "a secret") for secret in secrets if secret in text)
    yield from ((match, "a secret") for match in _TOKEN.findall(text))
    yield from ((match, "a digest") for match in _HEX.findall(text))
    for match in _BASE64.findall(text):
        # Random bytes have all three; one of our ids, or a path, may be as long.
        has_all = all(any(is_it(sign) for sign in match) for is_it in (str.isdigit, str.isupper, str.islower))
        if (has_all and match.count("/") < 4 and not _ID.fullmatch(match)) or match.endswith("="):
            yield match, "a digest"
    yield from ((match, "an e-mail address") for match in _EMAIL.findall(text))
    yield from ((match, "a name") for match in _COMPANIES.findall(text))
    for match in _NAME.findall(text):
        if match in _PEOPLE or not _PEOPLE.isdisjoint(match.split("-")):
            yield match, "a name"


class _Records(logging.Handler):
    """Takes every record, formatted as a log shows it, with the fields beside the message."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.NOTSET)
        self._watch = watch

    def handle(self, record: logging.LogRecord) -> bool:  # without the lock that nothing here needs
        place = f"{record.name} at {record.levelname.lower()} ({record.filename}:{record.lineno})"
        self._watch.tell(place, record.getMessage())
        for name in sorted(record.__dict__.keys() - _STANDARD):
            self._watch.tell(f"{place}, field {name}", str(record.__dict__[name]))
        if record.exc_info and record.exc_info[1] is not None:
            self._watch.tell(f"{place}, traceback", "".join(traceback.format_exception(record.exc_info[1])))
        return True


class _AsBefore(logging.Filter):
    """Keeps from pytest's own handlers what they would not have got without the watch: what is below a warning, unless
    the test asks for more (`caplog.set_level`)."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler

    def filter(self, record: logging.LogRecord) -> bool:
        is_ours = record.name.partition(".")[0] == "hookline"
        return not is_ours or record.levelno >= logging.WARNING or self._handler.level > logging.NOTSET


class _Heard:
    """A process's stream that also tells what is read from it."""

    def __init__(self, stream: Any, tell: Callable[[str], None]) -> None:
        self._stream = stream
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()

    def __iter__(self) -> Iterator[Any]:
        for line in self._stream:
            self.hear(line)
            yield line

    def read(self, *size: int) -> Any:
        return self.hear(self._stream.read(*size))

    def readline(self, *size: int) -> Any:
        return self.hear(self._stream.readline(*size))

    def readlines(self) -> Any:
        return list(self)

    def hear(self, text: Any) -> Any:
        """Tell it, and give it back."""
        if text:
            self._tell(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)
        return text


def _caller() -> str:
    """Who makes an error: the first frame outside this module and errors.py."""
    frame: Any = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename in {__file__, str(_SRC / "errors.py")}:
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _watch_errors(watch: Watch, patch: pytest.MonkeyPatch) -> None:
    def init(self: HooklineError, *args: object) -> None:
        Exception.__init__(self, *args)
        watch.tell(f"{type(self).__name__} of {_caller()}", str(self))

    def add_note(self: HooklineError, note: str, /) -> None:
        Exception.add_note(self, note)
        watch.tell(f"a note on {type(self).__name__} of {_caller()}", note)

    refuse = RequestError.__init__

    @functools.wraps(refuse)
    def init_request(self: RequestError, *args: Any, **named: Any) -> None:
        refuse(self, *args, **named)
        for one in self.errors or ():
            watch.tell(f"RequestError of {_caller()}", json.dumps(one, ensure_ascii=False, default=str))

    patch.setattr(HooklineError, "__init__", init, raising=False)
    patch.setattr(HooklineError, "add_note", add_note, raising=False)
    patch.setattr(RequestError, "__init__", init_request)


def _watch_metrics(watch: Watch, patch: pytest.MonkeyPatch) -> None:
    collect = CollectorRegistry.collect

    def heard(self: CollectorRegistry) -> Iterator[Any]:
        for metric in collect(self):
            watch.tell(f"metric {metric.name}", metric.documentation)
            for sample in metric.samples:
                for label, value in sample.labels.items():
                    watch.tell(f"metric {metric.name}, label {label}", value)
            yield metric

    patch.setattr(CollectorRegistry, "collect", heard)
    request, answer = http.client.HTTPConnection.putrequest, http.client.HTTPConnection.getresponse

    def put(self: Any, method: str, url: str, *args: Any, **named: Any) -> None:
        self.is_of_metrics = url.partition("?")[0].endswith("/metrics")
        request(self, method, url, *args, **named)

    def get(self: Any) -> http.client.HTTPResponse:
        found = answer(self)
        if self.is_of_metrics:
            read, stream = found.read, _Heard(found, functools.partial(watch.tell, "GET /metrics"))
            setattr(found, "read", lambda *size: stream.hear(read(*size)))  # noqa: B010 - a method, to mypy
        return found

    patch.setattr(http.client.HTTPConnection, "putrequest", put)
    patch.setattr(http.client.HTTPConnection, "getresponse", get)


def _watch_processes(watch: Watch, patch: pytest.MonkeyPatch) -> None:
    begin, communicate = subprocess.Popen.__init__, subprocess.Popen.communicate

    def init(self: Any, args: Any, *rest: Any, **named: Any) -> None:
        begin(self, args, *rest, **named)
        watch.use_settings(named.get("env") or dict(os.environ))
        command = [str(args)] if isinstance(args, str | bytes | Path) else [str(part) for part in args]
        # Others' programs are not ours to judge.
        if self.stderr is not None and Path(command[0]).name.startswith(("python", "hookline")):
            # What it runs; a program after `-c` is as long as itself, and its arguments may be anything.
            runs = "python -c" if "-c" in command[1:2] else " ".join(command[1:4])
            self.stderr = _Heard(self.stderr, functools.partial(watch.tell, f"stderr of {runs}"))

    def talk(self: Any, *args: Any, **named: Any) -> Any:
        said = communicate(self, *args, **named)
        if isinstance(self.stderr, _Heard):
            self.stderr.hear(said[1])
        return said

    patch.setattr(subprocess.Popen, "__init__", init)
    patch.setattr(subprocess.Popen, "communicate", talk)


def _watch_secrets(watch: Watch, patch: pytest.MonkeyPatch) -> None:
    key = hookline.wire.signature._key

    def used(secret: str | bytes) -> bytes:
        watch.use(secret.decode("utf-8", "replace") if isinstance(secret, bytes) else secret)
        return key(secret)

    patch.setattr(hookline.wire.signature, "_key", used)


class LeakPlugin:
    """The watch as a plugin of pytest."""

    def __init__(self) -> None:
        self.watch = Watch()
        self._patch = pytest.MonkeyPatch()
        self._records = _Records(self.watch)
        self._logger = logging.getLogger("hookline")

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Begin to listen."""
        for listen in (_watch_errors, _watch_metrics, _watch_processes, _watch_secrets):
            listen(self.watch, self._patch)
        self._logger.addHandler(self._records)
        plugin: Any = session.config.pluginmanager.get_plugin("logging-plugin")
        for handler in (plugin.caplog_handler, plugin.report_handler) if plugin is not None else ():
            handler.addFilter(_AsBefore(handler))

    def pytest_sessionfinish(self) -> None:
        """Leave everything as it was."""
        self._logger.removeHandler(self._records)
        self._patch.undo()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """At debug, whatever the last test left behind."""
        self._logger.setLevel(logging.DEBUG)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Search what was told in this phase; a finding fails it."""
        report = yield
        for name, text in report.sections:
            if name == f"Captured stderr {call.when}":
                self.watch.tell("stderr", text)
        self.watch.use_settings(dict(os.environ))
        found = self.watch.search(frozenset(kind for mark in item.iter_markers("may_tell") for kind in mark.args))
        # What failed already is looked into anyhow.
        if found and not report.failed:
            report.outcome = "failed"
            report.longrepr = "\n".join(["Hookline told what it must not tell:", *found])
        return report


def pytest_configure(config: pytest.Config) -> None:
    """Register the watch, and the mark."""
    config.addinivalue_line(
        "markers", "may_tell(*kinds, reason): what this test makes Hookline tell, and why it must (tests/leaks.py)"
    )
    config.pluginmanager.register(LeakPlugin(), "leaks")

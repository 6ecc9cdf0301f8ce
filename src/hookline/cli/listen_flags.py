"""What `hookline listen` is told on the command line, and what that comes to."""

from __future__ import annotations

import contextlib
import functools
import getpass
import random
import re
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter
from cyclopts.validators import Number

from hookline.cli import may_ask, talk
from hookline.cli.env_file import NAME as VARIABLE
from hookline.cli.env_file import set_variable, variable_in
from hookline.cli.sender_commands import moment, seconds, words
from hookline.cli.signing_secrets import signing_secrets
from hookline.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from hookline.config import Settings
    from hookline.relay.client import Way
    from hookline.relay.following import Plan
    from hookline.relay.listening import Until
    from hookline.wire.explain import NamedSecret

Flag: TypeAlias = Annotated[bool, Parameter(negative=())]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class What:
    """Who listens, and for what.

    Parameters
    ----------
    events:
        Types and patterns, comma separated, as 'dsync.user.*,user.created'; or all.
    name:
        Of this listener; user@host by default. One connection at a time has it.
    missed:
        What becomes of events that came since it listened last: all of them, none, the latest of each object; ask by
        default on a terminal, and all elsewhere.
    since:
        Begin with what was published since then instead: a time, or an age as in 10m.
    """

    events: str = "all"
    name: str | None = None
    missed: Literal["ask", "all", "none", "latest"] | None = None
    since: str | None = None

    def listener(self) -> str:
        """The listener's name. ConfigError where it can be none."""
        from hookline.relay.frames import NAME

        if self.name is None:
            return _own_name()
        if re.fullmatch(NAME, self.name) is None:
            raise ConfigError(
                "--name", "expected up to 100 letters, digits and . _ @ + -, beginning with one of the first two"
            )
        return self.name

    def patterns(self) -> tuple[str, ...]:
        """The events, as an endpoint asks for them. ConfigError."""
        from hookline.sender.registry import check_patterns

        patterns = ["*" if one == "all" else one for one in words(self.events) or []]
        if not patterns:
            raise ConfigError("--events", "expected types or patterns, as 'dsync.*,user.created', or all")
        try:
            check_patterns(patterns)
        except RequestError as error:
            raise ConfigError("--events", "; ".join(one["message"] for one in error.errors or ())) from None
        return tuple(dict.fromkeys(patterns))

    def plan(self, *, waits: bool) -> Plan:
        """How to listen. ConfigError."""
        from hookline.relay.following import Plan
        from hookline.relay.frames import Start

        if self.missed == "ask" and not may_ask():
            raise ConfigError("--missed", "expected all, none or latest: nobody is there to ask")
        if self.since is not None and self.missed is not None:
            raise ConfigError("--since", "says where to begin, and so does --missed; keep one")
        start = Start(self.listener(), self.patterns(), self._since_ms())
        return Plan(start, self.missed or ("ask" if may_ask() else "all"), waits)

    def _since_ms(self) -> int | None:
        from hookline.wire.timestamps import parse_us

        found = moment("--since", self.since)
        return None if found is None else max(0, parse_us(found) // 1000)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Resigning:
    """Whether to sign anew, and with what.

    Parameters
    ----------
    resign:
        Sign anew with the app's secret: that of --secret-env or --secret-file, else the first webhook secret in force.
    secret_env:
        Variable that holds the app's secret.
    secret_file:
        File that holds it.
    """

    resign: Flag = False
    secret_env: str | None = None
    secret_file: str | None = None

    def secret(self) -> str | None:
        """The app's secret; None where nothing is signed anew. ConfigError where there is none."""
        if self.resign:
            return signing_secrets(self.secret_env, self.secret_file)[0]
        if self.secret_env is not None or self.secret_file is not None:
            raise ConfigError("--secret-file" if self.secret_env is None else "--secret-env", "goes with --resign")
        return None


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class EnvFile:
    """Where the secret goes.

    Parameters
    ----------
    print_secret:
        Print the secret that signs for this listener, and nothing else.
    write_env:
        Write that secret into this .env file, as the variable of --env-name; nothing else in it is touched.
    env_name:
        The variable.
    """

    print_secret: Flag = False
    write_env: Path | None = None
    env_name: str = "HOOKLINE_WEBHOOK_SECRETS"

    def check(self) -> None:
        """ConfigError where there can be no such variable."""
        if VARIABLE.fullmatch(self.env_name) is None:
            raise ConfigError("--env-name", "expected the name of a variable: letters, digits and _")

    def app_secrets(self, settings: Settings) -> list[NamedSecret]:
        """What the app most likely verifies with: the webhook secrets in force here, and the variable in the file."""
        from hookline.wire.explain import NamedSecret

        known = [NamedSecret("HOOKLINE_WEBHOOK_SECRETS", one) for one in settings["webhook_secrets"] or ()]
        file = self.write_env or Path(".env")
        if self.write_env is None and (kept := variable_in(file, self.env_name)) is not None:
            known += [NamedSecret(f"{self.env_name} in {file}", one.strip()) for one in kept.split(",")]
        return known

    def write(self, secret: str) -> None:
        """Write it, if it is to be written, and say so."""
        if self.write_env is not None:
            done = set_variable(self.write_env, self.env_name, secret)
            talk(f"{self.write_env}: {self.env_name} {done}")


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Line:
    """What a bad line does on purpose.

    Parameters
    ----------
    shuffle:
        Have requests overtake one another, within the delay or 2 s.
    duplicate:
        The chance that one comes twice, as 0.2.
    delay:
        How long each waits, as 5s.
    drop:
        The chance that one never comes. The server is told that it was dropped.
    seed:
        Decides every draw; another each time by default, which is printed.
    """

    shuffle: Flag = False
    duplicate: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.0
    delay: str = "0s"
    drop: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.0
    seed: Annotated[int | None, Parameter(validator=Number(gte=0))] = None

    def fate(self) -> Callable[[], tuple[int, ...]] | None:
        """What befalls each; None where nothing does. Prints the seed. ConfigError."""
        from hookline.relay.disorder import MOST_DELAY_S, Disorder

        delay_s = seconds("--delay", self.delay)
        if delay_s > MOST_DELAY_S:
            raise ConfigError("--delay", f"expected at most {MOST_DELAY_S:g}s: a server waits no longer for answers")
        disorder = Disorder(self.shuffle, self.duplicate, delay_s, self.drop)
        if disorder.is_orderly:
            return None
        seed = secrets.randbelow(1_000_000) if self.seed is None else self.seed
        talk(f"disorder with --seed {seed}")
        return functools.partial(disorder.fate, random.Random(seed))  # noqa: S311 - drawn by a seed


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Ends:
    """When it ends.

    Parameters
    ----------
    exit_after:
        End after so many events.
    until_idle:
        End when nothing came for so long, as 5s.
    """

    exit_after: Annotated[int | None, Parameter(validator=Number(gte=1))] = None
    until_idle: str | None = None

    def until(self) -> Until:
        """When that is. ConfigError."""
        from hookline.relay.listening import Until

        return Until(
            self.exit_after, None if self.until_idle is None else seconds("--until-idle", self.until_idle) * 1000
        )


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Reach:
    """How to reach both ends.

    Parameters
    ----------
    timeout:
        Seconds that the app may take for an answer.
    via:
        How to reach the server: by WebSocket, or by HTTP where something between lets none through.
    wait:
        Go on trying where the server cannot be reached at first.
    """

    timeout: Annotated[float, Parameter(validator=Number(gt=0, lte=900))] = 30.0
    via: Literal["auto", "websocket", "http"] = "auto"
    wait: Flag = False

    def ways(self) -> tuple[Way, ...]:
        """The ways to try, in order."""
        return ("websocket", "http") if self.via == "auto" else (self.via,)


def _own_name() -> str:
    user = "anybody"
    with contextlib.suppress(KeyError, OSError):  # where the list of users does not know who this is
        user = getpass.getuser()
    host = socket.gethostname().partition(".")[0]
    plain = re.sub(r"[^A-Za-z0-9._@+-]", "-", f"{user}@{host}")
    return re.sub(r"\A[^A-Za-z0-9]+", "", plain)[:100] or "anybody"

"""`hookline replay`: requests that were recorded, or saved otherwise, sent to an app once more."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from hookline.cli import talk
from hookline.cli.listen_flags import Flag, Line
from hookline.cli.listen_run import Output, Showing, exit_code, forwarder_to, output_of, run_listening
from hookline.cli.parameters import AsJson
from hookline.cli.saved_request import read_saved_request
from hookline.cli.signing_secrets import signing_secrets
from hookline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hookline.relay.frames import Answer, Bye, Delivery
    from hookline.relay.pipeline import Pipeline

_ORDERLY: Final = Line()


def replay(
    requests: Path,
    /,
    *,
    forward_to: str,
    as_recorded: Flag = False,
    secret_env: str | None = None,
    secret_file: str | None = None,
    line: Line = _ORDERLY,
    record: Path | None = None,
    timeout: Annotated[float, Parameter(validator=Number(gt=0, lte=900))] = 30.0,
    output: Output | None = None,
    as_json: AsJson = False,
) -> int:
    """Send the requests of a recording again, in order, each signed anew; exit 1 where one is not answered 2xx.

    Parameters
    ----------
    requests:
        A folder that `hookline listen --record` made; or one file with a request, in any form that `hookline explain`
        reads.
    forward_to:
        The app's URL, as localhost:8000/webhooks.
    as_recorded:
        Send the signature of then: a receiver refuses one that is older than minutes.
    secret_env:
        Variable that holds the app's secret; else the first webhook secret in force signs.
    secret_file:
        File that holds it.
    record:
        Keep these requests and their answers in another folder.
    timeout:
        Seconds that the app may take for an answer.
    output:
        A line each way, or NDJSON as with --json.
    """
    from hookline.relay.forward import forward_url
    from hookline.relay.listening import Until
    from hookline.relay.record import recorded

    url = forward_url(forward_to)
    secret = None if as_recorded else signing_secrets(secret_env, secret_file)[0]
    deliveries = [_delivery(file) for file in recorded(requests)]
    talk(f"{len(deliveries)} requests to {url}")
    showing = Showing(
        output_of(output or "compact", as_json=as_json), Until(count=len(deliveries)), line.fate(), record
    )
    return asyncio.run(_replay(requests, deliveries, url, secret, timeout, showing))


async def _replay(
    requests: Path, deliveries: Sequence[Delivery], url: str, secret: str | None, timeout_s: float, showing: Showing
) -> int:
    from hookline.cli.listen_view import Head
    from hookline.loop import SystemClock
    from hookline.relay.pipeline import Signing

    head = Head(f"{requests}", f"{len(deliveries)} requests", url, (), "")
    async with forwarder_to(url, timeout_s) as forwarder:
        signing = Signing(app_secret=secret)
        outcome = await run_listening(
            lambda _view, _signing: _Recorded(deliveries), forwarder, signing, head, showing, SystemClock()
        )
    return exit_code(outcome, "", as_json=showing.output == "json")


class _Recorded:
    """The feed of a recording: all of it at once."""

    live_since_ms: int | None = None
    to_come = 0

    def __init__(self, deliveries: Sequence[Delivery]) -> None:
        self._deliveries = deliveries

    def answered(self, answer: Answer) -> None:
        """Nobody waits for it."""

    async def run(self, pipeline: Pipeline) -> Bye:
        for one in self._deliveries:
            pipeline.take(one)
        while True:
            await asyncio.Event().wait()

    async def leave(self) -> None:
        """There is nobody to be told."""


def _delivery(file: Path) -> Delivery:
    from hookline.relay.record import as_delivery

    try:
        request = read_saved_request(file.read_bytes())
    except ValueError as error:
        raise ConfigError(str(file), str(error)) from None
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read: {error.strerror}") from None
    if request.body is None:
        raise ConfigError(str(file), "holds no body: it cannot be sent again")
    if request.notes:
        raise ConfigError(str(file), f"cannot be sent as it was: {'; '.join(request.notes)}")
    return as_delivery(file.name, request.headers, request.body)

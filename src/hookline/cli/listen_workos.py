"""`hookline listen --from workos`: the source's own Events API, polled; and what is remembered of it here."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hookline.cli.listen_run import Showing, View, exit_code, forwarder_to, run_listening
from hookline.config import SETTINGS, Settings
from hookline.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from hookline.cli.listen_flags import Reach
    from hookline.relay.following import Plan
    from hookline.relay.listening import Feed
    from hookline.relay.pipeline import Signing


@dataclass(slots=True)
class SourceMemory:
    """What stays of one source, which a URL and a key name: the secret that signs here, and the place in its feed.

    A file of the user's own, in $XDG_CONFIG_HOME/hookline or ~/.config/hookline. It does not hold the key.

    Attributes:
        after: the event up to which everything was answered; None before the first.
    """

    url: str
    key: str = field(repr=False)
    file: Path
    secret: str = field(repr=False)
    after: str | None
    over_http: bool

    @classmethod
    def of(cls, settings: Settings) -> SourceMemory:
        """That of the source that the settings name; a secret is made where there is none.

        Raises:
            RequestError: 401 where no key is set.
            ConfigError: the file cannot be read or written, or the URL is none to ask.
        """
        from hookline.receiver.source import WORKOS_URL
        from hookline.receiver.source_http import check_api
        from hookline.sender.secrets import make_secret

        key: str | None = settings["workos_api_key"]
        if key is None:
            told = (
                f"{SETTINGS['workos_api_key'].variable} is not set: the Events API is asked with the key of its source"
            )
            raise RequestError(401, "source", told)
        url: str = settings["workos_base_url"] or WORKOS_URL
        over_http: bool = settings["allow_private_targets"]
        check_api(url, key, may_use_http=over_http)
        name = hashlib.sha256(f"{url}\n{key}".encode()).hexdigest()[:16]
        file = _folder() / f"listen-{name}.json"
        kept = _read(file)
        memory = cls(url, key, file, str(kept.get("secret") or make_secret()), kept.get("after"), over_http)
        if "secret" not in kept:
            memory.keep(None)
        return memory

    def keep(self, after: str | None) -> None:
        """Remember that everything up to this event was answered. ConfigError where it cannot be written."""
        self.after = after
        content = json.dumps({"url": self.url, "secret": self.secret, "after": after})
        beside = self.file.with_suffix(f".{os.getpid()}")
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as made:
                made.write(content)
            beside.replace(self.file)
        except OSError as error:
            raise ConfigError(str(self.file), f"cannot be written: {error.strerror}") from None


async def poll_workos(
    memory: SourceMemory, plan: Plan, url: str, app_secret: str | None, showing: Showing, reach: Reach
) -> int:
    """Deliver what the source's feed has, until it ends. Raises as `Polling.run`."""
    from hookline.cli.listen_view import Head
    from hookline.loop import SystemClock
    from hookline.receiver.source_http import HttpSource
    from hookline.relay.pipeline import Signing
    from hookline.relay.polling import Polling

    clock, name = SystemClock(), plan.start.name
    head = Head(memory.url, "Events API", url, plan.start.events, "this machine", app_secret is not None)
    with closing(HttpSource(memory.url, memory.key, clock=clock, may_use_http=memory.over_http)) as api:

        def feed(view: View, _: Signing) -> Feed:
            return Polling(
                api, plan, source="Events API", secret=memory.secret, after=memory.after, keep=memory.keep,
                watcher=view, clock=clock,
            )  # fmt: skip

        async with forwarder_to(url, reach.timeout) as forwarder:
            signing = Signing(memory.secret, app_secret)
            outcome = await run_listening(feed, forwarder, signing, head, showing, clock)
    return exit_code(outcome, name, as_json=showing.output == "json")


def _folder() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME", "")
    # The specification has a relative one count as none.
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".config") / "hookline"


def _read(file: Path) -> dict[str, Any]:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(str(file), "is not what this command wrote there: remove it") from None
    return kept if isinstance(kept, dict) else {}

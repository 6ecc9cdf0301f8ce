"""Whether a URL may be registered: vetted as written, then by the addresses its name has now.

A name that cannot be resolved is accepted (docs/decisions/0032): what counts is asked again of every address at
the moment of dialling. A name that leads to an inner network is refused here, while somebody is looking.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from hookline.errors import RequestError
from hookline.rules.address import Network, vet_ip, vet_url

if TYPE_CHECKING:
    from hookline.sender.model import Environment

LOOKUP_TIMEOUT_S: Final = 2.0
_MAX_LOOKUPS: Final = 8


class TargetCheck:
    """Asks `rules.address` about a URL; raises RequestError 422 `invalid_url` where it says no.

    Args:
        allowed: networks that may be called although they are not public.
        allow_private: the development override.
        lookup: the addresses of a host name; raises OSError where it has none.
        timeout_s: how long a lookup may take before the name counts as unresolvable.
    """

    def __init__(
        self,
        *,
        allowed: Sequence[Network] = (),
        allow_private: bool = False,
        lookup: Callable[[str], Sequence[str]] | None = None,
        timeout_s: float = LOOKUP_TIMEOUT_S,
    ) -> None:
        self._allowed = tuple(allowed)
        self._allow_private = allow_private
        self._lookup = lookup or _system_lookup
        self._timeout_s = timeout_s
        self._slots = threading.BoundedSemaphore(_MAX_LOOKUPS)

    def __call__(self, url: str, environment: Environment) -> None:
        self.addresses(url, environment)

    def addresses(self, url: str, environment: Environment) -> Sequence[str]:
        """Where a URL leads now, all of which may be called; empty where its name is not found. Raises as the call."""
        answer = vet_url(url, environment=environment, allowed=self._allowed, allow_private=self._allow_private)
        if answer.target is None:
            raise _refused(answer.message)
        if answer.target.address is not None:
            return (str(answer.target.address),)
        found = tuple(dict.fromkeys(self._addresses(answer.target.host)))
        for address in found:
            verdict = vet_ip(address, allowed=self._allowed, allow_private=self._allow_private)
            if not verdict.allowed:
                raise _refused(f"the host name leads to an address that may not be called: {verdict.message}")
        return found

    def _addresses(self, host: str) -> Sequence[str]:
        # The resolver has no timeout of its own: a lookup that hangs keeps its thread, so there are few of them.
        if not self._slots.acquire(timeout=self._timeout_s):
            return ()
        answer: Future[Sequence[str]] = Future()

        def look_up() -> None:
            try:
                answer.set_result(self._lookup(host))
            except (OSError, UnicodeError):
                answer.set_result(())
            finally:
                self._slots.release()

        threading.Thread(target=look_up, name="hookline-lookup", daemon=True).start()
        try:
            return answer.result(self._timeout_s)
        except TimeoutError:
            return ()


def _system_lookup(host: str) -> Sequence[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def _refused(message: str) -> RequestError:
    return RequestError(422, "invalid_url", message, [{"code": "invalid_url", "field": "url", "message": message}])

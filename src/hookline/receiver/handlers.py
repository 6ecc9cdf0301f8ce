"""The app's functions and what they are called with.

A *fact* handler (`on`) hears of every event once, in no order. A *change* handler (`on_change`) hears of every
transition of what the mirror shows, per object in the order of the change feed. Both are called as
`function(what, tx)`: `tx` is the transaction that also marks the run as done, so that the handler's writes and the
mark are one commit. This file keeps the list and checks it; running is work.py's business.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

from hookline.errors import ConfigError, HooklineError
from hookline.receiver.resources import EDGES, RESOURCES
from hookline.rules.merge import is_active
from hookline.wire.catalogue import CATALOGUE, is_pattern, matches, nearest

HandlerKind: TypeAlias = Literal["fact", "change"]
ChangeKind: TypeAlias = Literal["created", "updated", "deleted", "recreated", "hidden", "shown", "added", "removed"]
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Change:
    """One transition of what the mirror shows of an object.

    Attributes:
        seq: its place in the change feed; changes of one object are handed over in this order.
        kind: `created` `updated` `deleted` `recreated`; `hidden` and `shown` when a parent's death or return took it
            along; `added` and `removed` for memberships.
        resource: `organization`, `directory`, `directory_user`, `directory_group` or `directory_membership`.
        id: the object's id; of a membership `group_id/user_id`.
        before: the object as it was shown before, or None where it was not shown.
        after: the object as it is shown now, or None where it is not: access that is lost ends here.
        is_live: whether it is shown now.
        cause: id of the event that caused it: of a `hidden` or `shown` one the parent's.
        source: which source's mirror it is in.
    """

    seq: int
    kind: ChangeKind
    resource: str
    id: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    is_live: bool
    cause: str | None
    source: str = "default"

    @property
    def is_active(self) -> bool:
        """Whether access may be granted now: shown *and* in an active state. Fails closed on words nobody knows."""
        if self.resource in EDGES:
            return self.is_live
        return is_active(self.after, self.is_live, resource=self.resource)


@dataclass(frozen=True, slots=True)
class CurrentRun:
    """The run a handler is called for.

    Attributes:
        handler: the name its runs are kept under.
        attempt: 1 for the first try, and one more for each further one of this run.
        is_replay: somebody had it run again (or made it for something old) with a replay.
        idempotency_key: for effects outside the database (mail, HTTP). The same for every attempt and every replay
            of this handler and this event or change, and of no other.
    """

    handler: str
    attempt: int
    is_replay: bool
    idempotency_key: str


RUN: Final[ContextVar[CurrentRun]] = ContextVar("hookline_run")


def current_run() -> CurrentRun:
    """The run that the calling handler is in; also from what it calls and awaits, but not from threads it starts.

    Raises: HooklineError outside of a handler.
    """
    try:
        return RUN.get()
    except LookupError:
        raise HooklineError("current_run() is known only inside a handler, on the thread it was called on") from None


def idempotency_key(handler: str, source: str, subject: str) -> str:
    """A key for a handler and what it is told of: printable, and short enough for any API that takes one."""
    text = "\n".join((handler, source, subject))
    return f"hookline-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


@dataclass(frozen=True, slots=True)
class Handler:
    """One registered function. `pattern` is an event type, a prefix or `*` for facts, a resource for changes; `source`
    is the one it hears of, None for all.
    """

    name: str
    kind: HandlerKind
    pattern: str
    function: Callable[..., Any]
    source: str | None = None


class LentTransaction(Protocol):
    """A transaction that is open for one run: the same one for Hookline's verbs and for the handler."""

    @property
    def dbapi(self) -> Any:
        """A DBAPI connection, for Hookline's own verbs."""

    @property
    def app(self) -> Any:
        """What the handler gets as `tx`: a DBAPI connection, an SQLAlchemy `Session`, a Django alias."""


class Transactions(Protocol):
    """The app's own database access."""

    def begin(self) -> AbstractContextManager[LentTransaction]:
        """A transaction that commits when the block ends and rolls back when it raises, whatever it raises."""


class Registry:
    """The handlers of one receiver, filled by decorators before its worker starts."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._poked: Callable[[], Any] | None = None

    @property
    def poked(self) -> Callable[[], Any] | None:
        """What is called where something was kept, if anything is."""
        return self._poked

    def on_kept(self, function: Function) -> Function:
        """Have a function called, without arguments, soon after webhooks were kept: to wake what does the work.

        On a thread beside, once for all that came while it was called before; what it raises is logged. It may be
        lost with its process, so what it wakes must also come by itself now and then.

        Raises: ConfigError where there is one already.
        """
        if self._poked is not None:
            raise ConfigError("on_kept", "expected one function: call what else is to hear of it from that one")
        self._poked = function
        return function

    def on(
        self, pattern: str, *, source: str | None = None, name: str | None = None, unlisted: bool = False
    ) -> Callable[[Function], Function]:
        """Have a function called once for every event of a type: `function(event, tx)`.

        Args:
            pattern: a type (`dsync.user.created`), a prefix (`dsync.*`) or `*`.
            source: the one source it is to hear of; None for all.
            name: under which its runs are kept; without one `module:qualname`, so that moving or renaming the
                function makes it a new handler, which starts at now.
            unlisted: the type is newer than this version's catalogue; without it an unknown one is refused, since
                a handler for a misspelt type would silently never run.

        Raises:
            ConfigError: no such type, a name that is taken, or a function that does not take (event, tx).
        """
        if not unlisted:
            _check_pattern(pattern)
        return self._adder("fact", pattern, source, name)

    def on_change(
        self, resource: str, *, source: str | None = None, name: str | None = None
    ) -> Callable[[Function], Function]:
        """Have a function called for every transition of a resource's objects: `function(change, tx)`.

        Args:
            resource: `directory_user`, `directory_membership`, …
            source: as for `on`.
            name: as for `on`.

        Raises:
            ConfigError: no such resource, a name that is taken, or a function that does not take (change, tx).
        """
        known = (*RESOURCES, *EDGES)
        if resource not in known:
            raise ConfigError(
                "on_change", f"expected a mirrored resource, got {resource!r}{_suggestion(resource, known)}"
            )
        return self._adder("change", resource, source, name)

    def get(self, name: str) -> Handler | None:
        """The handler of that name, if this process has it."""
        return self._handlers.get(name)

    def __iter__(self) -> Iterator[Handler]:
        return iter(self._handlers.values())

    def __len__(self) -> int:
        return len(self._handlers)

    def _adder(
        self, kind: HandlerKind, pattern: str, source: str | None, name: str | None
    ) -> Callable[[Function], Function]:
        def add(function: Function) -> Function:
            where = "on" if kind == "fact" else "on_change"
            known = name or f"{function.__module__}:{function.__qualname__}"
            try:
                inspect.signature(function).bind(None, None)
            except TypeError:
                takes = "(event, tx)" if kind == "fact" else "(change, tx)"
                raise ConfigError(where, f"{known} must take {takes}") from None
            if known in self._handlers:
                raise ConfigError(
                    where, f"a handler named {known!r} is registered already: give this one a name=… of its own"
                )
            self._handlers[known] = Handler(known, kind, pattern, function, source)
            return function

        return add


def _check_pattern(pattern: str) -> None:
    if not is_pattern(pattern):
        raise ConfigError("on", f"expected a type, a prefix as in 'dsync.*' or '*', got {pattern!r}")
    if not any(matches(pattern, type_) for type_ in CATALOGUE):
        known = {*CATALOGUE, *(f"{type_.rpartition('.')[0]}.*" for type_ in CATALOGUE)}
        raise ConfigError(
            "on",
            f"no event type is {pattern!r}{_suggestion(pattern, sorted(known))}; "
            "for a type newer than this version pass unlisted=True",
        )


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return f": did you mean {near!r}?" if near else ""

"""Handlers that are watched: what each was called with, and what it raised, as the worker never tells."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from hookline.receiver.handlers import Change, Handler, Registry
from hookline.wire.event import Event


@dataclass(slots=True, eq=False)
class Call:
    """One call of a handler.

    Attributes:
        handler: the name it is registered under.
        what: what it was told: an event, or a change.
        error: what it raised, None where it returned, and until then.
    """

    handler: str
    what: Event | Change
    error: BaseException | None = None

    @property
    def event_id(self) -> str | None:
        """The event it is about, or that caused the change."""
        return self.what.cause if isinstance(self.what, Change) else self.what.id

    def __str__(self) -> str:
        """For people, without anything of the payload."""
        told = (
            f"{self.what.kind} {self.what.resource} {self.what.id}"
            if isinstance(self.what, Change)
            else f"{self.what.type} {self.what.id}"
        )
        raised = "" if self.error is None else f", and raised {type(self.error).__name__}"
        return f"{self.handler} was told of {told}{raised}"


class Watched(Registry):
    """The handlers of another registry, as they are at each moment; their calls are added to a list."""

    def __init__(self, handlers: Registry, calls: list[Call]) -> None:
        super().__init__()
        self._of = handlers
        self._calls = calls

    def get(self, name: str) -> Handler | None:
        handler = self._of.get(name)
        return None if handler is None else self._watched(handler)

    def __iter__(self) -> Iterator[Handler]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)

    def _watched(self, handler: Handler) -> Handler:
        def watched(what: Event | Change, tx: Any) -> Any:
            call = Call(handler.name, what)
            self._calls.append(call)
            try:
                result = handler.function(what, tx)
            except BaseException as error:
                call.error = error
                raise
            return _awaited(call, result) if inspect.isawaitable(result) else None

        return replace(handler, function=watched)


async def _awaited(call: Call, result: Awaitable[Any]) -> None:
    try:
        await result
    except BaseException as error:
        call.error = error
        raise

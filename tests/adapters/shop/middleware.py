"""Middleware as it is met in the wild."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def asks_for_the_body(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """As one that logs requests does: Django keeps the bytes."""

    def middleware(request: Any) -> Any:
        assert request.body is not None
        return get_response(request)

    return middleware


def reads_the_body(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """As one that streams it somewhere does: nobody has it afterwards."""

    def middleware(request: Any) -> Any:
        request.read()
        return get_response(request)

    return middleware


def reads_the_form(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """As one that looks for a field does."""

    def middleware(request: Any) -> Any:
        assert request.POST.get("field") is None
        return get_response(request)

    return middleware

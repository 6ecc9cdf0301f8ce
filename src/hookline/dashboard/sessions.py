"""The cookie that a session is known by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

# __Host-: over https only, for this host only, for every path: no other host or path can have set it.
_SECURE_COOKIE: Final = "__Host-hookline"
_PLAIN_COOKIE: Final = "hookline_session"


def session_token(request: Request) -> str | None:
    """The token that a request came with, whatever it is worth."""
    return request.cookies.get(_name(request)) or None


def set_session(response: Response, request: Request, token: str, *, max_age_s: int) -> None:
    """Give the browser a session's token."""
    is_secure = request.url.scheme == "https"
    response.set_cookie(
        _name(request), token, max_age=max_age_s, path="/", secure=is_secure, httponly=True, samesite="lax"
    )


def end_session(response: Response, request: Request) -> None:
    """Take it back."""
    is_secure = request.url.scheme == "https"
    response.delete_cookie(_name(request), path="/", secure=is_secure, httponly=True, samesite="lax")


def _name(request: Request) -> str:
    return _SECURE_COOKIE if request.url.scheme == "https" else _PLAIN_COOKIE

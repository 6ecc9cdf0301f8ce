"""The cookies that a session, and a sign-in that a provider is to complete, are known by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

# __Host-: over https only, for this host only, for every path: no other host or path can have set it.
_SECURE_COOKIE: Final = "__Host-hookline"
_PLAIN_COOKIE: Final = "hookline_session"
# What a browser keeps while somebody is at a provider, and for how long at most.
_BEGUN: Final = "hookline_oidc"
_BEGUN_S: Final = 600


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


def begun_sign_in(request: Request) -> str | None:
    """What the browser keeps of a sign-in that it began with a provider."""
    return request.cookies.get(_begun_name(request)) or None


def keep_begun(response: Response, request: Request, kept: str | None) -> None:
    """Have the browser keep it until it comes back; None takes it back."""
    how: dict[str, Any] = {"path": "/", "secure": request.url.scheme == "https", "httponly": True, "samesite": "lax"}
    if kept is None:
        response.delete_cookie(_begun_name(request), **how)
    else:
        response.set_cookie(_begun_name(request), kept, max_age=_BEGUN_S, **how)


def _begun_name(request: Request) -> str:
    return f"__Host-{_BEGUN}" if request.url.scheme == "https" else _BEGUN


def _name(request: Request) -> str:
    return _SECURE_COOKIE if request.url.scheme == "https" else _PLAIN_COOKIE

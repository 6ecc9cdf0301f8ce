"""Signing in."""

from __future__ import annotations

from hookline.dashboard.frame import Call, Page, Shown


def sign_in(call: Call) -> Shown:
    """The form."""
    return Shown("sign_in.html", "Sign in", {"next": call.query.get("next", "")})


PAGES: tuple[Page, ...] = (Page("sign_in", "/sign-in", sign_in, is_open=True),)

"""The first page: how both ends are doing, and what needs somebody."""

from __future__ import annotations

from hookline.dashboard.frame import Call, Page, Shown


def overview(call: Call) -> Shown:
    """What this process runs."""
    data = {"sender": call.parts.sender is not None, "receiver": call.parts.receiver is not None}
    return Shown("overview.html", "Overview", data)


PAGES: tuple[Page, ...] = (Page("overview", "/", overview),)

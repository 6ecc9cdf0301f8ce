"""Hookline in Django: an app for `INSTALLED_APPS`, and `hooks`, its receiver.

from hookline.adapters.django import hooks

@hooks.on("dsync.user.created")
def welcome(event, tx): ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hookline.adapters.django.receiving import hooks
    from hookline.adapters.django.transactions import AliasTransactions

__all__ = ["AliasTransactions", "hooks"]


def __getattr__(name: str) -> Any:
    # Later than the import: Django imports this package before its settings may be asked for.
    if name == "hooks":
        from hookline.adapters.django.receiving import hooks

        return hooks
    if name == "AliasTransactions":
        from hookline.adapters.django.transactions import AliasTransactions

        return AliasTransactions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

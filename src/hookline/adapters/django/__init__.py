"""Hookline in Django."""

from __future__ import annotations

from hookline.adapters.django.transactions import AliasTransactions

__all__ = ["AliasTransactions"]

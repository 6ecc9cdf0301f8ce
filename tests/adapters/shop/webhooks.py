"""Found by Hookline's app when Django starts."""

from __future__ import annotations

from typing import Any

from hookline.adapters.django import hooks

from .models import Letter


@hooks.on("dsync.user.created", name="shop.letters")
def write(event: Any, tx: str) -> None:
    """The handler of the tests."""
    Letter.objects.using(tx).create(event_id=event.id)

"""The app: what happens when Django starts."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.signals import setting_changed
from django.utils.module_loading import autodiscover_modules


class HooklineConfig(AppConfig):  # type: ignore[misc]
    """Finds handlers in every app's `webhooks.py`."""

    name = "hookline.adapters.django"
    label = "hookline"
    verbose_name = "Hookline"

    def ready(self) -> None:
        from hookline.adapters.django import checks  # noqa: F401 - registers them

        autodiscover_modules("webhooks")
        setting_changed.connect(_reload, dispatch_uid="hookline")


def _reload(*, setting: str, **_: Any) -> None:
    from hookline.adapters.django.receiving import NAME, hooks

    if setting == NAME:
        hooks.reload()

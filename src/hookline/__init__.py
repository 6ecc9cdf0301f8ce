"""Hookline: sync data with webhooks, both ends of the line.

    from hookline import Receiver, verify

The names below are the public ones; a leading underscore or a module path means "may change tomorrow". They are
loaded when they are first asked for, so that `import hookline` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hookline.errors import (
        ConfigError,
        HooklineError,
        InvalidBody,
        InvalidSignature,
        MigrationError,
        OutcomeUnknown,
        StorageError,
        StorageUnavailable,
        TransactionMisuse,
        WebhookError,
    )
    from hookline.receiver.app import Receiver
    from hookline.receiver.handlers import Change, CurrentRun, current_run
    from hookline.receiver.retention import Retention
    from hookline.receiver.sources import Source
    from hookline.receiver.verify import verify, verify_signature
    from hookline.sender.outbox import Outbox as Outbox
    from hookline.wire.event import Event

__version__ = "0.1.0.dev0"

__all__ = [
    "Change",
    "ConfigError",
    "CurrentRun",
    "Event",
    "HooklineError",
    "InvalidBody",
    "InvalidSignature",
    "MigrationError",
    "OutcomeUnknown",
    "Receiver",
    "Retention",
    "Source",
    "StorageError",
    "StorageUnavailable",
    "TransactionMisuse",
    "WebhookError",
    "__version__",
    "current_run",
    "verify",
    "verify_signature",
]

_HOMES = {
    "Change": "hookline.receiver.handlers",
    "CurrentRun": "hookline.receiver.handlers",
    "Event": "hookline.wire.event",
    "Outbox": "hookline.sender.outbox",
    "Receiver": "hookline.receiver.app",
    "Retention": "hookline.receiver.retention",
    "Source": "hookline.receiver.sources",
    "current_run": "hookline.receiver.handlers",
    "verify": "hookline.receiver.verify",
    "verify_signature": "hookline.receiver.verify",
}


# Public too, but not of the light install: not in `__all__`, so that `from hookline import *` works there.
_EXTRAS = {"Outbox": "server"}


def __getattr__(name: str) -> Any:
    if name not in __all__ and name not in _EXTRAS:
        raise AttributeError(f"module 'hookline' has no attribute {name!r}")
    from importlib import import_module

    try:
        value = getattr(import_module(_HOMES.get(name, "hookline.errors")), name)
    except ModuleNotFoundError as error:
        if name not in _EXTRAS:
            raise
        raise ImportError(f"hookline.{name} needs more packages: pip install 'hookline[{_EXTRAS[name]}]'") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

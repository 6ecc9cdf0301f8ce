"""A Django project's receiver in a block that is rolled back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from django.db import transaction

from hookline.adapters.django.receiving import Hooks


@contextlib.contextmanager
def rolled_back(hooks: Hooks) -> Iterator[Hooks]:
    """A block in which all that is kept, applied and written by handlers is undone at its end."""
    block = transaction.atomic(using=hooks.alias)
    # As Django's test cases mark theirs: transactions that must be the outermost may begin in it.
    block._from_testcase = True
    with block:
        try:
            yield hooks
        finally:
            transaction.set_rollback(True, using=hooks.alias)

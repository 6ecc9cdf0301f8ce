"""The receiver's tables, as of its eighth migration."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from hookline.adapters.django.tables import unmanaged_models, up_to

UP_TO = 8


class Migration(migrations.Migration):  # type: ignore[misc]
    """The first."""

    initial = True
    dependencies: ClassVar[list[tuple[str, str]]] = []
    operations: ClassVar = [up_to(UP_TO), *unmanaged_models()]

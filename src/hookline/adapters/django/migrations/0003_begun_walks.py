"""The receiver's tables, as of its tenth migration."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from hookline.adapters.django.tables import up_to

UP_TO = 10


class Migration(migrations.Migration):  # type: ignore[misc]
    """A count of the workers that a walk has ended."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("hookline", "0002_sources")]
    operations: ClassVar = [up_to(UP_TO)]

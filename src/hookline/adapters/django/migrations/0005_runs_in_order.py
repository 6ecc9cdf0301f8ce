"""The receiver's tables, as of its twelfth migration."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from hookline.adapters.django.tables import up_to

UP_TO = 12


class Migration(migrations.Migration):  # type: ignore[misc]
    """Runs in the order in which they are claimed."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("hookline", "0004_operations")]
    operations: ClassVar = [up_to(UP_TO)]

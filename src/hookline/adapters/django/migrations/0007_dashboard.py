"""The receiver's tables, as of its fourteenth migration."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from hookline.adapters.django.tables import up_to

UP_TO = 14


class Migration(migrations.Migration):  # type: ignore[misc]
    """What the dashboard's pages look at."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("hookline", "0006_reconciling")]
    operations: ClassVar = [up_to(UP_TO)]

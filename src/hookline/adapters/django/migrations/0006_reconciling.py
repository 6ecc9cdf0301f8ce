"""The receiver's tables, as of its thirteenth migration."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from hookline.adapters.django.tables import up_to

UP_TO = 13


class Migration(migrations.Migration):  # type: ignore[misc]
    """Reading at the source: the tail of its events, refetches, passes."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("hookline", "0005_runs_in_order")]
    operations: ClassVar = [up_to(UP_TO)]

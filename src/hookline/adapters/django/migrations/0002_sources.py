"""The receiver's tables, as of its ninth migration."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from hookline.adapters.django.tables import up_to

UP_TO = 9


class Migration(migrations.Migration):  # type: ignore[misc]
    """Handlers that are for one source."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("hookline", "0001_receiver")]
    operations: ClassVar = [up_to(UP_TO)]

"""Workers as others see them, and published lists of addresses."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from hookline.adapters.django.tables import up_to

UP_TO = 11


class Migration(migrations.Migration):  # type: ignore[misc]
    """The receiver's eleventh."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("hookline", "0003_begun_walks")]
    operations: ClassVar = [up_to(UP_TO)]

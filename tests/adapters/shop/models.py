"""What the shop keeps."""

from __future__ import annotations

from django.db import models


class Letter(models.Model):  # type: ignore[misc]
    """One for each event it was told of."""

    event_id = models.CharField(max_length=200)

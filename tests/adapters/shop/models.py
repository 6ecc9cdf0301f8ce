"""What the shop keeps."""

from __future__ import annotations

from django.db import models

from hookline.adapters.django.models import DirectoryUser


class Letter(models.Model):  # type: ignore[misc]
    """One for each event it was told of."""

    event_id = models.CharField(max_length=200)


class Seat(models.Model):  # type: ignore[misc]
    """Who sits where: a row of the shop's that points into the mirror."""

    user = models.ForeignKey(DirectoryUser, models.DO_NOTHING, db_constraint=False, related_name="seats")
    place = models.CharField(max_length=20)

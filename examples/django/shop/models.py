from django.db import models


class Account(models.Model):
    workos_id = models.CharField(max_length=64, primary_key=True)
    is_open = models.BooleanField()


class Letter(models.Model):
    address = models.TextField()

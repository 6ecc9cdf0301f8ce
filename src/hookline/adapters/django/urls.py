"""`path("hooks/", include("hookline.adapters.django.urls"))`: the door at `hooks/webhooks`, with or without a slash."""

from __future__ import annotations

from django.urls import re_path

from hookline.adapters.django.views import webhooks

app_name = "hookline"
urlpatterns = [re_path(r"^webhooks(?P<rest>/.*)?$", webhooks, name="webhooks")]

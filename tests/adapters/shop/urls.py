"""Where things are."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.urls import include, path


@login_not_required
def page(request: HttpRequest) -> Any:
    """A page of the shop's own."""
    return HttpResponse("open")


urlpatterns = [
    path("hooks/", include("hookline.adapters.django.urls")),
    path("admin/", admin.site.urls),
    path("", page),
]

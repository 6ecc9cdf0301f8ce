"""`path("hooks/", include("hookline.adapters.django.urls"))`: the door at `hooks/webhooks`, with or without a slash.

Of several sources, `hooks/webhooks/<name>`, or where their `PATH` says.
"""

from __future__ import annotations

import re

from django.urls import URLPattern, re_path

from hookline.adapters.django.receiving import hooks
from hookline.adapters.django.views import webhooks
from hookline.receiver.sources import DEFAULT_PATH


def _at(path: str, name: str) -> URLPattern:
    pattern = rf"^{re.escape(path.removeprefix('/'))}(?P<rest>/.*)?$"
    return re_path(pattern, webhooks, {"path": path}, name=name)


app_name = "hookline"
# What is below the usual path leads to the door whatever the sources are called.
urlpatterns = [
    _at(DEFAULT_PATH, "webhooks"),
    *(
        _at(door.path, f"webhooks-{door.source}")
        for door in hooks.doors
        if not f"{door.path}/".startswith(f"{DEFAULT_PATH}/")
    ),
]

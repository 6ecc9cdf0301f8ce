"""The door as a view."""

from __future__ import annotations

import io
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from hookline.adapters.django.receiving import hooks


def _webhooks(request: HttpRequest, path: str, rest: str | None = None) -> HttpResponse:
    """Answer one webhook. What is about the body is the door's business, Django's limits are not in force here."""
    status, headers, content = hooks.wsgi().answer(_environ(request), path + (rest or ""))
    response = HttpResponse(content, status=status)
    if not content:
        del response["content-type"]
    for name, value in headers:
        response[name] = value
    return response


def _environ(request: HttpRequest) -> dict[str, Any]:
    """What the door reads: the request's headers, and its body from where it is now."""
    environ = {**request.META, "REQUEST_METHOD": request.method}
    if hasattr(request, "_body"):
        # A middleware has asked for it; Django keeps the bytes as they came.
        environ |= {"wsgi.input": io.BytesIO(request.body), "CONTENT_LENGTH": str(len(request.body))}
    elif environ.get("CONTENT_LENGTH") or "wsgi.input" not in environ:
        # Through Django, which then knows how much of it was read; under ASGI all of it has come already.
        environ |= {"wsgi.input": request, "wsgi.input_terminated": True}
    # Else it is chunked, which Django takes for empty: from the server itself, where that ends it.
    return environ


webhooks = csrf_exempt(login_not_required(_webhooks))
for alias in connections:
    # With ATOMIC_REQUESTS an error in a middleware would roll back what was answered 200.
    webhooks = transaction.non_atomic_requests(using=alias)(webhooks)

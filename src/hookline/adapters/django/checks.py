"""System checks: what would make webhooks fail, or let in what should stay out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 - Django's names
from django.db import connections
from django.urls import NoReverseMatch, reverse
from django.utils.timezone import now

from hookline.adapters.django.receiving import hooks
from hookline.adapters.settings import TAKEN
from hookline.config import load
from hookline.errors import StorageError
from hookline.rules.address import WORKOS_READ, is_old
from hookline.rules.guessable import LEAST, is_guessable

LONG_KEPT_DAYS: Final = 400


@register(Tags.security)  # type: ignore[untyped-decorator]
def check_settings(**_: Any) -> list[CheckMessage]:
    """What is wrong with `HOOKLINE`, and with what stands around it."""
    given = {**{key: load()[setting.name] for key, setting in TAKEN.items()}, **getattr(settings, "HOOKLINE", {})}
    return [*_secrets(), *_body(), *_addresses(given), *_lists(), *_retention(), *_database(), *_urls()]


def _secrets() -> list[CheckMessage]:
    with_door = [source for source in hooks.sources if source.has_door]
    secrets = [secret for source in with_door for secret in source.secrets]
    if with_door and not secrets:
        return [
            Error(
                "No signing secret is set: every webhook is answered 503.",
                hint='Set HOOKLINE["WEBHOOK_SECRETS"], or HOOKLINE_WEBHOOK_SECRETS in the environment.',
                id="hookline.E001",
            )
        ]
    if closed := [source.name for source in with_door if not source.secrets]:
        return [
            Warning(
                f"No signing secret is set for {', '.join(closed)}: each webhook from there is answered 503.",
                hint=f'Set HOOKLINE["SOURCES"]["{closed[0]}"]["WEBHOOK_SECRETS"].',
                id="hookline.W005",
            )
        ]
    if any(is_guessable(secret) for secret in secrets):
        return [
            Warning(
                f"A signing secret is a placeholder, or shorter than {LEAST} characters.",
                hint="Whoever guesses it can write into the mirror: take the one that the source shows.",
                id="hookline.W001",
            )
        ]
    return []


def _body() -> list[CheckMessage]:
    limit, most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE, max((door.max_body for door in hooks.doors), default=0)
    if limit is None or limit >= most:
        return []
    return [
        Warning(
            f"DATA_UPLOAD_MAX_MEMORY_SIZE ({limit}) is less than what Hookline takes ({most}): where a "
            "middleware asks for request.body, Django answers larger webhooks 400.",
            hint='Raise it, or set HOOKLINE["MAX_BODY"].',
            id="hookline.W002",
        )
    ]


def _addresses(given: dict[str, Any]) -> list[CheckMessage]:
    is_behind_proxy = settings.SECURE_PROXY_SSL_HEADER is not None or settings.USE_X_FORWARDED_HOST
    is_limited = any(source.allowed_ips or source.allowed_ips_url for source in hooks.sources)
    if settings.DEBUG or not is_limited or given["TRUSTED_PROXIES"] or not is_behind_proxy:
        return []
    return [
        Warning(
            "ALLOWED_IPS is set without TRUSTED_PROXIES, and the settings speak of a proxy: all webhooks seem to come "
            "from that.",
            hint='Name its addresses in HOOKLINE["TRUSTED_PROXIES"].',
            id="hookline.W003",
        )
    ]


def _lists() -> list[CheckMessage]:
    if not any(source.has_workos for source in hooks.sources) or not is_old(WORKOS_READ, now().date()):
        return []
    return [
        Warning(
            f"The addresses that ALLOWED_IPS calls workos are those of {WORKOS_READ}: others may call by now, and get "
            "403.",
            hint='Upgrade Hookline, or name the addresses in HOOKLINE["ALLOWED_IPS"] yourself.',
            id="hookline.W006",
        )
    ]


@register(Tags.database)  # type: ignore[untyped-decorator]
def check_published_lists(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Published lists of addresses that cannot be read; asked with `check --database`, since the database knows."""
    if hooks.alias not in (databases or ()) or all(source.allowed_ips_url is None for source in hooks.sources):
        return []
    try:
        needs = hooks.status().needs_of_lists()
    except StorageError as error:
        needs = [str(error)]
    hint = "`manage.py hookline status` has more."
    return [Warning(need, hint=hint, id="hookline.W007") for need in needs]


def _retention() -> list[CheckMessage]:
    kept = [
        source.name
        for source in hooks.sources
        if source.retention is None or source.retention.bodies_s > LONG_KEPT_DAYS * 86_400
    ]
    if not kept:
        return []
    return [
        Warning(
            f"Bodies of {', '.join(kept)}, which hold personal data, are kept for more than {LONG_KEPT_DAYS} days.",
            hint='Set HOOKLINE["INBOX_RETENTION"] to as long as you may have to replay.',
            id="hookline.W008",
        )
    ]


def _database() -> list[CheckMessage]:
    vendor = connections[hooks.alias].vendor
    if vendor == "sqlite" or (vendor == "postgresql" and _has_psycopg_3()):
        return []
    return [
        Error(
            f"The database {hooks.alias!r} is neither SQLite nor PostgreSQL with psycopg 3.",
            hint="pip install 'hookline[django,postgres]', or name another one in HOOKLINE[\"DATABASE_ALIAS\"].",
            id="hookline.E002",
        )
    ]


def _has_psycopg_3() -> bool:
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    return bool(is_psycopg3)


def _urls() -> list[CheckMessage]:
    try:
        reverse("hookline:webhooks")
    except NoReverseMatch:
        return [
            Warning(
                "No URL leads to Hookline's door.",
                hint='path("hooks/", include("hookline.adapters.django.urls"))',
                id="hookline.W004",
            )
        ]
    return []

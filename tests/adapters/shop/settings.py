"""Its settings. `SHOP_DATABASE_URL` says where it runs as a process of its own; tests choose one for each."""

from __future__ import annotations

import os
from typing import Any

from psycopg.conninfo import conninfo_to_dict

SECRET = "whsec_shop_secret_0001"
TIMEOUT_S = 0.2


def database_at(url: str) -> dict[str, Any]:
    """Django's words for a database."""
    if url.startswith("sqlite"):
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": url.removeprefix("sqlite:///"),
            "OPTIONS": {"timeout": TIMEOUT_S},
            "CONN_MAX_AGE": None,
        }
    known = conninfo_to_dict(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": known["dbname"],
        "USER": known["user"],
        "HOST": known["host"],
        "PORT": str(known["port"]),
        "OPTIONS": {"sslmode": "disable"},
        "CONN_MAX_AGE": None,
    }


SECRET_KEY = "of the tests"
ALLOWED_HOSTS = ["testserver", "127.0.0.1"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": database_at(os.environ["SHOP_DATABASE_URL"])} if "SHOP_DATABASE_URL" in os.environ else {}
ROOT_URLCONF = "tests.adapters.shop.urls"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "hookline.adapters.django",
    "tests.adapters.shop",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
HOOKLINE = {"WEBHOOK_SECRETS": [SECRET], "WEBHOOK_TOLERANCE": "5m"}

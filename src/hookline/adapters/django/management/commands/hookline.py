"""`manage.py hookline …`: the `hookline` command, on this project's receiver and its database."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from hookline.adapters.command import run_command
from hookline.adapters.django.receiving import hooks


class Command(BaseCommand):  # type: ignore[misc]
    """Hands everything on; see `hookline --help`."""

    help = "Run the worker, and look at inbox, mirror and handlers: `manage.py hookline --help`."
    requires_system_checks: Sequence[str] = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("arguments", nargs=argparse.REMAINDER)

    def run_from_argv(self, argv: list[str]) -> None:
        """As `manage.py` calls it: options are the command's own, not Django's."""
        sys.exit(_run(argv[2:]))

    def handle(self, *_: Any, arguments: Sequence[str], **__: Any) -> None:
        """As `call_command` calls it. CommandError where it does not exit 0."""
        if code := _run(arguments):
            raise CommandError(f"hookline {' '.join(arguments[:2])} exited with {code}", returncode=code)


def _run(arguments: Sequence[str]) -> int:
    url = _url(connections[hooks.alias].settings_dict)
    return run_command(arguments, app="hookline.adapters.django:hooks", database_url=url)


def _url(database: Mapping[str, Any]) -> str:
    """One of Django's databases, for the commands that open it by themselves."""
    if database["ENGINE"].endswith("sqlite3"):
        return f"sqlite:///{os.path.abspath(database['NAME'])}"  # noqa: PTH100 - a str or a Path
    user, password, host = (quote(str(database[key] or ""), safe="") for key in ("USER", "PASSWORD", "HOST"))
    port = f":{database['PORT']}" if database["PORT"] else ""
    login = f"{user}{':' + password if password else ''}@" if user else ""
    known = {name: value for name, value in database.get("OPTIONS", {}).items() if name.startswith("ssl")}
    return f"postgresql://{login}{host}{port}/{quote(str(database['NAME']), safe='')}?{urlencode(known)}".rstrip("?")

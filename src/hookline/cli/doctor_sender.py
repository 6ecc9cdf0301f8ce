"""The doctor's look at the sending end: what is late, whether endpoints can be reached, whether both ends' secrets fit.

Names are resolved and TLS is spoken to each endpoint's host, as the sender would; no request is made.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from hookline.cli.api_client import Place, remote_server
from hookline.cli.db import has_encrypted
from hookline.cli.diagnosis import EXPIRES_SOON_S, SKEW_MS, Finding
from hookline.cli.sender_app import sender_of
from hookline.cli.status import sender_database, sender_status
from hookline.config import Settings
from hookline.errors import HooklineError
from hookline.receiver.sources import Source
from hookline.receiver.status import span
from hookline.rules.address import is_loopback, vet_ip
from hookline.sender.http import configured_tls
from hookline.sender.model import ENVIRONMENTS
from hookline.sender.queries import PageRequest, endpoint_page
from hookline.wire.standard import secret_form

if TYPE_CHECKING:
    from hookline.config import SenderConfig
    from hookline.sender.app import SenderApp
    from hookline.sender.model import Endpoint

TIMEOUT_S: Final = 5.0
# Of each environment, the newest; and of their hosts.
MOST_ENDPOINTS: Final = 500
MOST_HOSTS: Final = 50
AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Host:
    """Where endpoints are, and how many."""

    name: str
    port: int
    is_tls: bool
    endpoints: int = 1


def look_at_sender(
    settings: Settings, database_url: str | None, sources: Sequence[Source], *, offline: bool
) -> Iterator[Finding]:
    """All there is to say; nothing where this database holds no sender, or its key does not fit."""
    config = settings.sender()
    with ExitStack() as ends:
        try:
            database = sender_database(settings, database_url, ends)
            if database is None:
                return
            sender = sender_of(config, database, makes_keys=False) if has_encrypted(database) else None
        except HooklineError:
            return  # which the looks at database and key tell
        yield _late(settings, database_url)
        found: list[Endpoint] = []
        if sender is not None:
            ends.callback(sender.close)
            found += _endpoints(sender)
            yield from _fitting(sender, found, sources, settings)
    if config.egress_proxy_url is not None:
        yield Finding("endpoints", "ok", f"{len(found)}, reached through HOOKLINE_EGRESS_PROXY_URL: not looked at")
    elif not offline:
        yield from look_at_hosts(hosts_of(found), config)


def _endpoints(sender: SenderApp) -> Iterator[Endpoint]:
    for environment in ENVIRONMENTS:
        with sender.database.snapshot() as connection:
            page = endpoint_page(sender.store, connection, environment, PageRequest(limit=MOST_ENDPOINTS))
        yield from (one for one in page.items if one.status == "enabled")


def _late(settings: Settings, database_url: str | None) -> Finding:
    status = sender_status(settings, database_url)
    if status is not None and (needs := list(status.needs())):
        return Finding("deliveries", "warning", "; ".join(needs), "`hookline status` has the numbers")
    return Finding("deliveries", "ok", "none is late, and no endpoint is failing")


def _fitting(
    sender: SenderApp, endpoints: Sequence[Endpoint], sources: Sequence[Source], settings: Settings
) -> Iterator[Finding]:
    """Endpoints that are doors of this very receiver: have they its secrets?"""
    now_ms = time.time_ns() // 1_000_000
    public = settings["dashboard_public_url"]
    own = {settings["host"], None if public is None else urlsplit(public).hostname}
    for endpoint in endpoints:
        parts = urlsplit(endpoint.url)
        source = next((one for one in sources if _is_door(parts.path, one)), None)
        if source is None or not (parts.hostname in own or is_loopback(parts.hostname or "")):
            continue
        theirs = {secret for _, secret in sender.registry.secrets_of(endpoint, now_ms)}
        if source.scheme == "standard_webhooks":
            theirs = {secret_form(secret) for secret in theirs}
        check = f"secret of {endpoint.id}"
        lacking = "another secret: every delivery is answered 401"
        if not source.secrets:
            lacking = "no secret: every delivery is answered 503"
        if theirs & set(source.secrets):
            yield Finding(check, "ok", f"the source {source.name} has it: both ends fit")
        else:
            yield Finding(
                check,
                "problem",
                f"it posts to the door of {source.name}, which has {lacking}",
                f"put what `hookline endpoints reveal-secret {endpoint.id}` shows into HOOKLINE_WEBHOOK_SECRETS",
            )


def _is_door(path: str, source: Source) -> bool:
    return source.has_door and path.rstrip("/") == source.place


# -- hosts: names, addresses, certificates -----------------------------------------------------------------------------


def hosts_of(endpoints: Sequence[Endpoint]) -> list[Host]:
    """The different places among their URLs, those of most endpoints first."""
    counted: dict[tuple[str, int, bool], int] = {}
    for endpoint in endpoints:
        parts = urlsplit(endpoint.url)
        is_tls = parts.scheme == "https"
        place = (parts.hostname or "", parts.port or (443 if is_tls else 80), is_tls)
        counted[place] = counted.get(place, 0) + 1
    return [Host(*place, count) for place, count in sorted(counted.items(), key=lambda one: -one[1])]


def look_at_hosts(hosts: Sequence[Host], config: SenderConfig) -> Iterator[Finding]:
    """Resolve each, judge its addresses, and read its certificate."""
    looked = hosts[:MOST_HOSTS]
    context = configured_tls(config.targets_ca)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield from threads.map(lambda host: _host(host, config, context), looked)
    if len(hosts) > MOST_HOSTS:
        yield Finding("endpoints", "ok", f"{len(hosts) - MOST_HOSTS} hosts more, which were not looked at")


def _host(host: Host, config: SenderConfig, context: ssl.SSLContext) -> Finding:
    check = f"host {host.name}:{host.port}"
    of = f" ({host.endpoints} endpoints)" if host.endpoints > 1 else ""
    try:
        found = socket.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no name"
        return Finding(check, "problem", f"its name does not resolve: {why}{of}", "is the endpoint's URL right?")
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    for address in addresses:
        vetted = vet_ip(address, allowed=config.allowed_targets or (), allow_private=config.allow_private_targets)
        if not vetted.allowed:
            return Finding(check, "problem", f"it is never called: {vetted.message}{of}")
    try:
        with socket.create_connection((addresses[0], host.port), timeout=TIMEOUT_S) as raw:
            if not host.is_tls:
                return Finding(check, "ok", f"{addresses[0]} answers, without TLS{of}")
            with context.wrap_socket(raw, server_hostname=host.name) as tls:
                return _certificate(check, tls.getpeercert() or {}, of)
    except ssl.SSLCertVerificationError as error:
        cure = "renew its certificate there; one of your own authority is believed by HOOKLINE_TARGETS_CA"
        return Finding(check, "problem", f"its certificate does not hold: {error.verify_message}{of}", cure)
    except OSError as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or type(error).__name__
        return Finding(check, "problem", f"{addresses[0]} cannot be reached: {why}{of}")


def _certificate(check: str, certificate: dict[str, Any], of: str) -> Finding:
    ends_s = ssl.cert_time_to_seconds(certificate["notAfter"])
    left_s = ends_s - time.time()
    until = time.strftime("%Y-%m-%d", time.gmtime(ends_s))
    if left_s < EXPIRES_SOON_S:
        return Finding(check, "warning", f"its certificate ends in {span(round(left_s * 1000))}, on {until}{of}")
    return Finding(check, "ok", f"resolves, answers, its certificate is valid until {until}{of}")


# -- the server that commands ask --------------------------------------------------------------------------------------


def look_at_server(settings: Settings) -> Iterator[Finding]:
    """The one of HOOKLINE_URL: whether it answers, takes the key, and has this clock's time."""
    check = "server"
    try:
        server = remote_server(Place(), settings)
        if server is None:
            return
        with server.stream("/api/v1/endpoints?limit=1") as answer:
            date = answer.headers.get("Date")
    except HooklineError as error:
        yield Finding(check, "problem", str(error))
        return
    skew_ms = 0 if date is None else round((time.time() - parsedate_to_datetime(date).timestamp()) * 1000)
    told = f"{server.whom} answers and takes the API key"
    if abs(skew_ms) > SKEW_MS:
        yield Finding(
            check,
            "warning",
            f"{told}; its clock is {span(abs(skew_ms))} {'behind' if skew_ms > 0 else 'ahead of'} this one",
            "set both by NTP: at 180 s signatures begin to fail",
        )
    else:
        yield Finding(check, "ok", told)

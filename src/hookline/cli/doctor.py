"""`hookline doctor`: look at everything that keeps webhooks from arriving, and say what to do about it.

Nothing is changed by looking. `--send` makes three requests to the door, of which one is kept (receiver/probe.py).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from cryptography import x509
from cyclopts import Parameter

from hookline.cli import Exit, fail
from hookline.cli.db import problem_of_file, problem_of_key
from hookline.cli.diagnosis import EXPIRES_SOON_S, SKEW_MS, Finding
from hookline.cli.doctor_sender import look_at_sender, look_at_server
from hookline.cli.parameters import AsJson
from hookline.cli.receiver_app import AppName, DatabaseUrl, closed_receiver
from hookline.cli.server import check_tls
from hookline.cli.status import sender_database
from hookline.cli.tables import print_json, printable
from hookline.config import Settings, load
from hookline.errors import ConfigError, HooklineError, SourceError
from hookline.receiver.app import Receiver
from hookline.receiver.model import AddressListRow, RejectionRow
from hookline.receiver.probe import Kept, send_probes
from hookline.receiver.sources import Source
from hookline.receiver.status import Status, span
from hookline.rules.address import WORKOS_ADDRESSES, WORKOS_READ, is_old, parse_egress_document
from hookline.rules.guessable import LEAST, is_guessable

# The first SQLite in which two connections that write and checkpoint at once cannot corrupt a WAL (DESIGN §9).
SAFE_SQLITE: Final = (3, 51, 3)
LEAST_FREE_BYTES: Final = 100 * 2**20
LOW_BYTES: Final = 2**30
SIGNED_LOOKED_AT: Final = 100
REFUSED_WITHIN_MS: Final = 86_400_000


def doctor(
    url: str | None = None,
    /,
    *,
    send: Annotated[bool, Parameter(negative=())] = False,
    offline: Annotated[bool, Parameter(negative=())] = False,
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> int:
    """Look at settings, secrets, database, clock, addresses, TLS and handlers; exit 1 where something is wrong.

    Parameters
    ----------
    url:
        With `--send`: where the source sends to, with whatever is in front; else where `hookline serve` listens.
    send:
        Post to the door: one request that nobody signed, and one that is signed, kept, and handed to no handler.
    offline:
        Ask nobody over the network: no API of a source, no host of an endpoint, no server.
    """
    if url is not None and not send:
        raise ConfigError("doctor", "expected --send with a URL")
    settings = load({"app": app, "database_url": database_url})
    receiver = closed_receiver(settings, database_url)
    findings = list(_look(settings, receiver, database_url, offline=offline))
    findings += look_at_sender(settings, database_url, receiver.sources, offline=offline)
    if not offline:
        findings += look_at_server(settings)
    if send:
        findings += _send(settings, receiver, url)
    if as_json:
        print_json([asdict(one) for one in findings])
    else:
        marks = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}
        width = max(len(one.check) for one in findings)
        for one in findings:
            print(f"{marks[one.verdict]:<8} {one.check:<{width}}  {printable(one.text)}")
            if one.to_do is not None:
                print(f"{'':<8} {'':<{width}}  to do: {printable(one.to_do)}")
    problems = [one.check for one in findings if one.verdict == "problem"]
    return fail("doctor", f"wrong: {', '.join(problems)}", Exit.FAILED, as_json=as_json) if problems else Exit.OK


def _look(settings: Settings, receiver: Receiver, database_url: str | None, *, offline: bool) -> Iterator[Finding]:
    yield _settings(settings)
    for source in receiver.sources:
        yield _secrets(source)
    standing = _tables(receiver)
    yield standing
    yield _key(settings, database_url)
    yield from _sqlite(receiver)
    yield from _disk(receiver)
    yield from _tls(settings)
    for source in receiver.sources:
        yield _retention(source)
        if source.has_door:
            yield _addresses(source, receiver)
        if source.api_key is not None and not offline:
            yield _api(source, receiver)
    if standing.verdict != "ok":
        return
    with receiver:
        # One after the other: on the app's own connections a look is a transaction, and no two are nested.
        status = receiver.status()
        since_ms = status.now_ms - REFUSED_WITHIN_MS
        with receiver.look() as (queries, connection):
            signed = queries.signed(connection, limit=SIGNED_LOOKED_AT)
            refused = queries.rejections(connection, since_ms=since_ms, limit=1_000)
    yield _clock(signed)
    yield from _callers(receiver, refused)
    yield from (_list(one, status.now_ms) for one in status.lists)
    yield _worker(status)
    yield _handlers(receiver, status)
    for need in status.needs():
        yield Finding("status", "warning", need)


def _worker(status: Status) -> Finding:
    if running := status.running_workers:
        seen = max(one.seen_ms for one in running)
        return Finding("worker", "ok", f"{len(running)} at work, seen {span(max(0, status.now_ms - seen))} ago")
    last = max((one.seen_ms for one in status.workers), default=None)
    said = "none was ever seen" if last is None else f"none; the last was seen {span(status.now_ms - last)} ago"
    # Whether that matters is the status's to say: where nothing waits, nobody is missed.
    return Finding("worker", "ok", said)


def _handlers(receiver: Receiver, status: Status) -> Finding:
    registered = {one.name for one in status.handlers}
    present = [one.name for one in receiver.handlers]
    if missing := [name for name in present if name not in registered]:
        text = f"no worker has registered {', '.join(missing)} yet: start or restart it"
        return Finding("handlers", "warning", text)
    return Finding("handlers", "ok", f"{len(registered)} registered, {len(present)} in this app")


def _settings(settings: Settings) -> Finding:
    found = [entry for entry in settings.resolved.values() if entry.value is not None and entry.origin != "default"]
    told = ", ".join(sorted(f"{entry.setting.name} from {entry.origin}" for entry in found))
    return Finding("settings", "ok", told or "all by default; `hookline config show` has them")


def _secrets(source: Source) -> Finding:
    check = f"secrets of {source.name}"
    if not source.has_door:
        return Finding(check, "ok", "not needed: it has no door, its feed of events is read instead")
    if not source.secrets:
        return Finding(check, "problem", "none is set, so every webhook is answered 503: set HOOKLINE_WEBHOOK_SECRETS")
    if any(is_guessable(secret) for secret in source.secrets):
        return Finding(
            check,
            "problem",
            f"one is a placeholder or shorter than {LEAST} characters: whoever guesses it writes into the mirror",
            "take the secret that the sender made for this endpoint",
        )
    if any(secret != secret.strip() or secret[0] in "\"'" for secret in source.secrets):
        said = "one stands in quotes, or has white space around it, as no sender's has"
        return Finding(check, "warning", said, "take them away where the secret is written")
    return Finding(check, "ok", f"{len(source.secrets)} in force")


def _api(source: Source, receiver: Receiver) -> Finding:
    """Ask the source's API for a page."""
    check = f"API of {source.name}"
    with closing(receiver.source_api(source.name)) as api:
        try:
            api.page("directory", {})
        except SourceError as error:
            return Finding(check, "problem", f"{source.api_url}: {error}")
    every_s = source.reconcile_every_s
    reconciled = "not reconciled by itself" if every_s is None else f"reconciled every {span(round(every_s * 1000))}"
    return Finding(check, "ok", f"{source.api_url} answers; tail {source.tail}, {reconciled}")


def _tables(receiver: Receiver) -> Finding:
    try:
        missing = receiver.missing_migrations()
    except HooklineError as error:
        return Finding("database", "problem", str(error))
    if missing:
        return Finding(
            "database",
            "problem",
            f"{missing} migration(s) are not applied: `hookline db upgrade` (Django: `manage.py migrate`), or start "
            "what receives",
        )
    return Finding("database", "ok", "reached, its tables are up to date")


def _key(settings: Settings, database_url: str | None) -> Finding:
    check = "encryption key"
    with ExitStack() as ends:
        try:
            if sender_database(settings, database_url, ends) is None:
                return Finding(check, "ok", "not needed: there is no sender in this database")
        except HooklineError as error:
            return Finding(check, "problem", str(error))
        problem = problem_of_key(settings, database_url, ends)
    return Finding(check, "ok", "fits") if problem is None else Finding(check, "problem", problem)


def _sqlite(receiver: Receiver) -> Iterator[Finding]:
    file = receiver.sqlite_file()
    if file is None or not file.exists():
        return
    version = sqlite3.sqlite_version
    if (problem := problem_of_file(file)) is not None:
        yield Finding("sqlite file", "problem", f"{file.name}: {problem}")
    if sqlite3.sqlite_version_info >= SAFE_SQLITE:
        yield Finding("sqlite", "ok", version)
        return
    safe = ".".join(map(str, SAFE_SQLITE))
    others = others_with(file)
    if not receiver.owns_database:
        who = "the app's own connections write to the file"
    elif others:
        who = f"process {', '.join(map(str, others))} has the file open"
    else:
        yield Finding("sqlite", "ok", f"{version}; before {safe} nothing but Hookline should write to the file")
        return
    yield Finding(
        "sqlite",
        "warning",
        f"{version}, and {who}: before {safe} two connections that write and checkpoint at once can corrupt it. Take a "
        "newer SQLite, or PostgreSQL",
    )


def others_with(file: Path) -> list[int]:
    """Processes beside this one that have the file open and do not call themselves Hookline, as far as can be seen."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int(process.name) == os.getpid() or b"hookline" in (process / "cmdline").read_bytes():
                continue
            if any(link.resolve() == file for link in (process / "fd").iterdir()):
                found.append(int(process.name))
        except OSError:
            continue  # it has ended, or is somebody else's
    return found


def _disk(receiver: Receiver) -> Iterator[Finding]:
    """What is left where the file of the database is."""
    file = receiver.sqlite_file()
    if file is None or not file.parent.is_dir():
        return
    usage = shutil.disk_usage(file.parent)
    left = f"{usage.free / 2**30:.1f} GiB of {usage.total / 2**30:.1f} GiB are free where {file.name} is"
    if usage.free < LEAST_FREE_BYTES:
        yield Finding("disk", "problem", left, "make room: SQLite writes nothing more on a full disk")
    elif usage.free < LOW_BYTES:
        yield Finding("disk", "warning", left, "`hookline db prune` lets go of what is past its time")
    else:
        yield Finding("disk", "ok", left)


def _tls(settings: Settings) -> Iterator[Finding]:
    config = settings.serve()
    if config.tls_cert is None or config.tls_key is None:
        return
    try:
        check_tls(config.tls_cert, config.tls_key)
    except ConfigError as error:
        yield Finding("tls", "problem", str(error))
        return
    certificate = x509.load_pem_x509_certificates(config.tls_cert.read_bytes())[0]
    ends = certificate.not_valid_after_utc
    left_s = (ends - datetime.now(UTC)).total_seconds()
    until = f"{config.tls_cert.name} is valid until {ends:%Y-%m-%d}"
    if left_s <= 0:
        yield Finding("tls", "problem", f"{until}, which is past: no source sends there")
    elif left_s < EXPIRES_SOON_S:
        yield Finding("tls", "warning", f"{until}: renew it")
    else:
        yield Finding("tls", "ok", until)


def _retention(source: Source) -> Finding:
    check = f"retention of {source.name}"
    if source.retention is None:
        return Finding(check, "warning", "off: bodies, which hold personal data, are kept for ever")
    return Finding(check, "ok", f"bodies are kept for {span(round(source.retention.bodies_s * 1000))}")


def _addresses(source: Source, receiver: Receiver) -> Finding:
    check = f"callers of {source.name}"
    if not source.allowed_ips and source.allowed_ips_url is None:
        return Finding(check, "ok", "everybody may call; the signature decides alone")
    listed = source.allowed_ips if isinstance(source.allowed_ips, str) else ",".join(source.allowed_ips)
    names = [name for name in listed.split(",") if name.strip()]
    proxies = ", ".join(map(str, receiver.trusted_proxies)) or "none, so the peer is the caller"
    built_in = f" (workos: {WORKOS_ADDRESSES.published})" if source.has_workos else ""
    published = "" if source.allowed_ips_url is None else f", and the list at {source.allowed_ips_url}"
    text = f"{len(names)} entries{built_in}{published}; proxies believed: {proxies}"
    if source.has_workos and is_old(WORKOS_READ, datetime.now(UTC).date()):
        return Finding(check, "warning", f"{text}. That list is more than a year old: is there a newer release?")
    return Finding(check, "ok", text)


def _list(row: AddressListRow, now_ms: int) -> Finding:
    """A published list; where it needs somebody, the status says so."""
    if row.document is None or row.fetched_ms is None:
        return Finding("published list", "ok", f"{row.url}: not read yet")
    found = parse_egress_document(row.document, setting=row.url)
    read = f"read {span(now_ms - row.fetched_ms)} ago, as of {found.published}"
    return Finding("published list", "ok", f"{row.url}: {len(found.addresses)} entries, {read}")


def _clock(signed: Sequence[tuple[int, int]]) -> Finding:
    if not signed:
        return Finding("clock", "ok", "nothing has arrived yet to compare it with")
    skew_ms = round(statistics.median(received_ms - signed_ms for signed_ms, received_ms in signed))
    side = "after" if skew_ms < 0 else "before"
    told = f"what arrived was signed {abs(skew_ms) / 1000:g} s {side} that by this clock"
    if abs(skew_ms) <= SKEW_MS:
        return Finding("clock", "ok", f"{told} (the median of {len(signed)})")
    return Finding("clock", "warning", f"{told}: is the clock set by NTP? At 180 s nothing is accepted any more")


def _callers(receiver: Receiver, rows: Sequence[RejectionRow]) -> Iterator[Finding]:
    """Refusals for their address by a peer that can only be one's own proxy."""
    for row in rows:
        if row.reason != "address":
            continue
        peer = row.sample.partition(" to ")[2].partition(": ")[0]
        try:
            is_near = not ip_address(peer).is_global
        except ValueError:
            continue
        if is_near and not receiver.trusted_proxies:
            yield Finding(
                "proxies",
                "warning",
                f"within the day a request from {peer} was refused for its address. If that is your proxy, "
                f"HOOKLINE_TRUSTED_PROXIES={peer} lets the door see who is behind it; if it was you or this command, "
                "it is as it should be",
            )
            return


def _send(settings: Settings, receiver: Receiver, url: str | None) -> Iterator[Finding]:
    """The three requests; see receiver/probe.py."""
    if url is None and receiver.takes_settings:
        raise ConfigError("--send", "expected the URL of the door, as the source has it: the app alone knows where")
    url = url or f"{settings.serve().url_here}{receiver.sources[0].place}"
    yield Finding("send", "ok", f"to {_without_token(url, receiver)}")
    source = _source_at(url, receiver)

    def find(event_id: str) -> Kept | None:
        with receiver.look(source.name) as (queries, connection):
            found = queries.entry(connection, event_id)
            return None if found is None else Kept(queries.body(connection, event_id), found.source)

    names = {"get": "a GET", "forged": "a forged POST", "signed": "a signed POST"}
    secret = source.secrets[0] if source.secrets else None
    with receiver:
        for tried in send_probes(url, secret, scheme=source.scheme, now_ms=receiver.clock.now_ms, find=find):
            yield Finding(names[tried.probe], tried.meaning.verdict, tried.meaning.text)
    if secret is None:
        yield Finding("a signed POST", "problem", "not made: this command has no secret to sign with")


def _source_at(url: str, receiver: Receiver) -> Source:
    """Whose door it is, by the end of its path; the first source's where none is."""
    path = urlsplit(url).path.rstrip("/")
    at = [source for source in receiver.sources if path.endswith(source.place)]
    return max(at, key=lambda source: len(source.place), default=receiver.sources[0])


def _without_token(url: str, receiver: Receiver) -> str:
    for source in receiver.sources:
        if source.path_token is not None:
            url = url.replace(source.path_token, "<HOOKLINE_PATH_TOKEN>")
    return url

"""`hookline endpoints`: who wants which events, and what becomes of theirs."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, Final, Literal

import cyclopts
from cyclopts import Parameter

from hookline.cli import Exit
from hookline.cli.api_client import HERE, Place, segment, sender_api
from hookline.cli.parameters import AsJson
from hookline.cli.sender_commands import (
    FIRST,
    Columns,
    DryRun,
    Pages,
    Yes,
    is_sure,
    moment,
    payload,
    seconds,
    show_list,
    words,
)
from hookline.cli.tables import print_facts, print_json
from hookline.errors import ConfigError

endpoints = cyclopts.App(name="endpoints", help="Who wants which events: create, pause, rotate secrets, test.")

ROOT: Final = "/api/v1/endpoints"
_COLUMNS: Final[Columns] = (
    ("ENDPOINT", "id"),
    ("URL", "url"),
    ("STATE", lambda item: _state(item)),
    ("FAILING SINCE", lambda item: item["health"]["failing_since"]),
    ("EVENTS", lambda item: _few(item["events"])),
    ("DESCRIPTION", "description"),
)
_EMPTIED: Final = ("description", "timeout_s", "rate_limit_per_min", "headers", "schedule")

Events = Annotated[str | None, Parameter(help="Type names, prefixes such as dsync.*, or *; comma separated.")]
Description = Annotated[str | None, Parameter(help="What it is for.")]
Timeout = Annotated[float | None, Parameter(help="Seconds of one whole attempt, 1 to 30.")]
Rate = Annotated[int | None, Parameter(help="Attempts a minute.")]
Schedule = Annotated[
    str | None,
    Parameter(help="Waits before each retry, as '30s, 5m, 2h'; none for no retry. At most 6, 72 h together."),
]
StandardWebhooks = Annotated[bool | None, Parameter(help="Send the Standard Webhooks headers beside WorkOS's.")]
Headers = Annotated[
    list[str] | None, Parameter("--header", negative=(), help="A header of each attempt, as 'Name: value'; repeatable.")
]
SensitiveHeaders = Annotated[
    list[str] | None,
    Parameter(
        "--sensitive-header",
        negative=(),
        help="The same as Name=VARIABLE: the value comes from that environment variable, and is never shown again.",
    ),
]


@endpoints.command(name="list")
def list_(
    *,
    status: Literal["enabled", "disabled"] | None = None,
    url_part: str | None = None,
    pages: Pages = FIRST,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """The newest first.

    Parameters
    ----------
    status:
        Only these.
    url_part:
        Only those with this in their URL.
    """
    with sender_api(place) as api:
        show_list(
            api,
            ROOT,
            _COLUMNS,
            query={"status": status, "url": url_part},
            pages=pages,
            as_json=as_json,
            empty="no endpoints",
        )


@endpoints.command
def show(endpoint: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """One endpoint; its secret is masked.

    Parameters
    ----------
    endpoint:
        Its id.
    """
    with sender_api(place) as api:
        _print(api.get(_path(endpoint)), as_json=as_json)


@endpoints.command
def create(
    url: str,
    /,
    *,
    events: Annotated[str, Parameter(help="Type names, prefixes such as dsync.*, or *; comma separated.")],
    description: Description = None,
    timeout_s: Timeout = None,
    rate_limit_per_min: Rate = None,
    schedule: Schedule = None,
    standard_webhooks: StandardWebhooks = None,
    headers: Headers = None,
    sensitive_headers: SensitiveHeaders = None,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Register an endpoint and print it with its secret.

    Parameters
    ----------
    url:
        Where its events go.
    """
    body = _given(
        url=url,
        events=words(events),
        description=description,
        timeout_s=timeout_s,
        rate_limit_per_min=rate_limit_per_min,
        schedule=_gaps(schedule),
        standard_webhooks=standard_webhooks,
        headers=_headers(headers, sensitive_headers),
    )
    with sender_api(place) as api:
        _print(api.post(ROOT, body), as_json=as_json)


@endpoints.command
def update(
    endpoint: str,
    /,
    *,
    url: Annotated[str | None, Parameter("--new-url", help="Where its events go from now on.")] = None,
    events: Events = None,
    description: Description = None,
    timeout_s: Timeout = None,
    rate_limit_per_min: Rate = None,
    schedule: Schedule = None,
    standard_webhooks: StandardWebhooks = None,
    headers: Headers = None,
    sensitive_headers: SensitiveHeaders = None,
    clear: Annotated[str | None, Parameter(help=f"What to set back, comma separated: {', '.join(_EMPTIED)}.")] = None,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Change what is given and leave the rest.

    Parameters
    ----------
    endpoint:
        Its id.
    """
    emptied = words(clear) or []
    if strange := sorted(set(emptied) - set(_EMPTIED)):
        raise ConfigError("--clear", f"expected some of {', '.join(_EMPTIED)}; got {strange[0]!r}")
    body = dict.fromkeys(emptied) | _given(
        url=url,
        events=words(events),
        description=description,
        timeout_s=timeout_s,
        rate_limit_per_min=rate_limit_per_min,
        schedule=_gaps(schedule),
        standard_webhooks=standard_webhooks,
        headers=_headers(headers, sensitive_headers),
    )
    if not body:
        raise ConfigError("update", "expected something to change")
    with sender_api(place) as api:
        _print(api.patch(_path(endpoint), body), as_json=as_json)


@endpoints.command
def enable(endpoint: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """Send it events again, what was held for it first.

    Parameters
    ----------
    endpoint:
        Its id.
    """
    with sender_api(place) as api:
        _print(api.patch(_path(endpoint), {"status": "enabled"}), as_json=as_json)


@endpoints.command
def disable(endpoint: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """Make it no more deliveries; what waits is held. To keep what happens meanwhile, pause it instead.

    Parameters
    ----------
    endpoint:
        Its id.
    """
    with sender_api(place) as api:
        _print(api.patch(_path(endpoint), {"status": "disabled"}), as_json=as_json)


@endpoints.command
def pause(endpoint: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """Hold its deliveries, those of new events too, until it is resumed.

    Parameters
    ----------
    endpoint:
        Its id.
    """
    with sender_api(place) as api:
        _print(api.post(_path(endpoint, "pause")), as_json=as_json)


@endpoints.command
def resume(
    endpoint: str,
    /,
    *,
    deliver: Literal["all", "since", "latest", "none"] | None = None,
    since: str | None = None,
    dry_run: DryRun = False,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """End a pause, or enable again what was disabled for failing.

    Parameters
    ----------
    endpoint:
        Its id.
    deliver:
        What becomes of held deliveries: all are sent, those made since a time, the latest of each object, or none.
    since:
        That time, or how long ago it was: 15m, 2h, 3d.
    """
    body = _given(deliver=deliver, since=moment("--since", since), dry_run=dry_run or None)
    with sender_api(place) as api:
        answer = api.post(_path(endpoint, "resume"), body or None)
    if dry_run and not as_json:
        print(f"would send {answer['to_send']} of {answer['held']} held deliveries, and cancel {answer['to_cancel']}")
    else:
        _print(answer, as_json=as_json)


@endpoints.command
def delete(endpoint: str, /, *, yes: Yes = False, place: Place = HERE, as_json: AsJson = False) -> int:
    """Delete an endpoint; what waits for it is canceled.

    Parameters
    ----------
    endpoint:
        Its id.
    """
    if not is_sure(f"Delete {endpoint}?", yes=yes):
        return Exit.FAILED
    with sender_api(place) as api:
        api.delete(_path(endpoint))
    if as_json:
        print_json({"id": endpoint, "deleted": True})
    else:
        print(f"deleted: {endpoint}")
    return Exit.OK


@endpoints.command(name="test")
def send_test(
    endpoint: str,
    event: str,
    data: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    place: Place = HERE,
    as_json: AsJson = False,
) -> int:
    """Send it one test event now, and say what came back; exit 1 unless it was taken.

    Parameters
    ----------
    endpoint:
        Its id.
    event:
        A type that it asks for.
    data:
        File with the payload as JSON, or - for standard input; else the sample of the type.
    """
    body = _given(event=event, data=None if data is None else payload(data))
    with sender_api(place) as api:
        answer = api.post(_path(endpoint, "test"), body)
    if as_json:
        print_json(answer)
    else:
        timings = answer["timings"] or {}
        total_ms = timings.get("total_ms")
        print_facts(
            [
                ("outcome", answer["outcome"]),
                ("status", answer["status"]),
                ("took", None if total_ms is None else f"{total_ms:.0f} ms"),
                ("meaning", answer["meaning"]),
                ("to do", answer["to_do"]),
                ("note", answer["note"]),
                ("delivery", answer["delivery"]["id"]),
            ]
        )
    return Exit.OK if answer["outcome"] == "succeeded" else Exit.FAILED


@endpoints.command
def rotate_secret(
    endpoint: str,
    /,
    *,
    overlap: str = "24h",
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Make a new secret and print it; the one before it stays usable for a while.

    Parameters
    ----------
    endpoint:
        Its id.
    overlap:
        For how long: 0 to 7d.
    """
    with sender_api(place) as api:
        answer = api.post(_path(endpoint, "rotate_secret"), {"overlap_s": seconds("--overlap", overlap)})
        _print(answer, as_json=as_json)


@endpoints.command
def revoke_secret(endpoint: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """End a rotation now: the secret before the newest signs nothing more.

    Parameters
    ----------
    endpoint:
        Its id.
    """
    with sender_api(place) as api:
        _print(api.post(_path(endpoint, "revoke_old_secret")), as_json=as_json)


@endpoints.command
def reveal_secret(endpoint: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """Print its secret in clear; the audit trail keeps that it was asked for.

    Parameters
    ----------
    endpoint:
        Its id.
    """
    with sender_api(place) as api:
        answer = api.post(_path(endpoint, "reveal_secret"))
    if as_json:
        print_json(answer)
    else:
        print_facts(
            [
                ("secret", answer["secret"]),
                ("old secret", answer["old_secret"]),
                ("old secret until", answer["old_secret_until"]),
            ]
        )


@endpoints.command
def versions(
    endpoint: str,
    /,
    *,
    pages: Pages = FIRST,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """What it was when, newest first; of a deleted one too.

    Parameters
    ----------
    endpoint:
        Its id.
    """
    columns: Columns = (
        ("VERSION", "version"),
        ("FROM", "from"),
        ("URL", "url"),
        ("STATE", lambda item: "deleted" if item["deleted_at"] else _state(item)),
        ("EVENTS", lambda item: _few(item["events"])),
    )
    with sender_api(place) as api:
        show_list(
            api,
            _path(endpoint, "versions"),
            columns,
            pages=pages,
            as_json=as_json,
            empty="no versions",
        )


def _path(endpoint: str, *rest: str) -> str:
    return "/".join((ROOT, segment(endpoint), *rest))


def _print(endpoint: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(endpoint)
        return
    retries, health, rotation = endpoint["retries"], endpoint["health"], endpoint["rotation"]
    print_facts(
        [
            ("endpoint", endpoint["id"]),
            ("url", endpoint["url"]),
            ("state", _state(endpoint)),
            ("events", ", ".join(endpoint["events"])),
            ("description", endpoint["description"]),
            ("secret", endpoint["secret"]),
            ("old secret", rotation and f"{rotation['old_secret']} until {rotation['old_secret_until']}"),
            ("signs with", rotation and f"the {rotation['signs_with']} secret"),
            ("failing since", health["failing_since"]),
            ("failed attempts", health["failed_attempts"] or None),
            ("timeout", endpoint["timeout_s"] and f"{endpoint['timeout_s']:g} s"),
            ("rate limit", endpoint["rate_limit_per_min"] and f"{endpoint['rate_limit_per_min']} a minute"),
            ("retries after", f"{', '.join(retries['after']) or 'none'} (of the {retries['source']})"),
            ("headers", ", ".join(f"{item['name']}: {item['value'] or '…'}" for item in endpoint["headers"]) or None),
            ("standard webhooks", "yes" if endpoint["standard_webhooks"] else None),
            ("version", endpoint["version"]),
            ("created", endpoint["created_at"]),
            ("updated", endpoint["updated_at"]),
        ]
    )


def _state(item: dict[str, Any]) -> str:
    reason = f" ({item['disabled_reason']})" if item["disabled_reason"] else ""
    if item["status"] == "disabled":
        return f"disabled{reason}"
    return "paused" if item["paused_at"] else "enabled"


def _few(events: list[str]) -> str:
    return ", ".join(events[:3]) + (f", and {len(events) - 3} more" if len(events) > 3 else "")


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _gaps(schedule: str | None) -> list[int] | None:
    if schedule is None:
        return None
    return [] if schedule.strip().lower() == "none" else [seconds("--schedule", gap) for gap in words(schedule) or ()]


def _headers(plain: list[str] | None, sensitive: list[str] | None) -> list[dict[str, Any]] | None:
    if plain is None and sensitive is None:
        return None
    headers: list[dict[str, Any]] = []
    for text in plain or ():
        name, colon, value = text.partition(":")
        if not colon:
            raise ConfigError("--header", f"expected 'Name: value', got {text[:40]!r}")
        headers.append({"name": name.strip(), "value": value.strip(), "sensitive": False})
    for text in sensitive or ():
        match = re.fullmatch(r"([^=:\s]+)=([A-Za-z_][A-Za-z0-9_]*)", text)
        if match is None:
            raise ConfigError("--sensitive-header", "expected Name=VARIABLE, the environment variable with the value")
        secret = os.environ.get(match[2])
        if not secret:
            raise ConfigError("--sensitive-header", f"the environment variable {match[2]} is not set")
        headers.append({"name": match[1], "value": secret, "sensitive": True})
    return headers

"""Settings in force: how deliveries are signed and retried, what is kept and shown, who calls from where."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

import hookline
from hookline.dashboard.account_model import AuditChoice
from hookline.dashboard.assets import vendored
from hookline.dashboard.frame import Action, Call, FormProblems, Page, SeeOther, Shown
from hookline.dashboard.pages.sign_in import accounts_of
from hookline.dashboard.proxies import PEER
from hookline.errors import RequestError
from hookline.rules.address import client_address
from hookline.sender.keys import mask_api_key
from hookline.sender.model import ENVIRONMENTS
from hookline.sender.queries import PageRequest, audit_page
from hookline.sender.retention import AUDIT_S
from hookline.sender.store import AuditFilter
from hookline.storage.migrate import load_migrations, migrations_missing
from hookline.wire.signature import HEADER, TOLERANCE_S

if TYPE_CHECKING:
    from hookline.sender.listeners import Listeners
    from hookline.sender.model import ApiKey, Environment
    from hookline.storage import Database

_AT_ONCE: Final = 50
_TRAILS: Final = ("dashboard", *ENVIRONMENTS)
_MOST_KEY_NAME: Final = 200
_VERSIONS: Final = {"sqlite": "select sqlite_version()", "postgres": "show server_version"}


def tabs(call: Call, here: str) -> list[tuple[str, str, bool]]:
    """The pages of settings that the viewer may read."""
    pages = (
        ("settings", "General", "viewer"),
        ("settings_addresses", "Addresses", "viewer"),
        ("settings_users", "Users", "admin"),
        ("settings_keys", "API keys", "operator"),
        ("settings_audit", "Audit log", "operator"),
        ("settings_about", "About", "viewer"),
    )
    return [
        (label, call.link(name), name == here)
        for name, label, role in pages
        if call.viewer.may(role) and call.parts.links.has(name)  # type: ignore[arg-type]
    ]


def general(call: Call) -> Shown:
    """How deliveries are signed and retried, what is kept for how long, and what pages do not show."""
    sender, receiver = call.parts.sender, call.parts.receiver
    data: dict[str, Any] = {
        "redacted": list(call.parts.places.paths),
        "session_s": accounts_of(call).session_s,
        "dashboard_audit_s": AUDIT_S,
        "sender": None,
        "receiver": None,
    }
    if sender is not None:
        data["sender"] = {
            "header": HEADER,
            "tolerance_s": TOLERANCE_S,
            "environments": [
                {
                    "name": one,
                    "kept_s": sender.retention.kept_s[one],
                    "listeners": _listeners(sender.listeners, one),
                    "tries": [
                        {"after_s": after_s, "at_ms": call.now_ms + round(after_s * 1000)}
                        for after_s in (0.0, *sender.schedules[one].offsets_s)
                    ],
                }
                for one in ENVIRONMENTS
            ],
        }
    if receiver is not None:
        data["receiver"] = {
            "sources": [
                {
                    "name": one.name,
                    "scheme": one.scheme,
                    "secrets": len(one.secrets),
                    "tolerance_s": one.tolerance_s,
                    "max_body_bytes": one.max_body,
                    "bodies_s": one.retention.bodies_s if one.retention else None,
                    "redacted_s": one.retention.redacted_s if one.retention else None,
                    "ids_s": one.retention.ids_s if one.retention else None,
                }
                for one in receiver.sources
            ]
        }
    return Shown("settings_general.html", "Settings", data, {"tabs": tabs(call, "settings")})


def _listeners(listeners: Listeners, environment: Environment) -> dict[str, int]:
    known = listeners.listed(environment)
    return {"known": len(known), "connected": sum(listeners.is_connected(one) for one in known)}


def addresses(call: Call) -> Shown:
    """Where deliveries come from, who may call the doors, and where this very request appears to come from."""
    scope = call.request.scope
    peer = str(scope.get(PEER, ""))
    lines = call.request.headers.getlist("x-forwarded-for")
    trusted = call.parts.trusted_proxies
    found = client_address(peer or None, lines, trusted)
    receiver = call.parts.receiver
    data = {
        "egress": [str(one) for one in call.parts.sender.egress] if call.parts.sender is not None else None,
        "trusted_proxies": [str(one) for one in trusted],
        "request": {
            "peer": peer,
            "forwarded_for": ", ".join(lines)[:500] or None,
            "address": str(found.address) if found.address is not None else None,
            "reason": found.reason,
            "scheme": call.request.url.scheme,
        },
        "sources": [
            {
                "name": one.name,
                "allowed": [one.allowed_ips] if isinstance(one.allowed_ips, str) else list(one.allowed_ips),
                "published_at": one.allowed_ips_url,
                "trusted_proxies": [str(network) for network in receiver.trusted_proxies],
            }
            for one in receiver.sources
        ]
        if receiver is not None
        else None,
    }
    return Shown("settings_addresses.html", "Addresses", data, {"tabs": tabs(call, "settings_addresses")})


def about(call: Call) -> Shown:
    """Versions, databases with their migrations, and the licences of what is not ours."""
    data = {
        "version": hookline.__version__,
        "python": platform.python_version(),
        "databases": list(_databases(call)),
        "assets": [
            {"package": one.package, "version": one.version, "licence": one.licence, "file": one.file}
            for one in vendored()
        ],
    }
    return Shown("settings_about.html", "About", data, {"tabs": tabs(call, "settings_about")})


def keys(call: Call) -> Shown:
    """Every API key of both environments, masked; those of the configuration are nowhere stored."""
    return _keys_page(call)


def do_create_key(call: Call) -> Shown:
    """Make a key, and show it this once."""
    environment = call.environment
    try:
        name = call.text("name", most=_MOST_KEY_NAME)
        key, clear = call.sender.api_keys.create(environment, name=name or None, actor=call.viewer.actor)
    except RequestError as error:
        return _keys_page(call, FormProblems.of(error), status=error.status)
    return _key_shown(call, key, clear, "API key made")


def do_reveal_key(call: Call) -> Shown:
    """Show a staging key once more; the sender's audit trail keeps that somebody looked."""
    key, clear = call.sender.api_keys.reveal(call.environment, call.params["key"], actor=call.viewer.actor)
    return _key_shown(call, key, clear, "API key")


def revoke_key(call: Call) -> Shown:
    """What revoking a key does, before it is done."""
    key = call.sender.api_keys.get(call.environment, call.params["key"])
    also = {"tabs": tabs(call, "settings_keys")}
    return Shown("settings_key_revoke.html", "Revoke an API key", _key(key), also)


def do_revoke_key(call: Call) -> SeeOther:
    """Revoke it."""
    call.sender.api_keys.revoke(call.environment, call.params["key"], actor=call.viewer.actor)
    return SeeOther(call.link("settings_keys"), "The key is revoked: every process refuses it within 5 s.")


def audit(call: Call) -> Shown:
    """Who did what: the dashboard's own trail, or the one of an environment of the sender."""
    trails = [one for one in _TRAILS if one == "dashboard" or call.parts.sender is not None]
    trail = call.query.get("trail", "dashboard")
    if trail not in trails:
        raise RequestError(404, None, f"There is no such audit log here; expected one of {', '.join(trails)}.")
    wanted = {name: call.query.get(name, "").strip()[:200] for name in ("action", "actor", "object")}
    lines, newer, older = _own_lines(call, wanted) if trail == "dashboard" else _sender_lines(call, trail, wanted)
    data = {"trail": trail, "lines": lines, "newer": newer, "older": older}
    also = {
        "tabs": tabs(call, "settings_audit"),
        "trails": [(one, call.link("settings_audit", query={"trail": one}), one == trail) for one in trails],
        "wanted": wanted,
        "is_filtered": any(wanted.values()),
        "clear": call.link("settings_audit", query={"trail": trail}),
        "newer": None if newer is None else call.here(after=newer, before=None),
        "older": None if older is None else call.here(before=older, after=None),
    }
    return Shown("settings_audit.html", "Audit log", data, also)


def _own_lines(call: Call, wanted: Mapping[str, str]) -> tuple[list[dict[str, Any]], int | None, int | None]:
    choice = AuditChoice(
        action=wanted["action"] or None, actor=wanted["actor"] or None, object_id=wanted["object"] or None
    )
    page = accounts_of(call).audit_page(choice, before=_row(call, "before"), after=_row(call, "after"), limit=_AT_ONCE)
    lines = [
        {
            "at_ms": one.at_ms,
            "actor": one.actor,
            "action": one.action,
            "object_id": one.object_id,
            "detail": one.detail,
            "address": one.address or None,
        }
        for one in page.lines
    ]
    return lines, page.newer, page.older


def _sender_lines(
    call: Call, environment: str, wanted: Mapping[str, str]
) -> tuple[list[dict[str, Any]], str | None, str | None]:
    chosen = AuditFilter(action=wanted["action"] or None, object_id=wanted["object"] or None)
    # The sender's pages lead on with `after`, towards the past; here `before` does, as in the dashboard's trail.
    request = PageRequest(limit=_AT_ONCE, before=call.query.get("after"), after=call.query.get("before"))
    one_of = next(one for one in ENVIRONMENTS if one == environment)
    with call.sender.look() as connection:
        page = audit_page(call.sender.store, connection, one_of, chosen, request)
    lines = [
        {
            "at_ms": one.at_ms,
            "actor": one.actor,
            "action": one.action,
            "object_id": one.object_id,
            "detail": msgspec.json.decode(one.detail),
            "address": None,
        }
        for one in page.items
    ]
    return lines, page.before, page.after


def _row(call: Call, name: str) -> int | None:
    text = call.query.get(name)
    if text is None:
        return None
    if not text.isdecimal() or len(text) > 18:
        raise RequestError(422, "invalid_cursor", f"{name}: expected a row of the log, as its own links lead to")
    return int(text)


def _databases(call: Call) -> Iterator[dict[str, Any]]:
    parts = [("sender", call.parts.sender.database)] if call.parts.sender is not None else []
    if call.parts.receiver is not None and (receivers := call.parts.receiver.database) is not None:
        parts.append(("receiver", receivers))
    for part, where in [*parts, ("dashboard", accounts_of(call).database)]:
        known = len(load_migrations(f"hookline.{part}", where.dialect))
        missing = migrations_missing(where, part, f"hookline.{part}")
        yield {
            "part": part,
            "kind": where.dialect,
            "version": _version(where),
            "migrations": known - missing,
            "known": known,
        }


def _version(database: Database) -> str:
    with database.read() as connection:
        cursor = connection.cursor()
        try:
            cursor.execute(_VERSIONS[database.dialect])
            return str(cursor.fetchone()[0])
        finally:
            cursor.close()


def _keys_page(call: Call, problems: FormProblems | None = None, *, status: int = 200) -> Shown:
    sender = call.sender
    data = {
        "environments": [
            {"name": one, "keys": [_key(key) for key in reversed(sender.api_keys.listed(one))]} for one in ENVIRONMENTS
        ]
    }
    also = {
        "tabs": tabs(call, "settings_keys"),
        "problems": problems or FormProblems(),
        "typed": {"environment": call.environment, "name": str(call.form.get("name", ""))[:_MOST_KEY_NAME]},
    }
    return Shown("settings_keys.html", "API keys", data, also, status)


def _key_shown(call: Call, key: ApiKey, clear: str | None, title: str) -> Shown:
    return Shown("settings_key_shown.html", title, {**_key(key), "key": clear}, {"tabs": tabs(call, "settings_keys")})


def _key(key: ApiKey) -> dict[str, Any]:
    environment: Environment = key.environment
    return {
        "id": key.id,
        "environment": environment,
        "name": key.name,
        "masked": mask_api_key(key),
        "can_be_revealed": key.key_enc is not None,
        "created_ms": key.created_ms,
        "last_used_ms": key.last_used_ms,
        "revoked_ms": key.revoked_ms,
    }


PAGES: tuple[Page | Action, ...] = (
    Page("settings", "/settings", general),
    Page("settings_addresses", "/settings/addresses", addresses),
    Page("settings_about", "/settings/about", about),
    Page("settings_audit", "/settings/audit", audit, role="operator"),
    Page("settings_keys", "/settings/keys", keys, role="operator", needs="sender"),
    Action("settings_key_create", "/settings/keys/{environment}", do_create_key, role="admin", needs="sender"),
    Action(
        "settings_key_reveal", "/settings/keys/{environment}/{key}/reveal", do_reveal_key, role="admin", needs="sender"
    ),
    Page("settings_key_revoke", "/settings/keys/{environment}/{key}/revoke", revoke_key, role="admin", needs="sender"),
    Action(
        "do_settings_key_revoke",
        "/settings/keys/{environment}/{key}/revoke",
        do_revoke_key,
        role="admin",
        needs="sender",
    ),
)

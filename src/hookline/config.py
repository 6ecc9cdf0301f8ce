"""Every setting of the server: its name, where it may come from, what it must look like, who reads it.

One table, `SETTINGS`, drives the environment, `hookline.toml`, the flags of `hookline serve`, `hookline config
show` and docs/configuration.md. Precedence: flag > environment `HOOKLINE_…` > `./hookline.toml` > default.
`load` reads and checks all of it before anything starts; a name that is no setting, or a value that is not what
the setting takes, is a `ConfigError` that names it. What is unset is None.

Secrets come from the environment, from `hookline.toml`, or from a file named by `…_FILE`, never as a flag: those
are seen in process lists and kept in shell histories. No error and no `repr` here shows one.

This module opens no database and imports neither end; the library (`verify`, `Receiver`) does not read it.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from hookline.errors import ConfigError
from hookline.rules.address import WORKOS_ADDRESSES, Network, check_source_url, parse_networks
from hookline.rules.redaction import Places
from hookline.rules.roles import RoleRule, parse_role_rule
from hookline.rules.schedule import Schedule, parse_schedule

PREFIX = "HOOKLINE_"
FILE_NAME = "hookline.toml"
# Not settings of a project, but of whoever types: how the command talks. The command reads them itself.
COMMAND_VARIABLES = ("HOOKLINE_OUTPUT", "HOOKLINE_DEBUG")
_LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked for, not bound

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["auto", "console", "json"]
Part: TypeAlias = Literal["sender", "receiver", "server", "command"]

_MOST_RETRIES = 6  # the guide's: up to six, over up to three days
_LEAST_RETENTION_S = 3_600
_MOST_RETENTION_S = 3_650 * 86_400
_SIZES = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_DURATIONS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `name` is its key in hookline.toml; `HOOKLINE_` and the name in capitals its variable.

    Attributes:
        read: text of the environment, or a value of TOML, to the value; ValueError where it is not one.
        expected: what `read` takes, for people; follows "expected".
        default: the text it is read from when nobody sets it; None leaves the value None.
        unset: what holds while it is None, for people.
        flag: whether `hookline serve` takes it as a flag.
    """

    name: str
    read: Callable[[object], Any] = field(repr=False)
    expected: str
    about: str
    part: Part
    default: str | None = None
    unset: str = ""
    secret: bool = False
    flag: bool = False

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return PREFIX + self.name.upper()

    @property
    def option(self) -> str:
        """How it looks as a flag, whether or not it may be one."""
        return "--" + self.name.replace("_", "-")


class HostAndPort(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A setting, the value in force and where that came from (`--port`, `HOOKLINE_PORT`, `hookline.toml`, …)."""

    setting: Setting
    value: Any = field(repr=False)
    origin: str

    def shown(self) -> str | None:
        """The value for people, secrets masked; None where unset."""
        if self.value is None:
            return None
        if self.setting.secret:
            return f"set, {len(self.value)} of them" if isinstance(self.value, tuple) else "set"
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        if isinstance(self.value, Schedule):
            gaps_s = [later - earlier for earlier, later in pairwise((0.0, *self.value.offsets_s))]
            return ", ".join(f"{gap_s:g}s" for gap_s in gaps_s) or "none"
        if isinstance(self.value, HostAndPort):
            return str(self.value)
        if isinstance(self.value, tuple):
            return ", ".join(str(item) for item in self.value)
        return without_password(str(self.value))


@dataclass(frozen=True, slots=True)
class SenderConfig:
    """What the sender runs with. A schedule of None takes the built-in one of its environment."""

    database_url: str = field(repr=False)
    api_key: str | None = field(default=None, repr=False)
    staging_api_key: str | None = field(default=None, repr=False)
    encryption_keys: tuple[str, ...] | None = field(default=None, repr=False)
    allow_private_targets: bool = False
    allowed_targets: tuple[Network, ...] | None = None
    schedule: Schedule | None = None
    staging_schedule: Schedule | None = None
    targets_ca: Path | None = None
    egress_ips: tuple[Network, ...] | None = None
    egress_proxy_url: str | None = field(default=None, repr=False)
    api_rate_limit: float | None = None
    directory_user_groups: Literal["empty", "filled"] = "empty"
    directory_users_per_s: float | None = None
    disable_after_s: float | None = None
    retention_s: float | None = None
    staging_retention_s: float | None = None


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """The rules of one source. None leaves it to the `Receiver`'s own default."""

    webhook_secrets: tuple[str, ...] | None = field(default=None, repr=False)
    scheme: str | None = None
    path: str | None = None
    path_token: str | None = field(default=None, repr=False)
    allowed_ips: tuple[Network, ...] | None = None
    allowed_ips_url: str | None = None
    max_body_bytes: int | None = None
    tolerance_s: float | None = None
    redact: tuple[tuple[str, str], ...] | None = None
    bodies_s: float | None = None
    redacted_s: float | None = None
    ids_s: float | None = None
    api_key: str | None = field(default=None, repr=False)
    api_url: str | None = None
    api_over_http: bool = False
    tail: str | None = None
    tail_types: tuple[str, ...] | None = None
    reconcile_every_s: float | None = None


@dataclass(frozen=True, slots=True)
class ReceiverConfig:
    """What the door and the worker run with: `sources` by name where there are several, else the one in `alone`."""

    database_url: str = field(repr=False)
    alone: SourceConfig = SourceConfig()
    sources: Mapping[str, SourceConfig] = field(default_factory=dict)
    trusted_proxies: tuple[Network, ...] | None = None
    app: str | None = None


@dataclass(frozen=True, slots=True)
class OidcConfig:
    """The provider of OpenID Connect that people may sign in with."""

    issuer: str
    client_id: str
    client_secret: str | None = field(repr=False)
    roles: tuple[RoleRule, ...]
    name: str | None


@dataclass(frozen=True, slots=True)
class DashboardConfig:
    """The dashboard. None leaves it to the dashboard's own default; `redact` of () shows everything."""

    is_on: bool
    session_s: float | None
    redact: tuple[str, ...] | None
    public_url: str | None
    oidc: OidcConfig | None


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """The process `hookline serve` starts: where it listens, how it logs, and both ends' settings."""

    host: str
    port: int
    tls_cert: Path | None
    tls_key: Path | None
    log_level: LogLevel
    log_format: LogFormat
    metrics_listen: HostAndPort | None
    metrics_token: str | None = field(repr=False)
    drain_delay_s: float
    sender: SenderConfig
    receiver: ReceiverConfig
    dashboard: DashboardConfig

    @property
    def url_here(self) -> str:
        """The root at which this machine reaches it, also where it listens on every interface."""
        host = _LOOPBACK_OF.get(self.host, self.host)
        name = f"[{host}]" if ":" in host else host
        return f"{'http' if self.tls_cert is None else 'https'}://{name}:{self.port}"


def _text(raw: object) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError
    return raw.strip()


def _token(pattern: str) -> Callable[[object], str]:
    compiled = re.compile(pattern)

    def read(raw: object) -> str:
        text = _text(raw)
        if not compiled.fullmatch(text):
            raise ValueError
        return text

    return read


def _items(raw: object) -> list[object]:
    items: list[object] = list(raw) if isinstance(raw, list) else list(re.split(r"[,\n]", _text(raw)))
    return [item for item in items if not (isinstance(item, str) and not item.strip())]


def _list(read: Callable[[object], Any]) -> Callable[[object], tuple[Any, ...]]:
    def read_all(raw: object) -> tuple[Any, ...]:
        values = tuple(read(item) for item in _items(raw))
        if not values:
            raise ValueError
        return values

    return read_all


def _whole(least: int, most: int) -> Callable[[object], int]:
    def read(raw: object) -> int:
        # TOML's own numbers are spelled as the environment would spell them; true and 1.5 then are none.
        text = str(raw) if isinstance(raw, int) else _text(raw)
        if not re.fullmatch(r"[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError
        return int(text)

    return read


def _truth(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    word = _text(raw).lower()
    if word in {"true", "yes", "on", "1"}:
        return True
    if word in {"false", "no", "off", "0"}:
        return False
    raise ValueError


def _one_of(*words: str) -> Callable[[object], str]:
    def read(raw: object) -> str:
        word = _text(raw).lower()
        if word not in words:
            raise ValueError
        return word

    return read


def _amount(units: Mapping[str, int]) -> Callable[[object], float]:
    def read(raw: object) -> float:
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            amount = float(raw)
        else:
            match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([a-z]*)", _text(raw).lower())
            if match is None or match[2] not in units:
                raise ValueError
            amount = float(match[1]) * units[match[2]]
        if not 0 <= amount < 1e12:  # also refuses NaN
            raise ValueError
        return amount

    return read


def _retention(raw: object) -> float:
    kept_s = _amount(_DURATIONS)(raw)
    if not _LEAST_RETENTION_S <= kept_s <= _MOST_RETENTION_S:
        raise ValueError
    return kept_s


def _places(raw: object) -> tuple[tuple[str, str], ...]:
    if isinstance(raw, str) and raw.strip().lower() == "none":
        return ()
    pairs = [tuple(part.strip() for part in _text(item).split(":")) for item in _items(raw)]
    if not pairs or not all(len(pair) == 2 and all(pair) for pair in pairs):
        raise ValueError
    return tuple((pattern, place) for pattern, place in pairs)


def _period(raw: object) -> float:
    period_s = _amount(_DURATIONS)(raw)
    if not 60 <= period_s <= 365 * 86_400:
        raise ValueError
    return period_s


def _json_paths(raw: object) -> tuple[str, ...]:
    if isinstance(raw, str) and raw.strip().lower() == "none":
        return ()
    paths = tuple(_text(item) for item in _items(raw))
    if not paths:
        raise ValueError
    return Places(paths).paths


def _session(raw: object) -> float:
    lasts_s = _amount(_DURATIONS)(raw)
    if not 300 <= lasts_s <= 90 * 86_400:
        raise ValueError
    return lasts_s


def _role_rule(raw: object) -> RoleRule:
    return parse_role_rule(_text(raw))


def _failing(raw: object) -> float:
    failing_s = _amount(_DURATIONS)(raw)
    if not 3_600 <= failing_s <= 90 * 86_400:
        raise ValueError
    return failing_s


def _size(raw: object) -> int:
    size = _amount(_SIZES)(raw)
    if size < 1:
        raise ValueError
    return int(size)


def _rate(raw: object) -> float:
    rate = _amount({"": 1})(raw)
    if not 0.001 <= rate <= 1_000_000:
        raise ValueError
    return rate


def _networks(raw: object) -> tuple[Network, ...]:
    networks = parse_networks([_text(item) for item in _items(raw)], setting="")
    if not networks:
        raise ValueError
    return networks


def _callers(raw: object) -> tuple[Network, ...]:
    provider = WORKOS_ADDRESSES.provider
    entries = [_text(item) for item in _items(raw)]
    named = WORKOS_ADDRESSES.networks if provider in entries else ()
    others = [entry for entry in entries if entry != provider]
    return (*named, *_networks(others)) if others or not named else named


def _database_url(raw: object) -> str:
    text = _text(raw)
    if not re.fullmatch(r"sqlite:///.+|postgres(ql)?://.+", text):
        raise ValueError
    return text


def _path(raw: object) -> Path:
    path = Path(_text(raw))
    if not path.is_file():
        raise ValueError
    return path


def _fernet_key(raw: object) -> str:
    text = _text(raw)
    try:
        if len(base64.urlsafe_b64decode(text)) != 32:
            raise ValueError
    except binascii.Error:
        raise ValueError from None
    return text


def _server_url(raw: object) -> str:
    text = _text(raw)
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text):
        raise ValueError
    return text.rstrip("/")


def _list_url(raw: object) -> str:
    text = _text(raw)
    try:
        check_source_url(text, setting="")
    except ConfigError:
        raise ValueError from None
    return text


def _host_and_port(raw: object) -> HostAndPort:
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:\s]+):([0-9]{1,5})", _text(raw))
    if match is None or int(match[2]) > 65_535:
        raise ValueError
    return HostAndPort(match[1].strip("[]"), int(match[2]))


def _schedule(raw: object) -> Schedule:
    text = ", ".join(_text(item) for item in raw) if isinstance(raw, list) else _text(raw)
    schedule = parse_schedule("" if text.lower() == "none" else text, setting="")
    if len(schedule.offsets_s) > _MOST_RETRIES:
        raise ValueError
    return schedule


_RETENTION = "a duration from 1h to 3650d, as '30d'"
_DATABASE = "a database URL: sqlite:///relative.db, sqlite:////absolute.db or postgresql://user:password@host/database"
_API_KEY = "16 or more letters, digits, '_', '-' or '.'"
_NETWORKS = "a comma separated list of addresses or networks, as 203.0.113.7 or 198.51.100.0/24"
_GAPS = f"1 to {_MOST_RETRIES} waits between attempts, as '30s, 5m, 2h', together at most 72h; or none for no retry"

_TABLE: tuple[Setting, ...] = (
    Setting(
        "database_url",
        _database_url,
        _DATABASE,
        "The database of both ends.",
        "server",
        default="sqlite:///hookline.db",
        flag=True,
    ),
    Setting(
        "sender_database_url",
        _database_url,
        _DATABASE,
        "The sender's database, where it has its own.",
        "sender",
        unset="as database_url",
    ),
    Setting(
        "receiver_database_url",
        _database_url,
        _DATABASE,
        "The receiver's database: inbox, mirror, handler runs.",
        "receiver",
        unset="as database_url",
    ),
    Setting(
        "host",
        _text,
        "a name or address to listen on",
        "Where to listen; 0.0.0.0 for every interface.",
        "server",
        default="127.0.0.1",
        flag=True,
    ),
    Setting(
        "port",
        _whole(0, 65_535),
        "a port from 0 to 65535 (0 takes a free one)",
        "The port both ends share.",
        "server",
        default="8080",
        flag=True,
    ),
    Setting(
        "tls_cert",
        _path,
        "a file that exists, in PEM",
        "Certificate chain; with tls_key the server speaks https.",
        "server",
        unset="plain http",
        flag=True,
    ),
    Setting(
        "tls_key",
        _path,
        "a file that exists, in PEM",
        "The certificate's private key.",
        "server",
        unset="plain http",
        flag=True,
    ),
    Setting(
        "log_level",
        _one_of("debug", "info", "warning", "error"),
        "one of debug, info, warning, error",
        "What is logged, to stderr.",
        "server",
        default="info",
        flag=True,
    ),
    Setting(
        "log_format",
        _one_of("auto", "console", "json"),
        "one of auto, console, json",
        "Lines for people or JSON; auto looks at whether stderr is a terminal.",
        "server",
        default="auto",
        flag=True,
    ),
    Setting(
        "metrics_listen",
        _host_and_port,
        "an address and a port, as 127.0.0.1:9464",
        "/metrics, /healthz and /readyz on a port of their own, in plain http.",
        "server",
        unset="they are on the port itself; a worker has none",
        flag=True,
    ),
    Setting(
        "metrics_token",
        _token(r"[A-Za-z0-9_.~\-]{16,200}"),
        "16 or more letters, digits, '_', '-', '.' or '~'",
        "Bearer token that /metrics asks for.",
        "server",
        secret=True,
        unset="/metrics is open on metrics_listen; on the port itself to this machine alone, and not through a proxy",
    ),
    Setting(
        "drain_delay",
        _amount(_DURATIONS),
        "a duration, as 5, '5s' or '1m'",
        "How long after SIGTERM the port still answers, /readyz with 503.",
        "server",
        default="0",
        flag=True,
    ),
    Setting(
        "api_key",
        _token(r"[A-Za-z0-9_.\-]{16,200}"),
        _API_KEY,
        "Bearer key of the production environment, valid while set.",
        "sender",
        secret=True,
        unset="one is made and printed once",
    ),
    Setting(
        "staging_api_key",
        _token(r"[A-Za-z0-9_.\-]{16,200}"),
        _API_KEY,
        "Bearer key of the staging environment, valid while set.",
        "sender",
        secret=True,
        unset="one is made and printed once",
    ),
    Setting(
        "encryption_key",
        _list(_fernet_key),
        "32 bytes in URL-safe base 64; several, comma separated, newest first",
        "Encrypts endpoint secrets at rest; put a new key in front to rotate.",
        "sender",
        secret=True,
        unset="a key file beside the database, mode 0600",
    ),
    Setting(
        "allow_private_targets",
        _truth,
        "true or false",
        "Development: deliver to plain http and private addresses too.",
        "sender",
        default="false",
        flag=True,
    ),
    Setting(
        "allowed_targets",
        _networks,
        _NETWORKS,
        "Networks that may be delivered to although they are not public.",
        "sender",
        unset="public addresses alone",
        flag=True,
    ),
    Setting(
        "retry_schedule",
        _schedule,
        _GAPS,
        "When production retries.",
        "sender",
        unset="190 s, then each gap 4 times longer, the last at 72 h",
        flag=True,
    ),
    Setting(
        "staging_retry_schedule",
        _schedule,
        _GAPS,
        "When staging retries.",
        "sender",
        unset="1, 3, 9, 27, 81 and 179 s",
        flag=True,
    ),
    Setting(
        "targets_ca",
        _path,
        "a file that exists, in PEM",
        "Certificate authorities, beside the system's, that endpoints' certificates are checked against.",
        "sender",
        unset="the system's alone",
        flag=True,
    ),
    Setting(
        "egress_ips",
        _networks,
        _NETWORKS,
        "Where deliveries come from, published at /.well-known/hookline-egress.json.",
        "sender",
        unset="nothing is published",
        flag=True,
    ),
    Setting(
        "egress_proxy_url",
        _token(r"http://[!-~]{1,500}"),
        "http://[user:password@]host[:port]",
        "The proxy through which every delivery goes out; the usual proxy variables are not read.",
        "sender",
        secret=True,
        unset="deliveries go out directly",
    ),
    Setting(
        "api_rate_limit",
        _rate,
        "calls a second, more than 0, as 50 or 0.5",
        "How often each API key may call one process; more is 429.",
        "sender",
        unset="unlimited",
        flag=True,
    ),
    Setting(
        "directory_user_groups",
        _one_of("empty", "filled"),
        "empty or filled",
        "Whether `/directory_users` shows users with their groups or, as WorkOS does for newer teams, without.",
        "sender",
        default="empty",
        flag=True,
    ),
    Setting(
        "directory_users_per_s",
        _rate,
        "calls a second, more than 0, as 4",
        "How often each directory's users may be listed from one process; more is 429. WorkOS allows 4.",
        "sender",
        unset="unlimited",
        flag=True,
    ),
    Setting(
        "disable_after",
        _failing,
        "a duration from 1h to 90d, as '5d'",
        "How long an endpoint may fail on everything before it is disabled and its deliveries are held.",
        "sender",
        unset="5 days",
        flag=True,
    ),
    Setting(
        "retention",
        _retention,
        _RETENTION,
        "How long production keeps events and deliveries.",
        "sender",
        unset="30 days",
    ),
    Setting(
        "staging_retention",
        _retention,
        _RETENTION,
        "How long staging keeps events and deliveries.",
        "sender",
        unset="7 days",
    ),
    Setting(
        "webhook_secrets",
        _list(_text),
        "one or more signing secrets, comma separated",
        "Secrets in force at the door; any of them may have signed.",
        "receiver",
        secret=True,
        unset="the door answers 503",
    ),
    Setting(
        "path_token",
        _token(r"[A-Za-z0-9_.~\-]{16,200}"),
        "16 or more letters, digits, '_', '-', '.' or '~'",
        "The door is then at /webhooks/<token> alone.",
        "receiver",
        secret=True,
        unset="the door is at /webhooks",
    ),
    Setting(
        "allowed_ips",
        _callers,
        _NETWORKS + "; workos stands for the addresses WorkOS publishes",
        "Who may call the door; everybody else gets 403.",
        "receiver",
        unset="everybody",
        flag=True,
    ),
    Setting(
        "allowed_ips_url",
        _list_url,
        "an https URL, as https://sender.example.com/.well-known/hookline-egress.json",
        "Where the source publishes who calls; they may, besides those of allowed_ips.",
        "receiver",
        unset="no list is read",
        flag=True,
    ),
    Setting(
        "trusted_proxies",
        _networks,
        _NETWORKS,
        "Proxies whose X-Forwarded-For tells the caller's address, and X-Forwarded-Proto the dashboard's scheme.",
        "receiver",
        unset="the peer is the caller",
        flag=True,
    ),
    Setting(
        "max_body",
        _size,
        "a size of at least 1 byte, as 2097152 or '2 MiB'",
        "The largest body the door reads; more is 413.",
        "receiver",
        unset="2 MiB",
        flag=True,
    ),
    Setting(
        "webhook_tolerance",
        _amount(_DURATIONS),
        "a duration, as 180, '180s' or '5m'",
        "How far a signature's time may lie from now, either way.",
        "receiver",
        unset="180 s",
        flag=True,
    ),
    Setting(
        "redact",
        _places,
        "type:place pairs, comma separated, as 'invoice.*:card.number, user.created:token'; or none",
        "What is cut out of bodies before they are kept, besides known one-time codes and tokens; none cuts nothing.",
        "receiver",
        unset="known one-time codes and tokens alone",
    ),
    Setting(
        "inbox_retention",
        _retention,
        _RETENTION,
        "How long the inbox keeps bodies whole; so long they can be replayed.",
        "receiver",
        unset="30 days",
    ),
    Setting(
        "inbox_redacted_retention",
        _retention,
        _RETENTION,
        "How long it keeps bodies without people, and changes of the mirror can be looked up.",
        "receiver",
        unset="90 days",
    ),
    Setting(
        "inbox_id_retention",
        _retention,
        _RETENTION,
        "How long it knows ids, so that nothing is taken twice; at least 100d.",
        "receiver",
        unset="400 days",
    ),
    Setting(
        "workos_api_key",
        _token(r"[A-Za-z0-9_.\-]{16,200}"),
        _API_KEY,
        "Key for the source's API: to read its feed of events, and to compare the mirror with what it lists.",
        "receiver",
        secret=True,
        unset="the source is not asked",
    ),
    Setting(
        "workos_base_url",
        _server_url,
        "the root of an API, as https://api.example.com",
        "Where the source's API is; plain http on this machine, or with allow_private_targets.",
        "receiver",
        unset="https://api.workos.com",
        flag=True,
    ),
    Setting(
        "tail",
        _one_of("off", "on", "only"),
        "one of off, on, only",
        "Read the source's feed of events: on, beside its webhooks; only, instead of them, without a door.",
        "receiver",
        unset="off",
        flag=True,
    ),
    Setting(
        "tail_types",
        _list(_token(r"[!-~]+")),
        "names of event types, comma separated",
        "The types to ask the feed for.",
        "receiver",
        unset="what the mirror needs and handlers hear of",
    ),
    Setting(
        "reconcile_every",
        _period,
        "a duration from 1m to 365d, as '6h'",
        "How often the mirror is compared with all that the source lists, and put right.",
        "receiver",
        unset="never",
        flag=True,
    ),
    Setting(
        "app",
        _token(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*"),
        "module:attribute, as myapp.hooks:hooks",
        "The Receiver whose handlers run.",
        "receiver",
        unset="no handlers: inbox and mirror alone",
        flag=True,
    ),
    Setting(
        "dashboard",
        _truth,
        "true or false",
        "Serve the dashboard at /dashboard.",
        "server",
        default="true",
    ),
    Setting(
        "dashboard_session",
        _session,
        "a duration from 5m to 90d, as '12h'",
        "How long somebody stays signed in at most; unused for a day a session ends earlier.",
        "server",
        unset="7 days",
    ),
    Setting(
        "dashboard_redact",
        _json_paths,
        "JSON paths, comma separated, as '$..email, $.data.name'; or none",
        "What pages do not show of payloads and mirrored rows until an admin presses for it.",
        "server",
        unset="e-mail addresses, names and what else says who somebody is",
    ),
    Setting(
        "dashboard_public_url",
        _server_url,
        "the root of a server, as https://hooks.example.com",
        "Where people reach it: for the links that are printed, and where a provider sends them back to.",
        "server",
        unset="where it listens",
    ),
    Setting(
        "oidc_issuer",
        _server_url,
        "the issuer's URL, as https://login.example.com",
        "A provider of OpenID Connect to sign in with; needs the extra oidc, dashboard_public_url and oidc_roles.",
        "server",
        unset="passwords alone",
    ),
    Setting(
        "oidc_client_id",
        _token(r"[!-~]{1,500}"),
        "the client's id at the provider",
        "What the provider knows this dashboard as.",
        "server",
        unset="none",
    ),
    Setting(
        "oidc_client_secret",
        _token(r"[!-~]{1,1000}"),
        "the client's secret at the provider",
        "What the dashboard proves itself with at the provider.",
        "server",
        secret=True,
        unset="a public client: PKCE alone",
    ),
    Setting(
        "oidc_roles",
        _list(_role_rule),
        "claim:value=role, comma separated, as 'groups:hookline-admins=admin, *=viewer'",
        "Who becomes what by the provider's claims, the highest counts; who nothing is said of is refused.",
        "server",
        unset="none",
    ),
    Setting(
        "oidc_name",
        _token(r"[ -~]{1,60}"),
        "up to 60 characters",
        "What the button calls the provider.",
        "server",
        unset="the issuer's host",
    ),
    Setting(
        "url",
        _server_url,
        "the root of a server, as https://hooks.example.com",
        "The server that commands ask, with its API key; not used by serve.",
        "command",
        unset="commands use the database",
    ),
)

SETTINGS: Mapping[str, Setting] = {setting.name: setting for setting in _TABLE}

_ITS_OWN = (
    Setting(
        "scheme",
        _one_of("workos", "standard_webhooks"),
        "one of workos, standard_webhooks",
        "How its webhooks are signed; secrets of standard_webhooks are whsec_ and base 64.",
        "receiver",
        unset="`workos`",
    ),
    Setting(
        "path",
        _token(r"(/[A-Za-z0-9._~\-]+)+"),
        "a path, as /webhooks/acme",
        "Where its webhooks come.",
        "receiver",
        unset="`/webhooks/NAME`; `/webhooks` for the name `default`",
    ),
)
# What is everybody's unless a source says otherwise.
_COMMON = (
    "allowed_ips",
    "allowed_ips_url",
    "max_body",
    "webhook_tolerance",
    "redact",
    "inbox_retention",
    "inbox_redacted_retention",
    "inbox_id_retention",
    "workos_base_url",
    "tail",
    "tail_types",
    "reconcile_every",
)
_SECRETS_OF_ONE = ("webhook_secrets", "path_token", "workos_api_key")

SOURCE_SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        *_ITS_OWN,
        SETTINGS["webhook_secrets"],
        replace(SETTINGS["path_token"], about="Its door is then at its path and, below it, this."),
        SETTINGS["workos_api_key"],
        *(SETTINGS[name] for name in _COMMON),
    )
}
"""What each source of `[sources.NAME]` may say for itself."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, resolved and checked; and by the names of sources what each says for itself."""

    resolved: Mapping[str, Resolved]
    sources: Mapping[str, Mapping[str, Resolved]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.resolved[name].value

    def sender(self) -> SenderConfig:
        """The sender's."""
        return SenderConfig(
            database_url=self["sender_database_url"] or self["database_url"],
            api_key=self["api_key"],
            staging_api_key=self["staging_api_key"],
            encryption_keys=self["encryption_key"],
            allow_private_targets=self["allow_private_targets"],
            allowed_targets=self["allowed_targets"],
            schedule=self["retry_schedule"],
            staging_schedule=self["staging_retry_schedule"],
            targets_ca=self["targets_ca"],
            egress_ips=self["egress_ips"],
            egress_proxy_url=self["egress_proxy_url"],
            api_rate_limit=self["api_rate_limit"],
            directory_user_groups=self["directory_user_groups"],
            directory_users_per_s=self["directory_users_per_s"],
            disable_after_s=self["disable_after"],
            retention_s=self["retention"],
            staging_retention_s=self["staging_retention"],
        )

    def receiver(self) -> ReceiverConfig:
        """The door's and the worker's.

        Raises: ConfigError where there are sources, and a secret or a path that would be of one.
        """
        if self.sources:
            for name in _SECRETS_OF_ONE:
                if self[name] is not None:
                    raise ConfigError(
                        self.resolved[name].origin, f"is of one source, and there are several: give each its own {name}"
                    )
        return ReceiverConfig(
            database_url=self["receiver_database_url"] or self["database_url"],
            alone=_source(self.resolved, over_http=self["allow_private_targets"]),
            sources={
                name: _source(
                    {**{common: self.resolved[common] for common in _COMMON}, **own},
                    over_http=self["allow_private_targets"],
                )
                for name, own in self.sources.items()
            },
            trusted_proxies=self["trusted_proxies"],
            app=self["app"],
        )

    def serve(self) -> ServeConfig:
        """Those of the whole process."""
        return ServeConfig(
            host=self["host"],
            port=self["port"],
            tls_cert=self["tls_cert"],
            tls_key=self["tls_key"],
            log_level=self["log_level"],
            log_format=self["log_format"],
            metrics_listen=self["metrics_listen"],
            metrics_token=self["metrics_token"],
            drain_delay_s=self["drain_delay"],
            sender=self.sender(),
            receiver=self.receiver(),
            dashboard=self.dashboard(),
        )

    def dashboard(self) -> DashboardConfig:
        """The dashboard's."""
        issuer = self["oidc_issuer"]
        return DashboardConfig(
            is_on=self["dashboard"],
            session_s=self["dashboard_session"],
            redact=self["dashboard_redact"],
            public_url=self["dashboard_public_url"],
            oidc=None
            if issuer is None
            else OidcConfig(
                issuer=issuer,
                client_id=self["oidc_client_id"],
                client_secret=self["oidc_client_secret"],
                roles=self["oidc_roles"],
                name=self["oidc_name"],
            ),
        )


def load(
    flags: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """Resolve and check every setting.

    Args:
        flags: setting name to what the flag held; None values count as not given.
        environ: the environment; the process's own by default. An empty value counts as not set.
        directory: where hookline.toml may be, and what its relative paths start from; the working directory
            by default.

    Raises:
        ConfigError: an unknown name (with the nearest valid one), a wrong value, a secret as a flag, a secret
            given twice, an unreadable file.
    """
    environ = os.environ if environ is None else environ
    directory = Path.cwd() if directory is None else directory
    flags = {name: value for name, value in (flags or {}).items() if value is not None}
    variables = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    table = _toml(directory / FILE_NAME)
    sources = _tables(table.pop("sources", {}))
    known = {*COMMAND_VARIABLES, *(known for s in _TABLE for known in _names(s, s.variable, "_FILE"))}
    for name in sources:
        known |= {known for s in SOURCE_SETTINGS.values() for known in _names(s, _variable_of(name, s), "_FILE")}
    refuse_unknown(variables, known, "variable")
    known = {known for s in _TABLE for known in _names(s, s.name, "_file")}
    refuse_unknown(table, {"sources", *known}, f"key in {FILE_NAME}")
    variables = {name: value for name, value in variables.items() if value}
    settings = Settings(
        {setting.name: _resolve(setting, flags, variables, table, directory) for setting in SETTINGS.values()},
        {name: _resolve_source(name, variables, own, directory) for name, own in sources.items()},
    )
    if (settings["tls_cert"] is None) != (settings["tls_key"] is None):
        given, missing = ("tls_cert", "tls_key") if settings["tls_cert"] else ("tls_key", "tls_cert")
        raise ConfigError(SETTINGS[missing].variable, f"is not set, and {given} is: https takes both")
    _check_oidc(settings)
    return settings


def _check_oidc(settings: Settings) -> None:
    """Signing in with a provider takes all of its settings, and its issuer is asked over https."""
    others = ("oidc_client_id", "oidc_client_secret", "oidc_roles", "oidc_name")
    if settings["oidc_issuer"] is None:
        given = next((name for name in others if settings[name] is not None), None)
        if given is not None:
            raise ConfigError(SETTINGS["oidc_issuer"].variable, f"is not set, and {given} is")
        return
    for name in ("oidc_client_id", "oidc_roles", "dashboard_public_url"):
        if settings[name] is None:
            raise ConfigError(SETTINGS[name].variable, "is not set, and oidc_issuer is: signing in with it takes both")
    check_source_url(
        settings["oidc_issuer"],
        setting=settings.resolved["oidc_issuer"].origin,
        may_use_http=settings["allow_private_targets"],
    )


def refuse_secret_flags(arguments: Sequence[str]) -> None:
    """Refuse a command line that holds a secret, before anybody reads more of it.

    Raises:
        ConfigError: naming the flag and the way that exists instead.
    """
    for argument in arguments:
        if argument == "--":
            return
        name = argument.partition("=")[0]
        if (setting := _SECRET_FLAGS.get(name)) is not None:
            raise ConfigError(
                name,
                "a secret given as a flag is seen in process lists and kept in shell histories; set "
                f"{setting.variable}, or {setting.variable}_FILE to a file that holds it",
            )
        if name == "--secret":
            raise ConfigError(
                name,
                "a secret given as a flag is seen in process lists and kept in shell histories; put it in an "
                "environment variable and name that: --secret-env VARIABLE",
            )


_SECRET_FLAGS = {setting.option: setting for setting in _TABLE if setting.secret}


def _names(setting: Setting, name: str, suffix: str) -> tuple[str, ...]:
    return (name, name + suffix) if setting.secret else (name,)


def refuse_unknown(given: Mapping[str, object], known: set[str], what: str) -> None:
    """ConfigError for a name that is not among the known ones, with the nearest of them; `what` says what it is no."""
    for name in sorted(given):
        if name not in known:
            [nearest] = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0)
            raise ConfigError(name, f"not a {what} that Hookline knows; the nearest is {nearest}")


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(FILE_NAME, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(FILE_NAME, "expected UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        # The decoder's message names a place, and at most one character of what stands there.
        raise ConfigError(FILE_NAME, f"is not TOML: {error}") from None


def _resolve(
    setting: Setting,
    flags: Mapping[str, object],
    variables: Mapping[str, str],
    table: Mapping[str, Any],
    directory: Path,
) -> Resolved:
    if setting.name in flags:
        return checked(setting, flags[setting.name], setting.option)
    in_environment = look_up(setting, variables, setting.variable, directory, suffix="_FILE")
    found = in_environment or look_up(setting, table, setting.name, directory, told=f"{{}} in {FILE_NAME}")
    if found is None and setting.default is not None:
        found = Resolved(setting, setting.read(setting.default), "default")
    return found or Resolved(setting, None, "default")


def _resolve_source(
    name: str, variables: Mapping[str, str], own: Mapping[str, Any], directory: Path
) -> dict[str, Resolved]:
    """What a source says for itself, and nothing else."""
    told = f"sources.{name}.{{}} in {FILE_NAME}"
    resolved = {
        setting.name: look_up(setting, variables, _variable_of(name, setting), directory, suffix="_FILE")
        or look_up(setting, own, setting.name, directory, told=told)
        for setting in SOURCE_SETTINGS.values()
    }
    return {key: found for key, found in resolved.items() if found is not None}


def look_up(
    setting: Setting,
    given: Mapping[str, object],
    key: str,
    directory: Path,
    *,
    suffix: str = "_file",
    told: str = "{}",
) -> Resolved | None:
    """The value of a setting that is given under `key`, or in a file named under that and `suffix`; None for neither.

    Args:
        directory: where relative paths of files start.
        told: the key as the user wrote it, `{}` for the key itself.

    Raises: ConfigError for a value that the setting does not take, for both, or for a file that cannot be read.
    """
    in_file = setting.secret and given.get(key + suffix) is not None
    if given.get(key) is None:
        if not in_file:
            return None
        origin = told.format(key + suffix)
        return checked(setting, _from_file(given[key + suffix], directory, origin), origin)
    if in_file:
        raise ConfigError(key, f"is set twice, by {key} and by {told.format(key + suffix)}; keep one")
    return checked(setting, given[key], told.format(key))


def _tables(given: object) -> Mapping[str, Mapping[str, Any]]:
    """The tables `[sources.NAME]`."""
    if not isinstance(given, dict) or not all(isinstance(own, dict) for own in given.values()):
        raise ConfigError(f"sources in {FILE_NAME}", "expected a table for each source, as [sources.acme]")
    keys = {known for s in SOURCE_SETTINGS.values() for known in _names(s, s.name, "_file")}
    variables: dict[str, str] = {}
    for name, own in given.items():
        refuse_unknown(own, keys, f"key of [sources.{name}] in {FILE_NAME}")
        other = variables.setdefault(_variable_of(name, SOURCE_SETTINGS["path"]), name)
        if other != name:
            raise ConfigError(f"sources.{name} in {FILE_NAME}", f"would have the same variables as {other}")
    return given


def _variable_of(source: str, setting: Setting) -> str:
    return f"{PREFIX}SOURCES_{re.sub('[^A-Z0-9]', '_', source.upper())}_{setting.name.upper()}"


def _source(resolved: Mapping[str, Resolved], *, over_http: bool) -> SourceConfig:
    value = {name: resolved[name].value for name in SOURCE_SETTINGS if name in resolved}
    return SourceConfig(
        webhook_secrets=value.get("webhook_secrets"),
        scheme=value.get("scheme"),
        path=value.get("path"),
        path_token=value.get("path_token"),
        allowed_ips=value.get("allowed_ips"),
        allowed_ips_url=value.get("allowed_ips_url"),
        max_body_bytes=value.get("max_body"),
        tolerance_s=value.get("webhook_tolerance"),
        redact=value.get("redact"),
        bodies_s=value.get("inbox_retention"),
        redacted_s=value.get("inbox_redacted_retention"),
        ids_s=value.get("inbox_id_retention"),
        api_key=value.get("workos_api_key"),
        api_url=value.get("workos_base_url"),
        api_over_http=over_http,
        tail=value.get("tail"),
        tail_types=value.get("tail_types"),
        reconcile_every_s=value.get("reconcile_every"),
    )


def _from_file(raw: object, directory: Path, key: str) -> str:
    if not isinstance(raw, str):
        raise ConfigError(key, f"expected the path of a file, got {type(raw).__name__}")
    try:
        return (directory / raw).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(key, f"cannot read {raw}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(key, f"expected UTF-8 text in {raw}") from None


def checked(setting: Setting, raw: object, origin: str) -> Resolved:
    """A value as its setting takes it. ConfigError under the name `origin` where it does not."""
    try:
        return Resolved(setting, setting.read(raw), origin)
    except ConfigError as error:
        # From a rule that says more exactly what is wrong; the name it gives is not the one the user wrote.
        raise ConfigError(origin, str(error)) from None
    except ValueError:
        came = "something else" if setting.secret else _shown(without_password(raw) if isinstance(raw, str) else raw)
        raise ConfigError(origin, f"expected {setting.expected}; got {came}") from None


def _shown(raw: object) -> str:
    text = repr(raw)
    return text if len(text) <= 80 else text[:77] + "…"


def without_password(text: str) -> str:
    """A text for people: what stands where a URL has its password is masked."""
    text = re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)
    return re.sub(r"([?&](?:ssl)?password=)[^&\s]*", r"\1***", text)

"""`Source`: what is particular to one source of webhooks, where a receiver has several."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from hookline.errors import ConfigError
from hookline.receiver.receive import MAX_BODY, Door, place_of
from hookline.receiver.retention import Retention
from hookline.receiver.source import WORKOS_URL
from hookline.rules.address import WORKOS_ADDRESSES, Network, check_source_url, parse_networks
from hookline.rules.redaction import SECRETS, Secrets
from hookline.wire.schemes import Scheme
from hookline.wire.signature import TOLERANCE_S
from hookline.wire.standard import key_of

if TYPE_CHECKING:
    from collections import Counter

    from hookline.loop import Clock
    from hookline.receiver.source_http import Exchange, HttpSource

TailMode: TypeAlias = Literal["off", "on", "only"]
TAIL_MODES: Final = get_args(TailMode)
# A pass is thousands of requests.
MIN_RECONCILE_S: Final = 60

SCHEMES: Final = get_args(Scheme)
DEFAULT: Final = "default"
DEFAULT_PATH: Final = "/webhooks"
# It is part of paths, keys and settings, and is printed in logs and tables.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")


@dataclass(frozen=True, slots=True)
class Source:
    """One source: its secrets, its path, and the rules that its webhooks are received and kept by.

        hooks = Receiver("sqlite:///app.db", sources=[
            Source("production", secrets=[…]),
            Source("staging", secrets=[…], allowed_ips=["10.0.0.0/8"]),
        ])

    Attributes:
        name: what everything of it is kept under: letters, digits and . _ -, at most 64.
        secrets: every signing secret in force. None at all: its POSTs are answered 503, nothing is accepted unproved.
        scheme: how it signs: `workos` (the `WorkOS-Signature` header), or `standard_webhooks` (three headers; secrets
            are then `whsec_` and base 64, and an event is kept under the id in its header).
        path: where its door is, relative to the mount; without one `/webhooks/<name>`, for `default` `/webhooks`.
        path_token: a further, unguessable part of the path.
        allowed_ips: addresses or networks that may call, as a list or with commas between; `workos` stands for the
            published ones. Without any, and without `allowed_ips_url`, everybody may.
        allowed_ips_url: where the source publishes its addresses (`rules.address.egress_document`), besides those of
            `allowed_ips`: read in the background, every hour. Until it was read once, nobody on it may call.
        tolerance_s: how far a signature's time may lie from now, either way; None for no limit.
        max_body: bytes.
        redact: pattern of types to places in `data` (`{"invoice.*": ["card.number"]}`) that are cut out before a body
            is kept, besides the one-time codes and tokens that are known (`hookline.rules.redaction.SECRETS`); None
            cuts nothing. Neither the inbox nor a handler ever sees what is cut.
        retention: how long what of an entry is kept; None keeps everything for ever.
        api_key: for the source's API, to read what webhooks may have missed; without one it is never asked.
        api_url: where that API is, WorkOS' own unless said otherwise: https, or http on this machine.
        tail: whether the source's feed of events is read beside its webhooks (`on`), or instead of them (`only`: it
            then has no door). `off`: it is not read.
        tail_types: the types to ask the feed for; None for all that the mirror needs or a handler hears of.
        reconcile_every_s: how often all that the source lists is compared with the mirror, and the mirror put right;
            None for never.
        api_over_http: whether `api_url` may be plain http on another machine: for development alone.
        exchange: what makes the API's requests (`source_http.Exchange`), for tests; None for HTTP.

    Raises: ConfigError naming the argument.
    """

    name: str = DEFAULT
    secrets: Sequence[str] = field(default=(), repr=False)
    _: KW_ONLY
    scheme: Scheme = "workos"
    path: str | None = None
    path_token: str | None = field(default=None, repr=False)
    allowed_ips: str | Sequence[str] = ()
    allowed_ips_url: str | None = None
    tolerance_s: float | None = TOLERANCE_S
    max_body: int = MAX_BODY
    redact: Mapping[str, Sequence[str]] | None = field(default_factory=dict)
    retention: Retention | None = field(default_factory=Retention)
    api_key: str | None = field(default=None, repr=False)
    api_url: str = WORKOS_URL
    tail: TailMode = "off"
    tail_types: Sequence[str] | None = None
    reconcile_every_s: float | None = None
    api_over_http: bool = False
    exchange: Exchange | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigError("source", f"expected a name of letters, digits and . _ - (at most 64), got {self.name!r}")
        if self.path is None:
            default = DEFAULT_PATH if self.name == DEFAULT else f"{DEFAULT_PATH}/{self.name}"
            object.__setattr__(self, "path", default)
        _check_secrets(self.secrets)
        if self.scheme not in SCHEMES:
            raise ConfigError("scheme", f"expected one of {', '.join(SCHEMES)}, got {self.scheme!r}")
        if self.scheme == "standard_webhooks":
            for secret in self.secrets:
                key_of(secret)
        if self.path_token is not None and not _TOKEN.fullmatch(self.path_token):
            raise ConfigError("path_token", "expected letters, digits and . _ ~ - alone")
        if self.path and (not self.path.startswith("/") or self.path.endswith("/")):
            raise ConfigError("path", f"expected a path as in /webhooks, or nothing, got {self.path!r}")
        if self.tolerance_s is not None and not 0 <= self.tolerance_s < float("inf"):
            raise ConfigError(
                "tolerance_s", f"expected seconds, 0 or more, or None for no limit; got {self.tolerance_s}"
            )
        if not self.max_body > 0:
            raise ConfigError("max_body", f"expected more than 0, got {self.max_body}")
        _allowed(self.allowed_ips)
        if self.allowed_ips_url is not None:
            check_source_url(self.allowed_ips_url, setting="allowed_ips_url")
        _secret_places(self.redact)
        self._check_api()

    @property
    def place(self) -> str:
        """The whole path of its door, with the token, which is a secret."""
        assert self.path is not None
        return place_of(self.path, self.path_token)

    def door(
        self, trusted_proxies: Sequence[Network], published: Callable[[], Sequence[Network] | None] | None = None
    ) -> Door:
        """Its door, behind these proxies, with what gives the networks of its published list."""
        assert self.path is not None
        return Door(
            self.secrets,
            scheme=self.scheme,
            source=self.name,
            tolerance_s=self.tolerance_s,
            path=self.path,
            path_token=self.path_token,
            allowed=_allowed(self.allowed_ips),
            published=published,
            trusted_proxies=trusted_proxies,
            max_body=self.max_body,
            redact=self.secret_places,
        )

    def api(self, clock: Clock, outcomes: Counter[str] | None = None) -> HttpSource | None:
        """Its API, by this clock, its answers counted there; None where there is no key to ask it with."""
        if self.api_key is None:
            return None
        from hookline.receiver.source_http import HttpSource  # a receiver that only hears does without

        return HttpSource(
            self.api_url,
            self.api_key,
            clock=clock,
            exchange=self.exchange,
            may_use_http=self.api_over_http,
            outcomes=outcomes,
        )

    @property
    def secret_places(self) -> Secrets | None:
        """Where secrets are that are cut out of what is kept; None where nothing is."""
        return _secret_places(self.redact)

    @property
    def has_door(self) -> bool:
        """Whether its webhooks are taken."""
        return self.tail != "only"

    @property
    def has_workos(self) -> bool:
        """Whether the addresses that came with this release may call, named as `workos` or one by one."""
        return set(WORKOS_ADDRESSES.networks) <= set(_allowed(self.allowed_ips))

    def _check_api(self) -> None:
        if self.tail not in TAIL_MODES:
            raise ConfigError("tail", f"expected one of {', '.join(TAIL_MODES)}, got {self.tail!r}")
        if self.reconcile_every_s is not None and not MIN_RECONCILE_S <= self.reconcile_every_s < float("inf"):
            raise ConfigError(
                "reconcile_every_s",
                f"expected at least {MIN_RECONCILE_S} seconds, or None for never; got {self.reconcile_every_s}",
            )
        types = self.tail_types
        if types is not None and (
            isinstance(types, str) or not types or not all(isinstance(one, str) and one.strip() for one in types)
        ):
            raise ConfigError("tail_types", "expected a list of the names of event types, or None")
        for one in types or ():
            if "*" in one or "," in one:
                raise ConfigError("tail_types", f"expected exact names, got {one!r}: the feed takes no patterns")
        if self.api_key is None:
            needing = {"tail": self.tail != "off", "reconcile_every_s": self.reconcile_every_s is not None}
            for setting in (name for name, is_set in needing.items() if is_set):
                raise ConfigError(setting, "expected api_key with it (HOOKLINE_WORKOS_API_KEY), to ask with")
            return
        from hookline.receiver.source_http import check_api  # as above

        check_api(self.api_url, self.api_key, may_use_http=self.api_over_http)


def _check_secrets(secrets: Sequence[str]) -> None:
    if isinstance(secrets, str | bytes):
        raise ConfigError("secrets", "expected a list of secrets, got one string: write secrets=[…]")
    for secret in secrets:
        if not isinstance(secret, str) or not secret.strip():
            raise ConfigError("secrets", "expected every secret as text that is not empty")


def _secret_places(besides: Mapping[str, Sequence[str]] | None) -> Secrets | None:
    if besides is None:
        return None
    try:
        known = {pattern: [*places, *besides.get(pattern, ())] for pattern, places in SECRETS.items()}
        return Secrets({**besides, **known})
    except (TypeError, ValueError) as error:
        raise ConfigError("redact", str(error)) from None


def _allowed(texts: str | Sequence[str]) -> tuple[Network, ...]:
    entries = [entry.strip() for entry in (texts.split(",") if isinstance(texts, str) else texts)]
    networks = parse_networks([entry for entry in entries if entry != WORKOS_ADDRESSES.provider], setting="allowed_ips")
    return networks + (WORKOS_ADDRESSES.networks if WORKOS_ADDRESSES.provider in entries else ())

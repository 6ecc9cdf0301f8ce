"""`Source`: what is particular to one source of webhooks, where a receiver has several."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, get_args

from hookline.errors import ConfigError
from hookline.receiver.receive import MAX_BODY, Door
from hookline.receiver.retention import Retention
from hookline.rules.address import WORKOS_ADDRESSES, Network, check_source_url, parse_networks
from hookline.rules.redaction import SECRETS, Secrets
from hookline.wire.schemes import Scheme
from hookline.wire.signature import TOLERANCE_S
from hookline.wire.standard import key_of

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
            redact=_secret_places(self.redact),
        )

    @property
    def has_workos(self) -> bool:
        """Whether the addresses that came with this release may call, named as `workos` or one by one."""
        return set(WORKOS_ADDRESSES.networks) <= set(_allowed(self.allowed_ips))


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

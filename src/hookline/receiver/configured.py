"""Settings as the arguments of a `Receiver`: those of the environment, of a command, or of an app's framework."""

from __future__ import annotations

from typing import Any, Final

from hookline.config import SETTINGS, ReceiverConfig, SourceConfig
from hookline.errors import ConfigError
from hookline.receiver.retention import Retention
from hookline.receiver.sources import Source

_RETENTIONS: Final = ("inbox_retention", "inbox_redacted_retention", "inbox_id_retention")


def options_of(config: ReceiverConfig) -> dict[str, Any]:
    """What is set, as keyword arguments of `Receiver`, the database left out.

    Raises:
        ConfigError: a source of that name cannot be, or ages do not fit each other.
    """
    proxies = config.trusted_proxies
    options: dict[str, Any] = {} if proxies is None else {"trusted_proxies": [str(network) for network in proxies]}
    if not config.sources:
        return {**options, **_rules(config.alone)}
    return {**options, "sources": [_source(name, rules) for name, rules in config.sources.items()]}


def _source(name: str, rules: SourceConfig) -> Source:
    try:
        return Source(name, **_rules(rules))
    except ConfigError as error:
        raise ConfigError(f"sources.{name}", str(error)) from None


def _rules(config: SourceConfig) -> dict[str, Any]:
    """The arguments that are the rules of one source."""
    options = {
        "secrets": config.webhook_secrets,
        "scheme": config.scheme,
        "path": config.path,
        "path_token": config.path_token,
        "max_body": config.max_body_bytes,
        "tolerance_s": config.tolerance_s,
        "allowed_ips_url": config.allowed_ips_url,
        "api_key": config.api_key,
        "api_url": config.api_url,
        "api_over_http": config.api_over_http,
        "tail": config.tail,
        "tail_types": config.tail_types,
        "reconcile_every_s": config.reconcile_every_s,
        "allowed_ips": config.allowed_ips and [str(network) for network in config.allowed_ips],
    }
    return {**_kept_by(config), **{name: value for name, value in options.items() if value is not None}}


def _kept_by(config: SourceConfig) -> dict[str, Any]:
    """The arguments that say what is kept, and for how long."""
    names = ("bodies_s", "redacted_s", "ids_s")
    ages_s = {name: age_s for name in names if (age_s := getattr(config, name)) is not None}
    try:
        kept: dict[str, Any] = {"retention": Retention(**ages_s)}
    except ConfigError:
        settings = ", ".join(SETTINGS[name].variable for name in _RETENTIONS)
        raise ConfigError(settings, "expected each as long as the one before it or longer, the last 100d") from None
    if config.redact is not None:
        places: dict[str, list[str]] = {}
        for pattern, place in config.redact:
            places.setdefault(pattern, []).append(place)
        kept["redact"] = places or None
    return kept

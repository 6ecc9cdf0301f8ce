"""The sender that a process of ours runs or looks into, from its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hookline.rules.health import HealthPolicy
from hookline.rules.schedule import Schedule

if TYPE_CHECKING:
    from hookline.config import SenderConfig
    from hookline.sender.app import SenderApp
    from hookline.sender.model import Environment
    from hookline.storage import Database


def sender_of(config: SenderConfig, database: Database, *, makes_keys: bool = True) -> SenderApp:
    """The sender of these settings on an open database.

    Args:
        makes_keys: whether an environment without an API key gets one; whoever says so tells it.
    """
    # Not at the top: a process that only receives does without FastAPI and its memory.
    from hookline.sender.app import SenderApp

    keys: dict[Environment, str | None] = {"production": config.api_key, "staging": config.staging_api_key}
    schedules: dict[Environment, Schedule | None] = {
        "production": config.schedule,
        "staging": config.staging_schedule,
    }
    kept = {"production": config.retention_s, "staging": config.staging_retention_s}
    return SenderApp(
        database,
        api_keys={environment: key for environment, key in keys.items() if key is not None},
        encryption_keys=config.encryption_keys,
        allow_private_targets=config.allow_private_targets,
        allowed_targets=config.allowed_targets or (),
        schedules={environment: schedule for environment, schedule in schedules.items() if schedule is not None},
        targets_ca=config.targets_ca,
        egress=config.egress_ips,
        egress_proxy_url=config.egress_proxy_url,
        api_calls_per_s=config.api_rate_limit,
        user_groups=config.directory_user_groups,
        users_per_s=config.directory_users_per_s,
        health=None if config.disable_after_s is None else HealthPolicy(config.disable_after_s),
        kept_s={environment: kept_s for environment, kept_s in kept.items() if kept_s is not None},
        makes_keys=makes_keys,
    )

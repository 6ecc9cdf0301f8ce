"""A framework's settings as those of a `Receiver`: the names of the `HOOKLINE_…` variables, without the prefix."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from hookline.config import SETTINGS, Settings, checked, load, refuse_unknown
from hookline.receiver.configured import options_of

# What is about the server that `hookline serve` runs, or about whose database it is, is the framework's.
TAKEN: Final = {
    setting.name.upper(): setting
    for setting in SETTINGS.values()
    if setting.part == "receiver" and setting.name not in {"receiver_database_url", "app"}
}


def receiver_options(given: Mapping[str, Any], *, name: str, own: Collection[str] = ()) -> dict[str, Any]:
    """Keyword arguments of `Receiver`, without its database.

    What is None or missing is taken from the environment (`HOOKLINE_…`) and from `hookline.toml`.

    Args:
        given: the keys of `TAKEN`; each takes what its variable takes, lists also as lists.
        name: what the user calls this dict.
        own: further keys, which the adapter reads by itself.

    Raises:
        ConfigError: an unknown key (with the nearest one), or a value that its setting does not take.
    """
    refuse_unknown(given, {*TAKEN, *own}, f"key of {name}")
    resolved = dict(load().resolved)
    for key, setting in TAKEN.items():
        if given.get(key) is not None:
            value = given[key]
            raw = list(value) if isinstance(value, tuple | set | frozenset) else value
            resolved[setting.name] = checked(setting, raw, f'{name}["{key}"]')
    return options_of(Settings(resolved).receiver())

"""The dashboard of a process as its settings make it: whether there is one, where its links lead, what is warned of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hookline.cli.serve import _Plan, _plan, _WhenAsked
from hookline.config import load
from hookline.dashboard.app import Dashboard

Planned = Callable[..., _Plan]


@pytest.fixture
def planned(tmp_path: Path) -> Iterator[Planned]:
    """The plan of `serve receiver --no-worker` with these settings."""
    with ExitStack() as ends:

        def plan(**variables: str) -> _Plan:
            given = {"DATABASE_URL": f"sqlite:///{tmp_path / 'hookline.db'}", **variables}
            settings = load(environ={f"HOOKLINE_{name}": value for name, value in given.items()}, directory=tmp_path)
            return _plan("receiver", settings, ends, has_worker=False)

        yield plan


def dashboard_of(plan: _Plan) -> Dashboard:
    found: Any = plan.dashboard
    assert isinstance(found, _WhenAsked)
    return found.load()


def test_it_can_be_left_out(planned: Planned) -> None:
    plan = planned(DASHBOARD="off")
    assert plan.dashboard is None
    assert "dashboard" not in plan.facts


def test_settings_reach_it(planned: Planned) -> None:
    plan = planned(
        DASHBOARD_SESSION="1h",
        DASHBOARD_REDACT="$..phone",
        DASHBOARD_PUBLIC_URL="https://hooks.example.com",
        TRUSTED_PROXIES="10.0.0.0/8",
        OIDC_ISSUER="https://login.example.com",
        OIDC_CLIENT_ID="hookline",
        OIDC_ROLES="*=viewer",
        OIDC_NAME="Example",
    )
    parts = dashboard_of(plan).parts
    assert getattr(parts.accounts, "session_s", None) == 3_600
    assert parts.places.paths == ("$..phone",)
    assert [str(one) for one in parts.trusted_proxies] == ["10.0.0.0/8"]
    assert parts.extra["oidc"].name == "Example"
    assert plan.facts["dashboard"]["public_url"] == "https://hooks.example.com"
    assert plan.facts["dashboard"]["first_sign_in"].startswith("/dashboard/first?token=")


def test_nothing_is_redacted_where_that_is_said(planned: Planned) -> None:
    assert dashboard_of(planned(DASHBOARD_REDACT="none")).parts.places.paths == ()
    assert "$..email" in dashboard_of(planned()).parts.places.paths


@pytest.mark.parametrize(
    ("variables", "is_warned"),
    [
        ({}, False),
        ({"HOST": "::1"}, False),
        ({"HOST": "localhost"}, False),
        ({"HOST": "0.0.0.0"}, True),
        ({"HOST": "hooks.example.com"}, True),
        ({"HOST": "0.0.0.0", "DASHBOARD_PUBLIC_URL": "http://hooks.example.com"}, True),
        ({"HOST": "0.0.0.0", "DASHBOARD_PUBLIC_URL": "https://hooks.example.com"}, False),
        ({"HOST": "0.0.0.0", "DASHBOARD": "false"}, False),
    ],
)
def test_plain_http_beyond_this_machine_is_warned_of(
    planned: Planned, variables: dict[str, str], is_warned: bool
) -> None:
    warned = [one for one in planned(**variables).warnings if "plain http" in one]
    assert len(warned) == is_warned

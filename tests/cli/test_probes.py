"""`/healthz`, `/readyz` and `/metrics` of a process, and who may read the metrics."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from hookline.cli.probes import Probes
from hookline.cli.server import AsgiApp
from hookline.metrics import BuildInfo

TOKEN = "scrape-0123456789abcdef"


def ask(
    app: AsgiApp,
    path: str = "/metrics",
    *,
    method: str = "GET",
    client: str | None = "127.0.0.1",
    **headers: str,
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of one request; header names with underscores for dashes."""
    messages: list[Any] = []

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "client": None if client is None else (client, 1),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]  # an awaitable of ours is a coroutine
    return messages[0]["status"], dict(messages[0]["headers"]), messages[1]["body"]


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(BuildInfo())
    return registry


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("192.0.2.1", {}, 401),
        (None, {}, 401),
        ("127.0.0.1", {"x_forwarded_for": "192.0.2.1"}, 401),
        ("127.0.0.1", {"forwarded": "for=192.0.2.1"}, 401),
        ("192.0.2.1", {"authorization": f"Bearer {TOKEN}"}, 401),
    ],
)
def test_without_a_token_metrics_are_for_this_machine(
    registry: CollectorRegistry, client: str | None, headers: dict[str, str], status: int
) -> None:
    """Loopback may read, unless it forwards somebody; everybody else is told how it could be."""
    answer = ask(Probes(problems=list, registry=registry), client=client, **headers)

    assert answer[0] == status
    assert (b"HOOKLINE_METRICS_TOKEN" in answer[2]) == (status == 401)


@pytest.mark.parametrize(
    ("authorization", "status"),
    [(f"Bearer {TOKEN}", 200), (f"bearer  {TOKEN}", 200), (f"Basic {TOKEN}", 401), ("Bearer wrong", 401), ("", 401)],
)
@pytest.mark.parametrize("is_alone", [False, True])
def test_with_a_token_metrics_are_for_who_has_it(
    registry: CollectorRegistry, authorization: str, status: int, is_alone: bool
) -> None:
    """A token is asked of everybody, on every port."""
    probes = Probes(problems=list, registry=registry, token=TOKEN)

    assert ask(probes.alone() if is_alone else probes, authorization=authorization)[0] == status


def test_a_port_of_their_own_is_open(registry: CollectorRegistry) -> None:
    """Who reaches the port of the probes may read; and finds nothing else there."""
    alone = Probes(problems=list, registry=registry).alone()

    assert [ask(alone, path, client="192.0.2.1")[0] for path in ("/metrics", "/healthz", "/readyz", "/api/v1")] == [
        200,
        200,
        200,
        404,
    ]


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0", ""])
def test_the_text_is_prometheus_own(registry: CollectorRegistry, accept: str) -> None:
    """Prometheus's parser reads it; OpenMetrics where that is asked for."""
    status, headers, body = ask(Probes(problems=list, registry=registry), accept=accept)

    families = {family.name for family in text_string_to_metric_families(body.decode())}
    assert (status, families) == (200, {"hookline_build_info"})
    assert headers[b"content-type"].startswith(b"application/openmetrics-text" if "open" in accept else b"text/plain")


@pytest.mark.parametrize(("method", "status"), [("POST", 405), ("HEAD", 200)])
def test_the_probes_are_read(registry: CollectorRegistry, method: str, status: int) -> None:
    """Nothing but GET and HEAD, and HEAD has no body."""
    answer = ask(Probes(problems=list, registry=registry), method=method)

    assert answer[0] == status
    assert method != "HEAD" or answer[2] == b""

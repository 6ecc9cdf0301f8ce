"""Where the spans of a process of ours go: to an OTLP collector, by OpenTelemetry's own environment variables.

An app that Hookline runs in configures a provider of its own, which Hookline finds (tracing.py).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Final

from hookline.errors import ConfigError

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def export_traces(environ: Mapping[str, str]) -> Callable[[], None] | None:
    """Trace this process if its environment says where to; what ends it and sends what is left, or None.

    The endpoint, its headers, the sampler, the service's name and whatever else the variables say is read by
    OpenTelemetry's SDK. Without an endpoint, or without the extra `otel`, nothing happens.

    Raises:
        ConfigError: the variables ask for another protocol than OTLP over HTTP.
    """
    is_off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if is_off or exporter == "none" or not any(environ.get(name) for name in _ENDPOINTS) or not _is_installed():
        return None
    if exporter != "otlp":
        raise ConfigError("OTEL_TRACES_EXPORTER", f"expected otlp or none, got {exporter[:80]!r}")
    for name in _PROTOCOLS:
        if protocol := environ.get(name):
            if protocol != "http/protobuf":
                raise ConfigError(name, f"expected http/protobuf, got {protocol[:80]!r}")
            break
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    is_named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if is_named else {"service.name": "hookline"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False

"""Spans for OpenTelemetry where the process traces, nothing where it does not.

The one place that knows OpenTelemetry, and only its API: who configures a provider (`hookline serve` from the standard
variables, or the app that Hookline runs in) decides where spans go. Without a provider every question here costs a look
at a clock, and without the package nothing is imported. What a span says is decided where the work is; never a payload,
a secret, a path or an exception's message. Numbers are left to /metrics (docs/decisions/0097).
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from hookline.errors import RequestError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span as ApiSpan
    from opentelemetry.trace import SpanContext, Tracer, TracerProvider

# Semantic conventions for messaging: which system the messages are of.
SYSTEM: Final = {"messaging.system": "hookline"}
# A provider that is configured later is noticed after so long at most.
LOOK_S: Final = 1.0

Kind: TypeAlias = Literal["server", "client", "producer", "consumer"]
Attributes: TypeAlias = Mapping[str, str | int | bool | None]

_tracer: Tracer | None = None
_look_at_s = 0.0


def is_on() -> bool:
    """Whether spans are kept: for whoever would have to ask the database for what to say in one."""
    return _found() is not None


def use(provider: TracerProvider | None) -> None:
    """Trace with this provider, whichever the process has; None looks for the process's own again."""
    global _tracer, _look_at_s
    _look_at_s = 0.0
    _tracer = None if provider is None else _tracer_of(provider)


def start(
    name: str,
    kind: Kind,
    attributes: Attributes,
    *,
    parent: str | None,
    links: Iterable[str] = (),
    start_ns: int | None = None,
) -> Span | None:
    """Begin a span; None where nobody traces.

    Args:
        attributes: those that are None are left out.
        parent: a valid traceparent; None begins a trace, whatever span is current where this is called.
        links: valid traceparents of what else led here.
        start_ns: when it began, in ns since 1970; now by default.
    """
    tracer = _found()
    if tracer is None:
        return None
    from opentelemetry import trace

    span = tracer.start_span(
        name,
        context=_context(parent),
        kind=trace.SpanKind[kind.upper()],
        attributes=_given(attributes),
        links=[trace.Link(_span_context(text)) for text in links],
        start_time=start_ns,
    )
    return Span(span)


def current() -> str | None:
    """The traceparent of the span that the caller is in, of whoever's making; None outside of any, or untraced."""
    if _found() is None:
        return None
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    return _text(context) if context.is_valid else None


class Span:
    """One piece of work under way.

    Attributes:
        traceparent: names it to what it leads to, here and elsewhere.
    """

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: ApiSpan) -> None:
        self._span = span
        self.traceparent = _text(span.get_span_context())

    def note(self, attributes: Attributes) -> None:
        """Say what is known by now; those that are None are left out."""
        if self._span.is_recording():
            self._span.set_attributes(_given(attributes))

    def end(self, *, error: str | None = None, end_ns: int | None = None) -> None:
        """It is over; `error` is a word for what kept it from succeeding, or a class, never a message.

        `end_ns` is when, in ns since 1970; now by default.
        """
        if error is not None and self._span.is_recording():
            from opentelemetry.trace import StatusCode

            self._span.set_attribute("error.type", error)
            self._span.set_status(StatusCode.ERROR)
        self._span.end(end_ns)


@contextlib.contextmanager
def within(span: Span | None) -> Iterator[None]:
    """Be in a span, so that spans of whatever is called belong under it, and end it; an exception is its error."""
    if span is None:
        yield
        return
    from opentelemetry import trace

    try:
        with trace.use_span(span._span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
            yield
    except BaseException as error:
        code = error.code if isinstance(error, RequestError) else None
        span.end(error=code or type(error).__qualname__)
        raise
    span.end()


def _found() -> Tracer | None:
    """The tracer, where a provider is configured."""
    global _tracer, _look_at_s
    if _tracer is not None:
        return _tracer
    now_s = time.monotonic()
    if now_s < _look_at_s:
        return None
    _look_at_s = now_s + LOOK_S
    # Whoever configured a provider has imported it; asking it costs more than an attempt may.
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    provider = trace.get_tracer_provider()
    if not isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
        _tracer = _tracer_of(provider)
    return _tracer


def _given(attributes: Attributes) -> dict[str, str | int | bool]:
    return {key: value for key, value in attributes.items() if value is not None}


def _tracer_of(provider: TracerProvider) -> Tracer:
    from hookline import __version__

    return provider.get_tracer("hookline", __version__)


def _context(parent: str | None) -> Context:
    from opentelemetry import trace
    from opentelemetry.context import Context

    if parent is None:
        return Context()
    return trace.set_span_in_context(trace.NonRecordingSpan(_span_context(parent)), Context())


def _span_context(traceparent: str) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


def _text(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 0xFF:02x}"

"""Spans, and the W3C trace context by which a story is found again after it lay in a table or on a bus."""

from __future__ import annotations

import random
import re
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import Token
from types import TracebackType

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from libs.common.telemetry.redaction import redact

Attributes = Mapping[str, AttributeValue]

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_NOT_SAMPLED = "-00"
_FLAGS_KNOWN = 0x03  # sampled, and "the trace id is random"; other bits are not ours to pass on

STACKTRACE_LENGTH_MAX = 4_000


class _Recorder:
    """The tracer that spans are made with; until tracing is set up it makes spans that record nothing."""

    tracer: Tracer = trace.NoOpTracer()


def use_tracer(tracer: Tracer | None) -> None:
    """Make spans with this tracer from now on; with None, record nothing."""
    _Recorder.tracer = tracer or trace.NoOpTracer()


def start_span(
    name: str,
    *,
    context: Context | None,
    kind: SpanKind,
    attributes: Attributes | None = None,
    links: Sequence[Link] | None = None,
) -> Span:
    """A span that the caller makes current and ends himself; `context` None means the active one."""
    return _Recorder.tracer.start_span(name, context=context, kind=kind, attributes=attributes, links=links)


def traceparent_of(span: Span) -> str | None:
    """The span's context as a `traceparent` header; None when it belongs to no trace."""
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def current_traceparent() -> str | None:
    """The active span's context, to be stored with what continues the story later."""
    return traceparent_of(trace.get_current_span())


def recorded_traceparent() -> str | None:
    """The active span's context, if it leaves a record: a link to one that leaves none leads nowhere."""
    span = trace.get_current_span()
    return traceparent_of(span) if span.is_recording() else None


def current_trace_id() -> str | None:
    """The id by which people find the active trace; 32 hexadecimal digits."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


def span_context_from(traceparent: str | None, tracestate: str | None = None) -> SpanContext | None:
    """What a `traceparent` header says; None when it is absent or malformed, which starts a new trace.

    Source: W3C Trace Context 3.2. A later version is read as far as we know it; flags are bits, no literal.
    """
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more):
        return None
    context = SpanContext(
        trace_id=int(trace_id, 16),
        span_id=int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16) & _FLAGS_KNOWN),
        trace_state=TraceState.from_header([tracestate]) if tracestate else TraceState(),
    )
    return context if context.is_valid else None


def context_from(traceparent: str | None, tracestate: str | None = None) -> Context:
    """A context whose parent is the stored one; an empty one, hence a new trace, when there is none."""
    context = span_context_from(traceparent, tracestate)
    return Context() if context is None else set_span_in_context(NonRecordingSpan(context), Context())


def links_to(traceparents: Sequence[str | None]) -> list[Link]:
    """Links to stored contexts; each once, absent and malformed ones left out."""
    contexts = (span_context_from(traceparent) for traceparent in dict.fromkeys(traceparents))
    return [Link(context) for context in contexts if context is not None]


def record_failure(error: BaseException, span: Span | None = None) -> None:
    """Mark the span, the active one unless given, as failed by this error: its type, text and stack, no secrets.

    For errors that do not leave the span's block, because they are answered inside. `error.type` is the stable
    code of a ServiceError, or else the name of the class.
    """
    span = span or trace.get_current_span()
    if not span.is_recording():
        return
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    text = redact(str(error))
    span.set_attribute("error.type", str(getattr(error, "code", None) or kind))
    stack = redact("".join(traceback.format_exception(error)))
    span.add_event(
        "exception",
        {
            "exception.type": kind,
            "exception.message": text,
            "exception.stacktrace": stack[-STACKTRACE_LENGTH_MAX:],  # the raising line stands at the end
        },
    )
    span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {text}"[:500])


def unrecorded(parent: SpanContext | None = None) -> Span:
    """A place in a trace that leaves no record, nor does what follows; errors and logs still have its id."""
    return NonRecordingSpan(
        SpanContext(
            trace_id=parent.trace_id if parent else random.getrandbits(128) or 1,
            span_id=random.getrandbits(64) or 1,
            is_remote=False,
            trace_flags=TraceFlags(TraceFlags.DEFAULT),
        )
    )


class TraceBudget:
    """How many stories of one kind leave a record: `burst` at once, and `per_s` in the long run.

    What is done ten thousand times in a minute would otherwise spend a fifth of its time on being recorded, and
    push everything else out of the ring. The stories over the budget are done in the same way.
    """

    def __init__(self, *, per_s: float, burst: float) -> None:
        self._per_s, self._burst = per_s, burst
        self._left = burst
        self._at = time.monotonic()

    def take(self) -> bool:
        """Whether this one is recorded."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class _SpanScope(AbstractContextManager[Span]):
    """A span around a block. A class, since generators cost twice as much on paths that run per message."""

    __slots__ = ("_current", "_span", "_token")

    def __init__(self, span: Span, *, current: bool) -> None:
        self._span = span
        self._current = current
        self._token: Token[Context] | None = None

    def __enter__(self) -> Span:
        if self._current:
            self._token = attach(set_span_in_context(self._span))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        # A cancellation is how we stop, not how we fail, and so leaves the span as it is.
        if isinstance(error, Exception):
            record_failure(error, self._span)
        if self._token is not None:
            detach(self._token)
        self._span.end()


def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: str | None = None,
    links: Sequence[str | None] = (),
    attributes: Attributes | None = None,
    current: bool = True,
) -> AbstractContextManager[Span]:
    """A span around a block; an exception that leaves the block is recorded and goes on.

    `parent` is a stored traceparent; without one the active span is the parent, and where there is none a
    trace begins. `links` are traceparents of other stories that led here. With `current=False` the span is
    only measured: what happens inside does not become its child.
    """
    if parent is not None and parent.endswith(_NOT_SAMPLED):
        return _SpanScope(unrecorded(span_context_from(parent)), current=current)
    return _SpanScope(
        start_span(
            name,
            context=None if parent is None else context_from(parent),
            kind=kind,
            attributes=attributes,
            links=links_to(links) if links else None,
        ),
        current=current,
    )


def root_span(
    name: str,
    *,
    links: Sequence[str | None] | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Attributes | None = None,
    current: bool = True,
    recorded: bool = True,
) -> AbstractContextManager[Span]:
    """A span that begins a trace of its own, linked to what found the work: the active span, unless given.

    One renewal is one trace, although one tick finds hundreds of them. With `recorded=False` the story has its
    id, and leaves no record wherever it goes.
    """
    if not recorded:
        return _SpanScope(unrecorded(), current=current)
    found_by = [current_traceparent()] if links is None else links
    return _SpanScope(
        start_span(name, context=Context(), kind=kind, attributes=attributes, links=links_to(found_by)),
        current=current,
    )

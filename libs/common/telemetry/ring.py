"""The latest traces, kept in this process within a fixed share of memory, for the page under /ops/traces."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from libs.common.telemetry.export import FREE_TEXT, SERVICE_ATTRIBUTE, attributes_of
from libs.common.telemetry.redaction import redact

MEMORY_MAX_BYTES = 24_000_000
TRACES_MAX = 4_000
SPANS_PER_TRACE_MAX = 1_000

# What CPython takes for a stored span without its texts, for an attribute, a text beside its letters.
_SPAN_BYTES, _ATTRIBUTE_BYTES, _TEXT_BYTES, _TRACE_BYTES, _LINK_BYTES = 290, 24, 90, 800, 150
_TEXTS_MAX_BYTES = 2_000_000
_UNKNOWN, _ENTRY, _ROOT = 0, 1, 2  # which span a trace has its name from
_KEEP_AFTER_EVICTION = 0.97  # so that a full ring evicts now and then, not at every span


@dataclass(frozen=True, slots=True)
class EventView:
    name: str
    at_ns: int
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SpanView:
    span_id: str
    parent_id: str | None
    name: str
    service: str
    kind: str
    started_ns: int
    ended_ns: int
    failed: bool
    status_text: str
    attributes: dict[str, Any]
    events: tuple[EventView, ...]
    links: tuple[tuple[str, str], ...]  # trace id, span id

    @property
    def duration_ns(self) -> int:
        return self.ended_ns - self.started_ns


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """`dropped_count` are spans over the bound of a trace; `failed_count` counts these as well."""

    trace_id: str
    name: str
    services: tuple[str, ...]
    started_ns: int
    ended_ns: int
    span_count: int
    failed_count: int
    dropped_count: int

    @property
    def duration_ns(self) -> int:
        return self.ended_ns - self.started_ns


@dataclass(frozen=True, slots=True)
class TraceView:
    """`linked_from` are the kept traces that have a link to this one."""

    summary: TraceSummary
    spans: tuple[SpanView, ...]
    linked_from: tuple[TraceSummary, ...]


# One finished span. A tuple, as there are tens of thousands; attributes lie flat: key, value, key, value.
_Stored = tuple[
    int,  # span id
    int,  # parent's id, 0 for none
    str,  # name
    str,  # service
    SpanKind,
    int,  # started_ns
    int,  # ended_ns
    str | None,  # what failed; None: it did not
    tuple[Any, ...],  # attributes
    tuple[tuple[str, int, tuple[Any, ...]], ...],  # events
    tuple[tuple[int, int], ...],  # links
]


class _Trace:
    __slots__ = (
        "bytes",
        "dropped_count",
        "ended_ns",
        "failed_count",
        "id",
        "linked",
        "name",
        "named_by",
        "services",
        "spans",
        "started_ns",
    )

    def __init__(self, trace_id: int, name: str, named_by: int, started_ns: int) -> None:
        self.id = trace_id
        self.name = name
        self.named_by = named_by
        self.spans: list[_Stored] = []
        self.bytes = _TRACE_BYTES
        self.services: tuple[str, ...] = ()
        self.started_ns = self.ended_ns = started_ns
        self.failed_count = self.dropped_count = 0
        self.linked: frozenset[int] = frozenset()

    def summary(self) -> TraceSummary:
        return TraceSummary(
            trace_id=f"{self.id:032x}",
            name=self.name,
            services=self.services,
            started_ns=self.started_ns,
            ended_ns=self.ended_ns,
            span_count=len(self.spans) + self.dropped_count,
            failed_count=self.failed_count,
            dropped_count=self.dropped_count,
        )


class _Group:
    """The traces that one name begins, oldest first."""

    __slots__ = ("bytes", "traces")

    def __init__(self) -> None:
        self.traces: dict[int, _Trace] = {}
        self.bytes = 0


class TraceRing(SpanProcessor):
    """Finished spans, grouped by trace, within bounds of memory and number.

    Traces that begin with the same name form a group. Whenever a bound is passed, the largest group gives up
    its oldest trace. So no quota needs to be set: each kind may use what the others leave, and thousands of
    polls that found nothing push out each other, not the one renewal that is looked for.
    """

    def __init__(
        self,
        *,
        memory_max_bytes: int = MEMORY_MAX_BYTES,
        traces_max: int = TRACES_MAX,
        spans_per_trace_max: int = SPANS_PER_TRACE_MAX,
    ) -> None:
        self._memory_max_bytes = memory_max_bytes
        self._traces_max = traces_max
        self._spans_per_trace_max = spans_per_trace_max
        self._lock = threading.Lock()  # spans also end on threads, where large invoices are rated
        self._traces: dict[int, _Trace] = {}
        self._groups: dict[str, _Group] = {}
        self._bytes = 0
        self._texts: dict[str, str] = {}
        self._texts_bytes = 0

    # Writing

    def on_end(self, span: ReadableSpan) -> None:
        context = span.context
        if context is None or not context.trace_flags.sampled:
            return
        with self._lock:
            self._store(span, context.trace_id, context.span_id)
            if self._bytes > self._memory_max_bytes or len(self._traces) > self._traces_max:
                self._evict()

    def _store(self, span: ReadableSpan, trace_id: int, span_id: int) -> None:
        parent = span.parent
        name, started_ns, ended_ns = span.name, span.start_time or 0, span.end_time or 0
        # Children end before their parents, so a trace is first known by a child, then by where this process
        # entered it, and for good by its root.
        rank = _ROOT if parent is None else _ENTRY if parent.is_remote else _UNKNOWN
        trace = self._traces.get(trace_id)
        if trace is None:
            trace = _Trace(trace_id, name, rank, started_ns)
            self._traces[trace_id] = trace
            self._join(trace)
        elif rank > trace.named_by:
            trace.named_by = rank
            self._rename(trace, name)
        failed = span.status.status_code is StatusCode.ERROR
        trace.failed_count += failed
        if started_ns < trace.started_ns:
            trace.started_ns = started_ns
        if ended_ns > trace.ended_ns:
            trace.ended_ns = ended_ns
        if len(trace.spans) >= self._spans_per_trace_max:
            trace.dropped_count += 1
            return
        attributes = attributes_of(span)
        service = str(attributes.pop(SERVICE_ATTRIBUTE, ""))
        if service not in trace.services:
            trace.services += (service,)
        texts_before = self._texts_bytes
        links: tuple[tuple[int, int], ...] = ()
        events: tuple[tuple[str, int, tuple[Any, ...]], ...] = ()
        if span.links:
            links = tuple((link.context.trace_id, link.context.span_id) for link in span.links)
            trace.linked = trace.linked.union(link[0] for link in links)
        if span.events:
            events = tuple((e.name, e.timestamp, self._flat(attributes_of(e))) for e in span.events)
        stored: _Stored = (
            span_id,
            parent.span_id if parent is not None else 0,
            name,
            service,
            span.kind,
            started_ns,
            ended_ns,
            redact(span.status.description or "failed") if failed else None,
            self._flat(attributes),
            events,
            links,
        )
        trace.spans.append(stored)
        self._weigh(
            trace,
            _SPAN_BYTES * (1 + len(events))
            + _ATTRIBUTE_BYTES * (len(attributes) + sum(len(event[2]) for event in events))
            + _LINK_BYTES * len(links)
            + max(self._texts_bytes - texts_before, 0),
        )

    def _flat(self, attributes: dict[str, Any]) -> tuple[Any, ...]:
        """Key, value, key, value. Texts that are alike, most statements and names are, are kept once."""
        flat: list[Any] = []
        for key, value in attributes.items():
            flat.append(key)
            if type(value) is str:
                known = self._texts.get(value)
                value = self._learn(key, value) if known is None else known
            elif type(value) is not int:
                value = self._learn(key, str(value)) if isinstance(value, list | tuple | dict) else value
            flat.append(value)
        return tuple(flat)

    def _learn(self, key: str, text: str) -> str:
        if self._texts_bytes > _TEXTS_MAX_BYTES:
            # What spans still hold stays alive with them and was counted with them.
            self._texts.clear()
            self._texts_bytes = 0
        kept = redact(text) if key in FREE_TEXT else text
        self._texts[text] = kept
        self._texts_bytes += _TEXT_BYTES + len(text) + (0 if kept is text else len(kept))
        return kept

    def _join(self, trace: _Trace) -> None:
        group = self._groups.get(trace.name)
        if group is None:
            group = self._groups[trace.name] = _Group()
        group.traces[trace.id] = trace
        group.bytes += trace.bytes
        self._bytes += trace.bytes

    def _leave(self, trace: _Trace) -> None:
        group = self._groups[trace.name]
        del group.traces[trace.id]
        group.bytes -= trace.bytes
        self._bytes -= trace.bytes
        if not group.traces:
            del self._groups[trace.name]

    def _rename(self, trace: _Trace, name: str) -> None:
        if trace.name != name:
            self._leave(trace)
            trace.name = name
            self._join(trace)

    def _weigh(self, trace: _Trace, added_bytes: int) -> None:
        trace.bytes += added_bytes
        self._groups[trace.name].bytes += added_bytes
        self._bytes += added_bytes

    def _evict(self) -> None:
        if len(self._traces) > self._traces_max:
            traces_max = int(self._traces_max * _KEEP_AFTER_EVICTION)
            while len(self._traces) > traces_max:
                self._drop_from(max(self._groups.values(), key=lambda group: len(group.traces)))
        if self._bytes > self._memory_max_bytes:
            memory_max_bytes = self._memory_max_bytes * _KEEP_AFTER_EVICTION
            while self._bytes > memory_max_bytes and self._traces:
                self._drop_from(max(self._groups.values(), key=lambda group: group.bytes))

    def _drop_from(self, group: _Group) -> None:
        oldest = next(iter(group.traces.values()))
        self._leave(oldest)
        del self._traces[oldest.id]

    # Reading

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._traces.clear()
            self._groups.clear()
            self._texts.clear()
            self._bytes = self._texts_bytes = 0

    @property
    def memory_max_bytes(self) -> int:
        """What may be kept."""
        return self._memory_max_bytes

    @property
    def memory_bytes(self) -> int:
        """What is kept, by our own estimate."""
        return self._bytes

    def _snapshot(self) -> list[_Trace]:
        # Only the list is copied under the lock: a search through texts must not hold up whoever makes spans.
        with self._lock:
            return list(self._traces.values())

    def list_traces(
        self,
        *,
        text: str = "",
        service: str = "",
        name: str = "",
        failed_only: bool = False,
        limit: int = 100,
    ) -> list[TraceSummary]:
        """Newest first. `text` is looked for in ids, names and attributes, without regard to case."""
        wanted = text.strip().casefold()
        found: list[TraceSummary] = []
        for trace in sorted(self._snapshot(), key=lambda trace: trace.started_ns, reverse=True):
            if (
                (failed_only and not trace.failed_count)
                or (service and service not in trace.services)
                or (name and name != trace.name)
                or (wanted and not _mentions(trace, wanted))
            ):
                continue
            found.append(trace.summary())
            if len(found) == limit:
                break
        return found

    def names(self) -> dict[str, int]:
        """The names with which kept traces begin, and how many there are of each."""
        with self._lock:
            return {name: len(self._groups[name].traces) for name in sorted(self._groups)}

    def services(self) -> list[str]:
        """The services that kept traces are from."""
        return sorted({service for trace in self._snapshot() for service in trace.services if service})

    def find_trace(self, trace_id: str) -> TraceView | None:
        """The trace, its spans by their start; None when it is not, or no longer, kept."""
        try:
            wanted = int(trace_id, 16)
        except ValueError:
            return None
        trace = self._traces.get(wanted)
        if trace is None:
            return None
        spans = sorted((_span_view(stored) for stored in list(trace.spans)), key=lambda span: span.started_ns)
        linked_from = [
            other.summary() for other in self._snapshot() if wanted in other.linked and other is not trace
        ]
        return TraceView(
            summary=trace.summary(),
            spans=tuple(spans),
            linked_from=tuple(sorted(linked_from, key=lambda summary: summary.started_ns)),
        )

    def find_summaries(self, trace_ids: Sequence[str]) -> dict[str, TraceSummary]:
        """Those of the traces that are still kept."""
        found = ((trace_id, self._traces.get(int(trace_id, 16))) for trace_id in trace_ids)
        return {trace_id: trace.summary() for trace_id, trace in found if trace is not None}


def _mentions(trace: _Trace, wanted: str) -> bool:
    return any(wanted in text.casefold() for text in _texts(trace))


def _texts(trace: _Trace) -> Iterator[str]:
    yield f"{trace.id:032x}"
    yield trace.name
    for stored in list(trace.spans):
        yield stored[2]
        if stored[7]:
            yield stored[7]
        for value in stored[8][1::2]:
            if type(value) is str:
                yield value


def _pairs(flat: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _span_view(stored: _Stored) -> SpanView:
    span_id, parent_id, name, service, kind, started_ns, ended_ns, failure, attributes, events, links = stored
    return SpanView(
        span_id=f"{span_id:016x}",
        parent_id=f"{parent_id:016x}" if parent_id else None,
        name=name,
        service=service,
        kind=kind.name.lower(),
        started_ns=started_ns,
        ended_ns=ended_ns,
        failed=failure is not None,
        status_text=failure or "",
        attributes=_pairs(attributes),
        events=tuple(EventView(name, at_ns, _pairs(flat)) for name, at_ns, flat in events),
        links=tuple((f"{trace:032x}", f"{span:016x}") for trace, span in links),
    )

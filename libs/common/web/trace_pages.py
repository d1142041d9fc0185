"""The pages under /ops/traces as HTML. Every text in them is escaped; no script or style stands inside a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import urlencode
from zlib import crc32

from libs.common.telemetry.ring import SpanView, TraceSummary, TraceView
from libs.common.web.trace_timeline import Timeline, timeline_of

# So that a service has the same color wherever it is met; others take one of the remaining four.
_COLORS = {"catalog": 0, "subscriptions": 1, "metering": 2, "billing": 3}
_DEPTH_MAX = 24
_LINKS_SHOWN_MAX = 60
_MARKED_WIDTH_MIN_PERCENT = 16  # narrower work has no room for a label of its own


@dataclass(frozen=True, slots=True)
class Filter:
    """What the list is narrowed to."""

    text: str = ""
    service: str = ""
    name: str = ""
    failed_only: bool = False
    limit: int = 100

    def query(self) -> str:
        given = {
            "q": self.text,
            "service": self.service,
            "name": self.name,
            "failed": "1" if self.failed_only else "",
        }
        return urlencode({key: value for key, value in given.items() if value})


@dataclass(frozen=True, slots=True)
class SpanRow:
    """A span as it stands in the waterfall."""

    span: SpanView
    depth: int


def duration_text(duration_ns: int) -> str:
    """Three figures at most, in the unit that fits."""
    for unit, size_ns in (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000)):
        if duration_ns >= size_ns:
            value = duration_ns / size_ns
            if unit == "s" and value >= 60:
                return _long_duration_text(int(value))
            return f"{value:.3g} {unit}" if value < 100 else f"{value:.0f} {unit}"
    return f"{duration_ns} ns"


def _long_duration_text(duration_s: int) -> str:
    days, rest = divmod(duration_s, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, seconds = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next(index for index, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def instant_of(at_ns: int) -> datetime:
    """To the microsecond, which is all that a datetime holds."""
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).replace(
        microsecond=at_ns % 1_000_000_000 // 1_000
    )


def instant_text(at_ns: int) -> str:
    """RFC 3339, UTC."""
    return instant_of(at_ns).isoformat(timespec="microseconds").replace("+00:00", "Z")


def rows_of(spans: Sequence[SpanView]) -> list[SpanRow]:
    """Parents before their children, by start. Spans whose parent is not kept stand at the left edge."""
    known = {span.span_id for span in spans}
    children: dict[str, list[SpanView]] = {}
    for span in spans:
        parent_id = span.parent_id if span.parent_id in known and span.parent_id != span.span_id else ""
        children.setdefault(parent_id or "", []).append(span)
    rows: list[SpanRow] = []
    waiting = [(span, 0) for span in reversed(children.pop("", []))]
    while waiting:
        span, depth = waiting.pop()
        rows.append(SpanRow(span, depth))
        waiting += [(child, depth + 1) for child in reversed(children.pop(span.span_id, []))]
    # Ids come from outside too: spans that are each other's parents would not be reached from any edge.
    rows += [SpanRow(span, 0) for lost in children.values() for span in lost]
    return rows


def list_page(
    traces: Sequence[TraceSummary],
    filter_: Filter,
    *,
    names: Mapping[str, int],
    services: Sequence[str],
    kept_mb: float,
) -> str:
    """The latest traces, newest first."""
    query = filter_.query()
    json_address = "/ops/traces.json" + (f"?{query}" if query else "")
    options = "".join(_option(name, f"{name} ({count})", filter_.name) for name, count in names.items())
    service_options = "".join(_option(name, name, filter_.service) for name in services)
    if traces:
        body = f"""
<div class="scroll"><table class="traces">
<thead><tr><th>Started (UTC)</th><th>Trace</th><th>Services</th><th class="num">Spans</th>
<th class="num">Duration</th><th>Outcome</th></tr></thead>
<tbody>{"".join(_list_row(trace) for trace in traces)}</tbody></table></div>"""
    elif query:
        body = '<p class="empty">No kept trace fits. <a href="/ops/traces">Show all</a></p>'
    else:
        body = (
            '<p class="empty">Nothing has been recorded yet. Send a request, or wait for the next tick.</p>'
        )
    return _page(
        "Traces",
        f"""
<h1>Traces</h1>
<form class="filter" method="get" action="/ops/traces" role="search">
<label>Find<input type="search" name="q" value="{escape(filter_.text)}"
 placeholder="id, name or attribute" maxlength="200"></label>
<label>Begins with<select name="name"><option value="">anything</option>{options}</select></label>
<label>Service<select name="service"><option value="">any</option>{service_options}</select></label>
<label class="check"><input type="checkbox" name="failed" value="1"{_checked(filter_.failed_only)}>
Failed only</label>
<button>Show</button>
</form>
{body}
<footer>{sum(names.values()):,} traces kept in {kept_mb:.1f} MB of memory, by this process.
 Of the kind that takes most room the oldest go first. <a href="{escape(json_address)}">As JSON</a></footer>""",
    )


def trace_page(view: TraceView, *, linked: Mapping[str, TraceSummary]) -> str:
    """One trace as a waterfall; `linked` are those of its linked traces that are still kept."""
    summary = view.summary
    timeline = timeline_of((span.started_ns, span.ended_ns) for span in view.spans)
    linked_ids = list(dict.fromkeys(trace_id for span in view.spans for trace_id, _ in span.links))
    waits = _waits_drawing(timeline)
    rows = "".join(_span_row(row, summary, timeline, waits, linked) for row in rows_of(view.spans))
    dropped = f", {summary.dropped_count:,} of them not kept" if summary.dropped_count else ""
    failed = f'<span class="failed">✕ {summary.failed_count} failed</span>' if summary.failed_count else ""
    tools = (
        '<div class="tools" hidden><button type="button" data-open="1">Open all</button>'
        '<button type="button" data-open="0">Close all</button>'
        '<input type="search" id="find" placeholder="find in this trace" aria-label="Find in this trace"></div>'
    )
    return _page(
        summary.name,
        f"""
<p class="back"><a href="/ops/traces">← Traces</a></p>
<h1>{escape(summary.name)}</h1>
<p class="facts">{_time(summary.started_ns, with_date=True)}
<span><b>{duration_text(summary.duration_ns)}</b></span>
<span>{summary.span_count:,} span{"" if summary.span_count == 1 else "s"}{dropped}</span>{failed}
{_services(summary.services)}</p>
<p class="facts"><code class="id">{summary.trace_id}</code>
<a href="/ops/traces/{summary.trace_id}.json">As JSON</a></p>
{_linked("Leads back to", linked_ids, linked)}
{_linked("Led to", [s.trace_id for s in view.linked_from], {s.trace_id: s for s in view.linked_from})}
{tools}
<div class="waterfall">
<div class="ruler"><span></span><div class="track">{_ruler(timeline)}</div><span></span></div>
{rows}
</div>""",
        script=True,
    )


def login_page(*, next_address: str, refused: str = "") -> str:
    """Asks for an operator's token."""
    problem = f'<p class="problem" role="alert">{escape(refused)}</p>' if refused else ""
    return _page(
        "Sign in",
        f"""
<form class="login" method="post" action="/ops/login">
<h1>Operators only</h1>
<p>These pages show what the services did, for all tenants. Sign in with a token of scope <code>operate</code>.</p>
{problem}
<label>Token<input type="password" name="token" required autofocus autocomplete="off" spellcheck="false"></label>
<input type="hidden" name="next" value="{escape(next_address)}">
<button>Sign in</button>
</form>""",
        signed_in=False,
    )


def missing_page(trace_id: str) -> str:
    """A trace that is not here."""
    return _page(
        "Not kept",
        f"""<p class="back"><a href="/ops/traces">← Traces</a></p><h1>This trace is not kept</h1>
<p class="empty"><code class="id">{escape(trace_id)}</code> was made by another process, made room for newer
 ones, or was never recorded.</p>""",
    )


def _page(title: str, body: str, *, script: bool = False, signed_in: bool = True) -> str:
    code = '<script src="/ops/assets/traces.js" defer></script>' if script else ""
    out = '<form method="post" action="/ops/logout"><button class="quiet">Sign out</button></form>'
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark"><meta name="robots" content="noindex">
<title>{escape(title)} · Perennial</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="/ops/assets/traces.css">{code}</head>
<body><header><a href="/ops/traces">Perennial <span>operations</span></a>{out if signed_in else ""}</header>
<main>{body}</main></body></html>"""


def _option(value: str, text: str, chosen: str) -> str:
    selected = " selected" if value == chosen else ""
    return f'<option value="{escape(value)}"{selected}>{escape(text)}</option>'


def _checked(on: bool) -> str:
    return " checked" if on else ""


def _color(service: str) -> str:
    return f"s{_COLORS.get(service, 4 + crc32(service.encode()) % 4 if service else 8)}"


def _services(services: Iterable[str]) -> str:
    in_order = sorted(services, key=lambda service: (_COLORS.get(service, len(_COLORS)), service))
    chips = "".join(
        f'<span class="chip {_color(service)}">{escape(service or "process")}</span>' for service in in_order
    )
    return f'<span class="chips">{chips}</span>'


def _time(at_ns: int, *, with_date: bool) -> str:
    at = instant_of(at_ns)
    text = at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03d}"
    shown = f"{text} UTC" if with_date else f'<span class="dim">{text[:10]}</span> {text[11:]}'
    return f'<time datetime="{instant_text(at_ns)}">{shown}</time>'


def _list_row(trace: TraceSummary) -> str:
    outcome = f'<span class="failed">✕ {trace.failed_count} failed</span>' if trace.failed_count else "ok"
    return f"""<tr><td>{_time(trace.started_ns, with_date=False)}</td>
<td class="name"><a href="/ops/traces/{trace.trace_id}">{escape(trace.name)}</a></td>
<td>{_services(trace.services)}</td><td class="num">{trace.span_count:,}</td>
<td class="num">{duration_text(trace.duration_ns)}</td><td>{outcome}</td></tr>"""


def _linked(title: str, trace_ids: Sequence[str], known: Mapping[str, TraceSummary]) -> str:
    if not trace_ids:
        return ""
    shown = ", ".join(_trace_link(trace_id, known) for trace_id in trace_ids[:_LINKS_SHOWN_MAX])
    more = f" and {len(trace_ids) - _LINKS_SHOWN_MAX:,} more" if len(trace_ids) > _LINKS_SHOWN_MAX else ""
    return f'<p class="facts linked"><b>{title}</b> <span>{shown}{more}</span></p>'


def _trace_link(trace_id: str, known: Mapping[str, TraceSummary]) -> str:
    summary = known.get(trace_id)
    short = f"<code>{trace_id[:8]}…</code>"
    if summary is None:
        return f'<span class="dim" title="{trace_id}, no longer kept">{short}</span>'
    return f'<a href="/ops/traces/{trace_id}" title="{trace_id}">{escape(summary.name)} {short}</a>'


def _percent(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") + "%"


def _waits_drawing(timeline: Timeline) -> str:
    return "".join(
        f'<rect class="wait" x="{_percent(s.left)}" width="{_percent(s.width)}" y="0" height="100%"/>'
        for s in timeline.stretches
        if s.wait
    )


def _ruler(timeline: Timeline) -> str:
    """How long each wait was stands over its band; within work, the time since that work went on."""
    marks: list[str] = [_mark(0, "start", "0", "")]
    for stretch in timeline.stretches:
        middle = stretch.left + stretch.width / 2
        length_ns = stretch.end_ns - stretch.start_ns
        if stretch.wait:
            marks.append(_mark(middle, "middle", f"⋯ {duration_text(length_ns)}", "waited"))
        elif stretch.width >= _MARKED_WIDTH_MIN_PERCENT:
            marks.append(_mark(middle, "middle", f"+{duration_text(length_ns // 2)}", ""))
            if stretch.width >= 2 * _MARKED_WIDTH_MIN_PERCENT:
                marks.append(_mark(stretch.left + stretch.width, "end", f"+{duration_text(length_ns)}", ""))
    return f'<svg width="100%" height="18" aria-hidden="true">{"".join(marks)}</svg>'


def _mark(left: float, anchor: str, text: str, css: str) -> str:
    return f'<text x="{_percent(left)}" y="13" text-anchor="{anchor}" class="{css}">{escape(text)}</text>'


def _span_row(
    row: SpanRow,
    trace: TraceSummary,
    timeline: Timeline,
    waits: str,
    linked: Mapping[str, TraceSummary],
) -> str:
    span = row.span
    left = timeline.at(span.started_ns)
    width = max(timeline.at(span.ended_ns) - left, 0.0)
    color = _color(span.service)
    bar = (
        f'<svg width="100%" height="26" aria-hidden="true">{waits}'
        f'<rect class="{color}" x="{_percent(left)}" y="8" width="{_percent(width)}" height="10" rx="2"/>'
        f'<rect class="{color}" x="{_percent(min(left, 99.7))}" y="8" width="2" height="10"/></svg>'
    )
    failed = '<span class="failed" title="failed">✕</span> ' if span.failed else ""
    about = _about(span)
    hint = f' <span class="hint">{escape(about)}</span>' if about else ""
    return f"""<details class="row{" bad" if span.failed else ""}" id="{span.span_id}"><summary>
<span class="label d{min(row.depth, _DEPTH_MAX)}"><i class="dot {color}"></i>{failed}<span
 class="text">{escape(span.name)}{hint}</span></span>
<span class="track">{bar}</span><span class="num">{duration_text(span.duration_ns)}</span></summary>
{_span_details(span, trace, linked)}</details>
"""


def _about(span: SpanView) -> str:
    """What tells spans of one name apart, without opening them."""
    for key in ("perennial.event.type", "db.query.text", "http.response.status_code", "error.type"):
        if key in span.attributes:
            return " ".join(str(span.attributes[key]).split())[:120]
    return ""


def _span_details(span: SpanView, trace: TraceSummary, linked: Mapping[str, TraceSummary]) -> str:
    facts: list[tuple[str, str]] = [
        ("service", escape(span.service or "the process itself")),
        ("kind", escape(span.kind)),
        (
            "started",
            f"{instant_text(span.started_ns)}, {duration_text(span.started_ns - trace.started_ns)} in",
        ),
        ("span", f"<code>{span.span_id}</code>"),
    ]
    if span.parent_id:
        facts.append(("parent", f'<a href="#{span.parent_id}"><code>{span.parent_id}</code></a>'))
    if span.failed:
        facts.append(("failure", f'<span class="failed">{escape(span.status_text)}</span>'))
    facts += [(escape(key), _value(value)) for key, value in sorted(span.attributes.items())]
    for trace_id in dict.fromkeys(trace_id for trace_id, _ in span.links[:_LINKS_SHOWN_MAX]):
        facts.append(("link", _trace_link(trace_id, linked)))
    table = "".join(f"<tr><th>{key}</th><td>{value}</td></tr>" for key, value in facts)
    events = "".join(
        f"<h3>{escape(event.name)}, {duration_text(max(event.at_ns - span.started_ns, 0))} into the span</h3>"
        f"<table>{''.join(_event_fact(key, value) for key, value in event.attributes.items())}</table>"
        for event in span.events
    )
    return f'<div class="details"><table>{table}</table>{events}</div>'


def _event_fact(key: str, value: Any) -> str:
    return f"<tr><th>{escape(key)}</th><td>{_value(value)}</td></tr>"


def _value(value: Any) -> str:
    text = str(value)
    if len(text) > 80 or "\n" in text:
        return f"<pre>{escape(text)}</pre>"
    return f"<code>{escape(text)}</code>"

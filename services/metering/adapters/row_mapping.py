"""Rows ↔ metering's domain objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from services.metering.application.reads import Reject, RejectResolution, RejectView
from services.metering.domain.counter import counter_json, counter_rules_from
from services.metering.domain.late_usage import (
    ChangedEvent,
    ChangedEvents,
    UsageDifference,
    WindowCorrection,
)
from services.metering.domain.meter import Dimension, Filter, Meter, MeterOptions
from services.metering.domain.metered_item import MeteredItem, Span
from services.metering.domain.recount_refusal import RecountRefusal
from services.metering.domain.subject_binding import SubjectBinding
from services.metering.domain.true_up import TrueUp
from services.metering.domain.usage_alert import Mark, UsageAlert
from services.metering.domain.usage_correction import Place, UsageCorrection
from services.metering.domain.usage_event import Reason
from services.metering.domain.usage_window import Offsets, UsageTotal, UsageWindow

Row = Mapping[Any, Any]


def meter_row(meter: Meter) -> dict[str, Any]:
    return {
        "id": meter.id,
        "code": meter.code,
        "event_type": meter.event_type,
        "aggregation": meter.aggregation,
        "value_path": None if meter.value_path is None else list(meter.value_path),
        "dimensions": [_dimension_json(dimension) for dimension in meter.dimensions],
        "filters": _filters_json(meter.filters),
        "unit": meter.unit,
        "description": meter.description,
        "bucket_s": meter.bucket_s,
        "created_at": meter.created_at,
        "value_expression": meter.value_expression,
        "exclusions": [_filters_json(out) for out in meter.exclusions],
        "filter_expression": meter.filter_expression,
        "options": _options_json(meter.options),
        "operation_path": None if meter.options.operation is None else list(meter.options.operation),
        "is_computed": meter.is_computed,
        "counter": None if meter.counter is None else counter_json(meter.counter),
        "version": meter.version,
        "valid_from": meter.valid_from,
        "valid_until": meter.valid_until,
        "filled_until": meter.filled_until,
        "filled_at": meter.filled_at,
    }


def meter_from(row: Row) -> Meter:
    return Meter(
        id=row["id"],
        code=row["code"],
        event_type=row["event_type"],
        aggregation=row["aggregation"],
        value_path=None if row["value_path"] is None else tuple(row["value_path"]),
        dimensions=tuple(
            Dimension(d["name"], tuple(d.get("path", ())), d.get("expression")) for d in row["dimensions"]
        ),
        filters=_filters_from(row["filters"]),
        unit=row["unit"],
        description=row["description"],
        bucket_s=row["bucket_s"],
        created_at=row["created_at"],
        value_expression=row["value_expression"],
        exclusions=tuple(_filters_from(out) for out in row["exclusions"]),
        filter_expression=row["filter_expression"],
        options=_options_from(row["options"], row["operation_path"]),
        counter=None if row["counter"] is None else counter_rules_from(row["counter"]),
        version=row["version"],
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        filled_until=row["filled_until"],
        filled_at=row["filled_at"],
    )


def _dimension_json(dimension: Dimension) -> dict[str, Any]:
    told: dict[str, Any] = {"name": dimension.name, "path": list(dimension.path)}
    return told if dimension.expression is None else {**told, "expression": dimension.expression}


def _filters_json(filters: Sequence[Filter]) -> list[dict[str, Any]]:
    return [{"path": list(f.path), "values": list(f.values)} for f in filters]


def _filters_from(told: Sequence[Mapping[str, Any]]) -> tuple[Filter, ...]:
    return tuple(Filter(tuple(f["path"]), tuple(f["values"])) for f in told)


def _options_json(options: MeterOptions) -> dict[str, Any]:
    """Only what is said; where an operation stands has a column of its own, which statements read."""
    told = {
        "keeps": options.keeps,
        "level": options.level,
        "per": options.per,
        "by_day": options.by_day,
        "peak_of": options.peak_of,
    }
    return {name: value for name, value in told.items() if value}


def _options_from(told: Mapping[str, Any], operation: Sequence[str] | None) -> MeterOptions:
    return MeterOptions(operation=None if operation is None else tuple(operation), **told)


def binding_row(binding: SubjectBinding) -> dict[str, Any]:
    return {
        "id": binding.id,
        "version": binding.version,
        "subject": binding.subject,
        "meter": binding.meter,
        "subscription_id": binding.subscription_id,
        "item_id": binding.item_id,
        "bound_from": binding.bound_from,
        "bound_until": binding.bound_until,
        "asset_id": binding.asset_id,
    }


def binding_from(row: Row) -> SubjectBinding:
    return SubjectBinding(
        id=row["id"],
        version=row["version"],
        subject=row["subject"],
        meter=row["meter"],
        subscription_id=row["subscription_id"],
        item_id=row["item_id"],
        bound_from=row["bound_from"],
        bound_until=row["bound_until"],
        asset_id=row["asset_id"],
    )


def alert_row(alert: UsageAlert) -> dict[str, Any]:
    """Marks as text, which JSON cannot round."""
    return {
        "id": alert.id,
        "version": alert.version,
        "subscription_id": alert.subscription_id,
        "customer_id": alert.customer_id,
        "item_id": alert.item_id,
        "meter": alert.meter,
        "limit_quantity": alert.limit,
        "marks": [
            {
                "threshold": format(mark.threshold, "f"),
                **({} if mark.percent is None else {"percent": format(mark.percent, "f")}),
            }
            for mark in alert.marks
        ],
        "name": alert.name,
        "created_at": alert.created_at,
    }


def alert_from(row: Row) -> UsageAlert:
    return UsageAlert(
        id=row["id"],
        version=row["version"],
        subscription_id=row["subscription_id"],
        customer_id=row["customer_id"],
        item_id=row["item_id"],
        meter=row["meter"],
        limit=row["limit_quantity"],
        marks=tuple(
            Mark(Decimal(mark["threshold"]), Decimal(mark["percent"]) if "percent" in mark else None)
            for mark in row["marks"]
        ),
        name=row["name"],
        created_at=row["created_at"],
    )


def window_row(window: UsageWindow) -> dict[str, Any]:
    """What was put off after an error gets a fresh start with every step that succeeds."""
    return {
        "id": window.id,
        "version": window.version,
        "subscription_id": window.subscription_id,
        "customer_id": window.customer_id,
        "period_index": window.period_index,
        "state": window.state,
        "window_start": window.window_start,
        "window_end": window.window_end,
        "items": [_item_json(item) for item in window.items],
        "awaited": None if window.awaited is None else _offsets_json(window.awaited),
        "awaited_usage": _offsets_json(window.awaited_usage),
        "totals": totals_json(window.totals),
        "revision": window.revision,
        "terms_version": window.terms_version,
        "held_by": list(window.held_by),
        "whole_start": window.whole_start,
        "whole_end": window.whole_end,
        "recount_refusal": None if window.recount_refusal is None else _refusal_json(window.recount_refusal),
        "closed_at": window.closed_at,
        "created_at": window.created_at,
        "due_at": window.due_at,
        "clock_id": window.clock_id,
        "traceparent": window.traceparent,
        "attempts": 0,
        "retry_at": None,
        "last_error": None,
    }


def window_from(row: Row) -> UsageWindow:
    return UsageWindow(
        id=row["id"],
        subscription_id=row["subscription_id"],
        customer_id=row["customer_id"],
        period_index=row["period_index"],
        version=row["version"],
        state=row["state"],
        window_start=row["window_start"],
        window_end=row["window_end"],
        items=tuple(_item_from(item) for item in row["items"]),
        clock_id=row["clock_id"],
        created_at=row["created_at"],
        due_at=row["due_at"],
        awaited=None if row["awaited"] is None else _offsets_from(row["awaited"]),
        awaited_usage=_offsets_from(row["awaited_usage"]),
        totals=totals_from(row["totals"]),
        revision=row["revision"],
        terms_version=row["terms_version"],
        held_by=tuple(row["held_by"]),
        closed_at=row["closed_at"],
        traceparent=row["traceparent"],
        whole_start=row["whole_start"],
        whole_end=row["whole_end"],
        recount_refusal=None if row["recount_refusal"] is None else _refusal_from(row["recount_refusal"]),
    )


def _refusal_json(refusal: RecountRefusal) -> dict[str, Any]:
    dismissed_at = refusal.dismissed_at
    return {
        "told": refusal.told,
        "refused_at": refusal.refused_at.isoformat(),
        "dismissed_at": None if dismissed_at is None else dismissed_at.isoformat(),
        "dismissed_by": refusal.dismissed_by,
        "reason": refusal.reason,
    }


def _refusal_from(told: Mapping[str, Any]) -> RecountRefusal:
    dismissed_at = told["dismissed_at"]
    return RecountRefusal(
        told=told["told"],
        refused_at=datetime.fromisoformat(told["refused_at"]),
        dismissed_at=None if dismissed_at is None else datetime.fromisoformat(dismissed_at),
        dismissed_by=told["dismissed_by"],
        reason=told["reason"],
    )


def _item_json(item: MeteredItem) -> dict[str, Any]:
    told: dict[str, Any] = {"item_id": item.item_id, "meter": item.meter}
    if item.spans:
        told["price_id"] = item.price_id
        told["spans"] = [{"start": s.start.isoformat(), "end": s.end.isoformat()} for s in item.spans]
    return told


def _item_from(told: Mapping[str, Any]) -> MeteredItem:
    spans = tuple(
        Span(datetime.fromisoformat(span["start"]), datetime.fromisoformat(span["end"]))
        for span in told.get("spans", ())
    )
    return MeteredItem(told["item_id"], told["meter"], told.get("price_id"), spans)


def _offsets_json(offsets: Offsets) -> dict[str, int]:
    return {str(partition): offset for partition, offset in offsets.items()}


def _offsets_from(told: Mapping[str, int]) -> Offsets:
    return {int(partition): offset for partition, offset in told.items()}


def totals_json(totals: Sequence[UsageTotal]) -> list[dict[str, Any]]:
    """Quantities as text, which JSON cannot round."""
    return [
        {
            "item_id": t.item_id,
            "meter": t.meter,
            "quantity": format(t.quantity, "f"),
            "event_count": t.event_count,
            **({} if t.price_id is None else {"price_id": t.price_id}),
            **({"estimated_quantity": format(t.estimated_quantity, "f")} if t.estimated_quantity else {}),
            **({"true_ups": [true_up_json(true_up) for true_up in t.true_ups]} if t.true_ups else {}),
        }
        for t in totals
    ]


def totals_from(totals: Sequence[Mapping[str, Any]]) -> tuple[UsageTotal, ...]:
    return tuple(
        UsageTotal(
            t["item_id"],
            t["meter"],
            Decimal(t["quantity"]),
            t["event_count"],
            t.get("price_id"),
            Decimal(t.get("estimated_quantity", 0)),
            tuple(true_up_from(told) for told in t.get("true_ups", ())),
        )
        for t in totals
    )


def true_up_json(true_up: TrueUp) -> dict[str, Any]:
    return {
        "subject": true_up.subject,
        "start": true_up.start.isoformat(),
        "end": true_up.end.isoformat(),
        "actual_quantity": format(true_up.actual_quantity, "f"),
        "estimated_quantity": format(true_up.estimated_quantity, "f"),
    }


def true_up_from(told: Mapping[str, Any]) -> TrueUp:
    return TrueUp(
        told["subject"],
        datetime.fromisoformat(told["start"]),
        datetime.fromisoformat(told["end"]),
        Decimal(told["actual_quantity"]),
        Decimal(told["estimated_quantity"]),
    )


def window_correction_row(correction: WindowCorrection) -> dict[str, Any]:
    return {
        "id": correction.id,
        "window_id": correction.window_id,
        "subscription_id": correction.subscription_id,
        "customer_id": correction.customer_id,
        "period_index": correction.period_index,
        "window_start": correction.window_start,
        "window_end": correction.window_end,
        "revision": correction.revision,
        "before": totals_json(correction.before),
        "totals": totals_json(correction.totals),
        "differences": [
            {
                "item_id": d.item_id,
                "meter": d.meter,
                "quantity": format(d.quantity, "f"),
                "event_count": d.event_count,
                "price_id": d.price_id,
            }
            for d in correction.differences
        ],
        "events": [
            {"source": event.source, "event_id": event.event_id, "cause": event.cause}
            for event in correction.events.first
        ],
        "changed_event_count": correction.events.count,
        "policy": correction.policy,
        "is_billable": correction.is_billable,
        "corrected_at": correction.corrected_at,
    }


def window_correction_from(row: Row) -> WindowCorrection:
    return WindowCorrection(
        id=row["id"],
        window_id=row["window_id"],
        subscription_id=row["subscription_id"],
        customer_id=row["customer_id"],
        period_index=row["period_index"],
        window_start=row["window_start"],
        window_end=row["window_end"],
        revision=row["revision"],
        before=totals_from(row["before"]),
        totals=totals_from(row["totals"]),
        differences=tuple(
            UsageDifference(d["item_id"], d["meter"], Decimal(d["quantity"]), d["event_count"], d["price_id"])
            for d in row["differences"]
        ),
        events=ChangedEvents(
            tuple(ChangedEvent(e["source"], e["event_id"], e["cause"]) for e in row["events"]),
            row["changed_event_count"],
        ),
        policy=row["policy"],
        is_billable=row["is_billable"],
        corrected_at=row["corrected_at"],
    )


def reasons_json(reasons: Sequence[Reason]) -> list[dict[str, str]]:
    return [{"code": r.code, "pointer": r.pointer, "detail": r.detail} for r in reasons]


def reasons_from(reasons: Sequence[Mapping[str, str]]) -> tuple[Reason, ...]:
    return tuple(Reason(r["code"], r["pointer"], r["detail"]) for r in reasons)


def correction_row(correction: UsageCorrection) -> dict[str, Any]:
    replacement = correction.replacement
    return {
        "id": correction.id,
        "kind": correction.kind,
        "identity": str(UUID(bytes=correction.identity)),
        "revision": correction.revision,
        "key": None if correction.withdrawn is None else str(UUID(bytes=correction.withdrawn)),
        "occurred_at": correction.occurred_at,
        "source": correction.source,
        "event_id": correction.event_id,
        "replacement_key": None if replacement is None else str(UUID(bytes=replacement.key)),
        "replacement_occurred_at": None if replacement is None else replacement.occurred_at,
        "reason": correction.reason,
        "author": correction.author,
        "corrected_at": correction.corrected_at,
    }


def correction_from(row: Row) -> UsageCorrection:
    replacement = None
    if row["replacement_key"] is not None:
        replacement = Place(UUID(row["replacement_key"]).bytes, row["replacement_occurred_at"])
    return UsageCorrection(
        id=row["id"],
        kind=row["kind"],
        identity=UUID(row["identity"]).bytes,
        revision=row["revision"],
        source=row["source"],
        event_id=row["event_id"],
        withdrawn=None if row["key"] is None else UUID(row["key"]).bytes,
        occurred_at=row["occurred_at"],
        replacement=replacement,
        reason=row["reason"],
        author=row["author"],
        corrected_at=row["corrected_at"],
    )


def reject_from(row: Row) -> RejectView:
    reject = Reject(
        id=row["id"],
        event_id=row["event_id"],
        source=row["source"],
        type=row["type"],
        subject=row["subject"],
        payload=row["payload"],
        reasons=reasons_from(row["reasons"]),
        seen_at=row["last_seen_at"],
    )
    resolution = None
    if row["resolution"] is not None:
        resolution = RejectResolution(
            row["resolution"], row["resolved_at"], row["resolved_by"], row["resolved_note"]
        )
    return RejectView(reject, row["first_seen_at"], row["last_seen_at"], row["seen_count"], resolution)

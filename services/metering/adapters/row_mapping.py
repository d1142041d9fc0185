"""Rows ↔ metering's domain objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.metering.domain.meter import Dimension, Filter, Meter
from services.metering.domain.metered_item import MeteredItem, Span
from services.metering.domain.subject_binding import SubjectBinding
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
        "dimensions": [{"name": d.name, "path": list(d.path)} for d in meter.dimensions],
        "filters": [{"path": list(f.path), "values": list(f.values)} for f in meter.filters],
        "unit": meter.unit,
        "description": meter.description,
        "bucket_s": meter.bucket_s,
        "created_at": meter.created_at,
    }


def meter_from(row: Row) -> Meter:
    return Meter(
        id=row["id"],
        code=row["code"],
        event_type=row["event_type"],
        aggregation=row["aggregation"],
        value_path=None if row["value_path"] is None else tuple(row["value_path"]),
        dimensions=tuple(Dimension(d["name"], tuple(d["path"])) for d in row["dimensions"]),
        filters=tuple(Filter(tuple(f["path"]), tuple(f["values"])) for f in row["filters"]),
        unit=row["unit"],
        description=row["description"],
        bucket_s=row["bucket_s"],
        created_at=row["created_at"],
    )


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
        closed_at=row["closed_at"],
        traceparent=row["traceparent"],
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
        }
        for t in totals
    ]


def totals_from(totals: Sequence[Mapping[str, Any]]) -> tuple[UsageTotal, ...]:
    return tuple(
        UsageTotal(t["item_id"], t["meter"], Decimal(t["quantity"]), t["event_count"], t.get("price_id"))
        for t in totals
    )


def reasons_json(reasons: Sequence[Reason]) -> list[dict[str, str]]:
    return [{"code": r.code, "pointer": r.pointer, "detail": r.detail} for r in reasons]


def reasons_from(reasons: Sequence[Mapping[str, str]]) -> tuple[Reason, ...]:
    return tuple(Reason(r["code"], r["pointer"], r["detail"]) for r in reasons)

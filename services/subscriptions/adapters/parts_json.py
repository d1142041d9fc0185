"""The smaller parts of a subscription ↔ JSON: their own shapes, field by field; nothing at all where they are empty."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from services.subscriptions.domain.agreed_term import AgreedTerm
from services.subscriptions.domain.billing_period import BillingPeriod, Bounds
from services.subscriptions.domain.subscription import (
    DEFAULT_PRORATION,
    Activation,
    Pause,
    ProrationOptions,
    Reminder,
)

PAUSES = TypeAdapter(tuple[Pause, ...])
REMINDERS = TypeAdapter(tuple[Reminder, ...])
ACTIVATION = TypeAdapter(Activation)
TERM = TypeAdapter(AgreedTerm)
PRORATION = TypeAdapter(ProrationOptions)
_BOUNDS = TypeAdapter(Bounds)


def to_json(adapter: TypeAdapter[Any], value: Any) -> Any:
    """None for what is empty."""
    return adapter.dump_python(value, mode="json") if value else None


def proration_to_json(options: ProrationOptions) -> Any:
    return None if options == DEFAULT_PRORATION else to_json(PRORATION, options)


def proration_from_json(value: Any) -> ProrationOptions:
    return DEFAULT_PRORATION if value is None else PRORATION.validate_python(value)


def more_of_period(period: BillingPeriod | None) -> Any:
    """What a whole and regular period does not have."""
    if period is None or (period.kind == "regular" and period.full is None and period.stub_end_on is None):
        return None
    return {
        "kind": period.kind,
        "full": to_json(_BOUNDS, period.full),
        "stub_end_on": period.stub_end_on.isoformat() if period.stub_end_on else None,
        "stub_start_on": period.stub_start_on.isoformat() if period.stub_start_on else None,
    }


def period_from(index: int, bounds: Bounds, more: Any) -> BillingPeriod:
    period = BillingPeriod(index, bounds.start_on, bounds.end_on, bounds.start, bounds.end)
    if more is None:
        return period
    return _PERIOD.validate_python(
        {
            "index": index,
            "start_on": bounds.start_on,
            "end_on": bounds.end_on,
            "start": bounds.start,
            "end": bounds.end,
            **more,
        }
    )


_PERIOD = TypeAdapter(BillingPeriod)

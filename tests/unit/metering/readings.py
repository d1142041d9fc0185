"""Readings and rules for tests, in the words that matter to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from services.metering.domain.counter import CounterRules
from services.metering.domain.plausibility import Settled, settle
from services.metering.domain.reading import Reading

DAY_0 = datetime(2026, 3, 1, tzinfo=UTC)
PLAIN = CounterRules()
SIX_DIGITS = CounterRules(register_digits=6)


def on_day(day: float) -> datetime:
    return DAY_0 + timedelta(days=day)


def a_reading(day: float, value: int | str, **more: Any) -> Reading:
    """What the counter showed so many days after the first of March 2026. Ids sort as days do."""
    for name in ("old_end", "new_start"):
        if more.get(name) is not None:
            more[name] = Decimal(more[name])
    given: dict[str, Any] = {
        "id": f"rdg_{day:08.3f}",
        "meter": "light",
        "subject": "lamp-1",
        "read_at": on_day(day),
        "value": Decimal(value),
        "quality": "actual",
        "received_at": on_day(day),
        "author": "gateway",
        "digest": "",
    }
    return Reading(**{**given, **more})


def estimated(day: float, value: int | str, **more: Any) -> Reading:
    return a_reading(day, value, quality="estimated", **more)


def exchanged(day: float, *, old_end: int, new_start: int, device: str, **more: Any) -> Reading:
    value = more.pop("value", new_start)
    return a_reading(day, value, kind="exchange", old_end=old_end, new_start=new_start, device=device, **more)


def settled(*readings: Reading, rules: CounterRules = PLAIN) -> Settled:
    """All at once, as if none had been looked at before."""
    return settle(None, (), readings, rules)


def quantities(found: Settled) -> list[int]:
    return [int(consumption.quantity) for consumption in found.consumptions]

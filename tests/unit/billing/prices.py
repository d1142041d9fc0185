"""Prices and usage to rate in tests, with all that a test does not care about filled in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from libs.common.periods import Period
from services.billing.domain.rating.price import MatrixCell, Model, Price, PriceTier
from services.billing.domain.rating.usage import LevelChange, Usage, UsageEvent, UsageGroup, usage_of

T0 = datetime(2025, 1, 1, tzinfo=UTC)
JANUARY = Period(T0, T0 + timedelta(days=31), "UTC")


def a_price(
    model: Model,
    unit_amount: str | None = None,
    *,
    package_size: str | None = None,
    included: str = "0",
    currency: str = "EUR",
    **terms: Any,
) -> Price:
    """Amounts may be given as text."""
    return Price(
        id="pri_1",
        code="desk",
        product_id="prd_1",
        description="Desk",
        kind="recurring",
        timing="advance",
        model=model,
        currency=currency,
        unit_amount=None if unit_amount is None else Decimal(unit_amount),
        package_size=None if package_size is None else Decimal(package_size),
        included_quantity=Decimal(included),
        **{
            name: Decimal(term) if name in AMOUNTS else term
            for name, term in terms.items()
            if term is not None
        },
    )


AMOUNTS = (
    "rate_percent",
    "fixed_amount_per_event",
    "free_amount",
    "minimum_amount_per_event",
    "maximum_amount_per_event",
    "minimum_amount",
    "maximum_amount",
)


def a_tier(
    up_to: str | None,
    unit_amount: str,
    flat_amount: str | None = None,
    *,
    cap: str | None = None,
    percent: str | None = None,
) -> PriceTier:
    return PriceTier(
        up_to=None if up_to is None else Decimal(up_to),
        unit_amount=Decimal(unit_amount),
        flat_amount=None if flat_amount is None else Decimal(flat_amount),
        rate_percent=None if percent is None else Decimal(percent),
        cap_amount=None if cap is None else Decimal(cap),
    )


def a_cell(unit_amount: str, *values: str) -> MatrixCell:
    return MatrixCell(values, Decimal(unit_amount))


def events(*values: str, **properties: Any) -> Usage:
    """One event an hour, in this order, all with these properties."""
    return usage_of(
        UsageEvent(T0 + timedelta(hours=hour), Decimal(value), properties)
        for hour, value in enumerate(values)
    )


def groups(quantity: str, *found: tuple[str, dict[str, str | None]]) -> Usage:
    return Usage(
        Decimal(quantity), groups=tuple(UsageGroup(values, Decimal(units)) for units, values in found)
    )


def levels(*found: tuple[int, str]) -> Usage:
    """Levels from so many hours after the start of January on."""
    changes = tuple(LevelChange(T0 + timedelta(hours=hour), Decimal(level)) for hour, level in found)
    return Usage(Decimal(0), levels=changes)

"""Prices of every model with usage that goes with them, for properties."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from typing import Any

from hypothesis import strategies as st

from libs.common.periods import MICROSECOND
from services.billing.domain.rating.allowance import AllowanceBalance, RolledOver
from services.billing.domain.rating.price import MatrixCell, Model, Price, PriceTier, Rollover
from services.billing.domain.rating.rate import Rated, rate_usage
from services.billing.domain.rating.usage import LevelChange, Usage, UsageEvent, usage_of
from tests.unit.billing.prices import JANUARY, T0, a_price

MODELS: tuple[Model, ...] = (
    "flat",
    "per_unit",
    "graduated",
    "volume",
    "package",
    "percentage",
    "graduated_percentage",
    "matrix",
    "dynamic",
    "capacity",
    "expression",
)
QUANTITY_MODELS = MODELS[:5]
TIERED = ("graduated", "volume", "graduated_percentage")
EXPRESSIONS = (
    "quantity * 0.125",
    "max(5, billable / 3) + event_count",
    'sum(value * event("/km", 1)) / 7',
    'sum(if(event("/class") == "gold" and value > 10, round(value * 1.3, 1), ceil(value / 3)))',
    'if(quantity >= 100 or not event_count < 2, min(quantity, 99.5), abs(floor(quantity) - included))',
    'sum(max(1, value) - min(1, value)) * 2 - -quantity',
    'if(sum(event("/km", 2)) != 4, 1, 2) + sum(if(event("/class") != "gold", 1, 0))',
)  # fmt: skip

unit_amounts = st.decimals(0, 1000, places=6)
percents = st.decimals(0, 100, places=3)
quantities = st.decimals(0, 10**6, places=3)
fractions = st.fractions(0, 1, max_denominator=366)
currencies = st.sampled_from(["EUR", "JPY", "KWD", "BHD", "CLF", "UYW"])


@st.composite
def tier_tuples(draw: st.DrawFn, *, in_percent: bool = False, capped: bool = True) -> tuple[PriceTier, ...]:
    """Tiers in order, the last without an end."""
    widths = draw(st.lists(st.decimals("0.001", 10**5, places=3), max_size=4))
    ends: list[Decimal | None] = [*accumulate(widths), None]
    maybe = st.one_of(st.none(), unit_amounts)
    return tuple(
        PriceTier(
            up_to=end,
            unit_amount=Decimal(0) if in_percent else draw(unit_amounts),
            flat_amount=draw(maybe),
            rate_percent=draw(percents) if in_percent else None,
            cap_amount=draw(maybe) if capped else None,
        )
        for end in ends
    )


@st.composite
def prices(draw: st.DrawFn, models: tuple[Model, ...] = QUANTITY_MODELS, *, bounded: bool = False) -> Price:
    model = draw(st.sampled_from(models))
    terms: dict[str, Any] = {}
    if model in TIERED or (model == "capacity" and draw(st.booleans())):
        terms["tiers"] = draw(tier_tuples(in_percent=model == "graduated_percentage"))
        terms["charges_first_flat_at_zero"] = draw(st.booleans())
    if model == "package":
        terms["package_size"] = str(draw(st.decimals("0.001", 5000, places=3)))
        terms["package_rounding"] = draw(st.sampled_from(["up", "down"]))
    if model == "percentage":
        terms.update(draw(percentage_terms()))
    if model == "matrix":
        terms["dimensions"] = ("class", "km")
        named = [("gold", "*"), ("*", "2.5"), ("gold", "2.5")]
        chosen = [*draw(st.lists(st.sampled_from(named), unique=True)), ("*", "*")]
        terms["cells"] = tuple(MatrixCell(values, draw(unit_amounts)) for values in chosen)
    if model == "capacity":
        terms["capacity_basis"] = draw(st.sampled_from(["peak", "time_weighted"]))
    if model == "expression":
        terms["expression"] = draw(st.sampled_from(EXPRESSIONS))
    if bounded:
        least = draw(st.one_of(st.none(), st.decimals(0, 10**5, places=4)))
        terms["minimum_amount"] = least
        terms["maximum_amount"] = draw(st.one_of(st.none(), st.decimals(least or 0, 10**6, places=4)))
    has_unit_amount = model in ("flat", "per_unit", "package") or (
        model == "capacity" and "tiers" not in terms
    )
    if model == "dynamic":
        has_unit_amount = draw(st.booleans())
    return a_price(
        model,
        str(draw(unit_amounts)) if has_unit_amount else None,
        included=draw(st.sampled_from(["0", "0.5", "50"])),
        currency=draw(currencies),
        **terms,
    )


@st.composite
def percentage_terms(draw: st.DrawFn) -> dict[str, Any]:
    amounts = st.one_of(st.none(), st.decimals(0, 100, places=2))
    least = draw(amounts)
    return {
        "rate_percent": draw(percents),
        "fixed_amount_per_event": draw(amounts),
        "free_events": draw(st.one_of(st.none(), st.integers(0, 3))),
        "free_amount": draw(st.one_of(st.none(), st.decimals(0, 500, places=2))),
        "minimum_amount_per_event": least,
        "maximum_amount_per_event": draw(st.one_of(st.none(), st.decimals(least or 0, 200, places=2))),
    }


@st.composite
def event_tuples(draw: st.DrawFn) -> tuple[UsageEvent, ...]:
    values = draw(st.lists(st.decimals(0, 1000, places=2), max_size=6))
    fields = st.fixed_dictionaries(
        {}, optional={"class": st.sampled_from(["gold", "tin"]), "km": st.sampled_from([3, "2.5", Decimal("0.75")])}
    )  # fmt: skip
    return tuple(
        UsageEvent(T0 + timedelta(hours=draw(st.integers(0, 700))), value, draw(fields), id=f"{number}")
        for number, value in enumerate(values)
    )


@st.composite
def usages(draw: st.DrawFn, price: Price) -> Usage:
    if price.model in ("percentage", "matrix", "dynamic", "expression"):
        return usage_of(draw(event_tuples()))
    if price.model == "capacity" and draw(st.booleans()):
        instants = st.integers(-(10**9), JANUARY.length_us + 10**9)
        changes = draw(st.dictionaries(instants, st.decimals(0, 500, places=1), max_size=5))
        return Usage(
            quantity=draw(quantities),
            levels=tuple(LevelChange(T0 + at * MICROSECOND, level) for at, level in changes.items()),
        )
    return Usage(quantity=draw(quantities))


@st.composite
def ratings(draw: st.DrawFn, models: tuple[Model, ...] = MODELS) -> Rated:
    price = draw(prices(models, bounded=True))
    allowance = None
    if price.model in ("per_unit", "graduated", "volume", "package", "dynamic") and draw(st.booleans()):
        units = st.decimals(0, 100, places=1)
        entries = st.lists(st.builds(RolledOver, units, st.integers(1, 3)), max_size=2).map(tuple)
        allowance = draw(st.builds(AllowanceBalance, units, entries, entries))
        price = replace(price, rollover=draw(st.sampled_from([None, Rollover()])))
    return rate_usage(
        price,
        draw(usages(price)),
        JANUARY,
        fraction=draw(fractions | st.just(Fraction(1))),
        bounds_fraction=draw(st.none() | fractions),
        allowance=allowance,
    )

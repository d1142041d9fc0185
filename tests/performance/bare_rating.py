"""The arithmetic of each price model, as the barest loop over decimals: no explanation, no checks, lines as amounts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import Any

from libs.common.periods import Period
from services.billing.domain.rating.price import MatrixCell, Model, Price, PriceTier
from services.billing.domain.rating.rate import RatedLine, rate, rate_usage
from services.billing.domain.rating.usage import LevelChange, Usage, UsageEvent, UsageGroup, usage_of

CENT, ZERO, HUNDRED = Decimal("0.01"), Decimal(0), Decimal(100)
T0 = datetime(2025, 1, 1, tzinfo=UTC)
MONTH = Period(T0, T0 + timedelta(days=31), "UTC")
MONTH_S = Decimal(31 * 86_400)
EVENTS = 20

Lines = list[Decimal]


@dataclass(frozen=True, slots=True)
class Contest:
    """One model: what is rated, ours and theirs."""

    model: Model
    inputs: Sequence[Any]
    ours: Callable[[Any], Sequence[RatedLine]]
    theirs: Callable[[Any], Lines]


def contests() -> list[Contest]:
    """Every model, each with a hundred different usages."""
    quantities = [Decimal(n) * Decimal("3.07") for n in range(100)]
    return [
        _flat(quantities),
        _per_unit(quantities),
        _graduated(quantities),
        _volume(quantities),
        _package(quantities),
        _percentage(),
        _graduated_percentage(quantities),
        _matrix(quantities),
        _dynamic(quantities),
        _capacity(quantities),
        _expression(quantities),
    ]


def _price(model: Model, **terms: Any) -> Price:
    return Price(
        id="prc_1",
        code="bench",
        product_id="prd_1",
        description="Bench",
        kind="usage",
        timing="arrears",
        model=model,
        currency="EUR",
        **terms,
    )


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def _flat(quantities: Sequence[Decimal]) -> Contest:
    unit = Decimal("99.99")
    price = _price("flat", unit_amount=unit)
    return Contest("flat", quantities, lambda quantity: rate(price, quantity), lambda _: [_rounded(unit * 1)])


def _per_unit(quantities: Sequence[Decimal]) -> Contest:
    unit = Decimal("0.004305")
    price = _price("per_unit", unit_amount=unit)
    return Contest(
        "per_unit",
        quantities,
        lambda quantity: rate(price, quantity),
        lambda quantity: [_rounded(quantity * unit)],
    )


def _tiers(in_percent: bool = False) -> tuple[PriceTier, ...]:
    ends = (Decimal(50), Decimal(150), None)
    rates = (Decimal("3.10"), Decimal("2.75"), Decimal("2.05"))
    if in_percent:
        return tuple(PriceTier(end, rate_percent=rate) for end, rate in zip(ends, rates, strict=True))
    return tuple(PriceTier(end, rate) for end, rate in zip(ends, rates, strict=True))


def _by_tier(quantity: Decimal, tiers: Sequence[tuple[Decimal | None, Decimal]]) -> Lines:
    lines: Lines = []
    lower = ZERO
    for up_to, unit in tiers:
        if up_to is None or quantity <= up_to:
            lines.append(((quantity - lower) * unit).quantize(CENT, ROUND_HALF_UP))
            break
        lines.append(((up_to - lower) * unit).quantize(CENT, ROUND_HALF_UP))
        lower = up_to
    return lines


def _graduated(quantities: Sequence[Decimal]) -> Contest:
    price = _price("graduated", tiers=_tiers())
    tiers = [(tier.up_to, tier.unit_amount) for tier in price.tiers]
    return Contest(
        "graduated",
        quantities,
        lambda quantity: rate(price, quantity),
        lambda quantity: _by_tier(quantity, tiers),
    )


def _graduated_percentage(quantities: Sequence[Decimal]) -> Contest:
    price = _price("graduated_percentage", tiers=_tiers(in_percent=True))
    tiers = [(tier.up_to, tier.rate_percent or ZERO) for tier in price.tiers]

    def theirs(quantity: Decimal) -> Lines:
        return _by_tier(quantity, [(up_to, percent / HUNDRED) for up_to, percent in tiers])

    return Contest("graduated_percentage", quantities, lambda quantity: rate(price, quantity), theirs)


def _volume(quantities: Sequence[Decimal]) -> Contest:
    price = _price("volume", tiers=_tiers())
    tiers = [(tier.up_to, tier.unit_amount) for tier in price.tiers]

    def theirs(quantity: Decimal) -> Lines:
        for up_to, unit in tiers:
            if up_to is None or quantity <= up_to:
                return [(quantity * unit).quantize(CENT, ROUND_HALF_UP)]
        return []

    return Contest("volume", quantities, lambda quantity: rate(price, quantity), theirs)


def _package(quantities: Sequence[Decimal]) -> Contest:
    unit, size = Decimal("1.25"), Decimal(10)
    price = _price("package", unit_amount=unit, package_size=size)

    def theirs(quantity: Decimal) -> Lines:
        return [_rounded((quantity / size).to_integral_value(ROUND_CEILING) * unit)]

    return Contest("package", quantities, lambda quantity: rate(price, quantity), theirs)


def _event_usages() -> list[Usage]:
    return [
        usage_of(
            UsageEvent(
                T0 + timedelta(hours=n), Decimal(10 * n + usage), {"km": Decimal(n + usage)}, id=str(n)
            )
            for n in range(EVENTS)
        )
        for usage in range(100)
    ]


def _percentage() -> Contest:
    percent, fixed, least, most = Decimal("2.9"), Decimal("0.30"), Decimal("0.50"), Decimal("4.00")
    price = _price(
        "percentage",
        rate_percent=percent,
        fixed_amount_per_event=fixed,
        minimum_amount_per_event=least,
        maximum_amount_per_event=most,
        free_events=2,
    )

    def theirs(usage: Usage) -> Lines:
        share = percent / HUNDRED
        whole = ZERO
        for event in sorted(usage.events or (), key=lambda event: event.at)[2:]:
            whole += min(most, max(least, event.value * share + fixed))
        return [_rounded(whole)]

    return Contest("percentage", _event_usages(), lambda usage: rate_usage(price, usage).lines, theirs)


def _matrix(quantities: Sequence[Decimal]) -> Contest:
    cells = {("eu", "gold"): Decimal("2.5"), ("eu", "*"): Decimal("3.5"), ("*", "*"): Decimal("4.5")}
    price = _price(
        "matrix",
        dimensions=("region", "class"),
        cells=tuple(MatrixCell(values, unit) for values, unit in cells.items()),
    )
    usages = [
        Usage(
            quantity,
            groups=(
                UsageGroup({"region": "eu", "class": "gold"}, quantity),
                UsageGroup({"region": "eu", "class": "tin"}, quantity),
                UsageGroup({"region": "us", "class": "tin"}, quantity),
            ),
        )
        for quantity in quantities
    ]

    def theirs(usage: Usage) -> Lines:
        found: dict[tuple[str, str], Decimal] = {}
        for group in usage.groups or ():
            region, kind = str(group.values["region"]), str(group.values["class"])
            for cell in ((region, kind), (region, "*"), ("*", kind), ("*", "*")):
                if cell in cells:
                    found[cell] = found.get(cell, ZERO) + group.quantity
                    break
        return [_rounded(quantity * cells[cell]) for cell, quantity in found.items()]

    return Contest("matrix", usages, lambda usage: rate_usage(price, usage).lines, theirs)


def _dynamic(quantities: Sequence[Decimal]) -> Contest:
    multiple = Decimal("1.15")
    price = _price("dynamic", unit_amount=multiple)
    return Contest(
        "dynamic",
        quantities,
        lambda quantity: rate(price, quantity),
        lambda quantity: [_rounded(quantity * multiple)],
    )


def _capacity(quantities: Sequence[Decimal]) -> Contest:
    unit = Decimal("8.40")
    price = _price("capacity", unit_amount=unit, capacity_basis="time_weighted")
    usages = [
        Usage(
            quantity, levels=tuple(LevelChange(T0 + timedelta(days=3 * n), quantity + n) for n in range(10))
        )
        for quantity in quantities
    ]

    def theirs(usage: Usage) -> Lines:
        changes = sorted(usage.levels or (), key=lambda change: change.at)
        ends = [*[change.at for change in changes[1:]], MONTH.end]
        weighed = ZERO
        for change, end in zip(changes, ends, strict=True):
            weighed += change.level * int((end - change.at).total_seconds())
        return [_rounded(weighed / MONTH_S * unit)]

    return Contest("capacity", usages, lambda usage: rate_usage(price, usage, MONTH).lines, theirs)


def _expression(quantities: Sequence[Decimal]) -> Contest:
    """A least, a discounted start and a surcharge beyond an edge: what people write such prices for."""
    price = _price(
        "expression",
        expression="max(5, quantity * 0.125) + min(quantity, 50) * 0.4 + if(quantity > 100, (quantity - 100) * 0.02, 0)",
    )
    five, fifty, edge = Decimal(5), Decimal(50), Decimal(100)
    all_of_it, start, beyond = Decimal("0.125"), Decimal("0.4"), Decimal("0.02")

    def theirs(quantity: Decimal) -> Lines:
        more = (quantity - edge) * beyond if quantity > edge else ZERO
        return [_rounded(max(five, quantity * all_of_it) + min(quantity, fifty) * start + more)]

    return Contest("expression", quantities, lambda quantity: rate(price, quantity), theirs)

"""Plans to simulate in tests, and what came of it, with all that a test does not care about filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from libs.common.periods import Interval, start_of_day
from services.billing.domain.plan_terms import Phase, PlanTerms
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.rating.price import Model, Price
from services.billing.domain.simulation.scenario import Scenario
from services.billing.domain.simulation.schedule import schedule
from services.billing.domain.simulation.simulate import simulate
from services.billing.domain.simulation.simulated import SimulatedPlan
from services.billing.domain.simulation.timetable import Timetable
from services.billing.domain.simulation.usage_given import GivenUsage, UsageBook
from tests.unit.billing.prices import a_price

ZONE = "Europe/Amsterdam"
MONTH, YEAR = Interval("month"), Interval("year")


def a_fee(code: str, unit_amount: str, model: Model = "per_unit", **terms: Any) -> Price:
    """Recurring, in advance, unless told otherwise."""
    return _named(code, a_price(model, unit_amount, **terms))


def a_usage_price(code: str, model: Model, unit_amount: str | None = None, **terms: Any) -> Price:
    """In arrears, by a meter of the same name."""
    price = _named(code, a_price(model, unit_amount, **terms))
    return replace(price, kind="usage", timing="arrears", meter=code)


def _named(code: str, price: Price) -> Price:
    return replace(
        price, id=f"pri_{code}", code=code, description=code.capitalize(), product_id=f"prd_{code}"
    )


def a_plan(*prices: Price, interval: Interval = MONTH, **changes: Any) -> PlanTerms:
    plan = PlanTerms("plan", "Plan", prices[0].currency, interval, prices)
    return replace(plan, **changes)


def phases(*named: tuple[str, int | None]) -> tuple[Phase, ...]:
    return tuple(Phase(code, code, periods) for code, periods in named)


def at_least(code: str, *, of: Sequence[str] = (), per: str = "period", **terms: str) -> Commitment:
    amounts = {name: Decimal(amount) for name, amount in terms.items()}
    return Commitment(code, code.capitalize(), "EUR", tuple(of), per, **amounts)  # type: ignore[arg-type]


def used(code: str, quantity: str, **told: Any) -> GivenUsage:
    return GivenUsage("/usage/0", meter=code, quantity=Decimal(quantity), **told)


def used_by_period(code: str, *quantities: str) -> tuple[GivenUsage, ...]:
    return tuple(used(code, quantity, period=period) for period, quantity in enumerate(quantities))


def simulated(
    plan: PlanTerms,
    *usage: GivenUsage,
    start: str = "2026-01-01",
    periods: int = 1,
    step: Interval = MONTH,
    until: str | None = None,
    anchor: str | None = None,
    quantities: Mapping[str, str] | None = None,
    in_use: tuple[str | None, str | None] = (None, None),
    phase: str | None = None,
    currency: str | None = None,
    **changes: Any,
) -> SimulatedPlan:
    start_on = date.fromisoformat(start)
    if until is not None:
        timetable = Timetable(ZONE, start_on, start_on, end_on=date.fromisoformat(until))
    else:
        anchor_on = date.fromisoformat(anchor) if anchor else start_on
        timetable = Timetable(ZONE, start_on, anchor_on, periods, step)
    since, before = (None if on is None else start_of_day(date.fromisoformat(on), ZONE) for on in in_use)
    scenario = Scenario(
        timetable=timetable,
        usage=UsageBook(timetable, usage),
        quantities={code: Decimal(quantity) for code, quantity in (quantities or {}).items()},
        in_use_from=since,
        in_use_until=before,
        **changes,
    )
    currency = currency or plan.currency
    planned = schedule(plan, timetable, currency=currency, phase=phase, at="/candidates/0")
    assert not planned.faults, planned.faults
    return simulate(plan, planned, scenario, currency=currency, at="/candidates/0")


def amounts(found: SimulatedPlan) -> list[list[tuple[str, str, str]]]:
    """For each period the lines: code, quantity and amount."""
    return [
        [
            (charge.code, f"{line.quantity:f}", f"{line.amount.to_decimal():f}")
            for charge in period.charges
            for line in charge.lines
        ]
        for period in found.periods
    ]


def sums(found: SimulatedPlan, code: str | None = None) -> list[str]:
    """What each period comes to, of one price or of all."""
    return [
        format(
            sum((c.amount.to_decimal() for c in period.charges if code in (None, c.code)), start=Decimal(0)),
            "f",
        )
        for period in found.periods
    ]

"""Proration cases in the words of the engine: a part of a period is a fraction, and a price is rated for it."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from libs.common.money import Money, total
from libs.common.periods import (
    Period,
    days_between,
    index_on,
    local_date,
    nth_period,
    period_at,
)
from services.billing.domain.invoice_totals import tax_on_net
from services.billing.domain.proration import fraction_in_use
from services.billing.domain.rating.price import Proration
from services.billing.domain.rating.rate import RatedLine, rate
from tests.cases.case_files import Case, as_instant
from tests.cases.comparison import rounded_fraction
from tests.cases.periods import INTERVALS, anchor_of_day, calendar_anchor, interval_of
from tests.cases.pricing import price_of

DAY = timedelta(days=1)


def fraction(case: Case) -> Mapping[str, Any]:
    assert "fixed_days" not in case.given
    part = fraction_in_use(used=_period(case, "from", "to"), full=_full(case), method="day")
    return {"fraction": rounded_fraction(part), "fraction_of": [part.numerator, part.denominator]}


def days(case: Case) -> Mapping[str, Any]:
    assert "fixed_days" not in case.given
    start_on, end_on = (local_date(case.instant(name), case.zone) for name in ("from", "to"))
    return {"days": days_between(start_on, end_on, case.zone)}


def billed_cycles(case: Case) -> Mapping[str, Any]:
    """In advance, a period is billed once its first day in use has been reached."""
    assert case.given["mode"] == "in_advance"
    interval, start_on = interval_of(case), case.on("start")
    anchor_on = anchor_of_day(start_on, case.given["anchor_day"], interval)
    end_on = case.on("end") if "end" in case.given else date(2200, 1, 1)
    life = Period.between(start_on, end_on, case.zone)
    first = index_on(anchor_on, interval, start_on)
    last = index_on(anchor_on, interval, case.on("billed_until_run"))
    cycles = Decimal(0)
    for index in range(first, last + 1):
        full = nth_period(anchor_on, interval, case.zone, index)
        used = full.overlap(life)
        if used is not None:
            cycles += rounded_fraction(fraction_in_use(used=used, full=full, method="day"))
    return {"cycles": cycles}


def period_amount(case: Case) -> Mapping[str, Any]:
    assert "fixed_days" not in case.given
    method: Proration = "day" if case.given["prorate"] else "full"
    part = fraction_in_use(used=_period(case, "from", "to"), full=_full(case), method=method)
    return {"charge": _amount(case.given, case.given["currency"], part)}


def first_period_fee(case: Case) -> Mapping[str, Any]:
    assert "trial_days" not in case.given
    interval, start = interval_of(case), case.instant("start")
    assert case.given["anchoring"] == "calendar"
    anchor_on = calendar_anchor(local_date(start, case.zone), interval)
    full = period_at(anchor_on, interval, case.zone, start)
    _, used = full.split(start)
    (line,) = _rated(case.given, case.given["currency"], fraction_in_use(used=used, full=full, method="day"))
    return {"amount": line.amount, "exact_minor_units": line.exact * 100}


def plan_change(case: Case) -> Mapping[str, Any]:
    """The rest of the old is given back, the rest of the new is charged, each rounded by itself."""
    assert case.given.get("mode") is None
    given, currency = case.given, case.given["currency"]
    by_second = case.convention.get("proration", "").startswith("by second")
    restarts = "interval_change" in case.convention
    rest = _rest_of_period(case, "second" if by_second else "day")
    credit = _side(given.get("old"), currency, rest)
    charge = _side(given["new"], currency, Fraction(1) if restarts else rest)
    found: dict[str, Any] = {"credit": credit, "charge": charge, "net": charge - credit}
    if "period_end_inclusive" in given:  # these cases write credits as negative amounts
        found["credit"] = -credit
    if "tax_percent" in given:
        found["credit_with_tax"] = credit + tax_on_net(credit, Decimal(given["tax_percent"]))
    if restarts:
        on = local_date(case.instant("change_at"), case.zone)
        anew = nth_period(on, INTERVALS[given["new"]["interval"]], case.zone, 0)
        found |= {"new_period_start": anew.start, "new_period_end": anew.end}
    return found


def quantity_change(case: Case) -> Mapping[str, Any]:
    """Only the units added or given back are rated, for the rest of the period."""
    assert "quantity_change" in case.convention
    change = case.given["new_quantity"] - case.given["old_quantity"]
    rest = _rest_of_period(case, "second")
    terms = {"unit_amount": case.given["unit_amount"], "quantity": str(abs(change))}
    amount = _amount(terms, case.given["currency"], rest)
    return {"charge" if change > 0 else "credit": amount}


def component_change(case: Case) -> Mapping[str, Any]:
    assert "longer_component" not in case.convention
    currency, rest = case.given["currency"], _rest_of_period(case, "day")
    lines = []
    for component in case.given["components"]:
        if "old" in component:
            lines.append(-_amount(component["old"], currency, rest))
        if "new" in component:
            lines.append(_amount(component["new"], currency, rest))
    return {"lines": lines, "net": total(lines, currency)}


def _side(terms: Mapping[str, Any] | None, currency: str, part: Fraction) -> Money:
    return Money.zero(currency) if terms is None else _amount(terms, currency, part)


def _amount(terms: Mapping[str, Any], currency: str, part: Fraction) -> Money:
    return total((line.amount for line in _rated(terms, currency, part)), currency)


def _rated(terms: Mapping[str, Any], currency: str, part: Fraction) -> tuple[RatedLine, ...]:
    assert "discount" not in terms
    if "unit_amount" in terms:
        model = {"type": "per_unit", "unit_amount": terms["unit_amount"]}
    else:
        model = {"type": "flat", "amount": terms["amount"]}
    return rate(price_of(model, currency), Decimal(terms.get("quantity", "1")), fraction=part)


def _period(case: Case, start: str, end: str) -> Period:
    return Period(case.instant(start), case.instant(end), case.zone)


def _full(case: Case) -> Period:
    if "anchoring" in case.given:
        anchored_on = local_date(case.instant("anchor"), case.zone)
        is_calendar = case.given["anchoring"] == "calendar"
        interval = interval_of(case)
        anchor_on = calendar_anchor(anchored_on, interval) if is_calendar else anchored_on
        return period_at(anchor_on, interval, case.zone, case.instant("change_at"))
    if "period_end_inclusive" in case.given:
        last = as_instant(case.given["period_end_inclusive"])
        return Period(case.instant("period_start"), last + DAY, case.zone)
    return _period(case, "period_start", "period_end")


def _rest_of_period(case: Case, method: Proration) -> Fraction:
    if "fraction_remaining" in case.given:
        return Fraction(case.given["fraction_remaining"])
    full = _full(case)
    _, rest = full.split(case.instant("change_at"))
    return fraction_in_use(used=rest, full=full, method=method)


RUNNERS: Mapping[str, Callable[[Case], Mapping[str, Any]]] = {
    "fraction": fraction,
    "days_between": days,
    "billed_cycles": billed_cycles,
    "period_amount": period_amount,
    "first_period_fee": first_period_fee,
    "plan_change": plan_change,
    "quantity_change": quantity_change,
    "component_change": component_change,
}

"""Proration cases in the words of the engine: a part of a period is a fraction, and a price is rated for it."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from libs.common.money import Money, exponent, total
from libs.common.periods import (
    Interval,
    Period,
    boundary,
    days_between,
    days_in_use,
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
from tests.cases.comparison import AnyOrder, Approximately, rounded_fraction
from tests.cases.periods import INTERVALS, anchor_of_day, calendar_anchor, interval_of
from tests.cases.prices import price_of

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def fraction(case: Case) -> Mapping[str, Any]:
    part = fraction_in_use(used=_period(case, "from", "to"), full=_full(case), method="day")
    return {"fraction": rounded_fraction(part), "fraction_of": [part.numerator, part.denominator]}


def days(case: Case) -> Mapping[str, Any]:
    start_on, end_on = (local_date(case.instant(name), case.zone) for name in ("from", "to"))
    return {"days": days_between(start_on, end_on, case.zone)}


def billed_cycles(case: Case) -> Mapping[str, Any]:
    """In advance, a period is billed once its first day in use has been reached."""
    assert case.given["mode"] == "in_advance", "a known mode"
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
            full = _stub(case, full, interval) if full.start < life.start else full
            cycles += rounded_fraction(fraction_in_use(used=used, full=full, method="day"))
    return {"cycles": cycles}


def _stub(case: Case, full: Period, interval: Interval) -> Period:
    """What a first part is a part of: where a stub has a denominator of its own, one interval before its end."""
    if "stub_denominator" not in case.convention:
        return full
    return Period.between(boundary(full.end_on, interval, -1), full.end_on, case.zone)


def period_amount(case: Case) -> Mapping[str, Any]:
    """A part without length stands for the whole, and none is more than the whole."""
    full, part = _full(case), _period(case, "from", "to")
    method: Proration = "day" if case.given["prorate"] and part.length_us else "full"
    share = fraction_in_use(used=part.overlap(full) or full.split(full.end)[1], full=full, method=method)
    amount = _amount(case.given, case.given["currency"], share)
    return {"charge": amount, "credit": amount}


def first_period_fee(case: Case) -> Mapping[str, Any]:
    """The fee of the rest of the period in which the start lies."""
    full, start_on = _full_at(case, case.instant("start")), local_date(case.instant("start"), case.zone)
    return _fee(case, full, start_on, _day_after_last(case, full, start_on.day))


def termination_fee(case: Case) -> Mapping[str, Any]:
    """The fee of the last period; where the last day counts as used, it is in use until the day after."""
    full = _full_at(case, case.instant("terminated_at"))
    first_on = max(full.start_on, local_date(case.instant("start"), case.zone))
    end_on = local_date(case.instant("terminated_at"), case.zone)
    return _fee(case, full, first_on, end_on + DAY if _counts_last_day(case) else end_on)


def _fee(case: Case, full: Period, first_on: date, until_on: date) -> Mapping[str, Any]:
    """A trial takes the first days after the start."""
    start_on = local_date(case.instant("start"), case.zone)
    charged_on = max(first_on, start_on + timedelta(days=case.given.get("trial_days") or 0))
    share = Fraction(days_between(charged_on, until_on, case.zone), days_in_use(full))
    (line,) = _rated(case.given, case.given["currency"], share)
    return {
        "amount": line.amount,
        "exact_minor_units": Approximately(line.exact * 10 ** exponent(case.given["currency"])),
        "days": days_between(first_on, until_on, case.zone),
        "period_days": days_in_use(full),
    }


def _full_at(case: Case, instant: datetime) -> Period:
    """The period, counted from the start or from the calendar, in which an instant lies."""
    interval, anchor_on = interval_of(case), local_date(case.instant("start"), case.zone)
    if case.given["anchoring"] == "calendar":
        anchor_on = calendar_anchor(anchor_on, interval)
    return period_at(anchor_on, interval, case.zone, instant)


def _counts_last_day(case: Case) -> bool:
    return "both first and last day counted as used" in case.names("proration")


def _day_after_last(case: Case, full: Period, anchor_day: int) -> date:
    """Until when a period is in use. Here it ends where the next one begins.

    A source whose last day counts ends a period on the day before the anchor's, which in a short month is the
    month's last day, the same as that on which the next period begins.
    """
    is_clamped = case.given["anchoring"] != "calendar" and full.end_on.day < anchor_day
    has_months = interval_of(case).unit in ("month", "year")
    return full.end_on + DAY if is_clamped and has_months and _counts_last_day(case) else full.end_on


def plan_change(case: Case) -> Mapping[str, Any]:
    """The rest of the old is given back, the rest of the new is charged, each rounded by itself."""
    given, currency = case.given, case.given["currency"]
    by_second = case.names("proration").startswith("by second")
    restarts = "interval_change" in case.convention
    rest = _rest_of_period(case, "second" if by_second else "day")
    credit = _side(given.get("old"), currency, rest)
    charge = _side(given["new"], currency, Fraction(1) if restarts else rest)
    found: dict[str, Any] = {"credit": credit, "charge": charge, "net": charge - credit}
    if "period_end_inclusive" in given:  # these cases write credits as negative amounts
        found["credit"] = -credit
    if "tax_percent" in given:
        percent = Decimal(given["tax_percent"])
        found["credit_with_tax"] = credit + tax_on_net(credit, percent)
        found["charge_with_tax"] = charge + tax_on_net(charge, percent)
    if restarts:
        on = local_date(case.instant("change_at"), case.zone)
        anew = nth_period(on, INTERVALS[given["new"]["interval"]], case.zone, 0)
        found |= {"new_period_start": anew.start, "new_period_end": anew.end}
    return found


def quantity_change(case: Case) -> Mapping[str, Any]:
    """Only the units added or given back are rated, for the rest of the period."""
    change = Decimal(case.given["new_quantity"]) - Decimal(case.given["old_quantity"])
    rest = _rest_of_period(case, "day" if case.names("proration").startswith("by day") else "second")
    terms = {"unit_amount": case.given["unit_amount"], "quantity": str(abs(change))}
    amount = _amount(terms, case.given["currency"], rest)
    return {"charge" if change > 0 else "credit": amount}


def item_change(case: Case) -> Mapping[str, Any]:
    """An item added is charged for the rest of the period, one that is taken away is given back for it."""
    rest = _rest_of_period(case, "second")
    amount = _amount(case.given, case.given["currency"], rest)
    return {"charge": amount} if case.given["action"] == "add" else {"credit": amount}


def component_change(case: Case) -> Mapping[str, Any]:
    """The old of each component is given back for the rest of the period, and its new charged; in any order."""
    currency = case.given["currency"]
    lines = []
    for component in case.given["components"]:
        for terms, sign in ((component.get("old"), -1), (component.get("new"), 1)):
            if terms is not None:
                amount = _amount(terms, currency, _rest_for(case, terms))
                lines.append(amount if sign > 0 else -amount)
    return {"lines": AnyOrder(lines), "net": total(lines, currency)}


def _rest_for(case: Case, terms: Mapping[str, Any]) -> Fraction:
    """A component that is charged for longer than the period has its own, which begins with it."""
    if "longer_component" not in case.convention or "interval" not in terms:
        return _rest_of_period(case, "day")
    _, rest = _full(case).split(case.instant("change_at"))
    own = nth_period(local_date(_full(case).start, case.zone), INTERVALS[terms["interval"]], case.zone, 0)
    return fraction_in_use(used=rest, full=own, method="day")


def _side(terms: Mapping[str, Any] | None, currency: str, part: Fraction) -> Money:
    return Money.zero(currency) if terms is None else _amount(terms, currency, part)


def _amount(terms: Mapping[str, Any], currency: str, part: Fraction) -> Money:
    return total((line.amount for line in _rated(terms, currency, part)), currency)


def _rated(terms: Mapping[str, Any], currency: str, part: Fraction) -> tuple[RatedLine, ...]:
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
    full, change_at = _full(case), case.instant("change_at")
    if "subtracts one second from the period end" in case.names("proration"):
        full = Period(full.start, full.end - SECOND, case.zone)
    _, rest = full.split(change_at)
    return fraction_in_use(used=rest, full=full, method=method)


RUNNERS: Mapping[str, Callable[[Case], Mapping[str, Any]]] = {
    "fraction": fraction,
    "days_between": days,
    "billed_cycles": billed_cycles,
    "period_amount": period_amount,
    "first_period_fee": first_period_fee,
    "termination_fee": termination_fee,
    "plan_change": plan_change,
    "quantity_change": quantity_change,
    "item_change": item_change,
    "component_change": component_change,
}

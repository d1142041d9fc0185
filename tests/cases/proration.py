"""Proration cases in the words of the engine: a part of a period is a fraction, and a price is rated for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from libs.common.money import Money, exponent, total
from libs.common.periods import (
    Interval,
    Period,
    days_between,
    days_in_use,
    index_on,
    local_date,
    nth_period,
    period_at,
    start_of_day,
)
from services.billing.domain.charge import Charge
from services.billing.domain.invoice_totals import tax_on_net
from services.billing.domain.proration import (
    ProrationOptions,
    days_of_fixed_months,
    fraction_in_use,
    measured_against,
)
from services.billing.domain.rating.price import Price, Proration
from services.billing.domain.rating.rate import RatedLine, rate
from tests.cases.case_files import Case, as_instant
from tests.cases.comparison import AnyOrder, Approximately, rounded_fraction
from tests.cases.periods import INTERVALS, anchor_of_day, calendar_anchor, interval_of
from tests.cases.settling import Part, quantity_of, recurring_price, settled, sum_of

Terms = Mapping[str, Any]

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def options_of(case: Case) -> ProrationOptions:
    """The options of the product that a case's convention comes to."""
    proration = case.names("proration")
    return ProrationOptions(
        day_count="thirty_day_months" if "fixed 30-day month" in proration else "actual",
        end_day="used" if "both first and last day counted as used" in proration else "unused",
        stub="unclamped" if "stub_denominator" in case.convention else "anchored",
    )


def fraction(case: Case) -> Mapping[str, Any]:
    used, full = _period(case, "from", "to"), _full(case)
    part = fraction_in_use(used=used, full=full, method="day", options=options_of(case))
    return {"fraction": rounded_fraction(part), "fraction_of": [part.numerator, part.denominator]}


def days(case: Case) -> Mapping[str, Any]:
    start_on, end_on = (local_date(case.instant(name), case.zone) for name in ("from", "to"))
    if "fixed_days" in case.given:
        return {"days": days_of_fixed_months(start_on, end_on, month_days=case.given["fixed_days"])}
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
            full = measured_against(used=used, full=full, interval=interval, options=options_of(case))
            cycles += rounded_fraction(fraction_in_use(used=used, full=full, method="day"))
    return {"cycles": cycles}


def period_amount(case: Case) -> Mapping[str, Any]:
    """A part without length stands for the whole, and none is more than the whole."""
    full, part = _full(case), _period(case, "from", "to")
    method: Proration = "day" if case.given.get("prorate", True) and part.length_us else "full"
    used = part.overlap(full) or full.split(full.end)[1]
    share = fraction_in_use(used=used, full=full, method=method, options=options_of(case))
    amount = _amount(case.given, case.given["currency"], share)
    return {"charge": amount, "credit": amount}


def first_period_fee(case: Case) -> Mapping[str, Any]:
    """The fee of the rest of the period in which the start lies."""
    full, start_on = _full_at(case, case.instant("start")), local_date(case.instant("start"), case.zone)
    return _fee(case, full, start_on, _day_after_last(case, full, start_on.day))


def termination_fee(case: Case) -> Mapping[str, Any]:
    """The fee of the last period, which ends with the agreement."""
    full, ended_at = _full_at(case, case.instant("terminated_at")), case.instant("terminated_at")
    begun_at = max(full.start, start_of_day(local_date(case.instant("start"), case.zone), case.zone))
    fee = recurring_price("fee", case.given, case.given["currency"], in_advance=False)
    (charge,) = settled(
        full,
        [Part("plan", fee, quantity_of(case.given), begun_at, ended_at)],
        until=full.end,
        ends_at=ended_at,
        options=options_of(case),
    )
    days = charge.fraction * days_in_use(full)
    return {"amount": charge.amount, "days": days, "period_days": days_in_use(full)}


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


def _day_after_last(case: Case, full: Period, anchor_day: int) -> date:
    """Until when a period is in use. Here it ends where the next one begins.

    A source whose last day counts ends a period on the day before the anchor's, which in a short month is the
    month's last day, the same as that on which the next period begins.
    """
    is_clamped = case.given["anchoring"] != "calendar" and full.end_on.day < anchor_day
    has_months = interval_of(case).unit in ("month", "year")
    counts_last = options_of(case).end_day == "used"
    return full.end_on + DAY if is_clamped and has_months and counts_last else full.end_on


def plan_change(case: Case) -> Mapping[str, Any]:
    """The rest of the old is given back, the rest of the new is charged, each rounded by itself.

    Where a change resets the period and credits nothing, that is the method `full`: what ends was charged whole.
    """
    given, currency = case.given, case.given["currency"]
    resets = case.names("proration").startswith("reset")
    found: dict[str, Any] = {}
    if resets or "interval_change" in case.convention:
        on = local_date(case.instant("change_at"), case.zone)
        anew = nth_period(on, INTERVALS[given["new"]["interval"]], case.zone, 0)
        found |= {"new_period_start": anew.start, "new_period_end": anew.end}
        charges = _restarted(case, anew, "full" if resets else None)
    else:
        charges = _changed(case, [("plan", given.get("old"), given["new"])])
    credit, charge = (sum_of(charges, currency, sign=sign) for sign in (-1, 1))
    found |= {"credit": credit, "charge": charge, "net": charge - credit}
    if "period_end_inclusive" in given:  # these cases write credits as negative amounts
        found["credit"] = -credit
    if "tax_percent" in given:
        percent = Decimal(given["tax_percent"])
        found["credit_with_tax"] = credit + tax_on_net(credit, percent)
        found["charge_with_tax"] = charge + tax_on_net(charge, percent)
    return found


def _changed(case: Case, items: Sequence[tuple[str, Terms | None, Terms | None]]) -> list[Charge]:
    """What a change inside the period adds to what was charged when it began: of each item, its old and new terms."""
    full, change_at = _changed_period(case)
    parts: list[Part] = []
    for item, old, new in items:
        for name, terms, start, end in (
            ("old", old, full.start, change_at),
            ("new", new, change_at, full.end),
        ):
            if terms is not None:
                whole = _whole_of(case, terms, full)
                parts.append(
                    Part(
                        item,
                        _price(case, f"{item} {name}", terms),
                        quantity_of(terms),
                        start,
                        end,
                        whole=whole,
                    )
                )
    begun = [part._replace(end=full.end) for part in parts if part.price.id.endswith(" old")]
    options = options_of(case)
    recorded = settled(full, begun, until=full.start, options=options)
    return settled(full, parts, recorded=recorded, until=change_at, options=options)


def _restarted(case: Case, anew: Period, method: Proration | None) -> list[Charge]:
    """What a change that cuts the period adds: what is given back of it, and the whole of the one that begins."""
    (full, change_at), given = _changed_period(case), case.given
    old, new = (
        Part("plan", _price(case, name, given[name]), quantity_of(given[name]), period.start, period.end)
        for name, period in (("old", full), ("new", anew))
    )
    recorded = settled(full, [old], until=full.start)
    ended = old._replace(end=change_at, end_proration=method)
    credits = settled(full, [ended], recorded=recorded, until=change_at, cut_at=change_at)
    return credits + settled(anew, [new], until=anew.start)


def _price(case: Case, id: str, terms: Terms) -> Price:
    by_second = case.names("proration").startswith("by second")
    return recurring_price(id, terms, case.given["currency"], proration="second" if by_second else "day")


def quantity_change(case: Case) -> Mapping[str, Any]:
    """Only the units added or given back are rated, for the rest of the period."""
    full, change_at = _changed_period(case)
    price = _price(case, "units", case.given)
    before, after = (case.number(name) for name in ("old_quantity", "new_quantity"))
    begun = Part("units", price, before, full.start, full.end)
    recorded = settled(full, [begun], until=full.start)
    parts = [begun._replace(end=change_at), begun._replace(quantity=after, start=change_at)]
    charges = settled(full, parts, recorded=recorded, until=change_at)
    return _told(charges, case.given["currency"])


def item_change(case: Case) -> Mapping[str, Any]:
    """An item added is charged for the rest of the period, one that is taken away is given back for it."""
    is_added = case.given["action"] == "add"
    charges = _changed(case, [("item", None, case.given) if is_added else ("item", case.given, None)])
    return _told(charges, case.given["currency"])


def _told(charges: Sequence[Charge], currency: str) -> Mapping[str, Any]:
    return {word: sum_of(charges, currency, sign=sign) for word, sign in (("charge", 1), ("credit", -1))}


def component_change(case: Case) -> Mapping[str, Any]:
    """The old of each component is given back for the rest of the period, and its new charged; in any order."""
    components = enumerate(case.given["components"])
    charges = _changed(case, [(f"{n}", each.get("old"), each.get("new")) for n, each in components])
    amounts = [charge.amount for charge in charges]
    return {"lines": AnyOrder(amounts), "net": total(amounts, case.given["currency"])}


def credit_cap(case: Case) -> Mapping[str, Any]:
    """Of what was charged, so much was given back that did not go with a quantity; more of it goes with one now."""
    wanted, paid, before = (case.number(n) for n in ("potential_credit", "amount_paid", "previous_credits"))
    full = nth_period(date(2024, 1, 1), Interval("month"), "UTC", 0)
    price = recurring_price("units", {"unit_amount": "1"}, "EUR")
    begun = Part("units", price, paid, full.start, full.end)
    (charge,) = settled(full, [begun], until=full.start)
    given_back = replace(
        charge,
        id="before",
        revision=1,
        quantity_before=charge.quantity,
        amount=-Money.from_decimal(before, "EUR"),
    )
    less = begun._replace(quantity=paid - wanted)
    charges = settled(full, [less], recorded=[charge, given_back], until=full.start)
    return {"credit": sum_of(charges, "EUR", sign=-1)}


def _changed_period(case: Case) -> tuple[Period, datetime]:
    """The period, and where in it something changes; where only what remains is given, one with such a part."""
    if "fraction_remaining" in case.given:
        remaining = Fraction(case.given["fraction_remaining"])
        made = Period.between(date(2024, 1, 1), date(2024, 1, 1) + remaining.denominator * DAY, "UTC")
        return made, made.end - remaining.numerator * DAY
    full = _full(case)
    if "subtracts one second from the period end" in case.names("proration"):
        full = Period(full.start, full.end - SECOND, case.zone)
    return full, case.instant("change_at")


def _whole_of(case: Case, terms: Terms, full: Period) -> Period | None:
    """A component that is charged for longer than the period has its own, which begins with it."""
    if "longer_component" not in case.convention or "interval" not in terms:
        return None
    return nth_period(full.start_on, INTERVALS[terms["interval"]], case.zone, 0)


def _amount(terms: Mapping[str, Any], currency: str, part: Fraction) -> Money:
    return total((line.amount for line in _rated(terms, currency, part)), currency)


def _rated(terms: Mapping[str, Any], currency: str, part: Fraction) -> tuple[RatedLine, ...]:
    return rate(recurring_price("price", terms, currency), quantity_of(terms), fraction=part)


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
    if "period_start" not in case.given:  # some period that begins where the part does
        return nth_period(local_date(case.instant("from"), case.zone), interval_of(case), case.zone, 0)
    return _period(case, "period_start", "period_end")


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
    "credit_cap": credit_cap,
}

"""Pricing cases in the words of the engine: the model becomes a price, and the price is rated.

What is done here is translation; every price is worked out by the engine.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from libs.common.errors import DomainError
from libs.common.exact import add
from libs.common.money import Money, exponent, total
from services.billing.domain.rating.bounds import WHOLE, find_bound
from services.billing.domain.rating.package import count_packages
from services.billing.domain.rating.percentage import event_fees
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rate import rate, rate_usage
from services.billing.domain.rating.rated_line import NOTHING
from services.billing.domain.rating.usage import UsageEvent, usage_of
from services.billing.domain.rating.validate_price import validate_price
from tests.cases.case_files import Case
from tests.cases.comparison import AnyOf
from tests.cases.lines import ZERO, difference, rounded, views
from tests.cases.prices import decimal_or_none, price_of, valid_price
from tests.cases.quantities import rounded_quantity
from tests.cases.slices import rate_slice

# The words of cases for what makes a price invalid, and where the engine finds the fault. A word that is not here
# asks only that the engine refuses.
FAULTS = {
    "unbounded_tier_not_last": ("/tiers/*/up_to", "only the last tier has no end"),
    "negative_quantity": (None, "negative_quantity"),
}


def rate_quantity(case: Case) -> Mapping[str, Any]:
    """Without a currency, or where nothing is rounded, the exact amounts count."""
    case.has_only("currency", "model", "quantity", "quantity_before", "full_quantity")
    price, quantity = valid_price(case, case.given["model"]), case.number("quantity")
    before = decimal_or_none(case.given.get("quantity_before")) or NOTHING
    after: Any = add(before, quantity)
    lines = difference(rate(price, after), rate(price, before) if before else ())
    exact = sum((line.gross for line in lines), start=ZERO)
    if not _is_exact(case):
        lines = [rounded(line, price.currency) for line in lines]
    amount = sum((line.gross for line in lines), start=ZERO)
    return {
        "amount": amount,
        "unit_amount": {"value": _mean(exact, _divisor(case, price, quantity))},
        "lines": AnyOf([[line.told() for line in view] for view in views(lines)]),
    }


def rate_quantity_sum(case: Case) -> Mapping[str, Any]:
    components = case.given["components"]
    rated = (rate(valid_price(case, each["model"]), Decimal(each["quantity"])) for each in components)
    lines = [line for lines in rated for line in lines]
    if _is_exact(case):
        return {"amount": sum((line.exact for line in lines), start=ZERO)}
    return {"amount": total((line.amount for line in lines), case.given["currency"])}


def rate_events(case: Case) -> Mapping[str, Any]:
    """Events as they came, one after the other."""
    case.has_only("currency", "model", "events")
    price = valid_price(case, case.given["model"])
    usage = usage_of(
        UsageEvent(datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=number), Decimal(value))
        for number, value in enumerate(case.given["events"])
    )
    rated = rate_usage(price, usage)
    exact = sum((line.exact for line in rated.lines), start=ZERO)
    found: dict[str, Any] = {
        "amount": exact if _is_exact(case) else rated.amount,
        "unit_amount": {"value": _mean(exact, Fraction(usage.quantity))},
    }
    if price.model == "percentage":
        fees = event_fees(price, usage)
        unbounded = replace(price, minimum_amount_per_event=None, maximum_amount_per_event=None)
        (line,) = rate_usage(unbounded, usage).lines
        found["details"] = {
            "free_amount": sum((Fraction(fee.amount) - Fraction(fee.taken) for fee in fees), start=ZERO),
            "paid_amount": sum((Fraction(fee.taken) for fee in fees), start=ZERO),
            "free_events": sum(fee.is_free for fee in fees),
            "paid_events": sum(not fee.is_free for fee in fees),
            "percentage_total": line.exact - Fraction(line.flat_amount),
            "fixed_total": line.flat_amount,
        }
    return found


def rate_events_prorated(case: Case) -> Mapping[str, Any]:
    """Units added cost what they add to the tiers, for the part of the period in which they are there.

    Each addition or removal is the graduated price after it less the one before, tier by tier, and that prorated;
    the flat amount of every tier that was reached is charged whole. Where more is taken away than there was,
    nothing is owed.
    """
    case.has_only("currency", "model", "events")
    price = valid_price(case, case.given["model"])
    without_flats = replace(price, tiers=tuple(replace(tier, flat_amount=None) for tier in price.tiers))
    level = highest = NOTHING
    units = ZERO
    for event in case.given["events"]:
        quantity, prorated = Decimal(event["quantity"]), Decimal(event["prorated_quantity"])
        if not quantity or (not prorated and (quantity > 0 or level + quantity < 0)):
            continue  # without a part in this period it was not there in it, nor was what it takes away
        part = Fraction(prorated) / Fraction(quantity)
        after, before = (_priced(without_flats, each, part) for each in (level + quantity, level))
        units += after - before
        level += quantity
        highest = max(highest, level)
    flats = sum((Fraction(line.flat_amount) for line in rate(price, highest)), start=ZERO)
    return {"amount": max(units, ZERO) + flats if level >= 0 else ZERO}


def _priced(price: Price, level: Decimal, part: Fraction) -> Fraction:
    """The price of a level for a part of the period; below nothing, units are those of the first tier."""
    if level >= 0:
        return sum((line.exact for line in rate(price, level, fraction=part)), start=ZERO)
    first = replace(price, tiers=(replace(price.tiers[0], up_to=None),))
    return -sum((line.exact for line in rate(first, -level, fraction=part)), start=ZERO)


def rate_buckets(case: Case) -> Mapping[str, Any]:
    """Each window is rated on its own; one without usage costs nothing."""
    case.has_only("currency", "model", "bucket_quantities")
    price = valid_price(case, case.given["model"])
    quantities = [Decimal(quantity) for quantity in case.given["bucket_quantities"]]
    rated = [rate(price, quantity) for quantity in quantities if quantity]
    exact = sum((line.exact for lines in rated for line in lines), start=ZERO)
    return {"amount": exact if _is_exact(case) else _money(exact, price.currency)}


def rate_invalid(case: Case) -> Mapping[str, Any]:
    """What the engine says no to, in the words of the cases where there are some for it."""
    price = price_of(case.given["model"], case.given["currency"])
    faults = [(fault["pointer"], fault["detail"]) for fault in validate_price(price)]
    if not faults or case.number("quantity") < 0:
        try:
            rate(price, case.number("quantity"))
        except DomainError as refused:
            faults.append(("", refused.code))
    if not faults:
        return {"error": None}
    told = "; ".join(f"{pointer} {detail}".strip() for pointer, detail in faults)
    known = [word for word, (where, said) in FAULTS.items() if any(_is_fault(f, where, said) for f in faults)]
    expected = case.expect.get("error")
    return {"error": AnyOf([told, *known, *([] if expected in FAULTS else [expected])])}


def _is_fault(fault: tuple[str, str], where: str | None, said: str) -> bool:
    pointer, detail = fault
    if where is None:
        return not pointer and detail == said
    begin, end = where.split("*")
    return pointer.startswith(begin) and pointer.endswith(end) and said in detail


def packages(case: Case) -> Mapping[str, Any]:
    given = case.given
    count = count_packages(case.number("quantity"), case.number("package_size"), given["package_rounding"])
    return {"packages": count}


def usage_discount(case: Case) -> Mapping[str, Any]:
    """Free units are those that a price includes: used up in the order of time."""
    model = {"type": "per_unit", "unit_amount": "1", "free_units": case.given["usage_discount"]}
    price = price_of(model, None)
    before, quantity = decimal_or_none(case.given.get("quantity_before")) or NOTHING, case.number("quantity")
    billable_before, billable_after = (
        sum((Fraction(line.quantity) for line in rate(price, each)), start=ZERO)
        for each in (before, before + quantity)
    )
    billable = billable_after - billable_before
    return {
        "billable_quantity": billable,
        "billable_quantity_before": billable_before,
        "discounted_quantity": Fraction(quantity) - billable,
        "discounted_quantity_before": Fraction(before) - billable_before,
    }


def round_quantity(case: Case) -> Mapping[str, Any]:
    return {
        "quantity": rounded_quantity(case.number("quantity"), case.given["function"], case.given["decimals"])
    }


def round_amount(case: Case) -> Mapping[str, Any]:
    if case.given.get("currency") is None:
        return {"amount": rounded_quantity(case.number("amount"), "round", case.given["decimals"])}
    amount = _money(case.number("amount"), case.given["currency"])
    return {"amount": amount, "minor_units": amount.amount_minor}


def minimum_true_up(case: Case) -> Mapping[str, Any]:
    """A minimum of a part of a period is that part of it."""
    currency = case.given["currency"]
    part = case.given.get("period_fraction")
    fraction = WHOLE if part is None else Fraction(part["days"], part["of"])
    missing = find_bound(
        case.number("minimum_spend"), None, _money(case.number("usage_amount"), currency), fraction
    )
    return {"true_up": Money.zero(currency) if missing is None else missing.difference}


def _divisor(case: Case, price: Price, quantity: Decimal) -> Fraction:
    """By what the mean price of a unit is divided."""
    if case.names("unit_amount_divides_by") == "paid units":
        return max(ZERO, Fraction(quantity) - Fraction(price.included_quantity))
    return Fraction(decimal_or_none(case.given.get("full_quantity")) or quantity)


def _mean(amount: Fraction, units: Fraction) -> Fraction:
    return amount / units if units else ZERO


def _is_exact(case: Case) -> bool:
    """Whether amounts are compared before rounding: where nothing is rounded, or it is not said that anything is
    and the amount told is finer than its currency."""
    currency = case.given["currency"]
    if currency is None or case.names("rounding").startswith("none"):
        return True
    if "rounding" in case.convention or case.expect.get("amount") is None:
        return False
    told = Fraction(case.expect["amount"]) * int(10 ** exponent(currency))
    return told.denominator != 1


def _money(amount: Decimal | Fraction | str, currency: str) -> Money:
    return Money.from_decimal(Fraction(amount), currency)


RUNNERS: Mapping[str, Callable[[Case], Mapping[str, Any]]] = {
    "rate_quantity": rate_quantity,
    "rate_quantity_sum": rate_quantity_sum,
    "rate_slice": rate_slice,
    "rate_events": rate_events,
    "rate_events_prorated": rate_events_prorated,
    "rate_buckets": rate_buckets,
    "rate_invalid": rate_invalid,
    "count_packages": packages,
    "usage_discount": usage_discount,
    "round_quantity": round_quantity,
    "round_amount": round_amount,
    "minimum_true_up": minimum_true_up,
}

"""A part of a period that is billed on its own: what the period came to after it, less what it came to before."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from libs.common.exact import add, text
from libs.common.money import Money
from services.billing.domain.rating.bounds import WHOLE, find_bound
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rate import rate
from services.billing.domain.rating.rated_line import NOTHING
from tests.cases.case_files import Case
from tests.cases.comparison import AnyOf
from tests.cases.lines import Line, difference, discounted, rounded, sum_of, views, without_last
from tests.cases.prices import decimal_or_none, valid_price
from tests.cases.quantities import ROUNDING, worked_out


def rate_slice(case: Case) -> Mapping[str, Any]:
    """A part of a period that is billed on its own: by itself (`single`), in the middle, or at the end."""
    case.has_only(
        "currency", "model", "quantity", "quantity_before", "slice", "quantity_conversion", "usage_discount",
        "billed_before", "minimum_spend", "maximum_spend", "discount_percent",
    )  # fmt: skip
    price = valid_price(case, case.given["model"])
    if "usage_discount" in case.given:  # consumed in the order of time, as what is included is
        included = price.included_quantity + case.number("usage_discount")
        price = replace(price, included_quantity=included)
    billed = [_billed(case, price, lines) for lines in views(_slice(case, price))]
    return {"amount": billed[0][0], "lines": AnyOf([lines for _, lines in billed])}


def _billed(case: Case, price: Price, lines: Sequence[Line]) -> tuple[Money, Sequence[Mapping[str, Any]]]:
    """What the lines of a slice come to, less a discount of each, and kept within the bounds of the period."""
    lines = [rounded(line, price.currency) for line in lines]
    if "discount_percent" in case.given:
        share = Fraction(case.number("discount_percent")) / 100
        of_line = (
            Money.from_decimal(line.total, price.currency).share(share.numerator, share.denominator)
            for line in lines
        )
        lines = [discounted(line, discount) for line, discount in zip(lines, of_line, strict=True)]
    before = Money.from_decimal(Fraction(case.given.get("billed_before") or 0), price.currency)
    if "maximum_spend" in case.given:
        beyond = find_bound(None, case.number("maximum_spend"), sum_of(before, lines), WHOLE)
        lines = lines if beyond is None else without_last(lines, -beyond.difference)
    amount, told = sum_of(Money.zero(price.currency), lines), [line.told() for line in lines]
    if "minimum_spend" in case.given and case.given["slice"] in ("single", "final"):
        missing = find_bound(case.number("minimum_spend"), None, before + amount, WHOLE)
        if missing is not None:
            return amount + missing.difference, [
                *told,
                {"kind": "minimum_spend", "total": missing.difference},
            ]
    return amount, told


def _slice(case: Case, price: Price) -> Sequence[Line]:
    """What the period comes to after the slice, less what it came to before."""
    position = case.given["slice"]
    quantity, before = (_converted(case, name) for name in ("quantity", "quantity_before"))
    after: Any = add(before, quantity)
    if price.model == "flat":  # charged once, at one end of the period
        in_arrears = case.given["model"].get("payment_term") == "in_arrears"
        is_billed = position == "single" or (position == "final" and in_arrears)
        return difference(rate(price, quantity), ()) if is_billed else ()
    if price.model == "volume":  # which tier it is, is known at the end
        return difference(rate(price, after), ()) if position != "middle" else ()
    is_first = position == "single" and not before
    return difference(rate(price, after), () if is_first else rate(price, before))


def _converted(case: Case, name: str) -> Any:
    """A quantity in other units, rounded to whole ones: it is these that are rated."""
    quantity = decimal_or_none(case.given.get(name)) or NOTHING
    conversion = case.given.get("quantity_conversion")
    if conversion is None:
        return quantity
    assert set(conversion) == {"divide_by", "rounding"}, "a quantity is divided and rounded"
    divided = f"quantity / {text(Decimal(conversion['divide_by']))}"
    if conversion["rounding"] in (None, "none"):
        return worked_out(divided, quantity)
    return worked_out(f"{ROUNDING[conversion['rounding']]}({divided})", quantity)

"""Pricing cases in the words of the engine: the model becomes a price, and the price is rated."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from libs.common.errors import RuleViolation
from libs.common.money import Money, total
from services.billing.domain.rating.package import count_packages
from services.billing.domain.rating.price import Price, PriceTier
from services.billing.domain.rating.rate import RatedLine, rate
from services.billing.domain.rating.validate_price import validate_price
from tests.cases.case_files import Case

AMOUNT_FIELD = {"flat": "amount", "per_unit": "unit_amount", "package": "package_amount"}
TIER_FIELDS = {"up_to", "unit_amount", "flat_amount"}
MODEL_FIELDS = {"type", "tiers", "package_size", "package_rounding", "free_units", *AMOUNT_FIELD.values()}


def price_of(model: Mapping[str, Any], currency: str) -> Price:
    """The same price in our words; whatever we have no word for stops the test."""
    assert model["type"] in {"flat", "per_unit", "package", "graduated", "volume"}
    assert set(model) <= MODEL_FIELDS
    assert model.get("package_rounding", "up") == "up"
    assert all(set(tier) <= TIER_FIELDS for tier in model.get("tiers", ()))
    amount = AMOUNT_FIELD.get(model["type"])
    return Price(
        id="price",
        code="case",
        product_id="product",
        description="Case",
        kind="recurring",
        timing="advance",
        model=model["type"],
        currency=currency,
        unit_amount=Decimal(model[amount]) if amount else None,
        tiers=tuple(
            PriceTier(
                _decimal(tier["up_to"]), Decimal(tier["unit_amount"]), _decimal(tier.get("flat_amount"))
            )
            for tier in model.get("tiers", ())
        ),
        package_size=_decimal(model.get("package_size")),
        included_quantity=Decimal(model.get("free_units", "0")),
    )


def rate_quantity(case: Case) -> Mapping[str, Any]:
    """Without a currency the exact amounts count, before rounding."""
    assert not {"quantity_before", "slice"} & set(case.given)
    currency = case.given["currency"]
    price = price_of(case.given["model"], currency or "EUR")
    assert validate_price(price) == ()
    lines = rate(price, case.number("quantity"))
    if currency is None:
        return {"amount": sum(line.exact for line in lines), "lines": [_line(x, x.exact) for x in lines]}
    amounts = [line.amount for line in lines]
    return {
        "amount": total(amounts, currency),
        "lines": [_line(line, Fraction(line.amount.to_decimal())) for line in lines],
    }


def rate_quantity_sum(case: Case) -> Mapping[str, Any]:
    currency = case.given["currency"]
    rated = (rate(price_of(c["model"], currency), Decimal(c["quantity"])) for c in case.given["components"])
    return {"amount": total((line.amount for lines in rated for line in lines), currency)}


def rate_slice(case: Case) -> Mapping[str, Any]:
    """A slice that is the whole of its period is rated as that period."""
    assert case.given["slice"] in {"single", "final"}
    given = {name: value for name, value in case.given.items() if name != "slice"}
    conversion = given.pop("quantity_conversion", None)
    if conversion is not None:  # selling so many at a time, rounded up, is what a package is
        assert given["model"]["type"] == "per_unit"
        assert conversion["rounding"] == "up"
        amount = given["model"]["unit_amount"]
        given["model"] = {
            "type": "package",
            "package_size": conversion["divide_by"],
            "package_amount": amount,
        }
    assert set(given) == {"currency", "model", "quantity"}
    return rate_quantity(Case(case.id, case.area, case.kind, given, case.expect, case.convention))


def rate_invalid(case: Case) -> Mapping[str, Any]:
    price = price_of(case.given["model"], case.given["currency"])
    for fault in validate_price(price):
        if fault["pointer"] == "/tiers/0/up_to":
            return {"error": "unbounded_tier_not_last"}
    try:
        rate(price, case.number("quantity"))
    except RuleViolation as refused:
        return {"error": refused.code}
    return {}


def packages(case: Case) -> Mapping[str, Any]:
    assert case.given["package_rounding"] == "up"
    return {"packages": count_packages(case.number("quantity"), case.number("package_size"))}


def round_amount(case: Case) -> Mapping[str, Any]:
    return {"amount": Money.from_decimal(case.number("amount"), case.given["currency"])}


def _line(line: RatedLine, amount: Fraction) -> Mapping[str, Any]:
    return {
        "tier": line.tier,
        "quantity": line.quantity,
        "unit_amount": line.unit_amount,
        "unit_total": amount - Fraction(line.flat_amount),
        "flat": line.flat_amount,
        "total": amount,
    }


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


RUNNERS: Mapping[str, Callable[[Case], Mapping[str, Any]]] = {
    "rate_quantity": rate_quantity,
    "rate_quantity_sum": rate_quantity_sum,
    "rate_slice": rate_slice,
    "rate_invalid": rate_invalid,
    "count_packages": packages,
    "round_amount": round_amount,
}

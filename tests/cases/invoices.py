"""Invoice cases in the words of the engine: lines with a rate of tax, a fixed discount, and splitting."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from libs.common.money import Money, allocate, round_half_away
from services.billing.domain.invoice_totals import TaxedAmount, TaxRounding, invoice_totals, tax_on_net
from tests.cases.case_files import Case


def totals(case: Case) -> Mapping[str, Any]:
    assert set(case.given) <= {"currency", "lines", "coupons"}
    currency = case.given["currency"]
    lines = [_line(line, currency) for line in case.given["lines"]]
    per_line = case.convention.get("tax_rounding", "").startswith("per line")
    tax_rounding: TaxRounding = "line" if per_line else "group"
    coupons = case.given.get("coupons", [])
    discount = _fixed_discount(coupons, currency) if coupons else None
    found = invoice_totals(lines, currency, discount=discount, tax_rounding=tax_rounding)
    pairs = list(zip(lines, found.line_nets, strict=True))
    return {
        "subtotal": found.subtotal,
        "discount": found.discount,
        "net": found.net,
        "tax": found.tax,
        "total": found.total,
        "line_nets": list(found.line_nets),
        "line_discounts": [line.net - net for line, net in pairs],
        "line_taxes": [tax_on_net(net, line.tax_percent) for line, net in pairs],
    }


def tax_amount(case: Case) -> Mapping[str, Any]:
    assert set(case.given) == {"currency", "amount", "tax_percents"}
    (percent,) = case.given["tax_percents"]
    tax = tax_on_net(_money(case), Decimal(percent))
    return {"taxes": [tax], "tax": tax}


def allocation(case: Case) -> Mapping[str, Any]:
    weights = case.given["weights"]
    parts = allocate(_money(case), [Decimal(weight["weight"]) for weight in weights])
    named = zip(weights, parts, strict=True)
    return {"shares": [{"key": weight["key"], "amount": part} for weight, part in named]}


def money_rounding(case: Case) -> Mapping[str, Any]:
    if "precision" in case.given:
        precision = case.given["precision"]
        minor = round_half_away(case.number("amount"), precision)
        return {"amount": Decimal(minor).scaleb(-precision)}
    return {"amount": _money(case)}


def minor_units(case: Case) -> Mapping[str, Any]:
    return {"minor_units": _money(case).amount_minor}


def _money(case: Case) -> Money:
    return Money.from_decimal(case.number("amount"), case.given["currency"])


def _line(line: Mapping[str, Any], currency: str) -> TaxedAmount:
    assert set(line) <= {"amount", "tax_percents"}
    (percent,) = line.get("tax_percents", ["0"])
    return TaxedAmount(Money.from_decimal(Decimal(line["amount"]), currency), Decimal(percent))


def _fixed_discount(coupons: list[Mapping[str, Any]], currency: str) -> Money:
    (coupon,) = coupons
    assert set(coupon) == {"amount"}
    return Money.from_decimal(Decimal(coupon["amount"]), currency)


RUNNERS: Mapping[str, Callable[[Case], Mapping[str, Any]]] = {
    "invoice_totals": totals,
    "tax_amount": tax_amount,
    "allocation": allocation,
    "money_rounding": money_rounding,
    "minor_units": minor_units,
}

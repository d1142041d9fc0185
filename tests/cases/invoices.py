"""Invoice cases in the words of the engine: lines with a rate of tax, a fixed discount, and splitting."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from libs.common.errors import DomainError
from libs.common.money import Money, allocate, round_half_away, total
from services.billing.domain.customer_balance import balance_applied
from services.billing.domain.invoice_totals import (
    TaxedAmount,
    TaxRounding,
    invoice_totals,
    tax_in_gross,
    tax_on_net,
)
from tests.cases.case_files import Case


def totals(case: Case) -> Mapping[str, Any]:
    assert set(case.given) <= {"currency", "lines", "coupons"}, "lines and coupons are all that is known of"
    currency = case.given["currency"]
    lines = [_line(line, currency) for line in case.given["lines"]]
    per_line = case.names("tax_rounding").startswith("per line")
    tax_rounding: TaxRounding = "line" if per_line else "group"
    discount = _fixed_discount(case, total((line.net for line in lines), currency))
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
    """Each tax by itself, on what is left after the discount."""
    assert set(case.given) <= {"currency", "amount", "discount", "tax_percents"}, "a discount and taxes"
    net = _money(case) - (
        _money(case, "discount") if "discount" in case.given else Money.zero(_currency(case))
    )
    taxes = [tax_on_net(net, Decimal(percent)) for percent in case.given["tax_percents"]]
    tax = total(taxes, net.currency)
    return {"taxes": taxes, "tax": tax, "net": net, "total": net + tax}


def tax_mode(case: Case) -> Mapping[str, Any]:
    """A tax that somebody else worked out is taken as it is told."""
    amount, is_inclusive = _money(case), case.given["mode"] == "inclusive"
    if "tax" in case.given:
        tax = _money(case, "tax")
    else:
        tax = (tax_in_gross if is_inclusive else tax_on_net)(amount, case.number("tax_percent"))
    net = amount - tax if is_inclusive else amount
    return {"net": net, "tax": tax, "total": net + tax}


def allocation(case: Case) -> Mapping[str, Any]:
    """An amount that is no whole number of minor units is no money, and cannot be split."""
    weights = sorted(case.given["weights"], key=lambda weight: str(weight["key"]))
    amount = _money(case)
    if amount.to_decimal() != case.number("amount"):
        return {"error": True}
    try:
        parts = allocate(amount, [Decimal(weight["weight"]) for weight in weights])
    except DomainError:
        return {"error": True}
    named = {weight["key"]: part for weight, part in zip(weights, parts, strict=True)}
    keys = [weight["key"] for weight in case.given["weights"]]
    return {"shares": [{"key": key, "amount": named[key]} for key in keys]}


def money_rounding(case: Case) -> Mapping[str, Any]:
    if "precision" in case.given:
        precision = case.given["precision"]
        minor = round_half_away(case.number("amount"), precision)
        return {"amount": Decimal(minor).scaleb(-precision), "minor_units": minor}
    return {"amount": _money(case), "minor_units": _money(case).amount_minor}


def _currency(case: Case) -> str:
    return str(case.given["currency"])


def _money(case: Case, name: str = "amount") -> Money:
    return Money.from_decimal(case.number(name), _currency(case))


def _line(line: Mapping[str, Any], currency: str) -> TaxedAmount:
    assert set(line) <= {"amount", "tax_percents"}, "a line has an amount and a rate"
    (percent,) = line.get("tax_percents") or ["0"]
    return TaxedAmount(Money.from_decimal(Decimal(line["amount"]), currency), Decimal(percent))


def balance_application(case: Case) -> Mapping[str, Any]:
    """A total below zero is given to the balance, one above draws on it."""
    currency = case.given["currency"]
    balance, of_invoice = (Money.from_decimal(case.number(name), currency) for name in ("balance", "total"))
    applied = balance_applied(of_invoice, balance)
    return {"due": of_invoice - applied, "balance": balance - applied}


def _fixed_discount(case: Case, subtotal: Money) -> Money | None:
    """Coupons of an amount over all lines are one discount, of no more than the lines."""
    coupons = case.given.get("coupons")
    if not coupons:
        return None
    assert all(set(coupon) == {"amount"} for coupon in coupons), "coupons of an amount, over all lines"
    off = total(
        (Money.from_decimal(Decimal(c["amount"]), subtotal.currency) for c in coupons), subtotal.currency
    )
    return min(off, subtotal, key=lambda money: money.amount_minor)


RUNNERS: Mapping[str, Callable[[Case], Mapping[str, Any]]] = {
    "invoice_totals": totals,
    "tax_amount": tax_amount,
    "tax_mode": tax_mode,
    "allocation": allocation,
    "money_rounding": money_rounding,
    "minor_units": money_rounding,
    "balance_application": balance_application,
}

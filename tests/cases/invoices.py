"""Invoice cases in the words of the engine: lines, coupons, tax, credit notes, prepaid credits, and splitting."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from libs.common.errors import DomainError
from libs.common.money import Money, allocate_by_name, round_half_away, total
from libs.common.periods import Period
from services.billing.domain.credited_amounts import Credited, LineCredit, billed, credit_of_lines
from services.billing.domain.customer_balance import balance_applied
from services.billing.domain.discount import Coupon, DiscountableLine, apply_coupons
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.invoice_totals import (
    TaxedAmount,
    TaxRounding,
    invoice_totals,
    split_inclusive,
    tax_on_net,
)
from services.billing.domain.proration import ProrationOptions
from services.billing.domain.seller import TaxRegistration
from services.billing.domain.settlement import SettlementInputs, settle_lines
from services.billing.domain.tax_assessment import Supply, TaxedBuyer, TaxQuestion, assess
from services.billing.domain.tax_rate import TaxTable
from services.billing.domain.tax_treatment import TaxTreatment
from services.billing.domain.wallet import Wallet, drawn, granted
from services.billing.domain.wallet_draw import draw_money
from tests.cases.case_files import Case
from tests.cases.settling import Part, recurring_price, settled, sum_of

Given = Mapping[str, Any]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TODAY = date(2026, 1, 1)
HUNDRED = 100
EFFECTIVE_PERCENT_DECIMALS = 5


def totals(case: Case) -> Given:
    case.has_only("currency", "lines", "coupons", "customer_tax_exempt")
    currency = _currency(case)
    lines = [_taxed(line, currency) for line in case.given["lines"]]
    if case.given.get("customer_tax_exempt"):
        lines = [replace(line, tax_percent=_exempt().percent, category=_exempt().category) for line in lines]
    offered = [DiscountableLine(line.net, f"line {place}", "") for place, line in enumerate(lines)]
    discounted = apply_coupons(offered, _coupons(case), currency, rounds=_rounded_discount(case))
    left = [replace(line, net=net) for line, net in zip(lines, discounted.line_nets, strict=True)]
    found = invoice_totals(left, currency, tax_rounding=_tax_rounding(case))
    pairs = list(zip(lines, found.line_nets, strict=True))
    return {
        "subtotal": total((line.net for line in lines), currency),
        "discount": discounted.amount,
        "net": found.net,
        "tax": found.tax,
        "total": found.total,
        "line_nets": list(found.line_nets),
        "line_discounts": [line.net - net for line, net in pairs],
        "line_taxes": [tax_on_net(net, line.tax_percent) for line, net in pairs],
    }


def discount_amount(case: Case) -> Given:
    """On one line, which is money, and hence a whole number of minor units."""
    case.has_only("currency", "amount", "coupon", "coupons", "already_used")
    line = DiscountableLine(_money(case), "line 0", "")
    found = apply_coupons([line], _coupons(case), _currency(case))
    return {"discount": found.amount, "net": found.line_nets[0]}


def tax_amount(case: Case) -> Given:
    """Each tax by itself, on what is left after the discount."""
    case.has_only("currency", "amount", "discount", "tax_percents")
    net = _money(case) - (
        _money(case, "discount") if "discount" in case.given else Money.zero(_currency(case))
    )
    taxes = [tax_on_net(net, Decimal(percent)) for percent in case.given["tax_percents"]]
    tax = total(taxes, net.currency)
    return {"taxes": taxes, "tax": tax, "net": net, "total": net + tax}


def tax_mode(case: Case) -> Given:
    """A tax that somebody else worked out is taken as it is told."""
    amount, is_inclusive = _money(case), case.given["mode"] == "inclusive"
    if "tax" in case.given:
        tax = _money(case, "tax")
    elif is_inclusive:
        rounds: Literal["tax", "net"] = (
            "net" if case.names("inclusive_rounding").startswith("round the net") else "tax"
        )
        tax, _ = split_inclusive([amount], case.number("tax_percent"), amount.currency, rounds=rounds)
    else:
        tax = tax_on_net(amount, case.number("tax_percent"))
    net = amount - tax if is_inclusive else amount
    return {"net": net, "tax": tax, "total": net + tax}


def credit_note(case: Case) -> Given:
    """Of a line, what is credited is told as it is priced: what was paid for it is less where it was discounted."""
    case.has_only("currency", "lines", "coupons", "credit_notes")
    currency, lines = _currency(case), _lines(case)
    inputs = SettlementInputs(coupons=_coupons(case), treatments=_treatments(case))
    found = settle_lines(lines, inputs, currency)
    invoice = billed(found.lines, found.taxes, currency)
    notes: list[Credited] = []
    for note in case.given["credit_notes"]:
        wanted = [
            LineCredit(lines[credit["line"]].id, Money.from_decimal(Decimal(credit["amount"]), currency))
            for credit in note["lines"]
        ]
        notes.append(credit_of_lines(invoice, notes, wanted))
    return {
        "invoice": {
            "subtotal": found.subtotal,
            "discount": found.discount,
            "net": found.net,
            "tax": found.tax,
            "total": found.total,
            "effective_tax_percent": _effective_percent(found.tax, found.net),
        },
        "credit_notes": [_told(note, currency) for note in notes],
    }


def _told(note: Credited, currency: str) -> Given:
    asked = total((line.amount for line in note.lines), currency)
    return {
        "coupon_adjustment": asked - note.net,
        "net": note.net,
        "tax": note.tax,
        "total": note.total,
    }


def _effective_percent(tax: Money, net: Money) -> Decimal:
    percent = Fraction(tax.amount_minor * HUNDRED, net.amount_minor) if net.amount_minor else Fraction(0)
    return Decimal(round_half_away(percent, EFFECTIVE_PERCENT_DECIMALS)).scaleb(-EFFECTIVE_PERCENT_DECIMALS)


def termination_credit(case: Case) -> Given:
    """What is given back of a period that was charged ahead, and in which the agreement ends: that day is still used."""
    case.has_only("currency", "amount", "tax_percent", "interval", "period", "terminated_on")
    period, currency = case.given["period"], _currency(case)
    full = Period.between(date.fromisoformat(period["from"]), date.fromisoformat(period["to"]), case.zone)
    ended_at = Period.between(case.on("terminated_on"), full.end_on, case.zone).start + timedelta(hours=12)
    price = recurring_price("fee", {"amount": case.given["amount"]}, currency)
    begun = Part("plan", price, Decimal(1), full.start, full.end)
    recorded = settled(full, [begun], until=full.start)
    ended = begun._replace(end=ended_at)
    charges = settled(
        full,
        [ended],
        recorded=recorded,
        until=ended_at,
        ends_at=ended_at,
        options=ProrationOptions(end_day="used"),
    )
    net = sum_of(charges, currency, sign=-1)
    tax = tax_on_net(net, case.number("tax_percent"))
    return {"credit_net": net, "credit_tax": tax, "credit_total": net + tax}


def wallet(case: Case) -> Given:
    """Prepaid money pays of totals with tax, one invoice after another."""
    case.has_only("currency", "balance", "invoices")
    currency, known = _currency(case), _wallet(_money(case, "balance"))
    steps = []
    for ordinal, invoice in enumerate(case.given["invoices"]):
        net = Money.from_decimal(Decimal(invoice["net"]), currency)
        of_invoice = net + tax_on_net(net, Decimal(invoice["tax_percent"]))
        applied, known = _drawn(known, of_invoice, f"inv_{ordinal}")
        steps.append({"total": of_invoice, "applied": applied, "balance": known.balance})
    return {"steps": steps}


def wallet_cap(case: Case) -> Given:
    """Each line is rounded, and tax is on what the lines come to then."""
    case.has_only("currency", "wallet_balance", "exact_lines", "tax_percent")
    currency, percent = _currency(case), case.number("tax_percent")
    amounts = [
        Money.from_decimal(Decimal(line["amount"]), currency)
        for line in case.given["exact_lines"]
        for _ in range(line["count"])
    ]
    found = invoice_totals([TaxedAmount(amount, percent) for amount in amounts], currency)
    applied, left = _drawn(_wallet(_money(case, "wallet_balance")), found.total, "inv_1")
    return {
        "lines_total": found.net,
        "tax": found.tax,
        "total": found.total,
        "applied": applied,
        "due": found.total - applied,
        "balance": left.balance,
    }


def _wallet(balance: Money) -> Wallet:
    empty = Wallet(id="wal_1", customer_id="cus_1", name="Prepaid", currency=balance.currency, created_at=NOW)
    filled = granted(empty, amount=balance.to_decimal(), cost=balance, priority=0, now=NOW, actor="test")
    return filled.wallet


def _drawn(known: Wallet, of_invoice: Money, invoice_id: str) -> tuple[Money, Wallet]:
    found = draw_money([known], (), of_invoice, now=NOW)
    movement = drawn(known, found.draws, invoice_id=invoice_id, now=NOW, actor="test")
    return found.paid, movement.wallet


def allocation(case: Case) -> Given:
    """An amount that is no whole number of minor units is no money, and cannot be split."""
    amount = _money(case)
    if amount.to_decimal() != case.number("amount"):
        return {"error": True}
    weights = {str(weight["key"]): Decimal(weight["weight"]) for weight in case.given["weights"]}
    try:
        parts = allocate_by_name(amount, weights)
    except DomainError:
        return {"error": True}
    return {"shares": [{"key": key, "amount": parts[key]} for key in weights if key in parts]}


def money_rounding(case: Case) -> Given:
    if "precision" in case.given:
        precision = case.given["precision"]
        minor = round_half_away(case.number("amount"), precision)
        return {"amount": Decimal(minor).scaleb(-precision), "minor_units": minor}
    return {"amount": _money(case), "minor_units": _money(case).amount_minor}


def balance_application(case: Case) -> Given:
    """A total below zero is given to the balance, one above draws on it."""
    currency = case.given["currency"]
    balance, of_invoice = (Money.from_decimal(case.number(name), currency) for name in ("balance", "total"))
    applied = balance_applied(of_invoice, balance)
    return {"due": of_invoice - applied, "balance": balance - applied}


def _currency(case: Case) -> str:
    return str(case.given["currency"])


def _money(case: Case, name: str = "amount") -> Money:
    return Money.from_decimal(case.number(name), _currency(case))


def _percent(line: Given) -> Decimal:
    """Several taxes of one line are on the same net: together they are one of their sum."""
    return sum((Decimal(percent) for percent in line.get("tax_percents") or ()), start=Decimal(0))


def _taxed(line: Given, currency: str) -> TaxedAmount:
    assert set(line) <= {"amount", "tax_percents", "kind"}, "a line has an amount and rates"
    return TaxedAmount(Money.from_decimal(Decimal(line["amount"]), currency), _percent(line))


def _tax_rounding(case: Case) -> TaxRounding:
    told = case.names("tax_rounding")
    if told.startswith("exact tax of all lines added up over the invoice"):
        return "document"
    return "line" if told.startswith("per line") else "group"


def _rounded_discount(case: Case) -> Literal["sum", "line"]:
    return "line" if case.names("discount_spread").startswith("percent of each line") else "sum"


def _coupons(case: Case) -> tuple[Coupon, ...]:
    """A coupon for some lines is one for their products. In their order, unless percentages come first."""
    given, currency = case.given, _currency(case)
    percent_first = case.names("stacking").startswith("percent coupons first")
    not_for_usage = case.names("fixed_discount") == "not applied to usage-only cycle invoices"
    coupons = []
    for place, told in enumerate(
        given.get("coupons") or [given[name] for name in ("coupon",) if name in given]
    ):
        assert set(told) <= {"percent", "amount", "applies_to_lines"}, (
            "a coupon has a worth, and what it is for"
        )
        for_lines = tuple(f"line {line}" for line in told.get("applies_to_lines", ()))
        used = _money(case, "already_used") if "already_used" in given else None
        coupons.append(
            Coupon(
                code=f"coupon {place:03d}",
                name="Coupon",
                percent=Decimal(told["percent"]) if "percent" in told else None,
                amount=Money.from_decimal(Decimal(told["amount"]), currency) if "amount" in told else None,
                product_ids=("fees",) if not_for_usage else for_lines,
                stacking_order=int(percent_first and "amount" in told),
                already_used=used if "amount" in told else None,
            )
        )
    return tuple(coupons)


def _exempt() -> TaxTreatment:
    """How a customer is taxed who is exempt."""
    question = TaxQuestion(
        seller_country="NL",
        registrations=(TaxRegistration("NL", "NL004495445B01"),),
        buyer=TaxedBuyer("NL", tax_status="exempt"),
        supplies=[Supply("line", None, TODAY)],
    )
    (answer,) = assess(question, TaxTable({}, {}))
    return answer.treatment


def _lines(case: Case) -> Sequence[InvoiceLine]:
    currency = _currency(case)
    return [_line(place, line, currency) for place, line in enumerate(case.given["lines"])]


def _treatments(case: Case) -> Mapping[str, TaxTreatment]:
    return {
        f"lin_{place}": TaxTreatment("S", _percent(line)) for place, line in enumerate(case.given["lines"])
    }


def _line(place: int, told: Given, currency: str) -> InvoiceLine:
    amount, nothing = _taxed(told, currency).net, Money.zero(currency)
    return InvoiceLine(
        id=f"lin_{place}",
        invoice_id="inv_1",
        charge_id=f"chg_{place}",
        ordinal=place + 1,
        tier=None,
        description="Line",
        quantity=Decimal(1),
        unit_amount=amount.to_decimal(),
        amount=amount,
        prepaid=nothing,
        discount=nothing,
        net=amount,
        formula="",
        service_start_on=TODAY,
        service_end_on=TODAY,
        product_id=f"line {place}",
    )


RUNNERS: Mapping[str, Callable[[Case], Given]] = {
    "invoice_totals": totals,
    "tax_amount": tax_amount,
    "tax_mode": tax_mode,
    "discount_amount": discount_amount,
    "credit_note": credit_note,
    "termination_credit": termination_credit,
    "wallet": wallet,
    "wallet_cap": wallet_cap,
    "allocation": allocation,
    "money_rounding": money_rounding,
    "minor_units": money_rounding,
    "balance_application": balance_application,
}

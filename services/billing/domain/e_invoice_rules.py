"""What keeps a document from being an e-invoice: the rules of EN 16931 and Peppol, with sums that are exact.

The official rules let a tax be off by up to one unit of the currency, and a line by two cents: these let nothing pass
that is not exact, except where the document itself says how its tax was rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from libs.common.errors import InputError, RuleViolation
from libs.common.money import round_half_away
from services.billing.domain.e_invoice import (
    NOTHING,
    OUTSIDE_SCOPE,
    WITHIN_UNION,
    EInvoice,
    EInvoiceLine,
    EInvoiceTax,
    has_country_prefix,
)

DECIMALS_MAX = 2
# How rules of the standard are named that each category of tax has.
_FAMILIES = {"S": "S", "Z": "Z", "E": "E", "AE": "AE", "K": "IC", "G": "G", "O": "O"}
_WITHOUT_REASON = ("S", "Z")

NOTHING_TO_SET = "Send the document as PDF, and tell the operators of this fault."
SELLER = "PATCH /v1/sellers/{id}"
CUSTOMER = "PATCH /v1/customers/{id}"
PROFILE = "PUT /v1/billing-profiles/{customer_id}"


@dataclass(frozen=True, slots=True)
class EInvoiceProblem:
    """`rule` is that of the standard which is broken, `term` the business term it is about, `remedy` where to set it."""

    rule: str
    term: str
    detail: str
    remedy: str


class EInvoiceImpossible(RuleViolation):
    """All that is missing or cannot be said is told at once: `errors` point at the business terms."""

    code = "e_invoice_impossible"
    title = "The document cannot be an e-invoice"

    def __init__(self, problems: Sequence[EInvoiceProblem]) -> None:
        super().__init__(
            "; ".join(f"{one.rule}: {one.detail}" for one in problems),
            remedy=" ".join(dict.fromkeys(one.remedy for one in problems)),
            rules=list(dict.fromkeys(one.rule for one in problems)),
        )
        self.problems = tuple(problems)
        self.errors: tuple[InputError, ...] = tuple(
            {"pointer": f"/{one.term}", "detail": f"{one.rule}: {one.detail}"} for one in problems
        )


def require_e_invoice(invoice: EInvoice) -> None:
    """Raises: EInvoiceImpossible, with every rule that is broken."""
    problems = problems_of(invoice)
    if problems:
        raise EInvoiceImpossible(problems)


def problems_of(invoice: EInvoice) -> tuple[EInvoiceProblem, ...]:
    """Everything that is wrong, in the order of the document; each once.

    Rounding: none; every sum is compared to the last minor unit.
    Source: EN 16931-1:2017; Peppol BIS Billing 3.0, release 3.0.19.
    """
    impossible = list(_impossible(invoice))
    if impossible:
        return tuple(impossible)
    checks = (_parties, _references, _lines, _categories, _periods, _sums, _payment, _routing)
    found = [problem for check in checks for problem in check(invoice)]
    return tuple(dict.fromkeys(found))


def _impossible(invoice: EInvoice) -> Iterator[EInvoiceProblem]:
    """What no setting changes."""
    if invoice.kind == "deposit_request":
        yield EInvoiceProblem(
            "BR-04",
            "BT-3",
            "a deposit is security and no supply: its request is no invoice",
            "Send it as PDF.",
        )
    if invoice.status == "void":
        yield EInvoiceProblem(
            "BR-04", "BT-3", "the document is void", "Ask for the document that replaced it."
        )
    if invoice.decimals > DECIMALS_MAX:
        yield EInvoiceProblem(
            "BR-DEC-23",
            "BT-5",
            f"{invoice.currency} has {invoice.decimals} decimals, and amounts of EN 16931 have two at the most",
            "Send it as PDF: the document itself is exact.",
        )


def _parties(invoice: EInvoice) -> Iterator[EInvoiceProblem]:
    seller, buyer = invoice.seller, invoice.buyer
    if not seller.name.strip():
        yield EInvoiceProblem("BR-06", "BT-27", "the seller has no name", f"Set name by {SELLER}.")
    if not seller.country:
        yield EInvoiceProblem("BR-09", "BT-40", "the seller has no country", f"Set country by {SELLER}.")
    if not buyer.name.strip():
        yield EInvoiceProblem("BR-07", "BT-44", "the buyer has no name", f"Set name by {CUSTOMER}.")
    if not buyer.country:
        yield EInvoiceProblem(
            "BR-11", "BT-55", "the buyer has no country", f"Set country or address.country by {CUSTOMER}."
        )
    if not (seller.identifier or seller.legal_id or seller.vat_id):
        yield EInvoiceProblem(
            "BR-CO-26", "BT-30", "nothing identifies the seller", f"Set details.legal_id by {SELLER}."
        )
    for term, vat_id, where in (
        ("BT-31", seller.vat_id, f"Correct tax_number by {SELLER}."),
        ("BT-48", buyer.vat_id, f"Correct vat_id by {CUSTOMER}."),
    ):
        if vat_id is not None and not has_country_prefix(vat_id):
            yield EInvoiceProblem(
                "BR-CO-09", term, f"the VAT id {vat_id} does not begin with the country that gave it", where
            )


def _references(invoice: EInvoice) -> Iterator[EInvoiceProblem]:
    if not invoice.number.strip():
        yield EInvoiceProblem("BR-02", "BT-1", "the document has no number", "Finalize it first.")
    gives_back = invoice.is_credit_note or invoice.gross < 0
    if gives_back and not invoice.preceding:
        yield EInvoiceProblem(
            "BR-55",
            "BT-25",
            "a document that gives something back names the invoice that it puts right",
            "Credit that invoice by POST /v1/credit-notes.",
        )
    if invoice.is_credit_note and invoice.gross < 0:
        yield EInvoiceProblem(
            "BT-3",
            "BT-112",
            "the amounts of a credit note are what is given back, above zero",
            NOTHING_TO_SET,
        )
    for document in invoice.preceding:
        if not document.number.strip():
            yield EInvoiceProblem("BR-55", "BT-25", "the invoice before it has no number", NOTHING_TO_SET)


def _lines(invoice: EInvoice) -> Iterator[EInvoiceProblem]:
    if not invoice.lines:
        yield EInvoiceProblem("BR-16", "BG-25", "the document has no line", "Send it as PDF.")
    for line in invoice.lines:
        where = f"line {line.id}"
        if not line.name.strip():
            yield EInvoiceProblem(
                "BR-25", "BT-153", f"{where} has no description", "Describe the price or the line."
            )
        if line.price < 0:
            yield EInvoiceProblem(
                "BR-27", "BT-146", f"{where} has a price below zero", "Give back by a negative quantity."
            )
        if line.base_quantity is not None and line.base_quantity <= 0:
            yield EInvoiceProblem(
                "PEPPOL-EN16931-R121",
                "BT-149",
                f"{where} has a price for no quantity",
                "Price one unit or more.",
            )
        elif _line_net(line) != line.net:
            yield EInvoiceProblem(
                "PEPPOL-EN16931-R120",
                "BT-131",
                f"{where}: {line.quantity:f} x {line.price:f} with allowances is not {line.net}",
                "Change quantity or price so that they multiply out.",
            )
        if _has_more_decimals(line.net, DECIMALS_MAX):
            yield EInvoiceProblem(
                "BR-DEC-23", "BT-131", f"{where} has more than two decimals", "Round the line to cents."
            )
        for allowance in line.allowances:
            if not allowance.reason.strip() and not allowance.reason_code:
                rule, term = ("BR-44", "BT-144") if allowance.is_charge else ("BR-42", "BT-139")
                yield EInvoiceProblem(rule, term, f"{where} has an allowance without a reason", "Say why.")
            if allowance.amount < 0:
                yield EInvoiceProblem(
                    "BR-41", "BT-136", f"{where} has an allowance below zero", "Make it a charge."
                )


def _line_net(line: EInvoiceLine) -> Decimal:
    """Rounding: quantity times price once, half away from zero, to cents, whatever the currency has."""
    per = Fraction(1) if line.base_quantity is None else Fraction(line.base_quantity)
    product = _rounded(Fraction(line.quantity) * Fraction(line.price) * per**-1, DECIMALS_MAX)
    return product + _sum(one.amount if one.is_charge else -one.amount for one in line.allowances)


def _categories(invoice: EInvoice) -> Iterator[EInvoiceProblem]:
    seller, buyer = invoice.seller, invoice.buyer
    used = list(dict.fromkeys(line.category for line in invoice.lines))
    if OUTSIDE_SCOPE in used and len(used) > 1:
        yield EInvoiceProblem(
            "BR-O-11",
            "BT-118",
            "what is outside the scope of tax stands beside what is not",
            "Bill it on a document of its own, as a compensation note is.",
        )
    for category in used:
        family = _FAMILIES[category]
        if category == OUTSIDE_SCOPE:
            if seller.vat_id or buyer.vat_id:
                yield EInvoiceProblem(
                    "BR-O-02", "BT-31", "outside the scope of tax no VAT id may be told", "Leave it out."
                )
            continue
        if not (seller.vat_id or (seller.tax_number and category not in ("K", "G"))):
            yield EInvoiceProblem(
                f"BR-{family}-02",
                "BT-31",
                f"category {category} needs the seller's VAT id",
                f"Set tax_number by {SELLER}.",
            )
        if category == "AE" and not (buyer.vat_id or buyer.legal_id):
            yield EInvoiceProblem(
                "BR-AE-02", "BT-48", "reverse charge needs the buyer's VAT id", f"Set vat_id by {CUSTOMER}."
            )
        if category == WITHIN_UNION and not buyer.vat_id:
            yield EInvoiceProblem(
                "BR-IC-02",
                "BT-48",
                "a supply within the EU needs the buyer's VAT id",
                f"Set vat_id by {CUSTOMER}.",
            )
        if category == WITHIN_UNION and not invoice.deliver_to:
            yield EInvoiceProblem(
                "BR-IC-12",
                "BT-80",
                "a supply within the EU needs the country where it goes",
                f"Set address.country by {CUSTOMER}.",
            )
    for tax in invoice.taxes:
        yield from _category(tax, _FAMILIES[tax.category])


def _category(tax: EInvoiceTax, family: str) -> Iterator[EInvoiceProblem]:
    if tax.category == "S" and tax.percent <= 0:
        yield EInvoiceProblem(
            "BR-S-05",
            "BT-119",
            "nobody has decided how the lines are taxed",
            f"Set tax_number or registrations by {SELLER}, and issue the document anew.",
        )
    if tax.category not in ("S", OUTSIDE_SCOPE) and tax.percent:
        yield EInvoiceProblem(
            f"BR-{family}-05", "BT-119", f"category {tax.category} has no rate but 0", NOTHING_TO_SET
        )
    if tax.category in _WITHOUT_REASON and (tax.reason or tax.reason_code):
        yield EInvoiceProblem(
            f"BR-{family}-10", "BT-120", "what is taxed has no reason not to be", NOTHING_TO_SET
        )
    if tax.category not in _WITHOUT_REASON and not (tax.reason or tax.reason_code):
        yield EInvoiceProblem(
            f"BR-{family}-10",
            "BT-120",
            f"category {tax.category} needs the reason why no tax is due",
            f"Set tax_exemption_reason by {PROFILE}.",
        )


def _periods(invoice: EInvoice) -> Iterator[EInvoiceProblem]:
    if invoice.start_on is None or invoice.last_on is None:
        return
    if invoice.last_on < invoice.start_on:
        yield EInvoiceProblem("BR-29", "BT-74", "the invoicing period ends before it begins", NOTHING_TO_SET)
    for line in invoice.lines:
        if line.last_on < line.start_on:
            yield EInvoiceProblem(
                "BR-30", "BT-135", f"the period of line {line.id} ends before it begins", NOTHING_TO_SET
            )
        if line.start_on < invoice.start_on:
            yield EInvoiceProblem(
                "PEPPOL-EN16931-R110",
                "BT-134",
                f"line {line.id} begins before the invoicing period",
                NOTHING_TO_SET,
            )
        if line.last_on > invoice.last_on:
            yield EInvoiceProblem(
                "PEPPOL-EN16931-R111",
                "BT-135",
                f"line {line.id} ends after the invoicing period",
                NOTHING_TO_SET,
            )


def _sums(invoice: EInvoice) -> Iterator[EInvoiceProblem]:
    lines, taxes = invoice.lines, invoice.taxes
    sums = (
        ("BR-CO-10", "BT-106", invoice.line_total, _sum(line.net for line in lines), "the lines"),
        ("BR-CO-13", "BT-109", invoice.net, invoice.line_total, "the lines less allowances"),
        ("BR-CO-14", "BT-110", invoice.tax, _sum(tax.tax for tax in taxes), "the taxes"),
        ("BR-CO-15", "BT-112", invoice.gross, invoice.net + invoice.tax, "net and tax"),
        ("BR-CO-16", "BT-115", invoice.due, invoice.gross - invoice.prepaid, "the total less what is paid"),
    )
    for rule, term, told, summed, words in sums:
        if told != summed:
            yield EInvoiceProblem(rule, term, f"{told} is not {summed}, the sum of {words}", NOTHING_TO_SET)
    if not taxes:
        yield EInvoiceProblem("BR-CO-18", "BG-23", "the document tells no tax", NOTHING_TO_SET)
    keys = {(line.category, line.percent) for line in lines}
    if keys != {(tax.category, tax.percent) for tax in taxes} or len(taxes) != len(keys):
        yield EInvoiceProblem(
            "BR-CO-18",
            "BG-23",
            "there is not one tax for each category and rate of the lines",
            NOTHING_TO_SET,
        )
    for tax in taxes:
        mine = _sum(
            line.net for line in lines if (line.category, line.percent) == (tax.category, tax.percent)
        )
        if mine != tax.base:
            yield EInvoiceProblem(
                f"BR-{_FAMILIES[tax.category]}-08",
                "BT-116",
                f"{tax.base} is not {mine}, the sum of the lines of {tax.category} {tax.percent:f} %",
                NOTHING_TO_SET,
            )
        yield from _tax(tax, invoice)


def _tax(tax: EInvoiceTax, invoice: EInvoice) -> Iterator[EInvoiceProblem]:
    """Base x rate, rounded once. Of prices that hold the tax it is what is inside of them, rounded once (R4)."""
    decimals = invoice.decimals
    percent = Fraction(tax.percent)
    inside = Fraction(tax.inside_gross) * percent * (100 + percent) ** -1
    on_top = Fraction(tax.base - tax.inside_net) * percent * Fraction(1, 100)
    expected = _rounded(inside, decimals) + _rounded(on_top, decimals)
    off = abs(tax.tax - expected)
    unit = Decimal(1).scaleb(-decimals)
    if off > (unit if invoice.is_part else NOTHING):
        remedy = NOTHING_TO_SET
        if invoice.tax_rounding != "group":
            remedy = f"Round the tax once for each rate: set tax_rounding to group by {SELLER}."
        yield EInvoiceProblem(
            "BR-CO-17",
            "BT-117",
            f"{tax.tax} is not {tax.percent:f} % of {tax.base}, rounded once ({expected})",
            remedy,
        )


def _payment(invoice: EInvoice) -> Iterator[EInvoiceProblem]:
    if invoice.due > 0 and invoice.due_on is None and not invoice.terms:
        yield EInvoiceProblem(
            "BR-CO-25",
            "BT-9",
            "something is due, and nothing says when",
            f"Set payment_terms_days by {SELLER}.",
        )
    if invoice.bank is not None and not invoice.bank.iban.strip():
        yield EInvoiceProblem(
            "BR-61", "BT-84", "the bank account has no IBAN", f"Set details.bank.iban by {SELLER}."
        )


def _routing(invoice: EInvoice) -> Iterator[EInvoiceProblem]:
    """Only where the document says that it is one of Peppol's."""
    if invoice.profile == "peppol":
        yield from missing_for_peppol(invoice)


def missing_for_peppol(invoice: EInvoice) -> Sequence[EInvoiceProblem]:
    """What a document needs besides to travel by Peppol."""
    found = []
    if not (invoice.buyer_reference or invoice.purchase_order):
        found.append(
            EInvoiceProblem(
                "PEPPOL-EN16931-R003",
                "BT-10",
                "there is neither a buyer reference nor a purchase order",
                f"Set buyer_reference or purchase_order by {PROFILE}.",
            )
        )
    if invoice.buyer.endpoint is None:
        found.append(
            EInvoiceProblem(
                "PEPPOL-EN16931-R010",
                "BT-49",
                "the buyer has no electronic address",
                f"Set delivery.electronic_address by {PROFILE}.",
            )
        )
    if invoice.seller.endpoint is None:
        found.append(
            EInvoiceProblem(
                "PEPPOL-EN16931-R020",
                "BT-34",
                "the seller has no electronic address",
                f"Set details.electronic_address by {SELLER}.",
            )
        )
    return found


def _rounded(exact: Fraction, decimals: int) -> Decimal:
    return Decimal(round_half_away(exact, decimals)).scaleb(-decimals)


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, start=Decimal(0))


def _has_more_decimals(amount: Decimal, decimals: int) -> bool:
    return amount != amount.quantize(Decimal(1).scaleb(-decimals))

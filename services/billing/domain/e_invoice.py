"""An issued document in the terms of EN 16931, before it is written in one of the two syntaxes.

Amounts are in major units with the decimals of their currency. Names of fields follow the business terms (BT) of the
standard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from libs.common.countries import known_countries
from libs.common.money import Money, exponent, round_half_away, total
from services.billing.domain.agreement import Address
from services.billing.domain.contact_details import BankAccount, ElectronicAddress
from services.billing.domain.invoice_totals import net_in_gross
from services.billing.domain.issued_document import DocumentLine, IssuedDocument, PrecedingDocument
from services.billing.domain.settlement import InvoiceTax
from services.billing.domain.tax_treatment import TaxCategory
from services.billing.domain.unit_codes import ONE, unit_code

EInvoiceProfile = Literal["peppol", "en16931"]

INVOICE_CODE, CREDIT_NOTE_CODE = "380", "381"
TRANSFER, SEPA_TRANSFER = "30", "58"
OUTSIDE_SCOPE = "O"
WITHIN_UNION = "K"
DISCOUNT_CODE = "95"
NOTHING = Decimal(0)
ADDRESS_LINES_MAX = 3
CENTS = 2
# Source: ISO 6523, as the list ICD of EN 16931 has it; by country and length of number.
_REGISTERS = {
    ("BE", 10): "0208",
    ("DK", 8): "0184",
    ("FI", 9): "0212",
    ("FR", 9): "0002",
    ("FR", 14): "0009",
    ("NL", 8): "0106",
    ("NL", 20): "0190",
    ("NO", 9): "0192",
    ("SE", 10): "0007",
}
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NO_PART_OF_VAT_ID = str.maketrans("", "", " .-/")


@dataclass(frozen=True, slots=True)
class EInvoiceParty:
    """Seller (BG-4) or buyer (BG-7). `legal_id` is BT-30 or BT-47, `vat_id` BT-31 or BT-48, `tax_number` BT-32.

    `legal_scheme` says of which register the `legal_id` is, by its code of ISO 6523, where that is known.
    """

    name: str
    country: str | None
    identifier: str | None = None
    trading_name: str | None = None
    legal_id: str | None = None
    legal_scheme: str | None = None
    vat_id: str | None = None
    tax_number: str | None = None
    street: tuple[str, ...] = ()
    postal_code: str | None = None
    city: str | None = None
    region: str | None = None
    contact_name: str | None = None
    phone: str | None = None
    email: str | None = None
    endpoint: ElectronicAddress | None = None


@dataclass(frozen=True, slots=True)
class LineAllowance:
    """What is taken off a line (BG-27), or added to it (BG-28); never below zero."""

    amount: Decimal
    reason: str
    is_charge: bool = False
    reason_code: str | None = None


@dataclass(frozen=True, slots=True)
class EInvoiceLine:
    """`quantity` x `price` / `base_quantity`, less allowances and with charges, is `net`. No price is below zero."""

    id: str
    name: str
    quantity: Decimal
    unit_code: str
    price: Decimal
    base_quantity: Decimal | None
    net: Decimal
    category: TaxCategory
    percent: Decimal
    start_on: date
    last_on: date
    allowances: tuple[LineAllowance, ...] = ()
    description: str | None = None


@dataclass(frozen=True, slots=True)
class EInvoiceTax:
    """A VAT breakdown (BG-23). `inside_gross` and `inside_net` are of lines whose prices hold the tax."""

    category: TaxCategory
    percent: Decimal
    base: Decimal
    tax: Decimal
    reason_code: str | None = None
    reason: str | None = None
    inside_gross: Decimal = NOTHING
    inside_net: Decimal = NOTHING


@dataclass(frozen=True, slots=True)
class EInvoice:
    """`net` is BT-109, `gross` BT-112, `prepaid` BT-113, `due` BT-115, `notes` BT-22, `terms` BT-20.

    `is_part` says that it credits parts of what was taxed together: its tax was rounded as what is left of a whole.
    """

    kind: str
    status: str
    type_code: str
    profile: EInvoiceProfile
    number: str
    issued_on: date
    due_on: date | None
    currency: str
    seller: EInvoiceParty
    buyer: EInvoiceParty
    lines: tuple[EInvoiceLine, ...]
    taxes: tuple[EInvoiceTax, ...]
    line_total: Decimal
    net: Decimal
    tax: Decimal
    gross: Decimal
    prepaid: Decimal
    due: Decimal
    start_on: date | None = None
    last_on: date | None = None
    buyer_reference: str | None = None
    purchase_order: str | None = None
    contract: str | None = None
    preceding: tuple[PrecedingDocument, ...] = ()
    notes: str | None = None
    terms: str | None = None
    payment_reference: str | None = None
    bank: BankAccount | None = None
    deliver_to: str | None = None
    tax_rounding: str = "group"
    is_part: bool = False

    @property
    def is_credit_note(self) -> bool:
        return self.type_code == CREDIT_NOTE_CODE

    @property
    def decimals(self) -> int:
        return exponent(self.currency)

    @property
    def payment_means(self) -> str:
        """Source: UNTDID 4461."""
        return SEPA_TRANSFER if self.currency == "EUR" else TRANSFER


def e_invoice_of(document: IssuedDocument) -> EInvoice:
    """The document as an e-invoice, whether or not it breaks rules: those are looked at in `e_invoice_rules`.

    Amounts and quantities are those of the document. Discounts and prepaid units stand as allowances of their lines.
    Where quantity times price is not the line's amount (flat amounts of tiers, prices that hold the tax, parts of
    periods), the amount is the price of the whole quantity (BT-149), so that it multiplies out exactly.
    """
    assert document.number is not None, "what is issued has a number"
    assert document.issued_on is not None, "what is issued has a date"
    is_untaxed = any(line.tax_category == OUTSIDE_SCOPE for line in document.lines)
    lines = tuple(_line(line) for line in document.lines)
    prepaid = document.credits_applied + _not_below_zero(document.balance_applied)
    return EInvoice(
        kind=document.kind,
        status=document.status,
        type_code=CREDIT_NOTE_CODE if document.is_credit_note else INVOICE_CODE,
        profile=_profile(document),
        number=document.number,
        issued_on=document.issued_on,
        due_on=document.due_on,
        currency=document.currency,
        seller=_seller(document, is_untaxed=is_untaxed),
        buyer=_buyer(document, is_untaxed=is_untaxed),
        lines=lines,
        taxes=tuple(_tax(tax, document.lines, document.currency) for tax in document.taxes),
        line_total=sum((line.net for line in lines), Money.zero(document.currency).to_decimal()),
        net=document.net.to_decimal(),
        tax=document.tax.to_decimal(),
        gross=document.total.to_decimal(),
        prepaid=prepaid.to_decimal(),
        due=(document.total - prepaid).to_decimal(),
        start_on=document.service_start_on,
        last_on=document.service_last_on,
        buyer_reference=_said(document.buyer_reference),
        purchase_order=_said(document.purchase_order),
        contract=document.subscription_ids[0] if len(document.subscription_ids) == 1 else None,
        preceding=document.preceding,
        notes="\n".join(filter(None, map(_said, (document.reason, document.notes, document.footer)))) or None,
        terms=_terms(document),
        payment_reference=document.payment_reference,
        bank=document.bank,
        deliver_to=_country_of_buyer(document)
        if any(line.tax_category == WITHIN_UNION for line in document.lines)
        else None,
        tax_rounding=document.seller.tax_rounding,
        is_part=document.is_credit_note,
    )


def _profile(document: IssuedDocument) -> EInvoiceProfile:
    """Peppol where the document can travel there: both electronic addresses, and a reference of the buyer's."""
    is_addressed = document.seller_address is not None and document.buyer_address is not None
    is_referenced = _said(document.buyer_reference) or _said(document.purchase_order)
    return "peppol" if is_addressed and is_referenced else "en16931"


def _seller(document: IssuedDocument, *, is_untaxed: bool) -> EInvoiceParty:
    seller, details = document.seller, document.details
    vat_id, tax_number = _tax_numbers(
        [seller.tax_number, *(one.number for one in seller.registrations if one.scheme == "vat")]
    )
    address = details.postal_address or Address()
    street = _street(address) or tuple((seller.address or "").splitlines()[:ADDRESS_LINES_MAX])
    return EInvoiceParty(
        name=printable(seller.name),
        identifier=seller.code,
        legal_id=_said(details.legal_id),
        legal_scheme=_legal_scheme(seller.country, details.legal_id),
        vat_id=None if is_untaxed else vat_id,
        tax_number=tax_number,
        street=street,
        postal_code=_said(address.postal_code),
        city=_said(address.city),
        region=_said(address.region),
        country=address.country or seller.country,
        contact_name=_said(details.contact_name),
        phone=_said(details.phone),
        email=_said(details.email),
        endpoint=document.seller_address,
    )


def _buyer(document: IssuedDocument, *, is_untaxed: bool) -> EInvoiceParty:
    buyer = document.buyer
    address = buyer.address or Address()
    name = _said(buyer.legal_name) or printable(buyer.name)
    vat_id = compact_vat_id(buyer.vat_id) if buyer.vat_id and not is_untaxed else None
    return EInvoiceParty(
        name=name,
        trading_name=_said(buyer.name) if _said(buyer.name) != name else None,
        vat_id=vat_id,
        street=_street(address),
        postal_code=_said(address.postal_code),
        city=_said(address.city),
        region=_said(address.region),
        country=_country_of_buyer(document),
        email=_said(buyer.email),
        endpoint=document.buyer_address,
    )


def _country_of_buyer(document: IssuedDocument) -> str | None:
    address = document.buyer.address
    return (address.country if address is not None else None) or document.buyer.country


def compact_vat_id(number: str) -> str:
    return number.translate(_NO_PART_OF_VAT_ID).upper()


def has_country_prefix(number: str) -> bool:
    """Whether a VAT id begins with the country that gave it. Source: BR-CO-09."""
    prefix = number[:2]
    return prefix in ("EL", "XI") or prefix in known_countries()


def _legal_scheme(country: str, legal_id: str | None) -> str | None:
    """The register of companies of the seller's country, where the number is as long as its numbers are."""
    return None if legal_id is None else _REGISTERS.get((country, len(legal_id.strip())))


def _tax_numbers(numbers: Iterable[str | None]) -> tuple[str | None, str | None]:
    """The VAT id, which begins with a country, and another number for tax, which does not."""
    vat_id = tax_number = None
    for number in numbers:
        if number is None or not number.strip():
            continue
        compact = compact_vat_id(number)
        if has_country_prefix(compact):
            vat_id = vat_id or compact
        else:
            tax_number = tax_number or number.strip()
    return vat_id, tax_number


def _street(address: Address) -> tuple[str, ...]:
    return tuple(filter(None, map(_said, (address.line1, address.line2))))


def _terms(document: IssuedDocument) -> str | None:
    """Where a credit note's total went; what an invoice says of its payment is the due date."""
    if not document.is_credit_note:
        return None
    (credited,) = document.preceding
    went = (
        (document.to_invoice, f"taken off invoice {credited.number}"),
        (document.to_balance, "added to the customer's balance"),
        (document.to_refund, "refunded"),
    )
    told = [f"{part.to_decimal()} {part.currency} {words}" for part, words in went if part.amount_minor]
    return "; ".join(told)


def _line(line: DocumentLine) -> EInvoiceLine:
    code = unit_code(line.facts.unit)
    before, allowances = _deductions(line)
    quantity, price, base_quantity = _priced(line, before)
    return EInvoiceLine(
        id=str(line.ordinal),
        name=printable(line.description),
        description=f"Unit: {line.facts.unit}" if code is None else None,
        quantity=quantity,
        unit_code=code or ONE,
        price=price,
        base_quantity=base_quantity,
        net=line.net.to_decimal(),
        category=line.tax_category,
        percent=line.tax_percent,
        start_on=line.service_start_on,
        last_on=line.last_on,
        allowances=allowances,
    )


def _deductions(line: DocumentLine) -> tuple[Money, tuple[LineAllowance, ...]]:
    """What the line comes to before anything is taken off, without tax, and what is taken off.

    What is taken off a line that is below zero is below zero itself: it is then a charge.
    Rounding: where the price holds the tax, what is left without it is rounded after each step, half away from zero.
    """
    before, between = line.amount, line.amount - line.prepaid
    if line.tax_behavior == "inclusive":
        is_reduced = line.prepaid.amount_minor or line.discount.amount_minor
        before = net_in_gross(before, line.tax_percent) if is_reduced else line.net
        between = net_in_gross(between, line.tax_percent) if line.discount.amount_minor else line.net
    found = []
    for amount, reason, code in (
        (before - between, "Prepaid units", None),
        (between - line.net, "Discount", DISCOUNT_CODE),
    ):
        if amount.amount_minor > 0:
            found.append(LineAllowance(amount.to_decimal(), reason, reason_code=code))
        elif amount.amount_minor < 0:
            found.append(LineAllowance(-amount.to_decimal(), reason, is_charge=True))
    return before, tuple(found)


def _priced(line: DocumentLine, amount: Money) -> tuple[Decimal, Decimal, Decimal | None]:
    """Quantity, price and the quantity that the price is for.

    The price stands where it multiplies out to the cent, also in currencies without cents.
    Source: PEPPOL-EN16931-R120, BR-27.
    """
    exact = abs(amount.to_decimal())
    is_below_zero = amount.amount_minor < 0 or (amount.amount_minor == 0 and line.quantity < 0)
    quantity = abs(line.quantity) or Decimal(1)
    signed = -quantity if is_below_zero else quantity
    if line.tax_behavior == "exclusive" and line.unit_amount >= 0:
        product = Fraction(quantity) * Fraction(line.unit_amount)
        if round_half_away(product, CENTS) == round_half_away(exact, CENTS):
            return signed, line.unit_amount, None
    return signed, exact, None if quantity == 1 else quantity


def _tax(tax: InvoiceTax, lines: Iterable[DocumentLine], currency: str) -> EInvoiceTax:
    inside = [
        line
        for line in lines
        if (line.tax_category, line.tax_percent) == (tax.category, tax.percent)
        and line.tax_behavior == "inclusive"
    ]
    return EInvoiceTax(
        category=tax.category,
        percent=tax.percent,
        base=tax.taxable.to_decimal(),
        tax=tax.tax.to_decimal(),
        reason_code=tax.reason_code,
        reason=_said(tax.reason),
        inside_gross=total((line.paid for line in inside), currency).to_decimal(),
        inside_net=total((line.net for line in inside), currency).to_decimal(),
    )


def printable(text: str) -> str:
    """The text without what XML does not hold: control characters, and halves of characters."""
    return _NOT_IN_XML.sub("", text).strip()


def _said(text: str | None) -> str | None:
    return None if text is None else printable(text) or None


def _not_below_zero(amount: Money) -> Money:
    """What a document below zero gave to the balance pays nothing of it: it is due to the buyer."""
    return Money(max(amount.amount_minor, 0), amount.currency)

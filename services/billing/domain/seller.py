"""The legal entity that issues invoices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from libs.common.errors import Conflict, NotFound
from services.billing.domain.contact_details import SellerDetails
from services.billing.domain.document_number import NumberReset, number_head
from services.billing.domain.invoice_totals import TaxRounding
from services.billing.domain.payment_terms import CountedFrom, DueDayRule

NumberedKind = Literal["invoice", "credit_note", "deposit", "compensation"]


class SellerNotFound(NotFound):
    code = "seller_not_found"
    title = "There is no such seller"


class SellerCodeTaken(Conflict):
    code = "seller_code_taken"
    title = "The code is taken"


@dataclass(frozen=True, slots=True)
class TaxRegistration:
    """Where, and since when, the seller is registered for tax; `oss` is the EU's one-stop shop, for all member states."""

    country: str
    number: str
    valid_from: date | None = None
    scheme: Literal["vat", "oss"] = "vat"


@dataclass(frozen=True, slots=True)
class Seller:
    """`number_prefix` stands before each invoice number, other prefixes before those of other documents.

    By `number_reset` `year` they count anew with each year. An invoice is due `payment_terms_days` after
    `payment_terms_from`: its date, or the end of its month; on the next business day if `due_day_rule` says so.
    `tax_rounding` says whether tax is rounded once for each rate, for each line, or for the whole document. A draft that
    is complete waits `draft_grace_hours`. `zero_invoices` says whether a document of a boundary on which all was free is
    issued. `footer` stands below every document.
    """

    id: str
    code: str
    name: str
    country: str
    number_prefix: str
    payment_terms_days: int
    is_default: bool
    version: int
    created_at: datetime
    address: str | None = None
    tax_number: str | None = None
    tax_rounding: TaxRounding = "group"
    registrations: tuple[TaxRegistration, ...] = ()
    number_reset: NumberReset = "never"
    credit_note_prefix: str | None = None
    deposit_prefix: str | None = None
    compensation_prefix: str | None = None
    payment_terms_from: CountedFrom = "issue"
    due_day_rule: DueDayRule = "calendar"
    draft_grace_hours: int = 0
    zero_invoices: Literal["issue", "skip"] = "skip"
    footer: str | None = None
    details: SellerDetails | None = None


def number_head_of(seller: Seller, kind: NumberedKind, issued_on: date) -> str:
    """What stands before the ordinal of a document of this kind, with the local date `issued_on`."""
    prefixes = {
        "invoice": seller.number_prefix,
        "credit_note": seller.credit_note_prefix or "CN-",
        "deposit": seller.deposit_prefix or "DEP-",
        "compensation": seller.compensation_prefix or "CMP-",
    }
    return number_head(prefixes[kind], seller.number_reset, issued_on)

"""A document derived again from what is stored with it, and held against what was issued, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from libs.common.errors import Conflict
from libs.common.exact import text
from libs.common.periods import local_date
from services.billing.domain.charge import Charge
from services.billing.domain.invoice import Invoice, invoice_id, lines_of, terms_of, totalled
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.ledger_entry import Posting
from services.billing.domain.manual_line import ManualLine
from services.billing.domain.payment_terms import due_date
from services.billing.domain.postings_of_invoices import (
    owed_on,
    postings_for_balance_applied,
    postings_for_invoice,
)
from services.billing.domain.revenue_schedule import earned_line_of
from services.billing.domain.settlement import SettlementInputs, settle_lines
from services.billing.domain.tax_treatment import TaxTreatment


class InvoiceNotIssued(Conflict):
    code = "invoice_not_issued"
    title = "The invoice is not issued"


@dataclass(frozen=True, slots=True)
class StoredInvoice:
    """An issued document with its lines, all that they were made from, and the sets that it posted."""

    invoice: Invoice
    lines: tuple[InvoiceLine, ...]
    charges: tuple[Charge, ...]
    manual: tuple[ManualLine, ...] = ()
    postings: tuple[Posting, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """Where what is `stored` is not what is `derived`, as a JSON pointer; None where there is nothing."""

    pointer: str
    stored: str | None
    derived: str | None


def agrees(stored: StoredInvoice) -> bool:
    """Whether `verify_invoice` would find nothing: told at once, for whoever looks at a hundred thousand of them."""
    return _told(stored) == _derived(stored)


def verify_invoice(stored: StoredInvoice) -> list[Difference]:
    """What of an issued document is not what charges, manual lines and settlement make of it: nothing, if all is well.

    What people, balances and payments decided is taken as it is stored: treatments and prepaid units of lines, coupons
    with what was used of them before, what was drawn on the balance, and what was paid.
    """
    derived = _derived(stored)
    issued = _canonical(_told(stored))
    again = _canonical(derived)
    if issued == again:
        return []
    return list(_differences("", json.loads(issued), json.loads(again)))


def inputs_of(invoice: Invoice, lines: Iterable[InvoiceLine]) -> SettlementInputs:
    """What decided what the lines came to, as it stands on the document."""
    known = list(lines)
    assert invoice.seller is not None, "an issued document has a seller"
    return SettlementInputs(
        prepaid={line.id: line.prepaid for line in known if line.prepaid.amount_minor},
        coupons=tuple(discount.coupon for discount in invoice.discounts),
        treatments={
            line.id: TaxTreatment(line.tax_category, line.tax_percent, line.tax_reason_code, line.tax_reason)
            for line in known
        },
        tax_rounding=invoice.seller.tax_rounding,
    )


def _told(stored: StoredInvoice) -> dict[str, Any]:
    return {
        "invoice": stored.invoice,
        "lines": {line.id: line for line in stored.lines},
        "charges": {charge.id: charge.amount for charge in stored.charges},
        "ledger": _compared(stored, stored.postings),
    }


def _derived(stored: StoredInvoice) -> dict[str, Any]:
    invoice = stored.invoice
    lines = lines_of(invoice, stored.charges, stored.manual)
    settled = settle_lines(lines, inputs_of(invoice, stored.lines), invoice.currency)
    derived = {line.id: line for line in settled.lines}
    if _is_of_before(stored):
        settled = replace(settled, taxes=())
        for line in stored.lines:
            if line.id in derived:
                not_told = {name: getattr(line, name) for name in _NOT_TOLD_BEFORE}
                derived[line.id] = replace(derived[line.id], **not_told)
    again = replace(totalled(invoice, settled), due_at=invoice.due_at, version=invoice.version)
    again = replace(
        again,
        id=invoice_id(invoice.group_id, invoice.boundary_at, invoice.document_kind, invoice.issue),
        due_on=_due_on(invoice),
    )
    amounts: dict[str | None, int] = {}
    for line in lines:
        amounts[line.charge_id] = amounts.get(line.charge_id, 0) + line.amount.amount_minor
    return {
        "invoice": again,
        "lines": derived,
        "charges": {
            charge.id: replace(charge.amount, amount_minor=amounts.get(charge.id, 0))
            for charge in stored.charges
        },
        "ledger": _compared(stored, _postings(again, list(derived.values()))),
    }


def _due_on(invoice: Invoice) -> date | None:
    """Worked out where it needs no calendar of business days."""
    seller = invoice.seller
    assert seller is not None, "an issued document has a seller"
    assert invoice.issued_at is not None, "an issued document has a date"
    if seller.due_day_rule != "calendar":
        return invoice.due_on
    return due_date(local_date(invoice.issued_at, invoice.zone), terms_of(invoice, seller), calendar=None)


def _postings(invoice: Invoice, lines: Sequence[InvoiceLine]) -> Iterator[Posting]:
    assert invoice.issued_at is not None, "an issued document"
    if invoice.document_kind != "deposit":
        yield from postings_for_invoice(
            invoice.id,
            lines=[earned_line_of(line) for line in lines],
            tax=invoice.tax,
            total=invoice.total,
            at=invoice.issued_at,
            zone=invoice.zone,
        )
    if invoice.balance_applied.amount_minor:
        yield from postings_for_balance_applied(
            invoice.id,
            invoice.balance_applied,
            at=invoice.issued_at,
            zone=invoice.zone,
            settles=owed_on(invoice.document_kind),
        )


def _compared(stored: StoredInvoice, postings: Iterable[Posting]) -> dict[str, Posting]:
    """By their keys, those that follow from the document; earlier releases wrote their entries in another order."""
    found = {posting.key: posting for posting in postings if _is_derived(stored, posting)}
    if not _is_of_before(stored):
        return found
    return {
        key: replace(posting, entries=tuple(sorted(posting.entries, key=lambda entry: entry.account)))
        for key, posting in found.items()
    }


def _is_derived(stored: StoredInvoice, posting: Posting) -> bool:
    """Whether it follows from the document alone, and not from a payment, a credit note or a person."""
    key = f"invoice:{stored.invoice.id}"
    if posting.key.startswith(f"{key}:earned:"):
        return not _is_of_before(stored)
    return posting.key in (f"{key}:final", f"{key}:balance")


# What lines did not tell before documents had taxes.
_NOT_TOLD_BEFORE = ("earned_until", "income", "tax_behavior", "product_tax_category")


def _is_of_before(stored: StoredInvoice) -> bool:
    """Whether an earlier release issued it, which knew no taxes, and left to be earned what lay ahead."""
    return bool(stored.lines) and not stored.invoice.taxes


def _canonical(told: Mapping[str, Any]) -> str:
    return json.dumps(_plain(told), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """In JSON, numbers that need not be whole as text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Decimal | Fraction):
        return text(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Iterable):
        return [_plain(part) for part in value]
    raise AssertionError(f"a document holds no {type(value).__name__}")


def _differences(pointer: str, stored: Any, derived: Any) -> Iterator[Difference]:
    if stored == derived:
        return
    if isinstance(stored, dict) and isinstance(derived, dict):
        for name in dict.fromkeys([*stored, *derived]):
            place = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            yield from _differences(place, stored.get(name), derived.get(name))
    elif isinstance(stored, list) and isinstance(derived, list) and len(stored) == len(derived):
        for number, (one, other) in enumerate(zip(stored, derived, strict=True)):
            yield from _differences(f"{pointer}/{number}", one, other)
    else:
        yield Difference(pointer, _shown(stored), _shown(derived))


def _shown(value: Any) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False)

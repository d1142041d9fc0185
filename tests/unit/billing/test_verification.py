"""An issued document derived again: the same to the byte, and whatever was tampered with is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

import pytest

from libs.common.money import Money
from services.billing.domain.discount import Coupon
from services.billing.domain.invoice import Finalized, Means, decide_finalization, lines_of
from services.billing.domain.ledger_entry import LedgerEntry
from services.billing.domain.postings_of_invoices import postings_for_invoice
from services.billing.domain.revenue_schedule import earned_line_of
from services.billing.domain.settlement import SettlementInputs, settle_lines
from services.billing.domain.tax_treatment import TaxTreatment
from services.billing.domain.verification import StoredInvoice, verify_invoice
from tests.support.billing import Story, a_seller
from tests.unit.billing.test_invoice import NOW, a_draft, charges_of


def an_issued_invoice() -> StoredInvoice:
    """A fee ahead and usage behind, with a coupon, prepaid units and tax."""
    story = Story(quantity="2")
    draft, charges = a_draft(story), charges_of(story, "10")
    lines = lines_of(draft, charges)
    inputs = SettlementInputs(
        prepaid={lines[0].id: Money(700, "USD")},
        coupons=(Coupon("TEN", "Ten off", percent=Decimal("10")),),
        treatments={line.id: TaxTreatment("S", Decimal("21")) for line in lines},
        tax_rounding=a_seller().tax_rounding,
    )
    nothing = Money.zero("USD")
    outcome = decide_finalization(
        draft,
        settle_lines(lines, inputs, "USD"),
        owes=True,
        seller=a_seller(),
        profile=None,
        means=Means(nothing, nothing),
        now=NOW,
    )
    assert isinstance(outcome, Finalized)
    invoice = outcome.invoice
    postings = postings_for_invoice(
        invoice.id,
        lines=[earned_line_of(line) for line in outcome.lines],
        tax=invoice.tax,
        total=invoice.total,
        at=NOW,
        zone=invoice.zone,
    )
    return StoredInvoice(invoice, outcome.lines, tuple(charges), (), postings)


def test_what_was_issued_is_derived_again() -> None:
    stored = an_issued_invoice()
    assert len(stored.postings) == 2
    assert stored.invoice.tax.amount_minor
    assert verify_invoice(stored) == []


class Case(NamedTuple):
    name: str
    tampered: Callable[[StoredInvoice], StoredInvoice]
    pointer: str


def line(**changes: object) -> Callable[[StoredInvoice], StoredInvoice]:
    return lambda s: replace(s, lines=(replace(s.lines[0], **changes), *s.lines[1:]))  # type: ignore[arg-type]


def invoice(**changes: object) -> Callable[[StoredInvoice], StoredInvoice]:
    return lambda s: replace(s, invoice=replace(s.invoice, **changes))  # type: ignore[arg-type]


def charge(**changes: object) -> Callable[[StoredInvoice], StoredInvoice]:
    return lambda s: replace(s, charges=(replace(s.charges[0], **changes), *s.charges[1:]))  # type: ignore[arg-type]


def other_entry(stored: StoredInvoice) -> StoredInvoice:
    first = stored.postings[0]
    entries = (LedgerEntry("cash", first.entries[0].amount), *first.entries[1:])
    return replace(stored, postings=(replace(first, entries=entries), *stored.postings[1:]))


CENT = Money(1, "USD")
CASES = [
    Case("amount_of_a_line", line(amount=CENT), "/lines/{line}/amount/amount_minor"),
    Case("formula_of_a_line", line(formula="2 * 2 = 5"), "/lines/{line}/formula"),
    Case("a_line_that_is_gone", lambda s: replace(s, lines=s.lines[1:]), "/lines/{line}"),
    Case("discount_of_a_line", line(discount=CENT), "/lines/{line}/discount/amount_minor"),
    Case("tax_of_a_line", line(tax_percent=Decimal("6")), "/invoice/tax/amount_minor"),
    Case("total", invoice(total=CENT), "/invoice/total/amount_minor"),
    Case("due_date", invoice(due_on=NOW.date() + timedelta(days=99)), "/invoice/due_on"),
    Case("issue", invoice(issue=2), "/invoice/id"),
    Case("quantity_of_a_charge", charge(quantity=Decimal("3")), "/lines/{line}/quantity"),
    Case("amount_of_a_charge", charge(amount=CENT), "/charges/{charge}/amount_minor"),
    Case("account_of_a_posting", other_entry, "/ledger/invoice:{invoice}:final/entries/0/account"),
    Case(
        "a_posting_that_is_gone",
        lambda s: replace(s, postings=s.postings[1:]),
        "/ledger/invoice:{invoice}:final",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whatever_was_tampered_with_is_named(case: Case) -> None:
    stored = an_issued_invoice()
    first = next(line for line in stored.lines if line.charge_id == stored.charges[0].id)
    stored = replace(stored, lines=(first, *(line for line in stored.lines if line is not first)))
    found = {difference.pointer for difference in verify_invoice(case.tampered(stored))}
    expected = case.pointer.format(
        line=stored.lines[0].id, charge=stored.charges[0].id, invoice=stored.invoice.id
    )
    assert expected in found

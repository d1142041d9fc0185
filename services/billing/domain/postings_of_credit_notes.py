"""What a credit note posts: the mirror of what it credits, of what is still to be earned too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from libs.common.money import Money
from services.billing.domain.ledger_entry import Account, Posting, moment, postings_of
from services.billing.domain.postings_of_invoices import postings_for_earned_back
from services.billing.domain.revenue_schedule import EarnedLine, EarnedPart, credited_schedule


@dataclass(frozen=True, slots=True)
class CreditedPart:
    """What of a line's net is credited (positive where the line's is), and what was credited of it before."""

    line: EarnedLine
    credit: Money
    before: Money


def postings_for_credit_note(
    credit_note_id: str,
    invoice_id: str,
    *,
    invoiced_on: date,
    lines: Sequence[CreditedPart],
    tax: Money,
    to_invoice: Money,
    to_balance: Money,
    to_refund: Money,
    at: datetime,
    zone: str,
) -> tuple[Posting, ...]:
    """Debit income, what was still to be delivered, and tax; credit what the customer owed, or what he is owed now.

    What had been earned of a line by now is taken off its income, what had not is no longer owed to the customer and
    will not be earned: a set of its own, dated ahead, takes it off each month. `invoiced_on` is the date of the invoice.
    Rounding: in proportion to the line's schedule; several notes that credit all of it leave nothing in any month.
    Raises: CurrencyMismatch.
    """
    when = moment(at, zone)
    amounts: list[tuple[Account, int]] = []
    later: list[tuple[EarnedPart, Account]] = []
    rest = to_invoice + to_balance + to_refund - tax
    for part in lines:
        rest -= part.credit
        taken = credited_schedule(part.line, invoiced_on, before=part.before, credit=part.credit)
        amounts.append((part.line.income, taken.at_issue.amount_minor))
        for month in taken.later:
            if month.on < when.on:
                amounts.append((part.line.income, month.amount.amount_minor))
            else:
                later.append((month, part.line.income))
    amounts += [
        ("contract_liability", sum(month.amount.amount_minor for month, _ in later)),
        ("tax_payable", tax.amount_minor),
        ("accounts_receivable", -to_invoice.amount_minor),
        ("customer_credit", -to_balance.amount_minor),
        ("refunds_payable", -to_refund.amount_minor),
        ("rounding", rest.amount_minor),
    ]
    key = f"credit_note:{credit_note_id}:issued"
    issued = postings_of(key, amounts, tax.currency, when, invoice_id=invoice_id, source_id=credit_note_id)
    return issued + postings_for_earned_back(
        key, later, tax.currency, when, zone, invoice_id=invoice_id, source_id=credit_note_id
    )

"""A customer's account over some time: what was charged, what came off it, what is open and how long past its due date.

It follows from the ledger: from what the customer owes (receivables), less what is owed to the customer as credit, as
money that came and pays nothing yet, and as refunds on their way. Deposits are the customer's own, and no part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from libs.common.errors import NotFound, RuleViolation
from libs.common.money import Money
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.seller import Seller

StatementKind = Literal[
    "invoice",
    "invoice_voided",
    "invoice_written_off",
    "credit_note",
    "payment",
    "payment_reversed",
    "refund",
    "prepaid_credits",
    "deposit_set_off",
    "adjustment",
    "other",
]
ENTRIES_MAX = 5_000
AGES_DAYS = (30, 60, 90)  # the last days of the buckets; what is older is in one more

_KINDS: Mapping[tuple[str, str], StatementKind] = {
    ("invoice", "final"): "invoice",
    ("invoice", "voided"): "invoice_voided",
    ("invoice", "written_off"): "invoice_written_off",
    ("credit_note", "issued"): "credit_note",
    ("payment", "received"): "payment",
    ("payment", "restored"): "payment",
    ("payment", "reversed"): "payment_reversed",
    ("deposit", "set_off"): "deposit_set_off",
    ("balance", "adjusted"): "adjustment",
}


class CustomerHasNoSeller(NotFound):
    """Nobody issues documents yet, so that nobody can state an account."""

    code = "no_seller_yet"
    title = "There is no seller yet"


class StatementTooLong(RuleViolation):
    code = "statement_too_long"
    title = "The statement has too many entries"


@dataclass(frozen=True, slots=True)
class AccountMovement:
    """What one posting did to an account, and the document that it is about. A `change` above zero is more owed."""

    posting: str
    posted_on: date
    change: Money
    document_id: str | None = None
    number: str | None = None
    due_on: date | None = None

    @property
    def kind(self) -> StatementKind:
        about, _, rest = self.posting.partition(":")
        fact = rest.partition(":")[2].partition(":")[0]
        if about == "refund":
            return "refund"
        if about == "credits":
            return "prepaid_credits"
        return _KINDS.get((about, fact), "other")


@dataclass(frozen=True, slots=True)
class StatementEntry:
    movement: AccountMovement
    balance: Money


@dataclass(frozen=True, slots=True)
class OpenInvoice:
    number: str | None
    due_on: date | None
    open: Money


@dataclass(frozen=True, slots=True)
class Aging:
    """What is open of invoices at the close: not due yet, and by days past the due date, `AGES_DAYS` and beyond."""

    not_due: Money
    overdue: tuple[Money, ...]

    @property
    def open(self) -> Money:
        summed = self.not_due
        for amount in self.overdue:
            summed += amount
        return summed


@dataclass(frozen=True, slots=True)
class StatedAccount:
    """One currency's. `opening` and all changes come to `closing`; what is open, less `credit`, does too."""

    currency: str
    opening: Money
    entries: tuple[StatementEntry, ...]
    closing: Money
    aging: Aging

    @property
    def credit(self) -> Money:
        """What of it is owed to the customer: a balance, money that pays nothing yet, refunds on their way."""
        return self.aging.open - self.closing


@dataclass(frozen=True, slots=True)
class CustomerStatement:
    """From `start_on` until before `end_on`, by the dates of the documents' zones."""

    customer: CustomerDetails
    seller: Seller
    start_on: date
    end_on: date
    accounts: tuple[StatedAccount, ...]
    language: str

    @property
    def file_stem(self) -> str:
        """What a file of it is called, with its last day."""
        return f"statement-{self.start_on}-{self.end_on - timedelta(days=1)}"


def stated_account(
    currency: str,
    opening: Money,
    movements: Sequence[AccountMovement],
    open_invoices: Iterable[OpenInvoice],
    *,
    last_on: date,
) -> StatedAccount:
    """The movements in their order, each with what is owed after it. What changes nothing is left out."""
    balance = opening
    entries = []
    for movement in movements:
        if not movement.change.amount_minor:
            continue
        balance += movement.change
        entries.append(StatementEntry(movement, balance))
    return StatedAccount(currency, opening, tuple(entries), balance, _aging(currency, open_invoices, last_on))


def _aging(currency: str, invoices: Iterable[OpenInvoice], last_on: date) -> Aging:
    zero = Money.zero(currency)
    not_due, overdue = zero, [zero] * (len(AGES_DAYS) + 1)
    for invoice in invoices:
        days = 0 if invoice.due_on is None else (last_on - invoice.due_on).days
        if days <= 0:
            not_due += invoice.open
            continue
        bucket = next((place for place, most in enumerate(AGES_DAYS) if days <= most), len(AGES_DAYS))
        overdue[bucket] += invoice.open
    return Aging(not_due, tuple(overdue))

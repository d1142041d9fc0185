"""The ledger: balanced sets of debits and credits. It is only ever added to; corrections are reversals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from libs.common.money import Money, total

Account = Literal[
    "accounts_receivable",
    "cash",
    "contract_liability",
    "customer_credit",
    "goodwill",
    "revenue",
    "tax_payable",
]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One debit (positive) or credit (negative) on one account.

    `posting` names its set by the business event, so that the same event cannot be posted twice;
    a set has one entry for each account at most. Every set sums to zero in each currency.
    """

    posting: str
    account: Account
    amount: Money


@dataclass(frozen=True, slots=True)
class PostedLine:
    """What a posting needs to know of an invoice line; a line without a service period is earned at once."""

    net: Money
    service_start_on: date | None = None


def entries_for_invoice(
    invoice_id: str, *, invoiced_on: date, lines: Sequence[PostedLine], tax: Money
) -> tuple[LedgerEntry, ...]:
    """Debit what the customer owes; credit revenue, what is still to be delivered, and tax.

    A line whose service period starts on the day of the invoice or later is a contract liability until then.
    Raises: CurrencyMismatch.
    Source: IFRS 15.105 and 106.
    """
    ahead: list[Money] = []
    behind: list[Money] = []
    for line in lines:
        is_ahead = line.service_start_on is not None and line.service_start_on >= invoiced_on
        (ahead if is_ahead else behind).append(line.net)
    liability, revenue = total(ahead, tax.currency), total(behind, tax.currency)
    return _posting(
        f"invoice:{invoice_id}:final",
        (
            ("accounts_receivable", liability + revenue + tax),
            ("contract_liability", -liability),
            ("revenue", -revenue),
            ("tax_payable", -tax),
        ),
    )


def entries_for_payment(payment_id: str, amount: Money) -> tuple[LedgerEntry, ...]:
    """Debit cash, credit what the customer owed."""
    return _posting(f"payment:{payment_id}:received", (("cash", amount), ("accounts_receivable", -amount)))


def entries_for_balance_applied(invoice_id: str, applied: Money) -> tuple[LedgerEntry, ...]:
    """Debit what is owed to the customer, credit what he owed; of a document below zero (`applied` is), the reverse."""
    return _posting(
        f"invoice:{invoice_id}:balance", (("customer_credit", applied), ("accounts_receivable", -applied))
    )


def entries_for_adjustment(entry_id: str, amount: Money) -> tuple[LedgerEntry, ...]:
    """Debit goodwill, which lessens revenue, credit what is owed to the customer; the reverse where it is taken back."""
    return _posting(f"balance:{entry_id}:adjusted", (("goodwill", amount), ("customer_credit", -amount)))


def imbalance(entries: Iterable[LedgerEntry]) -> dict[str, int]:
    """By how many minor units debits exceed credits, for each currency in which they do not balance."""
    sums: dict[str, int] = {}
    for entry in entries:
        sums[entry.amount.currency] = sums.get(entry.amount.currency, 0) + entry.amount.amount_minor
    return {currency: minor for currency, minor in sums.items() if minor}


def _posting(posting: str, amounts: Sequence[tuple[Account, Money]]) -> tuple[LedgerEntry, ...]:
    """The entries of one set, without those of zero."""
    entries = tuple(
        LedgerEntry(posting, account, amount) for account, amount in amounts if amount.amount_minor
    )
    assert not imbalance(entries), "a posting balances"
    return entries

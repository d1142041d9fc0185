"""The ledger: balanced sets of debits and credits. It is only ever added to; corrections are reversals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal, get_args

from libs.common.money import Money
from libs.common.periods import local_date

Account = Literal[
    "accounts_receivable",
    "bad_debt",
    "breakage",
    "cash",
    "compensation_income",
    "contract_asset",
    "contract_liability",
    "customer_credit",
    "deposit_liability",
    "dispute_fees",
    "goodwill",
    "prepaid_credits",
    "promotional_credits",
    "refunds_payable",
    "revenue",
    "rounding",
    "sla_reduction",
    "tax_payable",
    "unapplied_payments",
]
AccountType = Literal["asset", "liability", "income", "expense"]

ACCOUNTS: tuple[Account, ...] = get_args(Account)

# `goodwill`, `promotional_credits` and `sla_reduction` lessen income; they are kept apart from it to be seen.
ACCOUNT_TYPES: Mapping[Account, AccountType] = {
    "accounts_receivable": "asset",
    "bad_debt": "expense",
    "breakage": "income",
    "cash": "asset",
    "compensation_income": "income",
    "contract_asset": "asset",
    "contract_liability": "liability",
    "customer_credit": "liability",
    "deposit_liability": "liability",
    "dispute_fees": "expense",
    "goodwill": "income",
    "prepaid_credits": "liability",
    "promotional_credits": "income",
    "refunds_payable": "liability",
    "revenue": "income",
    "rounding": "expense",
    "sla_reduction": "income",
    "tax_payable": "liability",
    "unapplied_payments": "liability",
}


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One debit (positive) or credit (negative) on one account."""

    account: Account
    amount: Money


@dataclass(frozen=True, slots=True)
class Posting:
    """One business fact in the books: a set of entries that sums to zero in each currency.

    `key` names the fact, so that it cannot be posted twice; a set has one entry for each account at most. `posted_on` is
    the date in whose books it stands, that of `posted_at` in the zone of the document; it may lie ahead: what a document
    earns later is posted with it. The ids say what it is about; `source_id` is that of a credit note, a deposit, prepaid
    credits, a refund or a dispute.
    """

    key: str
    posted_at: datetime
    posted_on: date
    entries: tuple[LedgerEntry, ...]
    invoice_id: str | None = None
    attempt_id: str | None = None
    balance_entry_id: str | None = None
    source_id: str | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is posted: an instant, and the date that it falls on where it happened."""

    at: datetime
    on: date


def moment(at: datetime, zone: str | None = None) -> Moment:
    """The instant in a zone; what happens in none is dated by UTC."""
    return Moment(at, at.astimezone(UTC).date() if zone is None else local_date(at, zone))


def postings_of(
    key: str,
    amounts: Sequence[tuple[Account, int]],
    currency: str,
    when: Moment,
    *,
    invoice_id: str | None = None,
    attempt_id: str | None = None,
    balance_entry_id: str | None = None,
    source_id: str | None = None,
) -> tuple[Posting, ...]:
    """The set of these amounts, in minor units: one entry an account, none of zero. Of nothing, there is no set."""
    sums: dict[Account, int] = {}
    for account, minor in amounts:
        sums[account] = sums.get(account, 0) + minor
    entries = tuple(LedgerEntry(account, Money(minor, currency)) for account, minor in sums.items() if minor)
    assert not sum(sums.values()), "a posting balances"
    if not entries:
        return ()
    return (
        Posting(
            key=key,
            posted_at=when.at,
            posted_on=when.on,
            entries=entries,
            invoice_id=invoice_id,
            attempt_id=attempt_id,
            balance_entry_id=balance_entry_id,
            source_id=source_id,
        ),
    )


def imbalance(entries: Iterable[LedgerEntry]) -> dict[str, int]:
    """By how many minor units debits exceed credits, for each currency in which they do not balance."""
    sums: dict[str, int] = {}
    for entry in entries:
        sums[entry.amount.currency] = sums.get(entry.amount.currency, 0) + entry.amount.amount_minor
    return {currency: minor for currency, minor in sums.items() if minor}

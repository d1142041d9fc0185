"""What is read of the ledger: balances at a date, statements of an account, when documents are earned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from libs.common.errors import NotFound, RuleViolation
from libs.common.money import Money
from libs.common.paging import Position
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.ledger_entry import Account
from services.billing.domain.revenue_schedule import EarnedPart, LineSchedule

MONTHS_MAX = 120


class LedgerAccountNotFound(NotFound):
    code = "ledger_account_not_found"
    title = "There is no such ledger account"


class LedgerCurrencyNeeded(RuleViolation):
    """An account has a balance in each currency, and they cannot be added up."""

    code = "ledger_currency_needed"
    title = "The account has several currencies"


class LedgerDatesReversed(RuleViolation):
    code = "ledger_dates_reversed"
    title = "The dates do not enclose any time"


class LedgerTimeTooLong(RuleViolation):
    code = "ledger_time_too_long"
    title = "More months than one answer has"


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """All debits and credits of an account in one currency; both are positive."""

    account: Account
    debits: Money
    credits: Money

    @property
    def balance(self) -> Money:
        """Positive where debits prevail."""
        return self.debits - self.credits


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """Every account with entries, by currency, at the close of the date `at`, or of all until the instant `as_of`."""

    at: date | None
    as_of: datetime | None
    accounts: tuple[AccountBalance, ...]


@dataclass(frozen=True, slots=True)
class StatementEntry:
    posting: str
    posted_at: datetime
    posted_on: date
    amount: Money
    after: Money
    invoice_id: str | None
    attempt_id: str | None
    balance_entry_id: str | None
    source_id: str | None


@dataclass(frozen=True, slots=True)
class AccountStatement:
    """One page of an account's entries. `opening` and `closing` are those of the whole statement."""

    account: Account
    start_on: date | None
    end_on: date | None
    opening: Money
    closing: Money
    entries: tuple[StatementEntry, ...]
    next: Position | None


@dataclass(frozen=True, slots=True)
class InvoiceSchedule:
    """When each line is earned, as it was issued, and what the books say: voids and credit notes change only those."""

    invoice_id: str
    invoiced_on: date
    lines: tuple[tuple[InvoiceLine, LineSchedule], ...]
    posted: tuple[EarnedPart, ...]


@dataclass(frozen=True, slots=True)
class DeferredMonth:
    """What is still to be earned, from the start of a month to its end. `month_on` is its first day.

    `opening` + `billed` - `earned` - `taken_back` = `closing`; `recognized` is all income of the month, also what was
    never deferred.
    """

    month_on: date
    opening: Money
    billed: Money
    earned: Money
    taken_back: Money
    closing: Money
    recognized: Money


@dataclass(frozen=True, slots=True)
class StillToBeEarned:
    """Billed by the end of the time asked about, and to be earned after it."""

    within_12_months: Money
    later: Money


@dataclass(frozen=True, slots=True)
class RevenueRollForward:
    start_on: date
    end_on: date
    months: tuple[DeferredMonth, ...]
    remaining: tuple[StillToBeEarned, ...]

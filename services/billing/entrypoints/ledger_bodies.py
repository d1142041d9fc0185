"""What is said of the ledger over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from fastapi import Query
from pydantic import Field

from libs.common.money import Money
from libs.common.web.bodies import BusinessDate, Currency, Instant, MoneyBody, StrictBody
from services.billing.application.ledger_views import (
    AccountBalance,
    AccountStatement,
    DeferredMonth,
    InvoiceSchedule,
    RevenueRollForward,
    StatementEntry,
    StillToBeEarned,
    TrialBalance,
)
from services.billing.application.queries import LedgerEntryView
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.ledger_entry import ACCOUNT_TYPES, Account, AccountType
from services.billing.domain.revenue_schedule import EarnedPart, LineSchedule

LedgerExportFormat = Literal["csv", "beancount"]
InvoiceExportFormat = Literal["csv"]

FromDate = Annotated[
    BusinessDate | None, Query(alias="from", description="In the books of this date or later.")
]
ToDate = Annotated[
    BusinessDate | None, Query(alias="to", description="In the books of a date before this one.")
]


def _money(money: Money) -> MoneyBody:
    return MoneyBody.from_money(money)


class LedgerEntryBody(StrictBody):
    """A debit (positive) or a credit (negative) of one balanced set, `posting`, in the books of `posted_on`.

    What a document earns later is posted with it, dated ahead. `source_id` is that of a credit note, a deposit, prepaid
    credits or a refund.
    """

    id: str
    posting: str
    account: str
    amount: MoneyBody
    posted_at: Instant
    posted_on: BusinessDate
    invoice_id: str | None
    attempt_id: str | None
    customer_balance_entry_id: str | None
    source_id: str | None

    @classmethod
    def from_view(cls, view: LedgerEntryView) -> Self:
        return cls(
            id=view.id,
            posting=view.posting,
            account=view.account,
            amount=_money(view.amount),
            posted_at=view.posted_at,
            posted_on=view.posted_on,
            invoice_id=view.invoice_id,
            attempt_id=view.attempt_id,
            customer_balance_entry_id=view.balance_entry_id,
            source_id=view.source_id,
        )


class AccountBalanceBody(StrictBody):
    """All debits and credits of one account in one currency. `balance` is positive where debits prevail."""

    account: Account
    type: AccountType
    currency: Currency
    debits: MoneyBody
    credits: MoneyBody
    balance: MoneyBody

    @classmethod
    def from_view(cls, view: AccountBalance) -> Self:
        return cls(
            account=view.account,
            type=ACCOUNT_TYPES[view.account],
            currency=view.debits.currency,
            debits=_money(view.debits),
            credits=_money(view.credits),
            balance=_money(view.balance),
        )


class TrialBalanceBody(StrictBody):
    """Every account that has entries. In each currency the balances sum to zero.

    At the close of the date `at`, or, without one, of all that was posted until the instant `as_of`.
    """

    at: BusinessDate | None
    as_of: Instant | None
    data: list[AccountBalanceBody]

    @classmethod
    def from_view(cls, view: TrialBalance) -> Self:
        return cls(
            at=view.at,
            as_of=view.as_of,
            data=[AccountBalanceBody.from_view(balance) for balance in view.accounts],
        )


class StatementEntryBody(StrictBody):
    """A debit (positive) or a credit (negative), and what the account came to by it."""

    posting: str = Field(examples=["invoice:inv_01jz3v6m1qk0c8n4r2d5s7t9wx:final"])
    posted_at: Instant
    posted_on: BusinessDate
    amount: MoneyBody
    balance: MoneyBody
    invoice_id: str | None
    attempt_id: str | None
    customer_balance_entry_id: str | None
    source_id: str | None

    @classmethod
    def from_view(cls, view: StatementEntry) -> Self:
        return cls(
            posting=view.posting,
            posted_at=view.posted_at,
            posted_on=view.posted_on,
            amount=_money(view.amount),
            balance=_money(view.after),
            invoice_id=view.invoice_id,
            attempt_id=view.attempt_id,
            customer_balance_entry_id=view.balance_entry_id,
            source_id=view.source_id,
        )


class AccountStatementBody(StrictBody):
    """The entries of one account, in the order in which they are posted, a page at a time.

    `opening_balance` and `closing_balance` are those of the whole statement, on every page.
    """

    account: Account
    type: AccountType
    from_: BusinessDate | None = Field(alias="from")
    to: BusinessDate | None
    opening_balance: MoneyBody
    closing_balance: MoneyBody
    data: list[StatementEntryBody]
    next_cursor: str | None

    @classmethod
    def from_view(cls, view: AccountStatement, next_cursor: str | None) -> Self:
        told = {"from": view.start_on}
        return cls(
            **told,
            account=view.account,
            type=ACCOUNT_TYPES[view.account],
            to=view.end_on,
            opening_balance=_money(view.opening),
            closing_balance=_money(view.closing),
            data=[StatementEntryBody.from_view(entry) for entry in view.entries],
            next_cursor=next_cursor,
        )


class EarnedPartBody(StrictBody):
    """What is earned of one month, or of what is left of it, in the books of its last day that is served."""

    earned_on: BusinessDate
    amount: MoneyBody

    @classmethod
    def from_domain(cls, part: EarnedPart) -> Self:
        return cls(earned_on=part.on, amount=_money(part.amount))


class LineScheduleBody(StrictBody):
    """When a line's net is earned: `earned_at_issue` by the day of the invoice, and the rest month by month."""

    line_id: str
    description: str
    net: MoneyBody
    account: Account
    service_start_on: BusinessDate
    service_end_on: BusinessDate
    earned_at_issue: MoneyBody
    earned_later: list[EarnedPartBody]

    @classmethod
    def from_domain(cls, line: InvoiceLine, schedule: LineSchedule) -> Self:
        return cls(
            line_id=line.id,
            description=line.description,
            net=_money(line.net),
            account=line.income,
            service_start_on=line.service_start_on,
            service_end_on=line.service_end_on,
            earned_at_issue=_money(schedule.at_issue),
            earned_later=[EarnedPartBody.from_domain(part) for part in schedule.later],
        )


class InvoiceScheduleBody(StrictBody):
    """When an invoice is earned. `lines` are as it was issued; `posted` is what the books say, day by day.

    What voids and credit notes took back is only in `posted`.
    """

    invoice_id: str
    invoiced_on: BusinessDate
    lines: list[LineScheduleBody]
    posted: list[EarnedPartBody]

    @classmethod
    def from_view(cls, view: InvoiceSchedule) -> Self:
        return cls(
            invoice_id=view.invoice_id,
            invoiced_on=view.invoiced_on,
            lines=[LineScheduleBody.from_domain(line, schedule) for line, schedule in view.lines],
            posted=[EarnedPartBody.from_domain(part) for part in view.posted],
        )


class DeferredMonthBody(StrictBody):
    """What is billed and still to be earned: `opening` + `billed` - `earned` - `taken_back` = `closing`.

    `recognized` is all income of the month, also what was never deferred.
    """

    month: Annotated[str, Field(pattern=r"^\d{4}-\d{2}$", examples=["2026-04"])]
    currency: Currency
    opening: MoneyBody
    billed: MoneyBody
    earned: MoneyBody
    taken_back: MoneyBody
    closing: MoneyBody
    recognized: MoneyBody

    @classmethod
    def from_view(cls, view: DeferredMonth) -> Self:
        return cls(
            month=view.month_on.isoformat()[:7],
            currency=view.opening.currency,
            opening=_money(view.opening),
            billed=_money(view.billed),
            earned=_money(view.earned),
            taken_back=_money(view.taken_back),
            closing=_money(view.closing),
            recognized=_money(view.recognized),
        )


class StillToBeEarnedBody(StrictBody):
    """Billed before `to`, and to be earned from then on: in the twelve months that follow, and later."""

    currency: Currency
    within_12_months: MoneyBody
    later: MoneyBody

    @classmethod
    def from_view(cls, view: StillToBeEarned) -> Self:
        return cls(
            currency=view.later.currency,
            within_12_months=_money(view.within_12_months),
            later=_money(view.later),
        )


class RevenueScheduleBody(StrictBody):
    """The contract liability, month by month and currency by currency; months in which nothing happened are left out."""

    from_: BusinessDate = Field(alias="from")
    to: BusinessDate
    data: list[DeferredMonthBody]
    remaining: list[StillToBeEarnedBody]

    @classmethod
    def from_view(cls, view: RevenueRollForward) -> Self:
        told = {"from": view.start_on}
        return cls(
            **told,
            to=view.end_on,
            data=[DeferredMonthBody.from_view(month) for month in view.months],
            remaining=[StillToBeEarnedBody.from_view(still) for still in view.remaining],
        )

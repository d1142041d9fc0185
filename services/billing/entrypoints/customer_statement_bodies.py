"""A statement of account over HTTP."""

from __future__ import annotations

from typing import Self

from libs.common.money import Money
from libs.common.web.bodies import BusinessDate, Currency, MoneyBody, StrictBody
from services.billing.domain.customer_statement import (
    AGES_DAYS,
    Aging,
    CustomerStatement,
    StatedAccount,
    StatementEntry,
    StatementKind,
)


class StatementEntryBody(StrictBody):
    """One fact. A `change` above zero is more owed, one below is less; `balance` is what is owed after it."""

    posted_on: BusinessDate
    kind: StatementKind
    posting: str
    document_id: str | None
    number: str | None
    due_on: BusinessDate | None
    change: MoneyBody
    balance: MoneyBody

    @classmethod
    def from_domain(cls, entry: StatementEntry) -> Self:
        movement = entry.movement
        return cls(
            posted_on=movement.posted_on,
            kind=movement.kind,
            posting=movement.posting,
            document_id=movement.document_id,
            number=movement.number,
            due_on=movement.due_on,
            change=_money(movement.change),
            balance=_money(entry.balance),
        )


class OverdueBody(StrictBody):
    """Open for so many days past the due date. `to_days` of null has no end."""

    from_days: int
    to_days: int | None
    amount: MoneyBody


class AgingBody(StrictBody):
    """What is open of invoices at the close of the last day."""

    open: MoneyBody
    not_due: MoneyBody
    overdue: list[OverdueBody]

    @classmethod
    def from_domain(cls, aging: Aging) -> Self:
        starts = [1, *(days + 1 for days in AGES_DAYS)]
        ends = [*AGES_DAYS, None]
        return cls(
            open=_money(aging.open),
            not_due=_money(aging.not_due),
            overdue=[
                OverdueBody(from_days=start, to_days=end, amount=_money(amount))
                for start, end, amount in zip(starts, ends, aging.overdue, strict=True)
            ],
        )


class StatedAccountBody(StrictBody):
    """One currency's. `opening_balance` and all changes come to `closing_balance`: what is open, less `credit`."""

    currency: Currency
    opening_balance: MoneyBody
    entries: list[StatementEntryBody]
    closing_balance: MoneyBody
    credit: MoneyBody
    aging: AgingBody

    @classmethod
    def from_domain(cls, account: StatedAccount) -> Self:
        return cls(
            currency=account.currency,
            opening_balance=_money(account.opening),
            entries=[StatementEntryBody.from_domain(entry) for entry in account.entries],
            closing_balance=_money(account.closing),
            credit=_money(account.credit),
            aging=AgingBody.from_domain(account.aging),
        )


class CustomerStatementBody(StrictBody):
    """From `start_on` until before `end_on`, by the dates of the documents' zones."""

    customer_id: str
    start_on: BusinessDate
    end_on: BusinessDate
    accounts: list[StatedAccountBody]

    @classmethod
    def from_domain(cls, statement: CustomerStatement) -> Self:
        return cls(
            customer_id=statement.customer.id,
            start_on=statement.start_on,
            end_on=statement.end_on,
            accounts=[StatedAccountBody.from_domain(account) for account in statement.accounts],
        )


def _money(money: Money) -> MoneyBody:
    return MoneyBody.from_money(money)

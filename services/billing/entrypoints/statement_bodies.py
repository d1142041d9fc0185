"""Response bodies of statements of account."""

from __future__ import annotations

from typing import Self

from libs.common.web.bodies import BusinessDate, MoneyBody, StrictBody
from services.billing.domain.customer_statement import (
    CustomerStatement,
    StatedAccount,
    StatementEntry,
    StatementKind,
)


class StatementEntryBody(StrictBody):
    """What one fact did to the account; `amount` above zero is more owed. `balance` is what is owed after it."""

    posted_on: BusinessDate
    kind: StatementKind
    document_id: str | None
    number: str | None
    due_on: BusinessDate | None
    amount: MoneyBody
    balance: MoneyBody

    @classmethod
    def from_domain(cls, entry: StatementEntry) -> Self:
        movement = entry.movement
        return cls(
            posted_on=movement.posted_on,
            kind=movement.kind,
            document_id=movement.document_id,
            number=movement.number,
            due_on=movement.due_on,
            amount=MoneyBody.from_money(movement.change),
            balance=MoneyBody.from_money(entry.balance),
        )


class AgingBody(StrictBody):
    """What is open of invoices at the close, by how long it is past its due date."""

    not_due: MoneyBody
    days_1_to_30: MoneyBody
    days_31_to_60: MoneyBody
    days_61_to_90: MoneyBody
    days_over_90: MoneyBody


class StatedAccountBody(StrictBody):
    """One currency's. `credit` is what of it is owed to the customer."""

    currency: str
    opening: MoneyBody
    entries: list[StatementEntryBody]
    closing: MoneyBody
    credit: MoneyBody
    aging: AgingBody

    @classmethod
    def from_domain(cls, account: StatedAccount) -> Self:
        first, second, third, beyond = (MoneyBody.from_money(one) for one in account.aging.overdue)
        return cls(
            currency=account.currency,
            opening=MoneyBody.from_money(account.opening),
            entries=[StatementEntryBody.from_domain(entry) for entry in account.entries],
            closing=MoneyBody.from_money(account.closing),
            credit=MoneyBody.from_money(account.credit),
            aging=AgingBody(
                not_due=MoneyBody.from_money(account.aging.not_due),
                days_1_to_30=first,
                days_31_to_60=second,
                days_61_to_90=third,
                days_over_90=beyond,
            ),
        )


class CustomerStatementBody(StrictBody):
    """From `start_on` until before `end_on`."""

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
            accounts=[StatedAccountBody.from_domain(one) for one in statement.accounts],
        )

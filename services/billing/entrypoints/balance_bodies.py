"""Request and response bodies of customer balances."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints

from libs.common.web.bodies import Instant, MoneyBody, StrictBody, identifier
from services.billing.application.adjust_customer_balance import AdjustCustomerBalance
from services.billing.domain.customer_balance import BalanceEntry, CustomerBalance, MovementKind
from services.billing.entrypoints.bodies import CustomerId

BalanceId = Annotated[str, identifier("bal")]


def _not_zero(amount: MoneyBody) -> MoneyBody:
    if not amount.to_money().amount_minor:
        raise ValueError("must be more or less than nothing")
    return amount


class NewBalanceAdjustmentBody(StrictBody):
    """A positive amount is given, a negative one taken back: never more than the balance holds."""

    customer_id: CustomerId
    amount: Annotated[MoneyBody, AfterValidator(_not_zero)]
    reason: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
        Field(examples=["goodwill after the outage"]),
    ]

    def to_command(self) -> AdjustCustomerBalance:
        return AdjustCustomerBalance(
            customer_id=self.customer_id, amount=self.amount.to_money(), reason=self.reason
        )


class CustomerBalanceBody(StrictBody):
    """What is owed to a customer in one currency: the sum of the entries of this balance."""

    id: str
    customer_id: str
    balance: MoneyBody
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, balance: CustomerBalance) -> Self:
        return cls(
            id=balance.id,
            customer_id=balance.customer_id,
            balance=MoneyBody.from_money(balance.amount),
            version=balance.version,
            created_at=balance.created_at,
        )


class BalanceEntryBody(StrictBody):
    """`credit`: a document below zero gave to the balance. `applied`: an invoice drew on it. `adjustment`: by hand.
    `credit_note`: one gave to it. `given_back`: an invoice that was voided gave back what it drew, or took what it gave.
    `overpaid`: more came than was due. `payment`: money was put on it; `payment_taken_back`: and taken off again.
    `refund`: it is given back as money; `refund_canceled`: one is not, after all.

    `balance_after` is what the balance came to by it.
    """

    id: str
    customer_balance_id: str
    ordinal: int
    customer_id: str
    kind: MovementKind
    amount: MoneyBody
    balance_after: MoneyBody
    invoice_id: str | None
    credit_note_id: str | None
    refund_id: str | None
    reason: str | None
    occurred_at: Instant

    @classmethod
    def from_domain(cls, entry: BalanceEntry) -> Self:
        movement = entry.movement
        return cls(
            id=entry.id,
            customer_balance_id=entry.balance_id,
            ordinal=entry.ordinal,
            customer_id=movement.customer_id,
            kind=movement.kind,
            amount=MoneyBody.from_money(movement.amount),
            balance_after=MoneyBody.from_money(entry.after),
            invoice_id=movement.invoice_id,
            credit_note_id=movement.credit_note_id,
            refund_id=movement.refund_id,
            reason=movement.reason,
            occurred_at=movement.occurred_at,
        )

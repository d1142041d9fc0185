"""Request and response bodies of payments that were received."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from libs.common.web.bodies import BusinessDate, Description, Instant, MoneyBody, Name, StrictBody, identifier
from services.billing.adapters.payment_queries import PaymentView
from services.billing.application.enter_payment import AllocatePayment, EnterPayment, WantedShare
from services.billing.domain.payment_received import PaymentAllocation
from services.billing.entrypoints.bodies import CustomerId
from services.billing.entrypoints.credit_note_bodies import InvoiceId, PositiveMoney, Reason

PARTS_MAX = 200

AllocationId = Annotated[str, identifier("pal")]
PaymentWayText = Literal["gateway", "bank_transfer", "cash", "cheque", "other"]
PaymentStateText = Literal["received", "reversed"]
RestText = Literal["balance", "unapplied"]


class PaymentPartBody(StrictBody):
    """Without an amount, as much as is due of the invoice and is left of the payment."""

    invoice_id: InvoiceId
    amount: PositiveMoney | None = None

    def to_domain(self) -> WantedShare:
        return WantedShare(self.invoice_id, None if self.amount is None else self.amount.to_money())


Parts = Annotated[list[PaymentPartBody], Field(max_length=PARTS_MAX)]


def check_parts(parts: list[PaymentPartBody]) -> None:
    if len({part.invoice_id for part in parts}) < len(parts):
        raise ValueError("an invoice is named once")


class NewPaymentBody(StrictBody):
    """Money that came without a gateway. `allocate` `oldest_first` pays what the customer owes by its due date; `named`
    pays the `allocations`, or nothing.

    What is left goes to the customer's balance, which the invoices that follow draw on, or stays `unapplied`.
    """

    customer_id: CustomerId
    amount: PositiveMoney
    way: Literal["bank_transfer", "cash", "cheque", "other"]
    received_on: BusinessDate | None = None
    allocate: Literal["named", "oldest_first"] = "named"
    allocations: Parts = Field(default_factory=list)
    rest_to: RestText = "balance"
    reference: Name | None = None
    payer: Name | None = None
    note: Description | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        check_parts(self.allocations)
        if self.allocations and self.allocate == "oldest_first":
            raise ValueError("name allocations, or let the oldest be paid first, not both")
        for part in self.allocations:
            if part.amount is not None and part.amount.currency != self.amount.currency:
                raise ValueError("all amounts are in the currency of the payment")
        return self

    def to_command(self) -> EnterPayment:
        return EnterPayment(
            customer_id=self.customer_id,
            way=self.way,
            amount=self.amount.to_money(),
            shares=[part.to_domain() for part in self.allocations],
            oldest_first=self.allocate == "oldest_first",
            rest=self.rest_to,
            received_on=self.received_on,
            reference=self.reference,
            payer=self.payer,
            note=self.note,
        )


class NewAllocationsBody(StrictBody):
    """Of what is unapplied. What is left after the `allocations` stays so, or goes to the balance. `customer_id` says
    whose payment it is where nobody knew.
    """

    allocations: Parts = Field(default_factory=list)
    rest_to: RestText = "unapplied"
    customer_id: CustomerId | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        check_parts(self.allocations)
        if not self.allocations and self.rest_to == "unapplied":
            raise ValueError("name allocations, or let the rest go to the balance")
        return self

    def to_command(self, payment_id: str, now: Instant) -> AllocatePayment:
        shares = [part.to_domain() for part in self.allocations]
        return AllocatePayment(payment_id, shares, now, self.customer_id, self.rest_to)


class TakenBackBody(StrictBody):
    """Without an amount, all that is left of the allocation."""

    reason: Reason
    amount: PositiveMoney | None = None


class PaymentReversalBody(StrictBody):
    """For what was written down and never came. Without an amount, all of the payment."""

    reason: Reason
    amount: PositiveMoney | None = None


class PaymentAllocationBody(StrictBody):
    """A part that was put on an invoice, or, without `invoice_id`, on the balance. Below zero, one was taken back."""

    id: str
    customer_id: str
    invoice_id: str | None
    amount: MoneyBody
    made_at: Instant
    takes_back_id: str | None

    @classmethod
    def from_domain(cls, one: PaymentAllocation) -> Self:
        return cls(
            id=one.id,
            customer_id=one.customer_id,
            invoice_id=one.invoice_id,
            amount=MoneyBody.from_money(one.amount),
            made_at=one.made_at,
            takes_back_id=one.takes_back_id,
        )


class PaymentBody(StrictBody):
    """`reversed` is gone again; `allocated` pays invoices; `to_balance` was given to the customer's balance; `unapplied`
    is on nothing yet. They come to `amount`. Without `customer_id`, nobody knows yet whose it is.
    """

    id: str
    customer_id: str | None
    way: PaymentWayText
    state: PaymentStateText
    amount: MoneyBody
    allocated: MoneyBody
    to_balance: MoneyBody
    unapplied: MoneyBody
    reversed: MoneyBody
    received_on: BusinessDate
    received_at: Instant
    payment_attempt_id: str | None
    bank_statement_entry_id: str | None
    reference: str | None
    payer: str | None
    note: str | None
    reversal_reason: str | None
    reversed_at: Instant | None
    allocations: list[PaymentAllocationBody]
    version: int

    @classmethod
    def from_view(cls, view: PaymentView, *, customer_id: str | None = None) -> Self:
        """`customer_id` is who looks, where that is a customer: what was put on others' invoices is not his to see."""
        payment = view.payment
        return cls(
            id=payment.id,
            customer_id=payment.customer_id,
            way=payment.way,
            state=payment.state,
            amount=MoneyBody.from_money(payment.amount),
            allocated=MoneyBody.from_money(payment.allocated),
            to_balance=MoneyBody.from_money(payment.to_balance),
            unapplied=MoneyBody.from_money(payment.unapplied),
            reversed=MoneyBody.from_money(payment.reversed),
            received_on=payment.received_on,
            received_at=payment.received_at,
            payment_attempt_id=payment.attempt_id,
            bank_statement_entry_id=payment.entry_id,
            reference=payment.reference,
            payer=payment.payer,
            note=None if customer_id is not None else payment.note,
            reversal_reason=payment.reversal_reason,
            reversed_at=payment.reversed_at,
            allocations=[
                PaymentAllocationBody.from_domain(one)
                for one in view.allocations
                if customer_id in (None, one.customer_id)
            ],
            version=payment.version,
        )

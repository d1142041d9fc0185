"""Request and response bodies of refunds and disputes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints

from libs.common.money import Money
from libs.common.web.bodies import Instant, MoneyBody, StrictBody, identifier
from services.billing.domain.dispute import Dispute
from services.billing.domain.refund import Refund
from services.billing.entrypoints.bodies import CustomerId
from services.billing.entrypoints.credit_note_bodies import PositiveMoney, Reason, SplitMoney

RefundId = Annotated[str, identifier("rfd")]
DisputeId = Annotated[str, identifier("dsp")]
PaymentId = Annotated[str, identifier("pmt")]
RefundStateText = Literal["pending", "calling", "processing", "succeeded", "failed", "manual", "canceled"]
DisputeStateText = Literal["inquiry", "open", "accepted", "won", "lost"]
Reference = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=140),
    Field(examples=["transfer of 3 March, 20260303-17"]),
]


class NewRefundBody(StrictBody):
    """Gives back what the customer's balance holds, as after an overpayment: along `payment_id`, or else along the
    payments of which the balance was given something, newest first. What was never paid in is for a person to pay out.
    """

    customer_id: CustomerId
    amount: PositiveMoney
    reason: Reason
    payment_id: PaymentId | None = None


class PaidRefundBody(StrictBody):
    """`reference` is that of the transfer by which it was given back."""

    reference: Reference


class RefundBody(StrictBody):
    """Money that is given back along one payment, of a credit note on an invoice, a deposit, or a customer's balance.

    `pending` waits for `next_try_at`; `calling` and `processing` are with the gateway; `failed`, for `failure`, is tried
    no more by itself; `manual` is for a person; `canceled` went to the customer's balance.
    """

    id: str
    customer_id: str
    amount: MoneyBody
    state: RefundStateText
    reason: str
    credit_note_id: str | None
    invoice_id: str | None
    deposit_id: str | None
    payment_id: str | None
    try_number: int
    failure: str | None
    gateway_reference: str | None
    paid_reference: str | None
    next_try_at: Instant | None
    ended_at: Instant | None
    test_clock_id: str | None
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, refund: Refund) -> Self:
        named = ("amount", "test_clock_id", "next_try_at")
        plain = {name: getattr(refund, name) for name in cls.model_fields if name not in named}
        return cls(
            **plain,
            amount=MoneyBody.from_money(refund.amount),
            test_clock_id=refund.clock_id,
            next_try_at=refund.due_at if refund.state == "pending" else None,
        )


class RefundsBody(StrictBody):
    """One for each payment that the money goes back along."""

    data: list[RefundBody]


class NewDisputeBody(StrictBody):
    """What a bank told of by letter. Without an `amount`, all that is left of the payment is gone."""

    payment_id: PaymentId
    reason: Reason
    amount: PositiveMoney | None = None
    reference: Reference | None = None
    fee: SplitMoney | None = None


class DisputeOutcomeBody(StrictBody):
    """`returned` is what comes back of a dispute that is lost."""

    outcome: Literal["won", "lost"]
    returned: SplitMoney | None = None


class DisputeBody(StrictBody):
    """A payment that a customer's bank asks back.

    `inquiry`: it only asks. `open`: the money is gone, until it is `won`; `accepted`: we do not argue; `lost`: it stays
    gone. `taken` is what is gone now. `gateway` is null where a person told of it. `fee` is what the bank charges for it.
    """

    id: str
    payment_id: str
    customer_id: str | None
    gateway: str | None
    reference: str | None
    state: DisputeStateText
    amount: MoneyBody
    returned: MoneyBody
    taken: MoneyBody
    fee: MoneyBody | None
    reason: str
    opened_at: Instant
    closed_at: Instant | None
    test_clock_id: str | None
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, dispute: Dispute) -> Self:
        amounts = ("amount", "returned", "taken")
        named = (*amounts, "fee", "test_clock_id")
        plain = {name: getattr(dispute, name) for name in cls.model_fields if name not in named}
        return cls(
            **plain,
            **{name: _money(getattr(dispute, name)) for name in amounts},
            fee=None if dispute.fee is None else _money(dispute.fee),
            test_clock_id=dispute.clock_id,
        )


def _money(amount: Money) -> MoneyBody:
    return MoneyBody.from_money(amount)

"""A payment that a customer's bank asks back: how it stands, and how much of it is gone by that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from libs.common.errors import Conflict, NotFound, RuleViolation
from libs.common.ids import derived_id
from libs.common.money import Money
from services.billing.domain.gateway_dispute import GatewayDispute

DisputeState = Literal["inquiry", "open", "accepted", "won", "lost"]
CLOSED: tuple[DisputeState, ...] = ("won", "lost")


class DisputeNotFound(NotFound):
    code = "dispute_not_found"
    title = "There is no such dispute"


class DisputeStateWrong(Conflict):
    code = "dispute_state_wrong"
    title = "The dispute does not allow this now"


class DisputeTooLarge(RuleViolation):
    code = "dispute_too_large"
    title = "The payment does not come to that much"


@dataclass(frozen=True, slots=True)
class Dispute:
    """`inquiry`: the bank only asks. `open`: the money is gone, until it is `won`; `lost`: it stays gone. `accepted`: we
    do not argue; the gateway's word, if there is a gateway, is still the last.

    `amount` is what is disputed of the payment. `returned` is what of it comes back although the dispute is lost.
    `taken` is what is gone by now in our books. `gateway` is None where a person told of it; `reference` is then the
    bank's. `fee` is what the bank charges for it, as the person told.
    """

    id: str
    payment_id: str
    customer_id: str | None
    gateway: str | None
    reference: str | None
    state: DisputeState
    amount: Money
    returned: Money
    taken: Money
    reason: str
    opened_at: datetime
    created_at: datetime
    fee: Money | None = None
    closed_at: datetime | None = None
    clock_id: str | None = None
    version: int = 1

    @property
    def gone(self) -> Money:
        """How much of the payment is gone as the dispute stands."""
        if self.state in ("inquiry", "won"):
            return Money.zero(self.amount.currency)
        return self.amount - self.returned


def gateway_dispute_id(tenant: str, gateway: str, reference: str) -> str:
    """Derived, so that news of one dispute makes one."""
    return derived_id("dsp", tenant, gateway, reference)


def heard(dispute: Dispute, news: GatewayDispute, *, now: datetime) -> Dispute:
    """The dispute as the gateway says that it stands by now. What it said before does not matter, nor in which order."""
    accepted = dispute.state == "accepted" and news.state == "open"
    state: DisputeState = "accepted" if accepted else news.state
    return _moved_to(replace(dispute, amount=news.amount, reason=news.reason), state, now=now)


def accepted(dispute: Dispute) -> Dispute:
    """We do not argue.

    Raises: DisputeStateWrong.
    """
    if dispute.state not in ("inquiry", "open"):
        raise DisputeStateWrong(
            f"the dispute is {dispute.state}", remedy="Only one that is open can be accepted."
        )
    return replace(dispute, state="accepted", version=dispute.version + 1)


def decided(dispute: Dispute, outcome: Literal["won", "lost"], returned: Money, *, now: datetime) -> Dispute:
    """How a dispute ended that a person told of.

    Raises: DisputeStateWrong, DisputeTooLarge, CurrencyMismatch.
    """
    if dispute.gateway is not None:
        raise DisputeStateWrong(
            "the gateway says how it ends", remedy="Wait for its word: GET /v1/disputes/{id}."
        )
    if dispute.state in CLOSED:
        raise DisputeStateWrong(f"the dispute is {dispute.state}", remedy="It has ended already.")
    if (returned - dispute.amount).amount_minor > 0:
        raise DisputeTooLarge(
            "more than was disputed",
            pointer="/returned",
            disputed=dispute.amount,
            remedy="Name no more than the amount of the dispute.",
        )
    return _moved_to(replace(dispute, returned=returned), outcome, now=now)


def _moved_to(dispute: Dispute, state: DisputeState, *, now: datetime) -> Dispute:
    closed_at = (dispute.closed_at or now) if state in CLOSED else None
    return replace(dispute, state=state, closed_at=closed_at, version=dispute.version + 1)

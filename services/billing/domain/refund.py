"""Money that is given back: by the gateway that collected it, try by try until it went, or by a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from libs.common.errors import Conflict, NotFound, RuleViolation
from libs.common.ids import derived_id
from libs.common.money import Money, total
from services.billing.domain.payment import RefundFailed, RefundOutcome, RefundPending, RefundSucceeded

RefundState = Literal["pending", "calling", "processing", "succeeded", "failed", "manual", "canceled"]

ASKED_AGAIN_FIRST, ASKED_AGAIN_LAST = timedelta(minutes=1), timedelta(days=1)
TAKEN_BACK = "the payment was taken back"
NO_GATEWAY = "no gateway can give it back"


class RefundNotFound(NotFound):
    code = "refund_not_found"
    title = "There is no such refund"


class RefundUnderWay(Conflict):
    code = "refund_under_way"
    title = "The refund is under way"


class RefundStateWrong(Conflict):
    code = "refund_state_wrong"
    title = "The refund does not allow this now"


class RefundTooLarge(RuleViolation):
    """Nobody gets back more than he paid, or is owed."""

    code = "refund_too_large"
    title = "There is not that much to give back"


@dataclass(frozen=True, slots=True)
class Refund:
    """Of a credit note on an invoice, of a deposit, or, where it is of neither, of the customer's balance.

    It goes back along one payment, `payment_id`; what several brought is several refunds. `pending`: it is tried at
    `due_at`. `calling`: the gateway is being asked; with a `claimed_until` that has passed its outcome is *unknown*, and
    the gateway is asked about it before anything is tried again. `processing`: the gateway took it up. `failed`: it said
    no, `try_number` times by now, and no further try is planned. `manual`: a person gives it back. `canceled`: it went to
    the balance instead. `due_at` is business time.
    """

    id: str
    customer_id: str
    amount: Money
    state: RefundState
    reason: str
    created_at: datetime
    credit_note_id: str | None = None
    invoice_id: str | None = None
    deposit_id: str | None = None
    payment_id: str | None = None
    clock_id: str | None = None
    try_number: int = 1
    failure: str | None = None
    gateway_reference: str | None = None
    paid_reference: str | None = None
    claimed_until: datetime | None = None
    processing_since: datetime | None = None
    ended_at: datetime | None = None
    due_at: datetime | None = None
    traceparent: str | None = None
    version: int = 1

    @property
    def key(self) -> str:
        """The gateway's idempotency key: another only once it is certain that the last try gave nothing back."""
        return try_key(self.id, self.try_number)

    @property
    def was_called(self) -> bool:
        """The gateway may know of this try."""
        return self.state in ("calling", "processing", "succeeded")


def try_key(refund_id: str, number: int) -> str:
    return refund_id if number == 1 else f"{refund_id}-{number}"


def refund_id_of(key: str) -> str:
    return key.partition("-")[0]


@dataclass(frozen=True, slots=True)
class RefundSource:
    """A payment, and how much of it may go back. `by_gateway`: a gateway collected it, and is asked to give it back."""

    payment_id: str
    amount: Money
    by_gateway: bool


@dataclass(frozen=True, slots=True)
class RefundPart:
    """`source` of None: along no payment that is known; a person has to see to it."""

    amount: Money
    source: RefundSource | None


def along_payments(amount: Money, sources: Sequence[RefundSource]) -> list[RefundPart]:
    """Cut an amount along the payments that it may go back along, in their order: the newest first.

    So what was paid last goes back first, and never more than a payment brought. What is paid otherwise (by setting
    off a deposit) is left for a person.
    Rounding: none; the parts sum to the amount.
    """
    parts: list[RefundPart] = []
    left = amount
    for source in sources:
        taken = min(left, source.amount, key=lambda money: money.amount_minor)
        if taken.amount_minor > 0:
            parts.append(RefundPart(taken, source))
            left -= taken
    if left.amount_minor:
        parts.append(RefundPart(left, None))
    assert total((part.amount for part in parts), amount.currency) == amount, "the parts are the whole"
    return parts


def opened(wanted: Refund, parts: Sequence[RefundPart]) -> list[Refund]:
    """One refund for each part: due at once where a gateway gives it back. The first has the id of what is wanted."""
    return [
        replace(
            wanted,
            id=wanted.id if place == 0 else derived_id("rfd", wanted.id, str(place)),
            amount=part.amount,
            payment_id=None if part.source is None else part.source.payment_id,
            state="pending" if part.source is not None and part.source.by_gateway else "manual",
            due_at=wanted.created_at if part.source is not None and part.source.by_gateway else None,
        )
        for place, part in enumerate(parts)
    ]


def claimed(refund: Refund, *, until: datetime) -> Refund:
    """While the gateway is asked; committed before it is. One that succeeded stays so until we hear otherwise."""
    state: RefundState = "succeeded" if refund.state == "succeeded" else "calling"
    return replace(refund, state=state, claimed_until=until, version=refund.version + 1)


def released(refund: Refund, *, was_called: bool, now: datetime) -> Refund:
    """A claim under which nobody was called. Where an earlier one ran out, the outcome stays unknown: it runs out now."""
    if was_called:
        return replace(refund, claimed_until=now, version=refund.version + 1)
    return replace(refund, state="pending", claimed_until=None, version=refund.version + 1)


def with_outcome(
    refund: Refund, outcome: RefundOutcome, *, retry_days: Sequence[int], now: datetime
) -> Refund:
    """The refund once the gateway has said what became of it: over, to be asked about, or tried again later.

    Units: `retry_days[n]` days of 24 hours lie between the n-th failure (from 0) and the try after it.
    """
    told = replace(
        refund,
        claimed_until=None,
        due_at=None,
        gateway_reference=outcome.reference or refund.gateway_reference,
        version=refund.version + 1,
    )
    if isinstance(outcome, RefundSucceeded):
        return replace(told, state="succeeded", failure=None, ended_at=refund.ended_at or now)
    if isinstance(outcome, RefundPending):
        since = refund.processing_since or now
        pause = min(max(now - since, ASKED_AGAIN_FIRST), ASKED_AGAIN_LAST)
        return replace(told, state="processing", processing_since=since, due_at=now + pause)
    if refund.try_number > len(retry_days):
        return replace(told, state="failed", failure=outcome.reason, processing_since=None, ended_at=now)
    due_at = now + timedelta(days=retry_days[refund.try_number - 1])
    return _another_try(replace(told, failure=outcome.reason), due_at=due_at)


def tried_again(refund: Refund, *, now: datetime) -> Refund:
    """Due now: because a person wants it so, before its day or after the schedule is exhausted.

    Raises: RefundStateWrong, RefundUnderWay.
    """
    refuse_under_way(refund)
    if refund.state == "pending":
        return replace(refund, due_at=min(now, refund.due_at or now), version=refund.version + 1)
    if refund.state != "failed":
        raise RefundStateWrong(
            f"the refund is {refund.state}",
            remedy="No gateway gives it back: say that you did, POST /v1/refunds/{id}/paid."
            if refund.state == "manual"
            else "Only a refund that failed can be tried again.",
        )
    return _another_try(replace(refund, version=refund.version + 1), due_at=now)


def _another_try(refund: Refund, *, due_at: datetime) -> Refund:
    return replace(
        refund,
        state="pending",
        try_number=refund.try_number + 1,
        gateway_reference=None,
        processing_since=None,
        ended_at=None,
        due_at=due_at,
    )


def for_a_person(refund: Refund, *, why: str) -> Refund:
    """Nobody can be asked for it any more: a person decides."""
    return replace(
        refund, state="manual", failure=why, claimed_until=None, due_at=None, version=refund.version + 1
    )


def paid_by_hand(refund: Refund, *, reference: str, now: datetime) -> Refund:
    """A person gave it back: a try of his own, where the gateway's were over.

    Raises: RefundStateWrong, RefundUnderWay.
    """
    refuse_under_way(refund)
    _refuse_unless_open(refund)
    return replace(
        refund,
        state="succeeded",
        paid_reference=reference,
        try_number=refund.try_number if refund.ended_at is None else refund.try_number + 1,
        gateway_reference=None,
        failure=None,
        due_at=None,
        ended_at=now,
        version=refund.version + 1,
    )


def canceled(refund: Refund, *, now: datetime) -> Refund:
    """It is not given back as money: the balance has it.

    Raises: RefundStateWrong, RefundUnderWay.
    """
    refuse_under_way(refund)
    _refuse_unless_open(refund)
    return replace(refund, state="canceled", due_at=None, ended_at=now, version=refund.version + 1)


def asked_sooner(refund: Refund, *, now: datetime) -> Refund:
    """The gateway let us know that something happened: it is asked about at once. Whoever holds a claim asks anyway."""
    if refund.state not in ("processing", "succeeded") or refund.gateway_reference is None:
        return refund
    return replace(refund, due_at=min(now, refund.due_at or now), version=refund.version + 1)


def is_over(before: Refund, after: Refund) -> bool:
    """Whether the money left us by this."""
    return after.state == "succeeded" and before.state != "succeeded"


def came_back(before: Refund, outcome: RefundOutcome) -> bool:
    """Whether money that had left us is with us again, since its bank would not take it."""
    return before.state == "succeeded" and isinstance(outcome, RefundFailed)


def refuse_under_way(refund: Refund) -> None:
    """Raises: RefundUnderWay."""
    if refund.state in ("calling", "processing"):
        raise RefundUnderWay("the gateway is being asked", remedy="Read the refund again in a moment.")


def _refuse_unless_open(refund: Refund) -> None:
    if refund.state not in ("pending", "failed", "manual"):
        raise RefundStateWrong(
            f"the refund is {refund.state}",
            remedy="Only one whose money has not gone can be settled otherwise.",
        )

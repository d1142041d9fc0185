"""Collecting an invoice: one attempt after another, by a schedule, until one succeeds or the schedule ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from libs.common.errors import Conflict, NotFound
from libs.common.ids import derived_id
from libs.common.money import Money

AttemptState = Literal["pending", "calling", "succeeded", "failed", "canceled"]


class PaymentMethodNotFound(NotFound):
    code = "payment_method_not_found"
    title = "There is no such payment method"


class PaymentAttemptNotFound(NotFound):
    code = "payment_attempt_not_found"
    title = "There is no such payment attempt"


class PaymentUnderWay(Conflict):
    code = "payment_under_way"
    title = "A payment attempt is under way"


@dataclass(frozen=True, slots=True)
class PaymentMethod:
    """How a customer pays. `behaviour` tells the sandbox gateway what to do when it is asked.

    One that was removed is kept for the calls that were made with it, and asked for nothing new.
    """

    id: str
    customer_id: str
    gateway: str
    behaviour: str
    is_default: bool
    version: int
    created_at: datetime
    removed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PaymentAttempt:
    """One try to collect one invoice. Its id is the gateway's idempotency key.

    `calling` with a `claimed_until` that has passed means *unknown*: the gateway is asked before anything is
    tried again. `due_at` is business time. `canceled` is one that was waiting when nothing was left to be collected.
    """

    id: str
    invoice_id: str
    customer_id: str
    number: int
    state: AttemptState
    amount: Money
    created_at: datetime
    due_at: datetime | None
    clock_id: str | None
    traceparent: str | None
    payment_method_id: str | None = None
    claimed_until: datetime | None = None
    gateway_reference: str | None = None
    reason: str | None = None
    ended_at: datetime | None = None
    version: int = 1

    @property
    def is_open(self) -> bool:
        return self.state in ("pending", "calling")


@dataclass(frozen=True, slots=True)
class Collected:
    """The gateway has the money."""

    reference: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The gateway, or the lack of a payment method, said no. It is final for this attempt."""

    reason: str


Outcome = Collected | Declined


def first_attempt(
    invoice_id: str,
    customer_id: str,
    amount: Money,
    *,
    now: datetime,
    clock_id: str | None,
    trace: str | None,
) -> PaymentAttempt:
    """Due at once."""
    return PaymentAttempt(
        id=derived_id("pay", invoice_id, "1"),
        invoice_id=invoice_id,
        customer_id=customer_id,
        number=1,
        state="pending",
        amount=amount,
        created_at=now,
        due_at=now,
        clock_id=clock_id,
        traceparent=trace,
    )


def claimed(attempt: PaymentAttempt, *, until: datetime, payment_method_id: str | None) -> PaymentAttempt:
    """The attempt while the gateway is asked; committed before it is."""
    return replace(
        attempt,
        state="calling",
        claimed_until=until,
        payment_method_id=attempt.payment_method_id or payment_method_id,
        version=attempt.version + 1,
    )


def released(attempt: PaymentAttempt, *, was_calling: bool, now: datetime) -> PaymentAttempt:
    """A claimed attempt for which the gateway was not called after all: it is due again at once.

    Where an earlier claim ran out its outcome stays unknown, so this one runs out too, now.
    """
    if was_calling:
        return replace(attempt, claimed_until=now, version=attempt.version + 1)
    return replace(
        attempt, state="pending", claimed_until=None, payment_method_id=None, version=attempt.version + 1
    )


def ended(attempt: PaymentAttempt, outcome: Outcome, *, now: datetime) -> PaymentAttempt:
    """The attempt once its outcome is known."""
    ending = replace(attempt, due_at=None, claimed_until=None, ended_at=now, version=attempt.version + 1)
    if isinstance(outcome, Collected):
        return replace(ending, state="succeeded", gateway_reference=outcome.reference)
    return replace(ending, state="failed", reason=outcome.reason)


def following_attempt(
    failed: PaymentAttempt, *, due: Money, retry_days: Sequence[int], now: datetime
) -> PaymentAttempt | None:
    """The next try, for what is due by now; None when the schedule is exhausted, or nothing is due any more.

    Units: `retry_days[n]` days of 24 hours lie between the n-th failure (from 0) and the try after it.
    """
    if failed.number > len(retry_days) or not due.amount_minor:
        return None
    due_at = now + timedelta(days=retry_days[failed.number - 1])
    return another_attempt(failed, due=due, due_at=due_at, now=now)


def lessened(attempt: PaymentAttempt, due: Money, *, reason: str, now: datetime) -> PaymentAttempt:
    """A waiting attempt, once less is due: of nothing, there is nothing to try."""
    assert attempt.state == "pending", "what the gateway is being asked for stays what it is"
    if due.amount_minor:
        return replace(attempt, amount=due, version=attempt.version + 1)
    return replace(
        attempt, state="canceled", reason=reason, due_at=None, ended_at=now, version=attempt.version + 1
    )


def brought_forward(attempt: PaymentAttempt, *, now: datetime) -> PaymentAttempt:
    """A waiting attempt that is due now instead of on its day."""
    return replace(attempt, due_at=min(now, attempt.due_at or now), version=attempt.version + 1)


def another_attempt(last: PaymentAttempt, *, due: Money, due_at: datetime, now: datetime) -> PaymentAttempt:
    """A further try of the same invoice, by schedule or because somebody asked for it."""
    number = last.number + 1
    return PaymentAttempt(
        id=derived_id("pay", last.invoice_id, str(number)),
        invoice_id=last.invoice_id,
        customer_id=last.customer_id,
        number=number,
        state="pending",
        amount=due,
        created_at=now,
        due_at=due_at,
        clock_id=last.clock_id,
        traceparent=last.traceparent,
    )

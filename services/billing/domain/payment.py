"""Collecting an invoice: one attempt after another, by a schedule, until one succeeds or the schedule ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from libs.common.errors import Conflict, InvalidInput, NotFound
from libs.common.ids import derived_id
from libs.common.money import Money

AttemptState = Literal["pending", "calling", "processing", "succeeded", "failed", "canceled"]
OPEN_STATES: tuple[AttemptState, ...] = ("pending", "calling", "processing")

ASKED_AGAIN_FIRST, ASKED_AGAIN_LAST = timedelta(minutes=1), timedelta(days=1)
ACTION_AWAITED = timedelta(days=3)


class PaymentMethodNotFound(NotFound):
    code = "payment_method_not_found"
    title = "There is no such payment method"


class PaymentAttemptNotFound(NotFound):
    code = "payment_attempt_not_found"
    title = "There is no such payment attempt"


class PaymentTokenUnusable(InvalidInput):
    """The gateway knows no such token, or it cannot be charged without the customer."""

    code = "payment_token_unusable"
    title = "The token of the payment method cannot be used"


class GatewayAccountUnknown(InvalidInput):
    """The operator has configured no such account of the tenant's."""

    code = "gateway_account_unknown"
    title = "There is no such account at the gateway"


class PaymentUnderWay(Conflict):
    code = "payment_under_way"
    title = "A payment attempt is under way"


@dataclass(frozen=True, slots=True)
class MethodDetails:
    """All that is kept of a card or an account: enough to tell it from another, too little to pay with.

    `kind` is the gateway's word (`card`, `sepa_debit`); `brand` the card's, or the bank's. A card holds until the
    end of the month of its expiry.
    """

    kind: str
    brand: str | None = None
    last4: str | None = None
    expiry_month: int | None = None
    expiry_year: int | None = None


@dataclass(frozen=True, slots=True)
class AcceptedMethod:
    """What a gateway says of a token that it may be asked for money with. `account` is the one it belongs to."""

    account: str | None
    gateway_customer: str | None
    details: MethodDetails


@dataclass(frozen=True, slots=True)
class PaymentMethod:
    """How a customer pays. `behaviour` tells the sandbox gateway what to do when it is asked.

    What pays is known by the gateway's `token` alone; `details` are for people, who want to know which card it is.
    `account` is the tenant's account at the gateway, `gateway_customer` the customer's id there.
    One that was removed is kept for the calls that were made with it, and asked for nothing new. Its token never
    changes: whoever pays with another card has another method, so that a repeated call asks for the same money.
    """

    id: str
    customer_id: str
    gateway: str
    is_default: bool
    version: int
    created_at: datetime
    behaviour: str | None = None
    account: str | None = None
    token: str | None = None
    gateway_customer: str | None = None
    details: MethodDetails | None = None
    removed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PaymentAttempt:
    """One try to collect one invoice. Its id is the gateway's idempotency key.

    `calling` with a `claimed_until` that has passed means *unknown*: the gateway is asked before anything is
    tried again. `processing` means that the gateway took it up and somebody has still to act, the customer
    (`needs_action`) or a bank: it is asked about at `due_at`. `due_at` is business time. `canceled` is one that was
    waiting when nothing was left to be collected. `called_at` is when the gateway was first called, by the wall.
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
    called_at: datetime | None = None
    processing_since: datetime | None = None
    needs_action: bool = False
    version: int = 1

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    @property
    def was_called(self) -> bool:
        """The gateway may know of it: it is asked what became of it before it is asked for money."""
        return self.state in ("calling", "processing")


@dataclass(frozen=True, slots=True)
class Collected:
    """The gateway has the money."""

    reference: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The gateway, or the lack of a payment method, said no. It is final for this attempt."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pending:
    """The gateway took it up, and the outcome is yet to come: from the customer (`needs_action`), or from a bank."""

    reference: str
    needs_action: bool = False


Outcome = Collected | Declined | Pending


@dataclass(frozen=True, slots=True)
class RefundSucceeded:
    """The gateway has given the money back, or will without further question."""

    reference: str


@dataclass(frozen=True, slots=True)
class RefundFailed:
    """Final for this refund: the money is still, or again, with the gateway."""

    reason: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class RefundPending:
    """The gateway took it up; it is asked about later."""

    reference: str


RefundOutcome = RefundSucceeded | RefundFailed | RefundPending


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


def claimed(
    attempt: PaymentAttempt, *, until: datetime, payment_method_id: str | None, at: datetime | None = None
) -> PaymentAttempt:
    """The attempt while the gateway is asked; committed before it is. `at` and `until` are the wall's."""
    return replace(
        attempt,
        state="calling",
        claimed_until=until,
        called_at=attempt.called_at or at,
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
        attempt,
        state="pending",
        claimed_until=None,
        called_at=None,
        payment_method_id=None,
        version=attempt.version + 1,
    )


def in_process(attempt: PaymentAttempt, pending: Pending, *, now: datetime) -> PaymentAttempt:
    """The attempt while somebody else has to act. `now` is business time, as is when it is asked about again.

    The pause grows with the time that has gone by since the first answer, from a minute to a day.
    """
    since = attempt.processing_since or now
    pause = min(max(now - since, ASKED_AGAIN_FIRST), ASKED_AGAIN_LAST)
    return replace(
        attempt,
        state="processing",
        claimed_until=None,
        due_at=now + pause,
        gateway_reference=pending.reference,
        processing_since=since,
        needs_action=pending.needs_action,
        version=attempt.version + 1,
    )


def overdue_action(attempt: PaymentAttempt, pending: Pending, *, now: datetime) -> bool:
    """Whether the customer has had his time to act; a bank that has still to act is waited for."""
    since = attempt.processing_since
    return pending.needs_action and since is not None and now - since >= ACTION_AWAITED


def asked_sooner(attempt: PaymentAttempt, *, now: datetime) -> PaymentAttempt:
    """The gateway let us know that something happened: an attempt that is in process is asked about at once."""
    assert attempt.state == "processing", "whoever holds a claim hears it himself"
    return replace(attempt, due_at=min(now, attempt.due_at or now), version=attempt.version + 1)


def ended(attempt: PaymentAttempt, outcome: Collected | Declined, *, now: datetime) -> PaymentAttempt:
    """The attempt once its outcome is known."""
    ending = replace(
        attempt,
        due_at=None,
        claimed_until=None,
        needs_action=False,
        ended_at=now,
        version=attempt.version + 1,
    )
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

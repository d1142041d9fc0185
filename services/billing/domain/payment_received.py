"""Money that came, by whatever way, and what it pays: invoices, the customer's balance, or nothing yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from libs.common.errors import Conflict, NotFound, RuleViolation
from libs.common.ids import derived_id
from libs.common.money import Money, total

PaymentWay = Literal["gateway", "bank_transfer", "cash", "cheque", "other"]
PaymentState = Literal["received", "reversed"]


class PaymentNotFound(NotFound):
    code = "payment_not_found"
    title = "There is no such payment"


class AllocationNotFound(NotFound):
    code = "payment_allocation_not_found"
    title = "There is no such allocation"


class PaymentTooSmall(RuleViolation):
    code = "payment_too_small"
    title = "The payment does not hold that much"


class AllocationNotReversible(Conflict):
    code = "allocation_not_reversible"
    title = "The allocation cannot be taken back"


class PaymentNotReversible(Conflict):
    code = "payment_not_reversible"
    title = "The payment cannot be reversed"


class PaymentOfNobody(Conflict):
    """Whose money it is has to be said before it can go to somebody's balance."""

    code = "payment_of_nobody"
    title = "Nobody knows yet whose payment it is"


@dataclass(frozen=True, slots=True)
class Payment:
    """`amount` came on `received_on`. Of it `reversed` is gone again, `allocated` pays invoices, `to_balance` was given
    to the customer's balance; the rest is `unapplied`.

    `customer_id` is None while nobody knows whose it is. `attempt_id` is the gateway's try that brought it, `entry_id`
    the entry of a bank statement. `received_at` is the business instant at which it was written down. Allocations are
    counted by `allocation_count`.
    """

    id: str
    customer_id: str | None
    way: PaymentWay
    state: PaymentState
    amount: Money
    reversed: Money
    allocated: Money
    to_balance: Money
    received_on: date
    received_at: datetime
    allocation_count: int = 0
    attempt_id: str | None = None
    entry_id: str | None = None
    reference: str | None = None
    payer: str | None = None
    note: str | None = None
    reversal_reason: str | None = None
    reversed_at: datetime | None = None
    clock_id: str | None = None
    version: int = 1

    @property
    def created_at(self) -> datetime:
        return self.received_at

    @property
    def unapplied(self) -> Money:
        return self.amount - self.reversed - self.allocated - self.to_balance


@dataclass(frozen=True, slots=True)
class PaymentAllocation:
    """A part of a payment that was put on an invoice, or on the balance (`invoice_id` of None). Written once.

    Below zero, it took the allocation `takes_back_id`, or a part of that, off again. So all of an invoice sum to what
    payments paid of it.
    """

    id: str
    payment_id: str
    ordinal: int
    customer_id: str
    invoice_id: str | None
    amount: Money
    made_at: datetime
    actor: str
    takes_back_id: str | None = None


@dataclass(frozen=True, slots=True)
class StandingAllocation:
    """An allocation with what is left of it, after all that was taken back."""

    allocation: PaymentAllocation
    left: Money


def gateway_payment_id(attempt_id: str) -> str:
    """Derived, so that one attempt brings one payment."""
    return derived_id("pmt", attempt_id)


def is_beyond(amount: Money, other: Money) -> bool:
    return (amount - other).amount_minor > 0


def least(one: Money, other: Money) -> Money:
    return min(one, other, key=lambda money: money.amount_minor)


def allocate(
    payment: Payment, amount: Money, *, customer_id: str, invoice_id: str | None, now: datetime, actor: str
) -> tuple[Payment, PaymentAllocation]:
    """Put a part of what is unapplied on an invoice, or on the balance of `customer_id`.

    Whose payment it is, the first allocation says where nobody knew.
    Raises: PaymentTooSmall, CurrencyMismatch.
    """
    if is_beyond(amount, payment.unapplied):
        raise PaymentTooSmall(
            "less of the payment is unapplied",
            unapplied=payment.unapplied,
            asked=amount,
            pointer="/amount",
            remedy="Allocate no more than is unapplied, or take another allocation back first.",
        )
    made = PaymentAllocation(
        id=derived_id("pal", payment.id, str(payment.allocation_count + 1)),
        payment_id=payment.id,
        ordinal=payment.allocation_count + 1,
        customer_id=customer_id,
        invoice_id=invoice_id,
        amount=amount,
        made_at=now,
        actor=actor,
    )
    return _with(payment, made, customer_id=payment.customer_id or customer_id), made


def take_back(
    payment: Payment, part: StandingAllocation, amount: Money, *, now: datetime, actor: str
) -> tuple[Payment, PaymentAllocation]:
    """Take off again what an allocation has put somewhere, or a part of it: it is unapplied from then on.

    Raises: AllocationNotReversible, CurrencyMismatch.
    """
    if is_beyond(amount, part.left):
        raise AllocationNotReversible(
            "less of the allocation is left",
            left=part.left,
            asked=amount,
            pointer="/amount",
            remedy="Read the payment again: a part of it may have been taken back already.",
        )
    made = part.allocation
    taken = PaymentAllocation(
        id=derived_id("pal", payment.id, str(payment.allocation_count + 1)),
        payment_id=payment.id,
        ordinal=payment.allocation_count + 1,
        customer_id=made.customer_id,
        invoice_id=made.invoice_id,
        amount=-amount,
        made_at=now,
        actor=actor,
        takes_back_id=made.id,
    )
    return _with(payment, taken, customer_id=payment.customer_id), taken


def reverse(payment: Payment, amount: Money, *, reason: str, now: datetime) -> Payment:
    """Money that is gone again: it never came, or the bank has taken it back. It has to be unapplied.

    Raises: PaymentTooSmall, CurrencyMismatch.
    """
    if is_beyond(amount, payment.unapplied):
        raise PaymentTooSmall(
            "less of the payment is unapplied",
            unapplied=payment.unapplied,
            asked=amount,
            pointer="/amount",
            remedy="Take allocations back first.",
        )
    gone = payment.reversed + amount
    return replace(
        payment,
        reversed=gone,
        state="received" if is_beyond(payment.amount, gone) else "reversed",
        reversal_reason=reason,
        reversed_at=now,
        version=payment.version + 1,
    )


def restored(payment: Payment, amount: Money) -> Payment:
    """Money that was gone and is back: it is unapplied from then on."""
    back = payment.reversed - amount
    assert back.amount_minor >= 0, "no more comes back than was gone"
    return replace(payment, reversed=back, state="received", version=payment.version + 1)


def standing(allocations: Iterable[PaymentAllocation]) -> list[StandingAllocation]:
    """Those of which something is left, in the order in which they were made."""
    given = sorted(allocations, key=lambda one: one.ordinal)
    found: list[StandingAllocation] = []
    for made in given:
        if made.takes_back_id is not None:
            continue
        back = total((one.amount for one in given if one.takes_back_id == made.id), made.amount.currency)
        left = made.amount + back
        if left.amount_minor:
            found.append(StandingAllocation(made, left))
    return found


def _with(payment: Payment, allocation: PaymentAllocation, *, customer_id: str | None) -> Payment:
    change, is_invoice = allocation.amount, allocation.invoice_id is not None
    return replace(
        payment,
        customer_id=customer_id,
        allocated=payment.allocated + change if is_invoice else payment.allocated,
        to_balance=payment.to_balance if is_invoice else payment.to_balance + change,
        allocation_count=allocation.ordinal,
        version=payment.version + 1,
    )

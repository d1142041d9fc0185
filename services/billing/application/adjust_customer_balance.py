"""Give a customer goodwill credit, or take it back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.money import Money
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.customer_balance import BalanceEntry, BalanceMovement
from services.billing.domain.postings_of_invoices import postings_for_adjustment


@dataclass(frozen=True, slots=True)
class AdjustCustomerBalance:
    """`amount` is given where it is positive, taken back where it is negative; never more than the balance holds."""

    customer_id: str
    amount: Money
    reason: str


async def adjust_customer_balance(
    command: AdjustCustomerBalance, *, customer: CustomerDetails, now: datetime, uow: UnitOfWork
) -> BalanceEntry:
    """`now` is the customer's business now. Invoices that are issued already stay as they are; the next ones draw on it.

    Emits: CustomerBalanceChanged.
    Raises: BalanceTooSmall, AmountTooLarge.
    """
    await uow.customer_balances.open_for_update(command.customer_id, command.amount.currency, now=now)
    entry = uow.customer_balances.move(
        BalanceMovement(
            customer_id=command.customer_id,
            amount=command.amount,
            kind="adjustment",
            occurred_at=now,
            actor=uow.actor,
            reason=command.reason,
            clock_id=customer.clock_id,
        )
    )
    uow.ledger.post(postings_for_adjustment(entry.id, command.amount, at=now))
    uow.record("customer_balance.adjusted", entry.balance_id, entry.ordinal)
    return entry

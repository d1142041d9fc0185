"""What is owed to a customer becomes more, or less; and whoever looks afterwards finds who did it."""

from __future__ import annotations

from services.billing.application.ports import UnitOfWork
from services.billing.domain.customer_balance import BalanceMovement


def move_balance(movement: BalanceMovement, *, uow: UnitOfWork) -> None:
    """Give to the balance, or draw on one that is locked. A repeat is another movement.

    Emits: CustomerBalanceChanged, when the unit of work is flushed.
    Raises: BalanceTooSmall.
    """
    entry = uow.customer_balances.move(movement)
    uow.record("customer_balance.moved", entry.balance_id, entry.ordinal)

"""What customers left as security."""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping

from libs.common.money import Money
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters.credit_note_rows import deposit
from services.billing.domain.deposit import Deposit, DepositNotFound

_AMOUNTS = ("amount", "collected", "applied", "released")
_PLAIN = tuple(name for name in Deposit.__slots__ if name not in _AMOUNTS)


class DepositRepository(Repository[Deposit]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            deposit,
            to_row=deposit_to_row,
            from_row=deposit_from_row,
            not_found=lambda id: DepositNotFound("no deposit has this id", id=id),
        )


def deposit_to_row(given: Deposit) -> dict[str, Any]:
    plain = {name: getattr(given, name) for name in _PLAIN}
    amounts = {f"{name}_minor": getattr(given, name).amount_minor for name in _AMOUNTS}
    return {**plain, **amounts, "currency": given.amount.currency}


def deposit_from_row(row: RowMapping) -> Deposit:
    stored: dict[str, Any] = {name: row[name] for name in _PLAIN}
    for name in _AMOUNTS:
        stored[name] = Money(row[f"{name}_minor"], row["currency"])
    return Deposit(**stored)

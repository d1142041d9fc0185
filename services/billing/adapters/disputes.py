"""Payments that banks ask back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping

from libs.common.money import Money
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters.dispute_rows import dispute
from services.billing.domain.dispute import Dispute, DisputeNotFound

_AMOUNTS = ("amount", "returned", "taken")
_PLAIN = tuple(name for name in Dispute.__slots__ if name not in (*_AMOUNTS, "fee"))


class DisputeRepository(Repository[Dispute]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            dispute,
            to_row=dispute_to_row,
            from_row=dispute_from_row,
            not_found=lambda id: DisputeNotFound("no dispute has this id", id=id),
        )


def dispute_to_row(given: Dispute) -> dict[str, Any]:
    plain: dict[str, Any] = {name: getattr(given, name) for name in _PLAIN}
    amounts = {f"{name}_minor": getattr(given, name).amount_minor for name in _AMOUNTS}
    fee = given.fee
    return {
        **plain,
        **amounts,
        "currency": given.amount.currency,
        "fee_minor": None if fee is None else fee.amount_minor,
        "fee_currency": None if fee is None else fee.currency,
    }


def dispute_from_row(row: RowMapping) -> Dispute:
    stored: dict[str, Any] = {name: row[name] for name in _PLAIN}
    for name in _AMOUNTS:
        stored[name] = Money(row[f"{name}_minor"], row["currency"])
    fee = None if row["fee_minor"] is None else Money(row["fee_minor"], row["fee_currency"])
    return Dispute(**stored, fee=fee)

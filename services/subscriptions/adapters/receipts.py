"""Receipts of withdrawals and cancellations: rows are only added."""

from __future__ import annotations

from typing import Any

from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters.mapping import Row
from services.subscriptions.adapters.rows import receipt
from services.subscriptions.domain.receipt import Receipt, ReceiptNotFound


def receipt_to_row(given: Receipt) -> dict[str, Any]:
    return {name: getattr(given, name) for name in Receipt.__slots__}


def receipt_from_row(row: Row) -> Receipt:
    return Receipt(**{name: row[name] for name in Receipt.__slots__})


class ReceiptRepository(Repository[Receipt]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            receipt,
            to_row=receipt_to_row,
            from_row=receipt_from_row,
            not_found=lambda id: ReceiptNotFound("there is no receipt with this id"),
        )

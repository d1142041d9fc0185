"""Money that is to be given back. Until it has been moved, a refund is pending."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from libs.common.errors import NotFound
from libs.common.money import Money

RefundState = Literal["pending"]


class RefundNotFound(NotFound):
    code = "refund_not_found"
    title = "There is no such refund"


@dataclass(frozen=True, slots=True)
class Refund:
    """Of a credit note on an invoice, or of a deposit: one of the two."""

    id: str
    customer_id: str
    amount: Money
    state: RefundState
    reason: str
    created_at: datetime
    credit_note_id: str | None = None
    invoice_id: str | None = None
    deposit_id: str | None = None
    clock_id: str | None = None
    version: int = 1

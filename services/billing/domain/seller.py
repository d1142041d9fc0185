"""The legal entity that issues invoices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.errors import Conflict, NotFound


class SellerNotFound(NotFound):
    code = "seller_not_found"
    title = "There is no such seller"


class SellerCodeTaken(Conflict):
    code = "seller_code_taken"
    title = "The code is taken"


@dataclass(frozen=True, slots=True)
class Seller:
    """`number_prefix` stands before each invoice number; `payment_terms_days` after issue an invoice is due."""

    id: str
    code: str
    name: str
    country: str
    number_prefix: str
    payment_terms_days: int
    is_default: bool
    version: int
    created_at: datetime
    address: str | None = None
    tax_number: str | None = None


def invoice_number(prefix: str, ordinal: int) -> str:
    """Six digits at least, so that numbers sort as text for the first million."""
    return f"{prefix}{ordinal:06d}"

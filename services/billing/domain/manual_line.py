"""A line that a person, a deposit or a top-up put on a document: it follows from no agreement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from libs.common.errors import NotFound
from libs.common.money import Money

LinePurpose = Literal["sale", "sla_credit"]


class ManualLineNotFound(NotFound):
    code = "manual_line_not_found"
    title = "There is no such manual line"


@dataclass(frozen=True, slots=True)
class ManualLine:
    """`quantity` x `unit_amount`, in the document's currency; a credit has a negative quantity and a positive price (R5).

    Without a service period it is supplied on the day of its document. A `purpose` of `sla_credit` makes up for service
    that was missed, and lessens what was earned.
    """

    id: str
    invoice_id: str
    description: str
    quantity: Decimal
    unit_amount: Decimal
    currency: str
    created_at: datetime
    tax_category: str | None = None
    tax_behavior: Literal["exclusive", "inclusive"] = "exclusive"
    purpose: LinePurpose = "sale"
    product_id: str | None = None
    subscription_id: str | None = None
    service_start_on: date | None = None
    service_end_on: date | None = None
    version: int = 1

    @property
    def amount(self) -> Money:
        """Rounding: once, half away from zero."""
        return Money.from_decimal(Fraction(self.quantity) * Fraction(self.unit_amount), self.currency)

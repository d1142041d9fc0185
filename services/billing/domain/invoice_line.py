"""One row of a document."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from libs.common.money import Money
from services.billing.domain.ledger_entry import Account
from services.billing.domain.tax_treatment import TaxCategory

NO_TAX = Decimal(0)


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """A price (or one tier of it) over one service period, or what a person put on the document.

    `amount` is as priced and rounded, once; it includes the tax where the price does. Less `prepaid`, which prepaid units
    cover, and `discount`, and without tax, it is `net`. `tax` is told of each line only where the seller rounds each
    line's. `quantity` is for people, with the part of the period counted in; `formula` is how `amount` came about.
    `earned_until` is None where it is earned at once, and else over its service period until then, on the account
    `income`. A manual line has no charge. `corrects_line_id` is the line of an earlier document that this one puts right.
    """

    id: str
    invoice_id: str
    charge_id: str | None
    ordinal: int
    tier: int | None
    description: str
    quantity: Decimal
    unit_amount: Decimal
    amount: Money
    prepaid: Money
    discount: Money
    net: Money
    formula: str
    service_start_on: date
    service_end_on: date
    subscription_id: str | None = None
    item_id: str | None = None
    price_id: str | None = None
    product_id: str | None = None
    plan_code: str | None = None
    tax_behavior: Literal["exclusive", "inclusive"] = "exclusive"
    tax_category: TaxCategory = "S"
    tax_percent: Decimal = NO_TAX
    tax_reason_code: str | None = None
    tax_reason: str | None = None
    tax: Money | None = None
    corrects_line_id: str | None = None
    manual_line_id: str | None = None
    product_tax_category: str | None = None
    earned_until: date | None = None
    income: Account = "revenue"

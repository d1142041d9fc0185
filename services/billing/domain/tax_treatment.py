"""How a line is taxed: its category by EN 16931, the rate, and why."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from services.billing.domain.charge import Charge
from services.billing.domain.tax_rate import OUTSIDE_SCOPE as OUTSIDE_SCOPE
from services.billing.domain.tax_rate import word_of

# Standard rate, zero rated, exempt, reverse charge, supply within the EU, export, outside the scope of tax.
TaxCategory = Literal["S", "Z", "E", "AE", "K", "G", "O"]


@dataclass(frozen=True, slots=True)
class TaxTreatment:
    """`percent` of tax within `category`. Whatever is not taxed says why, by code (VATEX) and in words."""

    category: TaxCategory
    percent: Decimal = Decimal(0)
    reason_code: str | None = None
    reason: str | None = None


# Of a line of which nobody has decided anything: no tax is added, and none is claimed to be due.
NOT_TAXED = TaxTreatment("S")


def is_outside_scope(charge: Charge) -> bool:
    """Whether it may stand on no document with anything that is taxed. Source: R6, EN 16931 BR-O-11."""
    return is_outside_scope_word(charge.price.tax_category)


def is_outside_scope_word(category: str | None) -> bool:
    """Whether what is sold under this tax category is outside the scope of tax."""
    return word_of(category) == OUTSIDE_SCOPE

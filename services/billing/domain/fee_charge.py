"""What a change of an agreement costs once, as a charge: it is owed, whatever happens afterwards."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from libs.common.money import Money
from libs.common.periods import start_of_day
from services.billing.domain.agreement import Agreement
from services.billing.domain.charge import WHOLE, Charge, charge_id, with_amount
from services.billing.domain.rating.price import Price
from services.billing.domain.terms import Fee


def fee_charge(agreement: Agreement, fee: Fee, *, now: datetime) -> Charge:
    """Its identity is that of the fee, so that it is charged once, on whatever document.

    Rounding: once, half away from zero.
    """
    price = Price(
        id=fee.id,
        code=fee.kind,
        product_id="",
        description=fee.description,
        kind="one_time",
        timing="advance",
        model="flat",
        currency=agreement.currency,
        unit_amount=fee.amount,
        tax_category=fee.tax_category,
    )
    return with_amount(
        Charge(
            id=charge_id(agreement.id, fee.id, 0, "fee"),
            subscription_id=agreement.id,
            item_id=agreement.id,
            price=price,
            period_index=0,
            kind="fee",
            revision=0,
            quantity=Decimal(1),
            fraction=WHOLE,
            service_start=start_of_day(fee.service_start_on, agreement.zone),
            service_end=start_of_day(fee.service_end_on, agreement.zone),
            service_start_on=fee.service_start_on,
            service_end_on=fee.service_end_on,
            amount=Money.zero(agreement.currency),
            created_at=now,
        )
    )

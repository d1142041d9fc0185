"""How the lines of a document are taxed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from libs.common.periods import local_date
from services.billing.application.ports import UnitOfWork
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.invoice import Invoice
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.seller import Seller
from services.billing.domain.tax_assessment import (
    Supply,
    TaxQuestion,
    buyer_of,
    registrations_of,
    tax_point,
)
from services.billing.domain.tax_treatment import TaxTreatment


async def treatments_for(
    draft: Invoice,
    lines: Sequence[InvoiceLine],
    *,
    seller: Seller,
    profile: BillingProfile | None,
    now: datetime,
    uow: UnitOfWork,
) -> Mapping[str, TaxTreatment]:
    """By the ids of the lines. One that puts an issued line right is taxed as that was; all others are asked about."""
    corrected = {line.id: line.corrects_line_id for line in lines if line.corrects_line_id is not None}
    before = await uow.billed_treatments.of_lines(corrected.values()) if corrected else {}
    known = {id: before[of] for id, of in corrected.items() if of in before}
    invoiced_on = local_date(now, draft.zone)
    question = TaxQuestion(
        seller_country=seller.country,
        registrations=registrations_of(seller),
        buyer=buyer_of(draft.customer, profile),
        supplies=[
            Supply(
                line.id,
                line.product_tax_category,
                tax_point(invoiced_on, line.service_start_on, line.service_end_on),
            )
            for line in lines
            if line.id not in known
        ],
    )
    answers = await uow.tax_engine.assess(question)
    asked = zip(question.supplies, answers, strict=True)
    return {**known, **{supply.key: answer.treatment for supply, answer in asked}}

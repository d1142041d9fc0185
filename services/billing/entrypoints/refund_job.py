"""Refunds that are due: the gateway that collected the money is asked to give it back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from libs.common.messaging.due import DueRow
from services.billing.adapters.credit_note_rows import refund
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.gateway_ports import Gateways
from services.billing.application.settle_refund import (
    ClaimedRefund,
    call_for_refund,
    claim_refund,
    record_refund,
    release_refund,
)
from services.billing.domain.payment import RefundOutcome
from services.billing.entrypoints.outside_calls import OutsideWork, Told


class GiveRefunds(OutsideWork[ClaimedRefund, RefundOutcome]):
    """A refund that failed is tried again after the days after which a payment is."""

    name, task = "give_refunds", "give refund"
    table = refund

    def __init__(self, *, gateways: Gateways, retry_days: Sequence[int]) -> None:
        self._gateways, self._retry_days = gateways, retry_days

    async def claim(
        self, due: Sequence[DueRow], *, until: datetime, uow: BillingUnitOfWork
    ) -> list[ClaimedRefund]:
        await uow.refunds.load_for_update(row.id for row in due)
        claims = [await claim_refund(row.id, now=row.now, until=until, uow=uow) for row in due]
        return [claim for claim in claims if claim is not None]

    async def call(self, claim: ClaimedRefund) -> RefundOutcome:
        return await call_for_refund(claim, gateways=self._gateways)

    async def record(
        self, told: Sequence[Told[ClaimedRefund, RefundOutcome]], *, uow: BillingUnitOfWork
    ) -> None:
        await uow.refunds.load_for_update(one.claim.id for one in told)
        for one in told:
            await record_refund(
                one.claim, one.answer, retry_days=self._retry_days, uow=uow, traceparent=one.traceparent
            )

    async def release(
        self, claims: Sequence[ClaimedRefund], *, now: datetime, uow: BillingUnitOfWork
    ) -> None:
        await uow.refunds.load_for_update(claim.id for claim in claims)
        for claim in claims:
            await release_refund(claim, now=now, uow=uow)

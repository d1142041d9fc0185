"""Payment attempts that are due: the gateway is asked for the money of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from libs.common.clock import Clock
from libs.common.messaging.due import DueRow
from libs.common.telemetry import metrics
from services.billing.adapters.rows import payment_attempt
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.collect_payment import (
    ClaimedAttempt,
    claim_attempt,
    collect_payment,
    record_payment,
    release_attempt,
)
from services.billing.application.gateway_ports import Gateways
from services.billing.domain.payment import Collected, Declined, Outcome, Pending
from services.billing.entrypoints.outside_calls import OutsideWork, Told


class CollectPayments(OutsideWork[ClaimedAttempt, Outcome]):
    """Each call belongs to the trace of the renewal that its invoice bills.

    `retry_days` are the operator's, where a plan has none: days of 24 hours between a failure and the next try.
    """

    name, task = "collect_payments", "collect payment"
    table = payment_attempt

    def __init__(self, *, gateways: Gateways, retry_days: Sequence[int], clock: Clock) -> None:
        self._gateways, self._retry_days, self._clock = gateways, retry_days, clock

    async def claim(
        self, due: Sequence[DueRow], *, until: datetime, uow: BillingUnitOfWork
    ) -> list[ClaimedAttempt]:
        at = self._clock.system_now()
        await uow.payment_attempts.load_for_update(row.id for row in due)
        found = [await uow.payment_attempts.find_for_update(row.id) for row in due]
        await uow.payment_methods.load_for_attempts(attempt for attempt in found if attempt is not None)
        claims = [
            await claim_attempt(row.id, now=row.now, claimed_until=until, at=at, uow=uow) for row in due
        ]
        return [claim for claim in claims if claim is not None]

    async def call(self, claim: ClaimedAttempt) -> Outcome:
        return await collect_payment(claim, gateways=self._gateways)

    async def record(self, told: Sequence[Told[ClaimedAttempt, Outcome]], *, uow: BillingUnitOfWork) -> None:
        await uow.invoices.load_for_update(one.claim.attempt.invoice_id for one in told)
        await uow.payment_attempts.load_for_update(one.claim.id for one in told)
        await _load_dunnings(told, uow)
        for one in told:
            await record_payment(
                one.claim, one.answer, retry_days=self._retry_days, traceparent=one.traceparent, uow=uow
            )

    async def release(
        self, claims: Sequence[ClaimedAttempt], *, now: datetime, uow: BillingUnitOfWork
    ) -> None:
        await uow.payment_attempts.load_for_update(claim.id for claim in claims)
        for claim in claims:
            await release_attempt(claim, now=now, uow=uow)

    def count(self, answer: Outcome | None) -> None:
        metrics.payment("billing", _word_for(answer))


async def _load_dunnings(told: Sequence[Told[ClaimedAttempt, Outcome]], uow: BillingUnitOfWork) -> None:
    """Only what failed tries are about: most succeed."""
    failed = [one.claim.attempt.invoice_id for one in told if isinstance(one.answer, Declined)]
    if failed:
        await uow.dunnings.load_of_invoices(
            {id: (await uow.invoices.get_for_update(id)).about for id in failed}
        )


def _word_for(answer: Outcome | None) -> str:
    if answer is None:
        return "unknown"
    if isinstance(answer, Pending):
        return "processing"
    return "succeeded" if isinstance(answer, Collected) else "declined"

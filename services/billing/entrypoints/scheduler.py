"""What is due in billing: payment attempts, claimed in one transaction, called in none, recorded in another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from libs.common.clock import Clock
from libs.common.messaging.due import DueJob, DueRow
from libs.common.persistence.outage import is_outage
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.telemetry import metrics, span, traceparent_of
from services.billing.adapters import rows
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.collect_payment import (
    ClaimedAttempt,
    claim_attempt,
    collect_payment,
    record_payment,
)
from services.billing.application.ports import Gateways
from services.billing.domain.payment import Collected, Outcome

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said of one attempt, and the span in which it did."""

    claim: ClaimedAttempt
    outcome: Outcome
    traceparent: str | None


class CollectPayments:
    """Pending attempts, many at a time. Each call to the gateway belongs to the trace of its renewal."""

    name = "collect_payments"

    def __init__(
        self,
        *,
        units: UnitsOfWork[BillingUnitOfWork],
        clock: Clock,
        gateways: Gateways,
        retry_days: Sequence[int],
        claim_s: float,
        calls_at_once: int,
    ) -> None:
        self._units, self._clock, self._gateways = units, clock, gateways
        self._retry_days, self._claim_s = retry_days, claim_s
        self._calls = asyncio.Semaphore(calls_at_once)
        self._claimed: list[ClaimedAttempt] = []
        self._due = DueJob(
            self.name,
            service="billing",
            table=rows.payment_attempt,
            units=units,
            clock=clock,
            work=self._claim,
            batch_max=100,
        )

    async def run_once(self) -> int:
        self._claimed.clear()
        count = await self._due.run_once()
        claimed, self._claimed = self._claimed, []
        told = await asyncio.gather(*(self._collect(claim) for claim in claimed))
        answers = [answer for answer in told if answer is not None]
        try:
            await self._record(answers)
        except Exception as error:
            if is_outage(error) or len(answers) == 1:
                raise
            for answer in answers:  # one that cannot be recorded must not keep the others back
                await self._record([answer])
        return count

    async def _claim(self, due: Sequence[DueRow], uow: BillingUnitOfWork) -> None:
        until = self._clock.system_now() + timedelta(seconds=self._claim_s)
        await uow.payment_attempts.load_for_update(row.id for row in due)
        for row in due:
            claim = await claim_attempt(row.id, tenant=row.tenant, now=row.now, claimed_until=until, uow=uow)
            if claim is not None:
                self._claimed.append(claim)

    async def _collect(self, claim: ClaimedAttempt) -> Answer | None:
        attributes = {"perennial.payment_attempt.id": claim.attempt.id}
        with span("collect payment", parent=claim.attempt.traceparent, attributes=attributes) as started:
            try:
                async with self._calls, asyncio.timeout(self._claim_s * 0.8):
                    outcome = await collect_payment(claim, gateways=self._gateways)
            except Exception as error:
                # Unknown: the claim runs out, and the gateway is asked before anything is tried again.
                log.warning("payment outcome unknown", extra={"attempt": claim.attempt.id}, exc_info=error)
                metrics.payment("billing", "unknown")
                return None
            return Answer(claim, outcome, traceparent_of(started))

    async def _record(self, answers: Sequence[Answer]) -> None:
        async with self._units.open_for_many() as uow:
            for tenant in sorted({answer.claim.tenant for answer in answers}):
                await uow.become(tenant, f"schedule:{self.name}")
                mine = [answer for answer in answers if answer.claim.tenant == tenant]
                await uow.payment_attempts.load_for_update(answer.claim.attempt.id for answer in mine)
                await uow.invoices.load_for_update(answer.claim.attempt.invoice_id for answer in mine)
                for answer in mine:
                    await record_payment(
                        answer.claim.attempt.id,
                        answer.outcome,
                        now=answer.claim.now,
                        retry_days=self._retry_days,
                        traceparent=answer.traceparent,
                        uow=uow,
                    )
        for answer in answers:
            metrics.payment("billing", "collected" if isinstance(answer.outcome, Collected) else "declined")

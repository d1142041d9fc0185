"""Pending payment attempts: claimed in one transaction, called in none, recorded in another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from libs.common.clock import Clock
from libs.common.messaging.due import ERROR_LENGTH_MAX, DueJob, DueRow
from libs.common.persistence.outage import is_outage
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.stopping import Stopping
from libs.common.telemetry import metrics, span, traceparent_of
from services.billing.adapters import rows
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.collect_payment import (
    ClaimedAttempt,
    claim_attempt,
    collect_payment,
    record_payment,
    release_attempt,
)
from services.billing.application.ports import Gateways
from services.billing.domain.payment import Collected, Declined, Outcome, Pending
from services.billing.entrypoints.outside_calls import ClaimingUnits

log = logging.getLogger(__name__)

BATCH_MAX = 100
RECORD_AGAIN_S = 60
UNKNOWN_PAUSE_MAX_S = 3600


@dataclass(frozen=True, slots=True)
class Unknown:
    """A call after which nobody knows what became of it."""

    claim: ClaimedAttempt
    error: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said of one attempt, and the span in which it did."""

    claim: ClaimedAttempt
    outcome: Outcome
    traceparent: str | None


class CollectPayments:
    """Pending attempts, many at a time. Each call to the gateway belongs to the trace of its renewal.

    `claim_s` is how long a claim lasts by the wall: whoever dies with one is followed after that. Whoever is told
    to stop ends the calls that are under way, and gives back the claims of those that have not begun.
    """

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
        stopping: Stopping | None = None,
    ) -> None:
        self._stopping = stopping or Stopping()
        self._units, self._clock, self._gateways = units, clock, gateways
        self._retry_days, self._claim_s = retry_days, claim_s
        self._calls = asyncio.Semaphore(calls_at_once)
        self._claims: ClaimingUnits[ClaimedAttempt] = ClaimingUnits(units)
        self._due = DueJob(
            self.name,
            service="billing",
            table=rows.payment_attempt,
            units=self._claims,
            clock=clock,
            work=self._claim,
            batch_max=BATCH_MAX,
            forgets_failures=False,
        )

    async def run_once(self) -> int:
        """Returns how many attempts were claimed or put off."""
        try:
            count = await self._due.run_once()
        except Exception:
            await self._carry_out(self._claims.take())  # of a batch in parts, some may have been claimed
            raise
        await self._carry_out(self._claims.take())
        return count

    async def _carry_out(self, claims: Sequence[ClaimedAttempt]) -> None:
        told = await asyncio.gather(*(self._collect(claim) for claim in claims))
        await self._record([answer for answer in told if isinstance(answer, Answer)])
        await self._wait_for([answer for answer in told if isinstance(answer, Unknown)])
        await self._release([answer for answer in told if isinstance(answer, ClaimedAttempt)])

    async def _claim(self, due: Sequence[DueRow], uow: BillingUnitOfWork) -> None:
        at = self._clock.system_now()
        until = at + timedelta(seconds=self._claim_s)
        await uow.payment_attempts.load_for_update(row.id for row in due)
        found = [await uow.payment_attempts.find_for_update(row.id) for row in due]
        await uow.payment_methods.load_for_attempts(attempt for attempt in found if attempt is not None)
        for row in due:
            claim = await claim_attempt(row.id, now=row.now, claimed_until=until, at=at, uow=uow)
            if claim is not None:
                self._claims.add([claim])

    async def _collect(self, claim: ClaimedAttempt) -> Answer | ClaimedAttempt | Unknown:
        """The claim itself when its turn came after the word to stop: the gateway was not called."""
        async with self._calls:
            return claim if self._stopping.is_set() else await self._ask(claim)

    async def _ask(self, claim: ClaimedAttempt) -> Answer | Unknown:
        attributes = {"perennial.payment_attempt.id": claim.attempt.id}
        with span("collect payment", parent=claim.attempt.traceparent, attributes=attributes) as started:
            try:
                async with asyncio.timeout(self._left_s(claim)):
                    outcome = await collect_payment(claim, gateways=self._gateways)
            except Exception as error:
                log.warning("payment outcome unknown", extra={"attempt": claim.attempt.id}, exc_info=error)
                metrics.payment("billing", "unknown")
                return Unknown(claim, f"{type(error).__name__}: {error}"[:ERROR_LENGTH_MAX])
            return Answer(claim, outcome, traceparent_of(started))

    def _left_s(self, claim: ClaimedAttempt) -> float:
        """Most of what is left of the claim; nothing of one that ran out while it waited for its turn."""
        assert claim.attempt.claimed_until is not None
        left = claim.attempt.claimed_until - self._clock.system_now()
        return max(0.0, left.total_seconds() * 0.8)

    async def _record(self, answers: Sequence[Answer]) -> None:
        """All in one transaction; if that fails, each in its own, so that one cannot keep the others back."""
        if not answers:
            return
        try:
            await self._record_together(answers)
        except Exception as error:
            if is_outage(error):
                raise
            for answer in answers:
                await self._record_alone(answer)

    async def _release(self, claims: Sequence[ClaimedAttempt]) -> None:
        if not claims:
            return
        async with self._units.open_for_many() as uow:
            now = self._clock.system_now()
            for tenant in sorted({claim.tenant for claim in claims}):
                await uow.become(tenant, f"schedule:{self.name}")
                mine = [claim for claim in claims if claim.tenant == tenant]
                await uow.payment_attempts.load_for_update(claim.attempt.id for claim in mine)
                for claim in mine:
                    await release_attempt(claim, now=now, uow=uow)

    async def _wait_for(self, unknown: Sequence[Unknown]) -> None:
        """The claims run out, and the gateway is asked before a further try: later each time that it does not answer."""
        if not unknown:
            return
        now = self._clock.system_now()
        async with self._units.open_for_many() as uow:
            for tenant in sorted({one.claim.tenant for one in unknown}):
                await uow.become(tenant, f"schedule:{self.name}")
                for one in unknown:
                    if one.claim.tenant == tenant:
                        await uow.payment_attempts.ask_later(
                            one.claim.attempt,
                            now=now,
                            first_s=self._claim_s,
                            last_s=UNKNOWN_PAUSE_MAX_S,
                            error=one.error,
                        )

    async def _record_alone(self, answer: Answer) -> None:
        try:
            await self._record_together([answer])
        except Exception as error:
            if is_outage(error):
                raise
            attempt = answer.claim.attempt
            log.error("payment not recorded", extra={"attempt": attempt.id}, exc_info=error)
            metrics.due_row_failed("billing", self.name)
            told = f"{type(error).__name__}: {error}"[:ERROR_LENGTH_MAX]
            async with self._units.open(answer.claim.tenant, f"schedule:{self.name}") as uow:
                until = self._clock.system_now() + timedelta(seconds=RECORD_AGAIN_S)
                await uow.payment_attempts.put_off(attempt.id, until=until, error=told)

    async def _record_together(self, answers: Sequence[Answer]) -> None:
        async with self._units.open_for_many() as uow:
            for tenant in sorted({answer.claim.tenant for answer in answers}):
                await uow.become(tenant, f"schedule:{self.name}")
                mine = [answer for answer in answers if answer.claim.tenant == tenant]
                await uow.invoices.load_for_update(answer.claim.attempt.invoice_id for answer in mine)
                await uow.payment_attempts.load_for_update(answer.claim.attempt.id for answer in mine)
                await _load_dunnings(mine, uow)
                for answer in mine:
                    await record_payment(
                        answer.claim,
                        answer.outcome,
                        retry_days=self._retry_days,
                        traceparent=answer.traceparent,
                        uow=uow,
                    )
        for answer in answers:
            metrics.payment("billing", _word_for(answer.outcome))


async def _load_dunnings(answers: Sequence[Answer], uow: BillingUnitOfWork) -> None:
    """Only what failed tries are about: most succeed."""
    failed = [answer.claim.attempt.invoice_id for answer in answers if isinstance(answer.outcome, Declined)]
    if failed:
        await uow.dunnings.load_of_invoices(
            {id: (await uow.invoices.get_for_update(id)).about for id in failed}
        )


def _word_for(outcome: Outcome) -> str:
    if isinstance(outcome, Pending):
        return "processing"
    return "succeeded" if isinstance(outcome, Collected) else "declined"

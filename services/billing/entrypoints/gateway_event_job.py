"""Events of gateways, worked off: what they are about is asked for with no transaction open, and then written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.common.clock import Clock
from libs.common.messaging.due import DueRow
from services.billing.adapters.gateway_rows import gateway_event
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.ask_about_refund import ask_about_refund
from services.billing.application.gateway_ports import Gateways
from services.billing.application.hear_gateway import ask_about_attempts, follow_method
from services.billing.application.take_in_dispute import take_in_dispute
from services.billing.domain.gateway_dispute import GatewayDispute
from services.billing.domain.gateway_event import GatewayEvent, let_go, taken_up, worked_off
from services.billing.domain.payment import MethodDetails, PaymentMethod
from services.billing.entrypoints.outside_calls import OutsideWork, Told


@dataclass(frozen=True, slots=True)
class TakenEvent:
    """`method` is the one that an event about methods is about, where the tenant has it."""

    tenant: str
    event: GatewayEvent
    method: PaymentMethod | None
    claimed_until: datetime

    @property
    def id(self) -> str:
        return self.event.id

    @property
    def traceparent(self) -> str | None:
        return self.event.traceparent


Facts = GatewayDispute | MethodDetails | None


class GatewayEvents(OutsideWork[TakenEvent, Facts]):
    """Whatever order events come in: how their subject stands by now is what counts."""

    name, task = "work_off_gateway_events", "work off gateway event"
    table = gateway_event

    def __init__(self, *, gateways: Gateways, clock: Clock) -> None:
        self._gateways, self._clock = gateways, clock

    async def claim(
        self, due: Sequence[DueRow], *, until: datetime, uow: BillingUnitOfWork
    ) -> list[TakenEvent]:
        await uow.gateway_events.load_for_update(row.id for row in due)
        taken = []
        for row in due:
            event = await uow.gateway_events.find_for_update(row.id)
            if event is None or event.due_at is None:
                continue
            event = taken_up(event, now=self._clock.system_now(), until=until)
            uow.gateway_events.save(event)
            method = await _method_of(event, uow)
            taken.append(TakenEvent(uow.tenant, event, method, until))
        return taken

    async def call(self, claim: TakenEvent) -> Facts:
        event, gateway = claim.event, self._gateways[claim.event.gateway]
        if event.subject_kind == "dispute":
            return await gateway.find_dispute(
                tenant=claim.tenant, account=event.account, reference=event.subject_id
            )
        if claim.method is not None:
            return await gateway.find_details(tenant=claim.tenant, method=claim.method)
        return None

    async def record(self, told: Sequence[Told[TakenEvent, Facts]], *, uow: BillingUnitOfWork) -> None:
        now = self._clock.system_now()
        await uow.gateway_events.load_for_update(one.claim.id for one in told)
        asked = {one.claim.event.our_id for one in told if one.claim.event.subject_kind == "payment"}
        await ask_about_attempts(await self._business_times(asked, uow), uow=uow)
        for one in told:
            known = await uow.gateway_events.find_for_update(one.claim.id)
            if known is None or known.due_at is None:
                continue  # another process was quicker
            await self._follow(one.claim, one.answer, now=now, uow=uow)
            uow.gateway_events.save(worked_off(known, now=now))

    async def release(self, claims: Sequence[TakenEvent], *, now: datetime, uow: BillingUnitOfWork) -> None:
        await uow.gateway_events.load_for_update(claim.id for claim in claims)
        for claim in claims:
            known = await uow.gateway_events.find_for_update(claim.id)
            if known is not None and known == claim.event:
                uow.gateway_events.save(let_go(known))

    async def _follow(
        self, claim: TakenEvent, facts: Facts, *, now: datetime, uow: BillingUnitOfWork
    ) -> None:
        event = claim.event
        if event.subject_kind == "refund" and event.our_id is not None:
            await ask_about_refund(event.our_id, now=now, uow=uow)
        elif isinstance(facts, GatewayDispute):
            await take_in_dispute(facts, now=now, uow=uow, traceparent=event.traceparent)
        elif claim.method is not None:
            details = facts if isinstance(facts, MethodDetails) else None
            customer = await uow.customers.find(claim.method.customer_id)
            lives_by = None if customer is None else await uow.test_clock(customer.clock_id)
            business_now = self._clock.business_now(lives_by)
            await follow_method(claim.method, details, now=now, business_now=business_now, uow=uow)

    async def _business_times(
        self, attempt_ids: set[str | None], uow: BillingUnitOfWork
    ) -> dict[str, datetime]:
        ids = [id for id in attempt_ids if id is not None]
        await uow.payment_attempts.load_for_update(ids)
        times = {}
        for id in ids:
            attempt = await uow.payment_attempts.find_for_update(id)
            if attempt is not None:
                times[id] = self._clock.business_now(await uow.test_clock(attempt.clock_id))
        return times


async def _method_of(event: GatewayEvent, uow: BillingUnitOfWork) -> PaymentMethod | None:
    if event.subject_kind != "method":
        return None
    return await uow.payment_methods.find_by_token(
        gateway=event.gateway, account=event.account, token=event.subject_id
    )

"""A tenant stops selling a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from libs.common.clock import Clock
from services.catalog.application import events
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.plan import Plan, retire


@dataclass(frozen=True, slots=True)
class RetirePlan:
    plan_id: str


async def retire_plan(
    command: RetirePlan, *, uow: UnitOfWork, clock: Clock, check_version: Callable[[int], None]
) -> Plan:
    """Retire it; subscriptions on it go on. Retiring twice is harmless.

    Emits: PlanRetired, unless nobody ever heard of the plan, since it was never published.
    Raises: PlanNotFound, and what `check_version` raises for the version that was locked.
    """
    plan = await uow.plans.get_for_update(command.plan_id)
    check_version(plan.version)
    now = clock.system_now()
    retired = retire(plan, now)
    if retired is plan:
        return plan
    uow.plans.save(retired)
    uow.record("plan.retired", retired.id, retired.version)
    if retired.published_number:
        uow.outbox.append(events.plan_retired(retired, tenant=uow.tenant, now=now), key=retired.id)
    return retired

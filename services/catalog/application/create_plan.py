"""A tenant makes a plan, with a first draft of what it would be sold as."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.ids import new_id
from services.catalog.application.ports import UnitOfWork
from services.catalog.application.read_draft import read_draft
from services.catalog.application.written_plan import WrittenPlan
from services.catalog.domain.plan import Plan


@dataclass(frozen=True, slots=True)
class CreatePlan:
    code: str
    written: WrittenPlan


async def create_plan(command: CreatePlan, *, uow: UnitOfWork, clock: Clock) -> Plan:
    """Make it. It can be sold once it is published.

    Raises: PlanInvalid, MeterUnknown; PlanCodeTaken, when the unit of work is flushed.
    """
    now = clock.system_now()
    draft = await read_draft(command.written, uow=uow)
    plan = Plan(
        id=new_id("pln", now),
        code=command.code,
        external_id=command.written.external_id,
        metadata=command.written.metadata,
        status="draft",
        draft=draft,
        published_number=0,
        version=1,
        created_at=now,
    )
    uow.plans.add(plan)
    uow.record("plan.created", plan.id)
    return plan

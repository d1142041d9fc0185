"""A tenant publishes a plan's draft: from now on it can be sold, and never changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from libs.common.clock import Clock
from services.catalog.application import events
from services.catalog.application.ports import UnitOfWork
from services.catalog.application.read_draft import check_saleable
from services.catalog.domain.publication import Published, Unchanged, decide_publication
from services.catalog.domain.sale import ALWAYS, Validity


@dataclass(frozen=True, slots=True)
class PublishPlan:
    plan_id: str
    validity: Validity = ALWAYS


async def publish_plan(
    command: PublishPlan, *, uow: UnitOfWork, clock: Clock, check_version: Callable[[int], None]
) -> Published | Unchanged:
    """Make the draft the plan's next version. Publishing an unchanged draft is harmless and says so.

    The draft is checked again, since a product may have been archived after it was written.
    Emits: PlanPublished, with the whole version.
    Raises: PlanNotFound, PlanRetired, PlanInvalid, ValidityReversed, and what `check_version` raises for the
    locked version.
    """
    plan = await uow.plans.get_for_update(command.plan_id)
    check_version(plan.version)
    newest = await uow.plan_versions.find(plan.id, plan.published_number) if plan.published_number else None
    outcome = decide_publication(plan, newest, command.validity, clock.system_now())
    if isinstance(outcome, Unchanged):
        return outcome
    await check_saleable(plan.draft, uow=uow)
    uow.plans.save(outcome.plan)
    uow.plan_versions.add(outcome.plan_version)
    uow.record("plan.published", outcome.plan.id, outcome.plan.version)
    uow.outbox.append(events.plan_published(outcome, tenant=uow.tenant), key=outcome.plan.id)
    return outcome

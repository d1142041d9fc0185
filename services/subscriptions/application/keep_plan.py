"""Keep a copy of what the catalog publishes: subscriptions are agreed, and told of, with whole plans."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.contracts.catalog import PlanV1
from services.subscriptions.application.ports import UnitOfWork


@dataclass(frozen=True, slots=True)
class KeepPlan:
    plan: PlanV1


@dataclass(frozen=True, slots=True)
class RetirePlan:
    plan_id: str


async def keep_plan(command: KeepPlan, *, uow: UnitOfWork) -> None:
    """A plan version can be subscribed to from now on. A repeat changes nothing, since versions never change."""
    await uow.plans.keep(command.plan)


async def retire_plan(command: RetirePlan, *, uow: UnitOfWork) -> None:
    """No new subscriptions to any version of this plan; those that there are go on.

    It may be heard before the plan itself, and holds then too.
    """
    await uow.plans.retire(command.plan_id)

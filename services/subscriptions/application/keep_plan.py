"""Keep a copy of what the catalog publishes: subscriptions are agreed, and told of, with whole plans."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.contracts.catalog import PlanV1
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.plan import SaleState


@dataclass(frozen=True, slots=True)
class KeepPlan:
    plan: PlanV1


@dataclass(frozen=True, slots=True)
class RetirePlan:
    plan_id: str


@dataclass(frozen=True, slots=True)
class NotePlanSale:
    """`version` is that of the plan; the highest wins."""

    plan_version_id: str
    state: SaleState
    version: int


async def keep_plan(command: KeepPlan, *, uow: UnitOfWork) -> None:
    """A plan version can be subscribed to from now on, within its bounds.

    A repeat changes nothing, since versions never change.
    """
    await uow.plans.keep(command.plan)


async def retire_plan(command: RetirePlan, *, uow: UnitOfWork) -> None:
    """No new subscriptions to any version of this plan; those that there are go on.

    It may be heard before the plan itself, and holds then too.
    """
    await uow.plans.retire(command.plan_id)


async def note_plan_sale(command: NotePlanSale, *, uow: UnitOfWork) -> None:
    """The version takes no new subscriptions from now on, or takes them again; those that there are go on.

    It may be heard before the version itself, and holds then too.
    """
    await uow.plans.note_sale(command.plan_version_id, command.state, command.version)

"""Keep a copy of what the catalog publishes, so that it can be simulated."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.contracts.catalog import PlanOverlayV1, PlanV1
from services.billing.application.ports import UnitOfWork


@dataclass(frozen=True, slots=True)
class KeepPlan:
    plan: PlanV1


@dataclass(frozen=True, slots=True)
class KeepPlanOverlay:
    overlay: PlanOverlayV1


async def keep_plan(command: KeepPlan, *, uow: UnitOfWork) -> None:
    """A repeat changes nothing, since versions never change."""
    uow.plan_versions.keep(command.plan)


async def keep_plan_overlay(command: KeepPlanOverlay, *, uow: UnitOfWork) -> None:
    """It comes with the whole plan. Withdrawn ones stay: whoever has such terms keeps them."""
    uow.plan_versions.keep_overlay(command.overlay)

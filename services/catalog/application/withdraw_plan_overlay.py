"""A customer's own terms are no longer offered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from libs.common.clock import Clock
from services.catalog.application import events
from services.catalog.application.create_plan_overlay import Overlaid
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.plan_overlay import withdraw


@dataclass(frozen=True, slots=True)
class WithdrawPlanOverlay:
    overlay_id: str


async def withdraw_plan_overlay(
    command: WithdrawPlanOverlay, *, uow: UnitOfWork, clock: Clock, check_version: Callable[[int], None]
) -> Overlaid:
    """Withdraw it; a subscription that has it keeps it. Withdrawing twice is harmless.

    Emits: PlanOverlayWithdrawn.
    Raises: PlanOverlayNotFound, and what `check_version` raises for the version that was locked.
    """
    overlay = await uow.plan_overlays.get_for_update(command.overlay_id)
    check_version(overlay.version)
    now = clock.system_now()
    withdrawn = withdraw(overlay, now)
    if withdrawn is not overlay:
        uow.plan_overlays.save(withdrawn)
        uow.record("plan_overlay.withdrawn", withdrawn.id, withdrawn.version)
        event = events.plan_overlay_withdrawn(withdrawn, tenant=uow.tenant, now=now)
        uow.outbox.append(event, key=withdrawn.id)
    versions = await uow.plan_versions.find_by_ids([overlay.plan_version_id])
    return Overlaid(withdrawn, versions[overlay.plan_version_id])

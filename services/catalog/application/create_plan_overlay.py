"""A tenant agrees with one customer on terms of their own for a plan version."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.clock import Clock
from libs.common.errors import Conflict
from libs.common.ids import new_id
from libs.common.periods import Interval
from services.catalog.application import events
from services.catalog.application.offered_version import newest_on_sale
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.plan import PlanNotFound, refuse_retired
from services.catalog.domain.plan_overlay import PlanOverlay, PriceOverride, check_overlay
from services.catalog.domain.plan_version import PlanVersion, PlanVersionNotFound


class PlanNotOnSale(Conflict):
    """A plan that is named by its code stands for its newest version on sale, and it has none."""

    code = "plan_not_on_sale"
    title = "No version of the plan is on sale"


@dataclass(frozen=True, slots=True)
class CreatePlanOverlay:
    """One of `plan_version_id`, whatever its standing, and `plan_code`: its newest version on sale.

    The currency of an override is empty where it is the plan's own.
    """

    customer_id: str
    overrides: tuple[PriceOverride, ...]
    plan_version_id: str | None = None
    plan_code: str | None = None
    term: Interval | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Overlaid:
    """An overlay with the version that it is laid over."""

    overlay: PlanOverlay
    plan_version: PlanVersion


async def create_plan_overlay(command: CreatePlanOverlay, *, uow: UnitOfWork, clock: Clock) -> Overlaid:
    """Make it. The customer need not be known here.

    Emits: PlanOverlaid, with the whole effective plan.
    Raises: PlanNotFound, PlanVersionNotFound, PlanNotOnSale, PlanRetired, PlanOverlayInvalid; PlanOverlayExists,
    when the unit of work is flushed.
    """
    now = clock.system_now()
    version = await _plan_version(command, uow, now)
    own = version.content.currency
    overlay = PlanOverlay(
        id=new_id("ovl", now),
        customer_id=command.customer_id,
        plan_id=version.plan_id,
        plan_version_id=version.id,
        overrides=tuple(
            override if override.currency else replace(override, currency=own)
            for override in command.overrides
        ),
        term=command.term,
        description=command.description,
        version=1,
        created_at=now,
    )
    check_overlay(overlay.overrides, overlay.term, version.content)
    uow.plan_overlays.add(overlay)
    uow.record("plan_overlay.created", overlay.id)
    event = events.plan_overlaid(overlay, version, tenant=uow.tenant)
    uow.outbox.append(event, key=overlay.id)
    return Overlaid(overlay, version)


async def _plan_version(command: CreatePlanOverlay, uow: UnitOfWork, now: datetime) -> PlanVersion:
    if command.plan_version_id is not None:
        found = await uow.plan_versions.find_by_ids([command.plan_version_id])
        if command.plan_version_id not in found:
            raise PlanVersionNotFound("there is no such plan version", pointer="/plan_version_id")
        return found[command.plan_version_id]
    assert command.plan_code is not None, "a version is named by its id or by its plan's code"
    plans = await uow.plans.find_named([command.plan_code])
    if not plans:
        raise PlanNotFound("there is no plan with this code", pointer="/plan")
    refuse_retired(plans[0])
    version = await newest_on_sale(plans[0], now, uow=uow)
    if version is None:
        raise PlanNotOnSale(
            "no version of the plan is on sale now",
            pointer="/plan",
            remedy="Publish one, put one on sale again, or name the version by plan_version_id.",
        )
    return version

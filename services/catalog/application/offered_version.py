"""A published version together with where it stands now: the version never changes, its standing does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.plan import Plan
from services.catalog.domain.plan_version import PlanVersion, PlanVersionNotFound
from services.catalog.domain.sale import OfferStatus, offer_status


@dataclass(frozen=True, slots=True)
class OfferedVersion:
    version: PlanVersion
    status: OfferStatus


def offered(plan: Plan, version: PlanVersion, now: datetime) -> OfferedVersion:
    """One of the plan's versions as it stands at `now`."""
    return OfferedVersion(version, offer_status(version.validity, plan.sale_state(version.number), now))


async def newest_on_sale(plan: Plan, now: datetime, *, uow: UnitOfWork) -> PlanVersion | None:
    """The version that somebody who names the plan by its code would agree to now."""
    for number in range(plan.published_number, 0, -1):
        if plan.sale_state(number) == "published":
            version = await get_version(plan, number, uow=uow)
            if offered(plan, version, now).status == "on_sale":
                return version
    return None


async def get_version(plan: Plan, number: int, *, uow: UnitOfWork) -> PlanVersion:
    """Raises: PlanVersionNotFound."""
    version = await uow.plan_versions.find(plan.id, number)
    if version is None:
        raise PlanVersionNotFound(
            "the plan has no version of this number", number=number, newest=plan.published_number
        )
    return version

"""Publishing: a draft becomes the next version of its plan, unless nothing changed since the last."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from services.catalog.domain.plan import Plan, refuse_retired
from services.catalog.domain.plan_version import PlanVersion, publish_as


@dataclass(frozen=True, slots=True)
class Published:
    """The draft is on sale from now on as `plan_version`."""

    plan: Plan
    plan_version: PlanVersion


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The draft says what `plan_version`, the newest, says already."""

    plan: Plan
    plan_version: PlanVersion


def decide_publication(plan: Plan, newest: PlanVersion | None, now: datetime) -> Published | Unchanged:
    """The next version, or the newest one when the draft says the same.

    Raises: PlanRetired.
    """
    refuse_retired(plan)
    if newest is not None and newest.content == plan.draft:
        return Unchanged(plan, newest)
    number = plan.published_number + 1
    return Published(
        replace(plan, status="published", published_number=number, version=plan.version + 1),
        publish_as(plan.id, plan.code, number, plan.draft, now),
    )

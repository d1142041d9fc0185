"""Publishing: a draft becomes the next version of its plan, unless nothing changed since the last."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.errors import InvalidInput
from services.catalog.domain.plan import Plan, refuse_retired
from services.catalog.domain.plan_version import PlanVersion, publish_as
from services.catalog.domain.sale import Validity, validity_faults


class ValidityReversed(InvalidInput):
    """Nobody could ever agree to a version that ends before it begins."""

    code = "validity_reversed"
    title = "Valid until before it is valid"


@dataclass(frozen=True, slots=True)
class Published:
    """The draft is `plan_version` from now on, which is on sale within its bounds."""

    plan: Plan
    plan_version: PlanVersion


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The draft says what `plan_version`, the newest, says already, and is to be sold within the same bounds."""

    plan: Plan
    plan_version: PlanVersion


def decide_publication(
    plan: Plan, newest: PlanVersion | None, validity: Validity, now: datetime
) -> Published | Unchanged:
    """The next version, or the newest one when the draft says the same. One that is archived is not sold again.

    Raises: PlanRetired, ValidityReversed.
    """
    refuse_retired(plan)
    if faults := list(validity_faults(validity)):
        raise ValidityReversed("the version would never be on sale", errors=faults)
    if (
        newest is not None
        and (newest.content, newest.validity) == (plan.draft, validity)
        and plan.sale_state(newest.number) != "archived"
    ):
        return Unchanged(plan, newest)
    number = plan.published_number + 1
    return Published(
        replace(plan, status="published", published_number=number, version=plan.version + 1),
        publish_as(plan.id, plan.code, number, plan.draft, validity, now),
    )

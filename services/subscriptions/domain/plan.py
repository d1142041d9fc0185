"""What can be wrong with the plan that a subscription is asked for; plans themselves belong to the catalog."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from libs.common.errors import NotFound, RuleViolation

SaleState = Literal["published", "withdrawn", "archived"]


class PlanNotFound(NotFound):
    """No such plan was published, or the news of it has not arrived here yet."""

    code = "plan_not_found"
    title = "There is no such plan"


class PlanRetired(RuleViolation):
    code = "plan_retired"
    title = "The plan is no longer sold"


class PlanVersionNotOnSale(RuleViolation):
    """Subscriptions that have the version keep it, but nobody can newly agree to it now."""

    code = "plan_version_not_on_sale"
    title = "The plan version is not on sale"


@dataclass(frozen=True, slots=True)
class PlanStanding:
    """Whether a plan version may be newly agreed to, as far as heard; the bounds are those that it was published with."""

    retired: bool = False
    state: SaleState = "published"
    valid_from: datetime | None = None
    valid_until: datetime | None = None


def refuse_unsold(standing: PlanStanding, now: datetime, *, plan: str, number: int, pointer: str) -> None:
    """`now` is the business now of whoever asks.

    Raises: PlanRetired, PlanVersionNotOnSale.
    """
    if standing.retired:
        raise PlanRetired("the plan takes no new subscriptions", pointer=pointer, plan=plan)
    status: str | None = None
    remedy = "Use another plan or another version of it."
    if standing.state != "published":
        status = standing.state
    elif standing.valid_from is not None and now < standing.valid_from:
        status = "scheduled"
        remedy = f"Agree to it from {standing.valid_from.isoformat()} on, or use another version."
    elif standing.valid_until is not None and now >= standing.valid_until:
        status = "expired"
    if status is not None:
        raise PlanVersionNotOnSale(
            f"version {number} of the plan is {status}: it takes no new subscriptions",
            pointer=pointer,
            plan=plan,
            number=number,
            status=status,
            remedy=remedy,
        )

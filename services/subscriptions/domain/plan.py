"""What can be wrong with the plan that a subscription is asked for; plans themselves belong to the catalog."""

from __future__ import annotations

from libs.common.errors import NotFound, RuleViolation


class PlanNotFound(NotFound):
    """No such plan was published, or the news of it has not arrived here yet."""

    code = "plan_not_found"
    title = "There is no such plan"


class PlanRetired(RuleViolation):
    code = "plan_retired"
    title = "The plan is no longer sold"

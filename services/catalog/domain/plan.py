"""A plan: what is offered under one code. Its draft may change, its published versions never do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from libs.common.errors import Conflict, NotFound, RuleViolation
from services.catalog.domain.plan_draft import PlanDraft

PlanStatus = Literal["draft", "published", "retired"]


class PlanNotFound(NotFound):
    """No plan of this tenant has this id."""

    code = "plan_not_found"
    title = "There is no such plan"


class PlanCodeTaken(Conflict):
    """Another plan of this tenant has the code, perhaps a retired one."""

    code = "plan_code_taken"
    title = "The plan code is taken"


class PlanRetired(Conflict):
    """A retired plan is kept for the subscriptions that run on it, and changes no more."""

    code = "plan_retired"
    title = "The plan is retired"


class PlanTermsFixed(RuleViolation):
    """Currency and billing period stay what they were when the plan was first published."""

    code = "plan_terms_fixed"
    title = "Currency and billing period are fixed"


@dataclass(frozen=True, slots=True)
class Plan:
    """`published_number` is that of its newest published version, 0 before the first."""

    id: str
    code: str
    external_id: str | None
    metadata: Mapping[str, str]
    status: PlanStatus
    draft: PlanDraft
    published_number: int
    version: int
    created_at: datetime
    retired_at: datetime | None = None


def replace_draft(plan: Plan, draft: PlanDraft) -> Plan:
    """The plan with another draft; itself when the draft is the same. What was published stays as it was.

    Raises: PlanRetired; PlanTermsFixed, since subscriptions move between the versions of a plan.
    """
    refuse_retired(plan)
    if draft == plan.draft:
        return plan
    if plan.published_number:
        for name, before, after in (
            ("currency", plan.draft.currency, draft.currency),
            ("interval", plan.draft.interval, draft.interval),
        ):
            if before != after:
                raise PlanTermsFixed(
                    f"the {name} of a plan is fixed once it has been published",
                    pointer=f"/{name}",
                    remedy="Make another plan with another code.",
                )
    return replace(plan, draft=draft, version=plan.version + 1)


def retire(plan: Plan, now: datetime) -> Plan:
    """The plan is no longer sold; subscriptions on it go on. Retiring twice is harmless."""
    if plan.status == "retired":
        return plan
    return replace(plan, status="retired", retired_at=now, version=plan.version + 1)


def refuse_retired(plan: Plan) -> None:
    """Raises: PlanRetired."""
    if plan.status == "retired":
        raise PlanRetired(
            "a retired plan cannot be changed or published",
            plan_id=plan.id,
            remedy="Make another plan with another code.",
        )

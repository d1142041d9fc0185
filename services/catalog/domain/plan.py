"""A plan: what is offered under one code. Its draft may change, its published versions never do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from libs.common.errors import Conflict, NotFound, RuleViolation
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.domain.sale import SaleState

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
    """Kind, currency and billing period stay what they were when the plan was first published."""

    code = "plan_terms_fixed"
    title = "Kind, currency and billing period are fixed"


class PlanVersionArchived(Conflict):
    """An archived version is kept for the subscriptions that run on it, and is never sold again."""

    code = "plan_version_archived"
    title = "The plan version is archived"


@dataclass(frozen=True, slots=True)
class Plan:
    """`published_number` is that of its newest published version, 0 before the first.

    `off_sale` holds the versions, by number, that somebody withdrew or archived.
    """

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
    off_sale: Mapping[int, SaleState] = field(default_factory=dict)

    def sale_state(self, number: int) -> SaleState:
        """Of the version of this number, which was published."""
        return self.off_sale.get(number, "published")


def change(plan: Plan, draft: PlanDraft, *, external_id: str | None, metadata: Mapping[str, str]) -> Plan:
    """The plan with another draft, id elsewhere or notes; itself when all is the same. What was published stays.

    Raises: PlanRetired; PlanTermsFixed, since subscriptions move between the versions of a plan.
    """
    refuse_retired(plan)
    changed = replace(plan, draft=draft, external_id=external_id, metadata=metadata)
    if changed == plan:
        return plan
    if plan.published_number:
        for name in ("kind", "currency", "interval"):
            if getattr(plan.draft, name) != getattr(draft, name):
                raise PlanTermsFixed(
                    f"the {name} of a plan is fixed once it has been published",
                    pointer=f"/{name}",
                    remedy="Make another plan with another code.",
                )
    return replace(changed, version=plan.version + 1)


def retire(plan: Plan, now: datetime) -> Plan:
    """The plan is no longer sold; subscriptions on it go on. Retiring twice is harmless."""
    if plan.status == "retired":
        return plan
    return replace(plan, status="retired", retired_at=now, version=plan.version + 1)


def change_sale(plan: Plan, number: int, state: SaleState) -> Plan:
    """Withdraw, put on sale again, or archive a published version. The same state again changes nothing.

    Raises: PlanVersionArchived, since that is for good; PlanRetired, when it is to be sold again.
    """
    now_in = plan.sale_state(number)
    if now_in == state:
        return plan
    if now_in == "archived":
        raise PlanVersionArchived(
            "an archived version stays archived",
            plan_id=plan.id,
            number=number,
            remedy="Publish its content anew: write it as the plan's draft, then publish that.",
        )
    if state == "published":
        refuse_retired(plan)
    others = {other: kept for other, kept in plan.off_sale.items() if other != number}
    off_sale = others if state == "published" else {**others, number: state}
    return replace(plan, off_sale=off_sale, version=plan.version + 1)


def refuse_retired(plan: Plan) -> None:
    """Raises: PlanRetired."""
    if plan.status == "retired":
        raise PlanRetired(
            "a retired plan cannot be changed or published",
            plan_id=plan.id,
            remedy="Make another plan with another code.",
        )

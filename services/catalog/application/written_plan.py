"""A plan as a tenant writes it: things named by their codes, and much of it left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from libs.common.periods import Interval
from services.catalog.domain.commitment import Commitment
from services.catalog.domain.dunning import AS_BY_DEFAULT as DUNNED_BY_DEFAULT
from services.catalog.domain.dunning import Dunning
from services.catalog.domain.feature_grant import FeatureGrant
from services.catalog.domain.late_usage import AS_BY_DEFAULT, LateUsage
from services.catalog.domain.phase import Phase
from services.catalog.domain.plan import Plan
from services.catalog.domain.plan_draft import PlanDraft, PlanKind
from services.catalog.domain.price import Price
from services.catalog.domain.trial import Trial


@dataclass(frozen=True, slots=True)
class WrittenPrice:
    """`terms` as far as they were written. The product is named by `product_code`, or by its id in the terms.

    What is empty there (product id, description, currency) or None (unit, tax category) was left out, hence comes
    from elsewhere; `left_empty` names those of the two that are to be none, wherever they could come from.
    """

    terms: Price
    product_code: str | None = None
    left_empty: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class WrittenGrant:
    """A feature, named by its code, and how much of it."""

    feature: str
    limit: Decimal | None = None
    allowance: Decimal | None = None
    overage_allowed: bool = False
    interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class WrittenPlan:
    """All of a plan but its code. `currency` is empty where prices tell theirs; so is that of a commitment."""

    name: str
    interval: Interval
    prices: tuple[WrittenPrice, ...]
    currency: str = ""
    description: str = ""
    kind: PlanKind = "base"
    for_plans: tuple[str, ...] = ()
    phases: tuple[Phase, ...] = ()
    trial: Trial | None = None
    commitments: tuple[Commitment, ...] = ()
    features: tuple[WrittenGrant, ...] = ()
    late_usage: LateUsage = AS_BY_DEFAULT
    dunning: Dunning = DUNNED_BY_DEFAULT
    external_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


_PLAIN_PARTS = (
    "name",
    "interval",
    "currency",
    "description",
    "kind",
    "for_plans",
    "phases",
    "trial",
    "commitments",
    "late_usage",
    "dunning",
)


def draft_of(
    written: WrittenPlan, prices: tuple[Price, ...], features: tuple[FeatureGrant, ...]
) -> PlanDraft:
    """The draft, once its prices and grants have been looked up."""
    parts = {name: getattr(written, name) for name in _PLAIN_PARTS}
    return PlanDraft(**parts, prices=prices, features=features)


def written_of(plan: Plan) -> WrittenPlan:
    """The plan as somebody would write it who wants it to stay as it is."""
    draft = plan.draft
    return WrittenPlan(
        **{name: getattr(draft, name) for name in _PLAIN_PARTS},
        prices=tuple(WrittenPrice(price) for price in draft.prices),
        features=tuple(_written_grant(grant) for grant in draft.features),
        external_id=plan.external_id,
        metadata=plan.metadata,
    )


def _written_grant(grant: FeatureGrant) -> WrittenGrant:
    return WrittenGrant(
        grant.code,
        limit=grant.limit,
        allowance=grant.allowance,
        overage_allowed=grant.overage_allowed,
        interval=grant.interval,
    )

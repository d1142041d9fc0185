"""A published version → the snapshot of it that events carry whole."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from libs.common.contracts.catalog import (
    FeatureGrantV1,
    PlanOverlayV1,
    PlanV1,
    PriceTierV1,
    PriceV1,
    TrialV1,
)
from libs.common.periods import Interval
from services.catalog.domain.feature_grant import FeatureGrant
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.domain.plan_overlay import PlanOverlay, overlaid
from services.catalog.domain.plan_version import PlanVersion
from services.catalog.domain.price import Price, price_id
from services.catalog.domain.price_tier import PriceTier
from services.catalog.domain.trial import Trial

# What has the same name and shape here and there.
_SAME_IN_PLANS = ("name", "currency", "kind", "for_plans", "phases", "commitments", "late_usage", "dunning")
_SAME_IN_PRICES = tuple(name for name in Price.__slots__ if name in PriceV1.model_fields)


def plan_snapshot(version: PlanVersion) -> PlanV1:
    """Nothing is left for a reader to look up."""
    return _snapshot(
        version, version.content, lambda price, currency: price_id(version.id, price, currency=currency)
    )


def overlay_snapshot(overlay: PlanOverlay, version: PlanVersion) -> PlanOverlayV1:
    """The plan as the customer has it, whole."""
    effective = overlaid(version.content, overlay.overrides)
    return PlanOverlayV1.model_validate(
        {
            "overlay_id": overlay.id,
            "customer_id": overlay.customer_id,
            "plan_version_id": version.id,
            "plan": _snapshot(
                version,
                effective,
                lambda price, currency: overlay.id_of(price, version.id, currency=currency),
            ),
            **({"term_unit": term.unit, "term_count": term.count} if (term := overlay.term) else {}),
        }
    )


def _snapshot(version: PlanVersion, content: PlanDraft, id_of: Callable[[Price, str], str]) -> PlanV1:
    """`id_of` takes a price and the plan's own currency."""
    return PlanV1.model_validate(
        {
            **{name: getattr(content, name) for name in _SAME_IN_PLANS},
            "plan_id": version.plan_id,
            "plan_version_id": version.id,
            "code": version.code,
            "plan_version": version.number,
            **_interval(content.interval),
            "prices": [_price_snapshot(price, id_of(price, content.currency)) for price in content.prices],
            "trial": _trial_snapshot(content.trial),
            "features": [_grant_snapshot(grant) for grant in content.features],
            "valid_from": version.validity.valid_from,
            "valid_until": version.validity.valid_until,
        },
        from_attributes=True,
    )


def _price_snapshot(price: Price, id: str) -> PriceV1:
    intervals = _interval(price.interval) | _interval(price.allowance_interval, "allowance_")
    same = {name: getattr(price, name) for name in _SAME_IN_PRICES}
    tiers = [_tier_snapshot(tier) for tier in price.tiers]
    return PriceV1.model_validate({**same, "id": id, "tiers": tiers, **intervals}, from_attributes=True)


def _tier_snapshot(tier: PriceTier) -> PriceTierV1:
    """A tier of percentages has no unit amount, and comes to nothing by units."""
    return PriceTierV1.model_validate(
        {**_fields(tier), "unit_amount": tier.unit_amount or Decimal(0)}, from_attributes=True
    )


def _trial_snapshot(trial: Trial | None) -> TrialV1 | None:
    return TrialV1.model_validate({**_fields(trial), **_interval(trial.interval)}) if trial else None


def _grant_snapshot(grant: FeatureGrant) -> FeatureGrantV1:
    return FeatureGrantV1.model_validate({**_fields(grant), **_interval(grant.interval)})


def _fields(part: PriceTier | Trial | FeatureGrant) -> dict[str, Any]:
    return {name: getattr(part, name) for name in type(part).__slots__}


def _interval(interval: Interval | None, prefix: str = "") -> dict[str, Any]:
    """As events tell it, in two fields; nothing where there is none."""
    if interval is None:
        return {}
    return {f"{prefix}interval_unit": interval.unit, f"{prefix}interval_count": interval.count}

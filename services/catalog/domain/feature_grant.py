"""A feature grant: what a plan lets a customer do, and how much of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from libs.common.errors import InputError
from libs.common.periods import Interval
from services.catalog.domain.amount import amount_faults
from services.catalog.domain.feature import Feature, FeatureKind
from services.catalog.domain.interval_nesting import length_faults

GRANTS_MAX = 200


@dataclass(frozen=True, slots=True)
class FeatureGrant:
    """A switch is on, a limit is `limit`, and of a metered feature `allowance` may be used in each interval.

    `interval` is how often the allowance begins anew (None: with each billing period); beyond it use goes on if
    `overage_allowed`. Code, kind and meter are the feature's.
    """

    feature_id: str
    code: str
    kind: FeatureKind
    limit: Decimal | None = None
    allowance: Decimal | None = None
    meter: str | None = None
    overage_allowed: bool = False
    interval: Interval | None = None


def grant_faults(
    grants: Sequence[FeatureGrant], features: Mapping[str, Feature], at: str
) -> Iterator[InputError]:
    """Everything wrong with what a plan grants, each with its place below the pointer `at` and what to do."""
    if len(grants) > GRANTS_MAX:
        yield {"pointer": at, "detail": f"a plan grants at most {GRANTS_MAX} features: grant fewer"}
    first_with: dict[str, int] = {}
    for position, grant in enumerate(grants):
        feature = features.get(grant.feature_id)
        if feature is None:
            continue  # said where it was looked for
        here = f"{at}/{position}"
        first = first_with.setdefault(feature.id, position)
        if first != position:
            detail = f"the feature at {at}/{first} is the same: leave one of the two out"
            yield {"pointer": f"{here}/feature", "detail": detail}
        if feature.archived:
            detail = f"the feature {feature.code} is archived: grant one that is still there"
            yield {"pointer": f"{here}/feature", "detail": detail}
        yield from _amount_faults(grant, here)


def _amount_faults(grant: FeatureGrant, at: str) -> Iterator[InputError]:
    for name, kind in (("limit", "limit"), ("allowance", "metered")):
        amount: Decimal | None = getattr(grant, name)
        if grant.kind == kind:
            if amount is None:
                yield {"pointer": f"{at}/{name}", "detail": f"a {kind} feature needs it: say how much"}
            else:
                yield from amount_faults(amount, f"{at}/{name}")
        elif amount is not None:
            detail = f"a {grant.kind} feature has no {name}: leave it out"
            yield {"pointer": f"{at}/{name}", "detail": detail}
    if grant.kind != "metered":
        for name, is_given in (
            ("overage_allowed", grant.overage_allowed),
            ("interval", grant.interval is not None),
        ):
            if is_given:
                detail = f"only what is metered has an allowance: leave {name} out"
                yield {"pointer": f"{at}/{name}", "detail": detail}
    if grant.interval is not None:
        yield from length_faults(grant.interval, f"{at}/interval")

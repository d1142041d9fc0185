"""What is asked of a simulation: who is compared, for what time, with which quantities and usage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from libs.common.periods import Interval
from services.billing.domain.plan_terms import PlanTerms
from services.billing.domain.simulation.settlement import SupposedCoupon, Taxes
from services.billing.domain.simulation.stored_usage import StoredUsage
from services.billing.domain.simulation.usage_given import GivenUsage


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plan version by its id, or by the plan's code and number (the newest without one); an overlay; or a draft."""

    plan: str | None = None
    number: int | None = None
    plan_version_id: str | None = None
    overlay_id: str | None = None
    draft: PlanTerms | None = None
    currency: str | None = None
    phase: str | None = None


@dataclass(frozen=True, slots=True)
class SupposedPeriod:
    """Either until `end_on`, or an `interval` long: by default the shortest of the candidates'."""

    start_on: date
    zone: str
    end_on: date | None = None
    interval: Interval | None = None
    anchor_on: date | None = None
    in_use_from: date | None = None
    in_use_until: date | None = None


@dataclass(frozen=True, slots=True)
class UsageOf:
    """A past period of a subscription: by its index, or by a local date in it."""

    subscription_id: str
    period_index: int | None = None
    on: date | None = None
    with_late: bool = False


@dataclass(frozen=True, slots=True)
class SimulatePrices:
    """One of `period` and `usage_of` is given. `taxes` are percentages by tax category, None being all others."""

    candidates: tuple[Candidate, ...]
    period: SupposedPeriod | None = None
    usage_of: UsageOf | None = None
    periods: int = 1
    currency: str | None = None
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    usage: tuple[GivenUsage, ...] = ()
    coupons: tuple[SupposedCoupon, ...] = ()
    taxes: Taxes | None = None
    with_trial: bool = False
    is_explained: bool = True


@dataclass(frozen=True, slots=True)
class Supposed:
    """The command, with everything that it names: a plan for each candidate, and the usage that is stored."""

    command: SimulatePrices
    plans: tuple[PlanTerms, ...]
    stored: StoredUsage | None

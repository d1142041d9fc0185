"""What a customer may use now: switches, limits and what is left of allowances, over all that he has agreed to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from libs.common.periods import Interval, period_at
from services.subscriptions.domain.billing_period import Calendar
from services.subscriptions.domain.lifecycle import SubscriptionState

FeatureKind = Literal["switch", "limit", "metered"]
Aggregation = Literal["count", "sum", "min", "max", "average", "latest", "unique", "time_weighted", "peak"]
NotAllowed = Literal[
    "used_up",
    "limit_is_zero",
    "paused",
    "suspended",
    "scheduled",
    "awaiting_activation",
]

GRANTING = frozenset(
    {
        SubscriptionState.TRIALING,
        SubscriptionState.ACTIVE,
        SubscriptionState.PAST_DUE,
        SubscriptionState.ENDING,
    }
)
# What is withheld for now, and may be told as the reason. Of several, the first one.
WITHHOLDING: tuple[tuple[SubscriptionState, NotAllowed], ...] = (
    (SubscriptionState.SUSPENDED, "suspended"),
    (SubscriptionState.PAUSED, "paused"),
    (SubscriptionState.AWAITING_ACTIVATION, "awaiting_activation"),
    (SubscriptionState.SCHEDULED, "scheduled"),
)
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class FeatureGrant:
    """One feature of one plan version or add-on. `interval` None: the allowance begins anew with each billing period."""

    feature_id: str
    code: str
    kind: FeatureKind
    limit: Decimal | None = None
    allowance: Decimal | None = None
    meter: str | None = None
    overage_allowed: bool = False
    interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """Half-open."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Granting:
    """A subscription that is not over, with what its plan and add-ons grant. `now` is its business now.

    `period` is the current billing period, None until it begins.
    """

    subscription_id: str
    state: SubscriptionState
    calendar: Calendar
    period: TimeSpan | None
    now: datetime
    grants: tuple[FeatureGrant, ...]

    @property
    def grants_now(self) -> bool:
        return self.state in GRANTING and self.period is not None


@dataclass(frozen=True, slots=True)
class UsageBalance:
    """What was used on a meter in one billing period, as of the instant at which metering had summed it.

    `as_of` is None where nothing was told of it before its window closed.
    """

    subscription_id: str
    meter: str
    period_start: datetime
    quantity: Decimal
    aggregation: Aggregation
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class Entitlement:
    """One feature, over all subscriptions that grant it. `reason` says why it may not be used, None where it may.

    Of what is metered, `used` and `remaining` are None where the allowance begins anew more often than usage is told
    of, once a billing period. `resets_at` is the first instant at which a part of the allowance begins anew.
    `as_of`: usage that was stored later is not counted; None while none was told.
    """

    code: str
    feature_id: str
    kind: FeatureKind
    reason: NotAllowed | None
    subscription_ids: tuple[str, ...] = ()
    limit: Decimal | None = None
    allowance: Decimal | None = None
    used: Decimal | None = None
    remaining: Decimal | None = None
    overage_allowed: bool | None = None
    resets_at: datetime | None = None
    as_of: datetime | None = None

    @property
    def allowed(self) -> bool:
        return self.reason is None


def allowance_span(grant: FeatureGrant, granting: Granting) -> TimeSpan:
    """From when until when the allowance of now holds: the billing period, or the interval counted from the anchor."""
    assert granting.period is not None
    if grant.interval is None:
        return granting.period
    calendar = granting.calendar
    found = period_at(calendar.anchor_on, grant.interval, calendar.zone, granting.now)
    return TimeSpan(found.start, found.end)


def usage_needed_from(found: Iterable[Granting]) -> Mapping[str, datetime]:
    """From when usage has to be known, by subscription: the earliest beginning of what is metered."""
    return {
        granting.subscription_id: min(spans)
        for granting in found
        if granting.grants_now
        and (spans := [allowance_span(g, granting).start for g in granting.grants if g.kind == "metered"])
    }


def entitlements_of(found: Sequence[Granting], balances: Sequence[UsageBalance]) -> list[Entitlement]:
    """All that is granted now, by code. A switch is on if anything turns it on; limits and allowances add up."""
    by_code: dict[str, list[tuple[FeatureGrant, Granting]]] = {}
    for granting in found:
        for grant in granting.grants if granting.grants_now else ():
            by_code.setdefault(grant.code, []).append((grant, granting))
    return [_entitlement(code, by_code[code], balances) for code in sorted(by_code)]


def find_withheld(code: str, found: Sequence[Granting]) -> Entitlement | None:
    """A feature that is not granted now, though a subscription would: and why not."""
    grants = {
        granting.state: grant
        for granting in found
        for grant in granting.grants
        if grant.code == code and not granting.grants_now
    }
    for state, reason in WITHHOLDING:
        if state in grants:
            return Entitlement(code, grants[state].feature_id, grants[state].kind, reason)
    return None


def _entitlement(
    code: str, granted: Sequence[tuple[FeatureGrant, Granting]], balances: Sequence[UsageBalance]
) -> Entitlement:
    first, _ = granted[0]
    ids = tuple(dict.fromkeys(granting.subscription_id for _, granting in granted))
    match first.kind:
        case "switch":
            return Entitlement(code, first.feature_id, "switch", None, ids)
        case "limit":
            limit = sum((grant.limit or ZERO for grant, _ in granted), ZERO)
            reason: NotAllowed | None = None if limit else "limit_is_zero"
            return Entitlement(code, first.feature_id, "limit", reason, ids, limit=limit)
        case "metered":
            return _metered(code, granted, balances, ids)


def _metered(
    code: str,
    granted: Sequence[tuple[FeatureGrant, Granting]],
    balances: Sequence[UsageBalance],
    ids: tuple[str, ...],
) -> Entitlement:
    """Allowances add up, and so does what was used of each: a subscription's usage counts once, over its longest span."""
    spans: dict[str, TimeSpan] = {}
    is_known = True
    for grant, granting in granted:
        span = allowance_span(grant, granting)
        known = spans.get(granting.subscription_id)
        if known is None or span.start < known.start:
            spans[granting.subscription_id] = span
        assert granting.period is not None
        is_known &= span.end >= granting.period.end or span.start <= granting.period.start
    counted = [
        balance
        for balance in balances
        if balance.meter == granted[0][0].meter
        and balance.subscription_id in spans
        and spans[balance.subscription_id].start <= balance.period_start < spans[balance.subscription_id].end
    ]
    allowance = sum((grant.allowance or ZERO for grant, _ in granted), ZERO)
    overage_allowed = any(grant.overage_allowed for grant, _ in granted)
    used = _total(counted) if is_known else None
    remaining = None if used is None else max(allowance - used, ZERO)
    is_used_up = remaining is not None and not remaining and not overage_allowed
    return Entitlement(
        code,
        granted[0][0].feature_id,
        "metered",
        "used_up" if is_used_up else None,
        ids,
        allowance=allowance,
        used=used,
        remaining=remaining,
        overage_allowed=overage_allowed,
        resets_at=min(allowance_span(grant, granting).end for grant, granting in granted),
        as_of=max((b.as_of for b in counted if b.as_of is not None), default=None),
    )


def _total(balances: Sequence[UsageBalance]) -> Decimal:
    """All of a meter, hence of one aggregation."""
    if not balances:
        return ZERO
    in_order = sorted(
        balances, key=lambda balance: (balance.period_start, balance.as_of or balance.period_start)
    )
    return together(in_order[-1].aggregation, [balance.quantity for balance in in_order])


def together(aggregation: Aggregation, quantities: Sequence[Decimal]) -> Decimal:
    """What several parts of usage on one meter come to, of periods, prices or items, in the order of their times.

    What adds up is added up, the different things of each part too. Of peaks and greatest values it is the greatest, of
    least values the least. Of a level that is read it is the last one, and so it is of averages: what the parts weigh
    is not told.
    """
    match aggregation:
        case "max" | "peak":
            return max(quantities, default=ZERO)
        case "min":
            return min(quantities, default=ZERO)
        case "latest" | "average":
            return quantities[-1] if quantities else ZERO
        case "count" | "sum" | "unique" | "time_weighted":
            return sum(quantities, ZERO)

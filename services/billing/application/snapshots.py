"""Contract snapshot ↔ domain object: what other services told, and how that is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from libs.common.contracts.catalog import CommitmentV1, PlanOverlayV1, PlanV1, PriceV1, Snapshot
from libs.common.contracts.metering import TrueUpV1, UsageTotalV1, UsageWindowSealedV1
from libs.common.contracts.subscriptions import (
    BillingPeriodV1,
    CustomerV1,
    FeeV1,
    PeriodTermsV1,
    SubscriptionItemV1,
    SubscriptionV1,
    TermSegmentV1,
)
from libs.common.periods import Interval
from services.billing.domain.agreement import (
    Address,
    Agreement,
    BilledItem,
    BilledPeriod,
    Bounds,
    CustomerDetails,
)
from services.billing.domain.charge import ItemUsage, TrueUp
from services.billing.domain.dunning_terms import DunningTerms
from services.billing.domain.plan_terms import Phase, PlanTerms, Trial
from services.billing.domain.proration import ProrationOptions
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.rating.price import MatrixCell, Price, PriceTier, Rollover
from services.billing.domain.terms import Fee, PeriodTerms, TermSegment
from services.billing.domain.window_digest import UsageDigest, WindowDigest

PRICES_KEPT = 4_096


@lru_cache(maxsize=PRICES_KEPT)
def price_from(snapshot: PriceV1) -> Price:
    """A price never changes, so that the same one is made once."""
    terms = {name: getattr(snapshot, name) for name in Price.__slots__}
    terms["tiers"] = tuple(PriceTier(**_fields(tier)) for tier in snapshot.tiers)
    terms["cells"] = tuple(MatrixCell(**_fields(cell)) for cell in snapshot.cells)
    terms["rollover"] = Rollover(**_fields(snapshot.rollover)) if snapshot.rollover else None
    return Price(**terms)


@lru_cache(maxsize=PRICES_KEPT)
def price_snapshot(price: Price) -> PriceV1:
    return PriceV1.model_validate(price, from_attributes=True)


def _fields(part: Snapshot) -> dict[str, Any]:
    return {name: getattr(part, name) for name in type(part).model_fields}


def plan_from(snapshot: PlanV1) -> PlanTerms:
    trial = snapshot.trial
    return PlanTerms(
        code=snapshot.code,
        name=snapshot.name,
        currency=snapshot.currency,
        interval=Interval(snapshot.interval_unit, snapshot.interval_count),
        prices=tuple(price_from(price) for price in snapshot.prices),
        phases=tuple(Phase(**_fields(phase)) for phase in snapshot.phases),
        trial=None
        if trial is None
        else Trial(Interval(trial.interval_unit, trial.interval_count), trial.amount),
        commitments=_commitments_from(snapshot.commitments),
        plan_id=snapshot.plan_id,
        plan_version_id=snapshot.plan_version_id,
        number=snapshot.plan_version,
    )


def overlay_from(snapshot: PlanOverlayV1) -> PlanTerms:
    """The plan as the customer has it."""
    term = None if snapshot.term_unit is None else Interval(snapshot.term_unit, snapshot.term_count)
    return replace(
        plan_from(snapshot.plan), overlay_id=snapshot.overlay_id, customer_id=snapshot.customer_id, term=term
    )


def customer_from(snapshot: CustomerV1, *, clock_id: str | None = None) -> CustomerDetails:
    return CustomerDetails(
        id=snapshot.customer_id,
        version=snapshot.customer_version,
        name=snapshot.name,
        email=snapshot.email,
        external_id=snapshot.external_id,
        country=snapshot.country,
        legal_name=snapshot.legal_name,
        vat_id=snapshot.vat_id,
        address=None if snapshot.address is None else Address(**_fields(snapshot.address)),
        payment_terms_days=snapshot.payment_terms_days,
        is_erased=snapshot.is_erased,
        clock_id=clock_id,
        zone=snapshot.zone,
        locale=snapshot.locale,
    )


def agreement_from(snapshot: SubscriptionV1, *, version: int, clock_id: str | None) -> Agreement:
    return Agreement(
        id=snapshot.subscription_id,
        version=version,
        customer=customer_from(snapshot.customer, clock_id=clock_id),
        payer=None if snapshot.payer is None else customer_from(snapshot.payer, clock_id=clock_id),
        currency=snapshot.currency,
        zone=snapshot.zone,
        items=tuple(_item_from(item) for item in snapshot.items),
        ends_at=snapshot.ends_at,
        clock_id=clock_id,
        anchor_on=snapshot.anchor_on,
        interval=Interval(snapshot.interval_unit, snapshot.interval_count),
        billed_until=snapshot.billed_until,
        proration=ProrationOptions(**_fields(snapshot.proration)),
        commitments=_commitments_from(snapshot.commitments),
        plan_code=snapshot.plan_code,
        dunning=DunningTerms(**_fields(snapshot.dunning)),
    )


def _commitments_from(snapshots: Iterable[CommitmentV1]) -> tuple[Commitment, ...]:
    return tuple(Commitment(**_fields(commitment)) for commitment in snapshots)


def _item_from(item: SubscriptionItemV1) -> BilledItem:
    return BilledItem(id=item.item_id, price=price_from(item.price), quantity=item.quantity)


def period_from(snapshot: BillingPeriodV1) -> BilledPeriod:
    return BilledPeriod(
        index=snapshot.index,
        start_on=snapshot.start_on,
        end_on=snapshot.end_on,
        start=snapshot.start,
        end=snapshot.end,
        kind=snapshot.kind,
        full=_bounds_from(
            snapshot.full_start_on, snapshot.full_end_on, snapshot.full_start, snapshot.full_end
        ),
    )


def _bounds_from(
    start_on: date | None, end_on: date | None, start: datetime | None, end: datetime | None
) -> Bounds | None:
    if start_on is None or end_on is None or start is None or end is None:
        return None
    return Bounds(start_on, end_on, start, end)


def terms_from(snapshot: PeriodTermsV1, *, subscription_id: str, version: int) -> PeriodTerms:
    return PeriodTerms(
        subscription_id=subscription_id,
        version=version,
        period=period_from(snapshot.period),
        segments=tuple(_segment_from(segment) for segment in snapshot.segments),
        is_over=snapshot.is_over,
        commitments=_commitments_from(snapshot.commitments),
    )


def _segment_from(snapshot: TermSegmentV1) -> TermSegment:
    return TermSegment(
        item_id=snapshot.item_id,
        price=price_from(snapshot.price),
        quantity=snapshot.quantity,
        start_on=snapshot.start_on,
        end_on=snapshot.end_on,
        start=snapshot.start,
        end=snapshot.end,
        start_proration=snapshot.start_proration,
        end_proration=snapshot.end_proration,
        whole=_bounds_from(
            snapshot.whole_start_on, snapshot.whole_end_on, snapshot.whole_start, snapshot.whole_end
        ),
    )


def terms_snapshot(terms: PeriodTerms) -> PeriodTermsV1:
    """As the event told them: how they are kept."""
    return PeriodTermsV1(
        period=_period_snapshot(terms.period),
        segments=tuple(_segment_snapshot(segment) for segment in terms.segments),
        is_over=terms.is_over,
        commitments=tuple(commitment_snapshot(commitment) for commitment in terms.commitments),
    )


def commitment_snapshot(commitment: Commitment) -> CommitmentV1:
    return CommitmentV1.model_validate(commitment, from_attributes=True)


def _period_snapshot(period: BilledPeriod) -> BillingPeriodV1:
    return BillingPeriodV1(
        index=period.index,
        start_on=period.start_on,
        end_on=period.end_on,
        start=period.start,
        end=period.end,
        kind=period.kind,
        **_named("full", period.full),
    )


def _segment_snapshot(segment: TermSegment) -> TermSegmentV1:
    return TermSegmentV1(
        item_id=segment.item_id,
        price=price_snapshot(segment.price),
        quantity=segment.quantity,
        start_on=segment.start_on,
        end_on=segment.end_on,
        start=segment.start,
        end=segment.end,
        start_proration=segment.start_proration,
        end_proration=segment.end_proration,
        **_named("whole", segment.whole),
    )


def _named(prefix: str, bounds: Bounds | None) -> dict[str, Any]:
    if bounds is None:
        return {}
    return {f"{prefix}_{name}": getattr(bounds, name) for name in Bounds.__slots__}


def fee_from(snapshot: FeeV1) -> Fee:
    return Fee(
        id=snapshot.fee_id,
        kind=snapshot.kind,
        description=snapshot.description,
        amount=snapshot.amount,
        service_start_on=snapshot.service_start_on,
        service_end_on=snapshot.service_end_on,
        tax_category=snapshot.tax_category,
    )


def item_usage_from(total: UsageTotalV1) -> ItemUsage:
    return ItemUsage(
        item_id=total.item_id,
        meter=total.meter,
        quantity=total.quantity,
        event_count=total.event_count,
        price_id=total.price_id,
        estimated_quantity=total.estimated_quantity,
        true_ups=tuple(TrueUp(**_fields(true_up)) for true_up in total.true_ups),
    )


def item_usage_snapshot(usage: ItemUsage) -> UsageTotalV1:
    return UsageTotalV1(
        item_id=usage.item_id,
        meter=usage.meter,
        quantity=usage.quantity,
        event_count=usage.event_count,
        price_id=usage.price_id,
        estimated_quantity=usage.estimated_quantity,
        true_ups=tuple(TrueUpV1.model_validate(true_up, from_attributes=True) for true_up in usage.true_ups),
    )


def window_digest_from(event: UsageWindowSealedV1) -> WindowDigest:
    return WindowDigest(
        window_id=event.window_id,
        subscription_id=event.subscription_id,
        period_index=event.period_index,
        revision=event.revision,
        seal=event.seal,
        sealed_at=event.occurred_at,
        digests=tuple(
            UsageDigest(
                item_id=digest.item_id,
                price_id=digest.price_id,
                meter=digest.meter,
                quantity=digest.quantity,
                event_count=digest.event_count,
                leaf_count=digest.leaf_count,
                root=digest.root,
                algorithm=digest.algorithm,
            )
            for digest in event.digests
        ),
    )

"""What subscriptions says: customers, agreements and their periods, subject bindings, test clocks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import ClassVar, Literal

from pydantic import AwareDatetime

from libs.common.contracts.catalog import CommitmentV1, DunningV1, LateUsageV1, PriceV1, Snapshot
from libs.common.contracts.envelope import Event

ProrationMethod = Literal["none", "day", "second", "full"]
SubscriptionStateV1 = Literal[
    "scheduled",
    "trialing",
    "awaiting_activation",
    "active",
    "paused",
    "past_due",
    "suspended",
    "ending",
    "ended",
    "canceled",
]


class AddressV1(Snapshot):
    line1: str | None = None
    line2: str | None = None
    postal_code: str | None = None
    city: str | None = None
    region: str | None = None
    country: str | None = None


class CustomerV1(Snapshot):
    """A customer as known when the event was made; the highest `customer_version` wins.

    `parent_id` is who pays for it, if somebody else does. `is_erased`: what identified a person is gone from here on;
    documents that were issued keep what the law makes them keep.
    """

    customer_id: str
    customer_version: int
    name: str
    email: str | None = None
    external_id: str | None = None
    country: str | None = None
    legal_name: str | None = None
    address: AddressV1 | None = None
    vat_id: str | None = None
    locale: str | None = None
    currency: str | None = None
    zone: str | None = None
    parent_id: str | None = None
    payment_terms_days: int | None = None
    is_erased: bool = False


class BillingPeriodV1(Snapshot):
    """A billing period, numbered on from 0 without a gap: local dates, and the UTC instants they stand for.

    `full_*` are the bounds as counted from the anchor where the period is only a part of that (a first part before the
    anchor's day, a period cut by a change): what a part is prorated against. None where the period is whole.
    """

    index: int
    start_on: date
    end_on: date
    start: AwareDatetime
    end: AwareDatetime
    kind: Literal["regular", "trial"] = "regular"
    full_start_on: date | None = None
    full_end_on: date | None = None
    full_start: AwareDatetime | None = None
    full_end: AwareDatetime | None = None


class SubscriptionItemV1(Snapshot):
    """One priced part of a subscription, with its quantity (None where usage is metered)."""

    item_id: str
    price: PriceV1
    quantity: Decimal | None = None


class TermSegmentV1(Snapshot):
    """From `start` until `end`, inside one billing period, `item_id` was agreed on at this price and quantity.

    `start_proration` and `end_proration` are the methods of the changes that began and ended it: None where the price's
    own method holds (which is also so at the edges of the period and of the agreement). `whole_*` are the bounds of the
    whole billing period that this is a part of, where that is not the period that it stands in (a first part that was
    merged into the period after it).
    """

    item_id: str
    price: PriceV1
    quantity: Decimal | None = None
    start_on: date
    end_on: date
    start: AwareDatetime
    end: AwareDatetime
    start_proration: ProrationMethod | None = None
    end_proration: ProrationMethod | None = None
    whole_start_on: date | None = None
    whole_end_on: date | None = None
    whole_start: AwareDatetime | None = None
    whole_end: AwareDatetime | None = None


class PeriodTermsV1(Snapshot):
    """All that is agreed on for one billing period, as far as known: of one period, the highest event version wins.

    A period that no terms were told of has the agreement's items from end to end. `is_over`: nothing of the period lies
    ahead. Segments of one item do not overlap; where there is none (a pause), nothing is agreed on.
    `commitments` are the plan's; they hold for the part of the period in which something is agreed on.
    """

    period: BillingPeriodV1
    segments: tuple[TermSegmentV1, ...]
    is_over: bool = False
    commitments: tuple[CommitmentV1, ...] = ()


class FeeV1(Snapshot):
    """An amount that a change of the agreement costs once: `amount` in major units of the agreement's currency."""

    fee_id: str
    kind: Literal["early_termination", "pause", "trial", "withdrawal_value", "other"]
    description: str
    amount: Decimal
    service_start_on: date
    service_end_on: date
    tax_category: str | None = None


class ProrationOptionsV1(Snapshot):
    """How parts of a period are counted for this agreement.

    `day_count`: `actual` days over the days of the period, or `thirty_day_months` (every month counts for 30 days).
    `change_day`: on whose side the day of a change is, the `new` state's or the `old` one's.
    `end_day`: whether the day on which the agreement ends is still in use.
    `stub`: a first part is measured against the period counted from the anchor (`anchored`), or against the one that
    ends where it does and begins on the unclamped previous date (`unclamped`).
    `credits_to`: a credit stands on the next invoice, or goes to the customer's `balance`.
    """

    day_count: Literal["actual", "thirty_day_months"] = "actual"
    change_day: Literal["new", "old"] = "new"
    end_day: Literal["unused", "used"] = "unused"
    stub: Literal["anchored", "unclamped"] = "anchored"
    credits_to: Literal["next_invoice", "balance"] = "next_invoice"


class SubscriptionV1(Snapshot):
    """A whole agreement, so that a reader needs no earlier event to act on a later one.

    `customer` uses; `payer` pays, where that is somebody else. `billed_until`: what lies before was billed elsewhere.
    `items` are those agreed on now. `commitments` are the plan's.
    """

    subscription_id: str
    customer: CustomerV1
    plan_version_id: str
    plan_name: str
    currency: str
    zone: str
    anchor_on: date
    interval_unit: Literal["day", "week", "month", "year"]
    interval_count: int
    items: tuple[SubscriptionItemV1, ...]
    starts_at: AwareDatetime
    ends_at: AwareDatetime | None = None
    external_id: str | None = None
    plan_code: str = ""
    state: SubscriptionStateV1 = "active"
    payer: CustomerV1 | None = None
    commitments: tuple[CommitmentV1, ...] = ()
    billed_until: AwareDatetime | None = None
    proration: ProrationOptionsV1 = ProrationOptionsV1()
    late_usage: LateUsageV1 = LateUsageV1()
    dunning: DunningV1 = DunningV1()


class CustomerChangedV1(Event):
    TYPE: ClassVar[str] = "perennial.subscriptions.customer.changed.v1"
    customer: CustomerV1


class AgreementEvent(Event):
    """What every event says that tells of a whole agreement.

    `terms` are those of each period that is billed or billed again because of this event, as they stand now: the one
    that ended, the one that begins, and any earlier one that a change with effect in the past has touched. A period that
    is not named is as it was told before; one that never was has the items of `subscription` from end to end.
    `fees` are charged on the next document.
    """

    TYPE: ClassVar[str] = ""
    subscription: SubscriptionV1
    terms: tuple[PeriodTermsV1, ...] = ()
    fees: tuple[FeeV1, ...] = ()


class SubscriptionScheduledV1(AgreementEvent):
    """Agreed on, to begin later: on a date, or when it is activated."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.scheduled.v1"


class SubscriptionStartedV1(AgreementEvent):
    """The first period begins; `period.kind` says whether it is a trial."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.started.v1"
    period: BillingPeriodV1


class SubscriptionRenewedV1(AgreementEvent):
    """`ended` is over and `period` begins, at the same instant: on time, or because a change cut `ended`."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.renewed.v1"
    ended: BillingPeriodV1
    period: BillingPeriodV1


class SubscriptionChangedV1(AgreementEvent):
    """Something about an agreement changed that begins no period: items, quantities, zone, its end, who pays.

    Where `settles_at` is given, what the change costs or gives back stands on a document of its own, of that instant;
    otherwise on that of the next boundary.
    """

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.changed.v1"
    settles_at: AwareDatetime | None = None


class SubscriptionPausedV1(SubscriptionChangedV1):
    """Nothing is agreed on, or charged but for the fee of the pause, until it resumes."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.paused.v1"
    resumes_at: AwareDatetime | None = None


class SubscriptionResumedV1(SubscriptionChangedV1):
    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.resumed.v1"


class SubscriptionTrialEndingV1(Event):
    """The trial ends at `ends_at`: a reminder."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.trial_ending.v1"
    subscription_id: str
    customer_id: str
    ends_at: AwareDatetime
    has_payment_method: bool


class SubscriptionRenewalUpcomingV1(Event):
    """The term is renewed, or ends, at `term_ends_at`: a reminder `days_before`."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.renewal_upcoming.v1"
    subscription_id: str
    customer_id: str
    term_ends_at: AwareDatetime
    days_before: int
    on_term_end: str


class SubscriptionReceiptIssuedV1(Event):
    """A consumer's cancellation or withdrawal was received, at `occurred_at`."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.receipt_issued.v1"
    receipt_id: str
    subscription_id: str
    customer_id: str
    kind: Literal["cancellation", "withdrawal"]
    ends_at: AwareDatetime | None = None


class SubscriptionPastDueV1(Event):
    """An invoice of the subscription was not paid when it should have been."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.past_due.v1"
    subscription_id: str
    invoice_id: str


class SubscriptionSuspendedV1(Event):
    """An invoice was still not paid by its day: entitlements are withdrawn, while usage and billing go on."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.suspended.v1"
    subscription_id: str
    invoice_id: str


class SubscriptionRecoveredV1(Event):
    """All that was overdue is paid."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.recovered.v1"
    subscription_id: str


class SubscriptionEndedV1(AgreementEvent):
    """The agreement is over; `ended` is its last period, cut at `ended_at`. `ended` is None if it never began."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.ended.v1"
    ended: BillingPeriodV1 | None
    ended_at: AwareDatetime
    reason: Literal["term_end", "canceled", "withdrawn", "trial_without_payment_method", "not_paid"]


# All that tell of a whole agreement, by type.
AGREEMENT_EVENTS: Mapping[str, type[AgreementEvent]] = {
    contract.TYPE: contract
    for contract in (
        SubscriptionScheduledV1,
        SubscriptionStartedV1,
        SubscriptionRenewedV1,
        SubscriptionChangedV1,
        SubscriptionPausedV1,
        SubscriptionResumedV1,
        SubscriptionEndedV1,
    )
}


class SubjectBindingV1(Snapshot):
    """From `bound_from` until `bound_until` (None: open), usage of `subject` on `meter` counts for the item.

    `asset_id` is the thing that the subject is, or is built into, where the business keeps account of it.
    """

    binding_id: str
    subject: str
    meter: str
    subscription_id: str
    item_id: str
    bound_from: AwareDatetime
    bound_until: AwareDatetime | None = None
    asset_id: str | None = None


class SubjectBoundV1(Event):
    TYPE: ClassVar[str] = "perennial.subscriptions.subject.bound.v1"
    binding: SubjectBindingV1


class SubjectReleasedV1(Event):
    TYPE: ClassVar[str] = "perennial.subscriptions.subject.released.v1"
    binding: SubjectBindingV1


class TestClockMovedV1(Event):
    """A sandbox clock shows `now`. It never goes back."""

    __test__ = False
    TYPE: ClassVar[str] = "perennial.subscriptions.test_clock.moved.v1"
    clock_id: str
    now: AwareDatetime

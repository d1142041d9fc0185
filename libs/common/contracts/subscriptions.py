"""What subscriptions says: customers, agreements and their periods, subject bindings, test clocks."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import ClassVar, Literal

from pydantic import AwareDatetime

from libs.common.contracts.catalog import PriceV1, Snapshot
from libs.common.contracts.envelope import Event


class CustomerV1(Snapshot):
    """A customer as known when the event was made; the highest `customer_version` wins."""

    customer_id: str
    customer_version: int
    name: str
    email: str | None = None
    external_id: str | None = None
    country: str | None = None


class BillingPeriodV1(Snapshot):
    """The n-th period counted from the anchor: local dates, and the UTC instants they stand for."""

    index: int
    start_on: date
    end_on: date
    start: AwareDatetime
    end: AwareDatetime


class SubscriptionItemV1(Snapshot):
    """One priced part of a subscription, with its quantity (None where usage is metered)."""

    item_id: str
    price: PriceV1
    quantity: Decimal | None = None


class SubscriptionV1(Snapshot):
    """A whole agreement, so that a reader needs no earlier event to act on a later one."""

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


class CustomerChangedV1(Event):
    TYPE: ClassVar[str] = "perennial.subscriptions.customer.changed.v1"
    customer: CustomerV1


class SubscriptionStartedV1(Event):
    """The first period begins."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.started.v1"
    subscription: SubscriptionV1
    period: BillingPeriodV1


class SubscriptionRenewedV1(Event):
    """`ended` is over and `period` begins, at the same instant."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.renewed.v1"
    subscription: SubscriptionV1
    ended: BillingPeriodV1
    period: BillingPeriodV1


class SubscriptionChangedV1(Event):
    """Something about a running agreement changed that moves no period (its end was set or withdrawn)."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.changed.v1"
    subscription: SubscriptionV1


class SubscriptionPastDueV1(Event):
    """An invoice of the subscription was not paid when it should have been."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.past_due.v1"
    subscription_id: str
    invoice_id: str


class SubscriptionRecoveredV1(Event):
    """All that was overdue is paid."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.recovered.v1"
    subscription_id: str


class SubscriptionEndedV1(Event):
    """The agreement is over; `ended` is its last period, cut at `ended_at`. `ended` is None if it never began."""

    TYPE: ClassVar[str] = "perennial.subscriptions.subscription.ended.v1"
    subscription: SubscriptionV1
    ended: BillingPeriodV1 | None
    ended_at: AwareDatetime
    reason: Literal["term_end", "canceled"]


class SubjectBindingV1(Snapshot):
    """From `bound_from` until `bound_until` (None: open), usage of `subject` on `meter` counts for the item."""

    binding_id: str
    subject: str
    meter: str
    subscription_id: str
    item_id: str
    bound_from: AwareDatetime
    bound_until: AwareDatetime | None = None


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

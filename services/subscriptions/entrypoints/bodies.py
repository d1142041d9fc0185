"""Requests and answers about customers and subscriptions."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from libs.common.periods import IntervalUnit
from libs.common.web.bodies import (
    BusinessDate,
    Code,
    Currency,
    ExternalId,
    Flag,
    Instant,
    Metadata,
    Name,
    Quantity,
    StrictBody,
    Zone,
    identifier,
)
from services.subscriptions.application.cancel_subscription import CancelSubscription
from services.subscriptions.application.create_customer import CreateCustomer
from services.subscriptions.application.start_subscription import StartSubscription
from services.subscriptions.domain.billing_period import BillingPeriod
from services.subscriptions.domain.customer import Customer
from services.subscriptions.domain.subscription import RUNNING, EndReason, Subscription, SubscriptionState
from services.subscriptions.domain.subscription_item import PriceKind, SubscriptionItem

QUANTITIES_MAX = 100


@lru_cache(maxsize=1)
def known_countries() -> frozenset[str]:
    """ISO 3166-1, as the pinned tzdata lists it."""
    listed = files("tzdata.zoneinfo").joinpath("iso3166.tab").read_text(encoding="utf-8")
    return frozenset(line.split("\t")[0] for line in listed.splitlines() if line and line[0] != "#")


def _known_country(value: str) -> str:
    if value not in known_countries():
        raise ValueError('must be a country of ISO 3166-1, such as "CH"')
    return value


CustomerId = Annotated[str, identifier("cus"), Field(examples=["cus_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
SubscriptionId = Annotated[str, identifier("sub"), Field(examples=["sub_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
ItemId = Annotated[str, identifier("si"), Field(examples=["si_4c0r1n8k2d5s7t9wx01jz3v6m1"])]
PlanVersionId = Annotated[str, identifier("plv"), Field(examples=["plv_4c0r1n8k2d5s7t9wx01jz3v6m1"])]
TestClockId = Annotated[str, identifier("clk"), Field(examples=["clk_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
Email = Annotated[
    str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254, examples=["accounts@delta.example"])
]
Country = Annotated[
    str, Field(pattern=r"^[A-Z]{2}$", max_length=2, examples=["US"]), AfterValidator(_known_country)
]


class CustomerCreateBody(StrictBody):
    """Who agrees and pays. `zone` is the default of new subscriptions."""

    name: Name = Field(examples=["Delta Air Lines"])
    email: Email | None = None
    external_id: ExternalId | None = None
    country: Country | None = None
    currency: Currency | None = None
    zone: Zone | None = None
    metadata: Metadata = Field(default_factory=dict)

    def to_command(self) -> CreateCustomer:
        return CreateCustomer(**{name: getattr(self, name) for name in type(self).model_fields})


class CustomerChangeBody(StrictBody):
    """What is left out stays as it is. All but `name` and `metadata` are taken away by null."""

    name: Name | SkipJsonSchema[None] = None
    email: Email | None = None
    external_id: ExternalId | None = None
    country: Country | None = None
    currency: Currency | None = None
    zone: Zone | None = None
    metadata: Metadata | SkipJsonSchema[None] = None

    @field_validator("name", "metadata", mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("must not be null: leave it out to keep it as it is")
        return value

    def changes(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set}


class CustomerBody(StrictBody):
    id: str
    name: str
    email: str | None
    external_id: str | None
    country: str | None
    currency: str | None
    zone: str | None
    metadata: dict[str, str]
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, customer: Customer) -> Self:
        return cls(
            id=customer.id,
            name=customer.name,
            email=customer.email,
            external_id=customer.external_id,
            country=customer.country,
            currency=customer.currency,
            zone=customer.zone,
            metadata=dict(customer.metadata or {}),
            version=customer.version,
            created_at=customer.created_at,
        )


class SubscriptionCreateBody(StrictBody):
    """An agreement on the newest version of a plan that is on sale, or on `plan_version_id`.

    `starts_on` is today unless given, and may lie in the past; `ends_on` is the first day after the term. Both
    are days in `zone`, which is the customer's unless given. `quantities` are those of recurring prices, by the
    price's code; what is left out has one.
    """

    customer_id: CustomerId
    plan: Code | None = Field(default=None, examples=["flying-minutes"])
    plan_version_id: PlanVersionId | None = None
    quantities: dict[Code, Quantity] = Field(
        default_factory=dict, max_length=QUANTITIES_MAX, examples=[{"aircraft": "629"}]
    )
    starts_on: BusinessDate | None = None
    ends_on: BusinessDate | None = None
    zone: Zone | None = None
    test_clock_id: TestClockId | None = None
    external_id: ExternalId | None = None

    @model_validator(mode="after")
    def _one_plan(self) -> Self:
        if (self.plan is None) == (self.plan_version_id is None):
            raise ValueError("needs either plan or plan_version_id")
        return self

    def to_command(self) -> StartSubscription:
        return StartSubscription(
            customer_id=self.customer_id,
            plan_code=self.plan,
            plan_version_id=self.plan_version_id,
            quantities=self.quantities,
            starts_on=self.starts_on,
            ends_on=self.ends_on,
            zone=self.zone,
            test_clock_id=self.test_clock_id,
            external_id=self.external_id,
        )


class IntervalBody(StrictBody):
    unit: IntervalUnit
    count: int


class BillingPeriodBody(StrictBody):
    """Half-open: `end` and `end_on` belong to the next period."""

    index: int
    start: Instant
    end: Instant
    start_on: BusinessDate
    end_on: BusinessDate

    @classmethod
    def from_domain(cls, period: BillingPeriod) -> Self:
        return cls(
            index=period.index,
            start=period.start,
            end=period.end,
            start_on=period.start_on,
            end_on=period.end_on,
        )


class SubscriptionItemBody(StrictBody):
    """One priced part. `quantity` is null where usage is metered."""

    id: str
    price: str
    price_id: str
    kind: PriceKind
    meter: str | None
    quantity: Quantity | None

    @classmethod
    def from_domain(cls, item: SubscriptionItem) -> Self:
        return cls(
            id=item.id,
            price=item.price_code,
            price_id=item.price_id,
            kind=item.kind,
            meter=item.meter,
            quantity=item.quantity,
        )


class SubscriptionBody(StrictBody):
    """`ends_at` is when it ends as far as is known; `cancels_at` says that it was canceled for then."""

    id: str
    status: SubscriptionState
    customer_id: str
    plan: str
    plan_name: str
    plan_version_id: str
    currency: str
    zone: str
    interval: IntervalBody
    items: list[SubscriptionItemBody]
    starts_on: BusinessDate
    starts_at: Instant
    ends_at: Instant | None
    cancels_at: Instant | None
    ended_at: Instant | None
    end_reason: EndReason | None
    current_period: BillingPeriodBody | None
    next_renewal_at: Instant | None
    test_clock_id: str | None
    external_id: str | None
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, subscription: Subscription) -> Self:
        period = subscription.period if subscription.state in RUNNING else None
        return cls(
            id=subscription.id,
            status=subscription.state,
            customer_id=subscription.customer_id,
            plan=subscription.plan_code,
            plan_name=subscription.plan_name,
            plan_version_id=subscription.plan_version_id,
            currency=subscription.currency,
            zone=subscription.calendar.zone,
            interval=IntervalBody(
                unit=subscription.calendar.interval.unit, count=subscription.calendar.interval.count
            ),
            items=[SubscriptionItemBody.from_domain(item) for item in subscription.items],
            starts_on=subscription.calendar.anchor_on,
            starts_at=subscription.starts_at,
            ends_at=subscription.ends_at,
            cancels_at=subscription.cancels_at,
            ended_at=subscription.ended_at,
            end_reason=subscription.end_reason,
            current_period=BillingPeriodBody.from_domain(period) if period else None,
            next_renewal_at=subscription.renews_at,
            test_clock_id=subscription.test_clock_id,
            external_id=subscription.external_id,
            version=subscription.version,
            created_at=subscription.created_at,
        )


class CancellationBody(StrictBody):
    """Either `at`, an instant to come, or `at_period_end`: true for the end of the current period, false for now."""

    at_period_end: Flag | None = Field(default=None, examples=[True])
    at: Instant | None = Field(default=None, examples=[None])

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if (self.at_period_end is None) == (self.at is None):
            raise ValueError("needs either at_period_end or at")
        return self

    def to_command(self, subscription_id: str) -> CancelSubscription:
        return CancelSubscription(
            subscription_id=subscription_id, at_period_end=bool(self.at_period_end), at=self.at
        )

"""Requests and answers about subscriptions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from libs.common.periods import IntervalUnit, local_date
from libs.common.web.bodies import (
    BusinessDate,
    Code,
    Currency,
    Description,
    ExternalId,
    Flag,
    Instant,
    Quantity,
    StrictBody,
    Zone,
    identifier,
)
from services.subscriptions.application.cancel_subscription import CancelSubscription
from services.subscriptions.application.start_subscription import BillingStart, StartSubscription
from services.subscriptions.domain.billing_period import BillingPeriod
from services.subscriptions.domain.subscription import (
    DEFAULT_PRORATION,
    RUNNING,
    Credit,
    EndReason,
    ProrationOptions,
    Subscription,
    SubscriptionState,
)
from services.subscriptions.domain.subscription_item import PriceKind, SubscriptionItem
from services.subscriptions.entrypoints.customer_bodies import CustomerId
from services.subscriptions.entrypoints.term_bodies import AgreedTermBody, LengthBody, QuoteId, TermBody

QUANTITIES_MAX = 100
ADD_ONS_MAX = 20


SubscriptionId = Annotated[str, identifier("sub"), Field(examples=["sub_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
ItemId = Annotated[str, identifier("si"), Field(examples=["si_4c0r1n8k2d5s7t9wx01jz3v6m1"])]
PlanVersionId = Annotated[str, identifier("plv"), Field(examples=["plv_4c0r1n8k2d5s7t9wx01jz3v6m1"])]
OverlayId = Annotated[str, Field(max_length=64, examples=["plo_4c0r1n8k2d5s7t9wx01jz3v6m1"])]
TestClockId = Annotated[str, identifier("clk"), Field(examples=["clk_01jz3v6m1qk0c8n4r2d5s7t9wx"])]


class AddOnBody(StrictBody):
    """An add-on by its code, in its newest version on sale."""

    plan: Code = Field(examples=["furniture-swap"])
    quantities: dict[Code, Quantity] = Field(default_factory=dict, max_length=QUANTITIES_MAX)


class ProrationBody(StrictBody):
    """How parts of a period are counted.

    `day_count`: the actual days, or 30 for every month. `change_day`: whether the day of a change belongs to what
    comes after it (`new`) or before it (`old`). `end_day`: whether the day of the end is in use. `stub`: a first part is
    measured against the period counted from the anchor, or against the one from the unclamped date before.
    `credits_to`: credits stand on the next invoice, or go to the customer's balance.
    """

    day_count: Literal["actual", "thirty_day_months"] = "actual"
    change_day: Literal["new", "old"] = "new"
    end_day: Literal["unused", "used"] = "unused"
    stub: Literal["anchored", "unclamped"] = "anchored"
    credits_to: Literal["next_invoice", "balance"] = "next_invoice"

    def to_domain(self) -> ProrationOptions:
        return ProrationOptions(**self.model_dump())


class TrialBody(StrictBody):
    """A trial in place of the plan's. `none` leaves the plan's trial out.

    Without a payment method at its end the subscription goes on (`continue`), is canceled, or is paused until it is
    resumed. `reminder_days` before the end it is told of.
    """

    length: LengthBody | None = None
    none: Flag = False
    bills_usage: Flag = False
    reminder_days: Annotated[
        tuple[Annotated[int, Field(strict=True, ge=0, le=365)], ...], Field(max_length=10)
    ] = (3,)
    without_payment_method: Literal["continue", "cancel", "pause"] = "continue"


class SubscriptionCreateBody(StrictBody):
    """An agreement on the newest version of a plan that is on sale, on `plan_version_id`, or on the customer's own
    `plan_overlay_id`.

    `starts_on` is today unless given, and may lie in the past; `ends_on` is the first day after the term. Both
    are days in `zone`, which is the customer's unless given. `quantities` are those of recurring and one-time prices,
    by the price's code; what is left out has one. `billing_starts` says when the first period begins: on `starts_on`
    (`order`, `fixed_date`), on the first of the month after it, or when delivery or acceptance is told of
    (POST …/activation), or on the first of the month after that. Periods are counted from `anchor_on`, from the start
    (`anniversary`), from the first of the month, Monday or 1 January (`calendar`), or with those of `co_term_with`; a
    first part is `prorated`, `free`, or `merged` into the period after it. With `billed_until`, all before that date
    was billed elsewhere. `payer_id` pays, where that is not the customer.
    """

    customer_id: CustomerId
    plan: Code | None = Field(default=None, examples=["flying-minutes"])
    plan_version_id: PlanVersionId | None = None
    plan_overlay_id: OverlayId | None = None
    quantities: dict[Code, Quantity] = Field(
        default_factory=dict, max_length=QUANTITIES_MAX, examples=[{"aircraft": "629"}]
    )
    add_ons: list[AddOnBody] = Field(default_factory=list, max_length=ADD_ONS_MAX)
    starts_on: BusinessDate | None = None
    ends_on: BusinessDate | None = None
    zone: Zone | None = None
    currency: Currency | None = None
    payer_id: CustomerId | None = None
    test_clock_id: TestClockId | None = None
    external_id: ExternalId | None = None
    billing_starts: BillingStart = "order"
    anchor_on: BusinessDate | None = None
    anchoring: Literal["anniversary", "calendar"] = "anniversary"
    co_term_with: SubscriptionId | None = None
    first_part: Literal["prorated", "free", "merged"] = "prorated"
    trial: TrialBody | None = None
    term: TermBody | None = None
    withdrawal_days: Annotated[int, Field(strict=True, ge=0, le=365)] | None = None
    proration: ProrationBody | None = None
    billed_until: BusinessDate | None = None

    @model_validator(mode="after")
    def _one_plan(self) -> Self:
        if [self.plan, self.plan_version_id, self.plan_overlay_id].count(None) != 2:
            raise ValueError("needs one of plan, plan_version_id and plan_overlay_id")
        return self

    def to_command(self) -> StartSubscription:
        trial = self.trial or TrialBody()
        return StartSubscription(
            plan_code=self.plan,
            add_ons=[(add_on.plan, add_on.quantities) for add_on in self.add_ons],
            trial=trial.length.to_interval() if trial.length else None,
            skips_trial=trial.none,
            trial_bills_usage=trial.bills_usage,
            trial_reminder_days=trial.reminder_days,
            trial_without_payment_method=trial.without_payment_method,
            term=self.term.to_wanted() if self.term else None,
            proration=self.proration.to_domain() if self.proration else DEFAULT_PRORATION,
            **{name: getattr(self, name) for name in _AS_GIVEN},
        )


_AS_GIVEN = (
    "customer_id",
    "plan_version_id",
    "plan_overlay_id",
    "quantities",
    "starts_on",
    "ends_on",
    "zone",
    "currency",
    "payer_id",
    "test_clock_id",
    "external_id",
    "billing_starts",
    "anchor_on",
    "anchoring",
    "co_term_with",
    "first_part",
    "withdrawal_days",
    "billed_until",
)


class IntervalBody(StrictBody):
    unit: IntervalUnit
    count: int


class BillingPeriodBody(StrictBody):
    """Half-open: `end` and `end_on` belong to the next period."""

    index: int
    kind: Literal["regular", "trial"]
    start: Instant
    end: Instant
    start_on: BusinessDate
    end_on: BusinessDate

    @classmethod
    def from_domain(cls, period: BillingPeriod) -> Self:
        return cls(
            index=period.index,
            kind=period.kind,
            start=period.start,
            end=period.end,
            start_on=period.start_on,
            end_on=period.end_on,
        )


class SubscriptionItemBody(StrictBody):
    """One priced part. `quantity` is null where usage is metered."""

    id: str
    code: str
    price: str
    price_id: str
    plan_version_id: str
    add_on: str | None
    kind: PriceKind
    meter: str | None
    quantity: Quantity | None

    @classmethod
    def from_domain(cls, item: SubscriptionItem) -> Self:
        return cls(
            id=item.id,
            code=item.code,
            price=item.price_code,
            price_id=item.price_id,
            plan_version_id=item.plan_version_id,
            add_on=item.add_on,
            kind=item.kind,
            meter=item.meter,
            quantity=item.quantity,
        )


class PauseBody(StrictBody):
    """`resumes_at` is null until it is known. A `planned` one has yet to begin."""

    status: Literal["planned", "running"]
    starts_at: Instant
    resumes_at: Instant | None
    extends_term: bool


class SubscriptionBody(StrictBody):
    """`ends_at` is when it ends as far as is known; `cancels_at` says that it was canceled for then.

    Items are named by their `code`: the price's, after that of the add-on if they are of one.
    """

    id: str
    status: SubscriptionState
    customer_id: str
    payer_id: str | None
    plan: str
    plan_name: str
    plan_version_id: str
    plan_overlay_id: str | None
    phase: str | None
    currency: str
    zone: str
    anchor_on: BusinessDate
    interval: IntervalBody
    items: list[SubscriptionItemBody]
    starts_on: BusinessDate
    starts_at: Instant
    trial_ends_at: Instant | None
    ends_at: Instant | None
    cancels_at: Instant | None
    ended_at: Instant | None
    end_reason: EndReason | None
    awaits_activation: Literal["delivery", "acceptance"] | None
    pause: PauseBody | None
    term: AgreedTermBody | None
    current_period: BillingPeriodBody | None
    next_renewal_at: Instant | None
    next_change_at: Instant | None
    proration: ProrationBody
    billed_until: Instant | None
    won_back_from: str | None
    withdrawal_ends_on: BusinessDate | None
    test_clock_id: str | None
    external_id: str | None
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, subscription: Subscription) -> Self:
        period = subscription.period if subscription.state in RUNNING else None
        calendar, pause, activation = subscription.calendar, subscription.pause, subscription.activation
        awaits = activation.awaits if activation and subscription.state is WAITS else None
        return cls(
            status=subscription.state,
            plan=subscription.plan_code,
            plan_overlay_id=subscription.overlay_id,
            zone=calendar.zone,
            anchor_on=calendar.anchor_on,
            interval=IntervalBody(unit=calendar.interval.unit, count=calendar.interval.count),
            items=[SubscriptionItemBody.from_domain(item) for item in subscription.items],
            starts_on=local_date(subscription.starts_at, calendar.zone),
            awaits_activation=awaits,
            pause=PauseBody(
                status="planned" if pause.status == "planned" else "running",
                starts_at=pause.start,
                resumes_at=pause.end,
                extends_term=pause.extends_term,
            )
            if pause
            else None,
            term=AgreedTermBody.from_domain(subscription.term) if subscription.term else None,
            current_period=BillingPeriodBody.from_domain(period) if period else None,
            next_renewal_at=subscription.renews_at,
            proration=ProrationBody(**asdict(subscription.proration)),
            **{name: getattr(subscription, name) for name in _AS_KEPT},
        )


WAITS = SubscriptionState.AWAITING_ACTIVATION
_AS_KEPT = (
    "id",
    "customer_id",
    "payer_id",
    "plan_name",
    "plan_version_id",
    "phase",
    "currency",
    "starts_at",
    "trial_ends_at",
    "ends_at",
    "cancels_at",
    "ended_at",
    "end_reason",
    "next_change_at",
    "billed_until",
    "won_back_from",
    "withdrawal_ends_on",
    "test_clock_id",
    "external_id",
    "version",
    "created_at",
)


class CancellationBody(StrictBody):
    """One of `at`, an instant to come; `at_period_end`: true for the end of the current period, false for now; and
    `quote_id`: on the day of an early-termination quote, at its price.

    An end that the minimum term or the notice does not allow is refused, unless the seller waives that, with a `reason`.
    `credit` is what becomes of what was charged for the time after the end: it stays charged (`none`), is given back
    as each price is prorated, or all fees of the period that it ends in are (`full`).
    """

    credit: Credit = "none"
    at_period_end: Flag | None = Field(default=None, examples=[True])
    at: Instant | None = Field(default=None, examples=[None])
    quote_id: QuoteId | None = Field(default=None, examples=[None])
    waives_term: Flag = False
    reason: Annotated[Description, Field(min_length=1)] | None = Field(default=None, examples=[None])

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if sum(given is not None for given in (self.at_period_end, self.at, self.quote_id)) != 1:
            raise ValueError("needs one of at_period_end, at and quote_id")
        if self.waives_term != (self.reason is not None):
            raise ValueError("waives_term goes with a reason, and that with it")
        if self.waives_term and self.quote_id is not None:
            raise ValueError("a quote needs no waiver")
        return self

    def to_command(self, subscription_id: str) -> CancelSubscription:
        return CancelSubscription(
            subscription_id=subscription_id,
            at_period_end=bool(self.at_period_end),
            at=self.at,
            credit=self.credit,
            quote_id=self.quote_id,
            waiver=self.reason,
        )

"""What is asked of a simulation: candidates, periods, quantities, usage, coupons, taxes."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from libs.common.web.bodies import (
    BusinessDate,
    Code,
    Currency,
    DecimalText,
    Flag,
    Instant,
    MoneyBody,
    Name,
    Quantity,
    StrictBody,
    Zone,
    identifier,
)
from services.billing.application.simulation_request import (
    Candidate,
    SimulatePrices,
    SupposedPeriod,
    UsageOf,
)
from services.billing.domain.discount import Coupon
from services.billing.domain.rating.usage import LevelChange, UsageGroup
from services.billing.domain.simulation.settlement import SupposedCoupon, Taxes
from services.billing.domain.simulation.usage_given import GivenEvent, GivenUsage
from services.billing.entrypoints.bodies import SubscriptionId
from services.billing.entrypoints.draft_plan_bodies import DraftPlanBody, IntervalBody, Periods, TaxCategory
from services.billing.entrypoints.simulation_example import ASKED

CANDIDATES_MAX = 10
PERIODS_MAX = 36
INDEX_MAX = 100_000
QUANTITIES_MAX = 200
USAGE_MAX = 1_000
EVENTS_MAX = 5_000
LEVELS_MAX = 5_000
COUPONS_MAX = 20
NAMED_MAX = 100
TAXES_MAX = 20
TEXT_LENGTH_MAX = 1_000
DIGITS_EXACT = 15  # what a JSON number keeps on its way through programs with binary fractions

PlanVersionId = Annotated[str, identifier("plv"), Field(examples=["plv_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
PlanOverlayId = Annotated[str, identifier("ovl"), Field(examples=["ovl_01jz3v6m1qk0c8n4r2d5s7t9wx"])]


def _exact(value: Any) -> Any:
    """Numbers with a fraction become decimals again, as they were written; text is text that can be written down."""
    if isinstance(value, float):
        written = Decimal(repr(value))
        if len(written.as_tuple().digits) > DIGITS_EXACT:
            raise ValueError(f"a number of more than {DIGITS_EXACT} digits must be written as a string")
        return written
    if isinstance(value, str):
        if len(value) > TEXT_LENGTH_MAX or not value.isprintable():
            raise ValueError(f"text has at most {TEXT_LENGTH_MAX} characters, all of them printable")
        return value
    if isinstance(value, dict):
        return {_exact(name): _exact(inner) for name, inner in value.items()}
    return [_exact(inner) for inner in value] if isinstance(value, list) else value


def _percent(value: Decimal) -> Decimal:
    if not 0 <= value <= 100:
        raise ValueError("must lie between 0 and 100")
    return value


def _percent_off(value: Decimal) -> Decimal:
    if not 0 < value <= 100:
        raise ValueError("must be more than 0, and at most 100")
    return value


Properties = Annotated[dict[str, Any], BeforeValidator(_exact), Field(max_length=100)]


class CandidateBody(StrictBody):
    """One of: `plan` (its code; `number` for another version than the newest), `plan_version_id`, `plan_overlay_id`,
    `draft`. `phase` is the phase of the plan with which the periods begin, its first one if it is left out.
    """

    plan: Code | None = Field(default=None, examples=["light"])
    number: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1, examples=[2])] | None = None
    plan_version_id: PlanVersionId | None = None
    plan_overlay_id: PlanOverlayId | None = None
    draft: DraftPlanBody | None = None
    currency: Currency | None = None
    phase: Code | None = Field(default=None, examples=[None])

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        named = (self.plan, self.plan_version_id, self.plan_overlay_id, self.draft)
        if sum(name is not None for name in named) != 1:
            raise ValueError("must name one of plan, plan_version_id, plan_overlay_id and draft")
        if self.number is not None and self.plan is None:
            raise ValueError("number goes with plan only")
        return self

    def to_domain(self) -> Candidate:
        return Candidate(
            plan=self.plan,
            number=self.number,
            plan_version_id=self.plan_version_id,
            overlay_id=self.plan_overlay_id,
            draft=None if self.draft is None else self.draft.to_domain(),
            currency=self.currency,
            phase=self.phase,
        )


class SupposedPeriodBody(StrictBody):
    """Local days in `zone`. The first period begins on `start` and is an `interval` long, or lasts until `end`.

    Without either, the interval is the shortest in which a candidate is billed. `anchor_on` is the day from which periods
    are counted, where `start` is not the first of them: it matters at the ends of months. `in_use_from` and
    `in_use_until` cut what is prorated, as for a subscription that begins or ends inside a period.
    """

    start: BusinessDate
    end: BusinessDate | None = Field(default=None, examples=[None])
    interval: IntervalBody | None = None
    anchor_on: BusinessDate | None = Field(default=None, examples=[None])
    zone: Zone = "UTC"
    in_use_from: BusinessDate | None = Field(default=None, examples=[None])
    in_use_until: BusinessDate | None = Field(default=None, examples=[None])

    def to_domain(self) -> SupposedPeriod:
        return SupposedPeriod(
            start_on=self.start,
            zone=self.zone,
            end_on=self.end,
            interval=None if self.interval is None else self.interval.to_domain(),
            anchor_on=self.anchor_on,
            in_use_from=self.in_use_from,
            in_use_until=self.in_use_until,
        )


class UsageOfBody(StrictBody):
    """What a subscription really used, in the period `period_index` or in that in which the day `on` lies.

    Its windows have closed. Quantities come with it. `late` usage came after that, and has not been billed.
    """

    subscription_id: SubscriptionId
    period_index: Annotated[int, Field(strict=True, ge=0, le=INDEX_MAX, examples=[3])] | None = None
    on: BusinessDate | None = Field(default=None, examples=[None])
    late: Literal["left_out", "counted"] = "left_out"

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.period_index is None) == (self.on is None):
            raise ValueError("must name the period by one of period_index and on")
        return self

    def to_domain(self) -> UsageOf:
        return UsageOf(self.subscription_id, self.period_index, self.on, self.late == "counted")


class SupposedEventBody(StrictBody):
    """What it adds to the total, and its fields. Without `at`, the order in which events stand counts."""

    value: DecimalText = Decimal(1)
    at: Instant | None = None
    id: Annotated[str, Field(max_length=255)] = ""
    properties: Properties = Field(default_factory=dict)


class SupposedGroupBody(StrictBody):
    """The total of the events with these values, one for each dimension."""

    values: dict[str, str | None] = Field(max_length=10, examples=[{"region": "eu-west"}])
    quantity: Quantity


class SupposedLevelBody(StrictBody):
    """From `at` on there are `level` of them, until the next change."""

    at: Instant
    level: Quantity


class SupposedUsageBody(StrictBody):
    """The usage of a meter, or of one price by its code: in one `period`, counted from 0, or the same in each.

    `quantity` is the total; it may be left out where `events` or `groups` sum to it, or `levels` tell a capacity.
    """

    meter: Code | None = Field(default=None, examples=["klmh"])
    price: Code | None = Field(default=None, examples=[None])
    period: Annotated[int, Field(strict=True, ge=0, lt=PERIODS_MAX)] | None = Field(
        default=None, examples=[None]
    )
    quantity: Quantity | None = None
    event_count: Annotated[int, Field(strict=True, ge=0, le=2**53 - 1)] | None = None
    events: list[SupposedEventBody] | None = Field(default=None, max_length=EVENTS_MAX)
    groups: list[SupposedGroupBody] | None = Field(default=None, max_length=EVENTS_MAX)
    levels: list[SupposedLevelBody] | None = Field(default=None, max_length=LEVELS_MAX)

    @model_validator(mode="after")
    def _says_what_and_how_much(self) -> Self:
        if (self.meter is None) == (self.price is None):
            raise ValueError("must name one of meter and price")
        if all(told is None for told in (self.quantity, self.events, self.groups, self.levels)):
            raise ValueError("must tell how much: by quantity, events, groups or levels")
        if self.event_count is not None and self.events is not None:
            raise ValueError("events are counted by themselves: leave event_count out")
        return self

    def to_domain(self, pointer: str) -> GivenUsage:
        events, groups, levels = self.events, self.groups, self.levels
        return GivenUsage(
            pointer=pointer,
            meter=self.meter,
            price=self.price,
            period=self.period,
            quantity=self.quantity,
            event_count=self.event_count,
            events=None
            if events is None
            else tuple(GivenEvent(e.value, e.properties, e.at, e.id) for e in events),
            groups=None
            if groups is None
            else tuple(UsageGroup(group.values, group.quantity) for group in groups),
            levels=None if levels is None else tuple(LevelChange(level.at, level.level) for level in levels),
        )


class SupposedCouponBody(StrictBody):
    """`percent` off, or `amount` off: one of the two; for `product_ids` and `plans`, or without them for all."""

    code: Code = Field(examples=["spring"])
    name: Name = "Coupon"
    percent: Annotated[DecimalText, AfterValidator(_percent_off), Field(examples=["12.5"])] | None = None
    amount: MoneyBody | None = Field(default=None, examples=[None])
    duration: Literal["once", "periods", "forever"] = "forever"
    periods: Periods | None = Field(default=None, examples=[None])
    product_ids: list[Annotated[str, Field(max_length=64)]] = Field(
        default_factory=list, max_length=NAMED_MAX
    )
    plans: list[Code] = Field(default_factory=list, max_length=NAMED_MAX)
    stacking_order: Annotated[int, Field(strict=True, ge=0, le=9_999)] = 0

    @model_validator(mode="after")
    def _is_worth_something_for_a_while(self) -> Self:
        if (self.percent is None) == (self.amount is None):
            raise ValueError("is worth one of percent and amount")
        if self.amount is not None and self.amount.to_money().amount_minor <= 0:
            raise ValueError("an amount off is more than nothing")
        if (self.periods is not None) != (self.duration == "periods"):
            raise ValueError("periods goes with the duration periods, and that with it")
        return self

    def to_domain(self) -> SupposedCoupon:
        coupon = Coupon(
            code=self.code,
            name=self.name,
            percent=self.percent,
            amount=None if self.amount is None else self.amount.to_money(),
            product_ids=tuple(self.product_ids),
            plan_codes=tuple(self.plans),
            stacking_order=self.stacking_order,
        )
        return SupposedCoupon(coupon, self.duration, self.periods)


class SupposedTaxBody(StrictBody):
    """The percentage of a tax category; without a category, that of all others."""

    category: TaxCategory | None = None
    percent: Annotated[DecimalText, AfterValidator(_percent), Field(examples=["21"])]


def _one_each(taxes: list[SupposedTaxBody] | None) -> list[SupposedTaxBody] | None:
    categories = [tax.category for tax in taxes or ()]
    if len(categories) != len(set(categories)):
        raise ValueError("has a percentage for each category once")
    return taxes


_SIDE_BY_SIDE: dict[str, Any] = {
    "candidates": [{"plan": "light"}, {"plan": "light", "number": 1}],
    "period": {"start": "2026-03-01", "zone": "Europe/Amsterdam"},
    "quantities": {"fee": "400"},
    "usage": [{"meter": "klmh", "quantity": "85000", "event_count": 62}],
    "taxes": [{"percent": "21"}],
}
_REAL_USAGE: dict[str, Any] = {
    "candidates": [
        {"plan_version_id": "plv_01jz3v6m1qk0c8n4r2d5s7t9wx"},
        {"draft": DraftPlanBody.model_config["json_schema_extra"]["examples"][0]},  # type: ignore[index]
    ],
    "usage_of": {"subscription_id": "sub_01jz3v6m1qk0c8n4r2d5s7t9wx", "period_index": 0},
    "periods": 12,
    "coupons": [{"code": "welcome", "percent": "10", "duration": "periods", "periods": 3}],
}


class NewPriceSimulationBody(StrictBody):
    """What the candidates would come to. The others are compared with the first.

    Either `period` is supposed, with `quantities` and `usage`, or `usage_of` tells what a subscription really used; what
    is given by hand then comes before it. `periods` follow each other, and carry on what is left of allowances.
    With `taxes`, what prices include is split, and what comes on top is added.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [ASKED, _SIDE_BY_SIDE, _REAL_USAGE]})

    candidates: list[CandidateBody] = Field(min_length=1, max_length=CANDIDATES_MAX)
    currency: Currency | None = None
    period: SupposedPeriodBody | None = None
    usage_of: UsageOfBody | None = None
    periods: Annotated[int, Field(strict=True, ge=1, le=PERIODS_MAX)] = 1
    quantities: dict[Code, Quantity] = Field(
        default_factory=dict, max_length=QUANTITIES_MAX, examples=[{"fee": "400"}]
    )
    usage: list[SupposedUsageBody] = Field(default_factory=list, max_length=USAGE_MAX)
    coupons: list[SupposedCouponBody] = Field(default_factory=list, max_length=COUPONS_MAX)
    taxes: (
        Annotated[list[SupposedTaxBody], Field(min_length=1, max_length=TAXES_MAX), AfterValidator(_one_each)]
        | None
    ) = None
    with_trial: Flag = False
    explanations: Literal["full", "none"] = "full"

    def to_command(self) -> SimulatePrices:
        taxes: Taxes | None = None
        if self.taxes is not None:
            taxes = {tax.category: tax.percent for tax in self.taxes}
        return SimulatePrices(
            candidates=tuple(candidate.to_domain() for candidate in self.candidates),
            period=None if self.period is None else self.period.to_domain(),
            usage_of=None if self.usage_of is None else self.usage_of.to_domain(),
            periods=self.periods,
            currency=self.currency,
            quantities=self.quantities,
            usage=tuple(used.to_domain(f"/usage/{number}") for number, used in enumerate(self.usage)),
            coupons=tuple(coupon.to_domain() for coupon in self.coupons),
            taxes=taxes,
            with_trial=self.with_trial,
            is_explained=self.explanations == "full",
        )

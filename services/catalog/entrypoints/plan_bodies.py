"""Requests and answers about plans, their drafts, and what was published.

Amounts of prices are plain decimals in the plan's currency, not money: a price may be finer than a cent. What
can be judged only together (tiers, amounts, products, meters) is judged by the domain, so that all faults come
in one answer.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field

from libs.common.periods import Interval, IntervalUnit
from libs.common.web.bodies import (
    Code,
    DecimalText,
    Description,
    ExternalId,
    Instant,
    Metadata,
    Name,
    StrictBody,
    identifier,
)
from services.catalog.application.read_draft import WrittenPlan, WrittenPrice
from services.catalog.domain.plan import Plan, PlanStatus
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.domain.plan_version import PlanVersion, plan_version_id
from services.catalog.domain.price import (
    TIMING_OFFERED,
    Price,
    PriceKind,
    PriceModel,
    PriceTiming,
    Proration,
    price_id,
)
from services.catalog.domain.price_tier import PriceTier
from services.catalog.domain.publication import Published, Unchanged
from services.catalog.entrypoints.bodies import Unit

PlanId = Annotated[str, identifier("pln"), Field(examples=["pln_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
LIST_LENGTH_MAX = 1_000  # what is read at all; how many a plan may have is the domain's to say

CurrencyCode = Annotated[str, Field(pattern=r"^[A-Z]{3}$", max_length=3, examples=["USD"])]
IntervalCount = Annotated[int, Field(strict=True, ge=1, le=10_000, examples=[1])]


class IntervalBody(StrictBody):
    """The billing period, counted from each subscription's anchor; a month is a calendar month."""

    unit: IntervalUnit = Field(examples=["month"])
    count: IntervalCount = 1

    @classmethod
    def from_domain(cls, interval: Interval) -> Self:
        return cls(unit=interval.unit, count=interval.count)

    def to_domain(self) -> Interval:
        return Interval(self.unit, self.count)


class PriceTierBody(StrictBody):
    """The units up to the running total `up_to`, itself included; null on the last tier."""

    up_to: DecimalText | None = Field(default=None, examples=["100000"])
    unit_amount: DecimalText = Field(examples=["5.20"])
    flat_amount: DecimalText | None = Field(default=None, examples=[None])

    @classmethod
    def from_domain(cls, tier: PriceTier) -> Self:
        return cls(up_to=tier.up_to, unit_amount=tier.unit_amount, flat_amount=tier.flat_amount)

    def to_domain(self) -> PriceTier:
        return PriceTier(self.up_to, self.unit_amount, self.flat_amount)


class PriceWriteBody(StrictBody):
    """One way in which a product is charged. Name the product by `product_id` or by `product`, its code.

    Offered: `recurring` in advance, `flat` or `per_unit`; `usage` in arrears, `per_unit` or `graduated`. The
    product's name and unit are taken where `description` and `unit` are left out.
    """

    code: Code = Field(examples=["minutes"])
    product_id: str | None = Field(default=None, max_length=64)
    product: Code | None = Field(default=None, examples=["flying-minutes"])
    description: Description | None = None
    kind: PriceKind = Field(examples=["usage"])
    timing: PriceTiming | None = Field(default=None, description="In advance, or for usage in arrears.")
    model: PriceModel = Field(examples=["graduated"])
    unit_amount: DecimalText | None = Field(default=None, examples=[None])
    tiers: list[PriceTierBody] = Field(
        default_factory=list,
        max_length=LIST_LENGTH_MAX,
        examples=[[{"up_to": "100000", "unit_amount": "5.20"}, {"unit_amount": "4.75"}]],
    )
    package_size: DecimalText | None = Field(default=None, examples=[None])
    included_quantity: DecimalText = Field(default=Decimal(0), examples=["0"])
    meter: Code | None = Field(default=None, examples=["flying-minutes"])
    unit: Unit | None = None
    proration: Proration = "day"

    def to_command(self) -> WrittenPrice:
        return WrittenPrice(
            code=self.code,
            kind=self.kind,
            timing=self.timing or TIMING_OFFERED[self.kind],
            model=self.model,
            product_id=self.product_id,
            product_code=self.product,
            description=self.description,
            unit_amount=self.unit_amount,
            tiers=tuple(tier.to_domain() for tier in self.tiers),
            package_size=self.package_size,
            included_quantity=self.included_quantity,
            meter=self.meter,
            unit=self.unit,
            proration=self.proration,
        )


class PlanCreateBody(StrictBody):
    """A plan, with what it will be sold as once it is published."""

    code: Code = Field(examples=["power-by-the-minute"])
    name: Name = Field(examples=["Power by the minute"])
    currency: CurrencyCode
    interval: IntervalBody
    prices: list[PriceWriteBody] = Field(max_length=LIST_LENGTH_MAX)
    external_id: ExternalId | None = None
    metadata: Metadata = Field(default_factory=dict)

    def to_written(self) -> WrittenPlan:
        return WrittenPlan(
            name=self.name,
            currency=self.currency,
            interval=self.interval.to_domain(),
            prices=tuple(price.to_command() for price in self.prices),
        )


class PlanDraftWriteBody(StrictBody):
    """The whole draft. `currency` and `interval` may be left out, and are fixed once the plan is published."""

    name: Name
    currency: CurrencyCode | None = None
    interval: IntervalBody | None = None
    prices: list[PriceWriteBody] = Field(max_length=LIST_LENGTH_MAX)


class DraftPriceBody(StrictBody):
    code: str
    product_id: str
    description: str
    kind: PriceKind
    timing: PriceTiming
    model: PriceModel
    unit_amount: DecimalText | None
    tiers: list[PriceTierBody]
    package_size: DecimalText | None
    included_quantity: DecimalText
    meter: str | None
    unit: str | None
    proration: Proration

    @classmethod
    def from_domain(cls, price: Price) -> Self:
        return cls(**_told(price))


class PriceBody(DraftPriceBody):
    """A published price. Its id never changes, nor does anything else of it."""

    id: str

    @classmethod
    def published(cls, price: Price, version: PlanVersion) -> Self:
        return cls(id=price_id(version.id, price.code), **_told(price))


class PlanDraftBody(StrictBody):
    name: str
    currency: str
    interval: IntervalBody
    prices: list[DraftPriceBody]

    @classmethod
    def from_domain(cls, draft: PlanDraft) -> Self:
        return cls(
            name=draft.name,
            currency=draft.currency,
            interval=IntervalBody.from_domain(draft.interval),
            prices=[DraftPriceBody.from_domain(price) for price in draft.prices],
        )


class PlanBody(StrictBody):
    """`published_number` and `plan_version_id` are of the newest published version, null before the first."""

    id: str
    code: str
    status: PlanStatus
    draft: PlanDraftBody
    published_number: int | None
    plan_version_id: str | None
    external_id: str | None
    metadata: dict[str, str]
    version: int
    created_at: Instant
    retired_at: Instant | None

    @classmethod
    def from_domain(cls, plan: Plan) -> Self:
        number = plan.published_number or None
        return cls(
            id=plan.id,
            code=plan.code,
            status=plan.status,
            draft=PlanDraftBody.from_domain(plan.draft),
            published_number=number,
            plan_version_id=plan_version_id(plan.id, number) if number else None,
            external_id=plan.external_id,
            metadata=dict(plan.metadata),
            version=plan.version,
            created_at=plan.created_at,
            retired_at=plan.retired_at,
        )


class PlanVersionBody(StrictBody):
    """What was published: what a subscription refers to. `digest` is the SHA-256 of all its content."""

    id: str
    plan_id: str
    number: int
    code: str
    name: str
    currency: str
    interval: IntervalBody
    prices: list[PriceBody]
    published_at: Instant
    digest: str

    @classmethod
    def from_domain(cls, version: PlanVersion) -> Self:
        return cls(
            id=version.id,
            plan_id=version.plan_id,
            number=version.number,
            code=version.code,
            name=version.name,
            currency=version.currency,
            interval=IntervalBody.from_domain(version.interval),
            prices=[PriceBody.published(price, version) for price in version.prices],
            published_at=version.published_at,
            digest=version.digest,
        )


class PublicationBody(StrictBody):
    """`unchanged`: the draft says what the newest version says already, so that version stands."""

    outcome: Literal["published", "unchanged"]
    plan_version: PlanVersionBody

    @classmethod
    def from_domain(cls, outcome: Published | Unchanged) -> Self:
        return cls(
            outcome="published" if isinstance(outcome, Published) else "unchanged",
            plan_version=PlanVersionBody.from_domain(outcome.plan_version),
        )


def _told(price: Price) -> dict[str, object]:
    return {
        "code": price.code,
        "product_id": price.product_id,
        "description": price.description,
        "kind": price.kind,
        "timing": price.timing,
        "model": price.model,
        "unit_amount": price.unit_amount,
        "tiers": [PriceTierBody.from_domain(tier) for tier in price.tiers],
        "package_size": price.package_size,
        "included_quantity": price.included_quantity,
        "meter": price.meter,
        "unit": price.unit,
        "proration": price.proration,
    }

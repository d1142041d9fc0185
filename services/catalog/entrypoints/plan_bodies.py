"""Requests and answers about plans and their drafts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Field, TypeAdapter, field_validator
from pydantic.json_schema import SkipJsonSchema

from libs.common.web.bodies import (
    Code,
    DecimalText,
    Description,
    ExternalId,
    Flag,
    Instant,
    Metadata,
    Name,
    StrictBody,
    identifier,
)
from services.catalog.application.written_plan import WrittenPlan
from services.catalog.domain.dunning import DAYS_MAX, RETRY_DAYS_MAX, STEPS_MAX
from services.catalog.domain.feature import FeatureKind
from services.catalog.domain.late_usage import WINDOW_DAYS_MAX, LateUsagePolicy
from services.catalog.domain.plan import Plan, PlanStatus
from services.catalog.domain.plan_draft import PlanDraft, PlanKind
from services.catalog.domain.plan_version import plan_version_id
from services.catalog.entrypoints.bodies import examples
from services.catalog.entrypoints.price_bodies import (
    LIST_LENGTH_MAX,
    MINUTES,
    PUBLISHED_MINUTES,
    CurrencyCode,
    DraftPriceBody,
    IntervalBody,
    PartBody,
    PeriodCount,
    PriceWriteBody,
)

PlanId = Annotated[str, identifier("pln"), Field(examples=["pln_01jz3v6m1qk0c8n4r2d5s7t9wx"])]


class PhaseBody(PartBody):
    """A stretch of a plan, `periods` billing periods long; null on the last, which lasts."""

    model_config = examples({"code": "ramp-up", "name": "First quarter", "periods": 3})

    code: Code = Field(examples=["ramp-up"])
    name: Name
    periods: PeriodCount | None = None


class TrialBody(PartBody):
    """What comes before the first billing period: free, or for `amount` in the plan's currency."""

    model_config = examples({"interval": {"unit": "day", "count": 14}, "requires_payment_method": True})

    interval: IntervalBody
    amount: DecimalText | None = Field(default=None, examples=[None])
    requires_payment_method: Flag = False


class LateUsageBody(PartBody):
    """What becomes of usage that comes, or is taken back, after its period was billed: it is put right on the
    `next_invoice`, on a document of its own (`note_at_once`), or on a draft that a person finalizes (`draft_only`).

    Of `window_days`, day 0 is the date on which the period ended; what changes after the last is kept and reported, and
    not billed. Null: without end.
    """

    model_config = examples({"policy": "note_at_once", "window_days": 35})

    policy: LateUsagePolicy = "next_invoice"
    window_days: Annotated[int, Field(strict=True, ge=0, le=WINDOW_DAYS_MAX)] | None = None


Day = Annotated[int, Field(strict=True, ge=1, le=DAYS_MAX)]


class DunningBody(PartBody):
    """What becomes of an invoice that is not paid. Each failed try is followed by another after the next of the
    `retry_days` (null: the operator's); all other days are counted from the invoice's due date, by local dates.

    Subscriptions are suspended `suspend_after_days`, or when the retries end where that is null, or, with `suspends` of
    false, never. They end, for want of payment, `end_after_days` (null: never); what is due is written off then if
    `writes_off`. All of it stops once nothing is due.
    """

    model_config = examples(
        {
            "retry_days": [1, 3, 5, 7],
            "reminder_days": [3, 10],
            "suspends": True,
            "suspend_after_days": 21,
            "end_after_days": 60,
            "writes_off": False,
        }
    )

    retry_days: (
        Annotated[
            list[Annotated[int, Field(strict=True, ge=1, le=RETRY_DAYS_MAX)]], Field(max_length=STEPS_MAX)
        ]
        | None
    ) = None
    reminder_days: list[Annotated[int, Field(strict=True, ge=0, le=DAYS_MAX)]] = Field(
        default_factory=list, max_length=STEPS_MAX
    )
    suspends: Flag = True
    suspend_after_days: Day | None = None
    end_after_days: Day | None = None
    writes_off: Flag = False


class CommitmentBody(PartBody):
    """A least or a most that prices come to together. `price_codes` is empty where it is about the whole plan.

    `minimum_quantity` is priced at the unit amount of the one price that it names. `currency` is the plan's unless
    it is given.
    """

    model_config = examples(
        {
            "code": "least",
            "description": "At least 100,000 minutes a year",
            "price_codes": ["minutes"],
            "per": "year",
            "minimum_amount": "450000",
        }
    )

    code: Code = Field(examples=["least"])
    description: Description = ""
    currency: CurrencyCode | None = None
    price_codes: list[Code] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    per: Literal["period", "year"] = "period"
    minimum_amount: DecimalText | None = Field(default=None, examples=["450000"])
    minimum_quantity: DecimalText | None = Field(default=None, examples=[None])
    maximum_amount: DecimalText | None = Field(default=None, examples=[None])


class FeatureGrantWriteBody(StrictBody):
    """What the plan lets a customer do. `feature` is its code; which of the others it needs, its kind says."""

    model_config = examples({"feature": "storage", "allowance": "100", "overage_allowed": True})

    feature: Code = Field(examples=["storage"])
    limit: DecimalText | None = Field(default=None, examples=[None])
    allowance: DecimalText | None = Field(default=None, examples=["100"])
    overage_allowed: Flag = False
    interval: IntervalBody | None = Field(
        default=None, description="How often the allowance begins anew; null: with each billing period."
    )


class FeatureGrantBody(PartBody):
    """What the plan lets a customer do, with what the feature itself says of it."""

    model_config = examples(
        {
            "feature": "storage",
            "feature_id": "ftr_01jz3v6m1qk0c8n4r2d5s7t9wx",
            "kind": "metered",
            "limit": None,
            "allowance": "100",
            "meter": "stored-gigabytes",
            "overage_allowed": True,
            "interval": None,
        }
    )

    feature: str = Field(validation_alias=AliasChoices("feature", "code"), examples=["storage"])
    feature_id: str
    kind: FeatureKind
    limit: DecimalText | None
    allowance: DecimalText | None
    meter: str | None
    overage_allowed: bool
    interval: IntervalBody | None


_WRITTEN = TypeAdapter(WrittenPlan)

_PLAN: dict[str, Any] = {
    "name": "Power by the minute",
    "description": "Flying minutes, and a fee for each aircraft",
    "currency": "USD",
    "interval": {"unit": "month", "count": 1},
    "prices": [
        {
            "code": "aircraft",
            "product": "flying-minutes",
            "kind": "recurring",
            "model": "per_unit",
            "unit_amount": "1200.00",
            "unit": "aircraft",
        },
        MINUTES,
    ],
}


class PlanPartsBody(StrictBody):
    """The parts of a plan that may be left out when it is written."""

    description: Description = ""
    for_plans: list[Code] = Field(
        default_factory=list,
        max_length=LIST_LENGTH_MAX,
        description="Of an add-on: the codes of the plans that it goes with; empty: any.",
    )
    phases: list[PhaseBody] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    trial: TrialBody | None = None
    commitments: list[CommitmentBody] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    features: list[FeatureGrantWriteBody] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    late_usage: LateUsageBody = LateUsageBody()
    dunning: DunningBody = DunningBody()


class PlanCreateBody(PlanPartsBody):
    """A plan, with what it will be sold as once it is published.

    `currency` is that of prices and commitments that name none, and of subscriptions that name none.
    """

    model_config = examples({"code": "power-by-the-minute", **_PLAN})

    code: Code = Field(examples=["power-by-the-minute"])
    name: Name = Field(examples=["Power by the minute"])
    kind: PlanKind = "base"
    currency: CurrencyCode | None = None
    interval: IntervalBody
    prices: list[PriceWriteBody] = Field(max_length=LIST_LENGTH_MAX)
    external_id: ExternalId | None = None
    metadata: Metadata = Field(default_factory=dict)

    def to_written(self) -> WrittenPlan:
        return _WRITTEN.validate_python(_parts(self, set(PlanCreateBody.model_fields) - {"code"}))


class PlanDraftWriteBody(PlanPartsBody):
    """The whole draft. `kind`, `currency` and `interval` stay as they are when left out.

    They are fixed once the plan is published.
    """

    model_config = examples(_PLAN)

    name: Name
    kind: PlanKind | None = None
    currency: CurrencyCode | None = None
    interval: IntervalBody | None = None
    prices: list[PriceWriteBody] = Field(max_length=LIST_LENGTH_MAX)

    def replaces(self, plan: WrittenPlan) -> WrittenPlan:
        kept = {name for name in ("kind", "currency", "interval") if getattr(self, name) is None}
        return _changed(plan, _parts(self, set(PlanDraftWriteBody.model_fields) - kept))


class PlanChangeBody(StrictBody):
    """What is left out stays as it is; what is given replaces the whole of it. Null takes away what may be absent."""

    model_config = examples({"name": "Power by the minute, 2026", "trial": None})

    name: Name | SkipJsonSchema[None] = None
    description: Description | None = None
    kind: PlanKind | SkipJsonSchema[None] = None
    for_plans: list[Code] | None = Field(default=None, max_length=LIST_LENGTH_MAX)
    currency: CurrencyCode | SkipJsonSchema[None] = None
    interval: IntervalBody | SkipJsonSchema[None] = None
    prices: list[PriceWriteBody] | SkipJsonSchema[None] = Field(default=None, max_length=LIST_LENGTH_MAX)
    phases: list[PhaseBody] | None = Field(default=None, max_length=LIST_LENGTH_MAX)
    trial: TrialBody | None = None
    commitments: list[CommitmentBody] | None = Field(default=None, max_length=LIST_LENGTH_MAX)
    features: list[FeatureGrantWriteBody] | None = Field(default=None, max_length=LIST_LENGTH_MAX)
    late_usage: LateUsageBody | None = None
    dunning: DunningBody | None = None
    external_id: ExternalId | None = None
    metadata: Metadata | None = None

    @field_validator("name", "kind", "currency", "interval", "prices", mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("must not be null: leave it out to keep it as it is")
        return value

    def change(self, plan: WrittenPlan) -> WrittenPlan:
        return _changed(plan, _parts(self, self.model_fields_set))


_EMPTY: Mapping[str, Any] = {
    "description": "",
    "currency": "",
    "for_plans": (),
    "phases": (),
    "commitments": (),
    "features": (),
    "late_usage": {},
    "dunning": {},
    "metadata": {},
}


def _parts(body: PlanCreateBody | PlanDraftWriteBody | PlanChangeBody, names: set[str]) -> dict[str, Any]:
    """These fields of the body as `WrittenPlan` has them, in plain parts."""
    parts = body.model_dump(include=names - {"prices"})
    parts = {name: _EMPTY.get(name) if part is None else part for name, part in parts.items()}
    for commitment in parts.get("commitments", ()):
        commitment["currency"] = commitment["currency"] or ""
    if "prices" in names:
        parts["prices"] = [price.to_written() for price in body.prices or ()]
    return parts


def _changed(plan: WrittenPlan, parts: Mapping[str, Any]) -> WrittenPlan:
    """The plan with these parts in place of its own."""
    needed = {"name": plan.name, "interval": {"unit": plan.interval.unit}, "prices": ()}
    read = _WRITTEN.validate_python({**needed, **parts})
    return replace(plan, **{name: getattr(read, name) for name in parts})


PUBLISHED_PARTS: dict[str, Any] = {
    **{name: part for name, part in _PLAN.items() if name != "prices"},
    "kind": "base",
    "for_plans": [],
    "phases": [],
    "trial": None,
    "commitments": [],
    "features": [],
    "late_usage": {"policy": "next_invoice", "window_days": 35},
    "dunning": {
        "retry_days": None,
        "reminder_days": [3, 10],
        "suspends": True,
        "suspend_after_days": None,
        "end_after_days": 60,
        "writes_off": False,
    },
}


class PlanDraftBody(PartBody):
    """What would be published now, with what was left out filled in."""

    model_config = examples({**PUBLISHED_PARTS, "prices": [PUBLISHED_MINUTES]})

    name: str
    description: str
    kind: PlanKind
    for_plans: list[str]
    currency: str
    interval: IntervalBody
    prices: list[DraftPriceBody]
    phases: list[PhaseBody]
    trial: TrialBody | None
    commitments: list[CommitmentBody]
    features: list[FeatureGrantBody]
    late_usage: LateUsageBody
    dunning: DunningBody

    @classmethod
    def from_domain(cls, draft: PlanDraft) -> Self:
        return cls.model_validate(draft)


class PlanBody(StrictBody):
    """`published_number` and `plan_version_id` are of the newest published version, null before the first."""

    model_config = examples(
        {
            "id": "pln_01jz3v6m1qk0c8n4r2d5s7t9wx",
            "code": "power-by-the-minute",
            "status": "published",
            "draft": {**PUBLISHED_PARTS, "prices": [PUBLISHED_MINUTES]},
            "published_number": 1,
            "plan_version_id": "plv_01jz3v6m1qk0c8n4r2d5s7t9wx",
            "external_id": "crm-4711",
            "metadata": {"owner": "fleet sales"},
            "version": 2,
            "created_at": "2025-06-01T12:00:00Z",
            "retired_at": None,
        }
    )

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

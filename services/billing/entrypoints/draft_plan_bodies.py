"""A plan that nobody has published, in the shape in which the catalog takes plans."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from libs.common.periods import Interval
from libs.common.web.bodies import (
    Code,
    Count,
    DecimalText,
    Description,
    ExternalId,
    Flag,
    Instant,
    Metadata,
    Name,
    StrictBody,
    WrittenIntervalUnit,
    in_months,
)
from services.billing.domain.plan_terms import Phase, PlanTerms, Trial
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.rating.price import (
    AllowancePooling,
    CapacityBasis,
    Kind,
    MatrixCell,
    Model,
    PackageRounding,
    Price,
    PriceTier,
    Proration,
    Rollover,
    TaxBehavior,
    Timing,
)

LIST_LENGTH_MAX = 1_000

CurrencyCode = Annotated[str, Field(pattern=r"^[A-Z]{3}$", max_length=3, examples=["EUR"])]
Dimension = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x20\x7f]+$", max_length=100)]
CellValue = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=255)]
TaxCategory = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9_.:-]{0,63})$", max_length=64, examples=["standard"])
]
Periods = Annotated[int, Field(strict=True, ge=1, le=1_200, examples=[3])]


class IntervalBody(StrictBody):
    """Calendar steps; a month is a calendar month, a quarter three of them, a half-year six."""

    unit: WrittenIntervalUnit = Field(examples=["month"])
    count: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 1

    _read = model_validator(mode="before")(in_months)

    def to_domain(self) -> Interval:
        return Interval(self.unit, self.count)


class DraftTierBody(StrictBody):
    up_to: DecimalText | None = None
    unit_amount: DecimalText | None = None
    flat_amount: DecimalText | None = None
    rate_percent: DecimalText | None = None
    cap_amount: DecimalText | None = None

    def to_domain(self) -> PriceTier:
        terms = {name: getattr(self, name) for name in PriceTier.__slots__}
        return PriceTier(**{**terms, "unit_amount": self.unit_amount or Decimal(0)})


class DraftCellBody(StrictBody):
    values: list[CellValue] = Field(max_length=LIST_LENGTH_MAX)
    unit_amount: DecimalText


class DraftRolloverBody(StrictBody):
    cap: DecimalText | None = None
    periods: Periods = 1


class DraftPlanPriceBody(StrictBody):
    """A price as the catalog takes it: what each field means, and which model has which, is told there."""

    code: Code
    kind: Kind
    model: Model
    product_id: str | None = Field(default=None, max_length=64)
    product: Code | None = None
    description: Description | None = None
    timing: Timing | None = None
    currency: CurrencyCode | None = None
    unit_amount: DecimalText | None = None
    tiers: list[DraftTierBody] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    charges_first_flat_at_zero: Flag = True
    package_size: DecimalText | None = None
    package_rounding: PackageRounding = "up"
    rate_percent: DecimalText | None = None
    fixed_amount_per_event: DecimalText | None = None
    free_events: Count | None = None
    free_amount: DecimalText | None = None
    minimum_amount_per_event: DecimalText | None = None
    maximum_amount_per_event: DecimalText | None = None
    dimensions: list[Dimension] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    cells: list[DraftCellBody] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    capacity_basis: CapacityBasis | None = None
    expression: Description | None = None
    included_quantity: DecimalText = Decimal(0)
    allowance_interval: IntervalBody | None = None
    allowance_pool: AllowancePooling | None = None
    rollover: DraftRolloverBody | None = None
    minimum_amount: DecimalText | None = None
    maximum_amount: DecimalText | None = None
    interval: IntervalBody | None = None
    tax_behavior: TaxBehavior = "exclusive"
    tax_category: TaxCategory | None = None
    phase: Code | None = None
    meter: Code | None = None
    unit: Annotated[str, Field(max_length=40)] | None = None
    proration: Proration = "day"

    def to_domain(self, plan_currency: str) -> Price:
        currency = self.currency or plan_currency
        terms = {name: getattr(self, name) for name in Price.__slots__ if name in type(self).model_fields}
        interval, allowance = self.interval, self.allowance_interval
        written = {
            "id": f"{self.code}:{currency}",
            "product_id": self.product_id or self.product or "",
            "description": self.description or self.code,
            "timing": self.timing or ("arrears" if self.kind == "usage" else "advance"),
            "currency": currency,
            "tiers": tuple(tier.to_domain() for tier in self.tiers),
            "dimensions": tuple(self.dimensions),
            "cells": tuple(MatrixCell(tuple(cell.values), cell.unit_amount) for cell in self.cells),
            "rollover": Rollover(self.rollover.cap, self.rollover.periods) if self.rollover else None,
            "interval_unit": interval.unit if interval else None,
            "interval_count": interval.count if interval else 1,
            "allowance_interval_unit": allowance.unit if allowance else None,
            "allowance_interval_count": allowance.count if allowance else 1,
        }
        return Price(**{**terms, **written})


class DraftPhaseBody(StrictBody):
    code: Code
    name: Name
    periods: Periods | None = None


class DraftTrialBody(StrictBody):
    interval: IntervalBody
    amount: DecimalText | None = None
    requires_payment_method: Flag = False


class DraftCommitmentBody(StrictBody):
    code: Code
    description: Description = ""
    currency: CurrencyCode | None = None
    price_codes: list[Code] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    per: Literal["period", "year"] = "period"
    minimum_amount: DecimalText | None = None
    minimum_quantity: DecimalText | None = None
    maximum_amount: DecimalText | None = None

    def to_domain(self, plan_currency: str) -> Commitment:
        terms = {name: getattr(self, name) for name in Commitment.__slots__}
        named = tuple(self.price_codes)
        return Commitment(**{**terms, "currency": self.currency or plan_currency, "price_codes": named})


class DraftPlanBody(StrictBody):
    """A plan as `POST /v1/plans` or a catalog document takes it, not saved. That its products and meters exist is not
    asked here. What says nothing of amounts, such as `features`, `late_usage` and `publish`, may stand there.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": "light-2027",
                    "name": "Light as a service, 2027",
                    "currency": "EUR",
                    "interval": {"unit": "month"},
                    "prices": [
                        {"code": "fee", "kind": "recurring", "model": "per_unit", "unit_amount": "3.36"},
                        {
                            "code": "light",
                            "kind": "usage",
                            "model": "per_unit",
                            "meter": "klmh",
                            "unit_amount": "0.0041",
                        },
                    ],
                }
            ]
        }
    )

    code: Code = "draft"
    name: Name = "Draft"
    description: Description = ""
    kind: Literal["base", "add_on"] = "base"
    for_plans: list[Code] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    currency: CurrencyCode | None = None
    interval: IntervalBody
    prices: list[DraftPlanPriceBody] = Field(max_length=LIST_LENGTH_MAX)
    phases: list[DraftPhaseBody] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    trial: DraftTrialBody | None = None
    commitments: list[DraftCommitmentBody] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    features: list[dict[str, Any]] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    late_usage: dict[str, Any] = Field(default_factory=dict, max_length=LIST_LENGTH_MAX)
    publish: Flag = False
    valid_from: Instant | None = Field(default=None, examples=[None])
    valid_until: Instant | None = Field(default=None, examples=[None])
    external_id: ExternalId | None = None
    metadata: Metadata = Field(default_factory=dict)

    def to_domain(self) -> PlanTerms:
        currency = self.currency or next((price.currency for price in self.prices if price.currency), "")
        trial = self.trial
        return PlanTerms(
            code=self.code,
            name=self.name,
            currency=currency,
            interval=self.interval.to_domain(),
            prices=tuple(price.to_domain(currency) for price in self.prices),
            phases=tuple(Phase(phase.code, phase.name, phase.periods) for phase in self.phases),
            trial=Trial(trial.interval.to_domain(), trial.amount) if trial else None,
            commitments=tuple(commitment.to_domain(currency) for commitment in self.commitments),
        )

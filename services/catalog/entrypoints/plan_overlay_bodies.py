"""Requests and answers about plan overlays."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from libs.common.web.bodies import Code, Count, DecimalText, Description, Instant, StrictBody, identifier
from services.catalog.adapters.plan_json import override_from_json
from services.catalog.application.create_plan_overlay import CreatePlanOverlay, Overlaid
from services.catalog.domain.document import document_of
from services.catalog.domain.plan_diff import in_words, plan_changes
from services.catalog.domain.plan_overlay import OVERRIDABLE, PriceOverride, overlaid
from services.catalog.entrypoints.bodies import examples
from services.catalog.entrypoints.coupon_bodies import CustomerId
from services.catalog.entrypoints.plan_version_bodies import PlanVersionId
from services.catalog.entrypoints.price_bodies import (
    LIST_LENGTH_MAX,
    PUBLISHED_MINUTES,
    CurrencyCode,
    IntervalBody,
    MatrixCellBody,
    PriceBody,
    PriceTierBody,
)

OverlayId = Annotated[str, identifier("ovl"), Field(examples=["ovl_01jz3v6m1qk0c8n4r2d5s7t9wx"])]

_OVERRIDES: list[dict[str, Any]] = [
    {"code": "aircraft", "unit_amount": "1100.00"},
    {"code": "minutes", "included_quantity": "1000", "maximum_amount": "90000"},
]


class PriceOverrideBody(StrictBody):
    """The price of this code, and what of it is otherwise. `currency` is the plan's own unless it is given.

    What is left out stays as the plan says; null takes away what may be absent.
    """

    model_config = examples(_OVERRIDES[0])

    code: Code = Field(examples=["aircraft"])
    currency: CurrencyCode | None = None
    unit_amount: DecimalText | None = Field(default=None, examples=["1100.00"])
    tiers: list[PriceTierBody] | SkipJsonSchema[None] = Field(default=None, max_length=LIST_LENGTH_MAX)
    rate_percent: DecimalText | None = Field(default=None, examples=[None])
    fixed_amount_per_event: DecimalText | None = Field(default=None, examples=[None])
    free_events: Count | None = Field(default=None, examples=[None])
    free_amount: DecimalText | None = Field(default=None, examples=[None])
    minimum_amount_per_event: DecimalText | None = Field(default=None, examples=[None])
    maximum_amount_per_event: DecimalText | None = Field(default=None, examples=[None])
    cells: list[MatrixCellBody] | SkipJsonSchema[None] = Field(default=None, max_length=LIST_LENGTH_MAX)
    included_quantity: DecimalText | SkipJsonSchema[None] = Field(default=None, examples=["1000"])
    minimum_amount: DecimalText | None = Field(default=None, examples=[None])
    maximum_amount: DecimalText | None = Field(default=None, examples=[None])

    @field_validator("tiers", "cells", "included_quantity", mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("must not be null: leave it out to keep it as it is")
        return value

    def to_domain(self) -> PriceOverride:
        changes = self.model_dump(include=self.model_fields_set & set(OVERRIDABLE))
        return override_from_json({"code": self.code, "currency": self.currency or "", "changes": changes})


class PlanOverlayCreateBody(StrictBody):
    """Terms of one customer's own for a plan version, or for the newest version on sale of `plan`.

    They change how much prices come to, and how long it is agreed for; another way to charge is another plan.
    """

    model_config = examples(
        {
            "customer_id": "cus_01jz3v6m1qk0c8n4r2d5s7t9wx",
            "plan": "power-by-the-minute",
            "prices": _OVERRIDES,
            "term": {"unit": "year", "count": 3},
            "description": "Agreed with their fleet manager in May",
        }
    )

    customer_id: CustomerId
    plan: Code | None = Field(default=None, examples=["power-by-the-minute"])
    plan_version_id: PlanVersionId | None = None
    prices: list[PriceOverrideBody] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    term: IntervalBody | None = None
    description: Description = ""

    @model_validator(mode="after")
    def _one_plan(self) -> Self:
        if (self.plan is None) == (self.plan_version_id is None):
            raise ValueError("needs either plan or plan_version_id")
        return self

    def to_command(self) -> CreatePlanOverlay:
        return CreatePlanOverlay(
            customer_id=self.customer_id,
            plan_code=self.plan,
            plan_version_id=self.plan_version_id,
            overrides=tuple(price.to_domain() for price in self.prices),
            term=self.term.to_domain() if self.term else None,
            description=self.description,
        )


class PlanOverlayBody(StrictBody):
    """What one customer has otherwise. `overrides` is what was agreed, `prices` all of what it comes to.

    An overridden price has an id of its own. `words` says in one paragraph what is otherwise than in the plan.
    """

    model_config = examples(
        {
            "id": "ovl_01jz3v6m1qk0c8n4r2d5s7t9wx",
            "customer_id": "cus_01jz3v6m1qk0c8n4r2d5s7t9wx",
            "plan_id": "pln_01jz3v6m1qk0c8n4r2d5s7t9wx",
            "plan": "power-by-the-minute",
            "plan_version_id": "plv_01jz3v6m1qk0c8n4r2d5s7t9wx",
            "number": 1,
            "overrides": [{"code": "minutes", "currency": "USD", "included_quantity": "1000"}],
            "term": {"unit": "year", "count": 3},
            "description": "Agreed with their fleet manager in May",
            "prices": [
                {"id": "prc_01jz3v6m1qk0c8n4r2d5s7t9wz", **PUBLISHED_MINUTES, "included_quantity": "1000"}
            ],
            "words": "The price minutes in USD: the included quantity goes from 500 to 1000, 100 % more.",
            "version": 1,
            "created_at": "2025-06-01T12:00:00Z",
            "withdrawn_at": None,
        }
    )

    id: str
    customer_id: str
    plan_id: str
    plan: str
    plan_version_id: str
    number: int
    overrides: list[dict[str, Any]]
    term: IntervalBody | None
    description: str
    prices: list[PriceBody]
    words: str
    version: int
    created_at: Instant
    withdrawn_at: Instant | None

    @classmethod
    def from_domain(cls, found: Overlaid) -> Self:
        overlay, version = found.overlay, found.plan_version
        content = version.content
        effective = overlaid(content, overlay.overrides)
        same = ("id", "customer_id", "plan_id", "plan_version_id", "term", "description", "version")
        return cls(
            **{name: getattr(overlay, name) for name in same},
            plan=version.code,
            number=version.number,
            overrides=[
                {"code": override.code, "currency": override.currency, **document_of(override.changes)}
                for override in overlay.overrides
            ],
            prices=[
                PriceBody.published(price, overlay.id_of(price, version.id, currency=content.currency))
                for price in effective.prices
            ],
            words=in_words(plan_changes(content, effective)),
            created_at=overlay.created_at,
            withdrawn_at=overlay.withdrawn_at,
        )

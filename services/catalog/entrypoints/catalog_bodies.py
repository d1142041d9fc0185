"""A whole catalog as one document, and what becomes of each thing in it when it is imported."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from libs.common.expression import LENGTH_MAX as EXPRESSION_LENGTH_MAX
from libs.common.web.bodies import Code, DecimalText, Description, Flag, Instant, StrictBody
from services.catalog.application.catalog_changes import Action, CatalogImport
from services.catalog.application.catalog_document import FORMAT, PlanEntry, ThingKind
from services.catalog.application.create_coupon import CreateCoupon
from services.catalog.application.create_feature import CreateFeature
from services.catalog.application.create_product import CreateProduct
from services.catalog.domain.known_meter import KnownMeter
from services.catalog.domain.price import PriceTiming
from services.catalog.domain.sale import Validity
from services.catalog.entrypoints.bodies import ProductCreateBody, Unit, examples
from services.catalog.entrypoints.coupon_bodies import CouponCreateBody
from services.catalog.entrypoints.feature_bodies import FeatureCreateBody
from services.catalog.entrypoints.plan_bodies import PlanCreateBody
from services.catalog.entrypoints.plan_version_bodies import PlanChangeLineBody
from services.catalog.entrypoints.price_bodies import (
    LIST_LENGTH_MAX,
    CurrencyCode,
    PriceTermsBody,
    PriceWriteBody,
)

MetersWord = Annotated[str, StringConstraints(min_length=1, max_length=256)]
MetersExpression = Annotated[str, StringConstraints(min_length=1, max_length=EXPRESSION_LENGTH_MAX)]
FilterValue = Annotated[str, StringConstraints(max_length=256)]
MetersNumber = Annotated[int, Field(strict=True, ge=0)]
MeterFilter = Annotated[
    dict[MetersWord, Annotated[list[FilterValue | None], Field(max_length=LIST_LENGTH_MAX)]],
    Field(max_length=LIST_LENGTH_MAX),
]


def _format(value: object) -> object:
    if type(value) is not int or value != FORMAT:
        raise ValueError(f"must be {FORMAT}, the version of the format that is read here")
    return value


FormatNumber = Annotated[
    int, BeforeValidator(_format), WithJsonSchema({"type": "integer", "const": FORMAT, "examples": [FORMAT]})
]

_LUMINAIRES: dict[str, Any] = {
    "code": "luminaires",
    "product": "luminaire",
    "kind": "recurring",
    "model": "per_unit",
    "unit_amount": "3.20",
}
_PLAN: dict[str, Any] = {
    "code": "light",
    "name": "Light as a service",
    "currency": "EUR",
    "interval": {"unit": "month"},
    "prices": [_LUMINAIRES],
}
_PRODUCT: dict[str, Any] = {
    "code": "luminaire",
    "name": "Luminaire",
    "kind": "goods",
    "unit": "luminaire",
    "tax_category": "standard",
}
_METER: dict[str, Any] = {
    "code": "light",
    "event_type": "light.delivered",
    "aggregation": "sum",
    "value": "/klm_h",
    "unit": "klm·h",
}
_FEATURE: dict[str, Any] = {"code": "sensors", "name": "Presence sensors", "kind": "switch"}
_COUPON: dict[str, Any] = {
    "code": "first-month",
    "name": "The first month at half the price",
    "percent": "50",
    "duration": "once",
    "plans": ["light"],
}


class MeterDimensionBody(StrictBody):
    """What usage is grouped by, worked out of each event."""

    model_config = examples({"name": "band", "expression": 'floor(event("/distance") / 500)'})

    name: MetersWord
    expression: MetersExpression


class MeterEstimateBody(StrictBody):
    """What a counter that nobody has read is taken to have counted."""

    policy: MetersWord | None = None
    periods: MetersNumber | None = None
    in_a_row: MetersNumber | None = None


class MeterCounterBody(StrictBody):
    """The counters of a meter that takes readings."""

    model_config = examples({"register_digits": 6, "estimate": {"periods": 3}})

    register_digits: MetersNumber | None = None
    decimals: MetersNumber | None = None
    rate_max: DecimalText | None = None
    estimate: MeterEstimateBody | None = None
    backwards: MetersWord | None = None


class MeterEntryBody(StrictBody):
    """A meter, for whoever defines it at metering (POST /v1/meters), as the command line does.

    The catalog only looks whether it is known, and counts in the same way and unit. One with a `counter` takes readings:
    its event type, aggregation and value follow, and are left out.
    """

    model_config = examples(_METER)

    code: Code
    event_type: MetersWord | None = Field(default=None, examples=["light.delivered"])
    aggregation: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")] | None = Field(
        default=None, examples=["sum"]
    )
    counter: MeterCounterBody | None = None
    value: MetersWord | None = Field(default=None, examples=["/klm_h"])
    value_expression: MetersExpression | None = None
    group_by: list[MetersWord | MeterDimensionBody] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    filter: MeterFilter = Field(default_factory=dict)
    exclude: list[MeterFilter] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    filter_expression: MetersExpression | None = None
    operation: MetersWord | None = None
    keeps: Flag = False
    level: MetersWord | None = None
    per: MetersWord | None = None
    by_day: Flag = False
    peak_of: MetersWord | None = None
    unit: Unit | None = None
    description: Description | None = None

    @model_validator(mode="after")
    def _reads_events_or_counters(self) -> Self:
        if self.counter is None and (self.event_type is None or self.aggregation is None):
            raise ValueError("needs event_type and aggregation, or a counter")
        return self

    def to_entry(self) -> KnownMeter:
        """What a counter counts is added up."""
        return KnownMeter(
            code=self.code, meter_id="", aggregation=self.aggregation or "sum", unit=self.unit, version=0
        )


class ProductEntryBody(ProductCreateBody):
    """Something that is sold."""

    model_config = examples(_PRODUCT)

    def to_entry(self) -> CreateProduct:
        return CreateProduct(self.code, self.kind, self.details())


class FeatureEntryBody(FeatureCreateBody):
    """Something that plans let a customer do."""

    model_config = examples(_FEATURE)

    def to_entry(self) -> CreateFeature:
        return CreateFeature(self.code, self.kind, self.meter, self.details())


class PriceEntryBody(PriceTermsBody):
    """One way in which a product, named by its code, is charged. What is left out comes from elsewhere.

    `currency` from the plan, `description` and `tax_category` from the product, `unit` from the meter or else the
    product; `timing` is in advance, for usage in arrears. A `unit` or `tax_category` of null is none at all.
    """

    model_config = examples(_LUMINAIRES)

    product: Code = Field(examples=["luminaire"])
    description: Description | None = None
    timing: PriceTiming | None = Field(default=None, description="In advance, or for usage in arrears.")
    currency: CurrencyCode | None = None

    def to_written(self) -> dict[str, Any]:
        """As `WrittenPrice` has it, in plain parts."""
        written = PriceWriteBody.model_validate(self.model_dump(exclude_unset=True)).to_written()
        nulls = (name for name in ("unit", "tax_category") if getattr(self, name) is None)
        return {**written, "left_empty": frozenset(name for name in nulls if name in self.model_fields_set)}


class PlanEntryBody(PlanCreateBody):
    """A plan, on sale within its bounds as soon as the document is imported; only a draft if `publish` is false.

    Published anew only if it says something else than its newest version. `valid_from` and `valid_until` bound when
    it may be newly agreed to.
    """

    model_config = examples(_PLAN)

    prices: list[PriceEntryBody] = Field(max_length=LIST_LENGTH_MAX)  # type: ignore[assignment]
    publish: Flag = True
    valid_from: Instant | None = None
    valid_until: Instant | None = None

    def to_entry(self) -> PlanEntry:
        bounds = Validity(self.valid_from, self.valid_until)
        return PlanEntry(self.code, self.to_written(), self.publish, bounds)


class CouponEntryBody(CouponCreateBody):
    """Money off, for products and plans that are named by their codes."""

    model_config = examples(_COUPON)

    products: list[Code] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)

    def to_entry(self) -> CreateCoupon:
        return CreateCoupon(self.code, self.to_terms(), tuple(self.products))


class CatalogDocumentBody(StrictBody):
    """A whole catalog. Codes are what things are known by: here, in other deployments, and the next time.

    `perennial_catalog` is the version of the format.
    """

    model_config = examples(
        {
            "perennial_catalog": FORMAT,
            "meters": [_METER],
            "products": [_PRODUCT],
            "features": [_FEATURE],
            "plans": [_PLAN],
            "coupons": [_COUPON],
        }
    )

    perennial_catalog: FormatNumber
    meters: list[MeterEntryBody] = Field(default_factory=list)
    products: list[ProductEntryBody] = Field(default_factory=list)
    features: list[FeatureEntryBody] = Field(default_factory=list)
    plans: list[PlanEntryBody] = Field(default_factory=list)
    coupons: list[CouponEntryBody] = Field(default_factory=list)


class ThingChangeBody(StrictBody):
    """What becomes of one thing. `version` is that of the plan which is put on sale.

    `changes` are what is otherwise than before, each with its place in the document, what it was, and what it is.
    """

    model_config = ConfigDict(
        from_attributes=True,
        **examples(
            {
                "kind": "plan",
                "code": "light",
                "pointer": "/plans/0",
                "action": "update",
                "version": 2,
                "words": "changes, on sale as version 2",
                "changes": [
                    {
                        "pointer": "/plans/0/prices/0/unit_amount",
                        "price": "luminaires",
                        "what": "changed",
                        "before": "3.2",
                        "after": "3.28",
                        "words": "the price luminaires in EUR: the unit amount goes from 3.2 to 3.28, 2.5 % more",
                    }
                ],
            }
        ),
    )

    kind: ThingKind
    code: str
    pointer: str | None
    action: Action
    version: int | None
    words: str
    changes: list[PlanChangeLineBody]


class CatalogImportBody(StrictBody):
    """What has changed, if it is `applied`, or what would; all of it in one transaction.

    `counts` has every action. Things that stay as they are are listed as well.
    """

    applied: bool
    counts: dict[Action, int]
    words: str = Field(examples=["1 to update, 4 unchanged."])
    things: list[ThingChangeBody]

    @classmethod
    def from_domain(cls, done: CatalogImport) -> Self:
        return cls.model_validate(done, from_attributes=True)

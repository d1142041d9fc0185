"""What prices look like in requests and answers.

Amounts are plain decimals in the price's currency, not money: a price may be finer than a cent. What can be judged
only together (tiers, amounts, products, meters) is judged by the domain, so that all faults come in one answer.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from libs.common.periods import Interval
from libs.common.web.bodies import (
    Code,
    Count,
    DecimalText,
    Description,
    Flag,
    StrictBody,
    WrittenIntervalUnit,
    in_months,
)
from services.catalog.domain.price import (
    DEFAULT_TIMING,
    AllowancePooling,
    CapacityBasis,
    PackageRounding,
    Price,
    PriceKind,
    PriceModel,
    PriceTiming,
    Proration,
    TaxBehavior,
)
from services.catalog.entrypoints.bodies import TaxCategory, Unit, examples

LIST_LENGTH_MAX = 1_000  # what is read at all; how many a plan may have is the domain's to say

CurrencyCode = Annotated[str, Field(pattern=r"^[A-Z]{3}$", max_length=3, examples=["USD"])]
IntervalCount = Annotated[int, Field(strict=True, ge=1, le=10_000, examples=[1])]
PeriodCount = Annotated[int, Field(strict=True, ge=1, le=10_000, examples=[3])]
Dimension = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x20\x7f]+$", max_length=100)]
CellValue = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=255)]


class PartBody(StrictBody):
    """Part of a plan: the same names as in the domain, read from it as it is."""

    model_config = ConfigDict(from_attributes=True)


class IntervalBody(PartBody):
    """Calendar steps, counted from each subscription's anchor; a month is a calendar month.

    A quarter is kept as three months, a half-year as six, and both are answered so.
    """

    model_config = examples({"unit": "month", "count": 1})

    unit: WrittenIntervalUnit = Field(examples=["month"])
    count: IntervalCount = 1

    _read = model_validator(mode="before")(in_months)

    def to_domain(self) -> Interval:
        return Interval(self.unit, self.count)


class PriceTierBody(PartBody):
    """The units up to the running total `up_to`, itself included; null on the last tier.

    `unit_amount` for each, or `rate_percent` in tiers of percentages; `flat_amount` once, when the tier is reached;
    the tier comes to `cap_amount` at most.
    """

    model_config = examples({"up_to": "100000", "unit_amount": "5.20"})

    up_to: DecimalText | None = Field(default=None, examples=["100000"])
    unit_amount: DecimalText | None = Field(default=None, examples=["5.20"])
    flat_amount: DecimalText | None = Field(default=None, examples=[None])
    rate_percent: DecimalText | None = Field(default=None, examples=[None])
    cap_amount: DecimalText | None = Field(default=None, examples=[None])


class MatrixCellBody(PartBody):
    """What a unit costs whose dimensions have these values, in the order of `dimensions`; `*` is any value.

    The cell with the fewest wildcards counts; of two with as many, the one that names the leftmost dimension.
    """

    model_config = examples({"values": ["eu-west", "*"], "unit_amount": "0.12"})

    values: list[CellValue] = Field(max_length=LIST_LENGTH_MAX)
    unit_amount: DecimalText


class RolloverBody(PartBody):
    """Included units left over go on to later periods: at most `cap` of them, for `periods` periods."""

    model_config = examples({"cap": "30", "periods": 1})

    cap: DecimalText | None = Field(default=None, examples=["30"])
    periods: PeriodCount = 1


class PriceTermsBody(PartBody):
    """How a price is charged. Which fields belong to which model is told in the catalog's README."""

    code: Code = Field(examples=["minutes"])
    kind: PriceKind = Field(examples=["usage"])
    model: PriceModel = Field(examples=["graduated"])
    unit_amount: DecimalText | None = Field(default=None, examples=[None])
    tiers: list[PriceTierBody] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    charges_first_flat_at_zero: Flag = Field(
        default=True, description="Is the first tier's flat amount charged for nothing?"
    )
    package_size: DecimalText | None = Field(default=None, examples=[None])
    package_rounding: PackageRounding = Field(
        default="up", description="Is a package begun charged whole, or not at all?"
    )
    rate_percent: DecimalText | None = Field(default=None, examples=[None])
    fixed_amount_per_event: DecimalText | None = Field(default=None, examples=[None])
    free_events: Count | None = Field(default=None, examples=[None])
    free_amount: DecimalText | None = Field(default=None, examples=[None])
    minimum_amount_per_event: DecimalText | None = Field(default=None, examples=[None])
    maximum_amount_per_event: DecimalText | None = Field(default=None, examples=[None])
    dimensions: list[Dimension] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    cells: list[MatrixCellBody] = Field(default_factory=list, max_length=LIST_LENGTH_MAX)
    capacity_basis: CapacityBasis | None = None
    expression: Description | None = Field(default=None, examples=[None])
    included_quantity: DecimalText = Field(default=Decimal(0), examples=["0"])
    allowance_interval: IntervalBody | None = Field(
        default=None, description="How often what is included begins anew; null: whenever it is charged."
    )
    allowance_pool: AllowancePooling | None = Field(
        default=None,
        examples=[None],
        description="Is what is included earned with the time it is held, and what goes beyond it owed once: at the "
        "end of each interval of the allowance, or of the subscription? null: it is there at once, and drawn on "
        "whenever it is charged.",
    )
    rollover: RolloverBody | None = None
    minimum_amount: DecimalText | None = Field(
        default=None, examples=[None], description="The least that one charge comes to."
    )
    maximum_amount: DecimalText | None = Field(
        default=None, examples=[None], description="The most that one charge comes to."
    )
    interval: IntervalBody | None = Field(
        default=None, description="How often it is charged; null: with each billing period of the plan."
    )
    tax_behavior: TaxBehavior = "exclusive"
    tax_category: TaxCategory | None = None
    phase: Code | None = Field(
        default=None, examples=[None], description="The phase in which it holds; null: all."
    )
    meter: Code | None = Field(default=None, examples=["flying-minutes"])
    unit: Unit | None = None
    proration: Proration = "day"


MINUTES: dict[str, Any] = {
    "code": "minutes",
    "product": "flying-minutes",
    "kind": "usage",
    "model": "graduated",
    "meter": "flying-minutes",
    "tiers": [{"up_to": "100000", "unit_amount": "5.20"}, {"unit_amount": "4.75"}],
    "included_quantity": "500",
}


class PriceWriteBody(PriceTermsBody):
    """One way in which a product is charged. Name the product by `product_id` or by `product`, its code.

    What is left out comes from elsewhere: `currency` from the plan, `description` and `tax_category` from the
    product, `unit` from the meter or else the product; `timing` is in advance, for usage in arrears. The same `code`
    may stand once for each currency.
    """

    model_config = examples(MINUTES)

    product_id: str | None = Field(default=None, max_length=64)
    product: Code | None = Field(default=None, examples=["flying-minutes"])
    description: Description | None = None
    timing: PriceTiming | None = Field(default=None, description="In advance, or for usage in arrears.")
    currency: CurrencyCode | None = None

    def to_written(self) -> dict[str, Any]:
        """As `WrittenPrice` has it, in plain parts."""
        told = self.model_dump(exclude={"product"})
        for name in ("product_id", "description", "currency"):
            told[name] = told[name] or ""
        told["timing"] = told["timing"] or DEFAULT_TIMING[self.kind]
        return {"terms": told, "product_code": self.product}


PUBLISHED_MINUTES: dict[str, Any] = {
    **{name: part for name, part in MINUTES.items() if name != "product"},
    "product_id": "prd_01jz3v6m1qk0c8n4r2d5s7t9wx",
    "description": "Flying minutes",
    "timing": "arrears",
    "currency": "USD",
    "unit": "minute",
}


class DraftPriceBody(PriceTermsBody):
    """A price of a draft, with what was left out filled in."""

    model_config = examples(PUBLISHED_MINUTES)

    product_id: str
    description: str
    timing: PriceTiming
    currency: str


class PriceBody(DraftPriceBody):
    """A published price. Its id never changes, nor does anything else of it."""

    model_config = examples({"id": "prc_01jz3v6m1qk0c8n4r2d5s7t9wx", **PUBLISHED_MINUTES})

    id: str

    @classmethod
    def published(cls, price: Price, id: str) -> Self:
        return cls(id=id, **{name: getattr(price, name) for name in DraftPriceBody.model_fields})

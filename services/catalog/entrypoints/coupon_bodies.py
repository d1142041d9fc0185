"""Requests and answers about coupons and their redemptions."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from libs.common.web.bodies import (
    Code,
    DecimalText,
    Instant,
    Metadata,
    MoneyBody,
    Name,
    StrictBody,
    identifier,
)
from services.catalog.application.coupon_availability import CouponAvailability
from services.catalog.domain.coupon import (
    NAMED_MAX,
    PERIODS_MAX,
    STACKING_ORDER_MAX,
    Coupon,
    CouponDuration,
    CouponTerms,
)
from services.catalog.domain.coupon_redemption import CouponRedemption
from services.catalog.entrypoints.bodies import examples

CouponId = Annotated[str, identifier("cpn"), Field(examples=["cpn_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
CustomerId = Annotated[str, identifier("cus"), Field(examples=["cus_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
RedemptionId = Annotated[str, identifier("rdm"), Field(examples=["rdm_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
SubscriptionId = Annotated[str, identifier("sub"), Field(examples=["sub_01jz3v6m1qk0c8n4r2d5s7t9wx"])]

Percent = Annotated[DecimalText, Field(examples=["12.5"])]
Periods = Annotated[int, Field(strict=True, ge=1, le=PERIODS_MAX, examples=[3])]
StackingOrder = Annotated[int, Field(strict=True, ge=0, le=STACKING_ORDER_MAX, examples=[0])]
Limit = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1, examples=[100])]
Products = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=64)]],
    Field(max_length=NAMED_MAX, description="Ids or codes.", examples=[["flying-minutes"]]),
]
Plans = Annotated[list[Code], Field(max_length=NAMED_MAX, description="Codes.", examples=[["power"]])]


TypedCode = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?$", max_length=64, examples=["SPRING"]),
    AfterValidator(str.lower),
]
"""A code as a person typed it: letters of either case."""

_SPRING: dict[str, Any] = {
    "code": "spring",
    "name": "A quarter off for three months",
    "percent": "25",
    "amount": None,
    "duration": "periods",
    "periods": 3,
    "plans": ["power"],
    "stacking_order": 10,
    "redemptions_max": 500,
    "redemptions_per_customer_max": 1,
    "valid_from": "2025-03-01T00:00:00Z",
    "valid_until": "2025-06-01T00:00:00Z",
    "metadata": {"campaign": "spring-2025"},
}
_WELCOME: dict[str, Any] = {
    "code": "welcome",
    "name": "Ten euros to begin with",
    "amount": {"amount": "10.00", "currency": "EUR"},
    "duration": "once",
    "redemptions_per_customer_max": 1,
}


class CouponCreateBody(StrictBody):
    """`percent` off, or `amount` off: one of the two. For `products` and `plans`, or without them for all.

    Once: until the amount is used up, or on one invoice if it is a percentage. Several coupons of one invoice
    apply in rising `stacking_order`, then by code, each to what the one before left; never below zero.
    """

    model_config = examples({**_SPRING, "products": ["flying-minutes"]}, _WELCOME)

    code: Code = Field(examples=["spring"])
    name: Name
    percent: Percent | None = None
    amount: MoneyBody | None = None
    duration: CouponDuration = Field(examples=["periods"])
    periods: Periods | None = None
    products: Products = Field(default_factory=list)
    plans: Plans = Field(default_factory=list)
    stacking_order: StackingOrder = 0
    redemptions_max: Limit | None = None
    redemptions_per_customer_max: Limit | None = None
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    metadata: Metadata = Field(default_factory=dict)

    def to_terms(self) -> CouponTerms:
        written = set(type(self).model_fields) - {"code", "products"}
        return CouponTerms(**_as_terms(self, written))


class CouponChangeBody(StrictBody):
    """What is left out stays as it is. Once it is redeemed, only name, limits, validity and metadata may change.

    `percent`, `amount`, `periods`, the limits and the validity are taken away by null.
    """

    model_config = examples({"name": "A quarter off", "redemptions_max": 1000, "valid_until": None})

    name: Name | SkipJsonSchema[None] = None
    percent: Percent | None = None
    amount: MoneyBody | None = None
    duration: CouponDuration | SkipJsonSchema[None] = None
    periods: Periods | None = None
    products: Products | SkipJsonSchema[None] = None
    plans: Plans | SkipJsonSchema[None] = None
    stacking_order: StackingOrder | SkipJsonSchema[None] = None
    redemptions_max: Limit | None = None
    redemptions_per_customer_max: Limit | None = None
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    metadata: Metadata | SkipJsonSchema[None] = None

    @field_validator("name", "duration", "products", "plans", "stacking_order", "metadata", mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("must not be null: leave it out to keep it as it is")
        return value

    def apply(self, terms: CouponTerms) -> CouponTerms:
        return replace(terms, **_as_terms(self, self.model_fields_set - {"products"}))


def _as_terms(body: CouponCreateBody | CouponChangeBody, names: set[str]) -> dict[str, Any]:
    written = {name: getattr(body, name) for name in names}
    if "plans" in written:
        written["plan_codes"] = tuple(written.pop("plans"))
    if written.get("amount") is not None:
        written["amount"] = written["amount"].to_money()
    return written


class CouponBody(StrictBody):
    """How often it was redeemed is told by its availability: redeeming makes no new version of the coupon."""

    model_config = examples(
        {
            "id": "cpn_01jz3v6m1qk0c8n4r2d5s7t9wx",
            **_SPRING,
            "product_ids": ["prd_01jz3v6m1qk0c8n4r2d5s7t9wx"],
            "version": 1,
            "created_at": "2025-02-20T09:00:00Z",
            "archived_at": None,
        }
    )

    id: str
    code: str
    name: str
    percent: DecimalText | None
    amount: MoneyBody | None
    duration: CouponDuration
    periods: int | None
    product_ids: list[str]
    plans: list[str]
    stacking_order: int
    redemptions_max: int | None
    redemptions_per_customer_max: int | None
    valid_from: Instant | None
    valid_until: Instant | None
    metadata: dict[str, str]
    version: int
    created_at: Instant
    archived_at: Instant | None

    @classmethod
    def from_domain(cls, coupon: Coupon) -> Self:
        told = {name: getattr(coupon.terms, name) for name in CouponTerms.__slots__}
        amount = told.pop("amount")
        return cls(
            id=coupon.id,
            code=coupon.code,
            amount=MoneyBody.from_money(amount) if amount else None,
            product_ids=list(told.pop("product_ids")),
            plans=list(told.pop("plan_codes")),
            **told,
            version=coupon.version,
            created_at=coupon.created_at,
            archived_at=coupon.archived_at,
        )


class CouponAvailabilityBody(StrictBody):
    """Whether it can be redeemed now, and once more; `refusal` is the code of the problem if it cannot."""

    model_config = ConfigDict(
        from_attributes=True,
        **examples(
            {
                "coupon_id": "cpn_01jz3v6m1qk0c8n4r2d5s7t9wx",
                "redeemable": False,
                "refusal": "coupon_exhausted_for_customer",
                "redeemed_count": 17,
                "customer_redeemed_count": 1,
            }
        ),
    )

    coupon_id: str
    redeemable: bool
    refusal: str | None
    redeemed_count: int
    customer_redeemed_count: int | None

    @classmethod
    def from_domain(cls, availability: CouponAvailability) -> Self:
        return cls.model_validate(availability)


class RedemptionCreateBody(StrictBody):
    """Name the coupon by `coupon_id` or by `coupon`, its code as somebody typed it.

    With `subscription_id` it holds for that subscription, without it for all of the customer's.
    """

    model_config = examples({"coupon": "SPRING", "customer_id": "cus_01jz3v6m1qk0c8n4r2d5s7t9wx"})

    coupon_id: CouponId | None = None
    coupon: TypedCode | None = None
    customer_id: CustomerId
    subscription_id: SubscriptionId | None = None

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if (self.coupon_id is None) == (self.coupon is None):
            raise ValueError("name the coupon by coupon_id or by coupon (its code), one of the two")
        return self


class RedemptionBody(StrictBody):
    """`coupon_version` is that of the coupon when it was redeemed."""

    model_config = ConfigDict(
        from_attributes=True,
        **examples(
            {
                "id": "rdm_01jz3v6m1qk0c8n4r2d5s7t9wx",
                "coupon_id": "cpn_01jz3v6m1qk0c8n4r2d5s7t9wx",
                "coupon_version": 1,
                "customer_id": "cus_01jz3v6m1qk0c8n4r2d5s7t9wx",
                "subscription_id": None,
                "version": 1,
                "redeemed_at": "2025-03-02T10:30:00Z",
                "withdrawn_at": None,
            }
        ),
    )

    id: str
    coupon_id: str
    coupon_version: int
    customer_id: str
    subscription_id: str | None
    version: int
    redeemed_at: Instant
    withdrawn_at: Instant | None

    @classmethod
    def from_domain(cls, redemption: CouponRedemption) -> Self:
        return cls.model_validate(redemption)

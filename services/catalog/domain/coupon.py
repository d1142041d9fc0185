"""A coupon: money off. Its terms are fixed once somebody has redeemed it; what it comes to is billing's to say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from libs.common.errors import Conflict, InputError, InvalidInput, NotFound, RuleViolation
from libs.common.money import Money

CouponDuration = Literal["once", "periods", "forever"]

PERCENT_DECIMALS_MAX = 6
PERIODS_MAX = 1_200
STACKING_ORDER_MAX = 9_999
NAMED_MAX = 100
COUNT_MAX = 2**31 - 1


class CouponNotFound(NotFound):
    """No coupon of this tenant has this id or this code."""

    code = "coupon_not_found"
    title = "There is no such coupon"


class CouponCodeTaken(Conflict):
    """Another coupon of this tenant has the code, perhaps an archived one."""

    code = "coupon_code_taken"
    title = "The coupon code is taken"


class CouponArchived(Conflict):
    """An archived coupon is kept for those who redeemed it: nobody else can, and it changes no more."""

    code = "coupon_archived"
    title = "The coupon is archived"


class CouponInvalid(InvalidInput):
    """All that is wrong is listed, each with its place and what to do."""

    code = "coupon_invalid"
    title = "The coupon is invalid"


class CouponTermsFixed(RuleViolation):
    """What a coupon is worth, for what and how long, stays as it was when the first customer redeemed it."""

    code = "coupon_terms_fixed"
    title = "The terms of a redeemed coupon are fixed"


class CouponLimitTooLow(RuleViolation):
    """A limit lower than what has been redeemed would already be broken."""

    code = "coupon_limit_too_low"
    title = "More has been redeemed than the limit would allow"


class CouponNotValidYet(RuleViolation):
    code = "coupon_not_valid_yet"
    title = "The coupon is not valid yet"


class CouponExpired(RuleViolation):
    code = "coupon_expired"
    title = "The coupon has expired"


class CouponExhausted(Conflict):
    """It has been redeemed as often as it may be."""

    code = "coupon_exhausted"
    title = "The coupon is used up"


class CouponExhaustedForCustomer(CouponExhausted):
    """This customer has redeemed it as often as one customer may."""

    code = "coupon_exhausted_for_customer"
    title = "The customer has used the coupon up"


@dataclass(frozen=True, slots=True)
class CouponTerms:
    """`percent` off, or `amount` off: one of the two; for one billing period, for `periods` of them, or for ever.

    Without `product_ids` it is for all products, without `plan_codes` for all plans; with both, for these
    products in these plans. It can be redeemed from `valid_from` until before `valid_until`.
    """

    name: str
    duration: CouponDuration
    percent: Decimal | None = None
    amount: Money | None = None
    periods: int | None = None
    product_ids: tuple[str, ...] = ()
    plan_codes: tuple[str, ...] = ()
    stacking_order: int = 0
    redemptions_max: int | None = None
    redemptions_per_customer_max: int | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


# What is fixed once redeemed, and how it is called where it is written.
_FIXED = {
    "percent": "percent",
    "amount": "amount",
    "duration": "duration",
    "periods": "periods",
    "product_ids": "products",
    "plan_codes": "plans",
    "stacking_order": "stacking_order",
}


@dataclass(frozen=True, slots=True)
class Coupon:
    """How often it was redeemed is counted beside it: redeeming makes no new version."""

    id: str
    code: str
    terms: CouponTerms
    version: int
    created_at: datetime
    archived_at: datetime | None = None

    @property
    def archived(self) -> bool:
        return self.archived_at is not None


@dataclass(frozen=True, slots=True)
class RedemptionCount:
    """How often a coupon is redeemed now, over all and by one customer; what was withdrawn does not count."""

    overall: int = 0
    by_customer: int = 0


def check_terms(terms: CouponTerms, *, found: Sequence[InputError] = ()) -> None:
    """Refuse terms that make no sense. `found` are faults that were seen while they were read.

    Raises: CouponInvalid, with every fault and not only the first.
    """
    faults = [*found, *_terms_faults(terms)]
    if faults:
        raise CouponInvalid(
            f"the coupon has {len(faults)} fault{'s' if len(faults) > 1 else ''}: see errors",
            errors=faults,
            remedy="Correct what is listed and send it again.",
        )


def change_terms(coupon: Coupon, terms: CouponTerms, *, redeemed: RedemptionCount) -> Coupon:
    """The coupon with these terms, which were checked; itself when they are the same.

    `redeemed` tells how often it is redeemed, and by whichever customer has redeemed it most.
    Raises: CouponArchived, CouponTermsFixed, CouponLimitTooLow.
    """
    if terms == coupon.terms:
        return coupon
    if coupon.archived:
        raise CouponArchived(
            "an archived coupon cannot be changed",
            coupon_id=coupon.id,
            remedy="Make a new coupon with another code.",
        )
    if redeemed.overall:
        _check_fixed(coupon.terms, terms)
    for name, limit, count in (
        ("redemptions_max", terms.redemptions_max, redeemed.overall),
        ("redemptions_per_customer_max", terms.redemptions_per_customer_max, redeemed.by_customer),
    ):
        if limit is not None and limit < count:
            raise CouponLimitTooLow(
                f"{count} redemptions count already",
                pointer=f"/{name}",
                remedy=f"Choose at least {count}, or withdraw redemptions first.",
            )
    return replace(coupon, terms=terms, version=coupon.version + 1)


def archive(coupon: Coupon, now: datetime) -> Coupon:
    """Nobody can redeem it from now on; who has it keeps it. Archiving twice is harmless."""
    if coupon.archived:
        return coupon
    return replace(coupon, archived_at=now, version=coupon.version + 1)


def check_redeemable(coupon: Coupon, now: datetime) -> None:
    """Whether it can be redeemed at all at `now`; how often is counted elsewhere.

    Raises: CouponArchived, CouponNotValidYet, CouponExpired.
    """
    terms = coupon.terms
    if coupon.archived:
        raise CouponArchived(
            "an archived coupon cannot be redeemed", coupon_id=coupon.id, remedy="Choose another coupon."
        )
    if terms.valid_from is not None and now < terms.valid_from:
        raise CouponNotValidYet(
            "the coupon cannot be redeemed yet",
            valid_from=terms.valid_from,
            remedy="Redeem it once it is valid, or change valid_from.",
        )
    if terms.valid_until is not None and now >= terms.valid_until:
        raise CouponExpired(
            "the coupon can no longer be redeemed",
            valid_until=terms.valid_until,
            remedy="Choose another coupon, or change valid_until.",
        )


def check_count(terms: CouponTerms, redeemed: RedemptionCount) -> None:
    """Whether one more is allowed. Raises: CouponExhausted, CouponExhaustedForCustomer."""
    limit = terms.redemptions_max
    if limit is not None and redeemed.overall >= limit:
        raise CouponExhausted(
            "the coupon has been redeemed as often as it may be",
            redemptions_max=limit,
            remedy="Choose another coupon, or raise redemptions_max.",
        )
    limit = terms.redemptions_per_customer_max
    if limit is not None and redeemed.by_customer >= limit:
        raise CouponExhaustedForCustomer(
            "the customer has redeemed the coupon as often as one customer may",
            redemptions_per_customer_max=limit,
            remedy="Choose another coupon, or raise redemptions_per_customer_max.",
        )


def _check_fixed(before: CouponTerms, after: CouponTerms) -> None:
    for name, written in _FIXED.items():
        if getattr(before, name) != getattr(after, name):
            raise CouponTermsFixed(
                f"{written} is fixed once the coupon has been redeemed",
                pointer=f"/{written}",
                remedy="Archive this coupon and make another with another code.",
            )


def _terms_faults(terms: CouponTerms) -> Iterator[InputError]:
    yield from _value_faults(terms)
    yield from _duration_faults(terms)
    for name, named in (("products", terms.product_ids), ("plans", terms.plan_codes)):
        if len(named) > NAMED_MAX:
            yield {"pointer": f"/{name}", "detail": f"a coupon is limited to at most {NAMED_MAX} {name}"}
    if not 0 <= terms.stacking_order <= STACKING_ORDER_MAX:
        yield {"pointer": "/stacking_order", "detail": f"must lie between 0 and {STACKING_ORDER_MAX}"}
    for name in ("redemptions_max", "redemptions_per_customer_max"):
        limit = getattr(terms, name)
        if limit is not None and not 1 <= limit <= COUNT_MAX:
            detail = f"must lie between 1 and {COUNT_MAX}: leave it out if there is no limit"
            yield {"pointer": f"/{name}", "detail": detail}
    if terms.valid_from and terms.valid_until and terms.valid_until <= terms.valid_from:
        yield {"pointer": "/valid_until", "detail": "must come after valid_from"}


def _value_faults(terms: CouponTerms) -> Iterator[InputError]:
    percent, amount = terms.percent, terms.amount
    if percent is None and amount is None:
        yield {"pointer": "/percent", "detail": "give percent or amount: what the coupon takes off"}
    if percent is not None and amount is not None:
        yield {"pointer": "/percent", "detail": "give percent or amount, not both: null takes one away"}
    if percent is not None:
        if not (percent.is_finite() and 0 < percent <= 100):
            yield {"pointer": "/percent", "detail": "must be more than 0 and at most 100"}
        elif percent != percent.quantize(Decimal(1).scaleb(-PERCENT_DECIMALS_MAX)):
            detail = f"has more than {PERCENT_DECIMALS_MAX} decimals: round it"
            yield {"pointer": "/percent", "detail": detail}
    if amount is not None and amount.amount_minor <= 0:
        yield {"pointer": "/amount/amount", "detail": "must be more than 0"}


def _duration_faults(terms: CouponTerms) -> Iterator[InputError]:
    if terms.duration == "periods":
        if terms.periods is None or not 1 <= terms.periods <= PERIODS_MAX:
            detail = f"say for how many billing periods it holds: between 1 and {PERIODS_MAX}"
            yield {"pointer": "/periods", "detail": detail}
    elif terms.periods is not None:
        detail = "belongs to duration periods only: leave it out, or choose that duration"
        yield {"pointer": "/periods", "detail": detail}

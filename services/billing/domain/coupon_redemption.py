"""A coupon that a customer has: for which documents it still takes something off, and what it has been used for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from libs.common.ids import derived_id
from libs.common.money import Money
from services.billing.domain.discount import Coupon

Duration = Literal["once", "periods", "forever"]
UseKind = Literal["used", "given_back"]

# What bills a customer is discounted. A credit is not: it takes back what was discounted (`taking_back.py`). Nor are
# deposits, compensation and the credits that a top-up sells, which are worth what is paid for them.
DISCOUNTED_KINDS = frozenset(("invoice", "change", "correction", "interim", "one_off"))


@dataclass(frozen=True, slots=True)
class CouponTerms:
    """What was redeemed: the coupon as it was then."""

    coupon_id: str
    code: str
    name: str
    duration: Duration
    percent: Decimal | None = None
    amount: Money | None = None
    periods: int | None = None
    product_ids: tuple[str, ...] = ()
    plan_codes: tuple[str, ...] = ()
    stacking_order: int = 0


@dataclass(frozen=True, slots=True)
class BilledOf:
    """A subscription on a document, in which of its billing periods the document bills it; None for no subscription."""

    subscription_id: str | None
    customer_id: str
    period_index: int


@dataclass(frozen=True, slots=True)
class CouponUse:
    """What one document took of a redemption; `given_back` when it was voided. Written once.

    `parts` are the billing periods that it counts for: subscription and index, with the amount.
    """

    id: str
    redemption_id: str
    invoice_id: str
    kind: UseKind
    amount: Money
    parts: tuple[tuple[str, int, int], ...]
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class CouponRedemption:
    """`subscription_id` None stands for all of the customer's. `used_count` and `used` sum its uses up.

    `periods` is what was used in each billing period of each subscription, in minor units, where those count.
    """

    id: str
    customer_id: str
    subscription_id: str | None
    terms: CouponTerms
    redeemed_at: datetime
    clock_id: str | None = None
    withdrawn_at: datetime | None = None
    used_count: int = 0
    used_minor: int = 0
    periods: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether it takes nothing off any document that is still to come."""
        terms = self.terms
        if self.withdrawn_at is not None:
            return True
        if terms.duration != "once":
            return False
        return self.used_count > 0 if terms.amount is None else self.used_minor >= terms.amount.amount_minor

    @property
    def counts_periods(self) -> bool:
        return self.terms.duration == "periods" or (
            self.terms.duration == "forever" and self.terms.amount is not None
        )


def coupons_on(
    redemptions: Iterable[CouponRedemption],
    billed: Sequence[BilledOf],
    *,
    document_kind: str,
    clock_id: str | None,
    now: datetime,
) -> tuple[Coupon, ...]:
    """The coupons for a document that is issued at `now`, with what was used of them before.

    A redemption counts from its instant on. Where it was not told by the document's clock, the two cannot be compared,
    and it counts from when it is heard of.
    """
    if document_kind not in DISCOUNTED_KINDS:
        return ()
    found: list[Coupon] = []
    for redemption in redemptions:
        if redemption.is_over or (redemption.clock_id == clock_id and now < redemption.redeemed_at):
            continue
        mine = [each for each in billed if _is_for(redemption, each)]
        if mine:
            found += _instances(redemption, mine)
    return tuple(found)


def _is_for(redemption: CouponRedemption, billed: BilledOf) -> bool:
    if redemption.subscription_id is not None:
        return billed.subscription_id == redemption.subscription_id
    return billed.customer_id == redemption.customer_id


def _instances(redemption: CouponRedemption, billed: Sequence[BilledOf]) -> Iterator[Coupon]:
    """One, or where each billing period counts for itself, one for each subscription."""
    terms = redemption.terms
    plain = Coupon(
        code=terms.code,
        name=terms.name,
        percent=terms.percent,
        amount=terms.amount,
        product_ids=terms.product_ids,
        plan_codes=terms.plan_codes,
        stacking_order=terms.stacking_order,
        redemption_id=redemption.id,
    )
    known = tuple(each.subscription_id for each in billed if each.subscription_id is not None)
    if not redemption.counts_periods:
        used = None if terms.amount is None else Money(redemption.used_minor, terms.amount.currency)
        yield replace(plain, already_used=used, subscription_ids=known or None)
        return
    for each in billed:
        if each.subscription_id is None:
            if terms.duration == "forever":
                yield plain  # a document about no subscription is a period of its own
            continue
        spent = redemption.periods.get(each.subscription_id, {})
        if terms.duration == "periods" and not _lasts(spent, each.period_index, terms.periods):
            continue
        used = None
        if terms.amount is not None:
            used = Money(spent.get(each.period_index, 0), terms.amount.currency)
        yield replace(
            plain,
            already_used=used,
            subscription_ids=(each.subscription_id,),
            period_index=each.period_index,
        )


def _lasts(spent: Mapping[int, int], index: int, periods: int | None) -> bool:
    """Periods are counted from the first one in which it took something off, whether or not it does in each."""
    assert periods is not None, "a coupon for some periods says how many"
    return not spent or min(spent) <= index < min(spent) + periods


def used(
    redemption: CouponRedemption, taken: Sequence[tuple[Coupon, Money]], *, invoice_id: str, now: datetime
) -> tuple[CouponRedemption, CouponUse]:
    """What an issued document took: `taken` are the coupons of this redemption on it, with their amounts."""
    parts = tuple(
        (coupon.subscription_ids[0], coupon.period_index, amount.amount_minor)
        for coupon, amount in taken
        if coupon.subscription_ids is not None and coupon.period_index is not None
    )
    currency = taken[0][1].currency
    amount = Money(sum(each.amount_minor for _, each in taken), currency)
    use = CouponUse(
        derived_id("cpu", redemption.id, invoice_id, "used"),
        redemption.id,
        invoice_id,
        "used",
        amount,
        parts,
        now,
    )
    return _counted(redemption, use, sign=1), use


def given_back(
    redemption: CouponRedemption, use: CouponUse, *, now: datetime
) -> tuple[CouponRedemption, CouponUse]:
    """The document was voided: what it took can be used again."""
    back = replace(
        use,
        id=derived_id("cpu", redemption.id, use.invoice_id, "given_back"),
        kind="given_back",
        amount=-use.amount,
        occurred_at=now,
    )
    return _counted(redemption, use, sign=-1), back


def _counted(redemption: CouponRedemption, use: CouponUse, *, sign: int) -> CouponRedemption:
    periods = {key: dict(spent) for key, spent in redemption.periods.items()}
    for subscription_id, index, minor in use.parts:
        spent = periods.setdefault(subscription_id, {})
        spent[index] = spent.get(index, 0) + sign * minor
        if sign < 0 and spent[index] <= 0:
            del spent[index]
    return replace(
        redemption,
        used_count=redemption.used_count + sign,
        used_minor=redemption.used_minor + sign * use.amount.amount_minor,
        periods={key: spent for key, spent in periods.items() if spent},
    )

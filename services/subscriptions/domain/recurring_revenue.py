"""Monthly recurring revenue: what the recurring fees of an agreement come to in a month, day by day, and its movements.

Nothing of it is an amount on an invoice: usage, what is charged once, taxes and discounts have no part in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Literal

from libs.common.exact import DIGITS_MAX, EXACT
from libs.common.money import exponent, round_half_away
from libs.common.periods import Interval
from services.subscriptions.domain.recurring_fee import NOTHING, FeeNotReckoned, FeePrice, fee_of
from services.subscriptions.domain.subscription import Subscription
from services.subscriptions.domain.subscription_item import SubscriptionItem

Part = Literal["agreement", "indexation"]
MovementKind = Literal["new", "expansion", "contraction", "churn", "reactivation", "indexation"]
RevenueCause = Literal["started", "renewed", "changed", "paused", "resumed", "ended", "filled"]
KINDS: tuple[MovementKind, ...] = (
    "new",
    "reactivation",
    "expansion",
    "indexation",
    "contraction",
    "churn",
)

# A third of a fee has no last decimal. It is kept to so many that a sum of millions of them, taken to the decimals of
# `SNAPPED`, rounds as the sum of the exact fractions does.
KEPT, SNAPPED = Decimal(1).scaleb(-20), Decimal(1).scaleb(-12)
_KEEP = Context(prec=DIGITS_MAX, rounding=ROUND_HALF_EVEN)
_MONTHS = {
    "month": Fraction(1),
    "year": Fraction(1, 12),
    "week": Fraction(52, 12),
    "day": Fraction(365, 12),
}


@dataclass(frozen=True, slots=True)
class RevenueMovement:
    """From the local date `on`, a subscription's MRR is `amount` more or less: a fact, added once and never changed.

    `part` says whether an indexation did it. What it means for the customer (new, churn and so on) is read off all of the
    customer's movements of that day.
    """

    id: str
    customer_id: str
    subscription_id: str
    on: date
    currency: str
    part: Part
    amount: Decimal
    cause: RevenueCause
    recorded_at: datetime
    test_clock_id: str | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Days on which a recurring item was agreed on, and not paused; `end_on` is None while that goes on."""

    item: SubscriptionItem
    start_on: date
    end_on: date | None
    is_indexation: bool = False


@dataclass(frozen=True, slots=True)
class RecurringPrice:
    price: FeePrice
    currency: str

    def monthly(self, quantity: Decimal | None) -> Decimal:
        """What the quantity comes to in a month; nothing where only billing could say.

        Rounding: at the twentieth decimal.
        Source: a year has 12 months, 52 weeks and 365 days.
        """
        try:
            fee = fee_of(self.price, NOTHING if quantity is None else quantity)
        except FeeNotReckoned:
            return NOTHING
        exact = Fraction(fee) * months_in(self.price.interval)
        return _KEEP.divide(Decimal(exact.numerator), Decimal(exact.denominator)).quantize(
            KEPT, context=_KEEP
        )


PriceKey = tuple[str, str | None, str]  # plan version, overlay, price
Mark = tuple[date, str, Part]


def months_in(interval: Interval) -> Fraction:
    """How often it begins in a month: a third for three months, 52/12 for a week."""
    return Fraction(_MONTHS[interval.unit], interval.count)


def key_of(item: SubscriptionItem) -> PriceKey:
    return item.plan_version_id, item.overlay_id, item.price_id


def stretches_of(subscription: Subscription) -> tuple[Stretch, ...]:
    """What has taken effect: nothing before it begins, in a trial, on the days of a pause, or after its end.

    By local dates, so that a day counts as it ends. What begins with a period counts once that has begun.
    """
    period = subscription.period
    if period is None:
        return ()
    ended_on = period.end_on if subscription.ended_at is not None else None
    pauses = [
        (pause.start_on, pause.end_on if pause.status == "over" else None)
        for pause in subscription.pauses
        if pause.status != "planned"
    ]
    found: list[Stretch] = []
    for segment in subscription.segments:
        if segment.item.kind != "recurring" or segment.start >= period.end:
            continue
        parts = [(segment.start_on, _earlier(segment.end_on, ended_on))]
        for pause in pauses:
            parts = [rest for part in parts for rest in _without(part, pause)]
        found += [
            Stretch(segment.item, start_on, end_on, segment.is_indexation and start_on == segment.start_on)
            for start_on, end_on in parts
            if end_on is None or start_on < end_on
        ]
    return tuple(found)


Days = tuple[date, date | None]


def _earlier(one: date | None, other: date | None) -> date | None:
    return min((on for on in (one, other) if on is not None), default=None)


def _without(days: Days, pause: Days) -> Iterator[Days]:
    (start, end), (pause_start, pause_end) = days, pause
    before = (start, _earlier(end, pause_start))
    if before[1] is not None and before[0] < before[1]:
        yield before
    if pause_end is not None and (end is None or pause_end < end):
        yield max(start, pause_end), end


def marks_of(stretches: Sequence[Stretch], prices: Mapping[PriceKey, RecurringPrice]) -> dict[Mark, Decimal]:
    """By day, currency and part: by how much MRR goes up or down. An indexation is what the quantity of before costs
    more at the new price; whatever else changes with it is the agreement's part.
    """
    marks: dict[Mark, Decimal] = defaultdict(lambda: NOTHING)
    by_item: dict[str, list[Stretch]] = defaultdict(list)
    for stretch in stretches:
        by_item[stretch.item.id].append(stretch)
    for known in by_item.values():
        before: Stretch | None = None
        for stretch in sorted(known, key=lambda one: one.start_on):
            priced = prices[key_of(stretch.item)]
            amount = priced.monthly(stretch.item.quantity)
            _put(marks, (stretch.start_on, priced.currency, "agreement"), amount)
            if stretch.end_on is not None:
                _put(marks, (stretch.end_on, priced.currency, "agreement"), amount.copy_negate())
            if stretch.is_indexation and before is not None and before.end_on == stretch.start_on:
                was = prices[key_of(before.item)]
                if was.currency == priced.currency:
                    quantity = before.item.quantity
                    more = EXACT.subtract(priced.monthly(quantity), was.monthly(quantity))
                    _put(marks, (stretch.start_on, priced.currency, "agreement"), more.copy_negate())
                    _put(marks, (stretch.start_on, priced.currency, "indexation"), more)
            before = stretch
    return {mark: amount for mark, amount in marks.items() if amount}


def _put(marks: dict[Mark, Decimal], mark: Mark, amount: Decimal) -> None:
    marks[mark] = EXACT.add(marks[mark], amount)


def differences(before: Mapping[Mark, Decimal], after: Mapping[Mark, Decimal]) -> dict[Mark, Decimal]:
    """What to add to `before` so that it is `after`, in the order of days."""
    found = {
        mark: EXACT.subtract(after.get(mark, NOTHING), before.get(mark, NOTHING))
        for mark in sorted({*before, *after})
    }
    return {mark: amount for mark, amount in found.items() if amount}


@dataclass(frozen=True, slots=True)
class RevenueMonth:
    """A month, or a longer time, in one currency; amounts are exact. `starts_on` is its first day.

    `retained_net` is how much of the opening MRR those who had it then have at its end, indexations left out;
    `retained_gross` the same without what any of them took more.
    """

    currency: str
    starts_on: date
    opening: Decimal
    by_kind: Mapping[MovementKind, Decimal]
    retained_net: Decimal
    retained_gross: Decimal
    customer_count: int
    subscription_count: int

    @property
    def closing(self) -> Decimal:
        total = self.opening
        for amount in self.by_kind.values():
            total = EXACT.add(total, amount)
        return total

    @property
    def net_retention(self) -> Decimal | None:
        return ratio(self.retained_net, self.opening)

    @property
    def gross_retention(self) -> Decimal | None:
        """Never above one."""
        return ratio(self.retained_gross, self.opening)

    def shown(self) -> ShownMonth:
        """In minor units that add up: the opening and the closing are rounded, and what lies between them is shared out
        so that it leads from one to the other; each part is less than one unit from its exact amount.
        """
        opening, closing = to_minor(self.opening, self.currency), to_minor(self.closing, self.currency)
        scale = 10 ** exponent(self.currency)
        exact = {kind: snapped(self.by_kind.get(kind, NOTHING)) * scale for kind in KINDS}
        parts = {kind: amount.numerator // amount.denominator for kind, amount in exact.items()}
        missing = closing - opening - sum(parts.values())
        rests = sorted(
            (kind for kind in KINDS if exact[kind] != parts[kind]),
            key=lambda kind: parts[kind] - exact[kind],
        )
        for kind in rests[: max(missing, 0)]:
            parts[kind] += 1
            missing -= 1
        # The ends may be rounded apart, or together, where no part has anything to round.
        parts[max(KINDS, key=lambda kind: abs(exact[kind]))] += missing
        return ShownMonth(opening, parts, closing)


@dataclass(frozen=True, slots=True)
class ShownMonth:
    """Minor units: `opening` and all of `by_kind` come to `closing`."""

    opening: int
    by_kind: Mapping[MovementKind, int]
    closing: int


def snapped(amount: Decimal) -> Fraction:
    """The exact fraction's value as far as it matters, out of amounts that were each kept to twenty decimals."""
    return Fraction(amount.quantize(SNAPPED, context=_KEEP))


def to_minor(amount: Decimal, currency: str) -> int:
    """Rounding: once, half away from zero."""
    return round_half_away(snapped(amount), exponent(currency))


def ratio(part: Decimal, whole: Decimal) -> Decimal | None:
    """To four decimals; None of nothing.

    Rounding: half away from zero.
    """
    if not whole:
        return None
    return Decimal(round_half_away(Fraction(Fraction(part), Fraction(whole)), 4)).scaleb(-4)

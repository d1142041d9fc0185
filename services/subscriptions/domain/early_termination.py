"""What it costs to end before the term does: reckoned once, with every step, and binding as a quote until it expires."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from libs.common.errors import Conflict, NotFound, RuleViolation
from libs.common.exact import EXACT, plain, text
from libs.common.money import Money, round_half_away
from libs.common.periods import (
    DAY,
    Interval,
    boundary,
    days_between,
    index_on,
    local_date,
    start_of_day,
)
from services.subscriptions.domain.agreed_term import AgreedTerm, EarlyTerminationKind
from services.subscriptions.domain.earliest_end import (
    EarliestEnd,
    earliest_end,
    may_end,
    refuse_too_early,
)
from services.subscriptions.domain.recurring_fee import FeePrice, fee_of
from services.subscriptions.domain.subscription import Subscription
from services.subscriptions.domain.subscription_item import ItemSegment

QUOTE_DAYS = 14
QUOTE_DAYS_MAX = 60
MONTH = Interval("month", 1)
TOLD_DECIMALS = 6
NOTHING = Fraction(0)


class QuoteNotFound(NotFound):
    code = "termination_quote_not_found"
    title = "There is no such early-termination quote"


class QuoteExpired(Conflict):
    code = "termination_quote_expired"
    title = "The early-termination quote has expired"


class QuoteNotNeeded(Conflict):
    code = "termination_quote_not_needed"
    title = "The subscription may end then at no cost"


class EarlyTerminationForbidden(Conflict):
    code = "early_termination_forbidden"
    title = "The subscription cannot end before its term"


class QuoteInThePast(RuleViolation):
    code = "termination_quote_in_the_past"
    title = "A subscription cannot end in the past"


@dataclass(frozen=True, slots=True)
class QuoteStep:
    """`result` is what `formula` comes to: exact, or with ≈ to six decimals; the last one is the amount."""

    says: str
    formula: str
    result: str


@dataclass(frozen=True, slots=True)
class EarlyTerminationFee:
    """For an end on `ends_on` of what is bound until `bound_until`."""

    kind: EarlyTerminationKind
    ends_on: date
    bound_until: date
    amount: Money
    steps: tuple[QuoteStep, ...]


@dataclass(frozen=True, slots=True)
class EarlyTerminationQuote:
    """The fee holds until `expires_at`, whatever becomes of prices; `accepted_at` is when it was last agreed to."""

    id: str
    subscription_id: str
    customer_id: str
    kind: EarlyTerminationKind
    ends_on: date
    bound_until: date
    amount: Money
    steps: tuple[QuoteStep, ...]
    issued_at: datetime
    expires_at: datetime
    created_at: datetime
    accepted_at: datetime | None = None
    version: int = 1


def early_termination_fee(
    subscription: Subscription, on: date, now: datetime, prices: Mapping[str, FeePrice]
) -> EarlyTerminationFee:
    """What an end on the local date `on` costs, by the policy that was agreed on, for a cancellation received now.

    What remains is counted from `on` to the earliest end at no cost: the end of the term, or of the renewed one where
    the notice comes too late for that, or of the notice period.
    Units: `prices` by id. Rounding: the fee once, half away from zero; nothing before it.
    Raises: QuoteInThePast, QuoteNotNeeded, EarlyTerminationForbidden, EndsTooEarly, FeeNotReckoned.
    Source: R1, R12.
    """
    zone, term = subscription.calendar.zone, subscription.term
    today = local_date(now, zone)
    if on < today:
        raise QuoteInThePast("the end lies before the subscription's present day", pointer="/on", today=today)
    if may_end(subscription, max(start_of_day(on, zone), now), today):
        raise QuoteNotNeeded(
            "nothing binds it any longer then",
            pointer="/on",
            remedy="Cancel it for that date (POST …/cancellation): there is nothing to pay.",
        )
    assert term is not None, "only a term binds"
    earliest = earliest_end(subscription, today)
    policy = term.early_termination
    if policy.kind == "forbidden":
        raise EarlyTerminationForbidden(
            "the agreement does not allow for an early end",
            pointer="/on",
            earliest_end_on=earliest.on,
            remedy=f"Cancel it for {earliest.on}, or agree otherwise and send waives_term with a reason.",
        )
    if policy.kind == "none" or term.is_over:
        refuse_too_early(subscription, start_of_day(on, zone), today)
    steps = _Steps(subscription, term, on, prices, earliest)
    fee = Fraction(0)
    match policy.kind:
        case "fixed":
            assert policy.amount is not None, "a fixed fee has an amount"
            fee = Fraction(policy.amount)
            steps.add("The agreed fee for an early end", text(policy.amount), fee)
        case "percentage":
            assert policy.percent is not None, "a percentage has a rate"
            remaining = steps.remaining()
            fee = remaining * _share(policy.percent)
            steps.add(
                "The agreed part of that", f"{_told(remaining, mark=False)} * {text(policy.percent)} %", fee
            )
        case "months":
            assert policy.months is not None, "fees of months say of how many"
            fee = steps.of_months(policy.months)
        case "rerate":
            fee = steps.rerated(policy.rates)
    amount = Money.from_decimal(fee, subscription.currency)
    steps.add("Rounded once, half away from zero", _told(fee), f"{amount.to_decimal():f} {amount.currency}")
    return EarlyTerminationFee(policy.kind, on, earliest.on, amount, tuple(steps.told))


class _Steps:
    """The reckoning, and each step of it as it is told."""

    def __init__(
        self,
        subscription: Subscription,
        term: AgreedTerm,
        on: date,
        prices: Mapping[str, FeePrice],
        earliest: EarliestEnd,
    ) -> None:
        self._subscription, self._term, self._on = subscription, term, on
        self._prices, self._earliest = prices, earliest
        self.told: list[QuoteStep] = []

    def add(self, says: str, formula: str, result: Fraction | Decimal | str) -> None:
        self.told.append(
            QuoteStep(says, formula, result if isinstance(result, str) else _told(Fraction(result)))
        )

    def remaining(self) -> Fraction:
        """Recurring fees at the prices on the end date: whole periods, plus days over days of those that are cut."""
        end_on = self._earliest.on
        total = NOTHING
        for interval, fee in self._fees().items():
            count = self._count(interval, self._on, end_on)
            total += fee * count.total
            self.add(
                f"What remains from {self._on} until {end_on}: periods of {_length(interval)}, "
                "and days by days of the period",
                f"{_told(fee)} * ({count})",
                fee * count.total,
            )
        return total

    def of_months(self, months: int) -> Fraction:
        total = NOTHING
        for interval, fee in self._fees().items():
            share = self._months_in(interval, months)
            total += fee * share
            self.add(
                f"Fees of {months} months at the prices of {self._on}",
                f"{_told(fee)} * {text(plain(share))}",
                fee * share,
            )
        return total

    def rerated(self, rates: tuple[tuple[int, Decimal], ...]) -> Fraction:
        """The difference between the fees of the time held and those of the term that was achieved."""
        held = index_on(self._term.starts_on, MONTH, self._on)
        least, percent = max((rate for rate in rates if rate[0] <= held), default=(0, Decimal(0)))
        billed = NOTHING
        for segment in self._subscription.segments:
            if segment.item.kind != "recurring":
                continue
            price = self._prices[segment.item.price_id]
            fee = Fraction(fee_of(price, segment.item.quantity or Decimal(0)))
            for start_on, end_on in self._held(segment):
                count = self._count(price.interval, start_on, end_on)
                billed += fee * count.total
                self.add(
                    f"{price.description}, held from {start_on} until {end_on}",
                    f"{_told(fee)} * ({count})",
                    fee * count.total,
                )
        more = billed * _share(percent)
        self.add(
            f"Held for {held} whole months: the price of a term of {least} months or more is "
            f"{text(percent)} % higher",
            f"{_told(billed)} * {text(percent)} %",
            more,
        )
        return more

    def _fees(self) -> dict[Interval, Fraction]:
        """What all recurring items come to for one of their periods, on the end date, by how often they are charged."""
        at = start_of_day(self._on, self._subscription.calendar.zone)
        sums: dict[Interval, Fraction] = {}
        for segment in self._subscription.segments:
            item = segment.item
            if (
                item.kind != "recurring"
                or segment.start > at
                or (segment.end is not None and segment.end <= at)
            ):
                continue
            price = self._prices[item.price_id]
            quantity = item.quantity or Decimal(0)
            fee = Fraction(fee_of(price, quantity))
            sums[price.interval] = sums.get(price.interval, NOTHING) + fee
            self.add(
                f"{price.description}, each {_length(price.interval)}",
                f"{text(quantity)} by its price ({price.model})",
                fee,
            )
        return sums

    def _held(self, segment: ItemSegment) -> Iterator[tuple[date, date]]:
        """The dates of a segment in the term, up to the end, without pauses."""
        start_on = max(segment.start_on, self._term.starts_on)
        end_on = min(segment.end_on or self._on, self._on)
        for pause in self._subscription.pauses:
            if pause.status == "planned" or pause.start_on >= end_on:
                continue
            resumed_on = pause.end_on or end_on
            if resumed_on <= start_on:
                continue
            if pause.start_on > start_on:
                yield start_on, pause.start_on
            start_on = resumed_on
        if start_on < end_on:
            yield start_on, end_on

    def _count(self, interval: Interval, start_on: date, end_on: date) -> Count:
        calendar = self._subscription.calendar
        return count_periods(calendar.anchor_on, interval, start_on, end_on, calendar.zone)

    def _months_in(self, interval: Interval, months: int) -> Fraction:
        """How many periods of the interval so many months are; of days and weeks, by the calendar."""
        if interval.unit in ("month", "year"):
            return Fraction(months, interval.count * (12 if interval.unit == "year" else 1))
        days = (boundary(self._on, MONTH, months) - self._on).days
        return Fraction(days, interval.count * (7 if interval.unit == "week" else 1))


@dataclass(frozen=True, slots=True)
class Count:
    """A stretch of time in periods: `whole` ones, and parts of others."""

    whole: int
    parts: tuple[Fraction, ...]

    @property
    def total(self) -> Fraction:
        return sum(self.parts, start=Fraction(self.whole))

    def __str__(self) -> str:
        return " + ".join([str(self.whole), *(str(part) for part in self.parts)])


def count_periods(anchor_on: date, interval: Interval, start_on: date, end_on: date, zone: str) -> Count:
    """How many periods, counted from the anchor, lie between two local dates; of one that is cut, days by its days."""
    if end_on <= start_on:
        return Count(0, ())
    first, last = index_on(anchor_on, interval, start_on), index_on(anchor_on, interval, end_on)

    def bound(index: int) -> date:
        return boundary(anchor_on, interval, index)

    def part(index: int, from_on: date, until_on: date) -> Fraction:
        days = days_between(bound(index), bound(index + 1), zone)
        return Fraction(days_between(from_on, until_on, zone), days) if days else NOTHING

    if first == last:
        return Count(0, (part(first, start_on, end_on),))
    parts = []
    if start_on > bound(first):
        parts.append(part(first, start_on, bound(first + 1)))
        first += 1
    if end_on > bound(last):
        parts.append(part(last, bound(last), end_on))
    return Count(last - first, tuple(parts))


def issue_quote(
    fee: EarlyTerminationFee,
    subscription: Subscription,
    *,
    id: str,
    now: datetime,
    created_at: datetime,
    days: int = QUOTE_DAYS,
) -> EarlyTerminationQuote:
    """It is good for `days`, but no longer than the day on which the subscription would end."""
    last = start_of_day(fee.ends_on + DAY, subscription.calendar.zone)
    return EarlyTerminationQuote(
        id=id,
        subscription_id=subscription.id,
        customer_id=subscription.customer_id,
        kind=fee.kind,
        ends_on=fee.ends_on,
        bound_until=fee.bound_until,
        amount=fee.amount,
        steps=fee.steps,
        issued_at=now,
        expires_at=min(now + timedelta(days=days), last),
        created_at=created_at,
    )


def accept_quote(
    quote: EarlyTerminationQuote, subscription: Subscription, now: datetime
) -> tuple[EarlyTerminationQuote, datetime]:
    """The quote as agreed to, and the instant at which the subscription ends by it. A repeat changes nothing.

    Raises: QuoteNotFound for one of another subscription, QuoteExpired.
    """
    if quote.subscription_id != subscription.id:
        raise QuoteNotFound("the subscription has no such quote", pointer="/quote_id")
    at = max(start_of_day(quote.ends_on, subscription.calendar.zone), now)
    is_accepted = subscription.term is not None and subscription.term.accepted_quote_id == quote.id
    if is_accepted and subscription.cancels_at is not None:
        return quote, subscription.cancels_at
    if quote.expires_at <= now:
        raise QuoteExpired(
            "the quote is no longer good",
            pointer="/quote_id",
            expired_at=quote.expires_at,
            remedy="Ask for a new one (POST …/termination-quotes).",
        )
    return replace(quote, accepted_at=now, version=quote.version + 1), at


def _share(percent: Decimal) -> Fraction:
    return Fraction(EXACT.scaleb(percent, -2))


def _told(amount: Fraction, *, mark: bool = True) -> str:
    """In plain digits; what has no end, to six decimals."""
    exact = plain(amount)
    if isinstance(exact, Decimal):
        return text(exact)
    near = Decimal(round_half_away(amount, TOLD_DECIMALS)).scaleb(-TOLD_DECIMALS)
    return f"≈ {text(near)}" if mark else text(near)


def _length(interval: Interval) -> str:
    return interval.unit if interval.count == 1 else f"{interval.count} {interval.unit}s"

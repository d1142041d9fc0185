"""Whatever changes, and however often it is settled: the charges of a period come to what is agreed on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.periods import DAY, MICROSECOND, local_date, start_of_day
from services.billing.domain.charge import Charge, rated_lines
from services.billing.domain.period_charges import period_charges
from services.billing.domain.rating.price import Price, Proration
from services.billing.domain.rating.rate import rate
from services.billing.domain.terms import PeriodTerms, TermSegment
from tests.support.agreed import NOW, Agreed, a_price, tiers

BOOK = Agreed(zone="America/New_York")
MARCH = BOOK.period("2026-03-01", "2026-04-01", index=2)  # clocks go forward in it
MINUTES = 31 * 24 * 60 - 60

PRICES = (
    a_price("10.01"),
    a_price("7.77", id="prc_2", code="two"),
    a_price(None, id="prc_3", code="three", model="graduated", tiers=tiers(("3", "9.99"), (None, "5.01"))),
    a_price(None, id="prc_4", code="four", model="volume", tiers=tiers(("3", "9.99"), (None, "5.01"))),
    a_price("33.33", id="prc_5", code="five", model="flat"),
    a_price("5.55", id="prc_6", code="six", proration="none"),
    a_price("6.66", id="prc_7", code="seven", proration="full"),
    a_price("4.44", id="prc_8", code="eight", proration="second"),
)

State = tuple[int, int] | None  # which price, how many; None where nothing is agreed on
states = st.none() | st.tuples(st.integers(0, len(PRICES) - 1), st.integers(0, 6))
instants = st.integers(1, MINUTES - 1)
methods = st.sampled_from([None, "day", "second", "none", "full"])


def histories(method: st.SearchStrategy[Proration | None]) -> st.SearchStrategy[PeriodTerms]:
    """One item through March: what holds from which minute on, and by which method each change counts."""
    changes = st.lists(st.tuples(instants, states, method), max_size=5, unique_by=lambda change: change[0])
    return st.builds(told, states, changes)


def told(first: State, changes: list[tuple[int, State, Proration | None]]) -> PeriodTerms:
    passed: list[tuple[int, State, Proration | None]] = [
        (0, first, None),
        *sorted(changes, key=lambda c: c[0]),
    ]
    passed.append((MINUTES, None, None))
    segments = []
    for (begin, state, begins), (end, _, ends) in pairwise(passed):
        if state is not None:
            segments.append(a_segment(begin, end, PRICES[state[0]], Decimal(state[1]), begins, ends))
    return BOOK.terms(MARCH, *segments)


def a_segment(
    begin: int, end: int, price: Price, quantity: Decimal, begins: Proration | None, ends: Proration | None
) -> TermSegment:
    start_at, end_at = (MARCH.start + timedelta(minutes=minutes) for minutes in (begin, end))
    return TermSegment(
        item_id="itm_1",
        price=price,
        quantity=quantity,
        start_on=local_date(start_at, BOOK.zone),
        end_on=local_date(end_at, BOOK.zone),
        start=start_at,
        end=end_at,
        start_proration=begins,
        end_proration=ends,
    )


def whole_price(segment: TermSegment) -> Fraction:
    assert segment.quantity is not None
    return sum((line.exact for line in rate(segment.price, segment.quantity)), start=Fraction(0))


def worth_by_day(terms: PeriodTerms) -> Fraction:
    """Each day at what held when it ended."""
    worth = Fraction(0)
    for days in range(31):
        end = start_of_day(MARCH.start_on + (days + 1) * DAY, BOOK.zone)
        for segment in terms.segments:
            if segment.start < end <= segment.end:
                worth += whole_price(segment) * Fraction(1, 31)
    return worth


def worth_by_second(terms: PeriodTerms) -> Fraction:
    whole = (MARCH.end - MARCH.start) // MICROSECOND
    return sum(
        (whole_price(s) * Fraction((s.end - s.start) // MICROSECOND, whole) for s in terms.segments),
        start=Fraction(0),
    )


def net_of(charges: list[Charge]) -> dict[str, int]:
    found: dict[str, int] = {}
    for charge in charges:
        found[charge.price.id] = found.get(charge.price.id, 0) + charge.amount.amount_minor
    return found


def rounding_of(charges: list[Charge]) -> Fraction:
    """Half a cent for each line, and for each that was too small to be one."""
    lines = sum(len(rated_lines(charge)) + 2 for charge in charges)
    return Fraction(lines + 4, 2)


by_day = st.lists(histories(st.just("day")), min_size=1, max_size=4)
by_second = st.lists(histories(st.just("second")), min_size=1, max_size=4)
by_any = st.lists(histories(methods), min_size=1, max_size=4)


@settings(max_examples=60)
@given(versions=by_day)
def test_by_the_day_all_charges_come_to_what_held_each_day(versions: list[PeriodTerms]) -> None:
    charges = BOOK.settle_all(*versions)
    net = sum(net_of(charges).values())
    assert abs(net - worth_by_day(versions[-1]) * 100) <= rounding_of(charges)


@settings(max_examples=60)
@given(versions=by_second)
def test_by_the_second_all_charges_come_to_what_held_how_long(versions: list[PeriodTerms]) -> None:
    charges = BOOK.settle_all(*versions)
    net = sum(net_of(charges).values())
    assert abs(net - worth_by_second(versions[-1]) * 100) <= rounding_of(charges)


@settings(max_examples=60)
@given(versions=by_any)
def test_no_credit_exceeds_what_was_charged_and_settling_again_adds_nothing(
    versions: list[PeriodTerms],
) -> None:
    charges: list[Charge] = []
    for terms in versions:
        charges += BOOK.settle(terms, charges)
        assert min(net_of(charges).values(), default=0) >= 0
        assert BOOK.settle(terms, charges) == []
    assert len({charge.id for charge in charges}) == len(charges)
    for charge in charges:
        assert sum(line.amount.amount_minor for line in rated_lines(charge)) == charge.amount.amount_minor


@settings(max_examples=60)
@given(versions=by_any)
def test_full_and_none_never_give_back_and_never_cost_more_than_the_most_there_was(
    versions: list[PeriodTerms],
) -> None:
    """Of one price per unit: between nothing and the whole price of the most units ever agreed on."""
    price = PRICES[0]
    most = max(
        (s.quantity or Decimal(0) for terms in versions for s in terms.segments if s.price is price),
        default=Decimal(0),
    )
    charges = BOOK.settle_all(*versions)
    net = net_of(charges).get(price.id, 0)
    assert 0 <= net <= Fraction(most) * 1001 + rounding_of(charges)


@settings(max_examples=60)
@given(terms=histories(st.just("day")), cut=instants)
def test_in_arrears_the_parts_come_to_the_whole(terms: PeriodTerms, cut: int) -> None:
    """Settled once inside the period by the day, and then at its end; or at its end only."""
    late = replace(
        terms,
        segments=tuple(replace(s, price=replace(s.price, timing="arrears")) for s in terms.segments),
    )
    at = MARCH.start + timedelta(minutes=cut)
    inside = period_charges(BOOK.agreement, late, (), until=at, now=NOW)
    twice = [*inside, *BOOK.settle(late, inside, until="2026-04-01")]
    once = BOOK.settle(late, until="2026-04-01")
    assert abs(sum(net_of(twice).values()) - sum(net_of(once).values())) <= rounding_of(twice + once)

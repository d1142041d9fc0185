"""One billing period: what is agreed on held against what has been charged, to the cent."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import pytest

from services.billing.domain.charge import Charge, rated_lines
from services.billing.domain.proration import ProrationOptions
from services.billing.domain.rating.price import PriceTier
from services.billing.domain.terms import PeriodTerms
from tests.support.agreed import Agreed, a_price, amount, lines, tiers

BOOK = Agreed()
MARCH = BOOK.period("2026-03-01", "2026-04-01", index=2)
SEATS = a_price()


def seats(*parts: tuple[str, str, str], method: str | None = None, version: int = 1) -> PeriodTerms:
    """March, in parts of (from, until, quantity): each change by `method`, or by the price's own."""
    last = len(parts) - 1
    segments = [
        BOOK.segment(
            start,
            end,
            quantity,
            SEATS,
            begins=method if number else None,
            ends=method if number < last else None,
        )
        for number, (start, end, quantity) in enumerate(parts)
    ]
    return BOOK.terms(MARCH, *segments, version=version)


ALL = ("2026-03-01", "2026-04-01")


def test_a_whole_period_is_charged_as_ever() -> None:
    (charge,) = BOOK.settle(seats((*ALL, "2")))
    assert (charge.identity, charge.fraction) == ("itm_1/prc_1/2/advance/0", 1)
    assert (charge.quantity, charge.quantity_before, charge.is_end) == (2, None, False)
    assert lines([charge]) == [("seats", "2", "20.00")]


def test_settling_twice_adds_nothing() -> None:
    terms = seats(("2026-03-01", "2026-03-11", "2"), ("2026-03-11", "2026-04-01", "5"))
    assert BOOK.settle(terms, BOOK.settle(terms)) == []


class Change(NamedTuple):
    name: str
    method: str | None
    before: str
    after: str
    at: str
    line: tuple[str, str] | None  # shown quantity, amount


CHANGES = [
    #      name                          method    before after  at                   line
    Change("two_more_on_the_11th",       "day",      "2", "4", "2026-03-11",         ("1.354839", "13.55")),
    Change("by_the_price_itself",        None,       "2", "4", "2026-03-11",         ("1.354839", "13.55")),
    Change("day_of_change_is_new",       "day",      "2", "4", "2026-03-11T23:59",   ("1.354839", "13.55")),
    Change("two_less",                   "day",      "4", "2", "2026-03-11",         ("-1.354839", "-13.55")),
    Change("on_the_first_day",           "day",      "2", "4", "2026-03-01T17:00",   ("2", "20.00")),
    Change("on_the_last_day",            "day",      "2", "4", "2026-03-31T17:00",   ("0.064516", "0.65")),
    Change("to_none_of_it",              "day",      "2", "0", "2026-03-11",         ("-1.354839", "-13.55")),
    Change("by_the_second",              "second",   "2", "4", "2026-03-16T12:00",   ("0.998654", "9.99")),
    Change("none_moves_nothing",         "none",     "2", "4", "2026-03-11",         None),
    Change("none_gives_nothing_back",    "none",     "4", "2", "2026-03-11",         None),
    Change("full_charges_all",           "full",     "2", "4", "2026-03-11",         ("2", "20.00")),
    Change("full_gives_nothing_back",    "full",     "4", "2", "2026-03-11",         None),
]  # fmt: skip


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case.name)
def test_a_change_of_quantity(case: Change) -> None:
    """The difference only, for the part of the period after it."""
    first = BOOK.settle(seats((*ALL, case.before)))
    changed = seats((ALL[0], case.at, case.before), (case.at, ALL[1], case.after), method=case.method)
    found = BOOK.settle(changed, first)
    assert [line[1:] for line in lines(found)] == ([] if case.line is None else [case.line])
    assert [charge.revision for charge in found] == [1][: len(found)]


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case.name)
def test_a_change_known_before_anything_is_charged_comes_to_the_same(case: Change) -> None:
    changed = seats((ALL[0], case.at, case.before), (case.at, ALL[1], case.after), method=case.method)
    later = BOOK.settle_all(seats((*ALL, case.before)), changed)
    assert abs(Decimal(amount(BOOK.settle(changed))) - Decimal(amount(later))) <= Decimal("0.01")


def test_the_day_of_a_change_may_belong_to_what_was_before() -> None:
    book = replace(BOOK, options=ProrationOptions(change_day="old"))
    changed = seats((ALL[0], "2026-03-11T09:00", "2"), ("2026-03-11T09:00", ALL[1], "4"), method="day")
    found = book.settle(changed, book.settle(seats((*ALL, "2"))))
    assert [charge.fraction for charge in found] == [Fraction(20, 31)]


def test_the_last_day_may_count_as_used() -> None:
    book = replace(BOOK, options=ProrationOptions(end_day="used"), ends_at="2026-03-11T09:00")
    (credit,) = book.settle(seats((ALL[0], "2026-03-11T09:00", "2")), book.settle(seats((*ALL, "2"))))
    assert (credit.fraction, credit.amount.amount_minor) == (Fraction(20, 31), -1290)


# Furniture: ten desks and ten chairs, from 15 January, billed on the first.
DESK = a_price("9.00", id="prc_desk", code="desk")
CHAIR = a_price("4.50", id="prc_chair", code="chair")
ERGO = a_price("7.50", id="prc_ergo", code="ergo")
DELIVERY = a_price("120", id="prc_delivery", code="delivery", kind="one_time", model="flat")


def test_furniture_begins_inside_a_month() -> None:
    period = BOOK.period("2026-01-15", "2026-02-01", full=("2026-01-01", "2026-02-01"))
    span = ("2026-01-15", "2026-02-01")
    terms = BOOK.terms(
        period,
        BOOK.segment(*span, "10", DESK),
        BOOK.segment(*span, "10", CHAIR, item="itm_2"),
        BOOK.segment(*span, "1", DELIVERY, item="itm_3"),
    )
    charges = BOOK.settle(terms)
    assert sorted(lines(charges)) == [
        ("chair", "5.483871", "24.68"),
        ("delivery", "1", "120.00"),
        ("desk", "5.483871", "49.35"),
    ]
    assert amount(charges) == "194.03"
    assert {charge.service_start_on for charge in charges} == {date(2026, 1, 15)}
    assert BOOK.settle(terms, charges) == []


def test_furniture_is_swapped_inside_a_month() -> None:
    whole = BOOK.terms(MARCH, BOOK.segment(*ALL, "10", CHAIR))
    swapped = BOOK.terms(
        MARCH,
        BOOK.segment(ALL[0], "2026-03-10", "10", CHAIR),
        BOOK.segment("2026-03-10", ALL[1], "8", CHAIR),
        BOOK.segment("2026-03-10", ALL[1], "2", ERGO, item="itm_2"),
    )
    found = BOOK.settle(swapped, BOOK.settle(whole))
    assert lines(found) == [("chair", "-1.419355", "-6.39"), ("ergo", "1.419355", "10.65")]
    formulas = [line.formula for charge in found for line in rated_lines(charge)]
    assert formulas == ["-2 * 4.5 * 22/31 ≈ -6.39 EUR", "2 * 7.5 * 22/31 ≈ 10.65 EUR"]


def test_seats_are_added_tier_by_tier() -> None:
    """50 at 30, the others at 26; 14 more on 10 April."""
    price = a_price(None, model="graduated", tiers=tiers(("50", "30"), (None, "26")))
    april = BOOK.period("2026-04-01", "2026-05-01", index=3)
    whole = BOOK.terms(april, BOOK.segment("2026-04-01", "2026-05-01", "50", price))
    more = BOOK.terms(
        april,
        BOOK.segment("2026-04-01", "2026-04-10", "50", price),
        BOOK.segment("2026-04-10", "2026-05-01", "64", price),
    )
    (charge,) = BOOK.settle(more, BOOK.settle(whole))
    (line,) = rated_lines(charge)
    assert (line.tier, line.amount.amount_minor) == (2, 25480)
    assert line.formula == "tier 2: 14 * 26 * 7/10 = 254.80 EUR"


def test_three_upgrades_in_one_day_with_the_price_changed_between() -> None:
    """What is given back is what was billed, at its price; the plan's price of today has no say."""
    prices = [
        a_price(amount, id=f"prc_{n}", code=f"p{n}") for n, amount in enumerate(("10", "20", "25", "40"))
    ]
    times = ("2026-03-11T09:00", "2026-03-11T12:00", "2026-03-11T15:00")

    def after(count: int) -> PeriodTerms:
        edges = [ALL[0], *times[:count], ALL[1]]
        segments = [
            BOOK.segment(start, end, "1", price, begins="day" if number else None, ends="day")
            for number, (start, end, price) in enumerate(zip(edges, edges[1:], prices, strict=False))
        ]
        return BOOK.terms(MARCH, *segments, version=count + 1)

    charges = BOOK.settle_all(*(after(count) for count in range(4)))
    net: dict[str, int] = {}
    for charge in charges:
        net[charge.price.code] = net.get(charge.price.code, 0) + charge.amount.amount_minor
    assert net == {"p0": 1000 - 677, "p1": 0, "p2": 0, "p3": 2710}
    assert lines(BOOK.settle(after(3), BOOK.settle(after(0)))) == [
        ("p0", "-0.677419", "-6.77"),
        ("p3", "0.677419", "27.10"),
    ]


@pytest.mark.parametrize("method", ["day", "none", "full", None])
def test_there_and_back_within_a_day_leaves_nothing(method: str | None) -> None:
    first = BOOK.settle(seats((*ALL, "2")))
    back = seats(
        (ALL[0], "2026-03-11T09:00", "2"),
        ("2026-03-11T09:00", "2026-03-11T12:00", "1"),
        ("2026-03-11T12:00", ALL[1], "2"),
        method=method,
    )
    assert BOOK.settle(back, first) == []


def test_there_and_back_with_a_document_between_leaves_the_day_whole() -> None:
    there = seats((ALL[0], "2026-03-11T09:00", "2"), ("2026-03-11T09:00", ALL[1], "3"))
    back = seats(
        (ALL[0], "2026-03-11T09:00", "2"),
        ("2026-03-11T09:00", "2026-03-11T12:00", "3"),
        ("2026-03-11T12:00", ALL[1], "2"),
    )
    charges = BOOK.settle_all(seats((*ALL, "2")), there, back)
    assert [charge.amount.amount_minor for charge in charges] == [2000, 677, -677]


def test_seats_become_a_flat_fee_and_nothing_is_lost() -> None:
    """However many there are, a flat fee is one; from seats to it and back within the month."""
    flat = a_price("100", id="prc_flat", code="flat", model="flat")
    to_flat = BOOK.terms(
        MARCH,
        BOOK.segment(ALL[0], "2026-03-11", "5", SEATS),
        BOOK.segment("2026-03-11", ALL[1], "1", flat),
    )
    and_back = BOOK.terms(
        MARCH,
        BOOK.segment(ALL[0], "2026-03-11", "5", SEATS),
        BOOK.segment("2026-03-11", "2026-03-21", "1", flat),
        BOOK.segment("2026-03-21", ALL[1], "5", SEATS),
    )
    charges = BOOK.settle_all(seats((*ALL, "5")), to_flat, and_back)
    assert lines(charges) == [
        ("seats", "5", "50.00"),
        ("seats", "-3.387097", "-33.87"),
        ("flat", "0.677419", "67.74"),
        ("seats", "1.774194", "17.74"),
        ("flat", "-0.354839", "-35.48"),
    ]


def test_two_items_change_at_one_instant() -> None:
    both = BOOK.terms(MARCH, BOOK.segment(*ALL, "1", DESK), BOOK.segment(*ALL, "1", CHAIR, item="itm_2"))
    changed = BOOK.terms(
        MARCH,
        BOOK.segment(ALL[0], "2026-03-11", "1", DESK),
        BOOK.segment("2026-03-11", ALL[1], "2", DESK),
        BOOK.segment(ALL[0], "2026-03-11", "1", CHAIR, item="itm_2"),
        BOOK.segment("2026-03-11", ALL[1], "3", CHAIR, item="itm_2"),
    )
    found = BOOK.settle(changed, BOOK.settle(both))
    assert [(charge.item_id, charge.amount.amount_minor) for charge in found] == [
        ("itm_1", 610),
        ("itm_2", 610),
    ]
    assert len({charge.id for charge in found}) == 2


def test_two_pauses_in_a_year_give_back_their_days() -> None:
    year = replace(BOOK, interval=BOOK.interval.__class__("year"))
    period = year.period("2026-01-01", "2027-01-01")
    whole = year.terms(period, year.segment("2026-01-01", "2027-01-01", "1", a_price("365")))
    price = a_price("365")
    one = year.terms(
        period,
        year.segment("2026-01-01", "2026-02-01", "1", price, ends="day"),
        year.segment("2026-02-11", "2027-01-01", "1", price, begins="day"),
    )
    two = year.terms(
        period,
        year.segment("2026-01-01", "2026-02-01", "1", price, ends="day"),
        year.segment("2026-02-11", "2026-06-01", "1", price, begins="day", ends="day"),
        year.segment("2026-07-01", "2027-01-01", "1", price, begins="day"),
    )
    charges = year.settle_all(whole, one, two)
    assert [charge.amount.amount_minor for charge in charges] == [36500, -1000, -3000]
    assert [(c.service_start_on, c.service_end_on) for c in charges[1:]] == [
        (date(2026, 2, 1), date(2026, 2, 11)),
        (date(2026, 6, 1), date(2026, 7, 1)),
    ]


def test_a_pause_that_goes_on_is_given_back_to_the_end_and_charged_again_from_the_return() -> None:
    away = seats((ALL[0], "2026-03-11", "2"))
    back = BOOK.terms(
        MARCH,
        BOOK.segment(ALL[0], "2026-03-11", "2", SEATS),
        BOOK.segment("2026-03-21", ALL[1], "2", SEATS),
    )
    charges = BOOK.settle_all(seats((*ALL, "2")), away, back)
    assert [charge.amount.amount_minor for charge in charges] == [2000, -1355, 710]


def test_a_change_with_effect_in_the_past_is_charged_from_then_on() -> None:
    """March is over when it is told that there had been three since the 5th."""
    later = seats((ALL[0], "2026-03-05", "2"), ("2026-03-05", ALL[1], "3"), version=9)
    (charge,) = BOOK.settle(later, BOOK.settle(seats((*ALL, "2"))), until="2026-05-01")
    assert (charge.amount.amount_minor, charge.service_start_on) == (871, date(2026, 3, 5))


def test_a_period_cut_by_a_change_gives_back_the_rest_of_the_whole() -> None:
    cut = BOOK.period("2026-03-01", "2026-03-16", index=2, full=ALL)
    terms = BOOK.terms(cut, BOOK.segment("2026-03-01", "2026-03-16", "2", SEATS, ends="day"), is_over=True)
    (credit,) = BOOK.settle(terms, BOOK.settle(seats((*ALL, "2"))))
    assert (credit.fraction, credit.amount.amount_minor) == (Fraction(16, 31), -1032)
    kept = BOOK.terms(cut, BOOK.segment("2026-03-01", "2026-03-16", "2", SEATS, ends="none"), is_over=True)
    assert BOOK.settle(kept, BOOK.settle(seats((*ALL, "2")))) == []


def test_what_is_given_back_in_full_leaves_nothing() -> None:
    (credit,) = BOOK.settle(BOOK.terms(MARCH), BOOK.settle(seats((*ALL, "2"))))
    assert (credit.amount.amount_minor, credit.is_end, credit.quantity) == (-2000, True, 0)


def test_a_first_part_merged_into_the_first_period_is_measured_against_its_own() -> None:
    period = BOOK.period("2026-01-15", "2026-03-01")
    terms = BOOK.terms(
        period,
        BOOK.segment("2026-01-15", "2026-02-01", "1", a_price("31"), whole=("2026-01-01", "2026-02-01")),
        BOOK.segment("2026-02-01", "2026-03-01", "1", a_price("31"), whole=("2026-02-01", "2026-03-01")),
    )
    charges = BOOK.settle(terms)
    assert [charge.amount.amount_minor for charge in charges] == [1700, 3100]
    refund = BOOK.settle(BOOK.terms(period), charges)
    assert [charge.amount.amount_minor for charge in refund] == [-1700, -3100]
    assert BOOK.settle(terms, charges) == []


def test_in_arrears_what_is_over_is_charged() -> None:
    price = a_price(timing="arrears")
    terms = BOOK.terms(MARCH, BOOK.segment(*ALL, "2", price))
    assert BOOK.settle(terms) == []
    (part,) = BOOK.settle(terms, until="2026-03-11")
    assert (part.kind, part.fraction, part.amount.amount_minor) == ("arrears", Fraction(10, 31), 645)
    (rest,) = BOOK.settle(terms, [part], until="2026-04-01")
    assert (rest.fraction, rest.amount.amount_minor, rest.revision) == (Fraction(21, 31), 1355, 1)
    assert BOOK.settle(terms, [part, rest], until="2026-09-01") == []


def test_an_end_without_credit_leaves_in_arrears_what_it_lasted() -> None:
    book = replace(BOOK, ends_at="2026-03-11")
    cut = book.period("2026-03-01", "2026-03-11", index=2, full=ALL)
    price = a_price(timing="arrears")
    terms = book.terms(cut, book.segment("2026-03-01", "2026-03-11", "2", price, ends="none"), is_over=True)
    (charge,) = book.settle(terms)
    assert (charge.fraction, charge.amount.amount_minor) == (Fraction(10, 31), 645)


def test_what_is_charged_once_is_charged_once_and_time_gives_nothing_back() -> None:
    terms = BOOK.terms(MARCH, BOOK.segment("2026-03-05", ALL[1], "1", DELIVERY))
    (charge,) = BOOK.settle(terms)
    assert (charge.identity, charge.amount.amount_minor) == ("itm_1/prc_delivery/2/once/0", 12000)
    april = BOOK.period("2026-04-01", "2026-05-01", index=3)
    again = BOOK.terms(april, BOOK.segment("2026-04-01", "2026-05-01", "1", DELIVERY))
    assert BOOK.settle(again, [charge]) == []
    assert BOOK.settle(BOOK.terms(april), [charge]) == []
    cut = BOOK.period("2026-03-01", "2026-03-06", index=2, full=ALL)
    kept = BOOK.terms(cut, BOOK.segment("2026-03-05", "2026-03-06", "1", DELIVERY), is_over=True)
    assert BOOK.settle(kept, [charge]) == []


def test_what_is_charged_once_is_given_back_where_it_was_taken_back() -> None:
    """Whoever withdraws has it back; agreed on again after all, it is charged again."""
    terms = BOOK.terms(MARCH, BOOK.segment("2026-03-05", ALL[1], "1", DELIVERY))
    charges = BOOK.settle_all(terms, BOOK.terms(MARCH), BOOK.terms(MARCH), terms, terms)
    assert [(c.revision, c.amount.amount_minor) for c in charges] == [(0, 12000), (1, -12000), (2, 12000)]


def test_a_trial_costs_what_is_agreed_on_in_it() -> None:
    trial = BOOK.period("2026-03-01", "2026-03-15", kind="trial")
    assert BOOK.settle(BOOK.terms(trial)) == []
    setup = BOOK.terms(trial, BOOK.segment("2026-03-01", "2026-03-15", "1", DELIVERY))
    assert lines(BOOK.settle(setup)) == [("delivery", "1", "120.00")]


def test_nothing_is_charged_before_billed_until() -> None:
    book = replace(BOOK, billed_until="2026-03-11")
    (charge,) = book.settle(seats((*ALL, "2")))
    assert (charge.fraction, charge.service_start_on) == (Fraction(21, 31), date(2026, 3, 11))
    assert replace(BOOK, billed_until="2026-04-01").settle(seats((*ALL, "2"))) == []
    once = BOOK.terms(MARCH, BOOK.segment(*ALL, "1", DELIVERY))
    assert book.settle(once) == []


def test_a_period_that_has_not_begun_is_not_charged() -> None:
    assert BOOK.settle(seats((*ALL, "2")), until="2026-02-28") == []


def test_a_credit_never_exceeds_what_was_charged() -> None:
    """Three parts of 10.01, each rounded up, would come to a cent more than what was charged."""
    price = a_price("10.01")
    april = BOOK.period("2026-04-01", "2026-05-01", index=3)
    edges = ("2026-04-01", "2026-04-11", "2026-04-21", "2026-05-01")

    def without(*gone: int) -> PeriodTerms:
        held = [n for n in range(3) if n not in gone]
        return BOOK.terms(april, *(BOOK.segment(edges[n], edges[n + 1], "1", price) for n in held))

    charges = BOOK.settle_all(without(), without(0), without(0, 1), without(0, 1, 2))
    assert [charge.amount.amount_minor for charge in charges] == [1001, -334, -334, -333]
    (line,) = rated_lines(charges[-1])
    assert line.formula == "-1 * 10.01 * 1/3 ≈ -3.34 EUR; no more than was charged: -3.33 EUR"
    assert (line.shown_quantity, line.shown_unit_amount) == (-1, Decimal("3.33"))


def test_what_was_charged_before_changes_were_is_known_by_its_dates() -> None:
    """A charge that does not say how it was counted: the agreement's end was known, and it was cut there."""
    book = replace(BOOK, ends_at="2026-03-11T14:00")
    cut = seats((ALL[0], "2026-03-11T14:00", "2"))
    old = [replace(charge, counted_by=None) for charge in book.settle(cut)]
    assert book.settle(cut, old) == []
    (more,) = BOOK.settle(seats((*ALL, "2")), old)
    assert (more.fraction, more.amount.amount_minor) == (Fraction(21, 31), 1355)


@pytest.mark.parametrize("proration", ["day", "second", "none", "full"])
@pytest.mark.parametrize("timing", ["advance", "arrears"])
def test_what_is_plain_comes_to_the_same_as_what_is_thought_through(proration: Any, timing: Any) -> None:
    """A whole period is charged without much thought where nothing is recorded; and with thought, the same."""
    price = a_price(proration=proration, timing=timing)
    terms = BOOK.terms(MARCH, BOOK.segment(*ALL, "2", price))
    (once,) = BOOK.settle(BOOK.terms(MARCH, BOOK.segment(*ALL, "1", DELIVERY, item="itm_9")))
    plain = BOOK.settle(terms, until=ALL[1])
    with_more = BOOK.terms(MARCH, *terms.segments, BOOK.segment(*ALL, "1", DELIVERY, item="itm_9"))
    assert BOOK.settle(with_more, [once], until=ALL[1]) == plain
    assert len(plain) == 1


class Known(NamedTuple):
    """Parts of March as (from, until, quantity, method), of a price by `none`; the charges as (from, until, amount)."""

    name: str
    parts: tuple[tuple[str, str, str, str | None], ...]
    charges: list[tuple[str, str, int]]


KNOWN = [
    Known("ends_before_it_is_charged", (("2026-03-01", "2026-03-10", "5", None),), []),
    Known("in_full_as_well", (("2026-03-03", "2026-03-24", "3", "full"),), []),
    Known(
        "fewer_come_back_in_full",
        (("2026-03-01", "2026-03-10", "5", None), ("2026-03-20", "2026-04-01", "2", "full")),
        [("2026-03-01", "2026-04-01", 2000)],
    ),
    Known(
        "more_come_back_in_full",
        (("2026-03-05", "2026-03-10", "1", "day"), ("2026-03-20", "2026-04-01", "2", "full")),
        [("2026-03-05", "2026-04-01", 2000)],
    ),
    Known(
        "full_twice",
        (("2026-03-05", "2026-03-10", "3", "full"), ("2026-03-20", "2026-04-01", "2", "full")),
        [("2026-03-05", "2026-04-01", 2000)],
    ),
    Known(
        "neither_lasts",
        (("2026-03-01", "2026-03-01T14:00", "2", None), ("2026-03-02", "2026-03-24", "3", "full")),
        [],
    ),
]


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: case.name)
def test_what_is_known_to_end_stays_unpaid_when_something_else_is_charged_in_full(case: Known) -> None:
    """What is charged for what comes later does not count as charged for what was before it."""
    price = a_price(proration="none")
    terms = BOOK.terms(MARCH, *(BOOK.segment(a, b, n, price, begins=how) for a, b, n, how in case.parts))
    charges = BOOK.settle(terms)
    told = [(str(c.service_start_on), str(c.service_end_on), c.amount.amount_minor) for c in charges]
    assert told == case.charges
    assert BOOK.settle(terms, charges) == []


def test_what_was_charged_stands_beside_what_is_charged_in_full_later() -> None:
    price = a_price(proration="none")
    whole = BOOK.terms(MARCH, BOOK.segment(*ALL, "5", price))
    ended = BOOK.terms(
        MARCH,
        BOOK.segment("2026-03-01", "2026-03-10", "5", price),
        BOOK.segment("2026-03-20", "2026-04-01", "7", price, begins="full"),
    )
    assert [c.amount.amount_minor for c in BOOK.settle_all(whole, ended, ended)] == [5000, 2000]


def test_a_zone_that_changes_in_mid_period_moves_no_money() -> None:
    """The dates stay; the instant at which the period ends, and that of a later change, are those of the new zone."""
    moved = replace(BOOK, zone="Pacific/Kiritimati")
    whole = seats((*ALL, "2"))
    end = moved.at(ALL[1])
    period = replace(MARCH, end=end)
    same = replace(whole, period=period, segments=(replace(whole.segments[0], end=end),))
    charges = BOOK.settle(whole)
    assert moved.settle(same, charges, until="2026-03-11") == []
    at = moved.at("2026-03-11")
    first, last = (
        replace(same.segments[0], end=at, end_on=date(2026, 3, 11)),
        replace(same.segments[0], start=at, start_on=date(2026, 3, 11), quantity=Decimal(4)),
    )
    (more,) = moved.settle(replace(same, segments=(first, last)), charges, until="2026-03-11")
    assert (more.fraction, more.amount.amount_minor) == (Fraction(21, 31), 1355)


STUB = ("2026-02-10", "2026-02-28")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (ProrationOptions(), Fraction(18, 28)),
        (ProrationOptions(stub="unclamped"), Fraction(18, 31)),
        (ProrationOptions(day_count="thirty_day_months"), Fraction(18, 28)),
    ],
    ids=["anchored", "unclamped", "thirty_day_months"],
)
def test_what_a_first_part_is_measured_against(options: ProrationOptions, part: Fraction) -> None:
    """Billed on the 31st: the part ends on 28 February, and its whole began on 31 January, or on the 28th."""
    book = replace(BOOK, options=options, anchor_on=date(2026, 1, 31))
    period = book.period(*STUB, full=("2026-01-31", "2026-02-28"))
    terms = book.terms(period, book.segment(*STUB, "1", a_price("31")))
    (charge,) = book.settle(terms)
    assert charge.fraction == part
    (credit,) = book.settle(book.terms(period), [charge])
    assert credit.amount == -charge.amount


def test_months_of_thirty_days_give_back_what_they_charged() -> None:
    book = replace(BOOK, options=ProrationOptions(day_count="thirty_day_months"))
    less = seats((ALL[0], "2026-03-11", "2"), ("2026-03-11", ALL[1], "1"))
    (credit,) = book.settle(less, book.settle(seats((*ALL, "2"))))
    assert (credit.fraction, credit.amount.amount_minor) == (Fraction(20, 30), -667)


def test_what_stays_owed_for_is_not_paid_for_twice_when_it_comes_back() -> None:
    """Three of five go by `full`, are not given back, and two of them come back."""
    parts = (
        (ALL[0], "2026-03-05", "5"),
        ("2026-03-05", "2026-03-11", "2"),
        ("2026-03-11", "2026-03-21", "4"),
        ("2026-03-21", ALL[1], "7"),
    )
    versions = [seats(*parts[:n], (parts[n - 1][1], ALL[1], parts[n][2]), method="full") for n in range(1, 4)]
    charges = BOOK.settle_all(seats((*ALL, "5")), *versions)
    assert [(c.quantity_before, c.quantity, c.amount.amount_minor) for c in charges] == [
        (None, 5, 5000),
        (5, 7, 2000),
    ]


def test_a_flat_fee_a_minimum_and_a_cap_are_given_back_as_they_were_charged() -> None:
    capped = (PriceTier(up_to=None, unit_amount=Decimal(3), flat_amount=Decimal(5), cap_amount=Decimal(10)),)
    price = a_price(None, model="graduated", tiers=capped, minimum_amount=Decimal(12))
    terms = BOOK.terms(MARCH, BOOK.segment(*ALL, "4", price))
    charges = BOOK.settle(terms)
    back = BOOK.settle(BOOK.terms(MARCH), charges)
    assert [amount_of(c) for c in charges + back] == [[1000, 200], [-1000, -200]]
    assert [line.formula for line in rated_lines(back[0])] == [
        "tier 1: -1 * 10 = -10.00 EUR",
        "-1 * 2 = -2.00 EUR",
    ]


def amount_of(charge: Charge) -> list[int]:
    return [line.amount.amount_minor for line in rated_lines(charge)]


def test_what_was_billed_elsewhere_ends_on_its_date_in_a_new_zone_too() -> None:
    """11 March began in Amsterdam at 19:00 on the 10th in New York: the 10th is charged by nobody here."""
    moved = replace(BOOK, zone="America/New_York", billed_until="2026-03-10T19:00")
    end = moved.at(ALL[1])
    whole = seats((*ALL, "2"))
    same = replace(whole, period=replace(MARCH, end=end), segments=(replace(whole.segments[0], end=end),))
    charges = replace(BOOK, billed_until="2026-03-11").settle(whole)
    assert [charge.fraction for charge in charges] == [Fraction(21, 31)]
    assert moved.settle(same, charges) == []


@pytest.mark.parametrize("second_first", [False, True])
def test_parts_by_the_day_and_by_the_second_sum_to_the_whole(second_first: bool) -> None:
    """March has an hour less in Amsterdam: 743, in 31 days. What costs the same all the time costs what a month does."""
    prices = [a_price("743.00", id=f"prc_{n}", code=f"p{n}") for n in range(4)]
    at = ["2026-03-01", "2026-03-11", "2026-03-20T12:00", "2026-03-30", "2026-04-01"]
    methods = [None, "day", "second", "day", None]
    if second_first:
        at[1], at[2], at[3] = "2026-03-11T12:00", "2026-03-20", "2026-03-30T12:00"
        methods = [None, "second", "day", "second", None]
    charges = BOOK.settle(
        BOOK.terms(
            MARCH,
            *(
                BOOK.segment(at[n], at[n + 1], "1", prices[n], begins=methods[n], ends=methods[n + 1])
                for n in range(4)
            ),
        )
    )
    assert sum(charge.fraction for charge in charges) == 1
    assert amount(charges) == "743.00"

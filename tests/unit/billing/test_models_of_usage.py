"""The models that look into the usage: percentages, dimensions, capacity, amounts in events, expressions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import pytest

from libs.common.errors import DomainError
from libs.common.expression import ExpressionFailed
from libs.common.money import Money
from services.billing.domain.rating.allowance import AllowanceBalance
from services.billing.domain.rating.expression import NegativeAmount
from services.billing.domain.rating.matrix import NoMatrixCell
from services.billing.domain.rating.package import count_packages
from services.billing.domain.rating.percentage import event_fees
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rate import rate, rate_usage
from services.billing.domain.rating.rated_line import Covered
from services.billing.domain.rating.usage import (
    NegativeQuantity,
    Usage,
    UsageEvent,
    UsageGroup,
    UsageIncomplete,
    UsageInconsistent,
)
from tests.unit.billing.prices import JANUARY, T0, a_cell, a_price, a_tier, events, groups, levels

SHARE = a_price("percentage", rate_percent="1.3")
FEES = replace(SHARE, fixed_amount_per_event=Decimal(2))
BOUNDED = a_price(
    "percentage",
    rate_percent="2.99",
    fixed_amount_per_event="2",
    minimum_amount_per_event="1.75",
    maximum_amount_per_event="12",
)
SHARES = a_price(
    "graduated_percentage",
    tiers=(a_tier("10", "0", "200", percent="1"), a_tier("20", "0", "300", percent="2"),
           a_tier(None, "0", "400", percent="3")),
)  # fmt: skip
REGIONS = a_price(
    "matrix",
    dimensions=("region", "class"),
    cells=(
        a_cell("2", "eu", "gold"),
        a_cell("3", "*", "gold"),
        a_cell("4", "eu", "*"),
        a_cell("5", "*", "*"),
    ),
)
MEAN = a_price("capacity", "31", capacity_basis="time_weighted")
PEAK = a_price("capacity", "2", capacity_basis="peak")


class Case(NamedTuple):
    name: str
    price: Price
    usage: Usage
    lines: list[tuple[str, int, str]]  # quantity, minor units, formula


CASES = [
    Case("share_of_the_total", SHARE, Usage(Decimal(800)), [("800", 1040, "800 * 0.013 = 10.40 EUR")]),
    Case("share_beyond_a_free_amount", replace(SHARE, free_amount=Decimal(250)), Usage(Decimal(800)),
         [("550", 715, "550 * 0.013 = 7.15 EUR")]),
    Case("all_of_it_free", replace(SHARE, free_amount=Decimal(900)), Usage(Decimal(800)),
         [("0", 0, "0 * 0.013 = 0.00 EUR")]),
    Case("included_is_free_too", replace(SHARE, free_amount=Decimal(100), included_quantity=Decimal(50)),
         Usage(Decimal(800)), [("650", 845, "after 50 included: 650 * 0.013 = 8.45 EUR")]),
    Case("fixed_parts_by_the_count", FEES, Usage(Decimal(800), event_count=4),
         [("800", 1840, "800 * 0.013 + 8 = 18.40 EUR")]),
    Case("fixed_parts_by_the_events", FEES, events("50", "100", "250", "400"),
         [("800", 1840, "800 * 0.013 + 8 = 18.40 EUR")]),
    Case("no_events", FEES, Usage(Decimal(0), event_count=0), [("0", 0, "0 * 0.013 = 0.00 EUR")]),
    Case("free_until_the_amount_is_used_up", replace(FEES, free_events=3, free_amount=Decimal(250)),
         events("50", "100", "250", "400"), [("550", 1115, "550 * 0.013 + 4 = 11.15 EUR")]),
    Case("free_until_the_events_are_used_up", replace(FEES, free_events=3, free_amount=Decimal(500)),
         events("50", "100", "250", "400"), [("400", 720, "400 * 0.013 + 2 = 7.20 EUR")]),
    Case("free_events_alone", replace(FEES, free_events=3), events("50", "100", "250", "400"),
         [("400", 720, "400 * 0.013 + 2 = 7.20 EUR")]),
    Case("free_amount_alone", replace(FEES, free_amount=Decimal(150)), events("50", "100", "250", "400"),
         [("650", 1245, "650 * 0.013 + 4 = 12.45 EUR")]),
    Case("included_frees_events_as_well", replace(FEES, included_quantity=Decimal(150)),
         events("50", "100", "250", "400"), [("650", 1245, "after 150 included: 650 * 0.013 + 4 = 12.45 EUR")]),
    Case("later_small_events_are_not_free_again", replace(FEES, free_amount=Decimal(60)),
         events("50", "100", "1"), [("91", 518, "91 * 0.013 + 4 ≈ 5.18 EUR")]),
    Case("least_and_most_of_an_event", BOUNDED, events("10", "80", "10000"),
         [("10090", 1869, "10090 * 0.0299 - 283 ≈ 18.69 EUR")]),
    Case("the_least_is_not_for_free_events",
         replace(BOUNDED, fixed_amount_per_event=None, free_amount=Decimal(30)), events("10", "80", "10000"),
         [("10060", 1379, "10060 * 0.0299 - 287 ≈ 13.79 EUR")]),
    Case("the_least_alone", a_price("percentage", rate_percent="1", minimum_amount_per_event="1"),
         events("10", "200"), [("210", 300, "210 * 0.01 + 0.9 = 3.00 EUR")]),
    Case("shares_by_tier_at_nothing", SHARES, Usage(Decimal(0)),
         [("0", 20000, "tier 1, up to 10: 0 * 0.01 + 200 = 200.00 EUR")]),
    Case("shares_by_tier_on_the_edge", SHARES, Usage(Decimal(10)),
         [("10", 20010, "tier 1, up to 10: 10 * 0.01 + 200 = 200.10 EUR")]),
    Case("shares_by_tier", SHARES, Usage(Decimal(21)),
         [("10", 20010, "tier 1, up to 10: 10 * 0.01 + 200 = 200.10 EUR"),
          ("10", 30020, "tier 2, above 10 up to 20: 10 * 0.02 + 300 = 300.20 EUR"),
          ("1", 40003, "tier 3, above 20: 1 * 0.03 + 400 = 400.03 EUR")]),
    Case("amounts_in_events", a_price("dynamic"), events("1.10", "2.25"), [("3.35", 335, "3.35 * 1 = 3.35 EUR")]),
    Case("a_multiple_of_amounts", a_price("dynamic", "1.2", included="1"), events("1.10", "2.25"),
         [("2.35", 282, "after 1 included: 2.35 * 1.2 = 2.82 EUR")]),
    Case("a_capacity_that_is_given", PEAK, Usage(Decimal(7)), [("7", 1400, "7 * 2 = 14.00 EUR")]),
    Case("the_peak", PEAK, levels((0, "5"), (24, "9"), (48, "2")), [("9", 1800, "9 * 2 = 18.00 EUR")]),
    Case("a_level_may_fall_to_nothing", MEAN, levels((0, "31"), (24, "0"), (48, "31"), (72, "0")),
         [("2", 6200, "2 * 31 = 62.00 EUR")]),
    Case("the_peak_may_be_what_came_in", PEAK, levels((-24, "9"), (24, "2")), [("9", 1800, "9 * 2 = 18.00 EUR")]),
    Case("the_peak_is_within_the_period", PEAK, levels((-48, "9"), (-24, "2"), (31 * 24, "8")),
         [("2", 400, "2 * 2 = 4.00 EUR")]),
    Case("no_levels_are_nothing", PEAK, levels(), [("0", 0, "0 * 2 = 0.00 EUR")]),
    Case("the_mean_over_time", MEAN, levels((0, "5"), (24 * 7, "8")),
         [("227/31", 22700, "(227/31) * 31 = 227.00 EUR")]),
    Case("the_mean_of_what_came_in", MEAN, levels((-10, "5"), (0, "3")), [("3", 9300, "3 * 31 = 93.00 EUR")]),
    Case("the_mean_begins_with_nothing", MEAN, levels((24 * 30, "31")), [("1", 3100, "1 * 31 = 31.00 EUR")]),
    Case("the_mean_beyond_what_is_included", replace(MEAN, included_quantity=Decimal(7)),
         levels((0, "5"), (24 * 7, "8")), [("10/31", 1000, "after 7 included: (10/31) * 31 = 10.00 EUR")]),
    Case("capacity_in_tiers",
         a_price("capacity", tiers=(a_tier("5", "31"), a_tier(None, "62")), capacity_basis="time_weighted"),
         levels((0, "5"), (24 * 7, "8")),
         [("5", 15500, "tier 1, up to 5: 5 * 31 = 155.00 EUR"),
          ("72/31", 14400, "tier 2, above 5: (72/31) * 62 = 144.00 EUR")]),
    Case("cells_by_their_group", REGIONS,
         groups("10", ("1", {"region": "eu", "class": "gold"}), ("2", {"region": "us", "class": "gold"}),
                ("3", {"region": "eu", "class": "tin"}), ("4", {"region": "us", "class": None})),
         [("1", 200, "eu, gold: 1 * 2 = 2.00 EUR"), ("2", 600, "*, gold: 2 * 3 = 6.00 EUR"),
          ("3", 1200, "eu, *: 3 * 4 = 12.00 EUR"), ("4", 2000, "*, *: 4 * 5 = 20.00 EUR")]),
    Case("groups_of_one_cell_are_one_line", REGIONS,
         groups("7", ("3", {"region": "us", "class": "gold"}), ("4", {"region": "uk", "class": "gold"})),
         [("7", 2100, "*, gold: 7 * 3 = 21.00 EUR")]),
    Case("cells_by_their_events", REGIONS, events("1", "2", region="eu"), [("3", 1200, "eu, *: 3 * 4 = 12.00 EUR")]),
    Case("included_by_the_order_of_cells", replace(REGIONS, included_quantity=Decimal(2)),
         groups("6", ("3", {"region": "us"}), ("1", {"region": "eu", "class": "gold"}),
                ("2", {"region": "us", "class": "gold"})),
         [("0", 0, "after 1 included, eu, gold: 0 * 2 = 0.00 EUR"),
          ("1", 300, "after 1 included, *, gold: 1 * 3 = 3.00 EUR"), ("3", 1500, "*, *: 3 * 5 = 15.00 EUR")]),
    Case("no_groups_are_a_line_of_nothing", REGIONS, groups("0"), [("0", 0, "eu, gold: 0 * 2 = 0.00 EUR")]),
    Case("an_expression_of_totals",
         a_price("expression", expression="max(5, billable * 0.1 + event_count)", included="10"),
         Usage(Decimal(70), event_count=3), [("1", 900, "after 10 included: 1 * 9 = 9.00 EUR")]),
    Case("an_expression_of_events", a_price("expression", expression='sum(value * event("/km")) / 3'),
         events("1", "1", km="2.5"), [("1", 167, "1 * (5/3) ≈ 1.67 EUR")]),
    Case("packages_rounded_down", a_price("package", "3", package_size="10", package_rounding="down"),
         Usage(Decimal("29.9")), [("2", 600, "floor(29.9 / 10) * 3 = 6.00 EUR")]),
    Case("a_cap_on_a_tier", a_price("graduated", tiers=(a_tier("50", "1", "2", cap="30"), a_tier(None, "1", cap="3"))),
         Usage(Decimal(60)), [("50", 3000, "tier 1, up to 50: min(50 * 1 + 2, 30) = 30.00 EUR"),
                              ("10", 300, "tier 2, above 50: min(10 * 1, 3) = 3.00 EUR")]),
    Case("a_cap_that_is_not_reached", a_price("volume", tiers=(a_tier(None, "1", cap="30"),)), Usage(Decimal(29)),
         [("29", 2900, "tier 1: min(29 * 1, 30) = 29.00 EUR")]),
    Case("the_first_flat_may_be_waived_at_nothing",
         a_price("graduated", tiers=(a_tier("5", "1", "2"), a_tier(None, "1", "3")), charges_first_flat_at_zero=False),
         Usage(Decimal(0)), [("0", 0, "tier 1, up to 5: 0 * 1 = 0.00 EUR")]),
    Case("but_not_beyond_nothing",
         a_price("graduated", tiers=(a_tier("5", "1", "2"), a_tier(None, "1", "3")), charges_first_flat_at_zero=False),
         Usage(Decimal(6)), [("5", 700, "tier 1, up to 5: 5 * 1 + 2 = 7.00 EUR"),
                             ("1", 400, "tier 2, above 5: 1 * 1 + 3 = 4.00 EUR")]),
    Case("nor_where_it_is_charged", a_price("volume", tiers=(a_tier(None, "1", "2"),)), Usage(Decimal(0)),
         [("0", 200, "tier 1: 0 * 1 + 2 = 2.00 EUR")]),
    Case("volume_may_waive_it_too",
         a_price("volume", tiers=(a_tier(None, "1", "2"),), charges_first_flat_at_zero=False), Usage(Decimal(0)),
         [("0", 0, "tier 1: 0 * 1 = 0.00 EUR")]),
    Case("volume_charges_it_beyond_nothing",
         a_price("volume", tiers=(a_tier(None, "1", "2"),), charges_first_flat_at_zero=False), Usage(Decimal(1)),
         [("1", 300, "tier 1: 1 * 1 + 2 = 3.00 EUR")]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_usage_costs(case: Case) -> None:
    rated = rate_usage(case.price, case.usage, JANUARY)
    assert [(line.quantity, line.amount, line.formula) for line in rated.lines] == [
        (Fraction(quantity), Money(minor, "EUR"), formula) for quantity, minor, formula in case.lines
    ]
    assert rated.amount == Money(sum(minor for _, minor, _ in case.lines), "EUR")
    if not case.price.tiers and not case.price.cells:
        assert [line.ordinal for line in rated.lines] == [0]


class Refusal(NamedTuple):
    name: str
    price: Price
    usage: Usage
    error: type[DomainError]
    told: str


REFUSED = [
    Refusal("count_of_events", FEES, Usage(Decimal(1)), UsageIncomplete, "event_count"),
    Refusal("events_of_the_least", BOUNDED, Usage(Decimal(1), event_count=1), UsageIncomplete, "events"),
    Refusal("events_that_are_free", replace(SHARE, free_events=1), Usage(Decimal(1)), UsageIncomplete, "events"),
    Refusal("groups", REGIONS, Usage(Decimal(1)), UsageIncomplete, "groups"),
    Refusal("count_of_an_expression", a_price("expression", expression="event_count"), Usage(Decimal(1)),
            UsageIncomplete, "event_count"),
    Refusal("events_of_an_expression", a_price("expression", expression="sum(1)"), Usage(Decimal(1)),
            UsageIncomplete, "events"),
    Refusal("another_total", BOUNDED, replace(events("1", "2"), quantity=Decimal(4)), UsageInconsistent,
            "the events come to 3, the total to 4"),
    Refusal("an_amount_below_zero", BOUNDED, events("5", "-1"), NegativeQuantity, "not negative"),
    Refusal("a_total_below_zero", SHARE, Usage(Decimal(-1)), NegativeQuantity, "from zero up"),
    Refusal("a_level_below_zero", PEAK, levels((0, "-1")), NegativeQuantity, "a level is not negative"),
    Refusal("two_levels_at_once", PEAK, levels((5, "1"), (5, "2")), UsageInconsistent, "two levels at 2025-01-01T05"),
    Refusal("a_cell_below_zero", REGIONS, groups("0", ("-1", {})), NegativeQuantity, "a cell is rated from zero up"),
    Refusal("no_cell", replace(REGIONS, cells=(a_cell("1", "eu", "*"),)), groups("1", ("1", {"region": "us"})),
            NoMatrixCell, "no cell for region=us, class=None"),
    Refusal("an_expression_below_zero", a_price("expression", expression="quantity - 5"), Usage(Decimal(1)),
            NegativeAmount, "comes to -4"),
    Refusal("an_expression_by_zero", a_price("expression", expression="1 / quantity"), Usage(Decimal(0)),
            ExpressionFailed, "a division by zero, at character 3"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSED, ids=lambda refusal: refusal.name)
def test_what_cannot_be_rated_says_why(refusal: Refusal) -> None:
    with pytest.raises(refusal.error) as refused:
        rate_usage(refusal.price, refusal.usage, JANUARY)
    assert refusal.told in str(refused.value)
    if refusal.error is UsageIncomplete:
        assert refused.value.message in (
            f"{why} needs {refusal.told}"
            for why in (
                "a percentage with rules for single events",
                "a price by dimensions",
                "this expression",
            )
        )
        assert refused.value.facts["missing"] == refusal.told
        assert refused.value.pointer == f"/{refusal.told}"
        assert refused.value.remedy == f"Give {refusal.told} with the usage."


def test_dated_levels_need_their_period() -> None:
    with pytest.raises(UsageIncomplete) as refused:
        rate_usage(PEAK, levels((0, "1")))
    assert refused.value.facts["missing"] == "period"


def test_a_bare_quantity_is_enough_where_no_rule_is_about_events() -> None:
    assert rate(SHARE, Decimal(800))[0].amount == Money(1040, "EUR")
    assert rate(a_price("expression", expression="quantity + included", included="2"), Decimal(5))[
        0
    ].amount == Money(700, "EUR")
    with pytest.raises(UsageIncomplete):
        rate(FEES, Decimal(800))


def test_the_same_level_told_twice_is_no_contradiction() -> None:
    assert rate_usage(PEAK, levels((5, "1"), (5, "1")), JANUARY).amount == Money(200, "EUR")


def test_a_period_of_no_length_has_no_capacity() -> None:
    nothing, _ = JANUARY.split(T0)
    for price in (MEAN, PEAK):
        assert rate_usage(price, levels((0, "5")), nothing).measured == 0


def test_free_events_are_told_apart() -> None:
    found = event_fees(replace(BOUNDED, free_events=2, free_amount=Decimal(15)), events("10", "10", "10"))
    assert [(fee.taken, fee.is_free, fee.fee) for fee in found] == [
        (0, True, 0),
        (5, False, Decimal("2.1495")),
        (10, False, Decimal("2.299")),
    ]


def test_the_usage_of_events_is_their_sum_and_their_count() -> None:
    usage = events("1.5", "2.25")
    assert (usage.quantity, usage.event_count) == (Decimal("3.75"), 2)
    assert [event.value for event in usage.events or ()] == [Decimal("1.5"), Decimal("2.25")]


def test_events_of_one_instant_are_ordered_by_id() -> None:
    one = UsageEvent(T0, Decimal(100), id="a")
    other = UsageEvent(T0, Decimal(5), id="b")
    price = replace(SHARE, free_events=1)
    for made in ((one, other), (other, one)):
        assert rate_usage(price, Usage(Decimal(105), events=made)).lines[0].quantity == 5


class Choice(NamedTuple):
    values: dict[str, Any]
    cell: int


CELLS = (
    a_cell("1", "*", "*", "x"),
    a_cell("2", "*", "b", "*"),
    a_cell("3", "a", "*", "*"),
    a_cell("4", "*", "b", "x"),
    a_cell("5", "a", "*", "x"),
    a_cell("6", "a", "b", "x"),
)


@pytest.mark.parametrize(
    "choice",
    [
        Choice({"p": "a", "q": "b", "r": "x"}, 6),  # all named
        Choice({"p": "a", "q": "c", "r": "x"}, 5),  # two of three
        Choice({"p": "c", "q": "b", "r": "x"}, 4),
        Choice({"p": "a", "q": "b", "r": "y"}, 3),  # as many: further to the left
        Choice({"p": "c", "q": "b", "r": "y"}, 2),
        Choice({"p": "c", "q": "d", "r": "x"}, 1),
        Choice({"p": True, "q": 7, "r": "x"}, 1),
        Choice({"p": None, "q": None, "r": "x"}, 1),
    ],
)
def test_the_most_specific_cell_wins(choice: Choice) -> None:
    price = a_price("matrix", dimensions=("p", "q", "r"), cells=CELLS)
    (line,) = rate_usage(price, events("1", **choice.values)).lines
    assert line.ordinal == choice.cell


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (7, "7"),
        (Decimal("7.50"), "7.50"),
        (Decimal("1E+2"), "100"),
        (True, "true"),
        (False, "false"),
        ("x", "x"),
    ],
)
def test_dimensions_of_events_are_text(value: Any, told: str) -> None:
    price = a_price("matrix", dimensions=("p",), cells=(a_cell("1", "*"), a_cell("2", told)))
    assert rate_usage(price, events("1", p=value)).lines[0].ordinal == 2


def test_a_star_in_the_usage_is_no_wildcard() -> None:
    price = a_price("matrix", dimensions=("p",), cells=(a_cell("1", "a"), a_cell("1", "['a']")))
    for value in ("*", None, ["a"]):
        with pytest.raises(NoMatrixCell):
            rate_usage(price, events("1", p=value))


def test_what_groups_say_stands_before_what_events_say() -> None:
    usage = replace(events("1", region="eu"), groups=(UsageGroup({"region": "us"}, Decimal(2)),))
    assert [line.quantity for line in rate_usage(REGIONS, usage).lines] == [2]


@pytest.mark.parametrize(
    ("quantity", "size", "up", "down"),
    [("0", "10", 0, 0), ("9", "10", 1, 0), ("10", "10", 1, 1), ("10.1", "10", 2, 1), ("1", "0.3", 4, 3)],
)
def test_packages(quantity: str, size: str, up: int, down: int) -> None:
    assert count_packages(Decimal(quantity), Decimal(size)) == up
    assert count_packages(Fraction(quantity), Decimal(size), "up") == up
    assert count_packages(Decimal(quantity), Decimal(size), "down") == down


def test_lines_tell_which_part_of_the_price_they_are() -> None:
    lines = rate_usage(REGIONS, groups("2", ("1", {"region": "eu"}), ("1", {}))).lines
    assert [(line.key, line.tier, line.description) for line in lines] == [
        ("3", 0, "Desk: eu, *"),
        ("4", 0, "Desk: *, *"),
    ]
    (tier,) = rate_usage(SHARES, Usage(Decimal(1))).lines
    assert (tier.key, tier.tier, tier.description) == ("1", 1, "Desk")
    (flat,) = rate(a_price("flat", "1"), Decimal(1))
    assert (flat.key, flat.tier, flat.description) == ("0", 0, "Desk")


def test_a_price_worked_out_from_usage_is_shown_with_twelve_decimals() -> None:
    (line,) = rate_usage(a_price("expression", expression="2 / 3"), Usage(Decimal(0))).lines
    assert line.unit_amount == Fraction(2, 3)
    assert str(line.shown_unit_amount) == "0.666666666667"
    assert rate(a_price("per_unit", "1.50"), Decimal(1))[0].shown_unit_amount == Decimal("1.5")


def test_levels_and_events_may_come_in_any_order() -> None:
    forward = levels((0, "5"), (24, "7"), (48, "2"))
    assert forward.levels is not None
    backward = replace(forward, levels=forward.levels[::-1])
    for price in (PEAK, MEAN):
        assert rate_usage(price, forward, JANUARY).lines == rate_usage(price, backward, JANUARY).lines


def test_a_day_later_the_level_counts_a_day_less() -> None:
    for days in range(31):
        usage = Usage(Decimal(0), levels=(levels((24 * days, "31")).levels or ()))
        assert rate_usage(MEAN, usage, JANUARY).measured == 31 - days
        assert JANUARY.start + timedelta(days=days) < JANUARY.end


def test_a_cap_holds_for_a_part_of_a_period_as_for_the_whole() -> None:
    """The part is taken of what the tier comes to, capped or not."""
    for cap, minor in (("20", 1000), ("25", 1250), ("30", 1250)):
        price = a_price("graduated", tiers=(a_tier(None, "10", cap=cap),))
        (line,) = rate(price, Decimal("2.5"), fraction=Fraction(1, 2))
        assert line.amount == Money(minor, "EUR")
        assert line.exact == Fraction(minor, 100)


def test_a_rating_keeps_what_it_came_from() -> None:
    price = a_price("per_unit", "1", included="10")
    usage = Usage(Decimal(25))
    rated = rate_usage(price, usage, JANUARY, fraction=Fraction(1, 2))
    assert (rated.price, rated.usage, rated.period) == (price, usage, JANUARY)
    assert (rated.fraction, rated.bounds_fraction) == (Fraction(1, 2), Fraction(1, 2))
    assert (rated.measured, rated.covered, rated.billable) == (25, None, 15)
    assert (rated.opening, rated.closing) == (None, None)
    drawn = rate_usage(price, usage, allowance=AllowanceBalance(Decimal(20)))
    assert (drawn.covered, drawn.billable) == (Covered(Decimal(20)), 5)
    assert drawn.lines[0].formula == "after 20 included: 5 * 1 = 5.00 EUR"
    assert (
        rate_usage(price, usage, allowance=AllowanceBalance(Decimal(0))).lines[0].formula
        == "25 * 1 = 25.00 EUR"
    )
    assert (drawn.opening, drawn.closing) == (AllowanceBalance(Decimal(20)), AllowanceBalance(Decimal(0)))

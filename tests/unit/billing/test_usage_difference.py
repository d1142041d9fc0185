"""Usage is charged as it becomes known: whatever was charged in between, all of it is what the newest totals come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.periods import Interval, nth_period
from services.billing.domain.agreement import Agreement, BilledItem, BilledPeriod, CustomerDetails
from services.billing.domain.charge import (
    Charge,
    ItemUsage,
    TrueUp,
    UsageOfPeriod,
    UsageOfUnknownItem,
    rated_lines,
)
from services.billing.domain.correction_lines import line_key
from services.billing.domain.rating.price import Price, Rollover
from services.billing.domain.terms import PeriodTerms, TermSegment
from services.billing.domain.usage_charges import usage_charges
from services.billing.domain.usage_difference import WindowUsage, usage_difference, usage_differences
from tests.unit.billing.prices import a_price, a_tier

NOW = datetime(2025, 6, 1, tzinfo=UTC)
ITEM = "itm_1"
ZONE = "Europe/Amsterdam"
ANCHOR = date(2025, 1, 1)
MONTH = Interval("month")


def metered(model: Any, unit_amount: str | None = None, **terms: Any) -> Price:
    return replace(a_price(model, unit_amount, **terms), kind="usage", timing="arrears", meter="m")


WASHES = metered("per_unit", "0.95", included="12")
VOLUME = metered("volume", tiers=(a_tier("100", "10"), a_tier(None, "9")))
GRADUATED = metered("graduated", tiers=(a_tier("50", "30"), a_tier(None, "26")))
PRICES = {
    "per_unit": metered("per_unit", "0.0042"),
    "included": WASHES,
    "volume": VOLUME,
    "graduated": GRADUATED,
    "graduated with fees": metered(
        "graduated",
        tiers=(a_tier("5", "1.005", "100"), a_tier("20", "2", "50", cap="60"), a_tier(None, "0.333")),
    ),
    "package": metered("package", "3.99", package_size="10", included="5"),
    "minimum": metered("per_unit", "0.333", minimum_amount="20"),
    "maximum": metered("graduated", tiers=(a_tier("10", "1.115"), a_tier(None, "1")), maximum_amount="50"),
    "both": metered("per_unit", "1.005", minimum_amount="7.77", maximum_amount="99.99", included="3"),
    "flat": metered("flat", "10"),
}


def an_agreement(*prices: Price, **changes: Any) -> Agreement:
    customer = CustomerDetails("cus", 1, "Hotel", None, None, None)
    items = tuple(BilledItem(f"itm_{place}", price, None) for place, price in enumerate(prices, start=1))
    agreement = Agreement("sub", 1, customer, "EUR", ZONE, items, None, None, ANCHOR, MONTH)
    return replace(agreement, **changes)


def a_window(index: int, *totals: ItemUsage) -> UsageOfPeriod:
    period = nth_period(ANCHOR, MONTH, ZONE, index)
    return UsageOfPeriod(f"uwin_{index}", "sub", index, period.start, period.end, period.end, totals)


def used(quantity: str | Decimal, *, price_id: str | None = None, **told: Any) -> ItemUsage:
    return ItemUsage(ITEM, "m", Decimal(quantity), 1, price_id, **told)


def terms_of(index: int, *segments: tuple[Price, str, str], version: int = 2) -> PeriodTerms:
    period = nth_period(ANCHOR, MONTH, ZONE, index)
    billed = BilledPeriod(index, period.start_on, period.end_on, period.start, period.end)
    return PeriodTerms(
        "sub",
        version,
        billed,
        tuple(
            TermSegment(
                ITEM,
                price,
                None,
                date.fromisoformat(start),
                date.fromisoformat(end),
                datetime.fromisoformat(f"{start}T00:00:00+00:00"),
                datetime.fromisoformat(f"{end}T00:00:00+00:00"),
            )
            for price, start, end in segments
        ),
    )


def told(charges: Sequence[Charge]) -> list[tuple[Any, ...]]:
    return [
        (
            charge.price.id,
            charge.period_index,
            charge.revision,
            str(line.quantity),
            str(line.unit_amount),
            line.rounded,
        )
        for charge in charges
        for line in rated_lines(charge)
        if line.rounded or line.quantity
    ]


def by_line(charges: Sequence[Charge]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for charge in charges:
        for line in rated_lines(charge):
            key = charge.price.id, line_key(line, charge.price)
            found[key] = found.get(key, 0) + line.amount.amount_minor
    return {key: minor for key, minor in found.items() if minor}


def placed(charges: Sequence[Charge], invoice_id: str = "inv_1") -> list[Charge]:
    return [replace(charge, invoice_id=invoice_id) for charge in charges]


def charged(price: Price, *quantities: str | Decimal, **options: Any) -> list[Charge]:
    """One after the other, as the totals become known."""
    recorded: list[Charge] = []
    agreement = an_agreement(price)
    for quantity in quantities:
        usage = a_window(0, used(quantity))
        recorded += placed(usage_difference(agreement, usage, recorded, now=NOW, **options))
    return recorded


DELTAS = [
    #    billed  newest  line key, quantity, price, amount in minor units
    (VOLUME, "90", "120", [("0", "1", "180.00", 18000)]),
    (VOLUME, "100", "101", [("0", "-1", "91.00", -9100)]),
    (VOLUME, "101", "101", []),
    (GRADUATED, "49", "51", [("1", "1", "30.00", 3000), ("2", "1", "26.00", 2600)]),
    (GRADUATED, "51", "49", [("1", "-1", "30.00", -3000), ("2", "-1", "26.00", -2600)]),
    (PRICES["per_unit"], "85000", "85001", []),
    (PRICES["minimum"], "3", "100", [("0", "1", "32.30", 3230), ("minimum", "-1", "19.00", -1900)]),
    (
        PRICES["maximum"],
        "9",
        "90",
        [("1", "1", "1.11", 111), ("2", "1", "80.00", 8000), ("maximum", "-1", "41.15", -4115)],
    ),
    (WASHES, "16", "11", [("0", "-1", "3.80", -380)]),
    (WASHES, "3", "11", []),
]


@pytest.mark.parametrize(("price", "billed", "newest", "lines"), DELTAS)
def test_one_line_for_each_that_was_charged(
    price: Price, billed: str, newest: str, lines: list[tuple[str, str, str, int]]
) -> None:
    first, *corrections = charged(price, billed, newest)
    found = [line for charge in corrections for line in rated_lines(charge)]
    assert [
        (line_key(line, price), str(line.quantity), str(line.unit_amount), line.amount.amount_minor)
        for line in found
    ] == lines
    for charge in corrections:
        assert (charge.revision, charge.quantity_before, charge.quantity) == (
            1,
            Decimal(billed),
            Decimal(newest),
        )
        assert (charge.service_start_on, charge.service_end_on) == (
            first.service_start_on,
            first.service_end_on,
        )


def test_a_line_says_what_was_charged_and_what_it_comes_to_now_and_names_the_line_that_it_corrects() -> None:
    _, second = charged(VOLUME, "90", "120")
    (line,) = rated_lines(second)
    assert line.formula == "tier 2, above 100: 120 * 9 = 1080.00 EUR; 1080.00 - 900.00 = 180.00 EUR"
    assert second.billed_before is not None
    assert line.corrects == second.billed_before[0].line_id  # type: ignore[union-attr]
    assert line.corrects is not None  # type: ignore[union-attr]


def test_a_tier_that_was_not_reached_before_corrects_the_first_line() -> None:
    _, second = charged(GRADUATED, "49", "51")
    first, new = rated_lines(second)
    assert new.corrects == first.corrects is not None  # type: ignore[union-attr]


def test_a_repeat_adds_nothing() -> None:
    recorded = charged(GRADUATED, "49", "51")
    assert usage_difference(an_agreement(GRADUATED), a_window(0, used("51.0")), recorded, now=NOW) == []


def test_usage_that_costs_nothing_is_recorded_where_its_quantity_changed() -> None:
    _, second = charged(WASHES, "3", "11")
    assert (second.quantity, second.amount.amount_minor, list(rated_lines(second))) == (11, 0, [])


def test_what_was_used_at_a_price_that_holds_no_longer_is_given_back_and_charged_at_the_one_in_its_place() -> (
    None
):
    old, new = replace(WASHES, id="old"), replace(WASHES, id="new", included_quantity=Decimal(0))
    agreement = an_agreement(old)
    before = terms_of(0, (old, "2025-01-01", "2025-02-01"))
    usage = a_window(0, used("20"))
    recorded = placed(usage_difference(agreement, usage, (), now=NOW, terms=before))
    after = terms_of(0, (new, "2025-01-01", "2025-02-01"), version=3)
    for totals in (used("20"), used("20", price_id="old"), used("20", price_id="new")):
        charges = usage_difference(agreement, a_window(0, totals), recorded, now=NOW, terms=after)
        assert told(charges) == [
            ("old", 0, 1, "-1", "7.60", Decimal("-7.60")),
            ("new", 0, 0, "20", "0.95", Decimal("19.00")),
        ]
        assert charges[0].is_end
    again = [*recorded, *charges]
    assert usage_difference(agreement, a_window(0, used("20")), again, now=NOW, terms=after) == []
    back = usage_difference(
        agreement, a_window(0, used("20")), again, now=NOW, terms=replace(before, version=4)
    )
    assert told(back) == [
        ("new", 0, 1, "-1", "19.00", Decimal("-19.00")),
        ("old", 0, 2, "1", "7.60", Decimal("7.60")),
    ]


def test_of_two_prices_the_one_that_the_window_does_not_name_took_the_place_of_the_old_one() -> None:
    first, second, third = (replace(PRICES["per_unit"], id=id, unit_amount=Decimal(1)) for id in "abc")
    usage = a_window(0, used("10", price_id="a"), used("5", price_id="b"))
    before = terms_of(0, (first, "2025-01-01", "2025-01-20"), (second, "2025-01-20", "2025-02-01"))
    after = terms_of(0, (third, "2025-01-01", "2025-01-20"), (second, "2025-01-20", "2025-02-01"), version=3)
    agreement = an_agreement(second)
    recorded = placed(usage_difference(agreement, usage, (), now=NOW, terms=before))
    found = usage_difference(agreement, usage, recorded, now=NOW, terms=after)
    assert [(c.price.id, c.quantity, c.amount.amount_minor) for c in found] == [
        ("a", 0, -1000),
        ("c", 10, 1000),
    ]


def test_an_item_that_is_agreed_on_no_more_is_given_back_and_one_that_never_was_is_refused() -> None:
    recorded = charged(VOLUME, "10")
    nothing = an_agreement()
    (back,) = usage_difference(nothing, a_window(0, used("10")), recorded, now=NOW, terms=terms_of(0))
    assert (back.is_end, back.amount.amount_minor) == (True, -10000)
    with pytest.raises(UsageOfUnknownItem):
        usage_difference(nothing, a_window(0, used("10")), (), now=NOW, terms=terms_of(0))


quantities = st.decimals(0, 300, places=2)


@settings(max_examples=60)
@given(name=st.sampled_from(sorted(PRICES)), steps=st.lists(quantities, min_size=1, max_size=6))
def test_whatever_was_charged_in_between_all_of_it_is_what_the_newest_totals_come_to(
    name: str, steps: list[Decimal]
) -> None:
    """Line by line; no more is given back than was charged; and each charge is rated again to the same lines."""
    price = PRICES[name]
    recorded = charged(price, *steps)
    whole = usage_charges(an_agreement(price), a_window(0, used(steps[-1])), now=NOW)
    assert by_line(recorded) == by_line(whole)
    sums = [sum(c.amount.amount_minor for c in recorded[: n + 1]) for n in range(len(recorded))]
    assert min(sums) >= 0
    assert all(rated_lines(charge) == rated_lines(charge) for charge in recorded)
    assert [charge.revision for charge in recorded] == list(range(len(recorded)))


@settings(max_examples=60)
@given(name=st.sampled_from(sorted(PRICES)), steps=st.lists(quantities, max_size=5), last=quantities)
def test_what_was_split_by_a_threshold_sums_to_the_unsplit_rating(
    name: str, steps: list[Decimal], last: Decimal
) -> None:
    """While the period is open, no minimum is charged; allowances, tiers, packages and maxima count from its start."""
    price = PRICES[name]
    recorded = charged(price, *sorted(steps), is_open=True)
    assert not any(key == "minimum" for _, key in by_line(recorded))
    usage = a_window(0, used(last))
    recorded += usage_difference(an_agreement(price), usage, recorded, now=NOW)
    assert by_line(recorded) == by_line(usage_charges(an_agreement(price), usage, now=NOW))


# Estimates and what puts them right

MAY, JUNE = 4, 5


def trued_up(start: str, actual: str, estimated: str) -> TrueUp:
    at = datetime.fromisoformat(start).replace(tzinfo=UTC)
    return TrueUp("washer", at, NOW, Decimal(actual), Decimal(estimated))


def windows_of(
    price: Price, *totals: ItemUsage, first: int = MAY, recorded: Sequence[Charge] = ()
) -> list[WindowUsage]:
    return [
        WindowUsage(
            a_window(first + place, total),
            tuple(charge for charge in recorded if charge.period_index == first + place),
        )
        for place, total in enumerate(totals)
    ]


ESTIMATED = used("16", estimated_quantity=Decimal(16))


def test_a_true_up_pools_the_allowances_and_deducts_extras_that_were_billed() -> None:
    """16 were estimated in May: 4 extras. In May and June together it was 25, with 24 included: 1 extra."""
    agreement = an_agreement(WASHES)
    may = placed(usage_differences(agreement, windows_of(WASHES, ESTIMATED), now=NOW))
    assert told(may) == [("pri_1", MAY, 0, "4", "0.95", Decimal("3.80"))]
    assert rated_lines(may[0])[0].formula.endswith("; 16 of it estimated")
    june = used("9", true_ups=(trued_up("2025-04-30T22:00", "25", "16"),))
    windows = windows_of(WASHES, ESTIMATED, june, recorded=may)
    credit, nothing = usage_differences(agreement, windows, now=NOW)
    assert told([credit]) == [("pri_1", MAY, 1, "-3", "0.95", Decimal("-2.85"))]
    (line,) = rated_lines(credit)
    assert line.formula == (
        "2 periods together, 25: after 24 included: 1 * 0.95 = 0.95 EUR; 0.95 - 3.80 = -2.85 EUR"
    )
    assert line.corrects is not None  # type: ignore[union-attr]
    assert (nothing.period_index, nothing.quantity, nothing.amount.amount_minor) == (JUNE, 9, 0)
    again = windows_of(WASHES, ESTIMATED, june, recorded=[*may, credit, nothing])
    assert usage_differences(agreement, again, now=NOW) == []


TRUE_UPS = [
    # in June, credit of May, charged in June
    ("-16", -380, 0),  # nothing was used at all: all extras are given back, and no more
    ("-4", -380, 0),
    ("8", -380, 0),
    ("9", -285, 0),
    ("12", 0, 0),
    ("13", 0, 95),
    ("24", 0, 1140),
]


@pytest.mark.parametrize(("in_june", "credit", "charge"), TRUE_UPS)
def test_no_more_is_given_back_than_was_billed(in_june: str, credit: int, charge: int) -> None:
    agreement = an_agreement(WASHES)
    may = placed(usage_differences(agreement, windows_of(WASHES, ESTIMATED), now=NOW))
    june = used(in_june, true_ups=(trued_up("2025-04-30T22:00", str(16 + int(in_june)), "16"),))
    found = usage_differences(agreement, windows_of(WASHES, ESTIMATED, june, recorded=may), now=NOW)
    minor = {MAY: 0, JUNE: 0}
    for one in found:
        minor[one.period_index] += one.amount.amount_minor
    assert minor == {MAY: credit, JUNE: charge}


def test_the_month_in_which_the_last_reading_lay_has_part_in_it_where_its_end_was_estimated() -> None:
    """Read on 20 April; what was estimated until 1 May counts, of a month that was read to its end does not."""
    agreement = an_agreement(WASHES)
    june = used("9", true_ups=(trued_up("2025-04-20T00:00", "30", "21"),))
    for april, count in ((used("18", estimated_quantity=Decimal(5)), 3), (used("18"), 2)):
        windows = windows_of(WASHES, april, ESTIMATED, june, first=3)
        *_, last = usage_differences(agreement, windows, now=NOW)
        assert last.pools[0].period_count == count


def test_a_reading_that_puts_right_what_was_not_billed_here_gives_nothing_back() -> None:
    june = used("-4", true_ups=(trued_up("2025-04-30T22:00", "12", "16"),))
    (charge,) = usage_differences(an_agreement(WASHES), windows_of(WASHES, june, first=JUNE), now=NOW)
    assert (charge.quantity, charge.amount.amount_minor) == (0, 0)


whole = st.integers(0, 60).map(Decimal)


@settings(max_examples=60)
@given(
    name=st.sampled_from(sorted(PRICES)),
    estimates=st.lists(whole, min_size=1, max_size=3),
    actual=st.integers(0, 200).map(Decimal),
)
def test_true_ups_come_to_the_pooled_rating_and_never_below_zero_in_any_period(
    name: str, estimates: list[Decimal], actual: Decimal
) -> None:
    price, first = PRICES[name], 2
    agreement = an_agreement(price)
    recorded: list[Charge] = []
    totals = [used(one, estimated_quantity=one) for one in estimates]
    for count in range(1, len(totals) + 1):
        recorded += placed(
            usage_differences(
                agreement, windows_of(price, *totals[:count], first=first, recorded=recorded), now=NOW
            )
        )
    true_up = trued_up("2025-02-28T23:00", str(actual), str(sum(estimates)))
    totals.append(used(actual - sum(estimates), true_ups=(true_up,)))
    windows = windows_of(price, *totals, first=first, recorded=recorded)
    recorded += placed(usage_differences(agreement, windows, now=NOW))
    pool = next(charge for charge in recorded if charge.period_index == first + len(estimates)).pools[0]
    assert pool.quantity == actual
    owed = sum(line.amount.amount_minor for line in pool.lines(price))
    assert sum(charge.amount.amount_minor for charge in recorded) == owed
    for index in range(first, first + len(totals)):
        assert sum(c.amount.amount_minor for c in recorded if c.period_index == index) >= 0
    windows = windows_of(price, *totals, first=first, recorded=recorded)
    assert usage_differences(agreement, windows, now=NOW) == []


# Free units that are carried on

PAGES = replace(metered("package", "1", package_size="10", included="50"), rollover=Rollover(Decimal(100), 2))
YEARLY = replace(
    metered("per_unit", "0.10", included="18000"), allowance_interval_unit="year", allowance_interval_count=1
)


@settings(max_examples=40)
@given(
    price=st.sampled_from([PAGES, YEARLY]),
    first=st.lists(st.integers(0, 9000).map(Decimal), min_size=1, max_size=4),
    data=st.data(),
)
def test_a_correction_goes_on_in_the_periods_after_it_where_free_units_are_carried_on(
    price: Price, first: list[Decimal], data: st.DataObject
) -> None:
    agreement = an_agreement(price)
    newest = data.draw(st.lists(st.integers(0, 9000).map(Decimal), min_size=len(first), max_size=len(first)))
    recorded = placed(usage_differences(agreement, windows_of(price, *map(used, first), first=0), now=NOW))
    order = data.draw(st.permutations(range(len(first))))
    known = list(first)
    for place in order:
        known[place] = newest[place]
        windows = windows_of(price, *map(used, known), first=0, recorded=recorded)
        recorded += placed(usage_differences(agreement, windows, now=NOW))
    whole = usage_differences(agreement, windows_of(price, *map(used, newest), first=0), now=NOW)
    for index in range(len(first)):
        of_index = [[c for c in charges if c.period_index == index] for charges in (recorded, whole)]
        assert by_line(of_index[0]) == by_line(of_index[1])

"""Allowances that are earned with time: what a year, a part of one and a whole contract come to, in any order of news."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import permutations
from typing import NamedTuple

import pytest

from libs.common.periods import boundary
from services.billing.application.add_usage_lines import AddUsageLines, add_usage_lines
from services.billing.application.correct_usage import CorrectUsage, correct_usage
from services.billing.application.reconcile_charges import ReconcileCharges, reconcile_charges
from services.billing.application.settle_change import SettleChange, settle_change
from services.billing.domain.agreement import BilledItem, BilledPeriod
from services.billing.domain.charge import Charge, ItemUsage, TrueUp, UsageCorrection, UsageOfPeriod
from services.billing.domain.invoice import Invoice
from services.billing.domain.terms import PeriodTerms
from tests.support.agreed import Agreed, a_price
from tests.support.billing import MemoryBilling

KILOMETRES = a_price(
    "0.10",
    id="prc_km",
    code="km",
    description="Kilometres",
    kind="usage",
    timing="arrears",
    meter="km",
    included_quantity=Decimal(18000),
    allowance_interval_unit="year",
)
OVER_THE_YEAR = replace(KILOMETRES, allowance_pool="interval")
OVER_THE_CONTRACT = replace(KILOMETRES, id="prc_all", allowance_pool="subscription")
OTHER = replace(KILOMETRES, id="prc_other", included_quantity=Decimal(12000), allowance_pool="interval")
CAR = Agreed(zone="UTC", items=(BilledItem("itm_1", OVER_THE_YEAR, None),))


def with_price(price: object, book: Agreed = CAR) -> Agreed:
    return replace(book, items=(BilledItem("itm_1", price, None),))  # type: ignore[arg-type]


def start_of(book: Agreed, index: int) -> str:
    return boundary(book.anchor_on, book.interval, index).isoformat()


def month(book: Agreed, index: int, until: str | None = None) -> BilledPeriod:
    start, end = start_of(book, index), start_of(book, index + 1)
    if until is None or until == end:
        return book.period(start, end, index=index)
    return book.period(start, until, index=index, full=(start, end))


async def begin(book: Agreed, uow: MemoryBilling, index: int, terms: Sequence[PeriodTerms] = ()) -> Invoice:
    return await reconcile_charges(
        ReconcileCharges(
            agreement=replace(book.agreement, version=index + 1),
            boundary_at=book.at(start_of(book, index)),
            begins=month(book, index),
            ended=month(book, index - 1) if index else None,
            occurred_at=book.at(start_of(book, index)),
            terms=tuple(terms),
        ),
        uow=uow,
    )


async def end(book: Agreed, uow: MemoryBilling, index: int, on: str) -> Invoice:
    """The agreement ends within month `index`, or with it."""
    book = replace(book, ends_at=on)
    last = month(book, index, on)
    price = book.items[0].price
    terms = book.terms(
        last,
        book.segment(start_of(book, index), on, None, price),
        version=100,
        is_over=True,
        commitments=book.commitments,
    )
    return await reconcile_charges(
        ReconcileCharges(
            agreement=replace(book.agreement, version=100),
            boundary_at=book.at(on),
            begins=None,
            ended=last,
            occurred_at=book.at(on),
            terms=(terms,),
        ),
        uow=uow,
    )


def used(
    book: Agreed, index: int, quantity: str, *, until: str | None = None, **more: object
) -> UsageOfPeriod:
    end_on = until or start_of(book, index + 1)
    price = more.pop("price", book.items[0].price)
    total = ItemUsage("itm_1", "km", Decimal(quantity), 1, price.id, **more)  # type: ignore[attr-defined, arg-type]
    return UsageOfPeriod(
        f"win_{index}",
        "sub_1",
        index,
        book.at(start_of(book, index)),
        book.at(end_on),
        book.at(end_on),
        (total,),
    )


async def close(uow: MemoryBilling, usage: UsageOfPeriod) -> None:
    await add_usage_lines(AddUsageLines(usage), uow=uow)


def amounts(uow: MemoryBilling) -> dict[int, int]:
    """By period, in minor units, all revisions together; nothing where it is nothing."""
    found: dict[int, int] = {}
    for charge in uow.charges.by_id.values():
        if charge.kind == "usage":
            found[charge.period_index] = found.get(charge.period_index, 0) + charge.amount.amount_minor
    return {index: amount for index, amount in sorted(found.items()) if amount}


def newest(uow: MemoryBilling, index: int, price_id: str = "prc_km") -> Charge:
    mine = [c for c in uow.charges.by_id.values() if (c.period_index, c.price.id) == (index, price_id)]
    return max(mine, key=lambda charge: charge.revision)


class Case(NamedTuple):
    name: str
    price: object
    months: tuple[int, ...]
    ends_on: str | None
    billed: dict[int, int]  # by month, in cents


TWENTY = (1660,) * 20  # 33,200 km in 20 months
CASES = [
    #    name                        price               used in each month         ends        billed
    Case("twenty_months_of_a_contract", OVER_THE_CONTRACT, TWENTY, "2027-09-01", {19: 32000}),
    Case("whenever_they_were_driven", OVER_THE_CONTRACT, (33200, *(0,) * 19), "2027-09-01", {19: 32000}),
    Case("a_contract_that_goes_on", OVER_THE_CONTRACT, TWENTY, None, {}),
    Case("a_year_and_eight_months", OVER_THE_YEAR, TWENTY, "2027-09-01", {11: 19200, 19: 12800}),
    Case("nothing_goes_from_year_to_year", OVER_THE_YEAR, (0,) * 12 + (1500,) * 7 + (1600,), "2027-09-01",
         {19: 1000}),
    Case("exactly_what_was_earned", OVER_THE_YEAR, (18000, *(0,) * 11), None, {}),
    Case("one_more", OVER_THE_YEAR, (18001, *(0,) * 11), None, {11: 10}),
    Case("a_year_cut_short", OVER_THE_YEAR, (5000, 0, 0), "2026-04-01", {2: 5000}),
    Case("a_day_of_a_month", OVER_THE_YEAR, (0, 1608), "2026-02-03", {1: 9}),  # 1,608 - 1,500 x (1 + 2/28) = 6/7
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_was_used_beyond_what_was_earned_is_owed_once(case: Case) -> None:
    uow, book = MemoryBilling(), with_price(case.price)
    last = len(case.months) - 1
    for index, quantity in enumerate(case.months):
        await begin(book, uow, index)
        if index:
            await close(uow, used(book, index - 1, str(case.months[index - 1])))
        if index == last:
            if case.ends_on is None:
                await begin(book, uow, index + 1)
            else:
                await end(book, uow, index, case.ends_on)
            await close(uow, used(book, index, str(quantity), until=case.ends_on))
    assert amounts(uow) == case.billed


async def test_the_line_tells_of_the_pool_and_is_for_its_time(uow: MemoryBilling) -> None:
    book = with_price(OVER_THE_CONTRACT)
    for index in range(3):
        await begin(book, uow, index)
    await end(book, uow, 2, "2026-03-11")
    for index, quantity in enumerate(("2000", "1500", "500")):
        await close(uow, used(book, index, quantity, until="2026-03-11" if index == 2 else None))
    charge = newest(uow, 2, "prc_all")
    assert charge.allowance is not None
    assert charge.allowance.pool is not None
    assert charge.allowance.pool.held == 2 + Fraction(10, 31)
    (line,) = (line for lines in uow.invoices.lines.values() for line in lines if line.net.amount_minor)
    # 4,000 - 1,500 x (2 + 10/31)
    assert line.net.amount_minor == 5161
    assert line.formula == (
        "4000 used of the pool since 2026-01-01 after 18000 * (72/31) / 12 = 108000/31 earned: "
        "(16000/31) * 0.1 ≈ 51.61 EUR"
    )
    assert (line.service_start_on, line.service_end_on) == (date(2026, 1, 1), date(2026, 3, 11))


@pytest.mark.parametrize("order", list(permutations(range(4))))
async def test_in_whatever_order_windows_and_the_end_are_told_of(order: tuple[int, ...]) -> None:
    uow = MemoryBilling()
    for index in range(3):
        await begin(CAR, uow, index)
    for told in order:
        if told == 3:
            await end(CAR, uow, 2, "2026-04-01")
        else:
            await close(uow, used(CAR, told, ("1000", "2000", "3000")[told]))
    assert amounts(uow) == {2: 15000}
    assert not any(invoice.awaits_window for invoice in uow.invoices.by_id.values())


async def test_late_usage_before_and_after_the_pool_was_settled(uow: MemoryBilling) -> None:
    """The line that settled it is put right, wherever in the pool the usage was."""
    for index in range(13):
        await begin(CAR, uow, index)
        if index:
            await close(uow, used(CAR, index - 1, "1500"))
        if index == 6:
            await correct(uow, 1, "1500", "1700")
            assert amounts(uow) == {}
    assert amounts(uow) == {11: 2000}
    await correct(uow, 2, "1500", "1600")
    assert amounts(uow) == {11: 3000}
    correction = newest(uow, 11)
    assert (correction.quantity, correction.revision, correction.amount.amount_minor) == (
        Decimal(1500),
        1,
        1000,
    )
    await correct(uow, 3, "1500", "0")
    assert amounts(uow) == {}


async def correct(uow: MemoryBilling, index: int, before: str, after: str) -> None:
    given = [ItemUsage("itm_1", "km", Decimal(quantity), 1, "prc_km") for quantity in (before, after)]
    correction = UsageCorrection(f"win_{index}", "sub_1", index, 1, (given[1],), before=(given[0],))
    await correct_usage(CorrectUsage(correction, CAR.at("2027-01-15")), uow=uow)


async def test_another_price_settles_the_pool_and_begins_its_own(uow: MemoryBilling) -> None:
    await begin(CAR, uow, 0)
    await begin(CAR, uow, 1)
    await close(uow, used(CAR, 0, "1000"))
    other = with_price(OTHER)
    await begin(other, uow, 2)
    await close(uow, used(CAR, 1, "2500"))
    assert amounts(uow) == {1: 5000}  # 3,500 of 3,000
    await end(other, uow, 2, "2026-04-01")
    await close(uow, used(other, 2, "1100"))
    assert amounts(uow) == {1: 5000, 2: 1000}


async def test_another_price_within_a_period(uow: MemoryBilling) -> None:
    await begin(CAR, uow, 0)
    other = with_price(OTHER)
    parts = [("2026-01-01", "2026-01-11", OVER_THE_YEAR), ("2026-01-11", "2026-02-01", OTHER)]
    segments = [CAR.segment(start, until, None, price) for start, until, price in parts]
    terms = other.terms(month(other, 0), *segments, version=50)
    await change(other, uow, terms)
    await begin(other, uow, 1)
    usage = used(CAR, 0, "600")
    await close(uow, replace(usage, totals=(*usage.totals, *used(other, 0, "700").totals)))
    # 600 - 1,500 x 10/31 are 116.13 km; the other pool goes on
    assert amounts(uow) == {0: 1161}
    assert newest(uow, 0, "prc_other").quantity == Decimal(700)


async def change(
    book: Agreed, uow: MemoryBilling, *terms: PeriodTerms, settles_at: str | None = None
) -> None:
    command = SettleChange(
        agreement=replace(book.agreement, version=terms[0].version),
        terms=terms,
        fees=(),
        settles_at=None if settles_at is None else book.at(settles_at),
        occurred_at=book.at(settles_at or "2026-01-11"),
    )
    await settle_change(command, uow=uow)


@pytest.mark.parametrize("settles_at", [None, "2026-03-20"])
async def test_a_price_that_ended_in_the_past_settles_its_pool_there(settles_at: str | None) -> None:
    """In March it turns out that another price holds since 1 March: January and February were charged for already."""
    uow, other = MemoryBilling(), with_price(OTHER)
    for index in range(3):
        await begin(CAR, uow, index)
    for index in range(2):
        await close(uow, used(CAR, index, "2000"))
    assert amounts(uow) == {}
    segment = CAR.segment("2026-03-01", "2026-04-01", None, OTHER)
    await change(other, uow, other.terms(month(other, 2), segment, version=50), settles_at=settles_at)
    await begin(replace(other, items=other.items), uow, 3)
    assert amounts(uow) == {1: 10000}
    await close(uow, used(other, 2, "900"))
    assert amounts(uow) == {1: 10000}


async def test_a_pause_earns_nothing_and_the_pool_goes_on_after_it(uow: MemoryBilling) -> None:
    await begin(CAR, uow, 0)
    paused = CAR.terms(
        month(CAR, 1), CAR.segment("2026-02-01", "2026-02-15", None, OVER_THE_YEAR), version=50
    )
    empty = CAR.terms(month(CAR, 2), version=51)
    await begin(CAR, uow, 1)
    await close(uow, used(CAR, 0, "1500"))
    await change(CAR, uow, paused)
    await begin(CAR, uow, 2, [empty])
    await close(uow, used(CAR, 1, "1000"))
    await begin(CAR, uow, 3)
    await end(CAR, uow, 3, "2026-05-01")
    await close(uow, used(CAR, 3, "1300"))
    assert amounts(uow) == {3: 500}  # 3,800 - 1,500 x (1 + 14/28 + 0 + 1)


async def test_what_a_reading_puts_right_is_taken_off_the_pool(uow: MemoryBilling) -> None:
    for index in range(3):
        await begin(CAR, uow, index)
    await close(uow, used(CAR, 0, "3000", estimated_quantity=Decimal(3000)))
    true_up = TrueUp("car", CAR.at("2026-01-01"), CAR.at("2026-03-01"), Decimal(2900), Decimal(3000))
    await end(CAR, uow, 1, "2026-03-01")
    await close(uow, used(CAR, 1, "-100", true_ups=(true_up,)))
    assert amounts(uow) == {}
    assert newest(uow, 1).quantity == Decimal(-100)


async def test_a_first_part_and_an_anchor_that_moves(uow: MemoryBilling) -> None:
    """A pool ends with the year that it began in, counted from the anchor of then."""
    book = replace(CAR, anchor_on=date(2025, 3, 1))
    first = replace(month(book, 10), start=book.at("2026-01-15"), start_on=date(2026, 1, 15))
    whole = book.bounds("2026-01-01", "2026-02-01")
    terms = book.terms(
        replace(first, full=whole), book.segment("2026-01-15", "2026-02-01", None, OVER_THE_YEAR), version=1
    )
    await reconcile_charges(
        ReconcileCharges(
            book.agreement, first.start, replace(first, full=whole), None, first.start, (terms,)
        ),
        uow=uow,
    )
    await begin(book, uow, 11)
    window = replace(used(book, 10, "1000"), window_start=first.start)
    await close(uow, window)
    await begin(book, uow, 12)
    await close(uow, used(book, 11, "1400"))
    pool = newest(uow, 11).allowance
    assert pool is not None
    assert pool.pool is not None
    assert (pool.pool.held, pool.pool.until_on, pool.pool.is_last) == (
        1 + Fraction(17, 31),
        date(2026, 3, 1),
        True,
    )
    # 2,400 - 1,500 x (1 + 17/31)
    assert amounts(uow) == {11: 774}

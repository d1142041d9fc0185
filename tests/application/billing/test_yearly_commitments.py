"""Commitments by the year: a year, a part of one, late usage, another commitment in its place; in any order of news."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import permutations

import pytest

from services.billing.application.correct_usage import CorrectUsage, correct_usage
from services.billing.domain.agreement import BilledItem
from services.billing.domain.charge import ItemUsage, UsageCorrection
from services.billing.domain.rating.commitment import Commitment
from tests.application.billing.test_pooled_allowances import begin, close, end, used
from tests.support.agreed import Agreed, a_price
from tests.support.billing import MemoryBilling

LIGHT = a_price("0.01", id="prc_light", code="light", kind="usage", timing="arrears", meter="light")
FEE = a_price("10", id="prc_fee", code="fee")
LEAST = Commitment("least", "Least", "EUR", per="year", minimum_amount=Decimal(1200))
UNITS = Commitment("units", "Units", "EUR", ("light",), per="year", minimum_quantity=Decimal(1_200_000))
MOST = Commitment("most", "Most", "EUR", ("light",), per="year", maximum_amount=Decimal(500))


def committed(*commitments: Commitment) -> Agreed:
    return Agreed(zone="UTC", items=(BilledItem("itm_1", LIGHT, None),), commitments=commitments)


def amounts(uow: MemoryBilling) -> dict[int, int]:
    """What commitments came to, by period, in minor units."""
    found: dict[int, int] = {}
    for charge in uow.charges.by_id.values():
        if charge.kind == "commitment":
            found[charge.period_index] = found.get(charge.period_index, 0) + charge.amount.amount_minor
    return {index: amount for index, amount in sorted(found.items()) if amount}


async def live(book: Agreed, uow: MemoryBilling, *quantities: str) -> None:
    await begin(book, uow, 0)
    for index, quantity in enumerate(quantities):
        await begin(book, uow, index + 1)
        await close(uow, used(book, index, quantity))


YEARS = [
    #  commitment  used in each month   comes to more or less
    (LEAST,      "9000",   {11: 12000, 23: 12000}),    # 12 x 90.00 of 1,200.00
    (LEAST,      "10000",  {}),
    (UNITS,      "90000",  {11: 120000, 23: 120000}),  # 120,000 units short at 0.01
    (MOST,       "5000",   {11: -10000, 23: -10000}),  # 12 x 50.00 of 500.00
]  # fmt: skip


@pytest.mark.parametrize(("commitment", "quantity", "owed"), YEARS)
async def test_it_is_settled_with_the_last_period_of_its_year(
    commitment: Commitment, quantity: str, owed: dict[int, int]
) -> None:
    uow = MemoryBilling()
    await live(committed(commitment), uow, *(quantity,) * 25)
    assert amounts(uow) == owed
    lines = [line for lines in uow.invoices.lines.values() for line in lines if "Least" in line.description]
    for line, year in zip(lines, (2026, 2027), strict=False):
        assert (line.service_start_on, line.service_end_on) == (date(year, 1, 1), date(year + 1, 1, 1))


async def test_a_year_that_is_cut_short_is_committed_to_for_its_days(uow: MemoryBilling) -> None:
    book = committed(UNITS)
    await begin(book, uow, 0)
    await begin(book, uow, 1)
    await close(uow, used(book, 0, "90000"))
    await end(book, uow, 1, "2026-02-11")
    await close(uow, used(book, 1, "10000", until="2026-02-11"))
    # 1,200,000 x 41/365 - 100,000
    assert amounts(uow) == {1: 34795}


@pytest.mark.parametrize("order", list(permutations((9, 10, 11))))
async def test_in_whatever_order_the_last_windows_close(order: tuple[int, ...]) -> None:
    uow, book = MemoryBilling(), committed(LEAST)
    await live(book, uow, *("9000",) * 9)
    for index in (10, 11, 12):
        await begin(book, uow, index)
    for index in order:
        await close(uow, used(book, index, "9000"))
    assert sum(amounts(uow).values()) == 12000


async def test_late_usage_settles_its_year_again(uow: MemoryBilling) -> None:
    book = committed(LEAST)
    await live(book, uow, *("9000",) * 13)
    for revision, (before, after, left) in enumerate(
        (("9000", "15000", 6000), ("15000", "0", 21000)), start=1
    ):
        given = [ItemUsage("itm_1", "km", Decimal(quantity), 1, "prc_light") for quantity in (before, after)]
        correction = UsageCorrection("win_3", "sub_1", 3, revision, (given[1],), before=(given[0],))
        await correct_usage(CorrectUsage(correction, book.at("2027-02-15")), uow=uow)
        assert amounts(uow) == {11: left}


async def test_another_commitment_in_its_place_settles_it_for_its_days(uow: MemoryBilling) -> None:
    book, dearer = committed(LEAST), committed(replace(LEAST, minimum_amount=Decimal(2400)))
    await live(book, uow, "0")
    await begin(dearer, uow, 2)
    await close(uow, used(book, 1, "0"))
    assert amounts(uow) == {1: 19397}  # 1,200 x 59/365
    for index in range(2, 12):
        await begin(dearer, uow, index + 1)
        await close(uow, used(dearer, index, "0"))
    assert amounts(uow) == {1: 19397, 11: 201205}  # 2,400 x 306/365 = 2,012.05

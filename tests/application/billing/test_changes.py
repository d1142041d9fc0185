"""Changes inside a period: what they cost or give back, on which document, once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import permutations

import pytest

from services.billing.application.add_usage_lines import AddUsageLines, add_usage_lines
from services.billing.application.reconcile_charges import ReconcileCharges, reconcile_charges
from services.billing.application.settle_change import SettleChange, settle_change
from services.billing.domain.agreement import BilledItem, BilledPeriod
from services.billing.domain.charge import ItemUsage, UsageOfPeriod
from services.billing.domain.invoice import Invoice, invoice_id
from services.billing.domain.proration import ProrationOptions
from services.billing.domain.rating.allowance import AllowanceBalance
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.rating.price import Rollover
from services.billing.domain.terms import Fee, PeriodTerms
from tests.support.agreed import Agreed, a_price
from tests.support.billing import MemoryBilling

SEATS = a_price()
LINES = a_price("1", id="prc_lines", code="lines", kind="usage", timing="arrears", meter="lines")
DEAR = replace(LINES, id="prc_dear", code="dear", unit_amount=Decimal(2))

STARTS = ("2026-01-01", "2026-02-01", "2026-03-01", "2026-04-01", "2026-05-01")
SEATED = Agreed(items=(BilledItem("itm_1", SEATS, Decimal(2)),))
METERED = Agreed(items=(BilledItem("itm_2", LINES, None),))


def month(book: Agreed, index: int) -> BilledPeriod:
    return book.period(STARTS[index], STARTS[index + 1], index=index)


async def begin(
    book: Agreed, uow: MemoryBilling, index: int, terms: Sequence[PeriodTerms] = (), fees: Sequence[Fee] = ()
) -> Invoice:
    """The boundary at which month `index` begins."""
    command = ReconcileCharges(
        agreement=replace(book.agreement, version=index + 1),
        boundary_at=book.at(STARTS[index]),
        begins=month(book, index),
        ended=month(book, index - 1) if index else None,
        occurred_at=book.at(STARTS[index]),
        terms=tuple(terms),
        fees=tuple(fees),
    )
    return await reconcile_charges(command, uow=uow)


async def change(
    book: Agreed,
    uow: MemoryBilling,
    *terms: PeriodTerms,
    version: int = 50,
    at: str | None = None,
    fees: Sequence[Fee] = (),
) -> Invoice | None:
    command = SettleChange(
        agreement=replace(book.agreement, version=version),
        terms=tuple(replace(told, version=version) for told in terms),
        fees=tuple(fees),
        settles_at=None if at is None else book.at(at),
        occurred_at=book.at(at or "2026-01-11"),
    )
    return await settle_change(command, uow=uow)


def january(book: Agreed, *parts: tuple[str, str, str], version: int = 1) -> PeriodTerms:
    segments = [book.segment(start, end, quantity, SEATS) for start, end, quantity in parts]
    return book.terms(month(book, 0), *segments, version=version)


MORE = january(SEATED, ("2026-01-01", "2026-01-11", "2"), ("2026-01-11", "2026-02-01", "4"))
LESS = january(SEATED, ("2026-01-01", "2026-01-11", "2"), ("2026-01-11", "2026-02-01", "1"))
A_FEE = Fee("fee_1", "pause", "Pause", Decimal("7.50"), date(2026, 1, 11), date(2026, 1, 12))


def nets(uow: MemoryBilling, document: Invoice | None) -> list[tuple[str, int]]:
    assert document is not None
    return [(line.description, line.net.amount_minor) for line in uow.invoices.lines[document.id]]


async def test_a_change_is_billed_with_the_next_boundary(uow: MemoryBilling) -> None:
    await begin(SEATED, uow, 0)
    assert await change(SEATED, uow, MORE) is None
    assert len(uow.invoices.by_id) == 1
    document = await begin(SEATED, uow, 1)
    assert nets(uow, document) == [("Seats", 1355), ("Seats", 2000)]
    assert nets(uow, await begin(SEATED, uow, 2)) == [("Seats", 2000)]


async def test_a_change_that_settles_has_a_document_of_its_own(uow: MemoryBilling) -> None:
    await begin(SEATED, uow, 0)
    document = await change(SEATED, uow, MORE, at="2026-01-11")
    assert nets(uow, document) == [("Seats", 1355)]
    assert document is not None
    assert (document.document_kind, document.issue, document.period_index) == ("change", 50, 0)
    told = len(uow.told)
    again = await change(SEATED, uow, MORE, at="2026-01-11")
    assert again is not None
    assert (again.id, len(uow.told)) == (document.id, told)
    assert nets(uow, await begin(SEATED, uow, 1)) == [("Seats", 2000)]


async def test_a_document_with_nothing_on_it_is_skipped(uow: MemoryBilling) -> None:
    await begin(SEATED, uow, 0)
    same = january(SEATED, ("2026-01-01", "2026-02-01", "2"))
    document = await change(SEATED, uow, same, at="2026-01-11")
    assert document is not None
    assert (document.status, document.status_reason) == ("skipped", "nothing_due")


async def test_of_all_that_was_told_of_a_period_the_newest_holds_in_any_order() -> None:
    found = set()
    for order in permutations([(7, MORE), (8, LESS), (9, MORE)]):
        uow = MemoryBilling()
        await begin(SEATED, uow, 0)
        for version, terms in order:
            await change(SEATED, uow, terms, version=version)
        document = await begin(SEATED, uow, 1)
        found.add(tuple(nets(uow, document)))
    assert found == {(("Seats", 1355), ("Seats", 2000))}


async def test_in_whatever_order_it_is_told_the_money_is_the_same() -> None:
    """A month, a change that settles, one that waits, the next month, the usage: each told twice somewhere.

    What comes too late for its document stands on the next one; how it is split may round to a cent more or less.
    """
    book = replace(SEATED, items=(*SEATED.items, *METERED.items))
    span = STARTS[0], STARTS[1]
    both = replace(MORE, segments=(*MORE.segments, book.segment(*span, None, LINES, item="itm_2")))
    last = replace(LESS, segments=(*LESS.segments, book.segment(*span, None, LINES, item="itm_2")))
    steps: dict[str, Callable[[MemoryBilling], Awaitable[object]]] = {
        "start": lambda uow: begin(book, uow, 0),
        "settled": lambda uow: change(book, uow, both, version=2, at="2026-01-11"),
        "waits": lambda uow: change(book, uow, last, version=3),
        "renewed": lambda uow: begin(book, uow, 1),
        "used": lambda uow: close(uow, used(book, 0, (None, "7"))),
    }
    found = set()
    for order in permutations(steps):
        uow = MemoryBilling()
        for word in (*order, *reversed(order)):
            await steps[word](uow)
        assert not any(invoice.status == "draft" for invoice in uow.invoices.by_id.values())
        await begin(book, uow, 2)
        nets: dict[tuple[str, int], int] = {}
        for charge in uow.charges.by_id.values():
            key = charge.price.code, charge.period_index
            nets[key] = nets.get(key, 0) + charge.amount.amount_minor
        found.add(tuple(sorted(nets.items())))
    rest = {("lines", 0): 700, ("seats", 1): 2000, ("seats", 2): 2000}
    assert {tuple(sorted({**rest, ("seats", 0): seats}.items())) for seats in (1322, 1323)} >= found


async def test_terms_that_are_older_than_what_is_settled_add_nothing(uow: MemoryBilling) -> None:
    await begin(SEATED, uow, 0)
    await change(SEATED, uow, MORE, version=9, at="2026-01-11")
    document = await change(SEATED, uow, LESS, version=8, at="2026-01-12")
    assert document is not None
    assert document.status == "skipped"


async def test_what_is_known_of_the_period_ahead_waits_until_it_begins(uow: MemoryBilling) -> None:
    await begin(SEATED, uow, 0)
    ahead = SEATED.terms(
        month(SEATED, 1),
        SEATED.segment("2026-02-01", "2026-02-15", "2", SEATS),
        SEATED.segment("2026-02-15", "2026-03-01", "3", SEATS),
    )
    document = await change(SEATED, uow, ahead, at="2026-01-11")
    assert document is not None
    assert document.status == "skipped"
    assert nets(uow, await begin(SEATED, uow, 1)) == [("Seats", 1000), ("Seats", 1500)]


async def test_what_was_known_of_a_period_that_never_began_is_not_charged(uow: MemoryBilling) -> None:
    await begin(SEATED, uow, 0)
    ahead = SEATED.terms(month(SEATED, 1), SEATED.segment("2026-02-01", "2026-03-01", "3", SEATS))
    await change(SEATED, uow, ahead)
    at = SEATED.at(STARTS[1])
    command = ReconcileCharges(
        agreement=replace(SEATED.agreement, version=60, ends_at=at),
        boundary_at=at,
        begins=None,
        ended=month(SEATED, 0),
        occurred_at=at,
    )
    assert (await reconcile_charges(command, uow=uow)).status == "skipped"


async def test_a_fee_stands_on_the_next_document_once(uow: MemoryBilling) -> None:
    await begin(SEATED, uow, 0)
    for _ in range(2):
        await change(SEATED, uow, fees=[A_FEE])
    assert [charge.invoice_id for charge in uow.charges.by_id.values() if charge.kind == "fee"] == [None]
    document = await begin(SEATED, uow, 1, fees=[A_FEE])
    assert nets(uow, document) == [("Pause", 750), ("Seats", 2000)]
    assert nets(uow, await begin(SEATED, uow, 2, fees=[A_FEE])) == [("Seats", 2000)]


async def test_a_fee_of_a_change_that_settles_stands_beside_it(uow: MemoryBilling) -> None:
    await begin(SEATED, uow, 0)
    document = await change(SEATED, uow, MORE, at="2026-01-11", fees=[A_FEE])
    assert sorted(nets(uow, document)) == [("Pause", 750), ("Seats", 1355)]


async def test_credits_may_go_to_the_balance(uow: MemoryBilling) -> None:
    book = replace(SEATED, options=ProrationOptions(credits_to="balance"))
    await begin(book, uow, 0)
    await change(book, uow, LESS)
    document = await begin(book, uow, 1)
    assert nets(uow, document) == [("Seats", 2000)]
    credit = uow.invoices.by_id[invoice_id("sub_1", book.at(STARTS[1]), "credit", 2)]
    assert (credit.total.amount_minor, credit.status) == (-677, "paid")
    assert document.balance_applied.amount_minor == 677


async def test_more_given_back_than_charged_is_owed_to_who_pays(uow: MemoryBilling) -> None:
    await begin(SEATED, uow, 0)
    document = await change(SEATED, uow, LESS, at="2026-01-11")
    assert document is not None
    assert (document.total.amount_minor, document.balance_applied.amount_minor) == (-677, -677)
    assert document.status == "paid"


async def test_what_was_canceled_as_it_began_is_given_back(uow: MemoryBilling) -> None:
    await begin(SEATED, uow, 0)
    cut = SEATED.period(STARTS[0], STARTS[0], index=0, full=(STARTS[0], STARTS[1]))
    document = await change(SEATED, uow, SEATED.terms(cut, is_over=True), at=STARTS[0])
    assert nets(uow, document) == [("Seats", -2000)]


async def test_a_period_that_was_cut_as_it_began_does_not_take_the_next_one_s_document(
    uow: MemoryBilling,
) -> None:
    """Renewed, and cut by a change at the same instant: both boundaries have a document."""
    await begin(SEATED, uow, 0)
    first = await begin(SEATED, uow, 1)
    at = SEATED.at(STARTS[1])
    cut = SEATED.period(STARTS[1], STARTS[1], index=1, full=(STARTS[1], STARTS[2]))
    anew = replace(month(SEATED, 1), index=2)
    command = ReconcileCharges(
        agreement=replace(SEATED.agreement, version=3),
        boundary_at=at,
        begins=anew,
        ended=cut,
        occurred_at=at,
        terms=(SEATED.terms(cut, is_over=True, version=3),),
    )
    second = await reconcile_charges(command, uow=uow)
    assert second.id != first.id
    assert sorted(nets(uow, second)) == [("Seats", -2000), ("Seats", 2000)]
    assert (await reconcile_charges(command, uow=uow)).id == second.id


async def test_in_arrears_the_period_behind_is_charged(uow: MemoryBilling) -> None:
    price = replace(SEATS, timing="arrears")
    book = Agreed(items=(BilledItem("itm_1", price, Decimal(2)),))
    assert (await begin(book, uow, 0)).status == "skipped"
    assert nets(uow, await begin(book, uow, 1)) == [("Seats", 2000)]
    (charge,) = uow.charges.by_id.values()
    assert (charge.kind, charge.period_index, charge.service_start_on) == ("arrears", 0, date(2026, 1, 1))


async def test_what_is_charged_once_stands_on_the_first_document(uow: MemoryBilling) -> None:
    setup = a_price("99", id="prc_setup", code="setup", kind="one_time", model="flat", description="Setup")
    book = Agreed(items=(*SEATED.items, BilledItem("itm_3", setup, Decimal(1))))
    assert nets(uow, await begin(book, uow, 0)) == [("Seats", 2000), ("Setup", 9900)]
    assert nets(uow, await begin(book, uow, 1)) == [("Seats", 2000)]


# Usage


def used(
    book: Agreed, index: int, *totals: tuple[str | None, str], start: str | None = None
) -> UsageOfPeriod:
    """(price, quantity) of item 2 in month `index`."""
    end = book.at(STARTS[index + 1])
    return UsageOfPeriod(
        window_id=f"uwin_{index}",
        subscription_id="sub_1",
        period_index=index,
        window_start=book.at(start or STARTS[index]),
        window_end=end,
        closed_at=end + timedelta(hours=1),
        totals=tuple(ItemUsage("itm_2", "lines", Decimal(n), 1, price) for price, n in totals),
    )


async def close(uow: MemoryBilling, usage: UsageOfPeriod) -> Invoice | None:
    return await add_usage_lines(AddUsageLines(usage), uow=uow)


def at_boundary(book: Agreed, uow: MemoryBilling, index: int) -> Invoice:
    return uow.invoices.by_id[invoice_id("sub_1", book.at(STARTS[index]))]


def metered(*parts: tuple[str, str, object]) -> PeriodTerms:
    segments = [METERED.segment(start, end, None, price, item="itm_2") for start, end, price in parts]  # type: ignore[arg-type]
    return METERED.terms(month(METERED, 0), *segments)


THERE_AND_BACK = metered(
    ("2026-01-01", "2026-01-11", LINES),
    ("2026-01-11", "2026-01-21", DEAR),
    ("2026-01-21", "2026-02-01", LINES),
)


async def test_usage_before_and_after_a_change_has_the_price_of_its_time(uow: MemoryBilling) -> None:
    """There and back on one meter: the parts of one price are rated once."""
    await begin(METERED, uow, 0)
    await change(METERED, uow, THERE_AND_BACK)
    draft = await begin(METERED, uow, 1)
    assert draft.awaits_window
    await close(uow, used(METERED, 0, ("prc_lines", "30"), ("prc_dear", "4")))
    assert sorted(c.amount.amount_minor for c in uow.charges.by_id.values()) == [800, 3000]
    by_price = {c.price.id: c for c in uow.charges.by_id.values()}
    assert by_price["prc_lines"].service_end_on == date(2026, 2, 1)
    dear = by_price["prc_dear"]
    assert (dear.service_start_on, dear.service_end_on) == (date(2026, 1, 11), date(2026, 1, 21))
    assert at_boundary(METERED, uow, 1).total.amount_minor == 3800


async def test_a_price_that_was_not_used_is_charged_nothing(uow: MemoryBilling) -> None:
    await begin(METERED, uow, 0)
    await change(METERED, uow, THERE_AND_BACK)
    await begin(METERED, uow, 1)
    await close(uow, used(METERED, 0, ("prc_lines", "30")))
    assert sorted(c.amount.amount_minor for c in uow.charges.by_id.values()) == [0, 3000]


async def test_usage_at_a_price_that_holds_no_longer_belongs_to_the_one_in_its_place(
    uow: MemoryBilling,
) -> None:
    """The window was counted before the terms changed with effect in the past."""
    await begin(METERED, uow, 0)
    await change(METERED, uow, THERE_AND_BACK)
    await begin(METERED, uow, 1)
    await close(uow, used(METERED, 0, ("prc_lines", "20"), ("prc_other", "30")))
    assert {c.price.id: c.quantity for c in uow.charges.by_id.values()} == {"prc_lines": 20, "prc_dear": 30}


async def test_an_item_that_was_metered_for_a_part_is_awaited_and_billed(uow: MemoryBilling) -> None:
    """At the end of the period nothing is metered any more: the terms say that something was."""
    await begin(METERED, uow, 0)
    gone = replace(METERED, items=())
    await change(gone, uow, metered(("2026-01-01", "2026-01-11", LINES)))
    assert (await begin(gone, uow, 1)).awaits_window
    await close(uow, used(METERED, 0, ("prc_lines", "30")))
    assert at_boundary(METERED, uow, 1).total.amount_minor == 3000


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize("bills_usage", [True, False])
async def test_usage_of_a_trial_is_billed_where_that_is_agreed_on(
    uow: MemoryBilling, bills_usage: bool, is_told: bool
) -> None:
    trial = METERED.period("2025-12-18", "2026-01-01", index=0, kind="trial")
    segment = METERED.segment("2025-12-18", "2026-01-01", None, LINES, item="itm_2")
    terms = METERED.terms(trial, *([segment] if bills_usage else []))
    command = ReconcileCharges(
        agreement=METERED.agreement,
        boundary_at=METERED.at(STARTS[0]),
        begins=replace(month(METERED, 0), index=1),
        ended=trial,
        occurred_at=METERED.at(STARTS[0]),
        terms=(terms,) if is_told else (),
    )
    document = await reconcile_charges(command, uow=uow)
    assert document.awaits_window == (bills_usage and is_told)
    window = replace(used(METERED, 0, (None, "5")), window_end=METERED.at(STARTS[0]))
    await close(uow, window)
    charged = [charge.amount.amount_minor for charge in uow.charges.by_id.values()]
    assert charged == ([500] if bills_usage and is_told else [])


@pytest.mark.parametrize(("billed_until", "awaited"), [("2026-02-01", False), ("2026-01-31", True)])
async def test_usage_that_was_billed_elsewhere_is_not_awaited(
    uow: MemoryBilling, billed_until: str, awaited: bool
) -> None:
    book = replace(METERED, billed_until=billed_until)
    assert (await begin(book, uow, 1)).awaits_window == awaited


async def test_another_currency_from_a_boundary_on_has_a_document_beside_it(uow: MemoryBilling) -> None:
    """What is behind was paid in euros, the usage that is still to come too."""
    dollars = replace(SEATS, id="prc_usd", currency="USD")
    both = replace(SEATED, items=(*SEATED.items, *METERED.items))
    await begin(both, uow, 0)
    span = STARTS[0], STARTS[1]
    then = both.terms(
        month(both, 0),
        both.segment(*span, "2", SEATS),
        both.segment(*span, None, LINES, item="itm_2"),
        both.segment(*span, "1", replace(SEATS, id="prc_late", timing="arrears"), item="itm_3"),
    )
    now = replace(both, items=(BilledItem("itm_1", dollars, Decimal(2)),), currency="USD")
    document = await begin(now, uow, 1, [then])
    assert (document.currency, document.status, document.total.amount_minor) == ("USD", "finalized", 2000)
    beside = invoice_id("sub_1", both.at(STARTS[1]), issue=-1)
    assert uow.invoices.by_id[beside].awaits_window
    for _ in range(2):
        await close(uow, used(both, 0, (None, "7")))
    other = uow.invoices.by_id[beside]
    assert (other.currency, other.status, other.total.amount_minor) == ("EUR", "finalized", 1700)
    assert len(uow.invoices.by_id) == 3


# Free units that last longer than a charge

YEARLY = replace(
    LINES, included_quantity=Decimal(100), allowance_interval_unit="year", allowance_interval_count=1
)
ROLLING = replace(LINES, included_quantity=Decimal(10), rollover=Rollover(cap=Decimal(15), periods=2))

CARRIED = [
    #  price    used in each month      billed in each month
    (YEARLY,  ("60", "30", "25"),     (0, 0, 1500)),
    (YEARLY,  ("0", "150", "10"),     (0, 5000, 1000)),
    (ROLLING, ("4", "12", "20"),      (0, 0, 600)),
    (ROLLING, ("0", "0", "30"),       (0, 0, 500)),
]  # fmt: skip


@pytest.mark.parametrize(("price", "quantities", "amounts"), CARRIED)
@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_what_is_left_of_free_units_goes_on(
    price: object, quantities: tuple[str, ...], amounts: tuple[int, ...], order: tuple[int, ...]
) -> None:
    """In whatever order the windows are told of."""
    uow = MemoryBilling()
    book = replace(METERED, items=(BilledItem("itm_2", price, None),))  # type: ignore[arg-type]
    for index in range(4):
        await begin(book, uow, index)
    for index in order:
        await close(uow, used(book, index, (None, quantities[index])))
    charged = sorted((c.period_index, c.amount.amount_minor) for c in uow.charges.by_id.values())
    assert charged == list(enumerate(amounts))
    assert not any(invoice.awaits_window for invoice in uow.invoices.by_id.values())


async def test_free_units_of_a_new_year_begin_anew(uow: MemoryBilling) -> None:
    book = replace(METERED, items=(BilledItem("itm_2", YEARLY, None),), anchor_on=date(2025, 3, 1))
    for index in range(4):
        await begin(book, uow, index)
    for index, quantity in enumerate(("90", "20", "20")):
        await close(uow, used(book, index, (None, quantity)))
    charges = sorted(uow.charges.by_id.values(), key=lambda charge: charge.period_index)
    assert [charge.amount.amount_minor for charge in charges] == [0, 1000, 0]
    assert charges[-1].allowance == AllowanceBalance(Decimal(100))


# Commitments

LEAST = Commitment("least", "Least", "EUR", minimum_amount=Decimal(50))
MOST = Commitment("most", "Most", "EUR", maximum_amount=Decimal(15))
SHORT = Commitment("short", "Short", "EUR", price_codes=("lines",), minimum_quantity=Decimal(100))


async def test_a_minimum_is_settled_with_the_boundary_after_it(uow: MemoryBilling) -> None:
    book = replace(SEATED, commitments=(LEAST,))
    await begin(book, uow, 0)
    document = await begin(book, uow, 1)
    assert nets(uow, document) == [("Least: up to the minimum", 3000), ("Seats", 2000)]
    (line, _) = uow.invoices.lines[document.id]
    assert line.formula == "up to the minimum: 50 - 20 = 30.00 EUR"


async def test_a_minimum_waits_for_the_usage_and_holds_for_the_days_agreed_on(uow: MemoryBilling) -> None:
    book = replace(METERED, commitments=(SHORT,))
    part = METERED.terms(
        month(METERED, 0),
        METERED.segment("2026-01-01", "2026-01-11", None, LINES, item="itm_2"),
        commitments=(SHORT,),
    )
    await begin(book, uow, 0)
    await change(book, uow, part)
    assert (await begin(book, uow, 1)).awaits_window
    await close(uow, used(book, 0, ("prc_lines", "30")))
    assert nets(uow, at_boundary(book, uow, 1)) == [
        ("Short: short of the quantity committed to", 226),
        ("Seats", 3000),
    ]


async def test_a_maximum_is_given_back(uow: MemoryBilling) -> None:
    book = replace(SEATED, commitments=(MOST,))
    await begin(book, uow, 0)
    document = await begin(book, uow, 1)
    assert sorted(nets(uow, document)) == [("Most: beyond the maximum", -500), ("Seats", 2000)]


async def test_a_change_with_effect_in_the_past_settles_the_commitment_again(uow: MemoryBilling) -> None:
    book = replace(SEATED, commitments=(LEAST,))
    await begin(book, uow, 0)
    await begin(book, uow, 1)
    document = await change(book, uow, replace(MORE, commitments=(LEAST,)), at="2026-02-11")
    assert sorted(nets(uow, document)) == [("Least", -1355), ("Seats", 1355)]

"""Usage that is put right after it was billed: what is charged or given back, on which document, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.billing.application.add_usage_lines import AddUsageLines, add_usage_lines
from services.billing.application.correct_usage import CorrectUsage, correct_usage
from services.billing.application.finalize_invoice import FinalizeInvoice, finalize_invoice
from services.billing.application.reconcile_charges import ReconcileCharges, reconcile_charges
from services.billing.domain.agreement import BilledItem
from services.billing.domain.charge import ItemUsage, TrueUp, UsageCorrection, UsageOfPeriod
from services.billing.domain.invoice import Invoice, invoice_id
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.rating.price import Price, PriceTier, Rollover
from services.billing.domain.rating.rate import rate
from tests.application.billing.test_changes import STARTS, begin, change, month
from tests.support.agreed import Agreed, a_price
from tests.support.billing import MemoryBilling, a_seller

LINES = a_price("1", id="prc_lines", code="lines", kind="usage", timing="arrears", meter="lines")
BY_VOLUME = replace(
    LINES,
    model="volume",
    unit_amount=None,
    tiers=(PriceTier(Decimal(100), Decimal(10)), PriceTier(None, Decimal(9))),
)
ITEM = "itm_2"


def metered(price: Price = BY_VOLUME, **agreed: Any) -> Agreed:
    return Agreed(items=(BilledItem(ITEM, price, None),), **agreed)


def total(quantity: str, price_id: str | None = None, **told: Any) -> ItemUsage:
    return ItemUsage(ITEM, "lines", Decimal(quantity), 1, price_id, **told)


def window(book: Agreed, index: int, *totals: ItemUsage) -> UsageOfPeriod:
    start, end = book.at(STARTS[index]), book.at(STARTS[index + 1])
    return UsageOfPeriod(f"uwin_{index}", "sub_1", index, start, end, end + timedelta(hours=1), totals)


async def close(book: Agreed, uow: MemoryBilling, index: int, quantity: str) -> None:
    await add_usage_lines(AddUsageLines(window(book, index, total(quantity))), uow=uow)


def corrected(index: int, revision: int, before: str, after: str, **changes: Any) -> UsageCorrection:
    return UsageCorrection(
        window_id=f"uwin_{index}",
        subscription_id="sub_1",
        period_index=index,
        revision=revision,
        totals=(total(after),),
        before=(total(before),),
        **changes,
    )


async def correct(
    uow: MemoryBilling, correction: UsageCorrection, at: str = "2026-02-10", book: Agreed | None = None
) -> None:
    await correct_usage(CorrectUsage(correction, (book or Agreed()).at(at)), uow=uow)


async def billed(uow: MemoryBilling, book: Agreed, *quantities: str) -> None:
    """From January on, each month with its usage."""
    await begin(book, uow, 0)
    for index, quantity in enumerate(quantities):
        await begin(book, uow, index + 1)
        await close(book, uow, index, quantity)


def lines(uow: MemoryBilling, document: Invoice) -> list[tuple[int, str, str]]:
    """What each comes to, its first day, and its quantity."""
    return [
        (line.net.amount_minor, line.service_start_on.isoformat(), str(line.quantity))
        for line in uow.invoices.lines[document.id]
    ]


def corrections(uow: MemoryBilling) -> list[Invoice]:
    found = (d for d in uow.invoices.by_id.values() if d.document_kind == "correction")
    return sorted(found, key=lambda document: document.issue)


def at_boundary(uow: MemoryBilling, index: int) -> Invoice:
    return uow.invoices.by_id[invoice_id("sub_1", Agreed().at(STARTS[index]))]


def charged(uow: MemoryBilling) -> int:
    return sum(charge.amount.amount_minor for charge in uow.charges.by_id.values())


async def test_the_difference_waits_for_the_next_invoice_and_names_the_line_that_it_corrects(
    uow: MemoryBilling,
) -> None:
    """90 at 10 were billed; 30 more make 120 at 9."""
    book = metered()
    await billed(uow, book, "90")
    told = list(uow.told)
    await correct(uow, corrected(0, 1, "90", "120"))
    assert (uow.told, corrections(uow)) == (told, [])
    await begin(book, uow, 2)
    await close(book, uow, 1, "1")
    february = at_boundary(uow, 2)
    assert lines(uow, february) == [(18000, "2026-01-01", "1"), (1000, "2026-02-01", "1")]
    (original,) = uow.invoices.lines[at_boundary(uow, 1).id]
    delta = uow.invoices.lines[february.id][0]
    assert delta.corrects_line_id == original.id
    assert "1080.00 - 900.00 = 180.00 EUR" in delta.formula


async def test_a_note_at_once_has_the_identity_of_its_window_and_revision(uow: MemoryBilling) -> None:
    book = metered()
    await billed(uow, book, "90")
    late = corrected(0, 1, "90", "120", policy="note_at_once")
    for _ in range(2):
        await correct(uow, late)
    (note,) = corrections(uow)
    assert (note.id, note.status) == (
        invoice_id("sub_1", book.at("2026-02-01"), "correction", 1),
        "finalized",
    )
    assert (note.issued_at, lines(uow, note)) == (book.at("2026-02-10"), [(18000, "2026-01-01", "1")])


async def test_what_a_note_gives_back_goes_to_the_balance(uow: MemoryBilling) -> None:
    book = metered()
    await billed(uow, book, "120")
    await correct(uow, corrected(0, 1, "120", "20", policy="note_at_once"))
    (note,) = corrections(uow)
    assert (note.status, note.total.amount_minor, note.due.amount_minor) == ("paid", -88000, 0)
    (balance,) = uow.customer_balances.by_id.values()
    assert balance.amount.amount_minor == 88000


async def test_by_hand_all_that_is_put_right_stands_on_one_draft_until_a_person_finalizes_it(
    uow: MemoryBilling,
) -> None:
    book = metered()
    await billed(uow, book, "90")
    for revision, (before, after) in enumerate((("90", "120"), ("120", "121")), start=1):
        await correct(uow, corrected(0, revision, before, after, policy="draft_only"))
    (draft,) = corrections(uow)
    assert (draft.status, draft.held_for, draft.issue) == ("draft", "person", 1)
    assert draft.total.amount_minor == 18000 + 900
    still = await finalize_invoice(FinalizeInvoice(draft.id, book.at("2026-06-01")), uow=uow)
    assert still.status == "draft"
    await begin(book, uow, 2)
    assert lines(uow, at_boundary(uow, 1)) == [(90000, "2026-01-01", "90")]


@pytest.mark.parametrize("policy", ["next_invoice", "note_at_once"])
async def test_after_the_end_no_next_invoice_is_waited_for(uow: MemoryBilling, policy: Any) -> None:
    book = metered()
    await begin(book, uow, 0)
    over = replace(book, ends_at="2026-02-01")
    command = ReconcileCharges(
        agreement=replace(over.agreement, version=2),
        boundary_at=book.at("2026-02-01"),
        begins=None,
        ended=month(book, 0),
        occurred_at=book.at("2026-02-01"),
    )
    await reconcile_charges(command, uow=uow)
    await close(book, uow, 0, "90")
    await correct(uow, corrected(0, 1, "90", "120", policy=policy))
    (note,) = corrections(uow)
    assert (note.status, note.total.amount_minor) == ("finalized", 18000)


async def test_before_the_end_it_waits_although_the_end_is_known(uow: MemoryBilling) -> None:
    book = metered(ends_at="2026-03-01")
    await billed(uow, book, "90")
    await correct(uow, corrected(0, 1, "90", "120"))
    assert corrections(uow) == []


@pytest.mark.parametrize("order", list(permutations(range(4))))
async def test_in_whatever_order_it_comes_what_is_billed_is_the_same(order: Sequence[int]) -> None:
    """The second came too late to be billed, the third did not: what the second brought stays out."""
    uow, book = MemoryBilling(), metered()
    await begin(book, uow, 0)
    await begin(book, uow, 1)
    news = [
        None,
        corrected(0, 1, "90", "120"),
        corrected(0, 2, "120", "150", is_billable=False),
        corrected(0, 3, "150", "155"),
    ]
    for place in order:
        correction = news[place]
        if correction is None:
            await close(book, uow, 0, "90")
        else:
            await correct(uow, correction)
    await begin(book, uow, 2)
    assert charged(uow) == 125 * 900
    assert {charge.invoice_id for charge in uow.charges.by_id.values()} <= uow.invoices.by_id.keys()


async def test_what_came_too_late_is_kept_and_not_billed(uow: MemoryBilling) -> None:
    await billed(uow, metered(), "90")
    await correct(uow, corrected(0, 1, "90", "120", policy="note_at_once", is_billable=False))
    assert (charged(uow), corrections(uow)) == (90000, [])
    assert len(uow.usage_windows.corrections) == 1


async def test_of_an_agreement_or_a_window_that_is_not_known_yet_it_is_kept(uow: MemoryBilling) -> None:
    book = metered()
    await correct(uow, corrected(0, 1, "90", "120"))
    assert uow.invoices.by_id == {}
    await begin(book, uow, 0)
    await close(book, uow, 0, "90")
    await begin(book, uow, 1)
    assert lines(uow, at_boundary(uow, 1)) == [(108000, "2026-01-01", "120")]


async def test_while_its_document_is_a_draft_the_difference_stands_beside_it() -> None:
    uow, book = MemoryBilling(without_seller=True), metered()
    await billed(uow, book, "90")
    await correct(uow, corrected(0, 1, "90", "120", policy="note_at_once"))
    draft = at_boundary(uow, 1)
    assert (draft.status, draft.total.amount_minor, corrections(uow)) == ("draft", 108000, [])
    uow.sellers.add(a_seller())
    final = await finalize_invoice(FinalizeInvoice(draft.id, book.at("2026-02-11")), uow=uow)
    assert lines(uow, final) == [(90000, "2026-01-01", "90"), (18000, "2026-01-01", "1")]


async def test_free_units_that_are_carried_on_are_settled_in_the_months_after_it_too(
    uow: MemoryBilling,
) -> None:
    """10 a month are free, and what is left rolls over: 4 that came late in January take them from February."""
    book = metered(
        replace(LINES, included_quantity=Decimal(10), rollover=Rollover(cap=Decimal(15), periods=2))
    )
    await billed(uow, book, "4", "16")
    assert charged(uow) == 0
    await correct(uow, corrected(0, 1, "4", "8"))
    found = sorted((c.period_index, c.revision, c.amount.amount_minor) for c in uow.charges.by_id.values())
    assert found == [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 400)]


async def test_a_commitment_is_settled_again(uow: MemoryBilling) -> None:
    least = Commitment("least", "At least", "EUR", ("lines",), minimum_amount=Decimal(100))
    book = metered(LINES, commitments=(least,))
    await billed(uow, book, "60")
    assert charged(uow) == 10000
    await correct(uow, corrected(0, 1, "60", "90"))
    assert charged(uow) == 10000
    await correct(uow, corrected(0, 2, "90", "110"))
    assert charged(uow) == 11000
    await correct(uow, corrected(0, 3, "110", "0"))
    assert charged(uow) == 10000
    await begin(book, uow, 2)
    assert not [c for c in uow.charges.by_id.values() if c.invoice_id is None]


DEAR = replace(LINES, id="prc_dear", unit_amount=Decimal(2))


@pytest.mark.parametrize("settles_at", [None, "2026-02-15"])
async def test_usage_is_rated_again_when_its_price_changes_with_effect_in_the_past(
    uow: MemoryBilling, settles_at: str | None
) -> None:
    """And metering, which counts again by the terms it is told of, says the same later."""
    book, dearer = metered(LINES), metered(DEAR)
    await billed(uow, book, "30")
    segment = book.segment("2026-01-01", "2026-02-01", None, DEAR, item=ITEM)
    document = await change(dearer, uow, book.terms(month(book, 0), segment), at=settles_at)
    if document is None:
        document = await begin(dearer, uow, 2)
        await close(dearer, uow, 1, "0")
        document = uow.invoices.by_id[document.id]
    assert lines(uow, document)[:2] == [(6000, "2026-01-01", "30"), (-3000, "2026-01-01", "-1")]
    known = len(uow.charges.by_id)
    same = replace(corrected(0, 1, "30", "30"), before=(total("30"),), totals=(total("30", "prc_dear"),))
    await correct(uow, same, at="2026-03-10")
    assert (charged(uow), len(uow.charges.by_id)) == (6000, known)


async def test_what_metering_counts_again_may_come_before_the_terms(uow: MemoryBilling) -> None:
    book, dearer = metered(LINES), metered(DEAR)
    await billed(uow, book, "30")
    await correct(
        uow,
        replace(corrected(0, 1, "30", "30"), before=(total("30"),), totals=(total("30", "prc_dear"),)),
    )
    assert charged(uow) == 3000
    segment = book.segment("2026-01-01", "2026-02-01", None, DEAR, item=ITEM)
    await change(dearer, uow, book.terms(month(book, 0), segment), at="2026-02-15")
    assert charged(uow) == 6000


async def test_what_is_given_back_goes_to_the_balance_where_changes_do(uow: MemoryBilling) -> None:
    book = metered(LINES)
    await billed(uow, book, "30")
    gone = Agreed(options=replace(book.options, credits_to="balance"))
    await change(gone, uow, book.terms(month(book, 0)), at="2026-02-15")
    (credit,) = [d for d in uow.invoices.by_id.values() if d.document_kind == "credit"]
    assert (credit.total.amount_minor, charged(uow)) == (-3000, 0)


WASH = replace(LINES, unit_amount=Decimal("0.95"), included_quantity=Decimal(12))


async def test_a_reading_puts_right_what_was_estimated_on_the_document_of_its_own_month(
    uow: MemoryBilling,
) -> None:
    """16 estimated in the first month, of which 12 are free; 25 in both: 24 are free. 3 of 4 extras are given back."""
    book = metered(WASH)
    estimated = window(book, 0, total("16", estimated_quantity=Decimal(16)))
    true_up = TrueUp("washer", book.at("2026-01-01"), book.at("2026-03-01"), Decimal(25), Decimal(16))
    read = window(book, 1, total("9", true_ups=(true_up,)))
    for index in range(3):
        await begin(book, uow, index)
    await add_usage_lines(AddUsageLines(read), uow=uow)  # it waits for the month before
    assert charged(uow) == 0
    await add_usage_lines(AddUsageLines(estimated), uow=uow)
    first, second = (at_boundary(uow, index) for index in (1, 2))
    assert lines(uow, first) == [(380, "2026-01-01", "4")]
    assert lines(uow, second) == [(-285, "2026-01-01", "-3")]
    (original,), (correction,) = (uow.invoices.lines[document.id] for document in (first, second))
    assert correction.corrects_line_id == original.id
    assert second.status == "paid"
    late = UsageCorrection(
        "uwin_0", "sub_1", 0, 1, (total("17", estimated_quantity=Decimal(16)),), estimated.totals
    )
    await correct(uow, late, at="2026-03-10")  # one more wash, in the first month
    assert charged(uow) == 2 * 95


steps = st.lists(st.tuples(st.integers(0, 300), st.booleans()), min_size=1, max_size=5)


@settings(max_examples=30)
@given(first=st.integers(0, 300), steps=steps, data=st.data())
async def test_all_documents_come_to_what_is_billed_of_the_window(
    first: int, steps: list[tuple[int, bool]], data: st.DataObject
) -> None:
    """Whatever is corrected, in whatever order and with whatever repeats; nothing is given back that was not billed."""
    uow, book = MemoryBilling(), metered()
    policy = data.draw(st.sampled_from(["next_invoice", "note_at_once"]))
    await begin(book, uow, 0)
    told = [
        corrected(0, revision, str(before), str(after), is_billable=billable, policy=policy)
        for revision, (before, (after, billable)) in enumerate(
            zip([first, *(after for after, _ in steps)], steps, strict=False), start=1
        )
    ]
    quantity = first + sum(
        int(c.totals[0].quantity - (c.before or c.totals)[0].quantity) for c in told if c.is_billable
    )
    order = data.draw(st.permutations([None, *told, told[-1]]))
    renewed_after = data.draw(st.integers(0, len(order)))
    for place, correction in enumerate(order):
        if place == renewed_after:
            await begin(book, uow, 1)
        if correction is None:
            await close(book, uow, 0, str(first))
        else:
            await correct(uow, correction)
        assert charged(uow) >= 0
    if renewed_after == len(order):
        await begin(book, uow, 1)
    await begin(book, uow, 2)
    owed = sum(line.amount.amount_minor for line in rate(BY_VOLUME, Decimal(max(quantity, 0))))
    assert charged(uow) == owed
    issued = [d for d in uow.invoices.by_id.values() if d.id in uow.invoices.lines]
    waiting = [d for d in uow.invoices.by_id.values() if d.awaits_window]
    assert [d.boundary_at for d in waiting] == [book.at(STARTS[2])]
    on_waiting = sum(
        c.amount.amount_minor for c in uow.charges.by_id.values() if c.invoice_id == waiting[0].id
    )
    assert sum(d.total.amount_minor for d in issued) + on_waiting == owed

"""The states of a usage window, and what may follow what."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.metering.domain.metered_item import MeteredItem, Span
from services.metering.domain.usage_window import (
    UsageTotal,
    UsageWindow,
    await_offsets,
    close,
    correct,
    finish,
    must_be_counted_again,
    note_due,
    obstacles,
    tell_bounds,
    tell_terms,
    window_id,
)

START, END, LATER = (datetime(2025, month, 1, tzinfo=UTC) for month in (1, 2, 3))
GRACE = timedelta(hours=1)


def a_window() -> UsageWindow:
    return UsageWindow(
        id=window_id("t", "sub_1", 0),
        subscription_id="sub_1",
        customer_id="cus_1",
        period_index=0,
        version=1,
        state="open",
        window_start=START,
        window_end=END,
        items=(MeteredItem("si_1", "minutes"),),
        clock_id=None,
        created_at=START,
        traceparent="first",
    )


def total(quantity: str, count: int = 1, item: str = "si_1") -> UsageTotal:
    return UsageTotal(item, "minutes", Decimal(quantity), count)


def ended(window: UsageWindow, end: datetime = END, version: int = 2) -> UsageWindow:
    told = tell_bounds(window, start=START, end=end, version=version, grace=GRACE)
    return finish(told, grace=GRACE, traceparent="renewal")


def test_a_period_that_ends_makes_its_window_due_after_the_grace_in_its_renewals_trace() -> None:
    window = ended(a_window())
    assert (window.state, window.due_at, window.traceparent) == ("open", END + GRACE, "renewal")
    assert ended(window) == window


def test_a_cut_period_cuts_its_window() -> None:
    cut = ended(a_window(), end=START + timedelta(days=9))
    assert (cut.window_end, cut.due_at) == (START + timedelta(days=9), START + timedelta(days=9) + GRACE)


def test_an_older_version_that_comes_late_moves_nothing() -> None:
    window = ended(a_window(), version=5)
    assert ended(window, end=LATER, version=4) == window


def test_a_newer_version_may_move_the_end_of_a_closed_window_which_must_be_counted_again() -> None:
    closed = close(note_due(ended(a_window())), [total("1")], END)
    after = ended(closed, end=LATER, version=3)
    assert (after.window_end, after.due_at, after.state) == (LATER, None, "closed")
    assert must_be_counted_again(closed, after)
    assert not must_be_counted_again(a_window(), ended(a_window(), end=LATER))


def test_a_window_that_is_due_becomes_due_by_its_new_end() -> None:
    assert ended(ended(a_window()), end=LATER, version=3).due_at == LATER + GRACE


def test_the_word_that_a_period_is_over_counts_even_if_its_bounds_are_old() -> None:
    moved = tell_bounds(a_window(), start=START, end=LATER, version=5, grace=GRACE)
    after = ended(moved, end=END, version=2)
    assert (after.window_end, after.due_at) == (LATER, LATER + GRACE)


NEW_ITEMS = (MeteredItem("si_2", "trips"),)


@pytest.mark.parametrize(
    ("versions", "items"),
    [((2, 3), NEW_ITEMS), ((3, 2), ()), ((3, 3), ())],
    ids=["newer_replaces", "older_is_ignored", "the_same_again"],
)
def test_the_newest_terms_say_what_is_measured(
    versions: tuple[int, int], items: tuple[MeteredItem, ...]
) -> None:
    window = tell_terms(a_window(), (), version=versions[0])
    assert tell_terms(window, NEW_ITEMS, version=versions[1]).items == items


def test_terms_change_the_bounds_of_no_newer_event() -> None:
    window = tell_bounds(a_window(), start=START, end=LATER, version=4, grace=GRACE)
    told = tell_terms(window, NEW_ITEMS, version=3)
    assert (told.version, told.terms_version, told.window_end) == (4, 3, LATER)


def test_new_terms_of_a_closed_window_ask_for_a_recount_and_the_same_ones_do_not() -> None:
    closed = close(note_due(ended(a_window())), [], LATER)
    assert must_be_counted_again(closed, tell_terms(closed, NEW_ITEMS, version=3))
    assert not must_be_counted_again(closed, tell_terms(closed, closed.items, version=3))


def test_an_item_counts_in_its_spans_inside_the_window_or_from_end_to_end() -> None:
    day = timedelta(days=1)
    spans = (Span(START - day, START + day), Span(START + 2 * day, END + day), Span(END, LATER))
    items = (MeteredItem("si_1", "minutes"), MeteredItem("si_2", "minutes", "prc_1", spans))
    window = replace(a_window(), items=items)
    assert list(window.spans()) == [
        (0, START, END),
        (1, START, START + day),
        (1, START + 2 * day, END),
    ]


def test_a_period_that_was_cut_to_nothing_measures_nothing() -> None:
    window = ended(a_window(), end=START)
    assert (window.measured_items, list(window.spans())) == ((), [])


def hindered(window: UsageWindow, **given: Any) -> tuple[str, ...]:
    known = {"handled": {}, "usage_stored": {}, "are_retried": False, "filling": (), **given}
    return obstacles(window, **known)


@pytest.mark.parametrize(
    ("handled", "reached"),
    [({0: 5, 1: 3}, True), ({0: 9, 1: 3}, True), ({0: 5, 1: 2}, False), ({0: 5}, False), ({}, False)],
)
def test_a_window_may_close_when_all_that_it_awaits_is_handled(
    handled: dict[int, int], reached: bool
) -> None:
    due = note_due(ended(a_window()))
    assert hindered(await_offsets(due, {0: 5, 1: 3}, {}), handled=handled) == (
        () if reached else ("bindings",)
    )
    assert hindered(await_offsets(due, {}, {0: 5, 1: 3}), usage_stored=handled) == (
        () if reached else ("usage",)
    )


def test_partitions_that_held_nothing_are_not_waited_for() -> None:
    due = await_offsets(note_due(ended(a_window())), {0: 0, 1: 0}, {0: 0})
    assert hindered(due) == ()


def test_a_window_waits_for_each_of_its_meters_to_be_filled_and_for_messages_that_failed() -> None:
    due = await_offsets(note_due(ended(a_window())), {0: 1}, {})
    assert hindered(due, filling={"minutes", "other"}, are_retried=True) == (
        "bindings",
        "retries",
        "back_fill",
    )
    assert hindered(due, handled={0: 1}, filling={"other"}) == ()


def test_what_a_window_waits_for_is_told_from_the_end_of_its_period_until_it_closes() -> None:
    assert a_window().waits_for == ()
    assert ended(a_window()).waits_for == ("grace",)
    due = replace(note_due(ended(a_window())), held_by=("usage",))
    assert due.waits_for == ("usage",)
    assert close(due, [], LATER).waits_for == ()


def test_closing_says_the_totals_once() -> None:
    closed = close(note_due(ended(a_window())), [total("12.5", 3)], LATER)
    assert (closed.state, closed.due_at, closed.closed_at, closed.revision) == ("closed", None, LATER, 0)
    assert closed.totals == (total("12.5", 3),)
    with pytest.raises(AssertionError):
        close(closed, [], LATER)


@pytest.mark.parametrize(
    ("now", "revision"),
    [
        ([total("12.50", 3)], None),
        ([total("12.5", 3), total("0", 0, "si_2")], None),
        ([total("12.5", 4)], 1),
        ([total("12", 3)], 1),
        ([replace(total("12.5", 3), price_id="prc_1")], 1),
        ([], 1),
    ],
    ids=["same", "another_without_usage", "more_events", "less", "at_another_price", "nothing"],
)
def test_a_correction_is_made_when_anything_differs(now: list[UsageTotal], revision: int | None) -> None:
    closed = close(note_due(ended(a_window())), [total("12.5", 3)], LATER)
    corrected = correct(closed, now)
    assert (corrected.revision if corrected else None) == revision


def test_a_second_correction_is_compared_with_the_first() -> None:
    closed = close(note_due(ended(a_window())), [total("1")], LATER)
    once = correct(closed, [total("2")])
    assert once is not None
    assert correct(once, [total("2")]) is None
    back = correct(once, [total("1")])
    assert back is not None
    assert back.revision == 2


def test_the_order_of_items_is_no_difference() -> None:
    window = replace(a_window(), items=(MeteredItem("si_1", "minutes"), MeteredItem("si_2", "minutes")))
    closed = close(note_due(ended(window)), [total("1"), total("2", item="si_2")], LATER)
    assert correct(closed, [total("2", item="si_2"), total("1")]) is None


def test_ids_of_windows_derive_from_tenant_subscription_and_period() -> None:
    ids = {window_id(t, s, n) for t in ("t", "u") for s in ("sub_1", "sub_2") for n in (0, 1)}
    assert len(ids) == 8
    assert window_id("t", "sub_1", 0) == a_window().id

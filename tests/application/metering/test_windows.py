"""Use cases of usage windows: opened, ended, closed, corrected; and the bindings between."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from libs.common.contracts.metering import UsageCorrectedV1, UsageWindowClosedV1
from services.metering.application.bind_subject import bind_subject
from services.metering.application.close_usage_window import CloseUsageWindows, close_usage_windows
from services.metering.application.correct_usage import CorrectUsage, correct_usage
from services.metering.application.dismiss_recount_refusal import (
    DismissRecountRefusal,
    NothingRefused,
    dismiss_recount_refusal,
)
from services.metering.application.end_usage_window import end_usage_window
from services.metering.application.ingest_usage_events import (
    IngestUsageEvents,
    UsageBatch,
    ingest_usage_events,
)
from services.metering.application.open_usage_window import (
    OpenUsageWindow,
    change_usage_window,
    open_usage_window,
)
from services.metering.application.ports import LateNote, MeteredSubscription
from services.metering.application.preview_usage_windows import preview_usage_windows
from services.metering.application.queries import UsageWindowNotFound
from services.metering.domain.late_usage import ChangedEvent, ChangedEvents, LateUsageTerms
from services.metering.domain.metered_item import MeteredItem, Span
from services.metering.domain.subject_binding import SubjectBinding
from services.metering.domain.usage_event import AcceptWindow
from services.metering.domain.usage_retention import raw_events_gone
from services.metering.domain.usage_window import UsageWindow, window_id
from tests.application.metering.memory import AT, MemoryMeteringUnitOfWork, an_event
from tests.support.clocks import FixedClock
from tests.unit.metering.meters import a_meter

START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC)
GRACE = timedelta(hours=1)
NOW = END + GRACE
CLOCK = FixedClock()
BINDING = SubjectBinding("sbd_1", 1, "N1", "minutes", "sub_1", "si_1", START, None)


def a_period(**changes: object) -> OpenUsageWindow:
    period = OpenUsageWindow(
        subscription_id="sub_1",
        customer_id="cus_1",
        period_index=0,
        version=1,
        start=START,
        end=END,
        items=(MeteredItem("si_1", "minutes"),),
        clock_id="clk_1",
        traceparent="trace",
        now=START,
    )
    return replace(period, **changes)  # type: ignore[arg-type]


async def ingest(uow: MemoryMeteringUnitOfWork, id: str, minutes: int) -> None:
    batch = UsageBatch("batch", "token", AT, [an_event(id, minutes)])
    await ingest_usage_events(IngestUsageEvents([batch]), uow=uow, accept=AcceptWindow())


async def close(uow: MemoryMeteringUnitOfWork, ends: int = 0, handled: int = 0, usage_end: int = 0) -> int:
    now_by_id = {id: NOW for id, window in uow.windows.by_id.items() if window.due_at is not None}
    command = CloseUsageWindows(now_by_id, {0: ends}, {0: handled}, {0: usage_end}, END)
    return await close_usage_windows(command, uow=uow)


def only(uow: MemoryMeteringUnitOfWork) -> UsageWindow:
    [window] = uow.windows.by_id.values()
    return window


async def test_opening_twice_opens_once(uow: MemoryMeteringUnitOfWork) -> None:
    await open_usage_window(a_period(), grace=GRACE, uow=uow)
    await open_usage_window(a_period(end=NOW), grace=GRACE, uow=uow)
    assert (only(uow).id, only(uow).window_end) == (window_id(uow.tenant, "sub_1", 0), END)
    assert [recorded.action for recorded in uow.recorded] == ["usage_window.opened"]


async def test_a_subscription_without_metered_items_has_no_windows(uow: MemoryMeteringUnitOfWork) -> None:
    assert await open_usage_window(a_period(items=(), is_metered=False), grace=GRACE, uow=uow) is None
    assert await end_usage_window(a_period(items=(), is_metered=False), grace=GRACE, uow=uow) is None
    assert uow.windows.by_id == {}


@pytest.mark.parametrize("opened", [True, False])
async def test_a_period_that_ends_makes_its_window_due_opened_or_not(
    uow: MemoryMeteringUnitOfWork, opened: bool
) -> None:
    if opened:
        await open_usage_window(a_period(), grace=GRACE, uow=uow)
    for _ in range(2):
        await end_usage_window(a_period(version=2, traceparent="renewal"), grace=GRACE, uow=uow)
    assert (only(uow).due_at, only(uow).state, only(uow).traceparent) == (NOW, "open", "renewal")


async def test_closing_takes_its_steps_and_says_the_totals_once(uow: MemoryMeteringUnitOfWork) -> None:
    await uow.meters.insert(a_meter())
    await bind_subject(BINDING, uow=uow)
    await ingest(uow, "a", 5)
    await end_usage_window(a_period(), grace=GRACE, uow=uow)

    assert await close(uow, ends=7, handled=7) == 1
    assert only(uow).state == "due"
    assert await close(uow, ends=7, handled=6) == 1  # what is awaited was noted
    assert await close(uow, ends=9, handled=6) == 0
    assert uow.outbox.appended == []
    assert await close(uow, ends=9, handled=7) == 1
    assert await close(uow, ends=9, handled=9) == 0

    [appended] = uow.outbox.appended
    event = appended.event
    assert isinstance(event, UsageWindowClosedV1)
    assert [(t.item_id, t.quantity, t.event_count) for t in event.totals] == [("si_1", 5, 1)]
    assert (event.occurred_at, event.test_clock, appended.key) == (NOW, "clk_1", only(uow).id)
    assert uow.usage.calls == ["wait_for_writers"]


async def test_a_window_does_not_close_while_a_message_of_its_tenant_is_tried_again(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    await end_usage_window(a_period(), grace=GRACE, uow=uow)
    uow.pending_messages = 1
    for _ in range(3):
        await close(uow)
    assert only(uow).state == "due"
    uow.pending_messages = 0
    await close(uow)
    assert only(uow).state == "closed"


async def test_a_window_does_not_close_while_one_of_its_meters_is_filled_and_says_so(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    await end_usage_window(a_period(), grace=GRACE, uow=uow)
    assert only(uow).waits_for == ("grace",)
    uow.meters.filling = {"minutes"}
    for _ in range(3):
        await close(uow, ends=1)
    assert (only(uow).state, only(uow).waits_for) == ("due", ("bindings", "back_fill"))
    await close(uow, ends=1, handled=1)
    assert only(uow).waits_for == ("back_fill",)
    uow.meters.filling = {"trips"}
    await close(uow, ends=1, handled=1)
    assert (only(uow).state, only(uow).waits_for) == ("closed", ())


async def test_a_window_does_not_close_before_the_usage_that_was_accepted_is_stored(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    await end_usage_window(a_period(), grace=GRACE, uow=uow)
    uow.offsets.by_partition = {0: 4}
    for _ in range(3):
        await close(uow, usage_end=5)
    assert only(uow).state == "due"
    uow.offsets.by_partition = {0: 5}
    await close(uow, usage_end=9)  # what is accepted later is not waited for
    assert only(uow).state == "closed"


async def closed_window(uow: MemoryMeteringUnitOfWork) -> UsageWindow:
    await uow.meters.insert(a_meter())
    await bind_subject(BINDING, uow=uow)
    await ingest(uow, "a", 5)
    await end_usage_window(a_period(), grace=GRACE, uow=uow)
    await close(uow)
    await close(uow)
    return only(uow)


async def test_late_usage_corrects_its_window_once_however_many_notes_there_are(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    window = await closed_window(uow)
    await ingest(uow, "late", 2)
    for _ in range(2):
        uow.late.notes = [LateNote(f"late_{n}", window.id, NOW) for n in range(3)]
        await correct_usage(CorrectUsage({note.id: NOW for note in uow.late.notes}), uow=uow, clock=CLOCK)
        assert uow.late.notes == []
    corrections = [event for event in uow.outbox.events if isinstance(event, UsageCorrectedV1)]
    assert [(c.revision, c.version, c.before[0].quantity, c.totals[0].quantity) for c in corrections] == [
        (1, 2, 5, 7)
    ]


async def correct(uow: MemoryMeteringUnitOfWork, window_id: str, noted_at: datetime = NOW) -> int:
    uow.late.notes = [LateNote("late_1", window_id, noted_at)]
    return await correct_usage(CorrectUsage({"late_1": noted_at}), uow=uow, clock=CLOCK)


def said(uow: MemoryMeteringUnitOfWork) -> list[UsageCorrectedV1]:
    return [event for event in uow.outbox.events if isinstance(event, UsageCorrectedV1)]


async def test_a_correction_names_the_difference_and_the_events_and_is_kept_as_it_was_said(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    window = await closed_window(uow)
    await ingest(uow, "late", 2)
    assert uow.late.noted[-1] == ("late", "minutes", "N1", AT, an_event("late").key)
    uow.late.events = {window.id: ChangedEvents((ChangedEvent("s", "late", "late"),), 101)}
    await correct(uow, window.id)
    [event] = said(uow)
    assert [(d.item_id, d.meter, d.quantity, d.event_count) for d in event.differences] == [
        ("si_1", "minutes", 2, 1)
    ]
    assert [(e.source, e.event_id, e.cause) for e in event.events] == [("s", "late", "late")]
    assert (event.changed_event_count, event.policy, event.is_billable) == (101, "next_invoice", True)
    [kept] = uow.window_corrections.added
    assert (kept.revision, kept.before, kept.totals) == (1, window.totals, only(uow).totals)
    assert (kept.corrected_at, kept.events.count, kept.customer_id) == (NOW, 101, "cus_1")


async def test_what_comes_back_to_what_was_said_says_the_difference_each_time(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    window = await closed_window(uow)
    for _ in range(2):
        await ingest(uow, "late", 2)
        await correct(uow, window.id)
        uow.usage.events.pop(an_event("late", 2).key)  # as if it were voided
        await correct(uow, window.id)
    told = [
        (c.revision, c.before[0].quantity, c.totals[0].quantity, c.differences[0].quantity) for c in said(uow)
    ]
    assert told == [(1, 5, 7, 2), (2, 7, 5, -2), (3, 5, 7, 2), (4, 7, 5, -2)]


@pytest.mark.parametrize(
    ("days", "noted_at", "billable"),
    [
        (None, END + timedelta(days=900), True),
        (0, END + timedelta(hours=23), True),
        (0, END + timedelta(days=1), False),
        (35, END + timedelta(days=35, hours=23), True),
        (35, END + timedelta(days=36), False),
    ],
)
async def test_the_plan_says_what_becomes_of_late_usage_and_for_how_long_it_is_billed(
    uow: MemoryMeteringUnitOfWork, days: int | None, noted_at: datetime, billable: bool
) -> None:
    window = await closed_window(uow)
    uow.subscriptions.learn(
        MeteredSubscription("sub_1", 1, "cus_1", "UTC", None, (), LateUsageTerms("draft_only", days))
    )
    await ingest(uow, "late", 2)
    await correct(uow, window.id, noted_at)
    [event] = said(uow)
    assert (event.policy, event.is_billable) == ("draft_only", billable)


async def test_the_first_of_the_changes_decides_whether_a_correction_is_billed(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    """It was noted in time, and whoever counts later takes nothing from anyone."""
    window = await closed_window(uow)
    uow.subscriptions.learn(
        MeteredSubscription("sub_1", 1, "cus_1", "UTC", None, (), LateUsageTerms(window_days=0))
    )
    await ingest(uow, "late", 2)
    late = END + timedelta(days=3)
    uow.late.notes = [LateNote("late_1", window.id, late), LateNote("late_2", window.id, NOW)]
    await correct_usage(CorrectUsage({"late_1": late}), uow=uow, clock=CLOCK)
    assert [event.is_billable for event in said(uow)] == [True]
    assert uow.late.notes == []  # all notes of a window are answered together


async def test_a_window_whose_events_are_gone_stays_as_it_was_said_until_a_person_sees_to_it(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    window = await closed_window(uow)
    uow.usage.gone = {window.id: raw_events_gone(END)}
    await ingest(uow, "late", 2)
    await correct(uow, window.id)
    refusal = only(uow).recount_refusal
    assert refusal is not None
    assert (refusal.is_open, "are kept from 2025-02-01T00:00:00Z on" in refusal.told) == (True, True)
    assert (only(uow).totals, said(uow), uow.late.notes) == (window.totals, [], [])
    dismissal = DismissRecountRefusal(window.id, "billed by hand", "token")
    seen_to = (await dismiss_recount_refusal(dismissal, uow=uow, clock=CLOCK)).recount_refusal
    assert seen_to is not None
    assert (seen_to.is_open, seen_to.reason, seen_to.dismissed_by) == (False, "billed by hand", "token")
    with pytest.raises(NothingRefused):
        await dismiss_recount_refusal(dismissal, uow=uow, clock=CLOCK)
    with pytest.raises(UsageWindowNotFound):
        await dismiss_recount_refusal(replace(dismissal, window_id="uwin_none"), uow=uow, clock=CLOCK)
    # What can be counted after all is no longer refused.
    uow.usage.gone = {}
    await correct(uow, window.id)
    assert (only(uow).recount_refusal, said(uow)[0].totals[0].quantity) == (None, 7)


async def test_a_closed_window_is_not_counted_again_while_its_meter_is_filled(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    window = await closed_window(uow)
    await ingest(uow, "late", 2)
    uow.meters.filling = {"minutes"}
    assert await correct(uow, window.id) == 0
    assert uow.late.resting == {"late_1": CLOCK.now + timedelta(seconds=2)}
    assert [note.id for note in uow.late.notes] == ["late_1"]
    uow.meters.filling = set()
    assert await correct(uow, window.id) == 1


async def test_a_note_about_a_window_that_is_not_closed_yet_is_left_to_its_closing(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    await end_usage_window(a_period(), grace=GRACE, uow=uow)
    await close(uow)
    uow.late.notes = [LateNote("late_1", only(uow).id, NOW)]
    assert await correct_usage(CorrectUsage({"late_1": NOW}), uow=uow, clock=CLOCK) == 0
    assert uow.late.notes == []
    assert uow.outbox.appended == []


async def test_a_newer_end_of_a_closed_window_asks_for_a_recount(uow: MemoryMeteringUnitOfWork) -> None:
    window = await closed_window(uow)
    uow.late.noted.clear()
    await end_usage_window(a_period(version=3, end=AT), grace=GRACE, uow=uow)
    assert uow.late.noted == [("window", window.id)]


PRICES = (
    MeteredItem("si_1", "minutes", "p1", (Span(START, AT),)),
    MeteredItem("si_1", "minutes", "p2", (Span(AT, END),)),
)


async def test_new_terms_replace_what_the_window_measures_and_older_ones_do_not(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    await open_usage_window(a_period(), grace=GRACE, uow=uow)
    uow.balances.noted.clear()
    await change_usage_window(a_period(version=3, items=PRICES, has_terms=True), grace=GRACE, uow=uow)
    await change_usage_window(a_period(version=2, items=(), has_terms=True), grace=GRACE, uow=uow)
    assert only(uow).items == PRICES
    assert uow.balances.noted == {"si_1": timedelta(0)}
    await open_usage_window(a_period(), grace=GRACE, uow=uow)  # heard late: the terms stay
    assert only(uow).items == PRICES


async def test_the_event_that_begins_a_period_knows_its_items_better_than_the_one_that_ends_it(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    other = (MeteredItem("si_9", "trips"),)
    await end_usage_window(a_period(version=2, items=other), grace=GRACE, uow=uow)
    assert only(uow).items == other
    await open_usage_window(a_period(), grace=GRACE, uow=uow)
    assert (only(uow).items, only(uow).due_at) == (a_period().items, NOW)


@pytest.mark.parametrize(
    ("now", "is_opened"), [(START, True), (START - timedelta(seconds=1), False)], ids=["begun", "ahead"]
)
async def test_terms_open_the_window_of_a_period_that_has_begun(
    uow: MemoryMeteringUnitOfWork, now: datetime, is_opened: bool
) -> None:
    window = await change_usage_window(
        a_period(version=2, items=PRICES, has_terms=True, now=now), grace=GRACE, uow=uow
    )
    assert (window is not None) == is_opened


async def test_terms_of_a_closed_window_ask_for_a_recount(uow: MemoryMeteringUnitOfWork) -> None:
    window = await closed_window(uow)
    uow.late.noted.clear()
    await change_usage_window(a_period(version=4, items=PRICES, has_terms=True), grace=GRACE, uow=uow)
    assert uow.late.noted == [("window", window.id)]
    uow.late.notes = [LateNote("late_1", window.id, NOW)]
    await correct_usage(CorrectUsage({"late_1": NOW}), uow=uow, clock=CLOCK)
    [correction] = [event for event in uow.outbox.events if isinstance(event, UsageCorrectedV1)]
    assert [(t.price_id, t.quantity) for t in correction.before] == [(None, 5)]
    assert [(t.price_id, t.quantity) for t in correction.totals] == [("p1", 0), ("p2", 5)]


async def test_a_preview_says_what_a_window_would_say_and_what_would_correct_a_closed_one(
    uow: MemoryMeteringUnitOfWork,
) -> None:
    window = await closed_window(uow)
    following = a_period(period_index=1, version=2, start=END, end=END + timedelta(days=28), now=END)
    other = await open_usage_window(following, grace=GRACE, uow=uow)
    assert other is not None
    asked = [window.id, other.id, "uwin_none"]
    assert await preview_usage_windows(asked, now=NOW, system_now=NOW, uow=uow) == []
    await change_usage_window(a_period(version=4, items=PRICES, has_terms=True), grace=GRACE, uow=uow)
    await end_usage_window(replace(following, version=4, end=NOW), grace=GRACE, uow=uow)
    corrected, closed = await preview_usage_windows(asked, now=NOW, system_now=NOW, uow=uow)
    assert isinstance(corrected, UsageCorrectedV1)
    assert (corrected.period_index, [t.quantity for t in corrected.totals]) == (0, [0, 5])
    assert isinstance(closed, UsageWindowClosedV1)
    assert (closed.period_index, closed.window_end, closed.totals[0].quantity) == (1, NOW, 0)


async def test_the_newest_version_of_a_binding_wins_in_any_order(uow: MemoryMeteringUnitOfWork) -> None:
    released = replace(BINDING, version=2, bound_until=AT)
    assert await bind_subject(released, uow=uow)
    assert not await bind_subject(BINDING, uow=uow)
    assert not await bind_subject(released, uow=uow)
    assert uow.bindings.by_id == {"sbd_1": released}
    assert len(uow.late.noted) == 1

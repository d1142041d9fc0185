"""Whose usage is shown to whom, how an answer is laid out, and where its pages are cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.paging import PageRequest
from services.metering.application import ask_usage as use_case
from services.metering.application.ask_usage import SlicePage, UsageAnswer, UsageSlice, ask_usage
from services.metering.application.list_usage_behind import list_usage_behind
from services.metering.application.ports import MeteredSubscription
from services.metering.application.queries import MeteredItemNotFound, MeterNotFound, UsageQuestionUnclear
from services.metering.application.usage_question import Fill, UsageQuestion, filled_until
from services.metering.domain.aggregation import NO_USAGE
from services.metering.domain.group_filter import DimensionUnknown, UsageFilterUnclear
from services.metering.domain.metered_item import MeteredItem
from services.metering.domain.subject_binding import SubjectBinding
from services.metering.domain.usage_slices import EmptyRange, TooManySlices
from tests.application.metering.memory import AT, MemoryMeteringUnitOfWork
from tests.support.clocks import FixedClock
from tests.unit.metering.meters import a_meter

QUESTION = UsageQuestion(meter="minutes", subject="N1")
WHOLE = SlicePage(limit=5_000)
JUNE = datetime(2025, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
async def known(uow: MemoryMeteringUnitOfWork) -> MemoryMeteringUnitOfWork:
    await fill(uow)
    return uow


async def fill(uow: MemoryMeteringUnitOfWork) -> None:
    await uow.meters.insert(replace(a_meter(group_by=["carrier", "kind"]), filled_at=AT))
    for n in (1, 2):
        items = (MeteredItem(f"si_{n}", "minutes"),)
        uow.subscriptions.learn(MeteredSubscription(f"sub_{n}", 1, f"cus_{n}", "UTC", None, items))
        uow.bindings.add(
            SubjectBinding(
                id=f"bnd_{n}",
                version=1,
                subject=f"N{n}",
                meter="minutes",
                subscription_id=f"sub_{n}",
                item_id=f"si_{n}",
                bound_from=JUNE,
                bound_until=None,
                asset_id=f"ast_{n}",
            )
        )


def on(day: int, quantity: int = 1, **group: str | None) -> tuple[datetime, dict[str, str | None], Decimal]:
    return JUNE + (day - 1) * DAY, group, Decimal(quantity)


def shown(answer: UsageAnswer) -> list[tuple[int, str, int]]:
    """(day, group, quantity)."""
    return [
        (row.start.day, "/".join(value or "-" for value in row.group.values()), int(row.usage.quantity))
        for row in answer.slices
    ]


async def test_without_bounds_the_month_of_now_is_meant(
    known: MemoryMeteringUnitOfWork, clock: FixedClock
) -> None:
    known.offsets.by_partition = {0: 7}
    answer = await ask_usage(replace(QUESTION, zone="America/New_York"), WHOLE, uow=known, clock=clock)
    [row] = answer.slices
    assert (row.start, row.end) == (
        datetime(2025, 6, 1, 4, tzinfo=UTC),
        datetime(2025, 7, 1, 4, tzinfo=UTC),
    )
    assert (row.usage, answer.filled_until, answer.next) == (NO_USAGE, None, None)
    assert (answer.position.as_of, answer.position.usage_topic) == (AT, {0: 7})


@pytest.mark.parametrize(
    ("fill", "group_by", "expected"),
    [
        (None, (), [(1, "", 0), (2, "", 3), (3, "", 0), (4, "", 4)]),
        ("zero", (), [(1, "", 0), (2, "", 3), (3, "", 0), (4, "", 4)]),
        ("none", (), [(2, "", 3), (4, "", 4)]),
        (None, ("kind",), [(2, "paid", 1), (2, "-", 2), (4, "paid", 4)]),
        ("none", ("kind",), [(2, "paid", 1), (2, "-", 2), (4, "paid", 4)]),
        (
            "zero",
            ("kind",),
            [
                *((1, "paid", 0), (1, "-", 0), (2, "paid", 1), (2, "-", 2)),
                *((3, "paid", 0), (3, "-", 0), (4, "paid", 4), (4, "-", 0)),
            ],
        ),
        (None, ("kind", "carrier", "kind"), [(2, "paid/AA", 1), (2, "-/AA", 2), (4, "paid/UA", 4)]),
    ],
)
async def test_which_windows_and_groups_are_shown(
    known: MemoryMeteringUnitOfWork,
    clock: FixedClock,
    fill: Fill | None,
    group_by: tuple[str, ...],
    expected: list[tuple[int, str, int]],
) -> None:
    known.memory_reads.used = [
        on(2, 1, kind="paid", carrier="AA"),
        on(2, 2, kind=None, carrier="AA"),
        on(4, 4, kind="paid", carrier="UA"),
    ]
    question = replace(QUESTION, start=JUNE, end=JUNE + 4 * DAY, length="day", group_by=group_by, fill=fill)
    assert shown(await ask_usage(question, WHOLE, uow=known, clock=clock)) == expected


async def test_only_the_groups_that_are_let_in_count(
    known: MemoryMeteringUnitOfWork, clock: FixedClock
) -> None:
    known.memory_reads.used = [on(1, 1, carrier="AA"), on(1, 2, carrier="UA"), on(1, 4), on(1, 8, carrier="")]
    for filters, quantity in (
        (("carrier:AA",), 1),
        (("carrier:AA", "carrier:UA"), 3),
        (("carrier:",), 4),
        (("carrier:", 'carrier:""'), 12),
        (("carrier:AA", "kind:paid"), 0),
    ):
        answer = await ask_usage(replace(QUESTION, filters=filters), WHOLE, uow=known, clock=clock)
        assert [row.usage.quantity for row in answer.slices] == [quantity], filters


@pytest.mark.parametrize(
    ("changes", "items"),
    [
        ({}, None),
        ({"item_id": "si_1"}, ["si_1"]),
        ({"subscription_id": "sub_2"}, ["si_2"]),
        ({"customer_id": "cus_1"}, ["si_1"]),
        ({"asset_id": "ast_1", "subject": None}, ["si_1"]),
        ({"asset_id": "ast_1", "customer_id": "cus_1"}, ["si_1"]),
        ({"of": "cus_2"}, ["si_2"]),
        ({"of": "cus_2", "subject": None}, ["si_2"]),
        ({"of": "cus_2", "item_id": "si_2"}, ["si_2"]),
        ({"of": "cus_2", "asset_id": "ast_2"}, ["si_2"]),
        ({"of": "cus_9"}, []),
    ],
)
async def test_whose_usage_it_is(
    known: MemoryMeteringUnitOfWork,
    clock: FixedClock,
    changes: dict[str, str | None],
    items: list[str] | None,
) -> None:
    question = replace(QUESTION, **changes)  # type: ignore[arg-type]
    await ask_usage(question, WHOLE, uow=known, clock=clock)
    asked = known.memory_reads.asked
    assert (asked["item_ids"], asked["asset_id"], asked["subject"]) == (
        items,
        question.asset_id,
        question.subject,
    )
    await list_usage_behind(question, PageRequest(), uow=known, clock=clock)
    whose = asked["whose"]
    assert (whose.item_ids, whose.asset_id, whose.subject) == (items, question.asset_id, question.subject)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"meter": "other"}, MeterNotFound),
        ({"subject": None}, UsageQuestionUnclear),
        ({"item_id": "si_1", "customer_id": "cus_1"}, UsageQuestionUnclear),
        ({"item_id": "si_9"}, MeteredItemNotFound),
        ({"asset_id": "ast_9"}, MeteredItemNotFound),
        ({"asset_id": "ast_1", "item_id": "si_2"}, MeteredItemNotFound),
        ({"of": "cus_2", "item_id": "si_1"}, MeteredItemNotFound),
        ({"of": "cus_2", "customer_id": "cus_1"}, MeteredItemNotFound),
        ({"of": "cus_2", "asset_id": "ast_1"}, MeteredItemNotFound),
        ({"group_by": ("destination",)}, DimensionUnknown),
        ({"filters": ("destination:LAX",)}, DimensionUnknown),
        ({"filters": ("carrier",)}, UsageFilterUnclear),
        ({"start": JUNE, "end": JUNE}, EmptyRange),
    ],
)
async def test_what_cannot_be_answered(
    known: MemoryMeteringUnitOfWork,
    clock: FixedClock,
    changes: dict[str, str | None],
    error: type[Exception],
) -> None:
    question = replace(QUESTION, **changes)  # type: ignore[arg-type]
    with pytest.raises(error):
        await ask_usage(question, WHOLE, uow=known, clock=clock)
    with pytest.raises(error):
        await list_usage_behind(question, PageRequest(), uow=known, clock=clock)


async def all_pages(
    question: UsageQuestion, limit: int, *, uow: MemoryMeteringUnitOfWork, clock: FixedClock
) -> tuple[list[UsageSlice], list[int]]:
    """The rows of all pages, and how many each has."""
    rows: list[UsageSlice] = []
    counts: list[int] = []
    after: datetime | None = None
    while True:
        answer = await ask_usage(question, SlicePage(limit, after), uow=uow, clock=clock)
        rows += answer.slices
        counts.append(len(answer.slices))
        assert after is None or answer.next is None or answer.next > after
        after = answer.next
        if after is None:
            return rows, counts


used = st.lists(
    st.tuples(st.integers(0, 40 * 24 - 1), st.sampled_from(["a", "b", "c", None]), st.integers(-3, 9)),
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    used=used,
    hours=st.integers(1, 40 * 24),
    length=st.sampled_from(["none", "hour", "day", "week"]),
    fill_with=st.sampled_from([None, "zero", "none"]),
    group_by=st.sampled_from([(), ("kind",)]),
    limit=st.integers(1, 60),
    rows_max=st.integers(4, 30),
    filters=st.sampled_from([(), ("kind:a", "kind:")]),
)
async def test_pages_put_together_are_the_whole_answer(
    monkeypatch: pytest.MonkeyPatch,
    used: Sequence[tuple[int, str | None, int]],
    hours: int,
    length: str,
    fill_with: Fill | None,
    group_by: tuple[str, ...],
    limit: int,
    rows_max: int,
    filters: tuple[str, ...],
) -> None:
    uow, clock = MemoryMeteringUnitOfWork(), FixedClock()
    await fill(uow)
    uow.memory_reads.used = [
        (JUNE + timedelta(hours=hour), {"kind": kind}, Decimal(quantity)) for hour, kind, quantity in used
    ]
    question = replace(
        QUESTION,
        start=JUNE,
        end=JUNE + timedelta(hours=hours),
        length=length,  # type: ignore[arg-type]
        zone="Asia/Kathmandu",
        group_by=group_by,
        fill=fill_with,
        filters=filters,
    )
    with monkeypatch.context() as patched:
        patched.setattr(use_case, "ROWS_MAX", 1_000_000)
        whole, _ = await all_pages(question, 5_000, uow=uow, clock=clock)
        patched.setattr(use_case, "ROWS_MAX", rows_max)
        together, counts = await all_pages(question, limit, uow=uow, clock=clock)
    assert together == whole
    assert max(counts) <= max(limit, rows_max)
    if group_by:
        assert max(counts) <= rows_max


async def test_one_window_of_too_many_groups_is_refused(
    known: MemoryMeteringUnitOfWork, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(use_case, "ROWS_MAX", 2)
    known.memory_reads.used = [on(1, kind=str(n)) for n in range(2)]
    question = replace(QUESTION, group_by=("kind",))
    assert len((await ask_usage(question, WHOLE, uow=known, clock=clock)).slices) == 2
    known.memory_reads.used.append(on(1, kind="third"))
    for fill_with in (None, "zero"):
        with pytest.raises(TooManySlices):
            await ask_usage(replace(question, fill=fill_with), WHOLE, uow=known, clock=clock)  # type: ignore[arg-type]


async def test_dimensions_of_all_versions_can_be_asked_for(
    known: MemoryMeteringUnitOfWork, clock: FixedClock
) -> None:
    older = replace(a_meter(group_by=["gate"]), id="mtr_0", filled_at=AT, valid_until=JUNE)
    known.memory_reads.older_versions = [older]
    await ask_usage(
        replace(QUESTION, group_by=("gate",), filters=("gate:A1",)), WHOLE, uow=known, clock=clock
    )
    asked = known.memory_reads.asked
    assert (asked["dimensions"], asked["filters"]) == (("gate",), {"gate": ("A1",)})
    assert [version.id for version in asked["versions"]] == ["mtr_0", "mtr_minutes"]


def test_until_when_usage_is_complete() -> None:
    meter = a_meter()
    end = JUNE + 30 * DAY
    filled, filling = replace(meter, filled_at=AT), replace(meter, filled_until=JUNE + DAY)
    assert filled_until([filled], JUNE, end) is None
    assert filled_until([meter], JUNE, end) == JUNE
    assert filled_until([filling], JUNE, end) == JUNE + DAY
    assert filled_until([filling], JUNE, JUNE + DAY) is None, "so far it is filled"
    later = replace(filling, valid_from=end)
    assert filled_until([filled, later], JUNE, end) is None, "it measures nothing of this time"
    assert filled_until([filled, replace(later, valid_from=end - DAY)], JUNE, end) == JUNE + DAY

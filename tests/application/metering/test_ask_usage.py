"""Whose usage is shown to whom, and how an answer is laid out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from services.metering.application import ask_usage as use_case
from services.metering.application.ask_usage import DimensionUnknown, UsageQuestion, ask_usage
from services.metering.application.ports import MeteredSubscription
from services.metering.application.queries import MeteredItemNotFound, MeterNotFound, UsageQuestionUnclear
from services.metering.application.reads import UsageRow
from services.metering.domain.aggregation import Usage
from services.metering.domain.metered_item import MeteredItem
from services.metering.domain.usage_slices import TooManySlices
from tests.application.metering.memory import MemoryMeteringUnitOfWork
from tests.support.clocks import FixedClock
from tests.unit.metering.meters import a_meter

QUESTION = UsageQuestion(meter="minutes", subject="N1")


@pytest.fixture
async def known(uow: MemoryMeteringUnitOfWork) -> MemoryMeteringUnitOfWork:
    await uow.meters.insert(a_meter(group_by=["carrier", "kind"]))
    for n in (1, 2):
        items = (MeteredItem(f"si_{n}", "minutes"),)
        uow.subscriptions.learn(MeteredSubscription(f"sub_{n}", 1, f"cus_{n}", "UTC", None, items))
    return uow


async def test_without_bounds_the_month_of_now_is_meant(
    known: MemoryMeteringUnitOfWork, clock: FixedClock
) -> None:
    answer = await ask_usage(replace(QUESTION, zone="America/New_York"), uow=known, clock=clock)
    [row] = answer.slices
    assert (row.start, row.end) == (
        datetime(2025, 6, 1, 4, tzinfo=UTC),
        datetime(2025, 7, 1, 4, tzinfo=UTC),
    )
    assert (row.usage, answer.as_of) == (Usage(Decimal(0), 0), clock.now)


async def test_slices_without_usage_are_zero_unless_groups_are_asked_for(
    known: MemoryMeteringUnitOfWork, clock: FixedClock
) -> None:
    usage = Usage(Decimal(5), 2)
    known.memory_reads.rows = [UsageRow(3, (), usage)]
    answer = await ask_usage(replace(QUESTION, length="day"), uow=known, clock=clock)
    assert [row.usage.event_count for row in answer.slices] == [0, 0, 0, 2, *([0] * 26)]
    known.memory_reads.rows = [UsageRow(3, ("paid",), usage)]
    answer = await ask_usage(replace(QUESTION, length="day", group_by=("kind",)), uow=known, clock=clock)
    assert [(row.start.day, row.group) for row in answer.slices] == [(4, {"kind": "paid"})]
    assert known.memory_reads.asked["dimensions"] == [1]


@pytest.mark.parametrize(
    ("changes", "items"),
    [
        ({}, None),
        ({"item_id": "si_1"}, ["si_1"]),
        ({"subscription_id": "sub_2"}, ["si_2"]),
        ({"customer_id": "cus_1"}, ["si_1"]),
        ({"of": "cus_2"}, ["si_2"]),
        ({"of": "cus_2", "subject": None}, ["si_2"]),
        ({"of": "cus_2", "item_id": "si_2"}, ["si_2"]),
    ],
)
async def test_whose_usage_it_is(
    known: MemoryMeteringUnitOfWork,
    clock: FixedClock,
    changes: dict[str, str | None],
    items: list[str] | None,
) -> None:
    await ask_usage(replace(QUESTION, **changes), uow=known, clock=clock)  # type: ignore[arg-type]
    assert known.memory_reads.asked["item_ids"] == items


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"meter": "other"}, MeterNotFound),
        ({"subject": None}, UsageQuestionUnclear),
        ({"item_id": "si_1", "customer_id": "cus_1"}, UsageQuestionUnclear),
        ({"item_id": "si_9"}, MeteredItemNotFound),
        ({"of": "cus_2", "item_id": "si_1"}, MeteredItemNotFound),
        ({"of": "cus_2", "customer_id": "cus_1"}, MeteredItemNotFound),
        ({"group_by": ("destination",)}, DimensionUnknown),
    ],
)
async def test_what_cannot_be_answered(
    known: MemoryMeteringUnitOfWork,
    clock: FixedClock,
    changes: dict[str, str | None],
    error: type[Exception],
) -> None:
    with pytest.raises(error):
        await ask_usage(replace(QUESTION, **changes), uow=known, clock=clock)  # type: ignore[arg-type]


async def test_an_answer_that_would_be_too_long_is_refused(
    known: MemoryMeteringUnitOfWork, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(use_case, "ROWS_MAX", 2)
    known.memory_reads.rows = [UsageRow(0, (str(n),), Usage(Decimal(1), 1)) for n in range(3)]
    with pytest.raises(TooManySlices):
        await ask_usage(replace(QUESTION, group_by=("kind",)), uow=known, clock=clock)

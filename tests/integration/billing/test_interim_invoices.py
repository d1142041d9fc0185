"""Spend thresholds on the database: looked at by several workers at once, while windows close and metering is down."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from libs.common.http_client import PeerUnavailable
from libs.common.money import Money
from services.billing.adapters.metering_peer import WindowSoFar
from services.billing.application.set_spend_threshold import SetSpendThreshold, set_spend_threshold
from tests.integration.billing.workbench import LONG_AFTER, Workbench, after
from tests.support.billing import Story
from tests.support.clocks import FixedClock

JOB = "check_spend_thresholds"


@pytest.fixture
def bench(own_bench: Workbench) -> Workbench:
    """What the audit finds is theirs alone."""
    return own_bench


async def threshold(bench: Workbench, story: Story, minor: int, *, now: datetime = LONG_AFTER) -> None:
    async with bench.open(story.tenant) as uow:
        await set_spend_threshold(
            SetSpendThreshold(story.subscription_id, Money(minor, "USD")),
            now=now,
            uow=uow,
            check_version=lambda version: None,
        )


def says(bench: Workbench, story: Story, minutes: str, *, index: int = 0) -> None:
    usage = story.usage(index, minutes)
    until = usage.window_start + timedelta(days=10)
    bench.metering.windows[story.subscription_id] = [
        WindowSoFar(usage.window_id, index, usage.window_start, usage.window_end, until, usage.totals)
    ]


async def interims(bench: Workbench, tenant: str) -> list[tuple[str, int]]:
    rows = [row for row in await bench.invoices(tenant) if row["document_kind"] == "interim"]
    return sorted((row["status"], row["total_minor"]) for row in rows)


async def usage_minor(bench: Workbench, tenant: str) -> int:
    (row,) = await bench.rows(
        "SELECT coalesce(sum(amount_minor), 0) AS minor FROM charge WHERE tenant = $1 AND kind = 'usage'",
        tenant,
    )
    return int(row["minor"])


async def test_what_has_come_to_the_threshold_is_invoiced_and_looked_at_again(
    bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant)
    await bench.hear(story.started())
    await threshold(bench, story, 500_00)
    says(bench, story, "90")
    assert await bench.run_job(JOB) == 1
    assert await interims(bench, tenant) == []
    says(bench, story, "100")
    assert await bench.run_job(JOB, clock=after(LONG_AFTER, seconds=299)) == 0
    assert await bench.run_job(JOB, clock=after(LONG_AFTER, seconds=301)) == 1
    assert await interims(bench, tenant) == [("finalized", 520_00)]
    await bench.hear(story.renewed(1), story.window_closed(0, "130"))
    assert await usage_minor(bench, tenant) == 130 * 5_20
    assert await bench.what_is_wrong() == []


async def test_by_a_test_clock_usage_is_looked_at_on_each_day(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant, clock="clk_1")
    await bench.hear(story.started(), story.clock_moved(story.boundary(0)))
    await threshold(bench, story, 500_00, now=story.boundary(0))
    says(bench, story, "100")
    assert await bench.run_job(JOB) == 1
    says(bench, story, "300")
    assert await bench.run_job(JOB) == 0  # the clock stands
    await bench.hear(story.clock_moved(story.boundary(0) + timedelta(days=1), version=2))
    assert await bench.run_job(JOB) == 1
    assert await interims(bench, tenant) == [("finalized", 520_00), ("finalized", 1040_00)]


async def test_while_metering_does_not_answer_the_claim_runs_out_and_nothing_is_lost(
    bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant)
    await bench.hear(story.started())
    await threshold(bench, story, 500_00)

    async def down(tenant: str, subscription_id: str) -> Any:
        raise PeerUnavailable("metering did not answer", peer="metering")

    answers, bench.metering.usage_so_far = bench.metering.usage_so_far, down  # type: ignore[method-assign]
    assert await bench.run_job(JOB) == 1
    bench.metering.usage_so_far = answers  # type: ignore[method-assign]
    says(bench, story, "100")
    assert await bench.run_job(JOB) == 0
    assert await bench.run_job(JOB, clock=after(LONG_AFTER, seconds=31)) == 1
    assert await interims(bench, tenant) == [("finalized", 520_00)]


async def test_what_metering_says_of_a_stranger_bills_nobody(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant)
    await bench.hear(story.started(), story.ended(0))
    await threshold(bench, story, 500_00)
    says(bench, story, "100")
    assert await bench.run_job(JOB) == 1
    assert await interims(bench, tenant) == []
    assert await bench.run_job(JOB, clock=after(LONG_AFTER, days=1)) == 0  # it has ended


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 6))])
async def test_workers_at_once_never_charge_twice(own_bench: Workbench, tenant: str, seed: int) -> None:
    """Two that look, one that hears of windows that close; usage grows, and is taken back, between and during."""
    bench, chance = own_bench, random.Random(seed)
    await bench.add_seller(tenant)
    told = [Story(tenant) for _ in range(4)]
    await bench.hear(*(story.started() for story in told))
    for story in told:
        await threshold(bench, story, 100_00)
    final = {story.subscription_id: str(chance.randint(0, 200)) for story in told}

    async def look() -> None:
        for turn in range(7):
            for story in told:
                says(bench, story, str(chance.randint(0, 250)))
            await bench.run_job(JOB, clock=FixedClock(LONG_AFTER + timedelta(seconds=400 * turn)))
            await asyncio.sleep(0)

    async def close() -> None:
        for story in told:
            await asyncio.sleep(chance.random() / 10)
            await bench.hear(story.renewed(1), story.window_closed(0, final[story.subscription_id]))

    await asyncio.gather(look(), look(), close())
    assert await usage_minor(bench, tenant) == sum(int(minutes) * 5_20 for minutes in final.values())
    assert len(await interims(bench, tenant)) >= 1
    assert {row["status"] for row in await bench.invoices(tenant)} <= {"finalized", "paid"}
    assert await bench.failures({tenant}) == []
    assert await bench.what_is_wrong() == []

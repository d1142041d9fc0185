"""Who issues invoices: without a seller drafts wait, and with the first one they do not."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from libs.common.ids import new_id
from tests.integration.billing.workbench import Workbench, after
from tests.support.billing import Story

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_drafts_wait_for_a_seller_and_are_then_finalized(bench: Workbench, tenant: str) -> None:
    story = Story(tenant)
    await bench.hear(story.started(), story.renewed(1), traceparent=TRACE)
    waiting = await bench.invoices(tenant)
    assert [(row["status"], row["status_reason"]) for row in waiting] == [
        ("draft", "no_seller"),
        ("draft", None),
    ]
    finalize, _ = bench.jobs(clock=after(story.boundary(1), days=1))
    await finalize.run_once()
    assert [row["status"] for row in await bench.invoices(tenant)] == ["draft", "draft"]

    await bench.add_seller(tenant)
    await finalize.run_once()
    (first, second) = await bench.invoices(tenant)
    assert (first["status"], first["number"], first["due_at"]) == ("finalized", "INV-000001", None)
    assert first["issued_at"] == story.boundary(1) + timedelta(days=1)
    assert second["status"] == "draft"
    (attempt,) = await bench.attempts(tenant)
    (event,) = await bench.told(tenant)
    for trace in (attempt["traceparent"], event["traceparent"]):
        assert trace.split("-")[1] == TRACE.split("-")[1]

    await bench.hear(story.window_closed(0, "0"))
    assert [row["number"] for row in await bench.invoices(tenant)] == ["INV-000001", "INV-000002"]


async def test_a_test_clocks_draft_is_finalized_in_its_own_time(bench: Workbench, tenant: str) -> None:
    story = Story(tenant, metered=False, clock=new_id("clk"))
    now = story.boundary(0) + timedelta(days=3)
    await bench.hear(story.clock_moved(now), story.started())
    await bench.add_seller(tenant)
    await bench.jobs()[0].run_once()
    (invoice,) = await bench.invoices(tenant)
    assert (invoice["status"], invoice["issued_at"]) == ("finalized", now)


async def test_a_seller_made_while_drafts_are_being_opened_misses_none(bench: Workbench, tenant: str) -> None:
    """Whoever finds no seller is found by him who makes one, also when neither has committed yet."""
    stories = [Story(tenant, metered=False) for _ in range(12)]
    hearing = [asyncio.create_task(bench.hear(story.started())) for story in stories]
    await asyncio.sleep(0.02)
    await asyncio.gather(bench.add_seller(tenant), *hearing)
    await bench.jobs(clock=after(stories[0].boundary(1), days=1))[0].run_once()
    assert [row["status"] for row in await bench.invoices(tenant)] == ["finalized"] * 12


async def test_a_draft_that_found_no_seller_makes_a_new_one_wait(bench: Workbench, tenant: str) -> None:
    story = Story(tenant, metered=False)
    adding: asyncio.Task[object]
    async with bench.open(tenant) as uow:
        assert await uow.sellers.find_default() is None
        adding = asyncio.create_task(bench.add_seller(tenant))
        await asyncio.sleep(0.1)
        assert not adding.done()
        await uow.flush()
    await adding
    await bench.hear(story.started())
    assert (await bench.invoices(tenant))[0]["status"] == "finalized"


async def test_of_two_first_sellers_one_is_the_default(bench: Workbench, tenant: str) -> None:
    await asyncio.gather(*[bench.add_seller(tenant, f"seller-{number}") for number in range(4)])
    sellers = await bench.rows("SELECT is_default FROM seller WHERE tenant = $1", tenant)
    assert sorted(row["is_default"] for row in sellers) == [False, False, False, True]

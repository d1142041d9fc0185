"""Billing runs on the database: counted, stopped, finalized; by workers that die, and by several at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from libs.common.paging import PageRequest
from services.billing.application.decide_billing_run import DecideBillingRun, decide_billing_run
from services.billing.application.start_billing_run import StartBillingRun, start_billing_run
from services.billing.domain.billing_run import BillingRun, RunSettings
from tests.integration.billing.test_batches import statements_of
from tests.integration.billing.workbench import Workbench
from tests.support.billing import Story

UNTIL = datetime(2026, 1, 1, tzinfo=UTC)
FEE = 2_400_00


@pytest.fixture
def bench(own_bench: Workbench) -> Workbench:
    """What the audit finds is theirs alone."""
    return own_bench


async def settings(bench: Workbench, tenant: str, **changes: Any) -> None:
    async with bench.open(tenant) as uow:
        uow.billing_runs.keep_settings(RunSettings(**{"requires_run": True, "version": 1, **changes}))


async def ask(bench: Workbench, tenant: str, *, dry: bool = False, until: datetime = UNTIL) -> str:
    async with bench.open(tenant) as uow:
        run = await start_billing_run(StartBillingRun(until, dry), now=bench.clock.system_now(), uow=uow)
    return run.id


async def decide(bench: Workbench, tenant: str, run_id: str, *, is_approved: bool) -> None:
    async with bench.open(tenant) as uow:
        await decide_billing_run(
            DecideBillingRun(run_id, is_approved),
            now=bench.clock.system_now(),
            uow=uow,
            check_version=lambda version: None,
        )


async def work(bench: Workbench) -> None:
    """Until nothing of any run is due."""
    while await bench.run_job("advance_billing_runs") + await bench.run_job("settle_run_documents"):
        pass


async def standing(bench: Workbench, tenant: str, run_id: str) -> tuple[BillingRun, Mapping[str, int]]:
    async with bench.open(tenant) as uow:
        run = await uow.billing_runs.get(run_id)
        return run, dict((await uow.billing_runs.progress([run_id]))[run_id])


async def run_to_the_end(bench: Workbench, tenant: str) -> BillingRun:
    run_id = await ask(bench, tenant)
    await work(bench)
    return (await standing(bench, tenant, run_id))[0]


async def statuses(bench: Workbench, tenant: str) -> Counter[str]:
    return Counter(row["status"] for row in await bench.invoices(tenant))


async def test_a_run_finalizes_what_waited_for_one(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    await settings(bench, tenant)
    told = [Story(tenant, metered=False) for _ in range(3)]
    await bench.hear(*(story.started() for story in told))
    await bench.run_job("finalize_invoices")
    assert await statuses(bench, tenant) == {"draft": 3}
    run = await run_to_the_end(bench, tenant)
    assert (run.state, run.invoice_count) == ("finished", 3)
    assert [(total.currency, total.total_minor) for total in run.totals] == [("USD", 3 * FEE)]
    assert await statuses(bench, tenant) == {"finalized": 3}
    again = await run_to_the_end(bench, tenant)
    assert (again.state, again.invoice_count, again.totals) == ("finished", 0, ())
    told_of = [row["type"] for row in await bench.told(tenant) if "billing_run" in row["type"]]
    assert len(told_of) == 2
    assert await bench.what_is_wrong() == []


async def test_a_dry_run_counts_and_changes_nothing(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    await settings(bench, tenant)
    told = [Story(tenant, metered=False) for _ in range(3)]
    await bench.hear(*(story.started() for story in told))
    before = await bench.invoices(tenant)
    run_id = await ask(bench, tenant, dry=True)
    await work(bench)
    run, progress = await standing(bench, tenant, run_id)
    assert (run.state, run.totals[0].total_minor, progress) == ("finished", 3 * FEE, {"counted": 3})
    assert await bench.invoices(tenant) == before
    async with bench.open(tenant) as uow:
        listed = await uow.billing_runs.list_documents(run_id, PageRequest(limit=2), state=None)
        rest = await uow.billing_runs.list_documents(
            run_id, PageRequest(limit=2, after=listed.next), state=None
        )
    found = [*listed.items, *rest.items]
    assert {document.invoice_id for document in found} == {row["id"] for row in before}
    assert [(document.total_minor, document.line_count) for document in found] == [(FEE, 1)] * 3


async def test_what_lies_ahead_or_is_incomplete_is_left_out(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    await settings(bench, tenant)
    story, waits = Story(tenant, metered=False), Story(tenant)
    await bench.hear(story.started(), story.renewed(1), waits.started(), waits.renewed(1))
    run_id = await ask(bench, tenant, until=story.boundary(0))
    await work(bench)
    assert (await standing(bench, tenant, run_id))[0].invoice_count == 2
    assert (await run_to_the_end(bench, tenant)).invoice_count == 1
    assert await statuses(bench, tenant) == {"finalized": 3, "draft": 1}


async def test_far_more_than_the_last_time_waits_for_approval(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    await settings(bench, tenant, run_limit_multiple=Decimal(3))
    await bench.hear(Story(tenant, metered=False).started())
    assert (await run_to_the_end(bench, tenant)).state == "finished"
    await bench.hear(*(Story(tenant, metered=False).started() for _ in range(4)))
    run_id = await ask(bench, tenant)
    await work(bench)
    run, progress = await standing(bench, tenant, run_id)
    assert (run.state, progress, run.exceeded[0].last_minor) == ("awaiting_approval", {"counted": 4}, FEE)
    await bench.run_job("finalize_invoices")
    assert (await run_to_the_end(bench, tenant)).invoice_count == 0  # they are the other run's
    assert await statuses(bench, tenant) == {"finalized": 1, "draft": 4}
    await decide(bench, tenant, run_id, is_approved=True)
    await work(bench)
    run, progress = await standing(bench, tenant, run_id)
    assert (run.state, run.decided_by, progress) == ("finished", "token:test", {"finalized": 4})
    told = [row["type"] for row in await bench.told(tenant) if "billing_run" in row["type"]]
    assert len(told) == 5  # finished, awaiting approval, finished (empty), running, finished


async def test_what_was_rejected_waits_for_another_run(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    await settings(bench, tenant, run_limit_multiple=Decimal(3))
    await bench.hear(Story(tenant, metered=False).started())
    await run_to_the_end(bench, tenant)
    await bench.hear(*(Story(tenant, metered=False).started() for _ in range(4)))
    run_id = await ask(bench, tenant)
    await work(bench)
    await decide(bench, tenant, run_id, is_approved=False)
    await work(bench)
    assert (await standing(bench, tenant, run_id))[1] == {"left": 4}
    assert await statuses(bench, tenant) == {"finalized": 1, "draft": 4}
    await settings(bench, tenant, run_limit_multiple=None)
    assert (await run_to_the_end(bench, tenant)).invoice_count == 4
    assert await statuses(bench, tenant) == {"finalized": 5}


async def test_a_document_that_fails_is_told_with_its_reason_and_keeps_nobody_back(
    bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    await settings(bench, tenant)
    told = [Story(tenant, metered=False) for _ in range(3)]
    await bench.hear(*(story.started() for story in told))
    run_id = await ask(bench, tenant)
    await bench.run_job("advance_billing_runs")
    async with bench.admin() as admin:
        broken = await admin.fetchval(
            "UPDATE charge SET price = price - 'currency' WHERE subscription_id = $1 RETURNING invoice_id",
            told[0].subscription_id,
        )
        for _ in range(4):
            await work(bench)
            await admin.execute("UPDATE billing_run_document SET retry_at = NULL WHERE run_id = $1", run_id)
    run, progress = await standing(bench, tenant, run_id)
    assert (run.state, progress) == ("finished", {"finalized": 2, "failed": 1})
    async with bench.open(tenant) as uow:
        failed = await uow.billing_runs.list_documents(run_id, PageRequest(), state="failed")
    assert [(found.invoice_id, bool(found.reason)) for found in failed.items] == [(broken, True)]
    async with bench.admin() as admin:
        price = "price || jsonb_build_object('currency', 'USD')"
        await admin.execute(f"UPDATE charge SET price = {price} WHERE invoice_id = $1", broken)
    assert (await run_to_the_end(bench, tenant)).invoice_count == 1


async def test_workers_at_once_finalize_each_document_once(own_bench: Workbench, tenant: str) -> None:
    bench = own_bench
    await bench.add_seller(tenant)
    await settings(bench, tenant)
    told = [Story(tenant, metered=False) for _ in range(40)]
    await bench.hear(*(story.started() for story in told))
    first, second = await ask(bench, tenant), await ask(bench, tenant)
    await asyncio.gather(*(work(bench) for _ in range(3)))
    await work(bench)
    (one, of_one), (other, of_other) = [await standing(bench, tenant, id) for id in (first, second)]
    assert (one.state, other.state) == ("finished", "finished")
    assert of_one.get("finalized", 0) + of_other.get("finalized", 0) == 40
    assert await statuses(bench, tenant) == {"finalized": 40}
    numbers = sorted(row["number"] for row in await bench.invoices(tenant))
    assert numbers == [f"INV-{number:06}" for number in range(1, 41)]
    assert await bench.what_is_wrong() == []


async def test_a_batch_of_a_run_takes_a_few_statements(own_bench: Workbench, tenant: str) -> None:
    bench = own_bench
    await bench.add_seller(tenant)
    await settings(bench, tenant)
    await bench.hear(*(Story(tenant, metered=False).started() for _ in range(80)))
    run_id = await ask(bench, tenant)
    with statements_of(bench.units.database) as sent:
        await work(bench)
    assert (await standing(bench, tenant, run_id))[0].state == "finished"
    assert len(sent) <= 150, Counter(sent).most_common(5)


@pytest.mark.parametrize("dry", [False, True])
async def test_a_run_that_finds_nothing_is_finished(bench: Workbench, tenant: str, dry: bool) -> None:
    run_id = await ask(bench, tenant, dry=dry)
    await work(bench)
    run, progress = await standing(bench, tenant, run_id)
    assert (run.state, run.invoice_count, progress) == ("finished", 0, {})

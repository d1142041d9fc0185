"""Invoices of one payer and date on one document: whoever comes when, by however many workers at once."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from libs.common.contracts.envelope import Event
from libs.common.contracts.subscriptions import CustomerV1
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.billing_run import RunSettings
from tests.integration.billing.workbench import LONG_AFTER, Workbench, after
from tests.support.billing import Story, a_customer

FEE = 2_400_00  # two aircraft


@pytest.fixture
def bench(own_bench: Workbench) -> Workbench:
    """What the audit finds is theirs alone."""
    return own_bench


async def gathers(bench: Workbench, tenant: str, payer: CustomerV1) -> None:
    async with bench.open(tenant) as uow:
        uow.billing_profiles.add(BillingProfile(payer.customer_id, LONG_AFTER, gathers=True))


def stories(tenant: str, payer: CustomerV1, count: int, **given: Any) -> list[Story]:
    return [Story(tenant, payer=payer, **given) for _ in range(count)]


async def documents(bench: Workbench, tenant: str) -> list[tuple[str, int, int]]:
    """Status, total and number of subscriptions of what is no part of anything else, boundary by boundary."""
    rows = [row for row in await bench.invoices(tenant) if row["status"] != "gathered"]
    told = [(row["boundary_at"], row["status"], row["total_minor"], len(about(row)) or 1) for row in rows]
    return [(status, total, count) for _, status, total, count in sorted(told)]


def about(row: Mapping[str, Any]) -> list[str]:
    """The subscriptions that a gathered document bills."""
    return list(json.loads(row["subscription_ids"]))


async def finalize(bench: Workbench, **later: float) -> None:
    clock = after(LONG_AFTER, **later) if later else None
    await bench.run_job("finalize_invoices", clock=clock)


@pytest.fixture
def payer() -> CustomerV1:
    return a_customer()


async def test_what_falls_due_on_one_date_stands_on_one_invoice(
    bench: Workbench, tenant: str, payer: CustomerV1
) -> None:
    await bench.add_seller(tenant)
    await gathers(bench, tenant, payer)
    three = stories(tenant, payer, 3)
    await bench.hear(*(story.started() for story in three))
    await finalize(bench)
    assert await documents(bench, tenant) == [("finalized", 3 * FEE, 3)]
    first, second, third = three
    await bench.hear(first.renewed(1), first.window_closed(0, "10"), second.renewed(1))
    await finalize(bench)
    assert await documents(bench, tenant) == [
        ("finalized", 3 * FEE, 3),
        ("draft", FEE, 1),  # of the second, whose usage is awaited
        ("draft", FEE + 52_00, 1),  # of the first, while the third has not renewed
    ]
    await bench.hear(second.window_closed(0, "0"), third.window_closed(0, "100"), third.renewed(1))
    await finalize(bench)
    assert await documents(bench, tenant) == [
        ("finalized", 3 * FEE, 3),
        ("finalized", 3 * FEE + 52_00 + 520_00, 3),
    ]
    parts = [row for row in await bench.invoices(tenant) if row["status"] == "gathered"]
    (gathered,) = {row["gathered_into"] for row in parts if row["boundary_at"] == first.boundary(1)}
    (whole,) = [row for row in await bench.invoices(tenant) if row["id"] == gathered]
    assert (len(parts), whole["subscription_id"], whole["customer_id"]) == (6, None, payer.customer_id)
    assert about(whole) == sorted(story.subscription_id for story in three)
    lines = await bench.rows("SELECT subscription_id FROM invoice_line WHERE invoice_id = $1", gathered)
    billed = Counter(row["subscription_id"] for row in lines)
    assert billed == {first.subscription_id: 2, second.subscription_id: 1, third.subscription_id: 2}
    assert await bench.what_is_wrong() == []


async def test_who_does_not_come_is_waited_for_and_then_billed_alone(
    bench: Workbench, tenant: str, payer: CustomerV1
) -> None:
    await bench.add_seller(tenant)
    await gathers(bench, tenant, payer)
    early, late = stories(tenant, payer, 2, metered=False)
    await bench.hear(early.started(), late.started())
    await finalize(bench)
    await bench.hear(early.renewed(1))
    await finalize(bench, hours=1)
    await finalize(bench, hours=24)
    assert (await documents(bench, tenant))[1:] == [("draft", FEE, 1)]
    await finalize(bench, hours=26)
    assert (await documents(bench, tenant))[1:] == [("finalized", FEE, 1)]
    await bench.hear(late.renewed(1))
    await finalize(bench, hours=27)
    assert (await documents(bench, tenant))[1:] == [("finalized", FEE, 1)] * 2
    (_alone,) = [row for row in await bench.invoices(tenant) if row["boundary_at"] == late.boundary(1)][-1:]
    assert await bench.what_is_wrong() == []


async def test_who_ends_is_waited_for_no_longer(bench: Workbench, tenant: str, payer: CustomerV1) -> None:
    await bench.add_seller(tenant)
    await gathers(bench, tenant, payer)
    stays, ends, ended = stories(tenant, payer, 3, metered=False)
    await bench.hear(stays.started(), ends.started(), ended.started())
    await bench.hear(ended.ended(0, at=ended.boundary(0) + timedelta(days=3)))
    await finalize(bench)
    await bench.hear(stays.renewed(1))
    await finalize(bench)
    assert ("draft", FEE, 1) in await documents(bench, tenant)
    await bench.hear(ends.ended(0))
    await finalize(bench)
    assert [row for row in await documents(bench, tenant) if row[0] == "draft"] == []
    assert await bench.what_is_wrong() == []


async def test_other_payers_zones_and_dates_are_other_documents(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    one, other = a_customer(), a_customer()
    await gathers(bench, tenant, one)
    mine = stories(tenant, one, 2, metered=False)
    theirs = stories(tenant, other, 2, metered=False)
    await bench.hear(*(story.started() for story in (*mine, *theirs)))
    await finalize(bench)
    assert sorted(await documents(bench, tenant)) == [
        ("finalized", FEE, 1),
        ("finalized", FEE, 1),
        ("finalized", 2 * FEE, 2),
    ]


async def test_nothing_to_pay_of_all_is_no_invoice(bench: Workbench, tenant: str, payer: CustomerV1) -> None:
    await bench.add_seller(tenant)
    await gathers(bench, tenant, payer)
    two = stories(tenant, payer, 2, quantity="0", metered=False)
    await bench.hear(*(story.started() for story in two))
    await finalize(bench)
    assert [row["status"] for row in await bench.invoices(tenant)].count("skipped") == 1


async def test_a_tenant_that_does_not_wait_gathers_what_has_come(
    bench: Workbench, tenant: str, payer: CustomerV1
) -> None:
    await bench.add_seller(tenant)
    await gathers(bench, tenant, payer)
    async with bench.open(tenant) as uow:
        uow.billing_runs.keep_settings(RunSettings(gathering_hours=0, version=1))
    early, late = stories(tenant, payer, 2, metered=False)
    await bench.hear(early.started(), late.started())
    await bench.hear(early.renewed(1))
    await finalize(bench, seconds=1)
    assert ("draft", FEE, 1) not in await documents(bench, tenant)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 6))])
async def test_workers_at_once_make_one_document_and_lose_nothing(
    own_bench: Workbench, tenant: str, seed: int
) -> None:
    """Two consumers, two schedulers, batches cut anywhere, every event twice: one document for each payer and date."""
    bench, chance = own_bench, random.Random(seed)
    await bench.add_seller(tenant)
    payers = [a_customer() for _ in range(2)]
    for payer in payers:
        await gathers(bench, tenant, payer)
    told = [Story(tenant, payer=payer) for payer in payers for _ in range(6)]
    await bench.hear(*(story.started() for story in told))
    await bench.run_job("finalize_invoices")
    lifecycle: list[Event] = [story.renewed(1) for story in told]
    usage: list[Event] = [story.window_closed(0, "10") for story in told]
    for events in (lifecycle, usage):
        chance.shuffle(events)
    await asyncio.gather(
        _consume(bench, [*lifecycle, *lifecycle], chance),
        _consume(bench, [*usage, *usage], chance),
        *(_finalize_often(bench) for _ in range(2)),
    )
    await bench.run_job("finalize_invoices")
    rows = await bench.invoices(tenant)
    gathered = [row for row in rows if row["subscription_id"] is None]
    assert [(row["status"], row["total_minor"], len(about(row))) for row in gathered] == [
        ("finalized", 6 * FEE, 6)
    ] * 2 + [("finalized", 6 * (FEE + 52_00), 6)] * 2
    parts = Counter(row["gathered_into"] for row in rows if row["status"] == "gathered")
    assert parts == {row["id"]: 6 for row in gathered}
    assert await bench.failures({tenant}) == []
    assert await bench.what_is_wrong() == []


async def _consume(bench: Workbench, events: Sequence[Event], chance: random.Random) -> None:
    left = list(events)
    while left:
        size = chance.randint(1, 6)
        batch, left = left[:size], left[size:]
        await bench.hear(*batch)


async def _finalize_often(bench: Workbench) -> None:
    for _ in range(25):
        await bench.run_job("finalize_invoices")
        await asyncio.sleep(0.01)

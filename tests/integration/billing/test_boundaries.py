"""From what billing hears to invoices: whatever the order, however often, and however much at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import permutations
from typing import Any

import pytest

from libs.common.contracts.envelope import Event
from services.billing.entrypoints.event_handlers import on_subscription_started
from tests.integration.billing.workbench import Workbench, delivered
from tests.support.billing import GRACE, Story, a_customer
from tests.support.service_under_test import new_tenant

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def standing(bench: Workbench, tenant: str) -> list[tuple[str, int, str | None]]:
    return [(row["status"], row["total_minor"], row["number"]) for row in await bench.invoices(tenant)]


async def test_a_year_of_a_subscription_in_short(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant)
    await bench.hear(story.started())
    await bench.hear(story.renewed(1))
    await bench.hear(story.window_closed(0, "120000"))
    await bench.hear(story.ended(1))
    await bench.hear(story.window_closed(1, "0"))
    assert await standing(bench, tenant) == [
        ("finalized", 240000, "INV-000001"),
        ("finalized", 240000 + 520000_00 + 95000_00, "INV-000002"),
        ("skipped", 0, None),
    ]
    assert await bench.lines(tenant) == [
        ("Aircraft", 240000),
        ("Flying minutes", 520000_00),
        ("Flying minutes", 95000_00),
        ("Aircraft", 240000),
    ]
    told = [row["type"].rsplit(".", 3)[1:3] for row in await bench.told(tenant)]
    assert told == [["invoice", "finalized"]] * 2


async def test_an_invoice_waits_for_the_usage_behind_it(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant)
    await bench.hear(story.started(), story.renewed(1))
    assert await standing(bench, tenant) == [("finalized", 240000, "INV-000001"), ("draft", 240000, None)]
    await bench.hear(story.window_closed(0, "10"))
    (_, second) = await bench.invoices(tenant)
    assert (second["status"], second["total_minor"]) == ("finalized", 245200)
    assert second["issued_at"] == story.boundary(1) + GRACE
    assert second["due_on"] == date(2025, 2, 15)


# Every seventeenth of all orders; the use cases are told all 120 in memory.
ORDERS = list(permutations(("started", "renewed", "closed", "ended", "last")))[::17]


def told_by(story: Story, word: str) -> Event:
    return {
        "started": story.started(),
        "renewed": story.renewed(1),
        "closed": story.window_closed(0, "1000.5"),
        "ended": story.ended(1, at=story.boundary(1) + timedelta(days=9, hours=5)),
        "last": story.window_closed(1, "7", at=story.boundary(1) + timedelta(days=9, hours=5)),
    }[word]


async def documents(bench: Workbench, tenant: str) -> list[Any]:
    """All of every document but its number, which depends on who comes first."""
    hidden = {"tenant", "id", "subscription_id", "customer_id", "number", "seller", "seller_id", "customer"}
    hidden |= {"version", "traceparent", "group_id", "subscription_ids"}
    found = await bench.invoices(tenant)
    plain = [{name: row[name] for name in row.keys() - hidden} for row in found]
    return [plain, await bench.lines(tenant)]


async def test_order_does_not_matter(bench: Workbench) -> None:
    """Half of the orders come in one batch, half one by one; some events are told twice."""
    expected: list[Any] | None = None
    for number, order in enumerate(ORDERS):
        tenant = new_tenant()
        await bench.add_seller(tenant)
        story = Story(tenant)
        messages = [delivered(told_by(story, word)) for word in order]
        messages.append(messages[number % 5])  # a redelivery
        messages.append(delivered(told_by(story, order[0])))  # said again, as another message
        if number % 2:
            await bench.hear_deliveries(messages)
        else:
            for message in messages:
                await bench.hear_deliveries([message])
        assert await bench.failures({tenant}) == []
        found = await documents(bench, tenant)
        expected = expected or found
        assert found == expected, order
        assert [row["status"] for row in await bench.invoices(tenant)] == ["finalized"] * 3
        numbers = sorted(row["number"] for row in await bench.invoices(tenant))
        assert numbers == ["INV-000001", "INV-000002", "INV-000003"]
        assert len(await bench.told(tenant)) == 3


async def hear_at_once(bench: Workbench, *batches: Sequence[Event]) -> None:
    await asyncio.gather(*[bench.hear_deliveries([delivered(event) for event in b]) for b in batches])


@pytest.mark.parametrize("known_before", [False, True])
async def test_a_boundary_and_its_window_at_the_same_moment(bench: Workbench, known_before: bool) -> None:
    """Neither may miss the other's effect and leave the draft waiting for ever; not even the first of all."""
    tenant = new_tenant()
    await bench.add_seller(tenant)
    stories = [Story(tenant) for _ in range(12)]
    if known_before:
        await bench.hear(*[story.started() for story in stories])
    await hear_at_once(
        bench,
        *[[story.renewed(1)] for story in stories],
        *[[story.window_closed(0, "10")] for story in stories],
        *[[story.renewed(1)] for story in stories],
    )
    assert await bench.failures({tenant}) == []
    renewals = [row for row in await bench.invoices(tenant) if row["period_index"] == 1]
    assert [(row["status"], row["total_minor"]) for row in renewals] == [("finalized", 245200)] * 12


async def test_eight_at_once_take_each_number_once(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    batches = [[Story(tenant, metered=False) for _ in range(5)] for _ in range(8)]
    await hear_at_once(bench, *[[story.started() for story in batch] for batch in batches])
    numbers = sorted(row["number"] for row in await bench.invoices(tenant))
    assert numbers == [f"INV-{ordinal:06d}" for ordinal in range(1, 41)]


class SomebodyStumbled(Exception):
    pass


async def test_a_transaction_that_rolls_back_takes_no_number(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)

    async def finalize(story: Story, *, fails: bool) -> None:
        async with bench.open(tenant) as uow:
            await on_subscription_started(story.started(), uow)
            await uow.flush()  # the number is taken
            await asyncio.sleep(0.01)
            if fails:
                raise SomebodyStumbled

    stories = [Story(tenant, metered=False) for _ in range(24)]
    results = await asyncio.gather(
        *[finalize(story, fails=number % 3 == 0) for number, story in enumerate(stories)],
        return_exceptions=True,
    )
    assert sum(isinstance(result, SomebodyStumbled) for result in results) == 8
    assert [result for result in results if result and not isinstance(result, SomebodyStumbled)] == []
    numbers = sorted(row["number"] for row in await bench.invoices(tenant))
    assert numbers == [f"INV-{ordinal:06d}" for ordinal in range(1, 17)]
    await bench.hear(stories[0].started())
    assert (await bench.invoices(tenant))[-1]["number"] is not None


async def test_each_clock_has_numbers_of_its_own(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    for clock in (None, "clk_1", "clk_2"):
        stories = [Story(tenant, metered=False, clock=clock) for _ in range(2)]
        await bench.hear(*[story.started() for story in stories])
    numbered = sorted((row["series"], row["number"]) for row in await bench.invoices(tenant))
    series = ("clk_1", "clk_2", "main")
    assert numbered == [(name, number) for name in series for number in ("INV-000001", "INV-000002")]


async def test_several_tenants_in_one_batch(bench: Workbench) -> None:
    tenants = [new_tenant() for _ in range(3)]
    for tenant in tenants:
        await bench.add_seller(tenant)
    await bench.hear(*[Story(tenant, metered=False).started() for _ in range(2) for tenant in tenants])
    for tenant in tenants:
        assert {row["number"] for row in await bench.invoices(tenant)} == {"INV-000001", "INV-000002"}


async def test_nothing_to_pay_gives_no_invoice(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant, quantity=None)
    await bench.hear(story.started(), story.renewed(1), story.window_closed(0, "0"))
    assert [(row["status"], row["status_reason"]) for row in await bench.invoices(tenant)] == [
        ("skipped", "nothing_due"),
        ("skipped", "nothing_due"),
    ]
    assert await bench.attempts(tenant) == []
    assert await bench.told(tenant) == []


async def test_an_agreement_that_never_began_owes_nothing(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant)
    await bench.hear(story.changed(1), story.never_began())
    assert await bench.invoices(tenant) == []


@pytest.mark.parametrize("end_first", [False, True])
async def test_an_end_at_the_instant_of_a_boundary_leaves_that_boundary_alone(
    bench: Workbench, tenant: str, end_first: bool
) -> None:
    """The last period has no length; its window must not be taken for the one that the draft waits for."""
    await bench.add_seller(tenant)
    story = Story(tenant)
    await bench.hear(story.started())
    at = story.boundary(1)
    events = [story.renewed(1), story.ended(1, at=at)]
    await bench.hear(*(reversed(events) if end_first else events))
    await bench.hear(story.window_closed(1, "0", at=at))
    assert (await bench.invoices(tenant))[1]["status"] == "draft"
    await bench.hear(story.window_closed(0, "10"))
    assert [row[:2] for row in await standing(bench, tenant)] == [
        ("finalized", 240000),
        ("finalized", 245200),
    ]


async def test_a_period_that_is_cut_is_charged_by_the_day(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False, ends_on=date(2025, 2, 11))
    await bench.hear(story.started(), story.renewed(1))
    (whole, cut) = await bench.invoices(tenant)
    assert (whole["total_minor"], cut["total_minor"]) == (240000, 85714)  # 2400.00 * 10/28
    (line,) = await bench.rows("SELECT * FROM invoice_line WHERE invoice_id = $1", cut["id"])
    assert (line["service_start_on"], line["service_end_on"]) == (date(2025, 2, 1), date(2025, 2, 11))
    assert str(line["quantity"]) == "0.714286"
    assert line["formula"] == "2 * 1200 * 5/14 ≈ 857.14 USD"


async def test_a_cut_usage_window_is_billed_at_the_end(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant)
    at = story.boundary(0) + timedelta(days=9, hours=7)
    await bench.hear(story.started(), story.ended(0, at=at), story.window_closed(0, "100", at=at))
    (_, last) = await bench.invoices(tenant)
    assert (last["status"], last["total_minor"], last["boundary_at"]) == ("finalized", 52000, at)


async def test_a_customer_stands_on_the_invoice_as_the_boundary_found_him(
    bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant)
    await bench.hear(story.started(), story.renewed(1))
    story.customer = a_customer(
        customer_id=story.customer.customer_id, customer_version=2, name="Cloudhop Renamed"
    )
    await bench.know_customer(story)
    await bench.hear(story.changed(9), story.window_closed(0, "1"))
    await bench.hear(story.renewed(2), story.window_closed(1, "1"))
    names = await bench.rows(
        "SELECT customer->>'name' AS name FROM invoice WHERE tenant = $1 ORDER BY boundary_at", tenant
    )
    assert [row["name"] for row in names] == ["Cloudhop", "Cloudhop", "Cloudhop Renamed"]


async def test_usage_of_what_is_not_agreed_is_not_lost(bench: Workbench, tenant: str) -> None:
    """It fails alone, for an operator to see; its neighbours go on."""
    await bench.add_seller(tenant)
    story, other = Story(tenant), Story(tenant)
    await bench.hear(story.started(), story.renewed(1), other.started(), other.renewed(1))
    story.minutes_item = "itm_of_nobody"
    await bench.hear_deliveries(
        [delivered(story.window_closed(0, "5")), delivered(other.window_closed(0, "5"))]
    )
    (error,) = await bench.failures({tenant})
    assert "UsageOfUnknownItem" in error
    invoices = await bench.invoices(tenant)
    drafts = [row["subscription_id"] for row in invoices if row["status"] == "draft"]
    assert drafts == [story.subscription_id]


@pytest.mark.parametrize("correction_first", [False, True])
async def test_corrections_are_kept_and_change_nothing_that_was_issued(
    bench: Workbench, tenant: str, correction_first: bool
) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant)
    await bench.hear(story.started(), story.renewed(1))
    second = story.usage_corrected(0, "12", "15", revision=2).model_copy(
        update={"policy": "note_at_once", "is_billable": False}
    )
    events: list[Event] = [story.window_closed(0, "10"), second, story.usage_corrected(0, "10", "12")]
    await bench.hear(*(reversed(events) if correction_first else events))
    kept = await bench.rows("SELECT * FROM corrected_window WHERE tenant = $1 ORDER BY revision", tenant)
    assert [(row["revision"], row["policy"], row["is_billable"]) for row in kept] == [
        (1, "next_invoice", True),
        (2, "note_at_once", False),
    ]
    assert (await standing(bench, tenant))[1][:2] == ("finalized", 245200 + 1040 * correction_first)


async def test_everything_of_a_renewal_carries_its_trace(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    story = Story(tenant)
    await bench.hear(story.started())
    await bench.hear(story.renewed(1), story.window_closed(0, "10"), traceparent=TRACE)
    (_, invoice) = await bench.invoices(tenant)
    (_, attempt) = await bench.attempts(tenant)
    (_, event) = await bench.told(tenant)
    traces = [invoice["traceparent"], attempt["traceparent"], event["traceparent"]]
    assert {trace and trace.split("-")[1] for trace in traces} == {TRACE.split("-")[1]}


async def test_every_change_says_what_made_it(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    await bench.hear_deliveries([delivered(Story(tenant, metered=False).started(), id="evt_1")])
    made = await bench.rows(
        "SELECT actor, action FROM change_log WHERE tenant = $1 ORDER BY position", tenant
    )
    assert [(row["actor"], row["action"]) for row in made] == [
        ("token:test", "seller.created"),
        ("event:evt_1", "invoice.opened"),
        ("event:evt_1", "invoice.finalized"),
    ]

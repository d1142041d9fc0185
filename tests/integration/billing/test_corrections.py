"""Usage that is put right after it was billed, on a real database: in any order, many at once, by workers at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest

from libs.common.contracts.catalog import PriceTierV1
from libs.common.contracts.envelope import Event
from libs.common.contracts.metering import TrueUpV1, UsageCorrectedV1, UsageTotalV1
from libs.common.contracts.subscriptions import (
    PeriodTermsV1,
    SubscriptionChangedV1,
    SubscriptionItemV1,
    TermSegmentV1,
)
from libs.common.money import Money
from libs.common.persistence.audit import AuditReport
from services.billing.application.issue_credit_note import IssueCreditNote, issue_credit_note
from services.billing.domain.credit_note import WantedCredit
from tests.integration.billing.test_batches import BATCH, statements_to_hear
from tests.integration.billing.workbench import Workbench
from tests.support.billing import FEE, MINUTES, Story
from tests.support.service_under_test import new_tenant

BY_VOLUME = MINUTES.model_copy(
    update={
        "model": "volume",
        "tiers": (
            PriceTierV1(up_to=Decimal(100), unit_amount=Decimal(10)),
            PriceTierV1(unit_amount=Decimal(9)),
        ),
    }
)


def a_story(tenant: str, price: Any = BY_VOLUME) -> Story:
    """Minutes alone, at this price."""
    story = Story(tenant, quantity=None)
    story.items = [SubscriptionItemV1(item_id=story.minutes_item, price=price)]
    return story


def corrected(
    story: Story, revision: int, before: str, after: str, *, index: int = 0, **changes: Any
) -> UsageCorrectedV1:
    told = story.usage_corrected(index, before, after, revision=revision)
    return told.model_copy(update=changes)


async def documents(bench: Workbench, tenant: str) -> list[tuple[str, str, int]]:
    found = await bench.rows(
        """SELECT document_kind, status, total_minor FROM invoice
           WHERE tenant = $1 ORDER BY boundary_at, document_kind DESC""",
        tenant,
    )
    return [(row["document_kind"], row["status"], row["total_minor"]) for row in found]


async def charged(bench: Workbench, tenant: str) -> int:
    (row,) = await bench.rows(
        "SELECT sum(amount_minor)::bigint AS minor FROM charge WHERE tenant = $1", tenant
    )
    return int(row["minor"])


def problems(report: AuditReport) -> dict[str, Sequence[str]]:
    """But for money that nobody collected here."""
    return {
        check.name: check.problems
        for check in report.checks
        if not check.ok and check.name != "payments_are_not_overdue"
    }


async def test_the_difference_stands_on_the_next_invoice_and_names_the_line_it_corrects(
    bench: Workbench, tenant: str
) -> None:
    story = a_story(tenant)
    await bench.add_seller(tenant)
    await bench.hear(story.started(), story.renewed(1), story.window_closed(0, "90"))
    late = corrected(story, 1, "90", "120")
    await bench.hear(late, late)
    (waiting,) = await bench.rows("SELECT * FROM charge WHERE tenant = $1 AND invoice_id IS NULL", tenant)
    assert (waiting["revision"], waiting["amount_minor"], waiting["quantity_before"]) == (1, 18000, 90)
    await bench.hear(story.renewed(2), story.window_closed(1, "1"))
    assert await documents(bench, tenant) == [
        ("invoice", "skipped", 0),
        ("invoice", "finalized", 90000),
        ("invoice", "finalized", 19000),
    ]
    lines = await bench.rows(
        "SELECT * FROM invoice_line WHERE tenant = $1 ORDER BY service_start_on, corrects_line_id NULLS FIRST",
        tenant,
    )
    assert [(line["corrects_line_id"], line["amount_minor"]) for line in lines] == [
        (None, 90000),
        (lines[0]["id"], 18000),
        (None, 1000),
    ]


@pytest.mark.parametrize("order", list(permutations(range(5)))[::23])
async def test_in_whatever_order_it_is_told_of_the_same_is_billed(
    bench: Workbench, tenant: str, order: Sequence[int]
) -> None:
    """The second correction came too late to be billed: it stays out, and the third goes on from it."""
    await bench.add_seller(tenant)
    story = a_story(tenant)
    news: list[Event] = [
        story.renewed(1),
        story.window_closed(0, "90"),
        corrected(story, 1, "90", "120"),
        corrected(story, 2, "120", "150", is_billable=False),
        corrected(story, 3, "150", "155", policy="note_at_once"),
    ]
    await bench.hear(story.started())
    for place in order:
        await bench.hear(news[place])
    await bench.hear(story.renewed(2))
    assert await charged(bench, tenant) == 125 * 900


async def test_workers_at_once_bill_each_difference_once(bench: Workbench) -> None:
    """Renewals, windows and corrections of the same subscriptions, each in a batch of its own, and all of it twice."""
    tenants = [new_tenant() for _ in range(3)]
    stories = []
    for tenant in tenants:
        await bench.add_seller(tenant)
        stories += [a_story(tenant) for _ in range(4)]
    await bench.hear(*[story.started() for story in stories])
    batches = [
        [story.renewed(1) for story in stories],
        [story.window_closed(0, "90") for story in stories],
        [corrected(story, 1, "90", "120", policy="note_at_once") for story in stories],
        [corrected(story, 2, "120", "50") for story in reversed(stories)],
        [story.renewed(2) for story in reversed(stories)],
    ]
    await asyncio.gather(*(bench.hear(*batch) for batch in [*batches, *batches]))
    await bench.hear(*[story.renewed(3) for story in stories])  # what waits for the next invoice finds one
    for tenant in tenants:
        assert await charged(bench, tenant) == 4 * 50 * 1000
        found = await bench.rows(
            """SELECT c.id FROM charge c JOIN invoice i ON i.id = c.invoice_id
               WHERE c.tenant = $1 AND c.amount_minor <> 0""",
            tenant,
        )
        whole = await bench.rows("SELECT id FROM charge WHERE tenant = $1 AND amount_minor <> 0", tenant)
        assert {row["id"] for row in found} == {row["id"] for row in whole}


async def test_a_batch_of_notes_takes_a_few_statements(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    stories = [a_story(tenant) for _ in range(BATCH)]
    await bench.hear(
        *[told for s in stories for told in (s.started(), s.renewed(1), s.window_closed(0, "90"))]
    )
    notes = [corrected(story, 1, "90", "120", policy="note_at_once") for story in stories]
    taken = await statements_to_hear(bench, *notes)
    assert len(taken) < BATCH // 2, "\n".join(taken)
    found = await documents(bench, tenant)
    assert found.count(("correction", "finalized", 18000)) == BATCH


async def dearer_in_the_past(bench: Workbench, tenant: str) -> None:
    """In February, January's price becomes another one."""
    story = a_story(tenant)
    await bench.add_seller(tenant)
    await bench.hear(story.started(), story.renewed(1), story.window_closed(0, "120"))
    dear = BY_VOLUME.model_copy(
        update={"id": "prc_dear", "model": "per_unit", "tiers": (), "unit_amount": Decimal(11)}
    )
    period = story.period(0)
    segment = TermSegmentV1(
        item_id=story.minutes_item,
        price=dear,
        quantity=None,
        start_on=period.start_on,
        end_on=period.end_on,
        start=period.start,
        end=period.end,
    )
    story.items = [SubscriptionItemV1(item_id=story.minutes_item, price=dear)]
    at = story.boundary(1) + timedelta(days=9)
    changed = SubscriptionChangedV1(
        tenant=tenant,
        version=7,
        occurred_at=at,
        subscription=story.snapshot(),
        terms=(PeriodTermsV1(period=period, segments=(segment,)),),
        settles_at=at,
    )
    await bench.hear(changed, changed)


async def test_usage_is_rated_again_by_terms_with_effect_in_the_past(bench: Workbench, tenant: str) -> None:
    await dearer_in_the_past(bench, tenant)
    assert await charged(bench, tenant) == 120 * 1100
    assert await documents(bench, tenant) == [
        ("invoice", "skipped", 0),
        ("invoice", "finalized", 108000),
        ("change", "finalized", 132000 - 108000),
    ]
    by_price = await bench.rows(
        "SELECT price_id, sum(amount_minor)::bigint AS minor FROM charge WHERE tenant = $1 GROUP BY 1 ORDER BY 1",
        tenant,
    )
    assert [(row["price_id"], row["minor"]) for row in by_price] == [("prc_dear", 132000), ("prc_minutes", 0)]


WASH_FEE = FEE.model_copy(
    update={
        "unit_amount": Decimal("19.95"),
        "timing": "arrears",
        "tax_behavior": "inclusive",
        "description": "Washer",
    }
)
WASHES = MINUTES.model_copy(
    update={
        "model": "per_unit",
        "tiers": (),
        "unit_amount": Decimal("0.95"),
        "included_quantity": Decimal(12),
        "tax_behavior": "inclusive",
        "description": "Washes",
    }
)


async def estimated_and_read(bench: Workbench, tenant: str) -> None:
    """Pay per wash: 16 are estimated, 12 are free; in both months it was 25, of which 24 are: 3 of 4 are given back."""
    await bench.add_seller(tenant)
    story = Story(tenant, quantity="1", fee=WASH_FEE)
    story.items[1] = SubscriptionItemV1(item_id=story.minutes_item, price=WASHES)
    total = UsageTotalV1(
        item_id=story.minutes_item,
        meter="washes",
        quantity=Decimal(16),
        event_count=1,
        estimated_quantity=Decimal(16),
    )
    may = story.window_closed(0).model_copy(update={"totals": (total,)})
    true_up = TrueUpV1(
        subject="washer",
        start=story.period(0).start,
        end=story.period(1).end,
        actual_quantity=Decimal(25),
        estimated_quantity=Decimal(16),
    )
    read = total.model_copy(
        update={"quantity": Decimal(9), "estimated_quantity": Decimal(0), "true_ups": (true_up,)}
    )
    june = story.window_closed(1).model_copy(update={"totals": (read,)})
    await bench.hear(story.started(), story.renewed(1), may, story.renewed(2), june)


async def test_a_reading_puts_right_what_was_estimated(bench: Workbench, tenant: str) -> None:
    await estimated_and_read(bench, tenant)
    lines = await bench.rows(
        """SELECT l.description, l.quantity, l.amount_minor, l.corrects_line_id, i.total_minor, l.id, l.formula
           FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id
           WHERE l.tenant = $1 ORDER BY i.boundary_at, l.description""",
        tenant,
    )
    assert [
        (line["description"], line["quantity"], line["amount_minor"], line["total_minor"]) for line in lines
    ] == [
        ("Washer", 1, 1995, 2375),
        ("Washes", 4, 380, 2375),
        ("Washer", 1, 1995, 1710),
        ("Washes", -3, -285, 1710),
    ]
    assert lines[3]["corrects_line_id"] == lines[1]["id"]
    assert lines[1]["formula"].endswith("16 of it estimated")
    assert lines[3]["formula"].startswith("2 periods together, 25: after 24 included")


async def test_what_a_credit_note_gave_back_is_not_given_back_again(bench: Workbench, tenant: str) -> None:
    """90 were billed at 10, and 400.00 of it credited; then all of it is voided: what is left is 500.00."""
    await bench.add_seller(tenant)
    story = a_story(tenant)
    await bench.hear(story.started(), story.renewed(1), story.window_closed(0, "90"))
    (billed,) = [row for row in await bench.invoices(tenant) if row["total_minor"]]
    async with bench.open(tenant) as uow:
        wanted = WantedCredit(amount=Money(40000, "USD"))
        command = IssueCreditNote(billed["id"], wanted, "goodwill", story.boundary(1))
        await issue_credit_note(command, uow=uow)
    await bench.hear(corrected(story, 1, "90", "0", policy="note_at_once"))
    assert (await documents(bench, tenant))[-1] == ("correction", "paid", -50000)


async def test_the_audit_finds_nothing_to_say(own_bench: Workbench) -> None:
    bench, tenant = own_bench, new_tenant()
    story, waiting = a_story(tenant), a_story(tenant)
    await bench.add_seller(tenant)
    for one in (story, waiting):
        await bench.hear(one.started(), one.renewed(1), one.window_closed(0, "90"))
    await bench.hear(corrected(story, 1, "90", "120", policy="note_at_once"))
    await bench.hear(corrected(story, 2, "120", "121", is_billable=False), corrected(waiting, 1, "90", "95"))
    await dearer_in_the_past(bench, new_tenant())
    await estimated_and_read(bench, new_tenant())
    assert problems(await bench.audit()) == {}

"""Changes as billing hears of them, on a real database: terms are kept, charged once, and audited."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from libs.common.contracts.metering import UsageTotalV1
from libs.common.contracts.subscriptions import (
    BillingPeriodV1,
    FeeV1,
    PeriodTermsV1,
    ProrationMethod,
    SubscriptionChangedV1,
    SubscriptionPausedV1,
    SubscriptionScheduledV1,
    TermSegmentV1,
)
from libs.common.money import Money
from libs.common.periods import local_date
from libs.common.persistence.outage import is_outage
from tests.integration.billing.test_batches import BATCH, STATEMENTS_MAX, statements_to_hear
from tests.integration.billing.workbench import Workbench, after
from tests.support.billing import FEE, MINUTES, ZONE, Story, a_customer

OTHER = MINUTES.model_copy(update={"id": "prc_other", "code": "other", "tiers": (), "model": "per_unit"})
DEARER = OTHER.model_copy(update={"unit_amount": Decimal(7)})


def segment(
    story: Story,
    period: BillingPeriodV1,
    quantity: str | None,
    *,
    days: tuple[int, int | None] = (0, None),
    price: Any = FEE,
    item: str | None = None,
    ends: ProrationMethod | None = None,
) -> TermSegmentV1:
    """From one day of the period until another; to its end where that is None."""
    start = period.start + timedelta(days=days[0])
    end = period.end if days[1] is None else period.start + timedelta(days=days[1])
    return TermSegmentV1(
        item_id=item or story.fee_item,
        price=price,
        quantity=None if quantity is None else Decimal(quantity),
        start_on=local_date(start, ZONE),
        end_on=local_date(end, ZONE),
        start=start,
        end=end,
        end_proration=ends,
    )


def terms(story: Story, index: int, *segments: TermSegmentV1, **changes: Any) -> PeriodTermsV1:
    return PeriodTermsV1(period=story.period(index), segments=segments, **changes)


def grown(story: Story, index: int) -> PeriodTermsV1:
    """Two aircraft, and four from the eleventh day on."""
    period = story.period(index)
    metered = [segment(story, period, None, price=MINUTES, item=story.minutes_item)]
    return terms(
        story,
        index,
        segment(story, period, "2", days=(0, 10)),
        segment(story, period, "4", days=(10, None)),
        *(metered if len(story.items) > 1 else []),
    )


def a_fee(story: Story) -> FeeV1:
    return FeeV1(
        fee_id=f"fee_{story.subscription_id}",
        kind="pause",
        description="Pause",
        amount=Decimal("7.50"),
        service_start_on=date(2025, 1, 11),
        service_end_on=date(2025, 1, 12),
    )


def changed(
    story: Story, version: int, *told: PeriodTermsV1, kind: Any = SubscriptionChangedV1, **more: Any
) -> Any:
    at = story.boundary(0) + timedelta(days=10)
    return kind(
        tenant=story.tenant,
        version=version,
        occurred_at=at,
        test_clock=story.clock,
        subscription=story.snapshot(),
        terms=told,
        **more,
    )


async def charges(bench: Workbench, tenant: str) -> list[tuple[str, int, int, int]]:
    found = await bench.rows(
        "SELECT kind, period_index, revision, amount_minor FROM charge WHERE tenant = $1 ORDER BY 1, 2, 3",
        tenant,
    )
    return [(row["kind"], row["period_index"], row["revision"], row["amount_minor"]) for row in found]


async def assert_audited(bench: Workbench) -> None:
    report = await bench.audit()
    problems = {check.name: check.problems for check in report.checks if check.problems}
    assert {name for name in problems if "charge" in name or "rated" in name or "line" in name} == set()


async def test_a_change_is_kept_and_charged_with_the_next_boundary(own_bench: Workbench, tenant: str) -> None:
    bench = own_bench
    await bench.add_seller(tenant)
    story = Story(tenant)
    change = changed(story, 2, grown(story, 0))
    await bench.hear(story.started(), change)
    (kept,) = await bench.rows("SELECT * FROM period_terms WHERE tenant = $1", tenant)
    assert (kept["version"], kept["is_settled"]) == (2, False)
    await bench.hear(story.renewed(1).model_copy(update={"version": 3, "terms": (grown(story, 0),)}))
    await bench.hear(changed(story, 1, terms(story, 0)))  # an old story
    await bench.hear(story.window_closed(0, "10"), change)
    assert await charges(bench, tenant) == [
        ("advance", 0, 0, 240000),
        ("advance", 0, 1, 162581),
        ("advance", 1, 0, 240000),
        ("usage", 0, 0, 5200),
    ]
    (kept,) = await bench.rows("SELECT * FROM period_terms WHERE tenant = $1", tenant)
    assert (kept["version"], kept["is_settled"]) == (3, True)
    assert await bench.lines(tenant) == [
        ("Aircraft", 240000),
        ("Flying minutes", 5200),
        ("Aircraft", 162581),
        ("Aircraft", 240000),
    ]
    await assert_audited(bench)


async def test_usage_of_each_price_and_a_price_that_counts_on(own_bench: Workbench, tenant: str) -> None:
    bench = own_bench
    await bench.add_seller(tenant)
    story = Story(tenant, quantity=None)
    period = story.period(0)
    told = terms(
        story,
        0,
        segment(story, period, None, price=MINUTES, item=story.minutes_item, days=(0, 10)),
        segment(story, period, None, price=DEARER, item=story.minutes_item, days=(10, None)),
    )
    await bench.hear(
        story.started(), changed(story, 2, told), story.renewed(1).model_copy(update={"version": 3})
    )
    totals = tuple(
        UsageTotalV1(
            item_id=story.minutes_item,
            meter="flying-minutes",
            quantity=Decimal(n),
            event_count=1,
            price_id=price,
        )
        for price, n in ((MINUTES.id, "10"), (DEARER.id, "3"))
    )
    await bench.hear(story.window_closed(0).model_copy(update={"totals": totals}))
    assert sorted(await bench.lines(tenant)) == [("Flying minutes", 2100), ("Flying minutes", 5200)]
    await assert_audited(bench)


async def test_a_document_for_a_change_a_pause_and_what_waited(own_bench: Workbench, tenant: str) -> None:
    """In one batch, with everything told twice."""
    bench = own_bench
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False, payer=a_customer())
    at = story.boundary(0) + timedelta(days=10)
    period = story.period(0)
    paused = terms(
        story, 0, segment(story, period, "2", days=(0, 10)), segment(story, period, "4", days=(20, None))
    )
    events = [
        changed(story, 1, kind=SubscriptionScheduledV1),
        story.started().model_copy(update={"version": 2}),
        changed(story, 3, grown(story, 0), settles_at=at),
        changed(story, 4, paused, kind=SubscriptionPausedV1, fees=(a_fee(story),)),
        story.renewed(1).model_copy(update={"version": 5}),
    ]
    await bench.hear(*events)
    await bench.hear(*events)
    documents = [
        (row["document_kind"], row["issue"], row["total_minor"]) for row in await bench.invoices(tenant)
    ]
    assert documents == [("invoice", 1, 240000), ("change", 3, 162581), ("invoice", 1, 240000 - 154839 + 750)]
    assert {row["customer_id"] for row in await bench.invoices(tenant)} == {
        story.payer.customer_id if story.payer else None
    }
    await assert_audited(bench)


async def test_an_invoice_of_an_earlier_release_is_paid(own_bench: Workbench, tenant: str) -> None:
    """What it says of its customer was written in another way, and is final."""
    bench = own_bench
    await bench.add_seller(tenant)
    story = Story(tenant, metered=False)
    await bench.hear(story.started())
    await bench.add_method(story)
    async with bench.admin() as admin:
        await admin.execute("SET session_replication_role = replica")
        await admin.execute(
            """UPDATE invoice SET customer = customer || '{"email": null, "external_id": null, "country": null}'"""
        )
    await bench.collect(clock=after(story.boundary(0), minutes=1))
    assert [row["status"] for row in await bench.invoices(tenant)] == ["paid"]


async def test_an_error_of_the_database_is_not_its_own_cause(bench: Workbench, tenant: str) -> None:
    """Whoever asks what an error came from would ask for ever."""
    story = Story(tenant, metered=False)
    (charge,) = story.ahead(0, now=story.boundary(0))
    beyond = replace(charge, quantity_before=Decimal(3), is_end=True, amount=Money(-1, "USD"))
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        async with bench.open(tenant) as uow:
            uow.charges.add(beyond)
    assert refused.value.__cause__ is not refused.value
    assert not is_outage(refused.value)


async def test_the_database_refuses_a_credit_beyond_what_was_charged(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    await bench.hear(Story(tenant, metered=False).started())
    async with bench.admin() as admin:
        with pytest.raises(asyncpg.CheckViolationError, match="exceeds what was charged"):
            await admin.execute(
                """INSERT INTO charge SELECT (jsonb_populate_record(c, jsonb_build_object(
                       'id', 'chg_more', 'revision', 1, 'quantity_before', 2, 'is_end', true,
                       'amount_minor', -240001))).* FROM charge c WHERE tenant = $1""",
                tenant,
            )


async def test_a_batch_of_changes_takes_a_few_statements(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant)
    stories = [Story(tenant) for _ in range(BATCH)]
    at = stories[0].boundary(0) + timedelta(days=10)
    await bench.hear(*[story.started() for story in stories])
    taken = {
        "change": await statements_to_hear(
            bench, *[changed(story, 2, grown(story, 0), fees=(a_fee(story),)) for story in stories]
        ),
        "renew": await statements_to_hear(
            bench,
            *[s.renewed(1).model_copy(update={"version": 3, "terms": (grown(s, 0),)}) for s in stories],
        ),
        "close": await statements_to_hear(bench, *[story.window_closed(0, "10") for story in stories]),
        "settle": await statements_to_hear(
            bench, *[changed(story, 4, grown(story, 1), settles_at=at) for story in stories]
        ),
    }
    counts = {name: len(statements) for name, statements in taken.items()}
    assert max(counts.values()) <= STATEMENTS_MAX, counts

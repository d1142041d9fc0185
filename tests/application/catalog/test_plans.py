"""Making plans, writing drafts, publishing, retiring."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from libs.common.contracts.catalog import PlanPublishedV1, PlanRetiredV1
from libs.common.errors import PreconditionFailed
from services.catalog.application.create_plan import CreatePlan, create_plan
from services.catalog.application.publish_plan import PublishPlan, publish_plan
from services.catalog.application.read_draft import WrittenPlan
from services.catalog.application.replace_plan_draft import ReplacePlanDraft, replace_plan_draft
from services.catalog.application.retire_plan import RetirePlan, retire_plan
from services.catalog.domain.plan import Plan, PlanNotFound, PlanRetired
from services.catalog.domain.plan_draft import MeterUnknown, PlanInvalid
from services.catalog.domain.price import price_id
from services.catalog.domain.publication import Published, Unchanged
from tests.support.catalog import MemoryCatalog, a_draft, a_fee, a_usage_price, a_written_plan, written
from tests.support.clocks import FixedClock
from tests.support.memory import Recorded
from tests.support.versions import OnlyVersion, any_version


async def a_created_plan(uow: MemoryCatalog, clock: FixedClock, plan: WrittenPlan | None = None) -> Plan:
    command = CreatePlan(code="power", external_id=None, metadata={}, written=plan or a_written_plan())
    return await create_plan(command, uow=uow, clock=clock)


async def publish(uow: MemoryCatalog, clock: FixedClock, plan: Plan) -> Published | Unchanged:
    return await publish_plan(PublishPlan(plan.id), uow=uow, clock=clock, check_version=any_version)


async def test_a_plan_is_made_with_a_draft_and_nothing_is_said(uow: MemoryCatalog, clock: FixedClock) -> None:
    plan = await a_created_plan(uow, clock)
    assert uow.plans.by_id[plan.id] == plan
    assert (plan.status, plan.published_number, plan.draft) == ("draft", 0, a_draft())
    assert uow.outbox.events == []
    assert uow.recorded == [Recorded("plan.created", plan.id, 1)]


async def test_a_product_may_be_named_by_its_code_and_lends_its_words(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    price = written(
        a_usage_price(), product_id=None, product_code="flying-minutes", description=None, unit=None
    )
    plan = await a_created_plan(uow, clock, a_written_plan(price))
    (drafted,) = plan.draft.prices
    assert drafted == a_usage_price(product_id="prd_engine", description="Flying minutes", unit="minute")


@pytest.mark.parametrize(
    ("product_id", "product_code", "pointer"),
    [
        ("prd_other", None, "/prices/0/product_id"),
        (None, "other", "/prices/0/product"),
        (None, None, "/prices/0/product_id"),
        ("prd_engine", "flying-minutes", "/prices/0/product"),
    ],
    ids=["unknown_id", "unknown_code", "neither", "both"],
)
async def test_a_product_that_is_not_there_is_listed_with_the_other_faults(
    uow: MemoryCatalog, clock: FixedClock, product_id: str | None, product_code: str | None, pointer: str
) -> None:
    price = written(a_fee(unit_amount=None), product_id=product_id, product_code=product_code)
    with pytest.raises(PlanInvalid) as refused:
        await a_created_plan(uow, clock, a_written_plan(price, currency="XYZ"))
    assert [fault["pointer"] for fault in refused.value.errors] == [
        pointer,
        "/currency",
        "/prices/0/unit_amount",
    ]
    assert uow.plans.by_id == {}


async def test_an_unknown_meter_is_refused_until_it_is_heard_of(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    (meter,) = uow.known_meters.by_code.values()
    uow.known_meters.by_code.clear()
    with pytest.raises(MeterUnknown):
        await a_created_plan(uow, clock)
    await uow.known_meters.put(meter)
    assert await a_created_plan(uow, clock)


async def test_publishing_tells_the_whole_version(uow: MemoryCatalog, clock: FixedClock) -> None:
    plan = await a_created_plan(uow, clock)
    outcome = await publish(uow, clock, plan)

    assert isinstance(outcome, Published)
    version = outcome.plan_version
    assert uow.plan_versions.versions == [version]
    assert uow.plans.by_id[plan.id] == outcome.plan
    (event,) = uow.outbox.events
    assert isinstance(event, PlanPublishedV1)
    assert (event.tenant, event.version, event.occurred_at) == (uow.tenant, 2, clock.now)
    assert (event.plan.plan_id, event.plan.plan_version_id, event.plan.plan_version) == (
        plan.id,
        version.id,
        1,
    )
    fee, minutes = event.plan.prices
    assert (fee.id, fee.unit_amount, fee.currency) == (price_id(version.id, "aircraft"), Decimal(1200), "USD")
    assert [(t.up_to, t.unit_amount) for t in minutes.tiers] == [
        (Decimal(100_000), Decimal("5.20")),
        (Decimal(500_000), Decimal("4.75")),
        (None, Decimal("4.35")),
    ]
    assert (minutes.meter, minutes.unit) == ("flying-minutes", "minute")
    assert uow.outbox.appended[0].key == plan.id
    assert uow.recorded[-1] == Recorded("plan.published", plan.id, 2)


async def test_publishing_twice_publishes_once(uow: MemoryCatalog, clock: FixedClock) -> None:
    plan = await a_created_plan(uow, clock)
    first = await publish(uow, clock, plan)
    again = await publish(uow, clock, plan)
    assert isinstance(again, Unchanged)
    assert again.plan_version == first.plan_version
    assert len(uow.outbox.events) == 1


async def test_a_replaced_draft_is_published_as_the_next_version(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    plan = await a_created_plan(uow, clock)
    await publish(uow, clock, plan)
    command = ReplacePlanDraft(plan.id, name="Power", prices=(written(a_fee(unit_amount=Decimal(1300))),))
    changed = await replace_plan_draft(command, uow=uow, check_version=OnlyVersion(2))
    assert (changed.draft.name, changed.draft.currency, changed.version) == ("Power", "USD", 3)
    outcome = await publish(uow, clock, plan)
    assert [v.number for v in uow.plan_versions.versions] == [1, 2]
    assert outcome.plan_version.prices[0].unit_amount == Decimal(1300)


async def test_the_same_draft_again_changes_nothing(uow: MemoryCatalog, clock: FixedClock) -> None:
    plan = await a_created_plan(uow, clock)
    prices = a_written_plan().prices
    command = ReplacePlanDraft(plan.id, name=plan.draft.name, prices=prices)
    assert await replace_plan_draft(command, uow=uow, check_version=any_version) == plan
    assert len(uow.recorded) == 1


async def test_a_product_archived_after_the_draft_was_written_stops_its_publication(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    plan = await a_created_plan(uow, clock)
    uow.products.by_id["prd_engine"] = replace(uow.products.by_id["prd_engine"], archived_at=clock.now)
    with pytest.raises(PlanInvalid) as refused:
        await publish(uow, clock, plan)
    assert [f["pointer"] for f in refused.value.errors] == ["/prices/0/product_id", "/prices/1/product_id"]
    assert uow.outbox.events == []


async def test_a_published_plan_is_retired_and_told_once(uow: MemoryCatalog, clock: FixedClock) -> None:
    plan = await a_created_plan(uow, clock)
    await publish(uow, clock, plan)
    command = RetirePlan(plan.id)
    retired = await retire_plan(command, uow=uow, clock=clock, check_version=any_version)
    await retire_plan(command, uow=uow, clock=clock, check_version=any_version)
    assert retired.status == "retired"
    assert uow.outbox.events[1:] == [
        PlanRetiredV1(tenant=uow.tenant, version=3, occurred_at=clock.now, plan_id=plan.id)
    ]


async def test_a_plan_of_which_nobody_heard_is_retired_in_silence(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    plan = await a_created_plan(uow, clock)
    await retire_plan(RetirePlan(plan.id), uow=uow, clock=clock, check_version=any_version)
    assert uow.outbox.events == []
    with pytest.raises(PlanRetired):
        await publish(uow, clock, plan)
    with pytest.raises(PlanRetired):
        await replace_plan_draft(
            ReplacePlanDraft(plan.id, name="x", prices=()), uow=uow, check_version=any_version
        )


async def test_another_version_than_the_named_one_is_left_alone(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    plan = await a_created_plan(uow, clock)
    with pytest.raises(PreconditionFailed):
        await publish_plan(PublishPlan(plan.id), uow=uow, clock=clock, check_version=OnlyVersion(2))
    with pytest.raises(PlanNotFound):
        await publish_plan(PublishPlan("pln_other"), uow=uow, clock=clock, check_version=any_version)
    assert uow.plan_versions.versions == []

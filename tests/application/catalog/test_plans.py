"""Making plans, writing drafts, publishing, retiring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from libs.common.contracts.catalog import PlanPublishedV1, PlanRetiredV1, PlanVersionSalesChangedV1
from libs.common.errors import PreconditionFailed
from libs.common.periods import Interval
from services.catalog.application.change_plan import ChangePlan, change_plan
from services.catalog.application.change_plan_sale import ChangePlanSale, change_plan_sale
from services.catalog.application.create_plan import CreatePlan, create_plan
from services.catalog.application.offered_version import OfferedVersion
from services.catalog.application.publish_plan import PublishPlan, publish_plan
from services.catalog.application.retire_plan import RetirePlan, retire_plan
from services.catalog.application.written_plan import WrittenGrant, WrittenPlan
from services.catalog.domain.commitment import Commitment
from services.catalog.domain.feature_grant import FeatureGrant
from services.catalog.domain.phase import Phase
from services.catalog.domain.plan import Plan, PlanNotFound, PlanRetired
from services.catalog.domain.plan_draft import MeterUnknown, PlanInvalid
from services.catalog.domain.plan_version import PlanVersionNotFound
from services.catalog.domain.price import MatrixCell, Rollover, price_id
from services.catalog.domain.price_tier import PriceTier
from services.catalog.domain.publication import Published, Unchanged
from services.catalog.domain.sale import SaleState, Validity
from services.catalog.domain.trial import Trial
from tests.support.catalog import (
    MONTHLY,
    MemoryCatalog,
    a_draft,
    a_fee,
    a_plan,
    a_usage_price,
    a_written_plan,
    written,
)
from tests.support.clocks import FixedClock
from tests.support.coupons import a_feature
from tests.support.memory import Recorded
from tests.support.versions import OnlyVersion, any_version


async def a_created_plan(uow: MemoryCatalog, clock: FixedClock, plan: WrittenPlan | None = None) -> Plan:
    command = CreatePlan(code="power", written=plan or a_written_plan())
    return await create_plan(command, uow=uow, clock=clock)


async def rewrite(
    uow: MemoryCatalog, plan: Plan, check: Callable[[int], None] = any_version, **changes: Any
) -> Plan:
    command = ChangePlan(plan.id, lambda as_it_is: replace(as_it_is, **changes))
    return await change_plan(command, uow=uow, check_version=check)


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
    price = written(a_usage_price(), product_id="", product_code="flying-minutes", description="", unit=None)
    plan = await a_created_plan(uow, clock, a_written_plan(price))
    (drafted,) = plan.draft.prices
    assert drafted == a_usage_price(product_id="prd_engine", description="Flying minutes", unit="minute")


async def test_what_is_left_out_comes_from_the_meter_the_product_and_the_plan(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    engine = uow.products.by_id["prd_engine"]
    uow.products.by_id["prd_engine"] = replace(engine, unit="engine", tax_category="reduced")
    fee = written(a_fee(interval=MONTHLY, unit=None, currency=""))
    usage = written(
        a_usage_price(
            unit=None,
            tax_category="zero",
            included_quantity=Decimal(1),
            allowance_interval=Interval("month", 1),
        )
    )
    least = Commitment("least", "", "", minimum_amount=Decimal(1))
    plan = await a_created_plan(uow, clock, a_written_plan(fee, usage, commitments=(least,)))
    drafted_fee, drafted_usage = plan.draft.prices
    assert drafted_fee == a_fee(unit="engine", tax_category="reduced")
    assert (drafted_usage.unit, drafted_usage.tax_category) == ("minute", "zero")
    assert drafted_usage.allowance_interval is None
    assert plan.draft.commitments == (replace(least, currency="USD"),)


async def test_a_plan_takes_its_currency_from_its_first_price_that_has_one(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    prices = (written(a_fee(currency="")), written(a_usage_price(currency="EUR")))
    plan = await a_created_plan(uow, clock, a_written_plan(*prices, currency=""))
    assert (plan.draft.currency, [price.currency for price in plan.draft.prices]) == ("EUR", ["EUR", "EUR"])


async def test_features_are_granted_by_their_codes(uow: MemoryCatalog, clock: FixedClock) -> None:
    uow.features.add(a_feature())
    grant = WrittenGrant("minutes", allowance=Decimal(10), overage_allowed=True)
    plan = await a_created_plan(uow, clock, a_written_plan(features=(grant,)))
    assert plan.draft.features == (
        FeatureGrant(
            "ftr_minutes", "minutes", "metered", None, Decimal(10), "flying-minutes", overage_allowed=True
        ),
    )
    with pytest.raises(PlanInvalid) as refused:
        await a_created_plan(uow, clock, a_written_plan(features=(grant, WrittenGrant("other"))))
    assert [fault["pointer"] for fault in refused.value.errors] == ["/features/1/feature"]


async def test_an_add_on_goes_with_base_plans_that_are_still_sold(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    for id, code, changes in (
        ("pln_base", "base", {}),
        ("pln_extra", "extra", {"draft": a_draft(kind="add_on")}),
        ("pln_gone", "gone", {"status": "retired", "retired_at": clock.now}),
    ):
        uow.plans.add(a_plan(id=id, code=code, **changes))
    plan = await a_created_plan(uow, clock, a_written_plan(kind="add_on", for_plans=("base",)))
    assert (plan.draft.kind, plan.draft.for_plans) == ("add_on", ("base",))
    with pytest.raises(PlanInvalid) as refused:
        await rewrite(uow, plan, for_plans=("base", "extra", "gone", "other"))
    assert [f["pointer"] for f in refused.value.errors] == ["/for_plans/1", "/for_plans/2", "/for_plans/3"]


@pytest.mark.parametrize(
    ("product_id", "product_code", "pointer"),
    [
        ("prd_other", None, "/prices/0/product_id"),
        ("", "other", "/prices/0/product"),
        ("", None, "/prices/0/product_id"),
        ("prd_engine", "flying-minutes", "/prices/0/product"),
    ],
    ids=["unknown_id", "unknown_code", "neither", "both"],
)
async def test_a_product_that_is_not_there_is_listed_with_the_other_faults(
    uow: MemoryCatalog, clock: FixedClock, product_id: str, product_code: str | None, pointer: str
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
    assert fee.id == price_id(version.id, version.content.prices[0], currency="USD")
    assert (fee.unit_amount, fee.currency) == (Decimal(1200), "USD")
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


async def test_a_version_is_told_with_all_that_it_is(uow: MemoryCatalog, clock: FixedClock) -> None:
    uow.features.add(a_feature())
    uow.plans.add(a_plan(id="pln_base", code="base"))
    usage = a_usage_price(
        included_quantity=Decimal(5),
        allowance_interval=Interval("year", 1),
        rollover=Rollover(Decimal(3), 2),
        interval=Interval("month", 3),
        phase="ramp",
    )
    matrix = a_usage_price(
        code="matrix", model="matrix", tiers=(), dimensions=("a",), cells=(MatrixCell(("*",), Decimal(1)),)
    )
    rates = a_usage_price(
        code="rates", model="graduated_percentage", tiers=(PriceTier(None, rate_percent=Decimal(2)),)
    )
    wanted = a_written_plan(
        *map(written, (usage, matrix, rates, replace(usage, currency="EUR"))),
        kind="add_on",
        for_plans=("base",),
        phases=(Phase("ramp", "Ramp", 3), Phase("then", "Then")),
        trial=Trial(Interval("week", 2), Decimal(9), requires_payment_method=True),
        commitments=(Commitment("least", "At least", "EUR", ("minutes",), "year", Decimal(100)),),
        features=(WrittenGrant("minutes", allowance=Decimal(10), interval=Interval("day", 7)),),
    )
    plan = await a_created_plan(uow, clock, wanted)
    command = PublishPlan(plan.id, Validity(clock.now, None))
    version = (await publish_plan(command, uow=uow, clock=clock, check_version=any_version)).plan_version
    (event,) = uow.outbox.events
    assert isinstance(event, PlanPublishedV1)
    told = event.plan.model_dump(mode="json", exclude_defaults=True)
    prices = told.pop("prices")
    assert told == {
        "plan_id": plan.id,
        "plan_version_id": version.id,
        "code": "power",
        "name": "Power by the minute",
        "plan_version": 1,
        "currency": "USD",
        "interval_unit": "month",
        "interval_count": 1,
        "kind": "add_on",
        "for_plans": ["base"],
        "phases": [{"code": "ramp", "name": "Ramp", "periods": 3}, {"code": "then", "name": "Then"}],
        "trial": {
            "interval_unit": "week",
            "interval_count": 2,
            "amount": "9",
            "requires_payment_method": True,
        },
        "commitments": [
            {
                "code": "least",
                "description": "At least",
                "currency": "EUR",
                "price_codes": ["minutes"],
                "per": "year",
                "minimum_amount": "100",
            }
        ],
        "features": [
            {
                "feature_id": "ftr_minutes",
                "code": "minutes",
                "kind": "metered",
                "allowance": "10",
                "meter": "flying-minutes",
                "interval_unit": "day",
                "interval_count": 7,
            }
        ],
        "valid_from": "2025-06-01T12:00:00Z",
    }
    first = {
        name: prices[0][name] for name in prices[0] if "interval" in name or name in ("rollover", "phase")
    }
    assert first == {
        "allowance_interval_unit": "year",
        "interval_unit": "month",
        "interval_count": 3,
        "rollover": {"cap": "3", "periods": 2},
        "phase": "ramp",
    }
    assert prices[1]["cells"] == [{"values": ["*"], "unit_amount": "1"}]
    assert prices[2]["tiers"] == [{"rate_percent": "2"}]
    ids = [price["id"] for price in prices]
    assert ids == [price_id(version.id, price, currency="USD") for price in version.content.prices]
    assert len(set(ids)) == 4


async def test_a_rewritten_draft_is_published_as_the_next_version(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    plan = await a_created_plan(uow, clock)
    await publish(uow, clock, plan)
    dearer = (written(a_fee(unit_amount=Decimal(1300))),)
    changed = await rewrite(uow, plan, OnlyVersion(2), name="Power", prices=dearer)
    assert (changed.draft.name, changed.draft.currency, changed.version) == ("Power", "USD", 3)
    assert uow.recorded[-1] == Recorded("plan.changed", plan.id, 3)
    outcome = await publish(uow, clock, plan)
    assert [v.number for v in uow.plan_versions.versions] == [1, 2]
    assert outcome.plan_version.content.prices[0].unit_amount == Decimal(1300)


async def test_the_same_again_changes_nothing(uow: MemoryCatalog, clock: FixedClock) -> None:
    plan = await a_created_plan(uow, clock)
    assert await rewrite(uow, plan) == plan
    assert await rewrite(uow, plan, prices=a_written_plan().prices) == plan
    assert len(uow.recorded) == 1


async def test_notes_may_change_while_the_draft_could_not_be_written_like_this_any_more(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    plan = await a_created_plan(uow, clock)
    uow.products.by_id["prd_engine"] = replace(uow.products.by_id["prd_engine"], archived_at=clock.now)
    changed = await rewrite(uow, plan, external_id="crm-1", metadata={"a": "b"})
    assert (changed.external_id, changed.metadata, changed.draft) == ("crm-1", {"a": "b"}, plan.draft)
    with pytest.raises(PlanInvalid):
        await rewrite(uow, plan, name="Other")


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
        await rewrite(uow, plan, external_id="crm-1")


async def test_another_version_than_the_named_one_is_left_alone(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    plan = await a_created_plan(uow, clock)
    with pytest.raises(PreconditionFailed):
        await publish_plan(PublishPlan(plan.id), uow=uow, clock=clock, check_version=OnlyVersion(2))
    with pytest.raises(PreconditionFailed):
        await rewrite(uow, plan, OnlyVersion(2), name="Other")
    with pytest.raises(PlanNotFound):
        await publish_plan(PublishPlan("pln_other"), uow=uow, clock=clock, check_version=any_version)
    assert uow.plan_versions.versions == []


def sale(plan: Plan, state: SaleState, number: int = 1) -> ChangePlanSale:
    return ChangePlanSale(plan.id, number, state)


def anything(found: OfferedVersion) -> None:
    """For callers to whom it does not matter how they find it."""


async def test_a_version_is_withdrawn_and_sold_again_and_each_is_told_once(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    plan = await a_created_plan(uow, clock)
    bounds = Validity(clock.now, clock.now + timedelta(days=30))
    await publish_plan(PublishPlan(plan.id, bounds), uow=uow, clock=clock, check_version=any_version)
    statuses = []
    for state in ("withdrawn", "withdrawn", "published", "archived"):
        changed = await change_plan_sale(sale(plan, state), uow=uow, clock=clock, check=anything)
        statuses.append(changed.status)
    assert statuses == ["withdrawn", "withdrawn", "on_sale", "archived"]
    told = [
        PlanVersionSalesChangedV1(
            tenant=uow.tenant,
            version=version,
            occurred_at=clock.now,
            plan_id=plan.id,
            plan_version_id=changed.version.id,
            plan_version=1,
            status=state,
            valid_from=bounds.valid_from,
            valid_until=bounds.valid_until,
        )
        for version, state in ((3, "withdrawn"), (4, "published"), (5, "archived"))
    ]
    assert uow.outbox.events[1:] == told
    assert {appended.key for appended in uow.outbox.appended} == {plan.id}
    assert [recorded.action for recorded in uow.recorded[2:]] == [
        "plan.version_withdrawn",
        "plan.version_reinstated",
        "plan.version_archived",
    ]


async def test_a_version_that_is_not_as_it_should_be_is_left_alone(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    plan = await a_created_plan(uow, clock)
    with pytest.raises(PlanVersionNotFound):
        await change_plan_sale(sale(plan, "withdrawn"), uow=uow, clock=clock, check=anything)
    await publish(uow, clock, plan)

    def refuse(found: OfferedVersion) -> None:
        raise PreconditionFailed(found.status)

    with pytest.raises(PreconditionFailed, match="on_sale"):
        await change_plan_sale(sale(plan, "withdrawn"), uow=uow, clock=clock, check=refuse)
    assert len(uow.outbox.events) == 1

"""Terms of one customer's own: made, told whole, withdrawn."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from libs.common.contracts.catalog import PlanOverlaidV1, PlanOverlayWithdrawnV1, PlanPublishedV1
from libs.common.errors import PreconditionFailed
from libs.common.periods import Interval
from services.catalog.application.change_plan_sale import ChangePlanSale, change_plan_sale
from services.catalog.application.create_plan import CreatePlan, create_plan
from services.catalog.application.create_plan_overlay import (
    CreatePlanOverlay,
    Overlaid,
    PlanNotOnSale,
    create_plan_overlay,
)
from services.catalog.application.publish_plan import PublishPlan, publish_plan
from services.catalog.application.retire_plan import RetirePlan, retire_plan
from services.catalog.application.withdraw_plan_overlay import WithdrawPlanOverlay, withdraw_plan_overlay
from services.catalog.domain.plan import Plan, PlanNotFound, PlanRetired
from services.catalog.domain.plan_overlay import PlanOverlayInvalid, PlanOverlayNotFound, PriceOverride
from services.catalog.domain.plan_version import PlanVersion, PlanVersionNotFound
from services.catalog.domain.sale import ALWAYS, Validity
from tests.support.catalog import MemoryCatalog, a_written_plan
from tests.support.clocks import FixedClock
from tests.support.memory import Recorded
from tests.support.versions import OnlyVersion, any_version

CHEAPER = PriceOverride("aircraft", "", {"unit_amount": Decimal(1100)})


@pytest.fixture
async def plan(uow: MemoryCatalog, clock: FixedClock) -> Plan:
    return await create_plan(CreatePlan("power", a_written_plan()), uow=uow, clock=clock)


async def publish(
    uow: MemoryCatalog, clock: FixedClock, plan: Plan, validity: Validity = ALWAYS
) -> PlanVersion:
    command = PublishPlan(plan.id, validity)
    return (await publish_plan(command, uow=uow, clock=clock, check_version=any_version)).plan_version


async def overlay(uow: MemoryCatalog, clock: FixedClock, **terms: Any) -> Overlaid:
    command = CreatePlanOverlay(**{"customer_id": "cus_1", "overrides": (CHEAPER,), **terms})
    return await create_plan_overlay(command, uow=uow, clock=clock)


async def test_an_overlay_is_told_with_the_whole_effective_plan(
    uow: MemoryCatalog, clock: FixedClock, plan: Plan
) -> None:
    version = await publish(uow, clock, plan)
    term = Interval("year", 3)
    made = await overlay(uow, clock, plan_version_id=version.id, term=term, description="By word of mouth")
    assert uow.plan_overlays.by_id == {made.overlay.id: made.overlay}
    assert made.overlay.overrides == (PriceOverride("aircraft", "USD", CHEAPER.changes),)
    published, told = uow.outbox.events
    assert isinstance(published, PlanPublishedV1)
    assert isinstance(told, PlanOverlaidV1)
    snapshot = told.overlay
    assert (snapshot.overlay_id, snapshot.customer_id) == (made.overlay.id, "cus_1")
    assert (snapshot.plan_version_id, snapshot.term_unit, snapshot.term_count) == (version.id, "year", 3)
    fee, minutes = snapshot.plan.prices
    plan_fee, plan_minutes = published.plan.prices
    assert fee == plan_fee.model_copy(update={"id": fee.id, "unit_amount": Decimal(1100)})
    assert fee.id != plan_fee.id
    assert minutes == plan_minutes
    assert snapshot.plan.model_copy(update={"prices": ()}) == published.plan.model_copy(update={"prices": ()})
    assert uow.outbox.appended[1].key == made.overlay.id
    assert uow.recorded[-1] == Recorded("plan_overlay.created", made.overlay.id, 1)


async def test_a_plan_that_is_named_by_its_code_stands_for_its_newest_version_on_sale(
    uow: MemoryCatalog, clock: FixedClock, plan: Plan
) -> None:
    with pytest.raises(PlanNotOnSale):
        await overlay(uow, clock, plan_code="power")
    first = await publish(uow, clock, plan, Validity(None, clock.now + timedelta(days=9)))
    second = await publish(uow, clock, plan)
    await publish(uow, clock, plan, Validity(clock.now + timedelta(days=9), None))

    async def named_by_code() -> PlanVersion:
        return (await overlay(uow, clock, plan_code="power")).plan_version

    assert await named_by_code() == second
    for number, expected in ((2, first), (1, None)):
        await change_plan_sale(
            ChangePlanSale(plan.id, number, "withdrawn"), uow=uow, clock=clock, check=lambda found: None
        )
        if expected is not None:
            assert await named_by_code() == expected
    with pytest.raises(PlanNotOnSale):
        await named_by_code()
    assert (await overlay(uow, clock, plan_version_id=second.id)).plan_version == second


async def test_what_does_not_fit_is_refused_and_not_told(
    uow: MemoryCatalog, clock: FixedClock, plan: Plan
) -> None:
    version = await publish(uow, clock, plan)
    with pytest.raises(PlanVersionNotFound) as missing:
        await overlay(uow, clock, plan_version_id="plv_other")
    assert missing.value.pointer == "/plan_version_id"
    with pytest.raises(PlanNotFound) as unknown:
        await overlay(uow, clock, plan_code="other")
    assert unknown.value.pointer == "/plan"
    wrong = (CHEAPER, PriceOverride("aircraft", "EUR", {}), PriceOverride("aircraft", "USD", {}))
    with pytest.raises(PlanOverlayInvalid) as refused:
        await overlay(uow, clock, plan_version_id=version.id, overrides=wrong)
    assert [fault["pointer"] for fault in refused.value.errors] == [
        "/prices/1/code",
        "/prices/2/code",
        "/prices/2",
    ]
    await retire_plan(RetirePlan(plan.id), uow=uow, clock=clock, check_version=any_version)
    with pytest.raises(PlanRetired):
        await overlay(uow, clock, plan_code="power")
    assert uow.plan_overlays.by_id == {}
    assert len(uow.outbox.events) == 2


async def test_an_overlay_is_withdrawn_and_told_once(
    uow: MemoryCatalog, clock: FixedClock, plan: Plan
) -> None:
    version = await publish(uow, clock, plan)
    made = (await overlay(uow, clock, plan_version_id=version.id)).overlay
    command = WithdrawPlanOverlay(made.id)
    with pytest.raises(PreconditionFailed):
        await withdraw_plan_overlay(command, uow=uow, clock=clock, check_version=OnlyVersion(2))
    withdrawn = await withdraw_plan_overlay(command, uow=uow, clock=clock, check_version=OnlyVersion(1))
    again = await withdraw_plan_overlay(command, uow=uow, clock=clock, check_version=any_version)
    assert (withdrawn.overlay.withdrawn_at, again) == (clock.now, withdrawn)
    assert uow.outbox.events[2:] == [
        PlanOverlayWithdrawnV1(
            tenant=uow.tenant, version=2, occurred_at=clock.now, overlay_id=made.id, customer_id="cus_1"
        )
    ]
    assert uow.recorded[-1] == Recorded("plan_overlay.withdrawn", made.id, 2)
    with pytest.raises(PlanOverlayNotFound):
        await withdraw_plan_overlay(
            WithdrawPlanOverlay("ovl_other"), uow=uow, clock=clock, check_version=any_version
        )

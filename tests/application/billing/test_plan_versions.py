"""What the catalog published is kept as it was told."""

from __future__ import annotations

from decimal import Decimal

from libs.common.contracts.catalog import CommitmentV1, PhaseV1, PlanOverlayV1, TrialV1
from libs.common.periods import Interval
from services.billing.application.keep_plan import KeepPlan, KeepPlanOverlay, keep_plan, keep_plan_overlay
from tests.support.billing import FEE, MINUTES, MemoryBilling, a_plan


async def test_a_plan_is_kept_whole(uow: MemoryBilling) -> None:
    told = a_plan(
        FEE.model_copy(update={"phase": "start"}),
        MINUTES,
        phases=(PhaseV1(code="start", name="Start", periods=3), PhaseV1(code="full", name="Full")),
        trial=TrialV1(interval_unit="day", interval_count=14, amount=Decimal(5)),
        commitments=(
            CommitmentV1(code="least", description="Least", currency="USD", minimum_amount=Decimal(9)),
        ),
    )
    await keep_plan(KeepPlan(told), uow=uow)
    kept = await uow.plan_versions.find(told.plan_version_id)
    assert kept is not None
    assert (kept.code, kept.number, kept.interval) == ("engines", 1, Interval("month"))
    assert [(phase.code, phase.periods) for phase in kept.phases] == [("start", 3), ("full", None)]
    assert kept.trial is not None
    assert (kept.trial.interval, kept.trial.amount) == (Interval("day", 14), 5)
    assert [commitment.minimum_amount for commitment in kept.commitments] == [9]
    assert [price.phase for price in kept.prices] == ["start", None]


async def test_a_version_that_is_known_stays_as_it_is(uow: MemoryBilling) -> None:
    await keep_plan(KeepPlan(a_plan()), uow=uow)
    await keep_plan(KeepPlan(a_plan(name="Another")), uow=uow)
    kept = await uow.plan_versions.find("plv_engines_1")
    assert kept is not None
    assert kept.name == "Engines by the minute"


async def test_an_overlay_is_the_plan_as_its_customer_has_it(uow: MemoryBilling) -> None:
    cheaper = FEE.model_copy(update={"id": "prc_own", "unit_amount": Decimal(1000)})
    overlay = PlanOverlayV1(
        overlay_id="ovl_1",
        customer_id="cus_1",
        plan_version_id="plv_engines_1",
        plan=a_plan(cheaper),
        term_unit="year",
        term_count=2,
    )
    await keep_plan_overlay(KeepPlanOverlay(overlay), uow=uow)
    kept = await uow.plan_versions.find_overlay("ovl_1")
    assert kept is not None
    assert (kept.overlay_id, kept.customer_id, kept.term) == ("ovl_1", "cus_1", Interval("year", 2))
    assert kept.prices[0].unit_amount == 1000

"""Simulations: what is named is found, what was really billed comes out the same, and what is wrong is all listed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.contracts.catalog import PlanOverlayV1, PlanV1
from libs.common.money import Money
from services.billing.application import snapshots
from services.billing.application.check_simulation import check_simulation
from services.billing.application.gather_simulation import (
    PlanVersionUnknown,
    SubscriptionUnknown,
    UsageNotClosed,
    gather_simulation,
)
from services.billing.application.simulate_prices import PriceSimulation, simulate_prices
from services.billing.application.simulation_request import (
    Candidate,
    SimulatePrices,
    SupposedPeriod,
    UsageOf,
)
from services.billing.domain.discount import Coupon
from services.billing.domain.simulation.settlement import SupposedCoupon
from services.billing.domain.simulation.simulate import SimulationImpossible
from services.billing.domain.simulation.usage_given import GivenEvent, GivenUsage
from tests.application.billing.telling import renew, start, use
from tests.support.billing import FEE, MINUTES, MemoryBilling, Story, a_plan

JANUARY = SupposedPeriod(date(2025, 1, 1), "UTC")
CHEAPER = MINUTES.model_copy(update={"id": "prc_cheap", "tiers": MINUTES.tiers[-1:]})


def keep(uow: MemoryBilling, *plans: PlanV1) -> None:
    for plan in plans:
        uow.plan_versions.keep(plan)


async def run(uow: MemoryBilling, *candidates: Candidate, **asked: Any) -> PriceSimulation:
    if "usage_of" not in asked:
        asked.setdefault("period", JANUARY)
    command = SimulatePrices(candidates=candidates or (Candidate(plan="engines"),), **asked)
    check_simulation(command)
    return simulate_prices(await gather_simulation(command, uow=uow))


async def pointers(uow: MemoryBilling, *candidates: Candidate, **asked: Any) -> list[str]:
    with pytest.raises(SimulationImpossible) as refused:
        await run(uow, *candidates, **asked)
    return [fault["pointer"] for fault in refused.value.errors]


def totals(simulation: PriceSimulation) -> list[str]:
    return [str(plan.charged.to_decimal()) for plan in simulation.plans]


def minutes(quantity: str, **told: Any) -> GivenUsage:
    return GivenUsage("/usage/0", meter="flying-minutes", quantity=Decimal(quantity), **told)


async def test_a_plan_is_named_by_code_and_number_by_version_by_overlay_or_given(uow: MemoryBilling) -> None:
    own = FEE.model_copy(update={"id": "prc_own", "unit_amount": Decimal(3)})
    keep(uow, a_plan(FEE), a_plan(FEE.model_copy(update={"unit_amount": Decimal(2)}), number=2))
    uow.plan_versions.keep_overlay(
        PlanOverlayV1(overlay_id="ovl_1", customer_id="cus_1", plan_version_id="x", plan=a_plan(own))
    )
    draft = snapshots.plan_from(a_plan(FEE.model_copy(update={"unit_amount": Decimal(4)})))
    found = await run(
        uow,
        Candidate(plan="engines", number=1),
        Candidate(plan="engines"),
        Candidate(plan_version_id="plv_engines_1"),
        Candidate(overlay_id="ovl_1"),
        Candidate(draft=draft),
    )
    assert totals(found) == ["1200.00", "2.00", "1200.00", "3.00", "4.00"]
    assert [found.difference for found in found.comparisons] == [
        Money(minor, "USD") for minor in (-119800, 0, -119700, -119600)
    ]


async def test_every_unknown_plan_is_named(uow: MemoryBilling) -> None:
    keep(uow, a_plan())
    with pytest.raises(PlanVersionUnknown) as refused:
        await run(
            uow, Candidate(plan="engines"), Candidate(plan="engines", number=7), Candidate(overlay_id="x")
        )
    assert [fault["pointer"] for fault in refused.value.errors] == [
        "/candidates/1/plan",
        "/candidates/2/plan_overlay_id",
    ]


async def test_the_interval_is_the_shortest_of_the_candidates(uow: MemoryBilling) -> None:
    yearly = a_plan(FEE, code="yearly", interval_unit="year")
    keep(uow, a_plan(FEE), yearly)
    found = await run(uow, Candidate(plan="yearly"), Candidate(plan="engines"), periods=12)
    assert totals(found) == ["1200.00", "14400.00"]


async def billed(story: Story, uow: MemoryBilling, *used: str) -> None:
    """The subscription begins, and each period is used and renewed."""
    await start(story, uow)
    for index, quantity in enumerate(used, start=1):
        await use(story, uow, index - 1, quantity)
        await renew(story, uow, index)


def told(line: Any) -> tuple[Any, ...]:
    return line.description, line.tier, line.quantity, line.unit_amount, line.formula


def shown_lines(simulation: PriceSimulation, candidate: int = 0) -> list[tuple[Any, ...]]:
    """The lines that an invoice would show, with the dates that they are for."""
    periods = simulation.plans[candidate].simulated.periods
    return [
        (*told(line), line.amount, charge.start_on, charge.end_on)
        for period in periods
        for charge in period.charges
        for line in charge.lines
        if line.amount.amount_minor or line.quantity
    ]


def invoiced_lines(story: Story, uow: MemoryBilling, periods: int) -> list[tuple[Any, ...]]:
    """What was issued for these periods: their fees at their beginning, their usage at their end."""
    boundaries = [story.period(index).start_on for index in range(periods)]
    return [
        (*told(line), line.net, line.service_start_on, line.service_end_on)
        for lines in uow.invoices.lines.values()
        for line in lines
        if line.service_start_on in boundaries
    ]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    used=st.lists(st.decimals(0, 10**6, places=2).map(str), min_size=1, max_size=3),
    aircraft=st.integers(1, 40).map(str),
)
async def test_what_was_really_billed_is_simulated_line_by_line(used: list[str], aircraft: str) -> None:
    """The same subscription under the same plan: the lines of its invoices, to the last word."""
    uow, story = MemoryBilling(), Story(quantity=aircraft)
    await billed(story, uow, *used)
    keep(uow, a_plan())
    found = await run(uow, usage_of=UsageOf(story.subscription_id, 0), periods=len(used))
    assert sorted(map(repr, shown_lines(found))) == sorted(map(repr, invoiced_lines(story, uow, len(used))))


async def test_real_usage_under_another_plan(uow: MemoryBilling, story: Story) -> None:
    """What would they have paid on the new plan?"""
    await billed(story, uow, "100001", "7")
    keep(uow, a_plan(), a_plan(FEE, CHEAPER, number=2))
    found = await run(
        uow,
        Candidate(plan="engines", number=1),
        Candidate(plan="engines"),
        usage_of=UsageOf(story.subscription_id, on=date(2025, 1, 20)),
        periods=2,
    )
    assert totals(found) == ["524841.15", "439834.80"]
    (comparison,) = found.comparisons
    assert comparison.says == "85006.35 USD less than the first."
    assert [(charge.code, charge.difference.amount_minor) for charge in comparison.charges] == [
        ("aircraft", 0),
        ("minutes", -8500635),
    ]
    assert found.stored is not None
    assert [period.index for period in found.stored.periods] == [0, 1]


async def test_what_is_given_by_hand_comes_before_what_is_stored(uow: MemoryBilling, story: Story) -> None:
    await billed(story, uow, "10")
    keep(uow, a_plan())
    asked: dict[str, Any] = {"usage_of": UsageOf(story.subscription_id, 0)}
    assert totals(await run(uow, **asked)) == ["2452.00"]
    by_hand = await run(uow, **asked, usage=(minutes("0"),), quantities={"aircraft": Decimal(1)})
    assert totals(by_hand) == ["1200.00"]


async def test_a_quantity_of_another_name_is_asked_for(uow: MemoryBilling, story: Story) -> None:
    """One would be a guess: the subscription has two aircraft."""
    await billed(story, uow, "10")
    keep(uow, a_plan(FEE.model_copy(update={"code": "airframes"}), MINUTES))
    asked: dict[str, Any] = {"usage_of": UsageOf(story.subscription_id, 0)}
    assert await pointers(uow, **asked) == ["/quantities/airframes"]
    found = await run(uow, **asked, quantities={"airframes": Decimal(2)})
    assert totals(found) == ["2452.00"]
    assert [note.code for note in found.plans[0].simulated.notes] == ["quantity_not_priced"]


async def test_a_price_that_needs_events_cannot_be_told_from_totals(uow: MemoryBilling, story: Story) -> None:
    await billed(story, uow, "10")
    by_event = MINUTES.model_copy(
        update={
            "model": "percentage",
            "tiers": (),
            "rate_percent": Decimal(2),
            "minimum_amount_per_event": Decimal(1),
        }
    )
    keep(uow, a_plan(by_event))
    asked: dict[str, Any] = {"usage_of": UsageOf(story.subscription_id, 0)}
    assert await pointers(uow, **asked) == ["/candidates/0"]
    events = (GivenEvent(Decimal(4), {}), GivenEvent(Decimal(600), {}))
    given = GivenUsage("/usage/0", meter="flying-minutes", events=events)
    assert totals(await run(uow, **asked, usage=(given,))) == ["13.00"]


async def test_a_subscription_or_period_that_is_not_known(uow: MemoryBilling, story: Story) -> None:
    keep(uow, a_plan())
    with pytest.raises(SubscriptionUnknown):
        await run(uow, usage_of=UsageOf("sub_other", 0))
    await start(story, uow)
    with pytest.raises(UsageNotClosed) as refused:
        await run(uow, usage_of=UsageOf(story.subscription_id, 0))
    assert refused.value.pointer == "/usage_of"
    assert await pointers(uow, usage_of=UsageOf(story.subscription_id, on=date(2024, 12, 31))) == [
        "/usage_of/on"
    ]


async def test_a_subscription_without_meters_is_known_once_it_is_billed(uow: MemoryBilling) -> None:
    story = Story(metered=False)
    await start(story, uow)
    keep(uow, a_plan(FEE))
    assert totals(await run(uow, usage_of=UsageOf(story.subscription_id, 0))) == ["2400.00"]
    with pytest.raises(UsageNotClosed):
        await run(uow, usage_of=UsageOf(story.subscription_id, 0), periods=2)


async def test_an_end_that_was_known_is_prorated_as_it_was_billed(uow: MemoryBilling) -> None:
    story = Story(ends_on=date(2025, 1, 11), metered=False)
    await start(story, uow)
    keep(uow, a_plan(FEE))
    found = await run(uow, usage_of=UsageOf(story.subscription_id, 0))
    assert shown_lines(found) == invoiced_lines(story, uow, 1)
    assert totals(found) == ["774.19"]


REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "neither_period_nor_usage": ({"period": None}, ["/period"]),
    "an_end_before_the_start": ({"period": replace(JANUARY, end_on=date(2025, 1, 1))}, ["/period/end"]),
    "an_end_and_periods": ({"period": replace(JANUARY, end_on=date(2025, 2, 1)), "periods": 2}, ["/period/end"]),
    "in_use_for_no_time": (
        {"period": replace(JANUARY, in_use_from=date(2025, 1, 5), in_use_until=date(2025, 1, 5))},
        ["/period/in_use_until"],
    ),
    "no_boundary": ({"period": replace(JANUARY, anchor_on=date(2025, 1, 31))}, ["/period/start"]),
    "unknown_quantity": ({"quantities": {"desks": Decimal(1)}}, ["/quantities/desks"]),
    "quantity_of_usage": ({"quantities": {"minutes": Decimal(1)}}, ["/quantities/minutes"]),
    "unknown_meter": ({"usage": (GivenUsage("/usage/3", meter="x", quantity=Decimal(1)),)}, ["/usage/3/meter"]),
    "unknown_price": ({"usage": (GivenUsage("/usage/3", price="x", quantity=Decimal(1)),)}, ["/usage/3/price"]),
    "unknown_currency": ({"currency": "EUR"}, ["/currency"]),
    "unknown_product_of_coupon": (
        {"coupons": (SupposedCoupon(Coupon("a", "A", percent=Decimal(1), product_ids=("x",)), "once"),)},
        ["/coupons/0/product_ids/0"],
    ),
    "unknown_plan_of_coupon": (
        {"coupons": (SupposedCoupon(Coupon("a", "A", percent=Decimal(1), plan_codes=("x",)), "once"),)},
        ["/coupons/0/plans/0"],
    ),
    "coupon_in_another_currency": (
        {"coupons": (SupposedCoupon(Coupon("a", "A", amount=Money(1, "EUR")), "once"),)},
        ["/coupons/0/amount/currency"],
    ),
    "coupon_twice": (
        {"coupons": (SupposedCoupon(Coupon("a", "A", percent=Decimal(1)), "once"),) * 2},
        ["/coupons/0/code", "/coupons/1/code"],
    ),
    "untaxed_category": ({"taxes": {"books": Decimal(1)}}, ["/taxes"]),
    "two_at_once": (
        {"quantities": {"desks": Decimal(1)}, "usage": (minutes("1", period=1),)},
        ["/usage/0/period", "/quantities/desks"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_what_does_not_fit_is_refused_with_its_place(uow: MemoryBilling, name: str) -> None:
    keep(uow, a_plan())
    asked, expected = REFUSED[name]
    assert await pointers(uow, **asked) == expected


async def test_what_is_wrong_with_a_candidate_stands_at_it(uow: MemoryBilling) -> None:
    keep(uow, a_plan(), a_plan(code="weekly", interval_unit="week"))
    assert await pointers(
        uow, Candidate(plan="engines"), Candidate(plan="engines", phase="x", currency="EUR")
    ) == [
        "/candidates/1/currency",
        "/candidates/1/phase",
    ]
    assert await pointers(uow, Candidate(plan="engines"), Candidate(plan="weekly")) == ["/candidates/1"]
    bad = snapshots.plan_from(a_plan(FEE.model_copy(update={"unit_amount": None})))
    assert await pointers(uow, Candidate(plan="engines"), Candidate(draft=bad)) == [
        "/candidates/1/draft/prices/0/unit_amount"
    ]


async def test_a_simulation_is_bounded_however_it_is_multiplied(uow: MemoryBilling) -> None:
    prices = [FEE.model_copy(update={"code": f"p{number}"}) for number in range(150)]
    keep(uow, a_plan(*prices, code="many"), a_plan())
    assert await pointers(uow, Candidate(plan="many"), periods=36) == ["/periods"]
    events = tuple(GivenEvent(Decimal(1), {}) for _ in range(1_000))
    given = GivenUsage("/usage/0", meter="flying-minutes", events=events)
    assert await pointers(uow, Candidate(plan="engines"), usage=(given,), periods=6) == ["/usage"]
    await run(uow, Candidate(plan="engines"), usage=(given,), periods=6, is_explained=False)


async def test_the_same_request_gives_the_same_answer_and_changes_nothing(
    uow: MemoryBilling, story: Story
) -> None:
    await billed(story, uow, "10")
    keep(uow, a_plan())
    before = (len(uow.recorded), len(uow.outbox.appended), len(uow.charges.by_id))
    asked: dict[str, Any] = {"usage_of": UsageOf(story.subscription_id, 0)}
    assert await run(uow, **asked) == await run(uow, **asked)
    assert (len(uow.recorded), len(uow.outbox.appended), len(uow.charges.by_id)) == before


async def test_terms_of_a_customer_end(uow: MemoryBilling) -> None:
    overlay = PlanOverlayV1(
        overlay_id="ovl_1", customer_id="cus_1", plan_version_id="x", plan=a_plan(FEE), term_unit="month"
    )
    uow.plan_versions.keep_overlay(overlay)
    within = await run(uow, Candidate(overlay_id="ovl_1"), quantities={"aircraft": Decimal(1)})
    beyond = await run(uow, Candidate(overlay_id="ovl_1"), quantities={"aircraft": Decimal(1)}, periods=2)
    assert [[note.code for note in found.plans[0].simulated.notes] for found in (within, beyond)] == [
        [],
        ["term_ends"],
    ]

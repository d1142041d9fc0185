"""A subscription is changed now, with effect from a date that is over, and later."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from libs.common.contracts.catalog import PlanOverlayV1
from libs.common.contracts.subscriptions import SubscriptionChangedV1, SubscriptionRenewedV1
from libs.common.errors import DomainError
from services.subscriptions.application.change_subscription import (
    PERIODS_BACK_MAX,
    ChangeAfterEnd,
    ChangeTooEarly,
    change_subscription,
)
from services.subscriptions.application.keep_plan import NotePlanSale, note_plan_sale
from services.subscriptions.application.offers import AddOnDoesNotFit, CurrencyNotOffered
from services.subscriptions.application.wanted_changes import (
    AddOnRequest,
    ChangeRefused,
    OverlayNotForThis,
)
from services.subscriptions.domain.change import AddOnNotAgreed, ChangeNotAtBoundary
from services.subscriptions.domain.customer import CustomerNotFound
from services.subscriptions.domain.plan import PlanNotFound, PlanVersionNotOnSale
from services.subscriptions.domain.scheduled_change import (
    CHANGES_WAITING_MAX,
    ChangeStatus,
    TooManyChanges,
    When,
)
from services.subscriptions.domain.subscription import SubscriptionOver, SubscriptionState
from services.subscriptions.domain.subscription_item import QuantityWithoutPrice, SubscriptionItemNotFound
from tests.support.changes import (
    AT_END,
    BASIC,
    BASIC_2,
    NOW_WHEN,
    PRO,
    a_basic,
    a_change,
    a_price,
    keep,
    on,
    seats,
)
from tests.support.clocks import FixedClock
from tests.support.subscriptions import MemorySubscriptionsUnitOfWork, a_customer, utc


async def test_more_seats_now(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    keep(uow, a_basic())
    made = await change_subscription(a_change(NOW_WHEN, quantities=seats(14)), uow=uow, clock=clock)
    assert (made.change.status, made.change.at) == (ChangeStatus.APPLIED, clock.now)
    assert [item.quantity for item in made.subscription.items] == [Decimal(14)]
    assert uow.scheduled_changes.by_id == {made.change.id: made.change}
    [event] = uow.outbox.events
    assert isinstance(event, SubscriptionChangedV1)
    assert (event.version, event.settles_at) == (2, None)
    [terms] = event.terms
    told = [(one.quantity, one.start_on, one.end_on) for one in terms.segments]
    assert told == [
        (Decimal(10), date(2025, 5, 31), date(2025, 6, 1)),
        (Decimal(14), date(2025, 6, 1), date(2025, 6, 30)),
    ]


async def test_it_stands_on_a_document_of_its_own_if_that_is_asked_for(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    keep(uow, a_basic())
    await change_subscription(
        a_change(NOW_WHEN, quantities=seats(14), settles=True, proration="second"), uow=uow, clock=clock
    )
    [event] = uow.outbox.events
    assert isinstance(event, SubscriptionChangedV1)
    assert event.settles_at == clock.now
    assert [one.start_proration for one in event.terms[0].segments] == [None, "second"]


async def test_what_changes_nothing_is_told_so_and_nothing_is_told_of_it(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    before = keep(uow, a_basic())
    made = await change_subscription(
        a_change(NOW_WHEN, quantities=seats(10), plan="basic", version=1, zone="America/New_York"),
        uow=uow,
        clock=clock,
    )
    assert made.change.status is ChangeStatus.UNCHANGED
    assert made.subscription == before
    assert uow.told == []
    assert uow.scheduled_changes.by_id[made.change.id].settled_at == clock.now


@pytest.mark.parametrize(
    ("wanted", "version_id", "codes"),
    [
        ({"plan": "pro"}, PRO.plan_version_id, ["seats", "support"]),
        ({"plan_version_id": PRO.plan_version_id}, PRO.plan_version_id, ["seats", "support"]),
        ({"plan": "basic"}, BASIC_2.plan_version_id, ["seats"]),
        ({"version": 2}, BASIC_2.plan_version_id, ["seats"]),
        ({"plan": "basic", "version": 2}, BASIC_2.plan_version_id, ["seats"]),
    ],
)
async def test_another_plan_or_version_keeps_the_quantities(
    uow: MemorySubscriptionsUnitOfWork,
    clock: FixedClock,
    wanted: dict[str, object],
    version_id: str,
    codes: list[str],
) -> None:
    keep(uow, a_basic())
    made = await change_subscription(a_change(NOW_WHEN, **wanted), uow=uow, clock=clock)
    assert made.change.wanted.plan_version_id == version_id
    assert made.subscription.plan_version_id == version_id
    assert [item.code for item in made.subscription.items] == codes
    assert made.subscription.items[0].quantity == Decimal(10)
    assert uow.told == ["SubscriptionChanged"]


async def test_another_interval_begins_a_period(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    keep(uow, a_basic())
    made = await change_subscription(a_change(NOW_WHEN, plan="yearly"), uow=uow, clock=clock)
    [event] = uow.outbox.events
    assert isinstance(event, SubscriptionRenewedV1)
    assert (event.ended.index, event.ended.end, event.ended.full_end_on) == (4, clock.now, date(2025, 6, 30))
    assert (event.period.index, event.period.start, event.period.end_on) == (5, clock.now, date(2026, 6, 1))
    assert made.subscription.calendar.anchor_on == date(2025, 6, 1)
    assert [one.index for one in uow.subscriptions.periods[made.subscription.id]] == [0, 1, 2, 3, 4, 5]
    assert uow.subscriptions.periods[made.subscription.id][4].end == clock.now


async def test_an_add_on_comes_and_goes(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    keep(uow, a_basic())
    added = await change_subscription(
        a_change(NOW_WHEN, add=(AddOnRequest("swaps", {"swaps": Decimal(2)}),)), uow=uow, clock=clock
    )
    assert [(item.code, item.quantity) for item in added.subscription.items] == [
        ("seats", Decimal(10)),
        ("swaps/swaps", Decimal(2)),
    ]
    fewer = await change_subscription(
        a_change(NOW_WHEN, quantities={"swaps/swaps": Decimal(1)}), uow=uow, clock=clock
    )
    assert fewer.subscription.items[1].quantity == Decimal(1)
    gone = await change_subscription(a_change(NOW_WHEN, remove=("swaps",)), uow=uow, clock=clock)
    assert [item.code for item in gone.subscription.items] == ["seats"]


async def test_a_plan_that_an_add_on_does_not_go_with_is_refused_unless_that_goes_away(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    keep(uow, a_basic())
    await change_subscription(a_change(NOW_WHEN, add=(AddOnRequest("swaps"),)), uow=uow, clock=clock)
    with pytest.raises(AddOnDoesNotFit) as refused:
        await change_subscription(a_change(NOW_WHEN, plan="pro"), uow=uow, clock=clock)
    assert refused.value.remedy
    made = await change_subscription(a_change(NOW_WHEN, plan="pro", remove=("swaps",)), uow=uow, clock=clock)
    assert [item.code for item in made.subscription.items] == ["seats", "support"]


async def test_a_backdated_change_tells_of_every_period_that_it_reaches_into(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    keep(uow, a_basic())
    made = await change_subscription(a_change(on("2025-04-10"), quantities=seats(11)), uow=uow, clock=clock)
    assert (made.change.status, made.change.at) == (ChangeStatus.APPLIED, utc("2025-04-10T04:00"))
    [event] = uow.outbox.events
    assert isinstance(event, SubscriptionChangedV1)
    told = {
        one.period.index: [(part.quantity, part.start_on) for part in one.segments] for one in event.terms
    }
    assert told == {
        2: [(Decimal(10), date(2025, 3, 31)), (Decimal(11), date(2025, 4, 10))],
        3: [(Decimal(11), date(2025, 4, 30))],
        4: [(Decimal(11), date(2025, 5, 31))],
    }
    assert [one.is_over for one in event.terms] == [True, True, False]


async def test_the_document_of_a_backdated_change_is_of_the_day_on_which_it_is_made(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    keep(uow, a_basic())
    made = await change_subscription(
        a_change(on("2025-04-10"), quantities=seats(11), settles=True), uow=uow, clock=clock
    )
    assert made.change.at == utc("2025-04-10T04:00")
    [event] = uow.outbox.events
    assert isinstance(event, SubscriptionChangedV1)
    assert event.settles_at == event.occurred_at == clock.now


async def test_a_change_waits_for_the_end_of_the_period(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    keep(uow, a_basic())
    made = await change_subscription(a_change(AT_END, quantities=seats(8)), uow=uow, clock=clock)
    assert (made.change.status, made.change.at) == (ChangeStatus.SCHEDULED, None)
    assert made.subscription.boundary_changes == 1
    assert [item.quantity for item in made.subscription.items] == [Decimal(10)]
    assert uow.told == []


async def test_a_change_waits_for_its_date(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    keep(uow, a_basic())
    await change_subscription(a_change(on("2025-06-20"), quantities=seats(8)), uow=uow, clock=clock)
    made = await change_subscription(a_change(on("2025-06-10"), quantities=seats(9)), uow=uow, clock=clock)
    assert made.subscription.next_change_at == made.subscription.due_at == utc("2025-06-10T04:00")
    assert made.subscription.version == 3
    assert uow.told == []


async def test_one_that_is_behind_is_brought_up_to_date_first(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    keep(uow, a_basic(index=2))
    made = await change_subscription(a_change(NOW_WHEN, quantities=seats(14)), uow=uow, clock=clock)
    assert uow.told == ["SubscriptionRenewed", "SubscriptionRenewed", "SubscriptionChanged"]
    assert made.subscription.period is not None
    assert made.subscription.period.index == 4


async def test_what_has_not_begun_is_changed_from_its_beginning_on(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    running = a_basic("2025-07-01", index=0)
    keep(uow, replace(running, state=SubscriptionState.SCHEDULED, period=None))
    for when in (NOW_WHEN, on("2025-06-15"), on("2025-07-01")):
        made = await change_subscription(a_change(when, plan="yearly", currency="USD"), uow=uow, clock=clock)
        assert made.change.status in (ChangeStatus.APPLIED, ChangeStatus.UNCHANGED)
    assert [(one.start, one.item.price_code) for one in made.subscription.segments] == [
        (made.subscription.starts_at, "seats")
    ]
    assert made.subscription.calendar.anchor_on == date(2025, 7, 1)
    later = await change_subscription(a_change(on("2025-07-02"), quantities=seats(3)), uow=uow, clock=clock)
    assert later.change.status is ChangeStatus.SCHEDULED
    assert later.subscription.due_at == later.subscription.starts_at


async def test_the_customers_own_prices_and_another_payer(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    keep(uow, a_basic())
    own = BASIC.model_copy(update={"prices": (a_price("seats", "7", id="prc_own"),)})
    for id, customer_id in (("plo_1", a_customer().id), ("plo_2", "cus_other")):
        uow.plans.overlays[id] = PlanOverlayV1(
            overlay_id=id, customer_id=customer_id, plan_version_id=BASIC.plan_version_id, plan=own
        )
    payer = a_customer(id="cus_payer")
    uow.customers.by_id[payer.id] = payer
    made = await change_subscription(
        a_change(NOW_WHEN, plan_overlay_id="plo_1", payer_id=payer.id), uow=uow, clock=clock
    )
    assert [item.price_id for item in made.subscription.items] == ["prc_own"]
    assert (made.subscription.overlay_id, made.subscription.payer_id) == ("plo_1", payer.id)
    [event] = uow.outbox.events
    assert isinstance(event, SubscriptionChangedV1)
    assert event.subscription.payer is not None
    with pytest.raises(OverlayNotForThis):
        await change_subscription(a_change(NOW_WHEN, plan_overlay_id="plo_2"), uow=uow, clock=clock)
    with pytest.raises(OverlayNotForThis):
        await change_subscription(
            a_change(NOW_WHEN, plan="pro", plan_overlay_id="plo_1"), uow=uow, clock=clock
        )


@pytest.mark.parametrize(
    ("when", "wanted", "error", "pointer"),
    [
        (NOW_WHEN, {"plan": "none"}, PlanNotFound, "/plan"),
        (NOW_WHEN, {"plan_version_id": "plv_x"}, PlanNotFound, "/plan_version_id"),
        (NOW_WHEN, {"version": 9}, PlanNotFound, "/plan"),
        (NOW_WHEN, {"plan_overlay_id": "plo_x"}, PlanNotFound, "/plan_overlay_id"),
        (NOW_WHEN, {"quantities": {"chairs": Decimal(1)}}, SubscriptionItemNotFound, "/quantities/chairs"),
        (
            NOW_WHEN,
            {"plan": "pro", "quantities": {"chairs": Decimal(1)}},
            QuantityWithoutPrice,
            "/quantities/chairs",
        ),
        (NOW_WHEN, {"add": (AddOnRequest("none"),)}, PlanNotFound, "/add/0/plan"),
        (NOW_WHEN, {"add": (AddOnRequest("pro"),)}, AddOnDoesNotFit, "/add/0/plan"),
        (NOW_WHEN, {"plan": "pro", "add": (AddOnRequest("swaps"),)}, AddOnDoesNotFit, "/add/0/plan"),
        (
            NOW_WHEN,
            {"add": (AddOnRequest("swaps", {"seats": Decimal(1)}),)},
            QuantityWithoutPrice,
            "/add/0/quantities/seats",
        ),
        (NOW_WHEN, {"plan": "swaps"}, AddOnDoesNotFit, "/plan"),
        (NOW_WHEN, {"remove": ("swaps",)}, AddOnNotAgreed, "/remove"),
        (NOW_WHEN, {"currency": "EUR"}, ChangeNotAtBoundary, "/currency"),
        (on("2025-06-20"), {"currency": "EUR"}, ChangeNotAtBoundary, "/currency"),
        (AT_END, {"currency": "CHF"}, CurrencyNotOffered, "/currency"),
        (NOW_WHEN, {"payer_id": "cus_x"}, CustomerNotFound, "/payer_id"),
        (on("2025-01-30"), {"quantities": seats(1)}, ChangeTooEarly, "/when/on"),
        (on("2025-04-10"), {"plan": "yearly"}, ChangeTooEarly, "/when/on"),
        (on("2025-04-10"), {"anchor_on": date(2025, 4, 10)}, ChangeTooEarly, "/when/on"),
    ],
)
async def test_what_is_refused_says_where_and_changes_nothing(
    uow: MemorySubscriptionsUnitOfWork,
    clock: FixedClock,
    when: When,
    wanted: dict[str, object],
    error: type[DomainError],
    pointer: str,
) -> None:
    before = keep(uow, a_basic())
    with pytest.raises(error) as refused:
        await change_subscription(a_change(when, **wanted), uow=uow, clock=clock)
    assert refused.value.pointer == pointer
    assert uow.subscriptions.by_id[before.id] == before
    assert (uow.told, uow.scheduled_changes.by_id) == ([], {})


async def test_all_that_stands_in_the_way_is_said_at_once(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    keep(uow, a_basic())
    with pytest.raises(ChangeRefused) as refused:
        await change_subscription(
            a_change(NOW_WHEN, plan="none", add=(AddOnRequest("none"),)), uow=uow, clock=clock
        )
    assert [error["pointer"] for error in refused.value.errors] == ["/plan", "/add/0/plan"]


async def test_a_version_that_is_not_on_sale_is_refused(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    keep(uow, a_basic())
    await note_plan_sale(NotePlanSale(PRO.plan_version_id, "withdrawn", 2), uow=uow)
    for when in (NOW_WHEN, AT_END):
        with pytest.raises(PlanVersionNotOnSale):
            await change_subscription(
                a_change(when, plan_version_id=PRO.plan_version_id), uow=uow, clock=clock
            )


async def test_its_own_version_need_not_be_on_sale_any_more(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    subscription = keep(uow, a_basic())
    await note_plan_sale(NotePlanSale(subscription.plan_version_id, "archived", 2), uow=uow)
    made = await change_subscription(a_change(NOW_WHEN, quantities=seats(11)), uow=uow, clock=clock)
    assert made.change.status is ChangeStatus.APPLIED


async def test_nothing_changes_after_the_end(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    keep(uow, replace(a_basic(), term_ends_at=utc("2025-06-30T04:00")))
    for when in (on("2025-06-30"), AT_END):
        with pytest.raises(ChangeAfterEnd):
            await change_subscription(a_change(when, quantities=seats(1)), uow=uow, clock=clock)
    clock.now = utc("2025-06-30T04:00")
    with pytest.raises(SubscriptionOver):
        await change_subscription(a_change(NOW_WHEN, quantities=seats(1)), uow=uow, clock=clock)


async def test_it_reaches_back_to_what_was_billed_elsewhere_and_sixty_periods_at_most(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    keep(uow, replace(a_basic("2019-01-01", index=77), billed_until=utc("2020-01-01T05:00")))
    for refused in ("2019-12-31", "2020-05-31"):
        with pytest.raises(ChangeTooEarly):
            await change_subscription(a_change(on(refused), quantities=seats(1)), uow=uow, clock=clock)
    made = await change_subscription(a_change(on("2020-06-01"), quantities=seats(1)), uow=uow, clock=clock)
    assert made.change.status is ChangeStatus.APPLIED
    [event] = uow.outbox.events
    assert isinstance(event, SubscriptionChangedV1)
    assert len(event.terms) == PERIODS_BACK_MAX + 1


async def test_a_hundred_changes_wait_and_no_more(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    keep(uow, a_basic())
    made = await change_subscription(a_change(AT_END, quantities=seats(1)), uow=uow, clock=clock)
    for number in range(CHANGES_WAITING_MAX - 1):
        uow.scheduled_changes.add(replace(made.change, id=f"sch_{number}"))
    with pytest.raises(TooManyChanges):
        await change_subscription(a_change(AT_END, quantities=seats(1)), uow=uow, clock=clock)


async def test_a_waiting_change_may_rest_on_one_before_it(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    keep(uow, a_basic())
    await change_subscription(a_change(on("2025-06-10"), add=(AddOnRequest("swaps"),)), uow=uow, clock=clock)
    with pytest.raises(SubscriptionItemNotFound):  # comes before the add-on does
        await change_subscription(
            a_change(on("2025-06-09"), quantities={"swaps/swaps": Decimal(3)}), uow=uow, clock=clock
        )
    made = await change_subscription(
        a_change(AT_END, quantities={"swaps/swaps": Decimal(3)}), uow=uow, clock=clock
    )
    assert made.change.status is ChangeStatus.SCHEDULED

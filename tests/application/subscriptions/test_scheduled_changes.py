"""Changes that wait are carried out in their time, altered and withdrawn; one that cannot be holds nobody up."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from libs.common.contracts.subscriptions import SubscriptionChangedV1, SubscriptionRenewedV1
from libs.common.errors import Conflict, PreconditionFailed
from services.subscriptions.application.alter_change import (
    AlterChange,
    WithdrawChange,
    alter_change,
    withdraw_change,
)
from services.subscriptions.application.cancel_subscription import CancelSubscription, cancel_subscription
from services.subscriptions.application.change_subscription import (
    ChangeMade,
    ChangeTooEarly,
    change_subscription,
)
from services.subscriptions.application.keep_plan import NotePlanSale, note_plan_sale
from services.subscriptions.application.renew_subscription import (
    RenewSubscription,
    load_for_renewal,
    renew_subscription,
)
from services.subscriptions.application.wanted_changes import AddOnRequest, ChangeRequest
from services.subscriptions.domain.renewal import NotDue
from services.subscriptions.domain.scheduled_change import (
    ChangeNotFound,
    ChangeNotScheduled,
    ChangeStatus,
    When,
)
from services.subscriptions.domain.subscription import Subscription, SubscriptionState
from services.subscriptions.domain.subscription_item import SubscriptionItemNotFound
from tests.support.changes import AT_END, NOW_WHEN, PRO, a_basic, a_change, keep, on, seats
from tests.support.clocks import FixedClock
from tests.support.subscriptions import MemorySubscriptionsUnitOfWork, utc

JUNE_END = utc("2025-06-30T04:00")


@pytest.fixture
def subscription(uow: MemorySubscriptionsUnitOfWork) -> Subscription:
    return keep(uow, a_basic())


async def run_until(
    at: str, subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> Subscription:
    """What the scheduler does when it finds the subscription at this instant."""
    clock.now = utc(at)
    while True:
        command = RenewSubscription(subscription.id, clock.now)
        await load_for_renewal([command], uow=uow)
        if isinstance(await renew_subscription(command, uow=uow), NotDue):
            return uow.subscriptions.by_id[subscription.id]


async def asked(
    when: When, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock, **wanted: object
) -> ChangeMade:
    clock.now += timedelta(seconds=1)  # so that what was asked for first is known to be the first
    return await change_subscription(a_change(when, **wanted), uow=uow, clock=clock)


def statuses(uow: MemorySubscriptionsUnitOfWork) -> list[str]:
    return [change.status.value for change in uow.scheduled_changes.by_id.values()]


async def test_at_the_end_of_the_period_it_is_part_of_the_renewal(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    made = await asked(AT_END, uow, clock, plan="pro", quantities=seats(8))
    after = await run_until("2025-06-30T04:00", subscription, uow, clock)
    [event] = uow.outbox.events
    assert isinstance(event, SubscriptionRenewedV1)
    assert [(item.price.code, item.quantity) for item in event.subscription.items] == [
        ("seats", Decimal(8)),
        ("support", Decimal(1)),
    ]
    assert (after.plan_code, after.boundary_changes, after.next_change_at) == ("pro", 0, None)
    kept = uow.scheduled_changes.by_id[made.change.id]
    assert (kept.status, kept.at, kept.version) == (ChangeStatus.APPLIED, JUNE_END, 2)
    assert [terms.period.index for terms in event.terms] == [4]  # other items than those it goes on with


async def test_on_its_date_it_is_a_change_in_mid_period_and_the_next_one_waits_on(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    await asked(on("2025-06-20"), uow, clock, quantities=seats(8))
    await asked(on("2025-06-10"), uow, clock, quantities=seats(9))
    after = await run_until("2025-06-10T04:00", subscription, uow, clock)
    assert after.next_change_at == utc("2025-06-20T04:00")
    assert [item.quantity for item in after.items] == [Decimal(9)]
    after = await run_until("2025-06-25T00:00", subscription, uow, clock)
    assert (after.next_change_at, after.due_at) == (None, JUNE_END)
    assert uow.told == ["SubscriptionChanged", "SubscriptionChanged"]
    event = uow.outbox.events[-1]
    assert isinstance(event, SubscriptionChangedV1)
    assert [one.quantity for one in event.terms[0].segments] == [10, 9, 8]
    assert statuses(uow) == ["applied", "applied"]


async def test_changes_on_a_boundary_are_carried_out_in_the_order_in_which_they_were_asked_for(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    await asked(AT_END, uow, clock, quantities=seats(8))
    await asked(on("2025-06-30"), uow, clock, quantities=seats(9))
    await asked(AT_END, uow, clock, add=(AddOnRequest("swaps"),))
    after = await run_until("2025-06-30T04:00", subscription, uow, clock)
    assert [(item.code, item.quantity) for item in after.items] == [("seats", 9), ("swaps/swaps", 1)]
    assert uow.told == ["SubscriptionRenewed"]
    assert statuses(uow) == ["applied", "applied", "applied"]


async def test_the_currency_changes_with_a_period(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    await asked(AT_END, uow, clock, currency="EUR")
    after = await run_until("2025-06-30T04:00", subscription, uow, clock)
    assert (after.currency, [item.price_id for item in after.items]) == ("EUR", ["prc_seats_9_EUR"])


async def test_one_that_cannot_be_carried_out_has_failed_and_the_subscription_goes_on(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    inside = await asked(on("2025-06-10"), uow, clock, plan_version_id=PRO.plan_version_id)
    at_end = await asked(AT_END, uow, clock, plan_version_id=PRO.plan_version_id, quantities=seats(3))
    fine = await asked(AT_END, uow, clock, quantities=seats(4))
    await note_plan_sale(NotePlanSale(PRO.plan_version_id, "withdrawn", 2), uow=uow)
    after = await run_until("2025-06-12T00:00", subscription, uow, clock)
    assert (after.next_change_at, after.boundary_changes, after.plan_code) == (None, 2, "basic")
    after = await run_until("2025-06-30T04:00", subscription, uow, clock)
    kept = uow.scheduled_changes.by_id
    for made in (inside, at_end):
        failed = kept[made.change.id]
        assert (failed.status, failed.reason_code) == (ChangeStatus.FAILED, "plan_version_not_on_sale")
        assert failed.reason
    assert kept[fine.change.id].status is ChangeStatus.APPLIED
    assert [item.quantity for item in after.items] == [Decimal(4)]
    assert after.state is SubscriptionState.ACTIVE
    assert after.due_at == utc("2025-07-31T04:00")


async def test_what_fails_is_what_rests_on_what_another_took_away(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    await asked(NOW_WHEN, uow, clock, add=(AddOnRequest("swaps"),))
    await asked(AT_END, uow, clock, quantities={"swaps/swaps": Decimal(5)})
    await asked(NOW_WHEN, uow, clock, remove=("swaps",))
    await run_until("2025-06-30T04:00", subscription, uow, clock)
    assert statuses(uow) == ["applied", "failed", "applied"]
    assert uow.told == ["SubscriptionChanged", "SubscriptionChanged", "SubscriptionRenewed"]


async def test_an_end_withdraws_what_waits(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    made = await asked(on("2025-06-20"), uow, clock, quantities=seats(8))
    await cancel_subscription(CancelSubscription(subscription.id, at=clock.now), uow=uow, clock=clock)
    after = await run_until("2025-06-02T00:00", subscription, uow, clock)
    assert (after.state, after.due_at) == (SubscriptionState.ENDED, None)
    gone = uow.scheduled_changes.by_id[made.change.id]
    assert (gone.status, gone.reason_code) == (ChangeStatus.WITHDRAWN, "subscription_over")


async def test_it_is_altered_while_it_waits(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    made = await asked(AT_END, uow, clock, quantities=seats(8), proration="none")
    altered = await alter_change(
        AlterChange(
            subscription.id,
            made.change.id,
            ChangeRequest(quantities=seats(7), plan="pro"),
            {"quantities", "plan"},
            on("2025-06-10"),
        ),
        uow=uow,
        clock=clock,
    )
    wanted = altered.change.wanted
    assert (wanted.quantities, wanted.plan_version_id, wanted.proration) == (seats(7), "plv_pro_1", "none")
    assert (altered.change.version, altered.change.when.on) == (2, date(2025, 6, 10))
    assert altered.subscription.next_change_at == utc("2025-06-10T04:00")
    assert altered.subscription.boundary_changes == 0
    after = await run_until("2025-06-10T04:00", subscription, uow, clock)
    assert (after.plan_code, after.items[0].quantity) == ("pro", Decimal(7))


async def test_it_is_withdrawn_while_it_waits(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    made = await asked(on("2025-06-10"), uow, clock, quantities=seats(8))
    command = WithdrawChange(subscription.id, made.change.id)
    withdrawn = await withdraw_change(command, uow=uow, clock=clock)
    assert withdrawn.change.status is ChangeStatus.WITHDRAWN
    assert (withdrawn.subscription.next_change_at, withdrawn.subscription.due_at) == (None, JUNE_END)
    with pytest.raises(ChangeNotScheduled):
        await withdraw_change(command, uow=uow, clock=clock)
    assert uow.told == []


async def test_what_is_altered_is_checked_again_and_lies_ahead(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    made = await asked(AT_END, uow, clock, quantities=seats(8))

    def altering(when: When | None = None, **wanted: object) -> AlterChange:
        request = ChangeRequest(**wanted)  # type: ignore[arg-type]
        return AlterChange(subscription.id, made.change.id, request, set(wanted), when)

    with pytest.raises(SubscriptionItemNotFound):
        await alter_change(altering(quantities={"chairs": Decimal(1)}), uow=uow, clock=clock)
    for when in (NOW_WHEN, on("2025-06-01")):
        with pytest.raises(ChangeTooEarly):
            await alter_change(altering(when), uow=uow, clock=clock)
    assert uow.scheduled_changes.by_id[made.change.id] == made.change


async def test_a_change_is_its_own_subscriptions(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    import dataclasses

    made = await asked(AT_END, uow, clock, quantities=seats(8))
    other = dataclasses.replace(subscription, id="sub_other")
    uow.subscriptions.add(other)
    with pytest.raises(ChangeNotFound):
        await withdraw_change(WithdrawChange(other.id, made.change.id), uow=uow, clock=clock)


async def test_the_version_is_the_changes_own(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    made = await asked(AT_END, uow, clock, quantities=seats(8))

    def only_first(version: int) -> None:
        if version != 1:
            raise PreconditionFailed("another version")

    command = AlterChange(subscription.id, made.change.id, ChangeRequest(quantities=seats(7)), {"quantities"})
    await alter_change(command, uow=uow, clock=clock, check_version=only_first)
    with pytest.raises(PreconditionFailed):
        await alter_change(command, uow=uow, clock=clock, check_version=only_first)


async def test_what_became_due_meanwhile_can_be_altered_no_more(
    subscription: Subscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    made = await asked(on("2025-06-10"), uow, clock, quantities=seats(8))
    clock.now = utc("2025-06-10T04:00")
    with pytest.raises(Conflict):
        await withdraw_change(WithdrawChange(subscription.id, made.change.id), uow=uow, clock=clock)
    assert statuses(uow) == ["applied"]


async def test_in_another_zone_it_waits_for_the_beginning_of_its_date_there(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock, subscription: Subscription
) -> None:
    """By its instant it would come a day early, or late, and cost that day."""
    made = await asked(on("2025-06-20"), uow, clock, quantities=seats(5))
    assert made.change.at == utc("2025-06-20T04:00")
    await asked(NOW_WHEN, uow, clock, zone="Pacific/Tongatapu")
    moved = uow.scheduled_changes.by_id[made.change.id]
    assert (moved.at, moved.version) == (utc("2025-06-19T11:00"), 2)
    assert uow.subscriptions.by_id[subscription.id].next_change_at == moved.at
    await run_until("2025-06-19T11:00", subscription, uow, clock)
    assert statuses(uow)[0] == "applied"

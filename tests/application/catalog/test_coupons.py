"""Making, changing, archiving, redeeming and withdrawing coupons."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from libs.common.clock import TestClock
from libs.common.contracts.catalog import CouponChangedV1, CouponRedeemedV1, CouponRedemptionWithdrawnV1
from libs.common.errors import DomainError, PreconditionFailed
from libs.common.money import Money
from services.catalog.application.archive_coupon import ArchiveCoupon, archive_coupon
from services.catalog.application.change_coupon import ChangeCoupon, change_coupon
from services.catalog.application.coupon_availability import get_coupon_availability
from services.catalog.application.create_coupon import CreateCoupon, create_coupon
from services.catalog.application.note_customer import (
    NoteCustomer,
    NoteSubscription,
    note_customer,
    note_subscription,
)
from services.catalog.application.redeem_coupon import RedeemCoupon, redeem_coupon
from services.catalog.application.withdraw_coupon_redemption import (
    WithdrawCouponRedemption,
    withdraw_coupon_redemption,
)
from services.catalog.domain.coupon import (
    CouponArchived,
    CouponExhausted,
    CouponExhaustedForCustomer,
    CouponExpired,
    CouponInvalid,
    CouponNotFound,
    CouponTerms,
    CouponTermsFixed,
)
from services.catalog.domain.coupon_redemption import CouponRedemptionNotFound
from services.catalog.domain.known_customer import (
    CustomerNotFound,
    KnownSubscription,
    SubscriptionNotFound,
)
from tests.support.catalog import MemoryCatalog, a_plan
from tests.support.clocks import FixedClock
from tests.support.coupons import a_coupon, some_terms
from tests.support.memory import Recorded
from tests.support.versions import OnlyVersion, any_version

FOR_ONE = RedeemCoupon("cus_one", coupon_id="cpn_spring")


@pytest.fixture
def uow() -> MemoryCatalog:
    """With a plan, a coupon, and two customers, one of whom has a subscription."""
    uow = MemoryCatalog()
    uow.plans.add(a_plan())
    uow.coupons.add(a_coupon())
    for customer_id in ("cus_one", "cus_two"):
        uow.known_customers.put(customer_id)
    uow.known_customers.put_subscription(KnownSubscription("sub_one", "cus_one", None))
    return uow


def limit(uow: MemoryCatalog, **changes: Any) -> None:
    uow.coupons.by_id["cpn_spring"] = a_coupon(**changes)


async def test_a_coupon_is_made_and_told_whole(uow: MemoryCatalog, clock: FixedClock) -> None:
    terms = some_terms(
        percent=None,
        amount=Money(1250, "EUR"),
        duration="periods",
        periods=3,
        plan_codes=("power", "power"),
        stacking_order=7,
        redemptions_max=5,
        valid_from=clock.now,
    )
    command = CreateCoupon("welcome", terms, ("flying-minutes", "prd_engine"))
    coupon = await create_coupon(command, uow=uow, clock=clock)
    assert uow.coupons.by_id[coupon.id] == coupon
    assert coupon.terms.product_ids == ("prd_engine",)
    assert uow.recorded == [Recorded("coupon.created", coupon.id, 1)]
    (event,) = uow.outbox.events
    assert isinstance(event, CouponChangedV1)
    told = event.coupon
    assert (told.coupon_id, told.coupon_version, told.code) == (coupon.id, 1, "welcome")
    assert (told.percent, told.amount, told.currency) == (None, Decimal("12.50"), "EUR")
    assert (told.duration, told.periods, told.stacking_order) == ("periods", 3, 7)
    assert (told.product_ids, told.plan_codes) == (("prd_engine",), ("power",))
    assert (told.redemptions_max, told.redemptions_per_customer_max) == (5, None)
    assert (told.valid_from, told.valid_until, told.is_archived) == (clock.now, None, False)


async def test_products_and_plans_must_be_there(uow: MemoryCatalog, clock: FixedClock) -> None:
    terms = some_terms(plan_codes=("power", "other"), percent=None)
    with pytest.raises(CouponInvalid) as refused:
        await create_coupon(
            CreateCoupon("x", terms, ("prd_engine", "engine", "prd_other")), uow=uow, clock=clock
        )
    pointers = [error["pointer"] for error in refused.value.errors]
    assert pointers == ["/products/1", "/products/2", "/plans/1", "/percent"]


async def test_a_change_keeps_what_it_does_not_name(uow: MemoryCatalog, clock: FixedClock) -> None:
    limit(uow, product_ids=("prd_engine",))
    command = ChangeCoupon("cpn_spring", lambda terms: replace(terms, name="Spring"))
    changed = await change_coupon(command, uow=uow, clock=clock, check_version=OnlyVersion(1))
    again = await change_coupon(command, uow=uow, clock=clock, check_version=OnlyVersion(2))
    assert again == changed
    assert changed.terms == some_terms(name="Spring", product_ids=("prd_engine",))
    widened = await change_coupon(
        ChangeCoupon("cpn_spring", lambda terms: terms, products=()),
        uow=uow,
        clock=clock,
        check_version=any_version,
    )
    assert widened.terms.product_ids == ()
    assert [event.version for event in uow.outbox.events] == [2, 3]


async def test_what_it_is_worth_is_fixed_while_somebody_has_it(uow: MemoryCatalog, clock: FixedClock) -> None:
    def doubled(terms: CouponTerms) -> CouponTerms:
        return replace(terms, percent=Decimal(50))

    async def change() -> None:
        command = ChangeCoupon("cpn_spring", doubled)
        await change_coupon(command, uow=uow, clock=clock, check_version=any_version)

    redemption = await redeem_coupon(FOR_ONE, uow=uow, clock=clock)
    with pytest.raises(CouponTermsFixed):
        await change()
    await withdraw_coupon_redemption(
        WithdrawCouponRedemption(redemption.id), uow=uow, clock=clock, check_version=any_version
    )
    await change()
    assert uow.coupons.by_id["cpn_spring"].terms.percent == 50


async def test_archiving_twice_archives_once(uow: MemoryCatalog, clock: FixedClock) -> None:
    command = ArchiveCoupon("cpn_spring")
    archived = await archive_coupon(command, uow=uow, clock=clock, check_version=any_version)
    again = await archive_coupon(command, uow=uow, clock=clock, check_version=any_version)
    assert archived.archived_at == clock.now
    assert again == archived
    (event,) = uow.outbox.events
    assert isinstance(event, CouponChangedV1)
    assert event.coupon.is_archived
    with pytest.raises(CouponArchived):
        await redeem_coupon(FOR_ONE, uow=uow, clock=clock)


async def test_another_version_is_left_alone(uow: MemoryCatalog, clock: FixedClock) -> None:
    redemption = await redeem_coupon(FOR_ONE, uow=uow, clock=clock)
    said = len(uow.outbox.events)
    with pytest.raises(PreconditionFailed):
        await change_coupon(
            ChangeCoupon("cpn_spring", lambda terms: replace(terms, name="x")),
            uow=uow,
            clock=clock,
            check_version=OnlyVersion(7),
        )
    with pytest.raises(PreconditionFailed):
        await archive_coupon(ArchiveCoupon("cpn_spring"), uow=uow, clock=clock, check_version=OnlyVersion(7))
    with pytest.raises(PreconditionFailed):
        await withdraw_coupon_redemption(
            WithdrawCouponRedemption(redemption.id), uow=uow, clock=clock, check_version=OnlyVersion(7)
        )
    assert len(uow.outbox.events) == said


async def test_redeeming_tells_the_coupon_as_it_is(uow: MemoryCatalog, clock: FixedClock) -> None:
    command = RedeemCoupon("cus_one", coupon_code="spring", subscription_id="sub_one")
    redemption = await redeem_coupon(command, uow=uow, clock=clock)
    assert uow.coupon_redemptions.by_id[redemption.id] == redemption
    assert (redemption.coupon_id, redemption.coupon_version) == ("cpn_spring", 1)
    assert (redemption.redeemed_at, redemption.withdrawn_at) == (clock.now, None)
    assert uow.recorded == [Recorded("coupon.redeemed", redemption.id, 1)]
    (appended,) = uow.outbox.appended
    event = appended.event
    assert isinstance(event, CouponRedeemedV1)
    assert (appended.key, event.redemption_id) == (redemption.id, redemption.id)
    assert (event.customer_id, event.subscription_id, event.test_clock) == ("cus_one", "sub_one", None)
    assert (event.coupon.code, event.coupon.percent, event.coupon.duration) == ("spring", 25, "forever")


async def test_a_subscription_on_a_test_clock_redeems_in_its_own_time(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    past = datetime.fromisoformat("2013-01-31T12:00:00+00:00")
    uow.clocks["clk_one"] = TestClock("clk_one", past)
    uow.known_customers.put_subscription(KnownSubscription("sub_past", "cus_one", "clk_one"))
    limit(uow, valid_until=past + timedelta(days=1))
    with pytest.raises(CouponExpired):
        await redeem_coupon(FOR_ONE, uow=uow, clock=clock)
    command = replace(FOR_ONE, subscription_id="sub_past")
    redemption = await redeem_coupon(command, uow=uow, clock=clock)
    assert redemption.redeemed_at == past
    withdrawn = await withdraw_coupon_redemption(
        WithdrawCouponRedemption(redemption.id), uow=uow, clock=clock, check_version=any_version
    )
    assert withdrawn.withdrawn_at == past
    assert {(event.occurred_at, event.test_clock) for event in uow.outbox.events} == {(past, "clk_one")}


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"coupon_id": "cpn_other"}, CouponNotFound),
        ({"coupon_id": None, "coupon_code": "summer"}, CouponNotFound),
        ({"customer_id": "cus_three"}, CustomerNotFound),
        ({"subscription_id": "sub_other"}, SubscriptionNotFound),
        ({"customer_id": "cus_two", "subscription_id": "sub_one"}, SubscriptionNotFound),
    ],
)
async def test_only_what_is_there_can_be_named(
    uow: MemoryCatalog, clock: FixedClock, changes: dict[str, Any], refused: type[DomainError]
) -> None:
    with pytest.raises(refused):
        await redeem_coupon(replace(FOR_ONE, **changes), uow=uow, clock=clock)
    assert uow.coupon_redemptions.by_id == {}


async def test_limits_hold_until_a_redemption_is_withdrawn(uow: MemoryCatalog, clock: FixedClock) -> None:
    limit(uow, redemptions_max=2, redemptions_per_customer_max=1)
    first = await redeem_coupon(FOR_ONE, uow=uow, clock=clock)
    with pytest.raises(CouponExhaustedForCustomer):
        await redeem_coupon(FOR_ONE, uow=uow, clock=clock)
    await redeem_coupon(replace(FOR_ONE, customer_id="cus_two"), uow=uow, clock=clock)
    with pytest.raises(CouponExhausted):
        await redeem_coupon(FOR_ONE, uow=uow, clock=clock)
    for _ in range(2):  # the second time changes nothing
        withdrawn = await withdraw_coupon_redemption(
            WithdrawCouponRedemption(first.id), uow=uow, clock=clock, check_version=any_version
        )
    assert withdrawn.withdrawn_at == clock.now
    events = [e for e in uow.outbox.events if isinstance(e, CouponRedemptionWithdrawnV1)]
    assert [(e.redemption_id, e.coupon_id, e.version) for e in events] == [(first.id, "cpn_spring", 2)]
    await redeem_coupon(FOR_ONE, uow=uow, clock=clock)
    with pytest.raises(CouponExhausted):
        await redeem_coupon(FOR_ONE, uow=uow, clock=clock)
    with pytest.raises(CouponRedemptionNotFound):
        await withdraw_coupon_redemption(
            WithdrawCouponRedemption("rdm_no"), uow=uow, clock=clock, check_version=any_version
        )


async def test_availability_says_what_redeeming_would(uow: MemoryCatalog, clock: FixedClock) -> None:
    limit(uow, redemptions_max=2, redemptions_per_customer_max=1)

    async def told(customer_id: str | None) -> tuple[str | None, int, int | None]:
        found = await get_coupon_availability("cpn_spring", customer_id, uow=uow, clock=clock)
        assert found.redeemable == (found.refusal is None)
        return found.refusal, found.redeemed_count, found.customer_redeemed_count

    assert await told("cus_one") == (None, 0, 0)
    await redeem_coupon(FOR_ONE, uow=uow, clock=clock)
    assert await told("cus_one") == ("coupon_exhausted_for_customer", 1, 1)
    assert await told("cus_two") == (None, 1, 0)
    assert await told(None) == (None, 1, None)
    await redeem_coupon(replace(FOR_ONE, customer_id="cus_two"), uow=uow, clock=clock)
    assert await told(None) == ("coupon_exhausted", 2, None)
    limit(uow, valid_until=clock.now)
    assert await told(None) == ("coupon_expired", 2, None)


async def test_hearing_of_a_subscription_makes_its_customer_known(uow: MemoryCatalog) -> None:
    await note_customer(NoteCustomer("cus_three"), uow=uow)
    told = KnownSubscription("sub_four", "cus_four", "clk_1")
    for _ in range(2):
        await note_subscription(NoteSubscription(told), uow=uow)
    assert {"cus_three", "cus_four"} <= uow.known_customers.customer_ids
    assert await uow.known_customers.find_subscription("sub_four") == told

"""Minimum terms in use: agreed on, bound by, bought out of, renewed, withdrawn from."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from libs.common.contracts.catalog import PlanOverlayV1
from libs.common.contracts.subscriptions import (
    SubscriptionChangedV1,
    SubscriptionEndedV1,
    SubscriptionReceiptIssuedV1,
    SubscriptionRenewedV1,
)
from libs.common.periods import Interval, start_of_day
from services.subscriptions.application.agreed_terms import TermWanted
from services.subscriptions.application.cancel_subscription import (
    CancelSubscription,
    WithdrawCancellation,
    cancel_subscription,
    withdraw_cancellation,
)
from services.subscriptions.application.declare_end import DeclareEnd, declare_end
from services.subscriptions.application.queries import get_earliest_end, get_quote, get_receipt
from services.subscriptions.application.quote_early_termination import (
    QuoteEarlyTermination,
    quote_early_termination,
)
from services.subscriptions.application.renew_subscription import RenewSubscription, renew_subscription
from services.subscriptions.application.renew_term import (
    RenewalOfCanceled,
    RenewTerm,
    TermNotRunning,
    renew_term,
)
from services.subscriptions.application.start_subscription import StartSubscription, start_subscription
from services.subscriptions.domain.agreed_term import AgreedTerm, EarlyTermination
from services.subscriptions.domain.earliest_end import EndsTooEarly
from services.subscriptions.domain.early_termination import QuoteExpired, QuoteNotFound
from services.subscriptions.domain.receipt import ReceiptNotFound, WithdrawalOver
from services.subscriptions.domain.renewal import NotDue
from services.subscriptions.domain.subscription import (
    Subscription,
    SubscriptionNotFound,
    SubscriptionState,
)
from tests.support.clocks import FixedClock
from tests.support.subscriptions import (
    MemorySubscriptionsUnitOfWork,
    a_calendar,
    a_customer,
    a_plan,
    a_subscription,
    an_item,
    utc,
)

ZONE = "America/New_York"
JUNE = a_calendar("2025-05-15")
ID = a_subscription().id
YEAR, MONTH = Interval("year"), Interval("month")
PERCENT = EarlyTermination("percentage", percent=Decimal(50))
LOWER = a_plan(
    plan_id="pln_00000000000000000000000002",
    plan_version_id="plv_00000000000000000000000002",
    code="lower",
    prices=tuple(
        price.model_copy(update={"id": f"{price.id}_lower", "unit_amount": Decimal(1000)})
        for price in a_plan().prices
        if price.kind == "recurring"
    ),
)


def aircraft(quantity: int = 2) -> Any:
    return an_item(
        id="si_aircraft",
        price_id="prc_aircraft",
        price_code="aircraft",
        kind="recurring",
        meter=None,
        quantity=Decimal(quantity),
        plan_version_id=a_plan().plan_version_id,
    )


def agreed(**changes: Any) -> Subscription:
    """Two aircraft for a year from 15 May 2025, 1,200 a month each; the clock shows 1 June."""
    term = AgreedTerm(YEAR, date(2025, 5, 15), date(2025, 5, 15)).begun(date(2025, 5, 15))
    bare = a_subscription(JUNE, items=(aircraft(),))
    return replace(bare, term=replace(term, **changes))


def local(text: str) -> Any:
    return start_of_day(date.fromisoformat(text), ZONE)


async def live(uow: MemorySubscriptionsUnitOfWork, until: str) -> Subscription:
    while not isinstance(await renew_subscription(RenewSubscription(ID, local(until)), uow=uow), NotDue):
        pass
    return uow.subscriptions.by_id[ID]


@pytest.fixture
def lower(uow: MemorySubscriptionsUnitOfWork) -> MemorySubscriptionsUnitOfWork:
    uow.plans.by_id[LOWER.plan_version_id] = LOWER
    return uow


async def test_a_term_is_agreed_on_with_the_subscription(
    lower: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    wanted = TermWanted(YEAR, notice=MONTH, on_end="step_down", step_down_plan="lower", reminder_days=(30,))
    command = StartSubscription(
        customer_id=a_customer().id, plan_code="power", term=wanted, trial=Interval("day", 10)
    )
    started = await start_subscription(command, uow=lower, clock=clock)
    assert started.term is not None
    assert (started.term.starts_on, started.term.ends_on) == (date(2025, 6, 11), date(2026, 6, 11))
    assert started.term.step_down_plan_version_id == LOWER.plan_version_id
    assert started.withdrawal_ends_on == date(2025, 6, 16)


async def test_what_was_agreed_on_elsewhere_is_not_withdrawn_from_unless_that_is_said(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    running = StartSubscription(
        customer_id=a_customer().id,
        plan_code="power",
        starts_on=date(2025, 4, 1),
        billed_until=date(2025, 6, 1),
        term=TermWanted(YEAR),
    )
    imported = await start_subscription(running, uow=uow, clock=clock)
    assert imported.withdrawal_ends_on is None
    assert imported.term is not None
    assert imported.term.ends_on == date(2026, 4, 1)
    with_days = replace(running, withdrawal_days=7)
    assert (await start_subscription(with_days, uow=uow, clock=clock)).withdrawal_ends_on == date(2025, 6, 9)


async def test_a_customers_own_terms_hold_for_as_long_as_they_say(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    overlay = PlanOverlayV1(
        overlay_id="ovl_00000000000000000000000001",
        customer_id=a_customer().id,
        plan_version_id=a_plan().plan_version_id,
        plan=a_plan(),
        term_unit="month",
        term_count=6,
    )
    await uow.plans.keep_overlay(overlay)
    command = StartSubscription(customer_id=a_customer().id, plan_overlay_id=overlay.overlay_id)
    started = await start_subscription(command, uow=uow, clock=clock)
    assert started.term is not None
    assert started.term.ends_on == date(2025, 12, 1)


async def test_a_plan_to_step_down_to_must_be_on_sale(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    wanted = TermWanted(YEAR, on_end="step_down", step_down_plan="lower")
    command = StartSubscription(customer_id=a_customer().id, plan_code="power", term=wanted)
    with pytest.raises(Exception, match="no published plan") as refused:
        await start_subscription(command, uow=uow, clock=clock)
    assert refused.value.pointer == "/term/step_down_plan/plan"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "command",
    [
        CancelSubscription(ID),
        CancelSubscription(ID, at_period_end=True),
        CancelSubscription(ID, at=utc("2026-05-15T03:59")),
    ],
    ids=["at_once", "with_the_period", "the_day_before_the_term_is_over"],
)
async def test_a_cancellation_inside_the_term_is_refused(
    command: CancelSubscription, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.subscriptions.add(agreed())
    with pytest.raises(EndsTooEarly) as refused:
        await cancel_subscription(command, uow=uow, clock=clock)
    assert refused.value.facts["earliest_end_on"] == date(2026, 5, 15)
    assert uow.outbox.events == []


async def test_a_cancellation_for_the_end_of_the_term_is_not(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.subscriptions.add(agreed())
    canceled = await cancel_subscription(CancelSubscription(ID, at=local("2026-05-15")), uow=uow, clock=clock)
    assert canceled.ends_at == local("2026-05-15")


async def test_the_seller_may_let_an_earlier_end_pass_and_it_is_written_down(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.subscriptions.add(agreed())
    command = CancelSubscription(ID, at_period_end=True, waiver="moved abroad")
    canceled = await cancel_subscription(command, uow=uow, clock=clock)
    assert canceled.ends_at == local("2025-06-15")
    assert canceled.term is not None
    assert canceled.term.waiver == "moved abroad"
    assert "subscription.term_waived" in [line.action for line in uow.recorded]


POLICIES = {
    "9600.00": PERCENT,  # half of 8 x 2,400
    "1234.57": EarlyTermination("fixed", amount=Decimal("1234.567")),
    "7200.00": EarlyTermination("months", months=3),
    "3199.97": EarlyTermination("rerate", rates=((0, Decimal("33.333")),)),  # of 4 x 2,400
}


@pytest.mark.parametrize("amount", POLICIES)
async def test_an_early_end_by_a_quote_charges_exactly_its_amount_whatever_prices_become(
    amount: str, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.subscriptions.add(agreed(early_termination=POLICIES[amount]))
    quote = await quote_early_termination(QuoteEarlyTermination(ID, date(2025, 9, 15)), uow=uow, clock=clock)
    assert quote.amount.to_decimal() == Decimal(amount)
    await cancel_subscription(CancelSubscription(ID, quote_id=quote.id), uow=uow, clock=clock)
    canceled = uow.subscriptions.by_id[ID]
    assert canceled.ends_at == local("2025-09-15")
    dearer = a_plan().prices[0].model_copy(update={"unit_amount": Decimal(9999)})
    uow.plans.by_id[a_plan().plan_version_id] = a_plan(prices=(dearer, *a_plan().prices[1:]))
    await live(uow, "2025-09-15")
    ended = uow.outbox.events[-1]
    assert isinstance(ended, SubscriptionEndedV1)
    [fee] = ended.fees
    assert (fee.fee_id, fee.kind, fee.amount) == (quote.id, "early_termination", Decimal(amount))
    assert fee.tax_category == "standard"
    assert (fee.service_start_on, fee.service_end_on) == (date(2025, 9, 15), date(2025, 9, 16))
    assert await get_quote(quote.id, subscription_id=ID, portal_customer=None, uow=uow) == replace(
        quote, accepted_at=clock.now, version=2
    )


async def test_an_expired_quote_is_refused_and_a_withdrawn_cancellation_owes_nothing(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.subscriptions.add(agreed(early_termination=PERCENT))
    quote = await quote_early_termination(
        QuoteEarlyTermination(ID, date(2025, 9, 15), days=2), uow=uow, clock=clock
    )
    later = FixedClock(clock.now + timedelta(days=2))
    with pytest.raises(QuoteExpired):
        await cancel_subscription(CancelSubscription(ID, quote_id=quote.id), uow=uow, clock=later)
    await cancel_subscription(CancelSubscription(ID, quote_id=quote.id), uow=uow, clock=clock)
    await withdraw_cancellation(WithdrawCancellation(ID), uow=uow, clock=clock)
    ended = await live(uow, "2026-06-01")
    assert ended.state is SubscriptionState.ACTIVE
    assert ended.term is not None
    assert ended.term.is_over
    assert ended.term.accepted_quote_id is None


async def test_a_quote_of_another_subscription_is_not_there(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.subscriptions.add(agreed(early_termination=PERCENT))
    other = replace(agreed(early_termination=PERCENT), id="sub_00000000000000000000000002")
    uow.subscriptions.add(other)
    quote = await quote_early_termination(
        QuoteEarlyTermination(other.id, date(2025, 9, 15)), uow=uow, clock=clock
    )
    with pytest.raises(QuoteNotFound):
        await cancel_subscription(CancelSubscription(ID, quote_id=quote.id), uow=uow, clock=clock)
    with pytest.raises(QuoteNotFound):
        await get_quote(quote.id, subscription_id=ID, portal_customer=None, uow=uow)


async def test_a_step_down_goes_on_at_the_other_plan(
    lower: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    stepping = agreed(on_end="step_down", step_down_plan_version_id=LOWER.plan_version_id)
    lower.subscriptions.add(stepping)
    stepped = await live(lower, "2026-05-15")
    assert stepped.plan_code == "lower"
    renewed = lower.outbox.events[-1]
    assert isinstance(renewed, SubscriptionRenewedV1)
    assert [item.price.unit_amount for item in renewed.subscription.items] == [Decimal(1000)]


async def test_a_new_term_follows_the_one_that_runs_with_a_plan_of_its_own(
    lower: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    lower.subscriptions.add(agreed(on_end="end"))
    renewed = await renew_term(
        RenewTerm(ID, TermWanted(YEAR, on_end="renew"), plan_code="lower"), uow=lower, clock=clock
    )
    assert renewed.plan_code == "power"
    assert renewed.ends_at is None
    earliest, _ = await get_earliest_end(ID, None, portal_customer=None, uow=lower, clock=clock)
    assert earliest.on == date(2027, 5, 15)
    assert isinstance(lower.outbox.events[-1], SubscriptionChangedV1)
    followed = await live(lower, "2026-05-15")
    assert followed.plan_code == "lower"
    assert followed.term is not None
    assert (followed.term.ends_on, followed.term.renewals) == (date(2027, 5, 15), 1)


async def test_a_new_term_may_begin_now(lower: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    lower.subscriptions.add(a_subscription(JUNE, items=(aircraft(),)))
    with pytest.raises(TermNotRunning):
        await renew_term(RenewTerm(ID, TermWanted(YEAR)), uow=lower, clock=clock)
    renewed = await renew_term(
        RenewTerm(ID, TermWanted(YEAR), begins="now", plan_code="lower"), uow=lower, clock=clock
    )
    assert renewed.plan_code == "lower"
    assert renewed.term is not None
    assert (renewed.term.starts_on, renewed.term.ends_on) == (date(2025, 6, 1), date(2026, 6, 1))
    changed = lower.outbox.events[-1]
    assert isinstance(changed, SubscriptionChangedV1)
    assert changed.terms


async def test_one_that_will_end_is_not_renewed(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.subscriptions.add(agreed())
    await cancel_subscription(CancelSubscription(ID, at=local("2026-05-15")), uow=uow, clock=clock)
    with pytest.raises(RenewalOfCanceled):
        await renew_term(RenewTerm(ID, TermWanted(YEAR)), uow=uow, clock=clock)


def a_declaration(kind: Any, **changes: Any) -> DeclareEnd:
    declared = DeclareEnd(kind, "ada@example.com", "I want out.", subscription_id=ID)
    return replace(declared, **changes)


async def test_a_withdrawal_ends_it_at_once_with_a_receipt(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.subscriptions.add(replace(agreed(), withdrawal_ends_on=date(2025, 6, 2)))
    receipt = await declare_end(
        a_declaration("withdrawal"), portal_customer=a_customer().id, uow=uow, clock=clock
    )
    assert receipt.ends_at == receipt.received_at == clock.now
    ended, issued = uow.outbox.events
    assert isinstance(ended, SubscriptionEndedV1)
    assert ended.reason == "withdrawn"
    assert ended.fees == ()
    [terms] = ended.terms
    assert [(part.end_on, part.end_proration) for part in terms.segments] == [(date(2025, 6, 1), "day")]
    assert isinstance(issued, SubscriptionReceiptIssuedV1)
    assert (issued.receipt_id, issued.kind) == (receipt.id, "withdrawal")
    assert await get_receipt(receipt.id, portal_customer=a_customer().id, uow=uow) == receipt


async def test_a_withdrawal_comes_too_late(uow: MemorySubscriptionsUnitOfWork, clock: FixedClock) -> None:
    uow.subscriptions.add(replace(agreed(), withdrawal_ends_on=date(2025, 6, 1)))
    with pytest.raises(WithdrawalOver):
        await declare_end(a_declaration("withdrawal"), portal_customer=None, uow=uow, clock=clock)
    assert uow.receipts.by_id == {}


async def test_a_consumer_cancels_for_the_earliest_end(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.subscriptions.add(replace(agreed(notice=MONTH), external_id="crm-1"))
    receipt = await declare_end(
        a_declaration("cancellation", subscription_id=None, external_id="crm-1"),
        portal_customer=a_customer().id,
        uow=uow,
        clock=clock,
    )
    assert receipt.ends_at == local("2026-05-15")
    assert uow.told == ["SubscriptionChanged", "SubscriptionReceiptIssued"]
    again = await declare_end(a_declaration("cancellation"), portal_customer=None, uow=uow, clock=clock)
    assert again.ends_at == receipt.ends_at
    assert uow.told[2:] == ["SubscriptionReceiptIssued"]


async def test_a_consumer_may_cancel_for_a_later_day(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.subscriptions.add(a_subscription(JUNE, items=(aircraft(),)))
    receipt = await declare_end(
        a_declaration("cancellation", ends_on=date(2025, 7, 1)), portal_customer=None, uow=uow, clock=clock
    )
    assert receipt.ends_at == local("2025-07-01")


async def test_without_a_term_a_consumers_cancellation_ends_it_at_once(
    uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.subscriptions.add(a_subscription(JUNE, items=(aircraft(),)))
    receipt = await declare_end(a_declaration("cancellation"), portal_customer=None, uow=uow, clock=clock)
    assert receipt.ends_at == clock.now
    assert uow.told == ["SubscriptionEnded", "SubscriptionReceiptIssued"]


@pytest.mark.parametrize("named_by", ["subscription_id", "external_id"])
async def test_what_is_another_customers_is_not_there(
    named_by: str, uow: MemorySubscriptionsUnitOfWork, clock: FixedClock
) -> None:
    uow.subscriptions.add(replace(agreed(), external_id="crm-1", withdrawal_ends_on=date(2025, 6, 9)))
    named = {"subscription_id": None, "external_id": None, named_by: ID if named_by[0] == "s" else "crm-1"}
    with pytest.raises(SubscriptionNotFound):
        await declare_end(
            a_declaration("cancellation", **named), portal_customer="cus_other", uow=uow, clock=clock
        )
    receipt = await declare_end(a_declaration("withdrawal"), portal_customer=None, uow=uow, clock=clock)
    with pytest.raises(ReceiptNotFound):
        await get_receipt(receipt.id, portal_customer="cus_other", uow=uow)

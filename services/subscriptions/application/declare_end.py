"""A consumer declares that it withdraws, or cancels, and is given a receipt at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from libs.common.clock import Clock
from libs.common.ids import new_id
from libs.common.paging import PageRequest
from libs.common.periods import local_date, start_of_day
from services.subscriptions.application import events
from services.subscriptions.application.carry_out import carry_out
from services.subscriptions.application.catch_up import caught_up
from services.subscriptions.application.now import business_now
from services.subscriptions.application.pointing import pointing_at
from services.subscriptions.application.ports import SubscriptionFilter, UnitOfWork
from services.subscriptions.application.queries import get_subscription, list_subscriptions
from services.subscriptions.domain.cancellation import EndChanged, Unchanged, cancel_at, withdraw_from
from services.subscriptions.domain.earliest_end import earliest_end, refuse_too_early
from services.subscriptions.domain.receipt import Receipt, ReceiptKind, refuse_withdrawal, write_receipt
from services.subscriptions.domain.renewal import Ended
from services.subscriptions.domain.subscription import Subscription, SubscriptionNotFound


@dataclass(frozen=True, slots=True)
class DeclareEnd:
    """The subscription is named by its id, or by the tenant's own id for it; who declares is kept as they said it.

    `ends_on` is a date that a cancellation is for, where that is later than the earliest end.
    """

    kind: ReceiptKind
    declared_by: str
    statement: str
    subscription_id: str | None = None
    external_id: str | None = None
    ends_on: date | None = None


async def declare_end(
    command: DeclareEnd, *, portal_customer: str | None, uow: UnitOfWork, clock: Clock
) -> Receipt:
    """A withdrawal ends the subscription at once, as if it had been used for a part of its period only: recurring fees
    are given back by the day, whatever their prices say, and what was charged once is; usage is charged as used. A
    cancellation ends it as early as its term allows, and gives back what each price does for the days after that. One
    that ends earlier already stays as it is.
    Emits: SubscriptionReceiptIssued, with SubscriptionEnded or SubscriptionChanged.
    Raises: SubscriptionNotFound, SubscriptionOver, WithdrawalOver, EndsTooEarly, CancellationAfterTerm.
    """
    found = await _find(command, portal_customer=portal_customer, uow=uow)
    now = await business_now(found.test_clock_id, uow=uow, clock=clock)
    subscription = await uow.subscriptions.get_for_update(found.id)
    if command.kind == "withdrawal":
        refuse_withdrawal(subscription, now)
    subscription = await caught_up(found.id, now, uow=uow)
    if command.kind == "withdrawal":
        subscription = await _carry_out(withdraw_from(subscription, now), now, uow=uow)
    else:
        subscription = await _cancel(subscription, command.ends_on, now, uow=uow)
    created_at = clock.system_now()
    receipt = write_receipt(
        command.kind,
        subscription,
        id=new_id("rcp", created_at),
        declared_by=command.declared_by,
        statement=command.statement,
        ends_at=_ends_at(subscription),
        now=now,
        created_at=created_at,
    )
    uow.receipts.add(receipt)
    uow.record("receipt.issued", receipt.id)
    events.tell_receipt(receipt, subscription, uow=uow)
    return receipt


async def _find(command: DeclareEnd, *, portal_customer: str | None, uow: UnitOfWork) -> Subscription:
    """Raises: SubscriptionNotFound, in the same words for another customer's under a portal token."""
    if command.subscription_id is not None:
        with pointing_at("/subscription_id"):
            return await get_subscription(command.subscription_id, portal_customer=portal_customer, uow=uow)
    wanted = SubscriptionFilter(external_id=command.external_id)
    page = await list_subscriptions(wanted, PageRequest(limit=1), portal_customer=portal_customer, uow=uow)
    if not page.items:
        raise SubscriptionNotFound("there is no subscription with this external id", pointer="/external_id")
    return page.items[0]


async def _cancel(
    subscription: Subscription, on: date | None, now: datetime, *, uow: UnitOfWork
) -> Subscription:
    subscription.refuse_when_over(now, to="cancel")
    zone = subscription.calendar.zone
    today = local_date(now, zone)
    at = max(earliest_end(subscription, today).at, now)
    if on is not None and start_of_day(on, zone) > at:
        at = start_of_day(on, zone)
        refuse_too_early(subscription, at, today)
    if subscription.ends_at is not None and subscription.ends_at <= at:
        return subscription
    return await _carry_out(cancel_at(subscription, at, now, credit="prorated"), now, uow=uow)


async def _carry_out(
    outcome: EndChanged | Ended | Unchanged, now: datetime, *, uow: UnitOfWork
) -> Subscription:
    """An end that has come is carried out in the same transaction, so that the receipt can say so."""
    subscription = outcome.subscription
    if isinstance(outcome, Ended):
        await carry_out(outcome, uow=uow, now=now)
    elif isinstance(outcome, EndChanged):
        uow.subscriptions.save(subscription)
        uow.record("subscription.canceled", subscription.id, subscription.version)
        if subscription.ends_at is not None and subscription.ends_at <= now:
            return await caught_up(subscription.id, now, uow=uow)
        await events.tell(subscription, uow=uow, occurred_at=now)
    return subscription


def _ends_at(subscription: Subscription) -> datetime | None:
    """None for one that never began."""
    if subscription.ended_at is None:
        return subscription.ends_at
    return subscription.ended_at if subscription.period is not None else None

"""Say what it costs to end before the term does, and stand by it for a while."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from libs.common.clock import Clock
from libs.common.ids import new_id
from services.subscriptions.application.agreed_terms import fee_prices
from services.subscriptions.application.now import business_now
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.early_termination import (
    QUOTE_DAYS,
    EarlyTerminationQuote,
    early_termination_fee,
    issue_quote,
)


@dataclass(frozen=True, slots=True)
class QuoteEarlyTermination:
    """For an end on the local date `on`; the quote is good for `days`."""

    subscription_id: str
    on: date
    days: int = QUOTE_DAYS


async def quote_early_termination(
    command: QuoteEarlyTermination, *, uow: UnitOfWork, clock: Clock
) -> EarlyTerminationQuote:
    """The fee by the policy that was agreed on. The subscription stays as it is, until it is canceled with the quote.

    Raises: SubscriptionNotFound, SubscriptionOver, QuoteInThePast, QuoteNotNeeded, EarlyTerminationForbidden,
    EndsTooEarly, FeeNotReckoned.
    """
    subscription = await uow.subscriptions.get(command.subscription_id)
    now = await business_now(subscription.test_clock_id, uow=uow, clock=clock)
    subscription.refuse_when_over(now, to="end")
    prices = await fee_prices(subscription, uow=uow)
    fee = early_termination_fee(subscription, command.on, now, prices)
    created_at = clock.system_now()
    quote = issue_quote(
        fee, subscription, id=new_id("etq", created_at), now=now, created_at=created_at, days=command.days
    )
    uow.quotes.add(quote)
    uow.record("early_termination_quote.issued", quote.id, quote.version)
    return quote

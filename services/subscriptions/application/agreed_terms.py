"""Terms as they are asked for and as they are agreed on, and what they come to at an end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from libs.common.contracts.catalog import PlanOverlayV1, PlanV1, PriceV1
from libs.common.contracts.subscriptions import FeeV1
from libs.common.errors import RuleViolation
from libs.common.periods import DAY, Interval, local_date
from services.subscriptions.application.offers import find_plan, offer_of
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.agreed_term import AgreedTerm, EarlyTermination, OnTermEnd
from services.subscriptions.domain.earliest_end import refuse_too_early
from services.subscriptions.domain.early_termination import accept_quote
from services.subscriptions.domain.recurring_fee import NOTHING, FeePrice, FeeTier
from services.subscriptions.domain.renewal import Ended
from services.subscriptions.domain.subscription import Subscription
from services.subscriptions.domain.subscription_item import Offer

UNCOUNTED = date(1, 1, 1)  # until it is counted from the day on which billing begins
TAX_CATEGORY = "standard"  # a fee for not honouring a tie-in is consideration, and taxed as the service is


class StepDownWithoutPlan(RuleViolation):
    code = "step_down_without_plan"
    title = "A step-down needs the plan to go on at"


@dataclass(frozen=True, slots=True)
class TermWanted:
    """A minimum term as it is asked for. The plan to step down to is named by its code, or by a version's id."""

    length: Interval
    notice: Interval | None = None
    on_end: OnTermEnd = "month_to_month"
    step_down_plan: str | None = None
    step_down_plan_version_id: str | None = None
    early_termination: EarlyTermination = field(default_factory=EarlyTermination)
    reminder_days: tuple[int, ...] = ()

    @property
    def names_a_plan(self) -> bool:
        return self.step_down_plan is not None or self.step_down_plan_version_id is not None


def agreed_term(
    wanted: TermWanted | None, *, overlay: PlanOverlayV1 | None, step_down: PlanV1 | None
) -> AgreedTerm | None:
    """The term that is asked for or, without one, the time for which a customer's own terms hold; None without either.

    It is counted from the day on which billing begins, once that is known.
    """
    if wanted is None:
        if overlay is None or overlay.term_unit is None:
            return None
        return AgreedTerm(Interval(overlay.term_unit, overlay.term_count), UNCOUNTED, UNCOUNTED)
    if wanted.on_end == "step_down" and step_down is None:
        raise StepDownWithoutPlan(
            "the term steps down to a plan",
            pointer="/term/step_down_plan",
            remedy="Name it by step_down_plan or step_down_plan_version_id.",
        )
    return AgreedTerm(
        length=wanted.length,
        starts_on=UNCOUNTED,
        ends_on=UNCOUNTED,
        notice=wanted.notice,
        on_end=wanted.on_end,
        step_down_plan_version_id=step_down.plan_version_id if step_down is not None else None,
        early_termination=wanted.early_termination,
        reminder_days=wanted.reminder_days,
    )


async def term_offer(subscription: Subscription, now: datetime, *, uow: UnitOfWork) -> Offer | None:
    """The plan that a subscription whose term is over by `now` goes on with, if that is another."""
    term, edge = subscription.term, subscription.term_edge
    if term is None or edge is None or edge > now or term.plan_version_at_end is None:
        return None
    plan = await uow.plans.get(term.plan_version_at_end)
    return offer_of(plan, currency=subscription.currency)


async def allow_end(
    subscription: Subscription,
    at: datetime,
    *,
    quote_id: str | None,
    waiver: str | None,
    now: datetime,
    uow: UnitOfWork,
) -> datetime:
    """When the subscription may be made to end: `at`, or the day of a quote that is accepted with this.

    A `waiver` lets an end pass that the term does not allow; it is kept with the subscription.
    Raises: EndsTooEarly, QuoteNotFound, QuoteExpired.
    """
    if quote_id is not None:
        quote, at = accept_quote(await uow.quotes.get_for_update(quote_id), subscription, now)
        uow.quotes.save(quote)
        return at
    if waiver is None:
        refuse_too_early(subscription, at, local_date(now, subscription.calendar.zone))
    return at


async def fees_at_end(outcome: Ended, *, uow: UnitOfWork, now: datetime) -> tuple[FeeV1, ...]:
    """The early-termination fee of a subscription that ends by a quote: the amount of that, whatever came after it."""
    subscription = outcome.subscription
    term = subscription.term
    if (
        term is None
        or term.accepted_quote_id is None
        or outcome.ended is None
        or outcome.reason != "canceled"
    ):
        return ()
    quote = await uow.quotes.get(term.accepted_quote_id)
    if not quote.amount.amount_minor:
        return ()
    fee = FeeV1(
        fee_id=quote.id,
        kind="early_termination",
        description=f"Early termination on {quote.ends_on}, agreed on until {quote.bound_until}",
        amount=quote.amount.to_decimal(),
        service_start_on=quote.ends_on,
        service_end_on=quote.ends_on + DAY,
        tax_category=TAX_CATEGORY,
    )
    return (fee,)


async def fee_prices(subscription: Subscription, *, uow: UnitOfWork) -> Mapping[str, FeePrice]:
    """The recurring prices of all that was ever agreed on, by id."""
    items = [segment.item for segment in subscription.segments if segment.item.kind == "recurring"]
    versions = {(item.plan_version_id, item.overlay_id) for item in items}
    wanted = {item.price_id for item in items}
    prices: dict[str, FeePrice] = {}
    for plan_version_id, overlay_id in sorted(versions, key=str):
        plan = await find_plan(plan_version_id, overlay_id, uow=uow)
        billed_each = Interval(plan.interval_unit, plan.interval_count)
        prices |= {price.id: fee_price(price, billed_each) for price in plan.prices if price.id in wanted}
    return prices


def fee_price(price: PriceV1, billed_each: Interval) -> FeePrice:
    """The price, charged each interval of its own or of its plan."""
    interval = Interval(price.interval_unit, price.interval_count) if price.interval_unit else billed_each
    return FeePrice(
        id=price.id,
        description=price.description,
        model=price.model,
        interval=interval,
        unit_amount=price.unit_amount,
        tiers=tuple(
            FeeTier(
                tier.up_to,
                tier.unit_amount,
                NOTHING if tier.flat_amount is None else tier.flat_amount,
                tier.cap_amount,
                tier.rate_percent,
            )
            for tier in price.tiers
        ),
        charges_first_flat_at_zero=price.charges_first_flat_at_zero,
        package_size=price.package_size,
        package_rounding=price.package_rounding,
        rate_percent=price.rate_percent,
        minimum_amount=price.minimum_amount,
        maximum_amount=price.maximum_amount,
    )

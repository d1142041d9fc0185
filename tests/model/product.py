"""The product's own domain, driven as its application drives it, with everything in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise

from libs.common.errors import DomainError
from libs.common.periods import Interval, local_date, start_of_day
from services.subscriptions.domain.agree import Parties, Terms, agree, begun_on
from services.subscriptions.domain.billing_period import BillingPeriod
from services.subscriptions.domain.cancellation import (
    EndChanged,
    Unchanged,
    cancel_at,
    withdraw_cancellation,
)
from services.subscriptions.domain.change import Change, apply_change, moment_of
from services.subscriptions.domain.invoice_standing import (
    BecamePastDue,
    BecameSuspended,
    InvoiceStanding,
    Recovered,
    Standing,
    decide_dunning,
    following_standing,
)
from services.subscriptions.domain.lifecycle import SubscriptionState
from services.subscriptions.domain.pause import begin_pause, plan_pause, resume, resume_on, withdraw_pause
from services.subscriptions.domain.period_terms import PeriodTerms, TermSegment
from services.subscriptions.domain.renewal import (
    Changed,
    DueChange,
    DueFacts,
    Ended,
    NotDue,
    Outcome,
    Reminded,
    Renewed,
    Started,
    change_now,
    decide_due,
    tell_change,
)
from services.subscriptions.domain.subscription import (
    Activation,
    Credit,
    FirstPart,
    Pause,
    Subscription,
    TrialEnd,
)
from services.subscriptions.domain.subscription_item import Offer, OfferedPrice, Proration, items_of
from tests.model.agreement import Plan, Stretch, Wish, merged
from tests.model.books import Books

TENANT = "0197c7b3-41a2-7d6e-9f00-5a3c8e1b2d47"
ID = "sub_00000000000000000000000001"


def offer_of(plan: Plan, *, is_add_on: bool = False) -> Offer:
    """The same plan in the product's words."""
    return Offer(
        plan_version_id=f"plv_{plan.code}",
        plan_code=plan.code,
        plan_name=plan.code.title(),
        prices=tuple(
            OfferedPrice(price.id, code, price.kind, f"m_{code}" if price.kind == "usage" else None)
            for code, price in plan.prices.items()
        ),
        interval=Interval(plan.unit, plan.count),  # type: ignore[arg-type]
        currency="EUR",
        is_add_on=is_add_on,
    )


def change_of(wish: Wish) -> Change:
    return Change(
        offer=offer_of(wish.plan) if wish.plan is not None else None,
        quantities=wish.quantities,
        add_ons=tuple((offer_of(plan, is_add_on=True), quantities) for plan, quantities in wish.add_ons),
        removes=wish.removes,
        anchor_on=wish.anchor_on,
        anchoring=wish.anchoring,
        zone=wish.zone,
        proration=wish.method,
    )


@dataclass
class Told:
    """What billing knows: of each period the newest terms, or the agreement's items from end to end."""

    periods: dict[int, BillingPeriod] = field(default_factory=dict)
    segments: dict[int, tuple[TermSegment, ...]] = field(default_factory=dict)

    def hear(self, outcome: Started | Renewed | Changed | Ended) -> None:
        if isinstance(outcome, (Started, Renewed)):
            period = outcome.period
            self.periods[period.index] = period
            self.segments[period.index] = tuple(
                TermSegment(item, period.start, period.start_on, period.end, period.end_on)
                for item in outcome.subscription.items
            )
        if isinstance(outcome, (Renewed, Ended)) and outcome.ended is not None:
            self.periods[outcome.ended.index] = outcome.ended
        for terms in outcome.terms:
            self.hear_terms(terms)

    def hear_terms(self, terms: PeriodTerms) -> None:
        self.periods[terms.period.index] = terms.period
        self.segments[terms.period.index] = terms.segments

    def stretches(self, index: int) -> dict[str, list[Stretch]]:
        found: dict[str, list[Stretch]] = {}
        for segment in self.segments[index]:
            item = segment.item
            code = item.code + "#" * (item.kind == "one_time")
            found.setdefault(code, []).append(
                Stretch(
                    segment.start,
                    segment.start_on,
                    segment.end,
                    segment.end_on,
                    item.price_id,
                    item.quantity,
                    segment.start_proration,
                    segment.end_proration,
                )
            )
        for stretches in found.values():
            ordered = sorted(stretches, key=lambda one: one.start)
            assert all(one.end <= other.start for one, other in pairwise(ordered)), found
        return {code: merged(stretches) for code, stretches in found.items()}


@dataclass
class Product:
    """One subscription, its periods, the changes it waits for, and what was told of it."""

    subscription: Subscription
    terms: Terms
    offer: Offer
    periods: dict[int, BillingPeriod] = field(default_factory=dict)
    waiting: list[DueChange] = field(default_factory=list)
    told: Told = field(default_factory=Told)
    standings: dict[str, Standing] = field(default_factory=dict)
    has_payment_method: bool = True
    log: list[tuple[str, datetime]] = field(default_factory=list)
    item_ids: dict[str, str] = field(default_factory=dict)
    books: Books | None = None

    def facts(self, due_at: datetime | None = None) -> DueFacts:
        period = self.subscription.period
        end = period.end if period is not None else self.subscription.starts_at
        due = [
            one
            for one in self.waiting
            if due_at is None
            or (one.at is not None and one.at <= due_at)
            or (one.at is None and period is not None and due_at >= end)
        ]
        return DueFacts(
            tenant=TENANT,
            changes=() if due_at is None else sorted(due, key=lambda one: one.at or end),
            past={
                index: known
                for index, known in self.periods.items()
                if period is not None and index < period.index
            },
            has_payment_method=self.has_payment_method,
        )

    # --- by itself ------------------------------------------------------------------------------------------------

    def run_to(self, now: datetime) -> None:
        for _ in range(10_000):
            due_at = self.subscription.due_at
            if due_at is None or due_at > now:
                assert isinstance(decide_due(self.subscription, now, self.facts(now)), NotDue)
                return
            outcome = self._decide(due_at, now)
            assert not isinstance(outcome, NotDue), "what is due happens"
            if outcome is not None:
                self._carry_out(outcome)
        raise AssertionError("it never comes to rest")

    def _decide(self, due_at: datetime, now: datetime) -> Outcome | NotDue | None:
        """None where what was due was a change that cannot be carried out: it waits no more."""
        facts = self.facts(due_at)
        try:
            outcome = decide_due(self.subscription, now, facts)
            assert outcome == decide_due(self.subscription, now, facts)
            return outcome
        except DomainError:
            guilty = next(
                number
                for number in range(1, len(facts.changes) + 1)
                if _fails(self.subscription, now, replace(facts, changes=facts.changes[:number]))
            )
            self.waiting.remove(facts.changes[guilty - 1])
            self._note_waiting()
            return None

    def _carry_out(self, outcome: Outcome) -> None:
        self.subscription = outcome.subscription
        if isinstance(outcome, Started):
            self.periods[0] = outcome.period
            self.log.append(("started", outcome.period.start))
        elif isinstance(outcome, Renewed):
            assert outcome.period.index == outcome.ended.index + 1
            self.periods[outcome.ended.index] = outcome.ended
            self.periods[outcome.period.index] = outcome.period
            self.log.append(("renewed", outcome.period.start))
        elif isinstance(outcome, Changed):
            self.log.append((outcome.kind, outcome.at))
        elif isinstance(outcome, Reminded):
            self.log.append(("reminded", outcome.reminder.at))
        elif isinstance(outcome, Ended):
            if outcome.ended is not None:
                self.periods[outcome.ended.index] = outcome.ended
            self.log.append(("ended", outcome.ended_at))
            self.waiting.clear()
        if isinstance(outcome, (Renewed, Changed)):
            self.waiting = [one for one in self.waiting if one.id not in outcome.applied]
        if self.subscription.period is not None:
            self.periods[self.subscription.period.index] = self.subscription.period
        self._note_waiting()
        if not isinstance(outcome, Reminded):
            self.told.hear(outcome)
            if self.books is not None and not (isinstance(outcome, Ended) and outcome.ended is None):
                self.books.hear(outcome)
        self.item_ids |= {one.item.code: one.item.id for one in self.subscription.segments}

    def _note_waiting(self) -> None:
        dated = [one.at for one in self.waiting if one.at is not None]
        self.subscription = replace(
            self.subscription,
            next_change_at=min(dated, default=None),
            boundary_changes=sum(one.at is None for one in self.waiting),
        )

    # --- asked for ------------------------------------------------------------------------------------------------

    def change_now(
        self, id: str, wish: Wish, at: datetime, now: datetime, *, first_touched: int | None, settles: bool
    ) -> None:
        subscription = self.subscription
        subscription.refuse_when_over(now, to="change")
        moment = moment_of(subscription, at, now)
        if subscription.period is None:
            after, _ = apply_change(subscription, change_of(wish), moment, tenant=TENANT)
            self.subscription = after.changed()
            self.offer = change_of(wish).offer or self.offer
            self.run_to(now)
            return
        due = DueChange(id, at, change_of(wish), settles)
        outcome = change_now(subscription, due, moment, self.facts(), first_touched=first_touched)
        self._carry_out(outcome)
        if not wish.removes and not _charges_once(wish):
            again, _ = apply_change(
                self.subscription, change_of(replace(wish, anchoring="keep")), moment, tenant=TENANT
            )
            assert again.segments == self.subscription.segments, "the same once more changes nothing"
        self.run_to(now)

    def plan_change(self, id: str, wish: Wish, at: datetime | None) -> None:
        self.waiting.append(DueChange(id, at, change_of(wish)))
        self.subscription = self.subscription.changed()
        self._note_waiting()

    def pause(
        self,
        start: datetime,
        end: datetime | None,
        method: Proration | None,
        now: datetime,
        *,
        first_touched: int | None,
        settles: bool,
    ) -> None:
        self.subscription.refuse_when_over(now, to="pause")
        zone = self.subscription.calendar.zone
        pause = Pause(
            start,
            local_date(start, zone),
            end,
            local_date(end, zone) if end is not None else None,
            proration=method,
        )
        planned = plan_pause(self.subscription, pause, now)
        if start > now:
            self.subscription = planned.changed()
            return
        begun = begin_pause(planned, first_touched)
        self._carry_out(tell_change(begun, start, "paused", self.facts(), settles=settles))

    def withdraw_pause(self) -> None:
        self.subscription = withdraw_pause(self.subscription)

    def resume(self, at: datetime, now: datetime, *, first_touched: int | None, settles: bool) -> None:
        self.subscription.refuse_when_over(now, to="resume")
        resumed = resume(self.subscription, at, first_touched)
        self._carry_out(tell_change(resumed, at, "resumed", self.facts(), settles=settles))

    def resume_on(self, end: datetime | None) -> None:
        zone = self.subscription.calendar.zone
        self.subscription = resume_on(
            self.subscription, end, local_date(end, zone) if end is not None else None
        )

    def cancel(self, at: datetime, credit: Credit, now: datetime) -> None:
        outcome = cancel_at(self.subscription, at, now, credit=credit)
        if isinstance(outcome, EndChanged):
            self.subscription = outcome.subscription
            self.run_to(now)
            again = self.subscription
            if again.state not in ("ended", "canceled"):
                assert isinstance(cancel_at(again, at, now, credit=credit), Unchanged)
        elif isinstance(outcome, Ended):
            self._carry_out(outcome)

    def withdraw(self, now: datetime) -> None:
        self.subscription = withdraw_cancellation(self.subscription, now).subscription

    def hear(self, invoice: str, heard: str) -> None:
        standing = following_standing(self.standings.get(invoice), Standing(InvoiceStanding(heard)))
        self.standings[invoice] = standing
        outcome = decide_dunning(
            self.subscription, [known.standing for known in self.standings.values()], invoice
        )
        if isinstance(outcome, (BecamePastDue, BecameSuspended, Recovered)):
            self.subscription = outcome.subscription

    def activate(self, on: date, now: datetime) -> None:
        subscription = self.subscription
        subscription.refuse_unless([SubscriptionState.AWAITING_ACTIVATION], to="activate")
        terms = replace(self.terms, starts_on=on, zone=subscription.calendar.zone, activation=None)
        items = tuple(segment.item for segment in subscription.segments if segment.end is None)
        activated = begun_on(replace(subscription, activation=None), on, items, self.offer, terms)
        self.subscription = activated.changed(state=SubscriptionState.SCHEDULED)
        self.run_to(now)


def _charges_once(wish: Wish) -> bool:
    plans = [plan for plan, _ in wish.add_ons] + ([wish.plan] if wish.plan is not None else [])
    return any(price.kind == "one_time" for plan in plans for price in plan.prices.values())


def _fails(subscription: Subscription, now: datetime, facts: DueFacts) -> bool:
    try:
        decide_due(subscription, now, facts)
    except DomainError:
        return True
    return False


def agreed(
    plan: Plan,
    quantities: Mapping[str, Decimal],
    *,
    zone: str,
    starts_on: date,
    now: datetime,
    ends_on: date | None = None,
    anchor_on: date | None = None,
    first_part: FirstPart = "prorated",
    trial: tuple[str, int] | None = None,
    trial_bills_usage: bool = False,
    trial_reminder_days: tuple[int, ...] = (),
    trial_without_payment: TrialEnd = "continue",
    awaits_activation: bool = False,
) -> Product:
    offer = offer_of(plan)
    items = items_of(offer, quantities, tenant=TENANT, subscription_id=ID)
    terms = Terms(
        zone,
        starts_on,
        ends_on=ends_on,
        anchor_on=anchor_on,
        first_part=first_part,
        trial=Interval(trial[0], trial[1]) if trial is not None else None,  # type: ignore[arg-type]
        trial_bills_usage=trial_bills_usage,
        trial_reminder_days=trial_reminder_days,
        trial_without_payment_method=trial_without_payment,
        activation=Activation("delivery", starts_on) if awaits_activation else None,
    )
    made = agree(Parties("cus_1"), offer, items, terms, id=ID, created_at=now)
    return Product(made, terms, offer)


__all__ = ["PeriodTerms", "Product", "agreed", "start_of_day"]

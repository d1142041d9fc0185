"""What a subscription's clock brings about: it begins, renews, changes, pauses, reminds or ends, or nothing is due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from services.subscriptions.domain.billing_period import BillingPeriod
from services.subscriptions.domain.change import (
    Change,
    Moment,
    apply_change,
    enter_next_phase,
    moment_of,
)
from services.subscriptions.domain.lifecycle import RUNNING, SubscriptionState
from services.subscriptions.domain.pause import begin_pause, resume
from services.subscriptions.domain.period_terms import PeriodTerms, are_plain, terms_of
from services.subscriptions.domain.subscription import EndReason, Pause, Reminder, Subscription
from services.subscriptions.domain.subscription_item import Offer
from services.subscriptions.domain.term_reminders import reminders_with, without_late_reminders


@dataclass(frozen=True, slots=True)
class NotDue:
    """Nothing happens before `due_at`; None when nothing will happen by itself any more."""

    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Started:
    subscription: Subscription
    period: BillingPeriod
    terms: tuple[PeriodTerms, ...] = ()


@dataclass(frozen=True, slots=True)
class Renewed:
    """`ended` is over and `period` begins, at the same instant. `applied` are the ids of the changes carried out."""

    subscription: Subscription
    ended: BillingPeriod
    period: BillingPeriod
    terms: tuple[PeriodTerms, ...] = ()
    applied: tuple[str, ...] = ()


ChangeKind = Literal["changed", "paused", "resumed"]


@dataclass(frozen=True, slots=True)
class Changed:
    """Something changed at `at` that begins no period. `settles`: what it costs stands on a document of its own."""

    subscription: Subscription
    at: datetime
    kind: ChangeKind = "changed"
    terms: tuple[PeriodTerms, ...] = ()
    settles: bool = False
    applied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reminded:
    subscription: Subscription
    reminder: Reminder


@dataclass(frozen=True, slots=True)
class Ended:
    """`ended` is the last period, cut at `ended_at`; None when it never began."""

    subscription: Subscription
    ended: BillingPeriod | None
    ended_at: datetime
    reason: EndReason
    terms: tuple[PeriodTerms, ...] = ()


Outcome = Started | Renewed | Changed | Reminded | Ended


@dataclass(frozen=True, slots=True)
class DueChange:
    """A scheduled change whose time has come; `at` is None for one at the end of the period."""

    id: str
    at: datetime | None
    change: Change
    settles: bool = False


@dataclass(frozen=True, slots=True)
class DueFacts:
    """What the decision needs beside the subscription: its due changes in their order, the plan of its phases, the plan
    that it goes on with when its term is over, the earlier periods that were touched (by number), and whether there is a
    payment method to collect from.
    """

    tenant: str
    changes: Sequence[DueChange] = ()
    offer: Offer | None = None
    term_offer: Offer | None = None
    past: Mapping[int, BillingPeriod] = field(default_factory=dict)
    has_payment_method: bool = True


def decide_start(subscription: Subscription, now: datetime) -> Started | NotDue:
    """Begin the first billing period of a scheduled subscription whose time has come; with a trial, that is the trial.

    A repeat finds a subscription that has begun, and NotDue.
    """
    if subscription.state is not SubscriptionState.SCHEDULED or subscription.starts_at > now:
        return NotDue(subscription.due_at)
    period = first_period(subscription)
    state = SubscriptionState.TRIALING if period.kind == "trial" else SubscriptionState.ACTIVE
    if state is SubscriptionState.ACTIVE and subscription.cancels_at is not None:
        state = SubscriptionState.ENDING
    begun = subscription.changed(state=state, period=period)
    return Started(begun, period, _told(begun, period=period))


def first_period(subscription: Subscription) -> BillingPeriod:
    start = subscription.starts_at
    on = moment_of(subscription, start, start).on
    if subscription.trial_ends_at is None:
        return subscription.calendar.period_from(on, start, index=0, merges_stub=subscription.merges_stub)
    ends_at = subscription.trial_ends_at
    return BillingPeriod(0, on, moment_of(subscription, ends_at, start).on, start, ends_at, kind="trial")


def decide_due(subscription: Subscription, now: datetime, facts: DueFacts) -> Outcome | NotDue:
    """The next thing that is due by `now`, one at a time and in the order of time.

    What is two periods behind is still due afterwards. At one instant: reminders, then an end, then the edge of a pause,
    then the end of its minimum term, changes and the next period together, so that a change on a boundary is in the new
    period's document.
    An end that falls on a boundary ends the period there and begins none. A past due subscription renews like any other.
    """
    subscription = without_late_reminders(subscription, now)
    due_at = subscription.due_at
    if due_at is None or due_at > now:
        return NotDue(due_at)
    if subscription.state is SubscriptionState.SCHEDULED:
        return decide_start(subscription, now)
    if subscription.state not in RUNNING or subscription.period is None:
        return NotDue(due_at)
    period = subscription.period
    for reminder in subscription.pending_reminders:
        if reminder.at <= due_at:
            rest = tuple(known for known in subscription.reminders if known != reminder)
            return Reminded(subscription.changed(reminders=rest), reminder)
    if subscription.ends_at is not None and subscription.ends_at <= due_at:
        return end(subscription, subscription.ends_at, facts)
    edge = subscription.next_pause_edge
    if edge is not None and edge <= due_at:
        return _turn(subscription, edge, facts)
    edge = subscription.term_edge
    if edge is not None and edge <= due_at and edge < period.end:
        return _turn_term(subscription, max(edge, period.start), facts)
    dated = [due for due in facts.changes if due.at is not None and due.at < period.end]
    if dated:
        assert dated[0].at is not None
        return change_now(subscription, dated[0], _then(subscription, dated[0].at), facts)
    if due_at < period.end:  # what made it due is gone: a change that could not be carried out
        return Changed(subscription.changed(next_change_at=None), due_at)
    return _renew(subscription, facts)


def _then(subscription: Subscription, at: datetime) -> Moment:
    """The moment of what is due: the same whenever it is carried out."""
    return moment_of(subscription, at, at)


def _turn(subscription: Subscription, at: datetime, facts: DueFacts) -> Changed:
    """A planned pause begins, or the one under way ends by itself."""
    if subscription.state is SubscriptionState.PAUSED:
        return _changed(resume(subscription, at), at, "resumed", facts)
    return _changed(begin_pause(subscription), at, "paused", facts)


def _turn_term(subscription: Subscription, at: datetime, facts: DueFacts) -> Renewed | Changed:
    """Its minimum term is over inside of a period: what holds from then on, and the plan that it goes on with."""
    change = _change_at_term_end(subscription, facts)
    turned = _with_next_term(subscription, at)
    if change is None:
        return _changed(turned.changed(), at, "changed", facts)
    due = DueChange("", at, change)
    return replace(change_now(turned, due, _then(subscription, at), facts), applied=())


def _with_next_term(subscription: Subscription, at: datetime) -> Subscription:
    assert subscription.term is not None, "a term that is over was there"
    term = subscription.term.after_end()
    return replace(subscription, term=term, reminders=reminders_with(subscription, term, after=at))


def _change_at_term_end(subscription: Subscription, facts: DueFacts) -> Change | None:
    """The plan that it goes on with is another."""
    if subscription.term is None or subscription.term.plan_version_at_end is None:
        return None
    assert facts.term_offer is not None, "whoever decides knows the plan that follows the term"
    return Change(offer=facts.term_offer)


def _renew(subscription: Subscription, facts: DueFacts) -> Renewed | Changed | Ended:
    ended = subscription.period
    assert ended is not None
    moment = Moment(ended.end, ended.end_on, ended.end)
    is_paused = subscription.state is SubscriptionState.PAUSED
    if ended.kind == "trial" and not facts.has_payment_method and not is_paused:
        if subscription.trial_without_payment_method == "cancel":
            return end(subscription, ended.end, facts, reason="trial_without_payment_method")
        if subscription.trial_without_payment_method == "pause":
            over = (pause for pause in subscription.pauses if pause.status == "over")
            paused = (
                *over,
                Pause(ended.end, ended.end_on, extends_term=False),
            )  # in place of one that was planned
            planned = replace(subscription, pauses=paused)
            return _changed(begin_pause(planned), ended.end, "paused", facts)
    after = subscription
    edge = subscription.term_edge
    if edge is not None and edge <= ended.end:
        change = _change_at_term_end(subscription, facts)
        after = _with_next_term(after, ended.end)
        if change is not None:
            after, _ = apply_change(after, change, moment, tenant=facts.tenant)
    for due in facts.changes:
        after, _ = apply_change(after, due.change, moment, tenant=facts.tenant)
    if after.phase_ends_index == ended.index + 1 and facts.offer is not None:
        after = enter_next_phase(after, facts.offer, moment, ended.index + 1, tenant=facts.tenant)
    merges_stub = after.merges_stub and ended.kind == "trial"
    period = after.calendar.after(ended, merges_stub=merges_stub)
    applied = tuple(due.id for due in facts.changes)
    renewed = after.changed(period=period, next_change_at=None if applied else after.next_change_at)
    terms = _told(renewed, ended=ended, period=period, past=facts.past)
    return Renewed(replace(renewed, touched=frozenset()), ended, period, terms, applied)


def change_now(
    subscription: Subscription,
    due: DueChange,
    moment: Moment,
    facts: DueFacts,
    *,
    first_touched: int | None = None,
) -> Changed | Renewed:
    """Carry a change out at its moment, inside the current period or with effect in an earlier one."""
    after, cut = apply_change(
        subscription, due.change, moment, tenant=facts.tenant, first_touched=first_touched
    )
    changed = after.changed()
    if cut is None:
        return _changed(changed, moment.at, "changed", facts, settles=due.settles, applied=(due.id,))
    terms = _told(changed, ended=cut.ended, period=cut.begins, past=facts.past)
    return Renewed(replace(changed, touched=frozenset()), cut.ended, cut.begins, terms, (due.id,))


def _changed(
    subscription: Subscription,
    at: datetime,
    kind: ChangeKind,
    facts: DueFacts,
    *,
    settles: bool = False,
    applied: tuple[str, ...] = (),
) -> Changed:
    terms = _told(subscription, period=subscription.period, past=facts.past)
    if settles:
        subscription = replace(subscription, touched=frozenset())
    return Changed(subscription, at, kind, terms, settles, applied)


def tell_change(
    subscription: Subscription, at: datetime, kind: ChangeKind, facts: DueFacts, *, settles: bool = False
) -> Changed:
    """A change that was made elsewhere (a pause, a resumption, an end that was set), with the terms that it touched."""
    return _changed(subscription, at, kind, facts, settles=settles)


def end(
    subscription: Subscription, at: datetime, facts: DueFacts, *, reason: EndReason | None = None
) -> Ended:
    """The subscription is over at `at`; its last period is cut there."""
    period = subscription.period
    assert period is not None, "what runs has a period"
    canceled = subscription.cancels_at is not None and subscription.cancels_at == at
    why: EndReason = reason or (subscription.cancel_reason if canceled else "term_end")
    last = subscription.calendar.cut(period, at)
    pauses = subscription.pauses
    if subscription.pause is not None:
        kept = replace(subscription.pause, end=None, end_on=None, status="over")
        pauses = pauses[:-1] if subscription.pause.status == "planned" else (*pauses[:-1], kept)
    over = subscription.changed(
        state=SubscriptionState.ENDED,
        period=last,
        ended_at=at,
        end_reason=why,
        reminders=(),
        pauses=pauses,
        next_change_at=None,
        boundary_changes=0,
    )
    terms = _told(over, ended=last, past=facts.past)
    return Ended(replace(over, touched=frozenset()), last, at, why, terms)


def _told(
    subscription: Subscription,
    *,
    ended: BillingPeriod | None = None,
    period: BillingPeriod | None = None,
    past: Mapping[int, BillingPeriod] | None = None,
) -> tuple[PeriodTerms, ...]:
    """The terms that an event must carry: those of touched periods, and whatever does not follow from the items alone."""
    told: dict[int, PeriodTerms] = {}
    for index in sorted(subscription.touched):
        known = (past or {}).get(index)
        if known is not None:
            told[index] = terms_of(subscription, known, is_over=True)
    if ended is not None:
        terms = terms_of(subscription, ended, is_over=True)
        if ended.index in subscription.touched or not are_plain(terms, subscription):
            told[ended.index] = terms
    if period is not None:
        terms = terms_of(subscription, period, is_over=False)
        if period.index in subscription.touched or not are_plain(terms, subscription):
            told[period.index] = terms
    return tuple(told[index] for index in sorted(told))

"""A subscription: who agreed to what, from when until when, and the state that it is in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Literal, Self

from libs.common.errors import Conflict, NotFound, RuleViolation
from libs.common.periods import Interval, start_of_day
from services.subscriptions.domain.agreed_term import AgreedTerm
from services.subscriptions.domain.billing_period import BillingPeriod, Calendar
from services.subscriptions.domain.lifecycle import (
    MOVES,
    NEXT,
    OVER,
    RUNNING,
    WAITING,
    SubscriptionState,
)
from services.subscriptions.domain.subscription_item import ItemSegment, Proration, SubscriptionItem

__all__ = ["OVER", "RUNNING", "WAITING", "Subscription", "SubscriptionState"]

EndReason = Literal["term_end", "canceled", "withdrawn", "trial_without_payment_method", "not_paid"]
Credit = Literal["none", "prorated", "full"]
TrialEnd = Literal["continue", "cancel", "pause"]
AwaitedEvent = Literal["delivery", "acceptance"]
Anchoring = Literal["anniversary", "calendar"]
FirstPart = Literal["prorated", "free", "merged"]
ReminderKind = Literal["trial_ending", "renewal_upcoming"]
DayCount = Literal["actual", "thirty_day_months"]


class SubscriptionNotFound(NotFound):
    code = "subscription_not_found"
    title = "There is no such subscription"


class SubscriptionExternalIdTaken(Conflict):
    code = "subscription_external_id_taken"
    title = "Another subscription has this external id"


class SubscriptionOver(Conflict):
    code = "subscription_over"
    title = "The subscription is over"


class TermReversed(RuleViolation):
    code = "term_reversed"
    title = "A term that ends before it starts"


class TransitionNotAllowed(Conflict):
    code = "transition_not_allowed"
    title = "The subscription's state does not allow this"


class Dunning(StrEnum):
    """How its invoices stand: all is well, one is overdue, or one was given up."""

    NONE = "none"
    PAST_DUE = "past_due"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class ProrationOptions:
    """How parts of a period are counted; see ProrationOptionsV1, which it becomes."""

    day_count: DayCount = "actual"
    change_day: Literal["new", "old"] = "new"
    end_day: Literal["unused", "used"] = "unused"
    stub: Literal["anchored", "unclamped"] = "anchored"
    credits_to: Literal["next_invoice", "balance"] = "next_invoice"


DEFAULT_PRORATION = ProrationOptions()


@dataclass(frozen=True, slots=True)
class Pause:
    """From `start` until `end` (None: until it is resumed) nothing is agreed on. One with a `start` to come is planned.

    `extends_term`: the minimum term ends later by as many days. `fee` is charged when it begins.
    """

    start: datetime
    start_on: date
    end: datetime | None = None
    end_on: date | None = None
    proration: Proration | None = None
    extends_term: bool = True
    fee: str | None = None
    fee_description: str = "Pause"
    status: Literal["planned", "running", "over"] = "planned"


@dataclass(frozen=True, slots=True)
class Reminder:
    """To be told of at `at`; `days_before` what it is about."""

    at: datetime
    kind: ReminderKind
    days_before: int
    about: datetime


@dataclass(frozen=True, slots=True)
class Activation:
    """What the beginning waits for; `first_of_next_month`: it begins on the first of the month after that.

    The rest is what was agreed on for the beginning, whenever that is: see Terms.
    """

    awaits: AwaitedEvent
    ordered_on: date
    first_of_next_month: bool = False
    anchor_on: date | None = None
    anchoring: Anchoring = "anniversary"
    first_part: FirstPart = "prorated"
    trial: Interval | None = None
    trial_bills_usage: bool = False
    trial_reminder_days: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Subscription:
    """`term_ends_at` was agreed at the start, `cancels_at` was set since; the earlier of them ends it.

    `period` is the current billing period: None until it begins, and the last one, cut, once it is over.
    `segments` are the whole history of its items. `pauses` are in the order of time and do not overlap; the last may be
    under way or planned. `touched` are the numbers of periods that were changed since a document was made of them.
    `next_change_at` is when the next of its scheduled changes is due, `boundary_changes` how many wait for the end of
    the period. `phase` is the phase of its plan that its period is in, `phase_ends_index` the number of the period with
    which the next one begins. `keeps_charges_of` is the number of the period of which a cancellation gives nothing back.
    `withdrawal_ends_on` is the first day on which a consumer may no longer withdraw; None where nobody may.
    """

    id: str
    customer_id: str
    plan_version_id: str
    plan_code: str
    plan_name: str
    currency: str
    calendar: Calendar
    segments: tuple[ItemSegment, ...]
    starts_at: datetime
    created_at: datetime
    state: SubscriptionState = SubscriptionState.SCHEDULED
    version: int = 1
    term_ends_at: datetime | None = None
    cancels_at: datetime | None = None
    cancel_credit: Credit = "none"
    cancel_reason: EndReason = "canceled"
    keeps_charges_of: int | None = None
    period: BillingPeriod | None = None
    ended_at: datetime | None = None
    end_reason: EndReason | None = None
    test_clock_id: str | None = None
    external_id: str | None = None
    overlay_id: str | None = None
    payer_id: str | None = None
    dunning: Dunning = Dunning.NONE
    pauses: tuple[Pause, ...] = ()
    trial_ends_at: datetime | None = None
    trial_without_payment_method: TrialEnd = "continue"
    merges_stub: bool = False
    touched: frozenset[int] = frozenset()
    next_change_at: datetime | None = None
    boundary_changes: int = 0
    phase: str | None = None
    phase_ends_index: int | None = None
    reminders: tuple[Reminder, ...] = ()
    activation: Activation | None = None
    term: AgreedTerm | None = None
    proration: ProrationOptions = DEFAULT_PRORATION
    billed_until: datetime | None = None
    won_back_from: str | None = None
    withdrawal_ends_on: date | None = None

    @property
    def items(self) -> tuple[SubscriptionItem, ...]:
        """What is agreed on now, and goes on until something changes it; nothing that was charged once and for all."""
        return tuple(
            segment.item
            for segment in self.segments
            if segment.end is None and segment.item.kind != "one_time"
        )

    @property
    def term_edge(self) -> datetime | None:
        """When its minimum term is over; None without one, and while a pause that makes it longer has no end yet."""
        term, pause = self.term, self.pause
        if term is None or term.is_over:
            return None
        ends_on = term.ends_on
        if pause is not None and pause.status == "running" and extends(pause, term):
            if pause.end_on is None:
                return None
            ends_on += pause.end_on - pause.start_on
        return start_of_day(ends_on, self.calendar.zone)

    @property
    def agreed_end(self) -> datetime | None:
        """When it ends by what was agreed on: on a date, or with its minimum term."""
        term = self.term
        ends_with_term = term is not None and term.on_end == "end" and term.following is None
        return _earliest(self.term_ends_at, self.term_edge if ends_with_term else None)

    @property
    def ends_at(self) -> datetime | None:
        """When it ends, as far as is known: as agreed on, or at the instant it is canceled for."""
        return _earliest(self.agreed_end, self.cancels_at)

    @property
    def pending_reminders(self) -> tuple[Reminder, ...]:
        """Those that are still of use: nobody is reminded of a renewal that was canceled."""
        cancels_at = self.cancels_at
        return tuple(
            reminder
            for reminder in self.reminders
            if reminder.kind != "renewal_upcoming" or cancels_at is None or reminder.about < cancels_at
        )

    @property
    def pause(self) -> Pause | None:
        """The pause that is under way or planned."""
        return self.pauses[-1] if self.pauses and self.pauses[-1].status != "over" else None

    @property
    def due_at(self) -> datetime | None:
        """When something must happen next without anybody asking: it begins, renews, changes, reminds or ends."""
        if self.state is SubscriptionState.SCHEDULED:
            return self.starts_at
        if self.state not in RUNNING or self.period is None:
            return None
        reminder = min((reminder.at for reminder in self.pending_reminders), default=None)
        return _earliest(
            self.period.end,
            self.ends_at,
            self.term_edge,
            self.next_change_at,
            self.next_pause_edge,
            reminder,
        )

    @property
    def next_pause_edge(self) -> datetime | None:
        """When a planned pause begins, or the one under way ends by itself."""
        pause = self.pause
        if pause is None:
            return None
        return pause.start if pause.status == "planned" else pause.end

    @property
    def renews_at(self) -> datetime | None:
        """When its next period begins; None when it has not begun, is over, or ends before that."""
        if self.state not in RUNNING or self.period is None:
            return None
        return None if self.ends_at is not None and self.ends_at <= self.period.end else self.period.end

    def changed(self, **changes: Any) -> Self:
        """The next version of it, in the state that its facts put it in, if the table of transitions allows that.

        A `state` given is the state that it starts or ends in.
        Raises: TransitionNotAllowed.
        """
        after = replace(self, version=self.version + 1, **changes)
        if "state" not in changes and after.state in RUNNING:
            after = replace(after, state=standing_of(after))
        if after.state is not self.state and after.state not in NEXT[self.state]:
            raise TransitionNotAllowed(
                f"a subscription that is {self.state} cannot become {after.state}",
                state=self.state,
                moves=list(MOVES[self.state]),
            )
        return after

    def refuse_when_over(self, now: datetime, *, to: str) -> None:
        """An end whose time has come stands, also while the scheduler has yet to write it down.

        Raises: SubscriptionOver.
        """
        if self.state in OVER:
            raise SubscriptionOver(
                f"the subscription is {self.state}: there is nothing to {to}",
                state=self.state,
                moves=list(MOVES[self.state]),
                remedy="Agree on a new one (POST /v1/subscriptions).",
            )
        if self.ends_at is not None and self.ends_at <= now:
            raise SubscriptionOver("the subscription's end has come", ends_at=self.ends_at)

    def refuse_unless(self, states: Iterable[SubscriptionState], *, to: str) -> None:
        """Raises: TransitionNotAllowed, with what is allowed instead."""
        if self.state not in states:
            raise TransitionNotAllowed(
                f"a subscription that is {self.state} cannot be asked to {to}",
                state=self.state,
                moves=list(MOVES[self.state]),
                remedy=f"It allows: {', '.join(MOVES[self.state])}.",
            )


def extends(pause: Pause, term: AgreedTerm) -> bool:
    """Whether the term ends later by the days of the pause: of one that begins while it runs, if so agreed."""
    return pause.extends_term and not term.is_over and pause.start_on < term.ends_on


def standing_of(subscription: Subscription) -> SubscriptionState:
    """The state of a subscription that runs, from its facts: what weighs most comes first."""
    if subscription.pause is not None and subscription.pause.status == "running":
        return SubscriptionState.PAUSED
    if subscription.dunning is Dunning.SUSPENDED:
        return SubscriptionState.SUSPENDED
    if subscription.dunning is Dunning.PAST_DUE:
        return SubscriptionState.PAST_DUE
    if subscription.period is not None and subscription.period.kind == "trial":
        return SubscriptionState.TRIALING
    if subscription.cancels_at is not None:
        return SubscriptionState.ENDING
    return SubscriptionState.ACTIVE


def _earliest(*instants: datetime | None) -> datetime | None:
    return min((at for at in instants if at is not None), default=None)

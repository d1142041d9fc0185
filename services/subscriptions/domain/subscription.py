"""A subscription: who agreed to which plan version, from when until when, and the state that it is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, Self

from libs.common.errors import Conflict, NotFound, RuleViolation
from libs.common.periods import Interval, UnknownZone, start_of_day, zone_names
from services.subscriptions.domain.billing_period import BillingPeriod, Calendar
from services.subscriptions.domain.subscription_item import SubscriptionItem

EndReason = Literal["term_end", "canceled"]


class SubscriptionState(StrEnum):
    SCHEDULED = "scheduled"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    ENDED = "ended"
    CANCELED = "canceled"


_S = SubscriptionState

# The one table of what may follow what. `canceled` is for a subscription that never began.
TRANSITIONS: Mapping[SubscriptionState, frozenset[SubscriptionState]] = MappingProxyType(
    {
        _S.SCHEDULED: frozenset({_S.ACTIVE, _S.CANCELED}),
        _S.ACTIVE: frozenset({_S.PAST_DUE, _S.ENDED}),
        _S.PAST_DUE: frozenset({_S.ACTIVE, _S.ENDED}),
        _S.ENDED: frozenset(),
        _S.CANCELED: frozenset(),
    }
)
RUNNING = frozenset({_S.ACTIVE, _S.PAST_DUE})
OVER = frozenset({_S.ENDED, _S.CANCELED})


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


@dataclass(frozen=True, slots=True)
class Subscription:
    """`term_ends_at` was agreed at the start, `cancels_at` was set since; the earlier of them ends it.

    `period` is the current billing period: None until it begins, and the last one, cut, once it is over.
    """

    id: str
    customer_id: str
    plan_version_id: str
    plan_code: str
    plan_name: str
    currency: str
    calendar: Calendar
    items: tuple[SubscriptionItem, ...]
    starts_at: datetime
    created_at: datetime
    state: SubscriptionState = SubscriptionState.SCHEDULED
    version: int = 1
    term_ends_at: datetime | None = None
    cancels_at: datetime | None = None
    period: BillingPeriod | None = None
    ended_at: datetime | None = None
    end_reason: EndReason | None = None
    test_clock_id: str | None = None
    external_id: str | None = None

    @property
    def ends_at(self) -> datetime | None:
        """When it ends, as far as is known: the end of its term or the instant it is canceled for."""
        return min((at for at in (self.term_ends_at, self.cancels_at) if at is not None), default=None)

    @property
    def due_at(self) -> datetime | None:
        """When something must happen next without anybody asking: it begins, renews or ends."""
        if self.state is SubscriptionState.SCHEDULED:
            return self.starts_at
        if self.state in RUNNING and self.period is not None:
            return self.period.end if self.ends_at is None else min(self.period.end, self.ends_at)
        return None

    @property
    def renews_at(self) -> datetime | None:
        """When its next period begins; None when it has not begun, is over, or ends before that."""
        if self.state not in RUNNING or self.period is None:
            return None
        return None if self.ends_at is not None and self.ends_at <= self.period.end else self.period.end

    def changed(self, **changes: Any) -> Self:
        """The next version of it, in the same state or in one that the table of transitions allows.

        Raises: TransitionNotAllowed.
        """
        state = changes.get("state", self.state)
        if state is not self.state and state not in TRANSITIONS[self.state]:
            raise TransitionNotAllowed(
                f"a subscription that is {self.state} cannot become {state}", state=self.state
            )
        return replace(self, version=self.version + 1, **changes)


def agree(
    *,
    id: str,
    customer_id: str,
    plan_version_id: str,
    plan_code: str,
    plan_name: str,
    currency: str,
    interval: Interval,
    zone: str,
    starts_on: date,
    ends_on: date | None,
    items: tuple[SubscriptionItem, ...],
    created_at: datetime,
    test_clock_id: str | None,
    external_id: str | None,
) -> Subscription:
    """A new agreement that has not begun. It runs from the start of `starts_on` until the start of `ends_on`.

    Raises: UnknownZone, TermReversed.
    """
    if zone not in zone_names():
        raise UnknownZone(
            "not an IANA time zone", pointer="/zone", remedy="Name a zone such as Europe/Amsterdam."
        )
    if ends_on is not None and ends_on <= starts_on:
        raise TermReversed(
            "ends_on is the first day after the term, so it is later than starts_on", pointer="/ends_on"
        )
    return Subscription(
        id=id,
        customer_id=customer_id,
        plan_version_id=plan_version_id,
        plan_code=plan_code,
        plan_name=plan_name,
        currency=currency,
        calendar=Calendar(anchor_on=starts_on, interval=interval, zone=zone),
        items=items,
        starts_at=start_of_day(starts_on, zone),
        term_ends_at=start_of_day(ends_on, zone) if ends_on is not None else None,
        created_at=created_at,
        test_clock_id=test_clock_id,
        external_id=external_id,
    )

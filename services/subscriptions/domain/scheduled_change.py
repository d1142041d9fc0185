"""Changes that were asked for: what of an agreement is to be different, when, and what has become of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from libs.common.errors import Conflict, DomainError, NotFound, RuleViolation
from libs.common.periods import start_of_day
from services.subscriptions.domain.change import Anchoring
from services.subscriptions.domain.subscription import Subscription
from services.subscriptions.domain.subscription_item import Proration

CHANGES_WAITING_MAX = 100

WhenKind = Literal["now", "period_end", "on"]


class ChangeNotFound(NotFound):
    code = "change_not_found"
    title = "There is no such change"


class ChangeNotScheduled(Conflict):
    code = "change_not_scheduled"
    title = "The change is not waiting any more"


class TooManyChanges(RuleViolation):
    code = "too_many_changes"
    title = "Too many changes are waiting"


class ChangeStatus(StrEnum):
    """`unchanged`: it was asked for what was agreed on already."""

    SCHEDULED = "scheduled"
    APPLIED = "applied"
    UNCHANGED = "unchanged"
    WITHDRAWN = "withdrawn"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class When:
    """`on` is the local date of a change on a date."""

    kind: WhenKind
    on: date | None = None


@dataclass(frozen=True, slots=True)
class WantedAddOn:
    code: str
    plan_version_id: str
    quantities: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WantedChange:
    """What is to be different; what is None or empty stays. A plan is named by the version that its name stood for
    when the change was asked for. `settles`: what it costs stands on a document of its own. `is_indexation`: the prices
    of the plan that it names are those of before, adjusted to an index.
    """

    plan_version_id: str | None = None
    plan_code: str | None = None
    overlay_id: str | None = None
    currency: str | None = None
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    add: tuple[WantedAddOn, ...] = ()
    remove: tuple[str, ...] = ()
    anchor_on: date | None = None
    anchoring: Anchoring | None = None
    zone: str | None = None
    payer_id: str | None = None
    proration: Proration | None = None
    settles: bool = False
    is_indexation: bool = False


@dataclass(frozen=True, slots=True)
class ScheduledChange:
    """`at` is when it takes effect: None while it waits for the end of a period. `settled_at` is when it was carried
    out, found to be impossible, or withdrawn; `reason_code` and `reason` say why it was not carried out.
    """

    id: str
    subscription_id: str
    when: When
    at: datetime | None
    wanted: WantedChange
    created_at: datetime
    status: ChangeStatus = ChangeStatus.SCHEDULED
    version: int = 1
    settled_at: datetime | None = None
    reason_code: str | None = None
    reason: str | None = None

    @property
    def is_waiting(self) -> bool:
        return self.status is ChangeStatus.SCHEDULED

    def applied(self, at: datetime, now: datetime) -> ScheduledChange:
        return self._settled(ChangeStatus.APPLIED, now, at=at)

    def failed(self, error: DomainError, now: datetime) -> ScheduledChange:
        """It cannot be carried out any more; the subscription goes on as it is."""
        return self._settled(ChangeStatus.FAILED, now, reason_code=error.code, reason=error.message)

    def withdrawn(
        self, now: datetime, *, code: str | None = None, reason: str | None = None
    ) -> ScheduledChange:
        """Raises: ChangeNotScheduled."""
        self.refuse_unless_waiting()
        return self._settled(ChangeStatus.WITHDRAWN, now, reason_code=code, reason=reason)

    def on_its_date(self, zone: str, now: datetime) -> ScheduledChange:
        """It takes effect as its date begins in this zone; now, where that is over while it is still waiting."""
        if self.when.on is None or self.at is None:
            return self
        at = start_of_day(self.when.on, zone)
        if at == self.at or max(at, self.at) <= now:
            return self
        return replace(self, at=max(at, now), version=self.version + 1)

    def altered(self, when: When, at: datetime | None, wanted: WantedChange) -> ScheduledChange:
        """Raises: ChangeNotScheduled."""
        self.refuse_unless_waiting()
        return replace(self, when=when, at=at, wanted=wanted, version=self.version + 1)

    def refuse_unless_waiting(self) -> None:
        """Raises: ChangeNotScheduled."""
        if not self.is_waiting:
            raise ChangeNotScheduled(
                f"the change is {self.status}",
                status=self.status,
                remedy="Ask for another change (POST /v1/subscriptions/{id}/changes).",
            )

    def _settled(
        self,
        status: ChangeStatus,
        now: datetime,
        *,
        at: datetime | None = None,
        reason_code: str | None = None,
        reason: str | None = None,
    ) -> ScheduledChange:
        return replace(
            self,
            status=status,
            at=at or self.at,
            settled_at=now,
            reason_code=reason_code,
            reason=reason,
            version=self.version + 1,
        )


def in_their_order(changes: Sequence[ScheduledChange]) -> list[ScheduledChange]:
    """Those on a date by that, and at one instant those asked for first; those that wait for a period's end last."""
    return sorted(changes, key=lambda one: (one.at is None, one.at or one.created_at, one.created_at, one.id))


def counted(subscription: Subscription, waiting: Sequence[ScheduledChange]) -> Subscription:
    """The subscription as it is due with what waits; not yet a new version of it."""
    return replace(
        subscription,
        next_change_at=min((change.at for change in waiting if change.at is not None), default=None),
        boundary_changes=sum(1 for change in waiting if change.at is None),
    )


def due_of(
    subscription: Subscription, waiting: Sequence[ScheduledChange], due_at: datetime
) -> list[ScheduledChange]:
    """What of `waiting` takes effect with what is due at `due_at`, in the order in which it is carried out.

    What lies before the end of the current period comes by its date; what waits for that end, and what has that very
    instant as its date, was asked for in this order.
    """
    period = subscription.period
    if period is None:
        return []
    inside = [one for one in waiting if one.at is not None and one.at < period.end and one.at <= due_at]
    if inside or due_at < period.end:
        return in_their_order(inside)
    at_end = [one for one in waiting if one.at is None or one.at == period.end]
    return sorted(at_end, key=lambda one: (one.created_at, one.id))

"""Usage that changes after its window has closed: what is noted of it, and what is done with it by the plan's terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple

from libs.common.ids import derived_id
from libs.common.periods import local_date
from services.metering.domain.exactly import EXACT
from services.metering.domain.usage_window import UsageTotal, UsageWindow, is_used

UsageChangeCause = Literal["late", "voided", "amended"]
LateUsagePolicy = Literal["next_invoice", "note_at_once", "draft_only"]

EVENTS_TOLD_MAX = 100


class ChangedUsage(NamedTuple):
    """An event that was stored, voided or amended: on which meter (its code) it counts or counted, of whom and when.

    `key` is the event's identity, also where it is another row of it that counts from now on.
    """

    meter: str
    subject: str
    occurred_at: datetime
    key: bytes


@dataclass(frozen=True, slots=True)
class ChangedEvent:
    source: str
    event_id: str
    cause: UsageChangeCause


@dataclass(frozen=True, slots=True)
class ChangedEvents:
    """The events behind a correction: the first hundred of them by their time, and how many there are."""

    first: tuple[ChangedEvent, ...] = ()
    count: int = 0


NO_EVENTS = ChangedEvents()


@dataclass(frozen=True, slots=True)
class LateUsageTerms:
    """What the plan wants done with late usage, and for how many days after a window's end it is billed at all."""

    policy: LateUsagePolicy = "next_invoice"
    window_days: int | None = None

    def are_billable(self, window_end: datetime, noted_at: datetime, zone: str) -> bool:
        """Whether what was noted at `noted_at`, by the subscription's clock, is still to be billed.

        Counted in local dates of the zone: day 0 is the date on which the window ended, and the last day counts whole,
        however long it is.
        Raises: UnknownZone.
        """
        if self.window_days is None:
            return True
        last_on = local_date(window_end, zone) + timedelta(days=self.window_days)
        return local_date(noted_at, zone) <= last_on


DEFAULT_TERMS = LateUsageTerms()


@dataclass(frozen=True, slots=True)
class UsageDifference:
    """What changed of one total: now less than before, hence negative if usage was taken back."""

    item_id: str
    meter: str
    quantity: Decimal
    event_count: int
    price_id: str | None = None


@dataclass(frozen=True, slots=True)
class WindowCorrection:
    """One correction of a closed window, as it was said. `corrected_at` is by the subscription's clock."""

    id: str
    window_id: str
    subscription_id: str
    customer_id: str
    period_index: int
    window_start: datetime
    window_end: datetime
    revision: int
    before: tuple[UsageTotal, ...]
    totals: tuple[UsageTotal, ...]
    differences: tuple[UsageDifference, ...]
    events: ChangedEvents
    policy: LateUsagePolicy
    is_billable: bool
    corrected_at: datetime


def correction_of(
    before: UsageWindow,
    corrected: UsageWindow,
    *,
    tenant: str,
    events: ChangedEvents,
    terms: LateUsageTerms,
    zone: str,
    noted_at: datetime,
    corrected_at: datetime,
) -> WindowCorrection:
    """What is said of a window whose totals are no longer those of `before`.

    `noted_at` is when the first of the changes behind it was noted: whoever counts later takes nothing from anyone.
    """
    return WindowCorrection(
        id=derived_id("uwcor", tenant, corrected.id, str(corrected.revision)),
        window_id=corrected.id,
        subscription_id=corrected.subscription_id,
        customer_id=corrected.customer_id,
        period_index=corrected.period_index,
        window_start=corrected.window_start,
        window_end=corrected.window_end,
        revision=corrected.revision,
        before=before.totals,
        totals=corrected.totals,
        differences=differences_between(before.totals, corrected.totals),
        events=events,
        policy=terms.policy,
        is_billable=terms.are_billable(corrected.window_end, noted_at, zone),
        corrected_at=corrected_at,
    )


def differences_between(
    before: Sequence[UsageTotal], after: Sequence[UsageTotal]
) -> tuple[UsageDifference, ...]:
    """One for each item, meter and price whose total is no longer what it was, in the order of the totals.

    Its quantity is zero where something else of the total changed, such as how much of it is estimated. What there
    was no total of before, or is none of now, counts as nothing.
    """
    was, now = {_key(total): total for total in before}, {_key(total): total for total in after}
    found = []
    for key in dict.fromkeys([*was, *now]):
        old, new = was.get(key), now.get(key)
        if old != new and any(total is not None and is_used(total) for total in (old, new)):
            found.append(_difference(key, old, new))
    return tuple(found)


def _key(total: UsageTotal) -> tuple[str, str, str | None]:
    return total.item_id, total.meter, total.price_id


def _difference(
    key: tuple[str, str, str | None], old: UsageTotal | None, new: UsageTotal | None
) -> UsageDifference:
    item_id, meter, price_id = key
    return UsageDifference(
        item_id=item_id,
        meter=meter,
        quantity=EXACT.subtract(
            new.quantity if new is not None else Decimal(0), old.quantity if old is not None else Decimal(0)
        ),
        event_count=(new.event_count if new else 0) - (old.event_count if old else 0),
        price_id=price_id,
    )

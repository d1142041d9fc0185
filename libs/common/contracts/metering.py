"""What metering says: meters as reference data, usage of a closed window, corrections after it."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar, Literal

from pydantic import AwareDatetime

from libs.common.contracts.catalog import LateUsagePolicy, Snapshot
from libs.common.contracts.envelope import Event

AggregationV1 = Literal["count", "sum", "min", "max", "average", "latest", "unique", "time_weighted", "peak"]


class TrueUpV1(Snapshot):
    """An actual reading that replaces estimates: from the actual one before, at `start`, until it, at `end`.

    `actual_quantity` was used in all that time, of which `estimated_quantity` had been told as estimates before; the
    difference, which may be negative, is in the quantity of the total that names the true-up.
    """

    subject: str
    start: AwareDatetime
    end: AwareDatetime
    actual_quantity: Decimal
    estimated_quantity: Decimal


class UsageTotalV1(Snapshot):
    """The usage of one subscription item in one window; `event_count` events stand behind it.

    Where an item changed its price inside the window, there is one total for each `price_id`, over all the time that it
    held; None where one price held from end to end. Of `quantity`, `estimated_quantity` is an estimate's, no reading's;
    `true_ups` say which earlier estimates it puts right.
    """

    item_id: str
    meter: str
    quantity: Decimal
    event_count: int
    price_id: str | None = None
    estimated_quantity: Decimal = Decimal(0)
    true_ups: tuple[TrueUpV1, ...] = ()


class UsageBalanceUpdatedV1(Event):
    """The usage of one item in the period under way, as of `as_of`; at most one a second for each item.

    It informs, and decides no money: the closed window does. Its aggregate is the item; `version` only grows.
    `aggregation` is the meter's: what several periods, or items, come to together is their sum, or the highest of them.
    """

    TYPE: ClassVar[str] = "perennial.metering.usage_balance.updated.v1"
    subscription_id: str
    item_id: str
    meter: str
    period_index: int
    period_start: AwareDatetime
    period_end: AwareDatetime
    quantity: Decimal
    as_of: AwareDatetime
    aggregation: AggregationV1 = "sum"


class UsageThresholdReachedV1(Event):
    """The usage of a period has reached a mark of an alert: once for each mark and period, within a second.

    `threshold` is the quantity that the mark comes to; `percent` is told of marks relative to a `limit`.
    """

    TYPE: ClassVar[str] = "perennial.metering.usage_threshold.reached.v1"
    alert_id: str
    subscription_id: str
    customer_id: str
    item_id: str
    meter: str
    period_index: int
    period_start: AwareDatetime
    period_end: AwareDatetime
    threshold: Decimal
    percent: Decimal | None = None
    limit: Decimal | None = None
    quantity: Decimal
    as_of: AwareDatetime


class MeterDefinedV1(Event):
    """A meter, or its next version, which has the same code, aggregation and unit; `version` is that of the meter."""

    TYPE: ClassVar[str] = "perennial.metering.meter.defined.v1"
    meter_id: str
    code: str
    aggregation: AggregationV1
    unit: str | None = None


class MeterReadingHeldV1(Event):
    """A reading is kept aside for a person, or one is needed, and nothing is billed of it until somebody has decided."""

    TYPE: ClassVar[str] = "perennial.metering.meter_reading.held.v1"
    exception_id: str
    kind: Literal["backwards", "beyond_rate", "before_exchange", "reading_needed"]
    meter: str
    subject: str
    reading_id: str | None = None
    told: str


class UsageWindowClosedV1(Event):
    """The usage of one billing period of one subscription, summed once. A window without usage says zero."""

    TYPE: ClassVar[str] = "perennial.metering.usage_window.closed.v1"
    window_id: str
    subscription_id: str
    period_index: int
    window_start: AwareDatetime
    window_end: AwareDatetime
    totals: tuple[UsageTotalV1, ...]


class UsageDigestV1(Snapshot):
    """What stands for all events of one total: the root of the tree over them, in hex.

    How it is made of the events is told in docs/proofs.md; whoever has the events can make it again. `leaf_count` is how
    many leaves the tree has: of a level, one for each step.
    """

    item_id: str
    meter: str
    quantity: Decimal
    event_count: int
    root: str
    price_id: str | None = None
    algorithm: str = "perennial-events-1"
    leaf_count: int | None = None


class UsageWindowSealedV1(Event):
    """The events behind the totals of a closed window, as `revision` counts them, pinned by their digests.

    The highest `seal` is the newest: a window is sealed again when the events behind it are others, even where its totals
    are the same.
    """

    TYPE: ClassVar[str] = "perennial.metering.usage_window.sealed.v1"
    window_id: str
    subscription_id: str
    period_index: int
    revision: int
    digests: tuple[UsageDigestV1, ...]
    seal: int = 1


UsageChangeCause = Literal["late", "voided", "amended"]


class ChangedEventV1(Snapshot):
    """An event that came, was voided or was amended after its window had closed."""

    source: str
    event_id: str
    cause: UsageChangeCause


class UsageDifferenceV1(Snapshot):
    """What a correction changes of one total: now less than before, hence negative, if usage was taken back."""

    item_id: str
    meter: str
    quantity: Decimal
    event_count: int
    price_id: str | None = None


class UsageCorrectedV1(Event):
    """The usage of a window has changed after it closed: its totals as they are now and as they were, and why.

    `events` are the first hundred of the `changed_event_count` events behind it; without any, the agreement, a binding or
    a meter changed. `policy` says what the plan wants done with it. What is not `is_billable` came later than
    the plan's `late_usage_window` allows: it is kept and reported, and not billed.
    """

    TYPE: ClassVar[str] = "perennial.metering.usage.corrected.v1"
    window_id: str
    subscription_id: str
    period_index: int
    revision: int
    window_start: AwareDatetime
    window_end: AwareDatetime
    before: tuple[UsageTotalV1, ...]
    totals: tuple[UsageTotalV1, ...]
    differences: tuple[UsageDifferenceV1, ...] = ()
    events: tuple[ChangedEventV1, ...] = ()
    changed_event_count: int = 0
    policy: LateUsagePolicy = "next_invoice"
    is_billable: bool = True

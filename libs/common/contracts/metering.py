"""What metering says: meters as reference data, usage of a closed window, corrections after it."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar, Literal

from pydantic import AwareDatetime

from libs.common.contracts.catalog import Snapshot
from libs.common.contracts.envelope import Event


class UsageTotalV1(Snapshot):
    """The usage of one subscription item in one window; `event_count` events stand behind it.

    Where an item changed its price inside the window, there is one total for each `price_id`, over all the time that it
    held; None where one price held from end to end.
    """

    item_id: str
    meter: str
    quantity: Decimal
    event_count: int
    price_id: str | None = None


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
    aggregation: Literal["count", "sum", "max"] = "sum"


class MeterDefinedV1(Event):
    TYPE: ClassVar[str] = "perennial.metering.meter.defined.v1"
    meter_id: str
    code: str
    aggregation: Literal["count", "sum", "max"]
    unit: str | None = None


class UsageWindowClosedV1(Event):
    """The usage of one billing period of one subscription, summed once. A window without usage says zero."""

    TYPE: ClassVar[str] = "perennial.metering.usage_window.closed.v1"
    window_id: str
    subscription_id: str
    period_index: int
    window_start: AwareDatetime
    window_end: AwareDatetime
    totals: tuple[UsageTotalV1, ...]


class UsageCorrectedV1(Event):
    """Usage that came after its window closed: the window's totals as they are now, and as they were."""

    TYPE: ClassVar[str] = "perennial.metering.usage.corrected.v1"
    window_id: str
    subscription_id: str
    period_index: int
    revision: int
    window_start: AwareDatetime
    window_end: AwareDatetime
    before: tuple[UsageTotalV1, ...]
    totals: tuple[UsageTotalV1, ...]

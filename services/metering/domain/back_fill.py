"""How far the events that were there before a meter have been summed up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from services.metering.domain.aggregation import bucket_start
from services.metering.domain.meter import BUCKET_S

BackFillState = Literal["waiting", "running", "done"]

LONGEST_BUCKET = timedelta(seconds=BUCKET_S)


@dataclass(frozen=True, slots=True)
class BackFill:
    """Of one version of a meter, whose id it has. `event_count` of about `events_total` events were gone through."""

    id: str
    event_count: int
    events_total: int
    filled_until: datetime | None = None
    started_at: datetime | None = None
    done_at: datetime | None = None

    @property
    def state(self) -> BackFillState:
        if self.done_at is not None:
            return "done"
        return "waiting" if self.started_at is None else "running"

    @property
    def percent(self) -> Decimal:
        """Rounding: down to a tenth, so that a hundred is said when it is done and not before."""
        if self.done_at is not None:
            return Decimal(100)
        if not self.event_count:
            return Decimal(0)
        thousandths = self.event_count * 1000 // max(self.events_total, self.event_count)
        return Decimal(min(thousandths, 999)).scaleb(-1)


def filled_at_once(meter_id: str, event_count: int, now: datetime) -> BackFill:
    """There was little or nothing: the meter is complete when it is made."""
    return BackFill(meter_id, event_count, event_count, started_at=now, done_at=now)


def advance(back_fill: BackFill, *, until: datetime | None, event_count: int, now: datetime) -> BackFill:
    """One slice more is summed up, until before `until`; None: that was the last."""
    count = back_fill.event_count + event_count
    return replace(
        back_fill,
        event_count=count,
        events_total=count if until is None else max(back_fill.events_total, count),
        filled_until=until or back_fill.filled_until,
        started_at=back_fill.started_at or now,
        done_at=now if until is None else None,
    )


def slice_start(at: datetime) -> datetime:
    """Where the slice begins that an instant lies in: no bucket of any meter lies across it."""
    return bucket_start(at, BUCKET_S)


def slice_end(start: datetime, found: datetime | None) -> datetime | None:
    """`found`: when the first event happened that is too many for one slice, if there is one.

    A slice is one longest bucket at least, however many events that holds. None: it goes on to the end.
    """
    if found is None:
        return None
    return max(slice_start(found), slice_start(start) + LONGEST_BUCKET)

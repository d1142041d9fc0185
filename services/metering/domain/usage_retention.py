"""How long raw events are kept. Identities, running sums and the totals of windows stay for ever."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import ClassVar

from libs.common.errors import RuleViolation

DAYS_MAX = 36_500


class RawEventsGone(RuleViolation):
    """An exact answer would need raw events that are no longer kept; a wrong one is not given."""

    code: ClassVar[str] = "raw_events_gone"
    title: ClassVar[str] = "The raw events are no longer kept"


def raw_events_gone(kept_from: datetime) -> RawEventsGone:
    told = kept_from.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return RawEventsGone(
        f"raw events are kept from {told} on; of what was used before, the sums of quarter hours are known",
        remedy=f"Ask for whole quarter hours of UTC, or for time from {told} on. Where a binding begins or ends within a"
        " quarter hour, ask for the subject itself. The events behind a figure can be listed from then on.",
        kept_from=told,
    )


@dataclass(frozen=True, slots=True)
class UsageRetention:
    """Of one tenant. `kept_from` only ever goes forward: what is gone does not come back when more is kept again."""

    version: int = 0
    kept_days: int | None = None
    kept_from: datetime | None = None
    noted_at: datetime | None = None


def keep(retention: UsageRetention, kept_days: int | None) -> UsageRetention:
    """For so many days from now on; None: as long as everybody's are kept."""
    return replace(retention, version=retention.version + 1, kept_days=kept_days)


def move_on(
    retention: UsageRetention, *, earliest_needed: datetime | None, now: datetime
) -> UsageRetention | None:
    """Raw events are kept from a later day on; None where nothing changes.

    Units: whole days of UTC, at whose bounds no bucket is cut.
    `earliest_needed`: what windows that have not closed begin with.
    """
    if retention.kept_days is None:
        return None
    wanted = now - timedelta(days=retention.kept_days)
    if earliest_needed is not None:
        wanted = min(wanted, earliest_needed)
    kept_from = datetime.combine(wanted.astimezone(UTC).date(), time(), UTC)
    if retention.kept_from is not None and kept_from <= retention.kept_from:
        return None
    return replace(retention, kept_from=kept_from, noted_at=now)

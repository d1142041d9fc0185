"""Which subscription item a metered subject counts for, and from when until when: metering's copy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class SubjectBinding:
    """Made by the service subscriptions, which also sees to it that none overlap. The newest version wins.

    `asset_id` is the thing that the subject is, or is built into, where somebody told.
    """

    id: str
    version: int
    subject: str
    meter: str
    subscription_id: str
    item_id: str
    bound_from: datetime
    bound_until: datetime | None
    asset_id: str | None = None


@dataclass(frozen=True, slots=True)
class BindingChange:
    """Usage of this subscription within [start, end) may count differently than before. `end` None: for ever."""

    subscription_id: str
    start: datetime
    end: datetime | None


def changes_between(before: SubjectBinding | None, after: SubjectBinding) -> list[BindingChange]:
    """What a new or newer binding changes; nothing when it says the same. Both extents, since either may shrink."""
    told = [binding for binding in (before, after) if binding is not None]
    if before is not None and _meaning(before) == _meaning(after):
        return []
    return [BindingChange(b.subscription_id, b.bound_from, b.bound_until) for b in told]


def _meaning(binding: SubjectBinding) -> tuple[object, ...]:
    return (binding.subject, binding.meter, binding.item_id, binding.bound_from, binding.bound_until)

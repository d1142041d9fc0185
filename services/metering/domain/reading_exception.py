"""What a person has to look at: a reading that cannot be true, or one that nobody has taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from libs.common.ids import derived_id
from services.metering.domain.reading import HeldKind

ExceptionKind = HeldKind | Literal["reading_needed"]
ExceptionState = Literal["open", "resolved"]
# What a person decides; a held reading may also turn out to be plausible, and a needed one may come.
Decision = Literal["accept", "wrap", "exchange", "reset", "discard"]
Resolution = Decision | Literal["plausible", "read", "replaced"]


@dataclass(frozen=True, slots=True)
class ReadingException:
    """Nothing of it is billed while it is open. `needed_at`: when somebody should have read the counter."""

    id: str
    kind: ExceptionKind
    meter: str
    subject: str
    reading_id: str | None
    needed_at: datetime | None
    told: str
    opened_at: datetime
    version: int = 1
    state: ExceptionState = "open"
    resolution: Resolution | None = None
    reason: str | None = None
    resolved_by: str | None = None
    resolved_at: datetime | None = None


def resolved(
    exception: ReadingException, resolution: Resolution, *, reason: str | None, author: str, now: datetime
) -> ReadingException:
    assert exception.state == "open"
    return replace(
        exception,
        version=exception.version + 1,
        state="resolved",
        resolution=resolution,
        reason=reason,
        resolved_by=author,
        resolved_at=now,
    )


def needed_reading_id(tenant: str, meter: str, subject: str, needed_at: datetime) -> str:
    """A reading is missed once, however often its absence is noticed."""
    return derived_id("rex", tenant, meter, subject, needed_at.isoformat())

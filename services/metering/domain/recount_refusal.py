"""A closed window that cannot be counted again: why, and that a person has seen to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RecountRefusal:
    """What was said of the window stays, although what it counts has changed. `told` is why.

    It is an open question until a person dismisses it, who has billed the difference by hand, or knows of none.
    """

    told: str
    refused_at: datetime
    dismissed_at: datetime | None = None
    dismissed_by: str | None = None
    reason: str | None = None

    @property
    def is_open(self) -> bool:
        return self.dismissed_at is None


def dismissed(refusal: RecountRefusal, *, reason: str, author: str, now: datetime) -> RecountRefusal:
    return replace(refusal, dismissed_at=now, dismissed_by=author, reason=reason)

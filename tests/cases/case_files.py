"""The numeric cases of other systems: what is given, what must come out, and under which convention."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "data"
AREAS = ("pricing", "periods", "proration", "aggregation", "invoices", "lifecycle")


@dataclass(frozen=True, slots=True)
class Case:
    id: str
    area: str
    kind: str
    given: Mapping[str, Any]
    expect: Mapping[str, Any]
    convention: Mapping[str, str]

    def instant(self, name: str) -> datetime:
        return as_instant(self.given[name])

    def on(self, name: str) -> date:
        return date.fromisoformat(self.given[name])

    def number(self, name: str) -> Decimal:
        return Decimal(self.given[name])

    @property
    def zone(self) -> str:
        return str(self.given.get("time_zone", "UTC"))


@cache
def cases_of(area: str) -> tuple[Case, ...]:
    return tuple(
        Case(c["id"], c["area"], c["kind"], c["given"], c["expect"], c["convention"])
        for c in json.loads((FOLDER / f"{area}.json").read_text(encoding="utf-8"))
    )


def as_instant(text: str) -> datetime:
    """An instant; a date alone is its first instant in UTC."""
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)

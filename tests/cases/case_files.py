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


class UnreadableCases(Exception):
    """What was named holds no cases that can be read; the message says which file, and why."""


@dataclass(frozen=True, slots=True)
class Case:
    id: str
    area: str
    kind: str
    given: Mapping[str, Any]
    expect: Mapping[str, Any]
    convention: Mapping[str, str]
    notes: str = ""

    def instant(self, name: str) -> datetime:
        return as_instant(self.given[name])

    def on(self, name: str) -> date:
        return date.fromisoformat(self.given[name])

    def number(self, name: str) -> Decimal:
        return Decimal(self.given[name])

    def names(self, convention: str) -> str:
        """The phrase of a convention, nothing where the case does not name it."""
        return self.convention.get(convention, "")

    def has_only(self, *names: str) -> None:
        """Nothing that is given may be passed over."""
        unknown = set(self.given) - set(names)
        assert not unknown, f"nothing is known of {', '.join(sorted(unknown))}"

    @property
    def zone(self) -> str:
        return str(self.given.get("time_zone") or "UTC")


@cache
def cases_of(area: str) -> tuple[Case, ...]:
    """The cases that come with these tests."""
    return read_cases(FOLDER / f"{area}.json", area)


def area_files(folder: Path) -> Mapping[str, Path]:
    """The files directly in `folder` that are named after an area; whatever else lies there is let be.

    Raises: UnreadableCases.
    """
    if not folder.is_dir():
        raise UnreadableCases(f"{folder} is no folder")
    found = {area: folder / f"{area}.json" for area in AREAS if (folder / f"{area}.json").is_file()}
    if not found:
        raise UnreadableCases(f"{folder} holds no file named after an area, such as pricing.json")
    return found


def read_cases(path: Path, area: str) -> tuple[Case, ...]:
    """Raises: UnreadableCases."""
    try:
        written = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as broken:
        raise UnreadableCases(f"{path} cannot be read: {broken}") from None
    if not isinstance(written, list):
        raise UnreadableCases(f"{path} is no array of cases")
    return tuple(_case(each, area, f"{path}, case {number}") for number, each in enumerate(written, start=1))


def as_instant(text: str) -> datetime:
    """An instant; a date alone is its first instant in UTC."""
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _case(written: Any, area: str, where: str) -> Case:
    if not isinstance(written, dict):
        raise UnreadableCases(f"{where} is no object")
    for name, kind in (("id", str), ("kind", str), ("given", dict), ("expect", dict)):
        if not isinstance(written.get(name), kind):
            raise UnreadableCases(f"{where} has no {name}")
    convention = written.get("convention") or {}
    if not isinstance(convention, dict):
        raise UnreadableCases(f"{where} has a convention that is no object")
    phrases = {name: str(phrase) for name, phrase in convention.items()}
    notes = str(written.get("notes") or "")
    return Case(written["id"], area, written["kind"], written["given"], written["expect"], phrases, notes)

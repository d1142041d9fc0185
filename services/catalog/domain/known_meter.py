"""A meter that metering has defined: usage prices name it by its code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownMeter:
    """As last heard; the highest `version` wins."""

    code: str
    meter_id: str
    aggregation: str
    unit: str | None
    version: int

"""What puts estimates right: how much was used in truth, and how much had been told as estimated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class TrueUp:
    """From `start`, when the counter was read before the estimates, until it was read again at `end`."""

    subject: str
    start: datetime
    end: datetime
    actual_quantity: Decimal
    estimated_quantity: Decimal

"""What is supposed when a plan is simulated: periods, quantities, usage, and how much of the periods is in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from libs.common.periods import Period
from services.billing.domain.simulation.timetable import Timetable
from services.billing.domain.simulation.usage_given import UsageBook


@dataclass(frozen=True, slots=True)
class Scenario:
    """The same for every candidate. `quantities` are those of recurring and one-time prices, by the price's code.

    `in_use_from` and `in_use_until` cut what is prorated; where usage was not counted until the same end, it was
    until `metered_until`. `needs_quantities`: a quantity that is not told is not taken to be one, since it is about
    a customer whose quantities are known, by other names.
    """

    timetable: Timetable
    usage: UsageBook
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    in_use_from: datetime | None = None
    in_use_until: datetime | None = None
    metered_until: datetime | None = None
    needs_quantities: bool = False
    with_trial: bool = False
    is_explained: bool = True

    def used_of(self, span: Period) -> Period:
        """The part of the span that is in use; without length where nothing of it is."""
        return _cut(span, self.in_use_from, self.in_use_until)

    def metered_of(self, span: Period) -> Period:
        """The part of the span in which usage is counted."""
        return _cut(span, self.in_use_from, self.metered_until or self.in_use_until)


def _cut(span: Period, since: datetime | None, until: datetime | None) -> Period:
    start = span.start if since is None else min(max(since, span.start), span.end)
    end = span.end if until is None else max(min(until, span.end), start)
    return Period(start, end, span.zone)

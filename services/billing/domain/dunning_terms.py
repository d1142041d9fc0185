"""A schedule of dunning as it was agreed on with a plan, and which of several is the strictest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

STANDARD_RETRY_DAYS = (1, 3, 5, 7)
NEVER_DAYS = 1_000_000


@dataclass(frozen=True, slots=True)
class DunningTerms:
    """A plan's schedule as it was agreed on; see DunningV1. `retry_days` of None are the operator's."""

    retry_days: tuple[int, ...] | None = None
    reminder_days: tuple[int, ...] = ()
    suspends: bool = True
    suspend_after_days: int | None = None
    end_after_days: int | None = None
    writes_off: bool = False


AS_BY_DEFAULT = DunningTerms()


def strictest_of(agreements: Sequence[tuple[str, DunningTerms]]) -> DunningTerms:
    """Of several schedules that which ends first; of equal ones, that which suspends first, then by id."""

    def strictness(agreed: tuple[str, DunningTerms]) -> tuple[int, int, str]:
        subscription_id, terms = agreed
        ends = NEVER_DAYS if terms.end_after_days is None else terms.end_after_days
        return ends, _suspension_day(terms), subscription_id

    return min(agreements, key=strictness)[1] if agreements else AS_BY_DEFAULT


def _suspension_day(terms: DunningTerms) -> int:
    if not terms.suspends:
        return NEVER_DAYS
    if terms.suspend_after_days is not None:
        return terms.suspend_after_days
    return sum(STANDARD_RETRY_DAYS if terms.retry_days is None else terms.retry_days)

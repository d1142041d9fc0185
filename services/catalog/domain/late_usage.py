"""What becomes of usage that changes after its period has been billed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from libs.common.errors import InputError

LateUsagePolicy = Literal["next_invoice", "note_at_once", "draft_only"]

WINDOW_DAYS_MAX = 3_660


@dataclass(frozen=True, slots=True)
class LateUsage:
    """Put right on the next invoice, on a document at once, or on a draft that a person finalizes.

    After `window_days` from the end of its period (None: without end) it is kept and reported, and not billed.
    """

    policy: LateUsagePolicy = "next_invoice"
    window_days: int | None = None


AS_BY_DEFAULT = LateUsage()


def late_usage_faults(terms: LateUsage, at: str, *, is_add_on: bool) -> Iterator[InputError]:
    """Everything wrong with the terms, each with its place below the pointer `at` and what to do."""
    if is_add_on and terms != AS_BY_DEFAULT:
        detail = "late usage of an add-on follows the plan that it goes with: leave late_usage out"
        yield {"pointer": at, "detail": detail}
    if terms.window_days is not None and not 0 <= terms.window_days <= WINDOW_DAYS_MAX:
        detail = f"is not from 0 to {WINDOW_DAYS_MAX} days: give so many, or leave it out for no end"
        yield {"pointer": f"{at}/window_days", "detail": detail}

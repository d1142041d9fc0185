"""A trial: what comes before the first billing period."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from libs.common.errors import InputError
from libs.common.periods import Interval
from services.catalog.domain.amount import amount_faults
from services.catalog.domain.interval_nesting import length_faults


@dataclass(frozen=True, slots=True)
class Trial:
    """Free, or for `amount` in the plan's currency. A payment method may have to be known before it begins."""

    interval: Interval
    amount: Decimal | None = None
    requires_payment_method: bool = False


def trial_faults(trial: Trial, at: str) -> Iterator[InputError]:
    """Everything wrong with the trial, each with its place below the pointer `at` and what to do."""
    if trial.interval.unit == "year":
        detail = "a trial is counted in days, weeks or months: give 12 months for a year"
        yield {"pointer": f"{at}/interval/unit", "detail": detail}
    yield from length_faults(trial.interval, f"{at}/interval")
    if trial.amount is None:
        return
    yield from amount_faults(trial.amount, f"{at}/amount")
    if trial.amount == 0:
        yield {"pointer": f"{at}/amount", "detail": "a free trial has no amount: leave it out"}

"""Phases of a plan: it begins at some prices and goes on at others, as a ramp does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from libs.common.errors import InputError

PHASES_MAX = 50
PERIODS_MAX = 1_200


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a plan, `periods` billing periods long; None on the last, which lasts."""

    code: str
    name: str
    periods: int | None = None


def phase_faults(phases: Sequence[Phase], at: str) -> Iterator[InputError]:
    """Everything wrong with the phases, each with its place below the pointer `at` and what to do."""
    if len(phases) > PHASES_MAX:
        yield {"pointer": at, "detail": f"there are more than {PHASES_MAX} phases: join some"}
    first_with: dict[str, int] = {}
    for position, phase in enumerate(phases):
        here = f"{at}/{position}"
        first = first_with.setdefault(phase.code, position)
        if first != position:
            detail = f"the phase at {at}/{first} has this code already: choose another"
            yield {"pointer": f"{here}/code", "detail": detail}
        is_last = position == len(phases) - 1
        if phase.periods is None and not is_last:
            detail = "only the last phase may be open-ended: say how many billing periods this one lasts"
            yield {"pointer": f"{here}/periods", "detail": detail}
        if phase.periods is not None and is_last:
            detail = "nothing comes after the last phase, so that it has no end: leave periods out"
            yield {"pointer": f"{here}/periods", "detail": detail}
        elif phase.periods is not None and not 1 <= phase.periods <= PERIODS_MAX:
            detail = f"a phase lasts 1 to {PERIODS_MAX} billing periods: give another number"
            yield {"pointer": f"{here}/periods", "detail": detail}

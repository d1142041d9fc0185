"""R: rating, pure: lines a second on one core for each price model, and the same arithmetic as the barest loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.performance.bare_rating import Contest, contests
from tests.performance.bench import Bench
from tests.performance.results import Measured, alone, compared

RUN_S = 0.12


async def measure(bench: Bench) -> list[Measured]:
    rows: list[Measured] = []
    for contest in contests():
        check(contest)
        seconds = RUN_S * min(1.0, bench.scale)

        async def ours(contest: Contest = contest, seconds: float = seconds) -> float:
            return _lines_a_second(contest.ours, contest.inputs, seconds)

        async def theirs(contest: Contest = contest, seconds: float = seconds) -> float:
            return _lines_a_second(contest.theirs, contest.inputs, seconds)

        pairs = await bench.interleaved(ours, theirs)
        rows.append(compared(f"R {contest.model}", pairs, "lines/s"))
        if contest.model == "graduated":
            rows.append(alone("R lines", [figure for figure, _ in pairs], "lines/s"))
    return rows


def check(contest: Contest) -> None:
    """Both come to the same money, or neither figure means anything."""
    for given in contest.inputs:
        ours = sum(line.rounded for line in contest.ours(given))
        assert ours == sum(contest.theirs(given)), f"{contest.model}: {given}"


def _lines_a_second(rate: Callable[[Any], Sequence[Any]], inputs: Sequence[Any], seconds: float) -> float:
    """By the processor's time, since other processes want the core too."""
    lines, began = 0, time.process_time()
    while (spent := time.process_time() - began) < seconds or not lines:
        for given in inputs:
            lines += len(rate(given))
    return lines / spent

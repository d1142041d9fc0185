"""How late the loop wakes up: what a step that holds it costs everybody else in the process."""

from __future__ import annotations

import asyncio
from time import perf_counter

from libs.common.telemetry import metrics

SAMPLE_S = 0.25


async def sample_loop_lag() -> None:
    """Sleep, and see how much longer it took; until canceled. One such loop is enough for a process.

    A step that holds the loop for less than `SAMPLE_S` is seen by some samples only: the histogram tells how
    often, and how long.
    """
    while True:
        began = perf_counter()
        await asyncio.sleep(SAMPLE_S)
        metrics.loop_lag(max(0.0, perf_counter() - began - SAMPLE_S))

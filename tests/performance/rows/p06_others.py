"""P6: whether what others use makes the usage answer of one subscription slower."""

from __future__ import annotations

import statistics
from functools import partial

from tests.performance.bench import Bench, Subject
from tests.performance.load import send
from tests.performance.month_of_machines import MachineMonth, ask_many
from tests.performance.renewals import Renewals
from tests.performance.results import Measured, compared
from tests.performance.rows.p01_ingest import CONNECTIONS

SUBSCRIPTIONS = 20
OWN_EVENTS = 20_000
TIMES = 10
OTHERS_A_SUBSCRIPTION = 50  # machines that are nobody's, for each that is somebody's
QUESTIONS = 200
PART_EVENTS = 100_000


async def measure(bench: Bench) -> list[Measured]:
    """Before and after are some seconds apart, so each has as many runs, and each run many questions."""
    with bench.subject("others") as subject:
        renewals = Renewals(subject, SUBSCRIPTIONS)
        await renewals.prepare()
        own = MachineMonth("p6-own", bench.sized(OWN_EVENTS, least=1_000), SUBSCRIPTIONS)
        await load(subject, own)
        before = await _medians(bench, subject, renewals.ids)
        others = SUBSCRIPTIONS * OTHERS_A_SUBSCRIPTION
        await load(subject, MachineMonth("p6-others", own.event_count * TIMES, others, first=SUBSCRIPTIONS))
        after = await _medians(bench, subject, renewals.ids)
    count = own.event_count
    note = f"{count:,} events of {SUBSCRIPTIONS} subscriptions, then {count * TIMES:,} more of {others:,} other things"
    return [compared("P6", list(zip(after, before, strict=True)), "ms", note=note)]


async def load(subject: Subject, month: MachineMonth) -> float:
    """Sent in parts and stored; the seconds that took, without making the requests."""
    seconds = 0.0
    for part in month.parts(PART_EVENTS):
        told = await send(subject.load(partial(month.bodies, part), connections=CONNECTIONS))
        assert told.stored == len(part), told.statuses
        seconds += told.seconds
    return seconds


async def _medians(bench: Bench, subject: Subject, ids: list[str]) -> list[float]:
    """Milliseconds, by run; the first is a warm-up and left out."""
    questions = bench.sized(QUESTIONS, least=20)
    async with subject.client() as client:
        found = [await ask_many(client, ids, questions) for _ in range(bench.runs + 1)]
    return [statistics.median(run) * 1_000 for run in found[1:]]

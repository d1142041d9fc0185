"""The demo told to a deployment that is struck under it, at moments that a seed chooses."""

from __future__ import annotations

import json
import random
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from examples.engines_by_the_minute.dataset import installed_data
from examples.engines_by_the_minute.story import Story as Plot
from tests.journeys.flights.straight_from_the_csv import owed_by_airline, rows_of
from tests.journeys.flights.test_a_year_of_flights import as_owed, invoices_by_airline
from tests.support.demo import COMMAND, ROOT, Deployment, audit, demo_environment

Record = Callable[[str, object], None]  # pytest's `record_property`; "figures" are shown after the run

TIMEOUT_S = 400
PATIENCE_S = 120
STREAMING, BILLING = "flights", "clock"

# What the demo has said when a stage is over, and the next one runs.
_BEGUN = {STREAMING: re.compile(r"aircraft, early"), BILLING: re.compile(r"aircraft, late")}
_OVER = {
    STREAMING: re.compile(r"^\s*\S*\s*flights\b.*stored", re.MULTILINE),
    BILLING: re.compile(r"payments"),
}
_BEFORE_A_BLOW_S = {STREAMING: (0.05, 1.2), BILLING: (0.05, 0.6)}


class Blow(Protocol):
    """One kill and what follows it: `strike` returns when the victim accepts again."""

    @property
    def name(self) -> str: ...

    def strike(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Struck:
    """`accepting_after_s` is the time from SIGKILL to accepting again."""

    stage: str
    name: str
    accepting_after_s: float


@dataclass
class Story:
    """What is told, by whom, to whom; and what was struck on the way."""

    deployment: Deployment
    plot: Plot
    demo: subprocess.Popen[bytes]
    printed: Path
    written: Path
    struck: list[Struck] = field(default_factory=list)

    @property
    def told(self) -> str:
        return self.printed.read_text(encoding="utf-8", errors="replace")

    def stage(self) -> str | None:
        """The stage that runs now, if it is one of those in which we strike."""
        told = self.told
        for stage in (STREAMING, BILLING):
            if _BEGUN[stage].search(told) and not _OVER[stage].search(told):
                return stage
        return None

    def strike(self, stage: str, blow: Blow) -> None:
        began = time.monotonic()
        blow.strike()
        self.struck.append(Struck(stage, blow.name, time.monotonic() - began))


def tell(
    deployment: Deployment, folder: Path, plot: Plot, *, seed: int, blows: Mapping[str, Sequence[Blow]]
) -> Story:
    """Run the demo to its end; strike each blow in its stage, at moments that the seed chooses."""
    chance = random.Random(seed)
    story = _begin(deployment, folder, plot)
    left = {stage: list(mine) for stage, mine in blows.items()}
    give_up_at = time.monotonic() + TIMEOUT_S
    try:
        while story.demo.poll() is None and time.monotonic() < give_up_at:
            stage = story.stage()
            if stage is not None and left.get(stage):
                time.sleep(chance.uniform(*_BEFORE_A_BLOW_S[stage]))
                if story.stage() == stage:
                    story.strike(stage, left[stage].pop(0))
            time.sleep(0.02)
    finally:
        if story.demo.poll() is None:
            story.demo.kill()
        story.demo.wait()
    return story


def _begin(deployment: Deployment, folder: Path, plot: Plot) -> Story:
    printed, written = folder / "printed", folder / "result.json"
    options = ["--months", str(plot.months), "--json", str(written), "--patience", str(PATIENCE_S)]
    if plot.carriers:
        options += ["--carriers", ",".join(sorted(plot.carriers))]
    with printed.open("wb") as out:
        demo = subprocess.Popen(
            [*COMMAND, *options],
            cwd=ROOT,
            env=demo_environment(deployment),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    return Story(deployment, plot, demo, printed, written)


def check(story: Story) -> None:
    """Nothing lost, nothing twice: the invoices of the file itself, all paid, and a clean audit."""
    assert story.demo.returncode == 0, story.told[-4000:]
    plot = story.plot
    rows = rows_of(installed_data() / "flights.csv.zip")
    mine = [row for row in rows if not plot.carriers or row["carrier"] in plot.carriers]
    owed = owed_by_airline(mine, months=plot.months)
    found = invoices_by_airline(story.deployment, label=f"-{plot.label}")
    assert as_owed(found) == owed
    assert {invoice["status"] for invoices in found.values() for invoice in invoices} == {"paid"}
    total = sum((sum(invoices.values()) for invoices in owed.values()), Decimal(0))
    assert Decimal(json.loads(story.written.read_text(encoding="utf-8"))["total"]) == total
    report = audit(story.deployment)
    assert report["ok"], [check for check in report["checks"] if not check["ok"]]


def tell_times(struck: Sequence[Struck]) -> str:
    """Seconds from SIGKILL to accepting again, by victim: for whoever reads the run."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for one in struck:
        seconds[one.name].append(one.accepting_after_s)
    lines = [
        f"  {name:22} killed {len(times)}×, accepting again after {min(times):.1f} to {max(times):.1f} s"
        for name, times in sorted(seconds.items())
    ]
    return "\n".join([f"{len(struck)} kills", *lines])

"""The one process is killed with SIGKILL at seeded moments, while flights stream in and while it bills them."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from examples.engines_by_the_minute.dataset import installed_data
from tests.journeys.flights.straight_from_the_csv import owed_by_airline, rows_of
from tests.journeys.flights.test_a_year_of_flights import (
    DEMO,
    ROOT,
    as_owed,
    environment,
    invoices_by_airline,
)
from tests.support.one_process import OneProcess, one_process

MONTHS = 2
TIMEOUT_S = 400
PATIENCE_S = 120
STREAMING, BILLING = "flights", "clock"
# What the demo has said when a stage is over, and the next one runs.
_BEGUN = {STREAMING: re.compile(r"aircraft, early"), BILLING: re.compile(r"aircraft, late")}
_OVER = {
    STREAMING: re.compile(r"^\s*\S*\s*flights\b.*stored", re.MULTILINE),
    BILLING: re.compile(r"payments"),
}


@dataclass
class Story:
    """A run of the demo against a process that is killed under it. `killed` names the stage of each kill."""

    process: OneProcess
    demo: subprocess.Popen[bytes]
    printed: Path
    written: Path
    killed: list[str] = field(default_factory=list)
    accepting_after_s: list[float] = field(default_factory=list)

    def stage(self) -> str | None:
        """The stage that runs now, if it is one of those in which we kill."""
        told = self.printed.read_text(encoding="utf-8", errors="replace")
        for stage in (STREAMING, BILLING):
            if _BEGUN[stage].search(told) and not _OVER[stage].search(told):
                return stage
        return None

    def kill(self, stage: str) -> None:
        self.process.kill()
        started = time.monotonic()
        self.process.start()
        self.accepting_after_s.append(time.monotonic() - started)
        self.killed.append(stage)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def process(tmp_path: Path) -> Iterator[OneProcess]:
    with one_process(tmp_path / "log", port=free_port(), PERENNIAL_BILLING_PAYMENT_CLAIM_S="4") as process:
        process.start()
        yield process


def tell_and_kill(process: OneProcess, folder: Path, *, seed: int, kills: dict[str, int]) -> Story:
    """Run the demo; kill the process as often as asked for, at moments that the seed chooses."""
    chance = random.Random(seed)
    printed, written = folder / "printed", folder / "result.json"
    options = ["--months", str(MONTHS), "--json", str(written), "--patience", str(PATIENCE_S)]
    with printed.open("wb") as out:
        demo = subprocess.Popen(
            [*DEMO, *options], cwd=ROOT, env=environment(process), stdout=out, stderr=subprocess.STDOUT
        )
    story = Story(process, demo, printed, written)
    left = dict(kills)
    give_up_at = time.monotonic() + TIMEOUT_S
    while demo.poll() is None and time.monotonic() < give_up_at:
        stage = story.stage()
        if stage is not None and left[stage]:
            time.sleep(chance.uniform(0.05, 1.2 if stage == STREAMING else 0.6))
            if story.stage() == stage:
                story.kill(stage)
                left[stage] -= 1
        time.sleep(0.02)
    if demo.poll() is None:
        demo.kill()
    demo.wait()
    return story


def audit(process: OneProcess) -> dict[str, Any]:
    """`perennial audit`, as an operator runs it."""
    command = [str(Path(sys.executable).parent / "perennial"), "audit", "--json"]
    surroundings = os.environ | {
        "PERENNIAL_URL": process.base_url,
        "PERENNIAL_VAR_FOLDER": str(process.folder),
    }
    answer = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False)
    assert answer.stdout, answer.stderr
    report: dict[str, Any] = json.loads(answer.stdout)
    return report


def check(story: Story) -> None:
    """Nothing lost, nothing twice: the invoices of the file itself, all paid, and a clean audit."""
    assert story.demo.returncode == 0, story.printed.read_text(encoding="utf-8")[-4000:]
    owed = owed_by_airline(rows_of(installed_data() / "flights.csv.zip"), months=MONTHS)
    found = invoices_by_airline(story.process, label=f"-{MONTHS}m")
    assert as_owed(found) == owed
    assert {invoice["status"] for invoices in found.values() for invoice in invoices} == {"paid"}
    total = sum((sum(invoices.values()) for invoices in owed.values()), Decimal(0))
    assert Decimal(json.loads(story.written.read_text(encoding="utf-8"))["total"]) == total
    report = audit(story.process)
    assert report["ok"], [check for check in report["checks"] if not check["ok"]]
    seconds = ", ".join(f"{elapsed:.1f}" for elapsed in story.accepting_after_s)
    print(f"{len(story.killed)} kills ({', '.join(story.killed)}); accepting again after {seconds} s")


def test_six_kills_lose_nothing_and_bill_nothing_twice(process: OneProcess, tmp_path: Path) -> None:
    story = tell_and_kill(process, tmp_path, seed=2013, kills={STREAMING: 3, BILLING: 3})
    check(story)
    assert sorted(story.killed) == [BILLING] * 3 + [STREAMING] * 3, story.killed


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_many_kills_lose_nothing_and_bill_nothing_twice(
    process: OneProcess, tmp_path: Path, seed: int
) -> None:
    story = tell_and_kill(process, tmp_path, seed=seed, kills={STREAMING: 4, BILLING: 4})
    check(story)
    assert len(story.killed) >= 5, story.killed

"""The one process is killed with SIGKILL at seeded moments, while flights stream in and while it bills them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.engines_by_the_minute.story import Story as Plot
from tests.journeys.kills.story import BILLING, STREAMING, Record, check, tell, tell_times
from tests.support.one_process import OneProcess, free_port, one_process

PLOT = Plot(months=2)


@dataclass(frozen=True, slots=True)
class Restart:
    """Killed, and started again."""

    process: OneProcess
    name: str = "the one process"

    def strike(self) -> None:
        self.process.restart()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[OneProcess]:
    with one_process(tmp_path / "log", port=free_port(), PERENNIAL_BILLING_PAYMENT_CLAIM_S="4") as process:
        process.start()
        yield process


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_many_kills_lose_nothing_and_bill_nothing_twice(
    process: OneProcess, tmp_path: Path, seed: int, record_property: Record
) -> None:
    kill = Restart(process)
    story = tell(process, tmp_path, PLOT, seed=seed, blows={STREAMING: [kill] * 4, BILLING: [kill] * 4})
    check(story)
    record_property("figures", tell_times(story.struck))
    assert len(story.struck) >= 5, story.struck

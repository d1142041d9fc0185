"""The one process is killed with SIGKILL at seeded moments, while flights stream in and while it bills them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.engines_by_the_minute.story import Story as Plot
from tests.journeys.kills.story import BILLING, STREAMING, Record, check, tell, tell_times
from tests.support.one_process import OneProcess, one_process

PLOT = Plot(months=2)


@dataclass(frozen=True, slots=True)
class Restart:
    """Killed, and started again."""

    process: OneProcess
    name: str = "the one process"

    def strike(self) -> None:
        self.process.restart()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def process(tmp_path: Path) -> Iterator[OneProcess]:
    with one_process(tmp_path / "log", port=free_port(), PERENNIAL_BILLING_PAYMENT_CLAIM_S="4") as process:
        process.start()
        yield process


def test_six_kills_lose_nothing_and_bill_nothing_twice(
    process: OneProcess, tmp_path: Path, record_property: Record
) -> None:
    kill = Restart(process)
    story = tell(process, tmp_path, PLOT, seed=2013, blows={STREAMING: [kill] * 3, BILLING: [kill] * 3})
    check(story)
    record_property("figures", tell_times(story.struck))
    assert sorted(struck.stage for struck in story.struck) == [BILLING] * 3 + [STREAMING] * 3


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

"""Every process of a fleet is killed with SIGKILL, Kafka and PostgreSQL too, while flights stream in and are billed.

All the time two workers of each service that has a scheduler run side by side, and answers to COMMIT are lost.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.engines_by_the_minute.story import Story as Plot
from tests.journeys.kills.arena import Arena, running_arena
from tests.journeys.kills.story import BILLING, STREAMING, Blow, Record, Struck, check, tell, tell_times
from tests.journeys.kills.usage_story import unrest
from tests.support.fleet import PROCESSES, Fleet

VICTIMS = (*PROCESSES, "kafka", "postgres")
SETTLED_WITHIN_S = 30


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with running_arena(tmp_path_factory.mktemp("kills")) as arena:
        yield arena


def assert_at_rest(found: Fleet) -> None:
    """Within a bound, and with nobody's help: what was told is told, what was heard is done, nothing is claimed."""
    give_up_at = time.monotonic() + SETTLED_WITHIN_S
    while left := asyncio.run(unrest(found.database_url)):
        assert time.monotonic() < give_up_at, left
        time.sleep(0.2)


# Stories that have names of their own, so that one fleet can be told them all.
_CARRIERS = ("9E", "AA", "B6", "DL", "EV", "FL", "MQ", "UA", "US", "WN")
KILLS_OF_EACH = 5
STORIES_MAX = 14


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_fifty_kills_lose_nothing_and_bill_nothing_twice(
    arena: Arena, tmp_path: Path, record_property: Record
) -> None:
    """Each of the ten is killed five times; two or three in a story while flights stream in, the others later.

    A stage may be over before its last blow: whoever was spared has his turn in the next story.
    """
    chance = random.Random(50)
    waiting = [name for _ in range(KILLS_OF_EACH) for name in chance.sample(VICTIMS, len(VICTIMS))]
    struck: list[Struck] = []
    for number in range(STORIES_MAX):
        folder = tmp_path / f"story-{number}"
        folder.mkdir()
        next_ones, first = waiting[:5], 2 + number % 2
        blows: dict[str, list[Blow]] = {
            STREAMING: [arena.kill(name) for name in next_ones[:first]],
            BILLING: [arena.kill(name) for name in next_ones[first:]],
        }
        without = {_CARRIERS[number % len(_CARRIERS)]}
        plot = Plot(months=2 + number // len(_CARRIERS), carriers=frozenset(_CARRIERS) - without)
        with arena.losing():
            story = tell(arena.fleet, folder, plot, seed=number, blows=blows)
        check(story)
        assert_at_rest(arena.fleet)
        for one in story.struck:
            waiting.remove(one.name)
        struck += story.struck
        if not waiting:
            break
    record_property("figures", f"{tell_times(struck)}\n{arena.tell_losses()}")
    assert arena.lost_count > 0
    assert Counter(one.name for one in struck) == dict.fromkeys(VICTIMS, KILLS_OF_EACH)
    assert {one.stage for one in struck} == {STREAMING, BILLING}

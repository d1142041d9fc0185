"""Every process of a fleet is killed with SIGKILL, Kafka and PostgreSQL too, while flights stream in and are billed.

All the time two workers of each service that has a scheduler run side by side, and answers to COMMIT are lost.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from deploy.kafka.programs import missing_program
from examples.engines_by_the_minute.story import Story as Plot
from libs.common.contracts import SERVICES
from libs.common.persistence.session import asyncpg_dsn
from libs.common.serving.addresses import database_name
from tests.journeys.kills.story import BILLING, STREAMING, Blow, Record, Struck, check, tell, tell_times
from tests.support.fleet import PROCESSES, Fleet, fleet
from tests.support.lossy_proxy import LossyProxy, lossy_port

VICTIMS = (*PROCESSES, "kafka", "postgres")
SECONDS = ("subscriptions", "metering", "billing")
# Who loses answers, and what share of them.
LOSSES = {"metering-api": 0.05, "subscriptions-worker": 0.04, "metering-worker": 0.04, "billing-worker": 0.04}
SETTLED_WITHIN_S = 30

_AT_REST = {
    "no event waits": (SERVICES, "SELECT count(*) FROM outbox WHERE published_at IS NULL"),
    "no message has failed": (SERVICES, "SELECT count(*) FROM message_failure"),
    "no clock is under way": (("subscriptions",), "SELECT count(*) FROM clock_move WHERE state = 'moving'"),
    "no payment is claimed": (
        ("billing",),
        "SELECT count(*) FROM payment_attempt WHERE state <> 'succeeded' AND state <> 'failed'",
    ),
}


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL, and a new start under the same name."""

    fleet: Fleet
    name: str

    def strike(self) -> None:
        self.fleet.restart(self.name)


@dataclass(frozen=True, slots=True)
class Arena:
    """A fleet whose workers are doubled, some of them behind a proxy that loses answers."""

    fleet: Fleet
    proxies: Mapping[str, LossyProxy]

    @contextmanager
    def losing(self) -> Iterator[None]:
        """Answers to COMMIT get lost while the block runs. When faults stop, everything gets done."""
        for name, proxy in self.proxies.items():
            proxy.rate = LOSSES[name]
        yield
        for proxy in self.proxies.values():
            proxy.rate = 0

    def kills(self, *names: str) -> list[Blow]:
        return [Kill(self.fleet, name) for name in names]

    @property
    def lost_count(self) -> int:
        return sum(proxy.lost for proxy in self.proxies.values())

    def tell_losses(self) -> str:
        told = ", ".join(f"{proxy.lost} of {name}" for name, proxy in self.proxies.items())
        return f"answers to COMMIT that were lost: {told}"


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    if missing := missing_program():
        pytest.skip(f"there is no Kafka: {missing}")
    with ExitStack() as stack:
        proxies: dict[str, LossyProxy] = {}

        def prepare(found: Fleet) -> None:
            for seed, name in enumerate(LOSSES):
                opened = lossy_port(found.address("postgres"), seed=seed)
                proxies[name], address = stack.enter_context(opened)
                found.surround(name, PERENNIAL_DATABASE_URL=f"postgresql://{address}")
            for service in SECONDS:
                found.replicate(f"{service}-worker-2", like=f"{service}-worker")

        logs = tmp_path_factory.mktemp("kills")
        with fleet(logs, prepare=prepare, PERENNIAL_BILLING_PAYMENT_CLAIM_S="4") as found:
            yield Arena(found, proxies)


def assert_at_rest(found: Fleet) -> None:
    """Within a bound, and with nobody's help: what was told is told, what was heard is done, nothing is claimed."""
    give_up_at = time.monotonic() + SETTLED_WITHIN_S
    while left := asyncio.run(_unrest(found)):
        assert time.monotonic() < give_up_at, left
        time.sleep(0.2)


async def _unrest(found: Fleet) -> dict[str, int]:
    left: Counter[str] = Counter()
    for service in SERVICES:
        connection = await asyncpg.connect(asyncpg_dsn(found.database_url(database_name(service))))
        try:
            for told, (services, query) in _AT_REST.items():
                if service in services:
                    left[f"{service}: {told}"] += await connection.fetchval(query)
        finally:
            await connection.close()
    return +left


def test_six_kills_lose_nothing_and_bill_nothing_twice(
    arena: Arena, tmp_path: Path, record_property: Record
) -> None:
    chosen = random.Random(2013).choice([name for name in VICTIMS if name.endswith("-api")])
    blows: dict[str, list[Blow]] = {
        STREAMING: arena.kills("metering-api", "postgres", "metering-worker"),
        BILLING: arena.kills("billing-worker", "kafka", chosen),
    }
    with arena.losing():
        story = tell(arena.fleet, tmp_path, Plot(months=2), seed=2013, blows=blows)
    check(story)
    assert_at_rest(arena.fleet)
    record_property("figures", f"{tell_times(story.struck)}\n{arena.tell_losses()}")
    assert [struck.name for struck in story.struck] == [
        blow.name for stage in (STREAMING, BILLING) for blow in blows[stage]
    ]
    assert arena.lost_count > 0


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
            STREAMING: arena.kills(*next_ones[:first]),
            BILLING: arena.kills(*next_ones[first:]),
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
    assert Counter(one.name for one in struck) == dict.fromkeys(VICTIMS, KILLS_OF_EACH)
    assert {one.stage for one in struck} == {STREAMING, BILLING}

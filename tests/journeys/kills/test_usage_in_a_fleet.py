"""Usage goes through its topic on Kafka to two workers; any process may die, the bus and the database too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from libs.common.contracts.topics import USAGE_TOPIC
from libs.common.messaging.kafka_bus import KafkaBus
from libs.common.serving.addresses import database_name
from services.metering.adapters.usage_offsets import USAGE_GROUP
from tests.journeys.kills.alert_story import come_to_marks
from tests.journeys.kills.arena import KAFKA_HOST, Arena, running_arena
from tests.journeys.kills.faults import Fault, stands_still, trapped
from tests.journeys.kills.senders import client_of, stubborn
from tests.journeys.kills.story import Blow, Record
from tests.journeys.kills.usage_story import Ground, Way, play, seeds_of
from tests.support.fleet import PROCESSES, Fleet
from tests.support.kafka_proxy import ACKNOWLEDGE, PUBLISH
from tests.support.lossy_proxy import Instant, Trap

SENDERS = 3
BACK = 200  # records of each partition that the group is to read again
AGAIN = 20  # the last records of each partition that are published once more
IN_CI, ALL = 2, 25
MISSED_WITHIN_S = 30
ALERT_WITHIN_S = 3.0  # what is promised is a second; a machine that is busy with other tests gets three
WORKERS = ("metering-worker", "metering-worker-2")


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with running_arena(tmp_path_factory.mktemp("usage-faults"), PERENNIAL_USAGE_INGEST="kafka") as arena:
        yield arena


@pytest.fixture(scope="module")
def ground(arena: Arena) -> Ground:
    found = arena.fleet
    ways = [Way(lambda: found.base_url, through_topic=True)] * SENDERS
    return Ground(
        found,
        found.database_url,
        ways,
        faults_of(arena),
        meanwhile=arena.losing,
        deliver_again=lambda: publish_again(found),
    )


def faults_of(arena: Arena) -> list[Fault]:
    """The first ones are those of every CI run."""
    found = arena.fleet

    def killed(name: str) -> Fault:
        return Fault(f"{name} is killed", arena.kill(name).strike)

    def at_commit(instant: Instant, name: str) -> Fault:
        service = name.split("-", 1)[0]
        return trapped(
            f"{name} is killed {instant} COMMIT",
            lambda: arena.proxies[name].lay(
                instant, lambda: found.kill(name), database=database_name(service)
            ),
            lambda: found.start(name),
        )

    def at_kafka(instant: Instant, request: int, *names: str) -> Fault:
        """Of a pair it is whoever comes first: one relays for both, and nobody knows which."""
        told = "it publishes" if request == PUBLISH else "it acknowledges"
        killed: list[str] = []

        def kill(name: str) -> None:
            found.kill(name)
            killed.append(name)

        def lay() -> Trap:
            trap = arena.kafka.lay(instant, kill, clients=names, request=request)
            if names[0].startswith("subscriptions"):
                make_a_customer(found)
            return trap

        return trapped(
            f"{names[0]} is killed {instant} {told}",
            lay,
            lambda: found.start(killed.pop()),
        )

    in_ci = [
        at_kafka("after", PUBLISH, "metering-api"),
        Fault("a worker leaves and joins", lambda: leave_and_join(found)),
        killed("postgres"),
        Fault("the usage group is set back", lambda: set_back(found)),
        at_kafka("before", ACKNOWLEDGE, *WORKERS),
        killed("kafka"),
    ]
    others = [
        at_commit("before", "metering-worker"),
        at_commit("after", "metering-worker"),
        at_kafka("before", PUBLISH, "metering-api"),
        at_kafka("after", ACKNOWLEDGE, *WORKERS),
        at_kafka("before", PUBLISH, *WORKERS),
        at_kafka("after", PUBLISH, *WORKERS),
        at_kafka("after", PUBLISH, "subscriptions-worker", "subscriptions-worker-2"),
        at_commit("after", "billing-worker"),
        stands_still("Kafka stands still", lambda: found.pid("kafka"), for_s=3),
        stands_still("the database stands still", lambda: found.pid("postgres"), for_s=2),
        Fault("Kafka is down for a while", lambda: down(found, "kafka", for_s=4)),
        Fault("the database is down for a while", lambda: down(found, "postgres", for_s=2)),
        Fault("what was published comes again", lambda: publish_again(found)),
        *(killed(name) for name in PROCESSES),
    ]
    return [*in_ci, *others]


def make_a_customer(found: Fleet) -> None:
    """Of which subscriptions tells: once the clock has moved, it may have nothing else to say."""
    name = f"faults-told-{time.time_ns():x}"
    body = {"name": name, "currency": "EUR", "country": "NL", "zone": "UTC"}
    with client_of(found.base_url, found.token) as client:
        stubborn(client, "/v1/customers", body, **{"idempotency-key": name})


def leave_and_join(found: Fleet) -> None:
    """The partitions are dealt out anew, twice, while records stream in."""
    found.terminate(WORKERS[1])
    time.sleep(0.5)
    found.start(WORKERS[1])


def down(found: Fleet, name: str, *, for_s: float) -> None:
    found.kill(name)
    time.sleep(for_s)
    found.start(name)


def set_back(found: Fleet) -> None:
    """Offsets of a group may be changed while nobody is in it. Here they are, by an operator who errs."""
    for name in WORKERS:
        found.tell_to_stop(name)
    for name in WORKERS:
        found.await_exit(name)
    give_up_at = time.monotonic() + MISSED_WITHIN_S
    while True:  # one that was killed a moment ago is missed after a while
        try:
            asyncio.run(_set_back(_bootstrap(found)))
            break
        except KafkaError:
            assert time.monotonic() < give_up_at, "somebody is still in the group"
            time.sleep(0.2)
    for name in WORKERS:
        found.launch(name)
    for name in WORKERS:
        found.await_ready(name)


async def _set_back(bootstrap: str) -> None:
    places = list(await _ends(bootstrap))
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=USAGE_GROUP, enable_auto_commit=False
    ) as consumer:
        consumer.assign(places)
        committed = {place: await consumer.committed(place) or 0 for place in places}
        await consumer.commit({place: max(0, offset - BACK) for place, offset in committed.items()})


def publish_again(found: Fleet) -> None:
    """The same records at new offsets, as when a producer repeats what it was not told of."""
    asyncio.run(_publish_again(_bootstrap(found)))


async def _publish_again(bootstrap: str) -> None:
    ends = await _ends(bootstrap)
    async with (
        AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False) as consumer,
        AIOKafkaProducer(bootstrap_servers=bootstrap) as producer,
    ):
        consumer.assign(list(ends))
        for place, end in ends.items():
            consumer.seek(place, max(0, end - AGAIN))
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for place, records in (await consumer.getmany(timeout_ms=500)).items():
                for record in records:
                    if record.offset < ends[place]:
                        await producer.send(
                            USAGE_TOPIC,
                            record.value,
                            key=record.key,
                            partition=place.partition,
                            headers=list(record.headers),
                        )


async def _ends(bootstrap: str) -> dict[TopicPartition, int]:
    bus = KafkaBus(bootstrap, client_id="faults")
    try:
        ends = await bus.end_offsets(USAGE_TOPIC)
    finally:
        await bus.close()
    return {TopicPartition(USAGE_TOPIC, partition): end for partition, end in ends.items()}


def _bootstrap(found: Fleet) -> str:
    return f"{KAFKA_HOST}:{found.address('kafka').rsplit(':', 1)[1]}"


def test_every_event_counts_once_whatever_breaks(
    arena: Arena, ground: Ground, record_property: Record
) -> None:
    told = play(ground, seeds_of(IN_CI, first=0))
    record_property("figures", f"{told}\n{arena.tell_losses()}")
    assert arena.lost_count > 0


def test_an_alert_fires_once_and_soon_after_its_usage(arena: Arena, record_property: Record) -> None:
    """Through the topic: the usage is stored by a worker, and the alert told by whichever of them relays."""
    taken = come_to_marks(arena.fleet, arena.fleet.database_url, 3)
    record_property("figures", f"alerts were on the bus {taken} s after their usage was acknowledged")
    assert max(taken) < ALERT_WITHIN_S


@pytest.mark.long
@pytest.mark.timeout(900)
def test_an_alert_fires_once_whoever_is_killed(arena: Arena, record_property: Record) -> None:
    found = arena.fleet
    strikes: list[Blow] = [
        *(arena.kill(name) for name in ("metering-api", *WORKERS, "kafka", "postgres")),
        Fault("the usage group is set back", lambda: set_back(found)),
        Fault("what was published comes again", lambda: publish_again(found)),
    ]
    taken = come_to_marks(found, found.database_url, len(strikes) + 12, strikes=strikes)
    record_property("figures", f"alerts were on the bus {taken} s after their usage was acknowledged")
    assert sorted(taken)[len(taken) // 2] < ALERT_WITHIN_S


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_event_counts_once_in_many_rounds(
    arena: Arena, ground: Ground, record_property: Record
) -> None:
    told = play(ground, seeds_of(ALL, first=time.time_ns() // 10**9), audit_each=True)
    record_property("figures", f"{told}\n{arena.tell_losses()}")

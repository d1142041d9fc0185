"""Topics on Kafka are as the table says; records go where any Kafka client would put them; what is too large is named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from libs.common.contracts.topics import MESSAGE_BYTES_MAX, TOPICS, Topic
from libs.common.messaging.bus import Bus, Record, RecordTooLarge
from libs.common.messaging.kafka_publisher import ROUND_BYTES_MAX
from tests.integration.transport.harness import KafkaTransport, kafka_transport, numbers, receive, record
from tests.support.kafka import KafkaForTests


@pytest_asyncio.fixture
async def transport(kafka: KafkaForTests) -> AsyncIterator[KafkaTransport]:
    """Kafka's only."""
    async with kafka_transport(kafka) as on_kafka:
        yield on_kafka


async def settings_of(kafka: KafkaForTests, topics: list[str]) -> dict[str, Mapping[str, str]]:
    """What the broker itself says of its topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
        [response] = await admin.describe_configs(asked)
        return {
            name: {setting: value for setting, value, *_ in settings}
            for _, _, _, name, settings in response.resources
        }
    finally:
        await admin.close()


async def test_the_topics_of_the_table_have_their_partitions_retention_and_size(
    bus: Bus, kafka: KafkaForTests
) -> None:
    await bus.ensure_topics(TOPICS)
    settings = await settings_of(kafka, [topic.name for topic in TOPICS])
    for topic in TOPICS:
        assert len(await bus.end_offsets(topic.name)) == topic.partitions
        assert settings[topic.name]["retention.ms"] == str(7 * 24 * 3600 * 1000)
        assert settings[topic.name]["max.message.bytes"] == str(MESSAGE_BYTES_MAX)
        assert settings[topic.name]["message.timestamp.type"] == "LogAppendTime"


async def test_what_an_operator_has_set_stays(bus: Bus, kafka: KafkaForTests, single: str) -> None:
    made = Topic(f"{single}.made", partitions=2, message_bytes_max=5_000)
    await bus.ensure_topics([made])
    await bus.ensure_topics([replace(made, partitions=6, message_bytes_max=9_000)])
    settings = await settings_of(kafka, [made.name])
    assert settings[made.name]["max.message.bytes"] == "5000"
    assert len(await bus.end_offsets(made.name)) == 2


async def test_any_kafka_client_finds_the_partition_of_a_key(
    bus: Bus, kafka: KafkaForTests, topic: str, group: str
) -> None:
    keys = [f"0190f0a0-0000-7000-8000-00000000000a/engine-{number}" for number in range(20)] + ["", "é"]
    await bus.publish([record(topic, key, 0) for key in keys])
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    for key in keys:
        await producer.send_and_wait(topic, b"1", key.encode())
    await producer.stop()
    async with bus.subscribe(group, [topic], member="a") as subscription:
        deliveries = await receive(subscription, 2 * len(keys))
    for key in keys:
        assert len({d.partition for d in deliveries if d.key == key}) == 1
        assert numbers(deliveries, key) == [0, 1]
    assert len({d.partition for d in deliveries}) > 1


async def test_records_of_others_may_lack_a_key_a_value_and_text(
    bus: Bus, kafka: KafkaForTests, single: str, group: str
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    await producer.send_and_wait(single, b"v")
    await producer.send_and_wait(single, None, b"k\xff", headers=[("h", b"\xff"), ("n", None)])
    await producer.stop()
    async with bus.subscribe(group, [single], member="a") as subscription:
        one, two = await receive(subscription, 2)
        await subscription.acknowledge([one, two])
    assert (one.key, one.value) == ("", b"v")
    assert (two.key, two.value, two.headers) == ("k\ufffd", b"", {"h": "\ufffd", "n": ""})
    assert await bus.committed(group, single) == {0: 2}


async def test_other_clients_read_what_we_publish(bus: Bus, kafka: KafkaForTests, single: str) -> None:
    await bus.publish([Record(single, "tenant/1", {"ce_id": "evt_1", "gruß": "Grüße"}, b"{}")])
    consumer = AIOKafkaConsumer(single, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    found = await consumer.getone()
    await consumer.stop()
    assert (found.key, found.value) == (b"tenant/1", b"{}")
    assert found.headers == (("ce_id", b"evt_1"), ("gruß", "Grüße".encode()))


async def test_of_a_batch_only_the_record_that_is_too_large_is_named(
    bus: Bus, single: str, group: str
) -> None:
    """Kafka measures whole batches: one that is refused is looked into."""
    small = Topic(f"{single}.small", partitions=1, message_bytes_max=1_000)
    await bus.ensure_topics([small])
    values = [b"0" * 300, b"1" * 300, b"2" * 2_000, b"3" * 300, b"4" * 300]
    records = [Record(small.name, "k", {}, value) for value in values]
    with pytest.raises(RecordTooLarge) as refused:
        await bus.publish(records)
    assert refused.value.positions == {2}
    await bus.publish([each for n, each in enumerate(records) if n not in refused.value.positions])
    async with bus.subscribe(group, [small.name], member="a") as subscription:
        received: list[bytes] = []
        while received.count(values[4]) == 0:
            received += [d.value for d in await subscription.poll(records_max=100, timeout_s=0.5)]
    assert list(dict.fromkeys(received)) == [values[0], values[1], values[3], values[4]]


async def test_small_records_that_are_too_much_together_go_one_by_one(bus: Bus, single: str) -> None:
    small = Topic(f"{single}.small", partitions=1, message_bytes_max=1_000)
    await bus.ensure_topics([small])
    await bus.publish([Record(small.name, "k", {}, b"0" * 300) for _ in range(10)])
    assert await bus.end_offsets(small.name) == {0: 10}


async def test_more_than_fits_into_one_request(bus: Bus, topic: str, group: str) -> None:
    size = 7 * 1024 * 1024
    count = ROUND_BYTES_MAX // size + 3
    await bus.publish([Record(topic, f"k{n % 2}", {}, bytes([n]) * size) for n in range(count)])
    async with bus.subscribe(group, [topic], member="a") as subscription:
        deliveries = await receive(subscription, count)
    assert {d.value[0] for d in deliveries} == set(range(count))
    assert all(len(d.value) == size for d in deliveries)
    for key in ("k0", "k1"):
        order = [d.value[0] for d in deliveries if d.key == key]
        assert order == sorted(order)

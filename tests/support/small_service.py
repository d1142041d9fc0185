"""A service of the tests' own: one aggregate with due rows, a log of effects, one event, on a real database and bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import asyncpg
from sqlalchemy import BigInteger, Column, Identity, RowMapping, Table, Text, UniqueConstraint, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from libs.common.access.tenancy import (
    API_LOGIN,
    APP,
    AUDIT,
    MIGRATOR,
    WORKER_LOGIN,
    grant_schema,
    let_finder_claim,
    protect,
)
from libs.common.clock import Clock, SystemClock
from libs.common.contracts import topic_of
from libs.common.contracts.catalog import TenantChangedV1, TokenRevokedV1
from libs.common.contracts.envelope import Envelope, Event
from libs.common.contracts.subscriptions import TestClockMovedV1
from libs.common.contracts.topics import Topic
from libs.common.errors import NotFound, RuleViolation
from libs.common.ids import new_id
from libs.common.messaging.bus import Bus, Delivery, Record, Subscription
from libs.common.messaging.bus_migrations import install
from libs.common.messaging.consumer import Consumer
from libs.common.messaging.due import DueJob, DueRow
from libs.common.messaging.embedded_bus import EmbeddedBus
from libs.common.messaging.handlers import Handler, HandlerGroup
from libs.common.messaging.relay import Relay
from libs.common.persistence.base import due_columns, id_column, new_metadata, tenant_column, version_column
from libs.common.persistence.machinery import machinery, protect_machinery
from libs.common.persistence.migrate import create_roles_and_databases
from libs.common.persistence.reference import on_tenant_changed, on_test_clock_moved, on_token_revoked
from libs.common.persistence.repository import Repository
from libs.common.persistence.session import Database, asyncpg_dsn
from libs.common.persistence.shared_migrations import grants_of_second
from libs.common.persistence.unit_of_work import UnitOfWork, UnitsOfWork
from tests.support.postgres import PostgresForTests
from tests.support.service_database import ServiceDatabase

NAME = "test"
TOPIC = topic_of(NAME)
GROUP = "perennial.test"
PARTITIONS = 2
NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
TENANT_A = "0190f0a0-0000-7000-8000-00000000000a"
TENANT_B = "0190f0a0-0000-7000-8000-00000000000b"
TENANT_C = "0190f0a0-0000-7000-8000-00000000000c"

metadata = new_metadata()
shared = machinery(metadata)
thing = Table(
    "thing",
    metadata,
    tenant_column(),
    id_column(),
    Column("note", Text, nullable=False),
    version_column(),
    *due_columns(),
    UniqueConstraint("tenant", "note"),
)
# What handlers did, in the order in which they did it. Doing it twice shows.
effect = Table(
    "effect",
    metadata,
    tenant_column(),
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("thing_id", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
)


class ThingHappenedV1(Event):
    """Something happened to a thing, for the `number`-th time."""

    TYPE: ClassVar[str] = "perennial.test.thing.happened.v1"
    thing_id: str
    number: int


class ThingNotFound(NotFound):
    code: ClassVar[str] = "thing_not_found"


class NoteTaken(RuleViolation):
    code: ClassVar[str] = "note_taken"


@dataclass(frozen=True, slots=True)
class Thing:
    id: str
    note: str = ""
    version: int = 1
    due_at: datetime | None = None
    clock_id: str | None = None


def thing_to_row(one: Thing) -> dict[str, Any]:
    return {
        "id": one.id,
        "note": one.note or one.id,
        "version": one.version,
        "due_at": one.due_at,
        "clock_id": one.clock_id,
    }


def thing_from_row(row: RowMapping) -> Thing:
    return Thing(row["id"], row["note"], row["version"], row["due_at"], row["clock_id"])


def _not_found(id: str) -> ThingNotFound:
    return ThingNotFound("there is no such thing", id=id)


class SmallUnitOfWork(UnitOfWork):
    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection, shared)
        self.things: Repository[Thing] = Repository(
            self, thing, to_row=thing_to_row, from_row=thing_from_row, not_found=_not_found
        )
        self.register(self.things)


class UnitOfWorkThatNamesConstraints(SmallUnitOfWork):
    constraint_errors: ClassVar[Mapping[str, Callable[[], NoteTaken]]] = {
        "uq_thing_tenant_note": lambda: NoteTaken("another thing has this note")
    }


Trouble = Callable[[ThingHappenedV1, SmallUnitOfWork], Awaitable[None]]


async def write_effect(event: ThingHappenedV1, uow: SmallUnitOfWork) -> None:
    """The effect of a message: one row, not protected against being written twice."""
    values = {"tenant": event.tenant, "thing_id": event.thing_id, "number": event.number, "actor": uow.actor}
    await uow.connection.execute(insert(effect).values(**values))


@dataclass
class Handlers:
    """What the group does with what it hears. `trouble` runs first, for the thing it is registered for."""

    trouble: dict[str, Trouble] = field(default_factory=dict)
    more: dict[type[Event], Handler[Any]] = field(default_factory=dict)

    async def on_thing_happened(self, event: ThingHappenedV1, uow: SmallUnitOfWork) -> None:
        if event.thing_id in self.trouble:
            await self.trouble[event.thing_id](event, uow)
        await write_effect(event, uow)

    def group(self, name: str = GROUP) -> HandlerGroup[SmallUnitOfWork]:
        return HandlerGroup(
            name=name,
            topics=(TOPIC,),
            handle={
                ThingHappenedV1: self.on_thing_happened,
                TenantChangedV1: on_tenant_changed,
                TokenRevokedV1: on_token_revoked,
                TestClockMovedV1: on_test_clock_moved,
                **self.more,
            },
        )


class Poison:
    """A trouble that a message brings along, until somebody heals it."""

    def __init__(self) -> None:
        self.healed = False
        self.tries = 0

    async def __call__(self, event: ThingHappenedV1, uow: SmallUnitOfWork) -> None:
        self.tries += 1
        if not self.healed:
            await write_effect(event, uow)  # what a failed message wrote must vanish
            raise ValueError(f"thing {event.thing_id} cannot be digested")


def happened(thing_id: str, number: int, tenant: str = TENANT_A, **changes: Any) -> ThingHappenedV1:
    facts: dict[str, Any] = {"version": max(number, 1), "occurred_at": NOW, **changes}
    return ThingHappenedV1(tenant=tenant, thing_id=thing_id, number=number, **facts)


@dataclass
class SmallService:
    """The service on one database, with one bus. Loops run only where a test starts them."""

    database: ServiceDatabase
    bus: Bus
    worker: Database
    api: Database
    handlers: Handlers = field(default_factory=Handlers)

    @property
    def units(self) -> UnitsOfWork[SmallUnitOfWork]:
        return UnitsOfWork(self.worker, SmallUnitOfWork)

    def relay(self, bus: Bus | None = None, **options: Any) -> Relay:
        return Relay(service=NAME, dsn=self.worker.dsn, role=APP, bus=bus or self.bus, **options)

    def consumer(
        self, *, units: UnitsOfWork[Any] | None = None, group: HandlerGroup[Any] | None = None, **options: Any
    ) -> Consumer[SmallUnitOfWork]:
        options = {"bus": self.bus, "member": "one", **options}
        return Consumer(
            service=NAME, group=group or self.handlers.group(), units=units or self.units, **options
        )

    def due_job(
        self,
        work: Callable[[Sequence[DueRow], SmallUnitOfWork], Awaitable[None]],
        *,
        clock: Clock | None = None,
        **options: Any,
    ) -> DueJob[SmallUnitOfWork]:
        options = {"units": self.units, **options}
        return DueJob(
            "wake_things", service=NAME, table=thing, clock=clock or SystemClock(), work=work, **options
        )

    async def say(self, *events: Event, key: str = "", **options: Any) -> None:
        """Save events in the outbox, in one transaction; the key is the thing's id unless given."""
        async with self.units.open(events[0].tenant, "test") as uow:
            for event in events:
                uow.outbox.append(event, key=key or getattr(event, "thing_id", "k"), **options)

    async def make_things(self, *things: Thing, tenant: str = TENANT_A) -> None:
        async with self.units.open(tenant, "test") as uow:
            for one in things:
                uow.things.add(one)

    async def rows(self, statement: str, *parameters: Any) -> list[asyncpg.Record]:
        """Asked by a superuser, who sees everything."""
        connection: asyncpg.Connection[Any] = await asyncpg.connect(asyncpg_dsn(self.database.admin_dsn))
        try:
            return list(await connection.fetch(statement, *parameters))
        finally:
            await connection.close()

    async def effects(self, thing_id: str | None = None) -> list[tuple[str, int]]:
        """(thing, number) in the order of handling."""
        found = await self.rows("SELECT thing_id, number FROM effect ORDER BY position")
        return [(row[0], row[1]) for row in found if thing_id in (None, row[0])]

    async def unpublished(self) -> int:
        return int((await self.rows("SELECT count(*) FROM outbox WHERE published_at IS NULL"))[0][0])

    async def failures(self) -> list[asyncpg.Record]:
        return await self.rows("SELECT * FROM message_failure ORDER BY message_id")

    async def let_pauses_pass(self) -> None:
        await self.rows("UPDATE message_failure SET next_try_at = clock_timestamp() WHERE NOT dead")

    async def cut_connections(self, query_like: str = "%") -> None:
        """End all of the service's sessions, as a server does that is told to."""
        await self.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = $2"
            " AND query LIKE $3",
            self.database.name,
            WORKER_LOGIN,
            query_like,
        )


_templates: WeakKeyDictionary[PostgresForTests, str] = WeakKeyDictionary()
_bus_templates: WeakKeyDictionary[PostgresForTests, str] = WeakKeyDictionary()


@asynccontextmanager
async def small_database(postgres: PostgresForTests) -> AsyncIterator[ServiceDatabase]:
    """The service's database, as its migration would have made it."""
    if postgres not in _templates:
        _templates[postgres] = await _make_template(postgres)
    name = await postgres.create_database(NAME, template=_templates[postgres])
    dsn = postgres.server.dsn
    try:
        yield ServiceDatabase(
            name, dsn(name), dsn(name, API_LOGIN), dsn(name, WORKER_LOGIN), dsn(name, AUDIT)
        )
    finally:
        await postgres.drop_database(name)


async def _make_template(postgres: PostgresForTests) -> str:
    name = "template_small_service"
    await create_roles_and_databases(postgres.server.dsn(), [name])
    engine = create_async_engine(postgres.server.dsn(name))
    async with engine.begin() as connection:
        for statement in grant_schema():
            await connection.execute(text(statement))
        await connection.execute(text(f"SET LOCAL ROLE {MIGRATOR}"))
        await connection.run_sync(metadata.create_all)
        for statement in (
            *protect_machinery(),
            *protect("thing"),
            *let_finder_claim("thing"),
            *grants_of_second(due_tables=["thing"]),
            *protect("effect", writes="SELECT, INSERT"),
        ):
            await connection.execute(text(statement))
    await engine.dispose()
    return name


@asynccontextmanager
async def small_bus(postgres: PostgresForTests) -> AsyncIterator[EmbeddedBus]:
    """An embedded bus of the test's own, with the service's topic."""
    if postgres not in _bus_templates:
        template = await postgres.create_database("template_bus")
        connection = await asyncpg.connect(asyncpg_dsn(postgres.server.dsn(template)))
        await install(connection)
        await connection.close()
        _bus_templates[postgres] = template
    name = await postgres.create_database("bus", template=_bus_templates[postgres])
    bus = EmbeddedBus(postgres.server.dsn(name))
    await bus.ensure_topics([Topic(TOPIC, partitions=PARTITIONS)])
    try:
        yield bus
    finally:
        await bus.close()
        await postgres.drop_database(name)


@asynccontextmanager
async def small_service(postgres: PostgresForTests, bus: Bus) -> AsyncIterator[SmallService]:
    async with small_database(postgres) as database:
        worker, api = Database(database.worker_dsn), Database(database.api_dsn)
        try:
            yield SmallService(database, bus, worker, api)
        finally:
            await worker.close()
            await api.close()


TABLES = ", ".join(table.name for table in metadata.sorted_tables)


async def forget_everything(service: SmallService) -> None:
    """As if the service and its bus had just been made: much quicker than making them."""
    assert isinstance(service.bus, EmbeddedBus)
    await service.rows(f"TRUNCATE {TABLES} RESTART IDENTITY")
    bus = await asyncpg.connect(service.bus._dsn)
    await bus.execute("TRUNCATE bus_record, bus_offset; UPDATE bus_partition SET next = 0")
    await bus.close()


@asynccontextmanager
async def background(*loops: Callable[[], Awaitable[Any]]) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """The loops run while the block runs; one that ends by an error fails the test."""

    async def run(loop: Callable[[], Awaitable[Any]]) -> None:
        await loop()

    tasks = [asyncio.create_task(run(loop)) for loop in loops]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, Exception):
            raise outcome


async def eventually(
    question: Callable[[], Awaitable[Any]], expected: Any = True, *, timeout_s: float = 15
) -> None:
    """Ask until the answer is the expected one; an answer that cannot be had yet is none."""
    answer: Any = None
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    answer = await question()
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    answer = error
                if answer == expected:
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"still {answer!r}, not {expected!r}, after {timeout_s} s") from None


class BusInBetween:
    """A bus whose publications a test sees, and may disturb before or after they are stored."""

    def __init__(self, bus: Bus) -> None:
        self.inner = bus
        self.published: list[Record] = []
        self.before: Callable[[], Awaitable[None]] | None = None
        self.after: Callable[[], Awaitable[None]] | None = None

    async def publish(self, records: Sequence[Record]) -> None:
        if self.before is not None:
            await self.before()
        await self.inner.publish(records)
        self.published += records
        if self.after is not None:
            await self.after()

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        await self.inner.ensure_topics(topics)

    def subscribe(self, group: str, topics: Sequence[str], *, member: str) -> Subscription:
        return self.inner.subscribe(group, topics, member=member)

    async def end_offsets(self, topic: str) -> dict[int, int]:
        return await self.inner.end_offsets(topic)

    async def begin_offsets(self, topic: str) -> dict[int, int]:
        return await self.inner.begin_offsets(topic)

    async def offsets_at(self, topic: str, instant: datetime) -> dict[int, int]:
        return await self.inner.offsets_at(topic, instant)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        return await self.inner.committed(group, topic)

    async def close(self) -> None:
        """Whoever made the inner bus closes it."""


async def all_on_the_bus(bus: Bus, count: int | None = None) -> list[Delivery]:
    """What stands on the topic, in the order of each partition: exactly `count` records, if that is known."""
    end = sum((await bus.end_offsets(TOPIC)).values())
    seen: list[Delivery] = []
    async with asyncio.timeout(15), bus.subscribe("onlooker", [TOPIC], member="test") as subscription:
        while len(seen) < end:
            seen += await subscription.poll(records_max=1000, timeout_s=0.2)
    assert count in (None, len(seen))
    return seen


def delivery_of(event: Event, *, key: str = "", offset: int = 0, **headers: str) -> Delivery:
    """The event as it comes from the bus, with an id of its own; `headers` change or add to its own."""
    aggregate_id = key or getattr(event, "thing_id", "k")
    envelope = Envelope(
        id=new_id("evt"),
        type=event.TYPE,
        source=f"/perennial/{NAME}",
        tenant=event.tenant,
        aggregate_id=aggregate_id,
        aggregate_version=event.version,
        occurred_at=event.occurred_at,
        test_clock=event.test_clock,
        traceparent=None,
        data=event.model_dump_json().encode(),
    )
    return Delivery(
        topic=TOPIC,
        partition=0,
        offset=offset,
        key=envelope.key,
        headers={**envelope.headers(hop_traceparent=None), **headers},
        value=envelope.data,
    )

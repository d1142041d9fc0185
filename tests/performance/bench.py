"""What the measurements share: the one process under test, its PostgreSQL, and how runs are interleaved."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx

from libs.common.persistence.embedded import EmbeddedPostgres
from libs.common.persistence.session import asyncpg_dsn
from tests.performance.events import Stream, meter_body
from tests.performance.load import Load, Told, batch_load
from tests.performance.separate import Separate
from tests.support.fleet import fleet
from tests.support.one_process import OneProcess, one_process

WARM_UP_FROM_SCALE = 0.1  # what is smaller tries out the harness


@dataclass(slots=True)
class Bench:
    """`scale` shrinks everything, for trying the harness out. `folder` takes what processes say."""

    folder: Path
    runs: int = 5
    scale: float = 1.0
    say: Callable[[str], None] = print
    known: dict[str, float] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)
    _shared: Subject | None = None
    _separate: Separate | None = None
    _day: int = 0

    def sized(self, count: int, *, least: int = 1) -> int:
        return max(least, int(count * self.scale))

    def new_day(self) -> int:
        """A day that no stream has had."""
        self._day += 1
        return self._day

    @staticmethod
    def free_port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    @contextmanager
    def subject(self, name: str, *, port: int = 0, **environment: str) -> Iterator[Subject]:
        """A new process of our own, as `make run` starts it: fsync on, nothing set that is not the default."""
        log = self.folder / f"{name}.log"
        with one_process(log, port=port, PERENNIAL_DATABASE_FSYNC="true", **environment) as process:
            process.start()
            yield Subject(process)

    def shared(self) -> Subject:
        """The process that most measurements share; started when it is first asked for."""
        if self._shared is None:
            self._shared = self._stack.enter_context(self.subject("shared"))
        return self._shared

    def separate(self) -> Separate:
        """The separate processes, on Kafka, with usage through its topic; started when first asked for."""
        if self._separate is None:
            logs = self.folder / "separate"
            running = fleet(logs, fsync=True, PERENNIAL_USAGE_INGEST="kafka")
            self._separate = Separate(self._stack.enter_context(running))
        return self._separate

    def stop_shared(self) -> None:
        """What runs and is not measured would only cost."""
        self._stack.close()
        self._shared = self._separate = None

    async def interleaved(
        self,
        ours: Callable[[], Awaitable[float]],
        theirs: Callable[[], Awaitable[float]],
    ) -> list[tuple[float, float]]:
        """A, B, A, B: each pair within the same minute. The first of each is a warm-up and is not counted."""
        if self.scale >= WARM_UP_FROM_SCALE:
            await ours()
            await theirs()
        return [(await ours(), await theirs()) for _ in range(self.runs)]


@dataclass(slots=True)
class Subject:
    """The process under test, seen from outside."""

    process: OneProcess

    @property
    def port(self) -> int:
        return urlsplit(self.process.base_url).port or 80

    @property
    def postgres_data(self) -> Path:
        return (self.process.folder / "postgres" / "data").resolve()

    def sqlalchemy_dsn(self, database: str = "postgres") -> str:
        """A superuser's, on the PostgreSQL that the process runs on."""
        return EmbeddedPostgres(self.process.folder / "postgres").dsn(database)

    def dsn(self, database: str = "postgres") -> str:
        """The same for asyncpg."""
        return asyncpg_dsn(self.sqlalchemy_dsn(database))

    @asynccontextmanager
    async def admin(self, database: str = "postgres") -> AsyncIterator[asyncpg.Connection[Any]]:
        connection = await asyncpg.connect(self.dsn(database))
        try:
            yield connection
        finally:
            await connection.close()

    def client(self) -> httpx.AsyncClient:
        """The sandbox tenant's."""
        headers = {"authorization": f"Bearer {self.process.token}"}
        return httpx.AsyncClient(base_url=self.process.base_url, headers=headers, timeout=60, trust_env=False)

    async def define_meter(self, type: str) -> None:
        """A meter that sums the events of this type; harmless when it is there."""
        async with self.client() as client:
            answer = await client.post("/v1/meters", json=meter_body(type))
            assert answer.status_code in (201, 409), answer.text

    def load(self, make: Callable[[], list[bytes]], **options: Any) -> Load:
        return batch_load(self.port, self.process.token, make, **options)

    async def check_stored(self, stream: Stream, told: Told) -> None:
        """Every event was answered as stored, and each subject's usage is what its events add up to."""
        assert told.stored == stream.event_count, (told.stored, told.statuses)
        wanted: dict[str, Decimal] = {}
        for n in range(stream.event_count):
            wanted[stream.subject(n)] = wanted.get(stream.subject(n), Decimal(0)) + Decimal(stream.value(n))
        async with self.admin("perennial_metering") as admin:
            rows = await admin.fetch(
                "SELECT b.subject, sum(b.total) AS total FROM usage_bucket b JOIN meter m ON m.id = b.meter_id "
                "WHERE m.code = $1 AND b.bucket_start >= $2 AND b.bucket_start < $3 GROUP BY 1",
                stream.type,
                stream.starts_at,
                stream.ends_at,
            )
        assert {row["subject"]: row["total"] for row in rows} == wanted

    async def usage_of(self, client: httpx.AsyncClient, stream: Stream, subject: str) -> int:
        """How many events of one subject the usage answer counts."""
        answer = await client.get(
            "/v1/usage",
            params={
                "meter": stream.type,
                "subject": subject,
                "from": stream.starts_at.isoformat(),
                "to": stream.ends_at.isoformat(),
            },
        )
        assert answer.status_code == 200, answer.text
        return sum(row["event_count"] for row in answer.json()["data"])


async def create_database(subject: Subject, name: str) -> None:
    """An empty one, beside those of the services."""
    async with subject.admin() as admin:
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.execute(f"CREATE DATABASE {name}")

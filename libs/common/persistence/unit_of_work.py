"""One transaction: one tenant at a time, several in turn; what it changed is written in bulk and then committed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

import asyncpg
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.access.tenancy import APP, FINDER
from libs.common.clock import TestClock
from libs.common.errors import Conflict, ServiceError
from libs.common.messaging.outbox import Outbox
from libs.common.persistence.base import bulk_insert
from libs.common.persistence.direct import DirectTransactions
from libs.common.persistence.known_clocks import KnownClocks
from libs.common.persistence.machinery import Machinery
from libs.common.persistence.session import Database, enter
from libs.common.telemetry import current_trace_id


class AlreadyExists(Conflict):
    """A unique constraint says that this is there already."""

    code = "already_exists"
    title = "It already exists"


ConstraintErrors = Mapping[str, Callable[[], ServiceError]]


class Flushable(Protocol):
    """A repository: it writes what was saved, and forgets what it loaded when the tenant changes."""

    async def flush(self) -> None: ...

    def reset(self) -> None: ...


class Changes:
    """Who made which change, append-only, in the transaction that made it."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def append(self, action: str, aggregate_id: str, version: int, *, actor: str, tenant: str) -> None:
        self.rows.append(
            {
                "tenant": tenant,
                "actor": actor,
                "action": action,
                "aggregate_id": aggregate_id,
                "aggregate_version": version,
                "trace_id": current_trace_id(),
            }
        )


class UnitOfWork:
    """Base of each service's unit of work. A subclass adds its repositories in `__init__` and `register`s them.

    Repositories flush in the order in which they were registered, then the change log, then the outbox.
    """

    constraint_errors: ClassVar[ConstraintErrors] = {}

    def __init__(self, connection: AsyncConnection, machinery: Machinery) -> None:
        self.connection = connection
        self.machinery = machinery
        self.tenant = ""
        self.actor = ""
        self.outbox = Outbox(machinery.outbox)
        self.clocks = KnownClocks(connection, machinery.known_clock)
        self._changes = Changes()
        self._repositories: list[Flushable] = []

    def register(self, *repositories: Flushable) -> None:
        self._repositories.extend(repositories)

    def record(self, action: str, aggregate_id: str, version: int = 1) -> None:
        """Note that the actor did `action` (`subscription.renewed`) to an aggregate."""
        self._changes.append(action, aggregate_id, version, actor=self.actor, tenant=self.tenant)

    async def become(self, tenant: str, actor: str) -> None:
        """Write what is pending for the last tenant, then work for `tenant`. Call it in tenant order."""
        await self.flush()
        await enter(self.connection, APP, tenant)
        for repository in self._repositories:
            repository.reset()
        self.clocks.reset()
        self.tenant, self.actor = tenant, actor

    async def become_finder(self) -> None:
        """See and lock due rows of all tenants, until `become` is called."""
        await self.flush()
        await enter(self.connection, FINDER)
        self.tenant = ""

    async def test_clock(self, clock_id: str | None) -> TestClock | None:
        """The clock as this service last heard of it."""
        return await self.clocks.find(clock_id) if clock_id else None

    async def flush(self) -> None:
        """Write everything that was saved or appended. Raises: Conflict where a constraint forbids it."""
        try:
            for repository in self._repositories:
                await repository.flush()
            rows, self._changes.rows = self._changes.rows, []
            await bulk_insert(self.connection, self.machinery.change_log, rows)
            await self.outbox.flush(self.connection)
        except (asyncpg.IntegrityConstraintViolationError, IntegrityError) as error:
            translated = self._translated(error)
            if translated is error:
                raise  # an error that is its own cause would be followed for ever
            raise translated from error

    def _translated(self, error: Exception) -> Exception:
        cause = getattr(getattr(error, "orig", None), "__cause__", None) or error
        name = getattr(cause, "constraint_name", None) or ""
        if name in self.constraint_errors:
            return self.constraint_errors[name]()
        if isinstance(cause, asyncpg.UniqueViolationError):
            return AlreadyExists("something with the same key exists already", constraint=name)
        return error


U = TypeVar("U", bound=UnitOfWork)


class UnitsOfWork(Generic[U]):
    """Opens units of work of one service on one database."""

    def __init__(self, database: Database, make: Callable[[AsyncConnection], U]) -> None:
        self.database = database
        self._make = make

    @asynccontextmanager
    async def open(self, tenant: str, actor: str, *, snapshot: bool = False) -> AsyncIterator[U]:
        """A unit of work for one tenant. Commits on leaving, unless an error leaves first.

        In a `snapshot` all that is read is as it was when the first statement began, whatever others commit meanwhile.
        """
        async with self._begin(snapshot=snapshot) as uow:
            await uow.become(tenant, actor)
            yield uow

    @asynccontextmanager
    async def open_for_many(self) -> AsyncIterator[U]:
        """A unit of work that has no tenant yet: the consumer and the schedulers set one after another."""
        async with self._begin(snapshot=False) as uow:
            yield uow

    @asynccontextmanager
    async def _begin(self, *, snapshot: bool) -> AsyncIterator[U]:
        async with self.database.engine.connect() as connection:
            if snapshot:
                await connection.execution_options(isolation_level="REPEATABLE READ")
            async with connection.begin():
                uow = self._make(connection)
                yield uow
                await uow.flush()

    @asynccontextmanager
    async def open_directly(self, transactions: DirectTransactions) -> AsyncIterator[U]:
        """As `open_for_many`, for work of which every statement speaks to the driver."""
        async with transactions.begin() as connection:
            uow = self._make(cast(AsyncConnection, connection))
            yield uow
            await uow.flush()

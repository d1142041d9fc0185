"""An audit of one service: its database looked at once more, by a login that reads all and writes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.persistence.session import Database

PROBLEMS_SHOWN_MAX = 20
PROBLEM_LENGTH_MAX = 300
OUTBOX_STALE_S = 60
STATEMENT_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class AuditCheck:
    """One thing that must hold. `problems` are the first of `problem_count`, found among `checked_count`."""

    name: str
    ok: bool
    checked_count: int
    problems: tuple[str, ...] = ()
    problem_count: int = 0


@dataclass(frozen=True, slots=True)
class AuditReport:
    """All that was checked in one service, and counts that an audit of several compares."""

    service: str
    checks: tuple[AuditCheck, ...]
    facts: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


Progress = Callable[[str, int, int | None], None]

_watcher: ContextVar[Progress | None] = ContextVar("audit_watcher", default=None)


@contextmanager
def watched_by(watcher: Progress) -> Iterator[None]:
    """Tell `watcher` what an audit looks at: the name of the check, how far it is, and of how many if that is known."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def tell_progress(name: str, done: int = 0, of: int | None = None) -> None:
    watcher = _watcher.get()
    if watcher is not None:
        watcher(name, done, of)


# What two services compare is too long to be sent whole: it is cut by the hash of its subject.
BUCKETS = 256
LISTED_AT_ONCE = 5_000

_BUCKET = "get_byte(decode(md5(subject), 'hex'), 0)"
_DIGEST = "sum(('x' || substr(md5(told), 1, 16))::bit(64)::bigint::numeric)"


async def digests_of(connection: AsyncConnection, things: str) -> dict[str, Any]:
    """`things` gives rows of (subject, told); each bucket of them as [bucket, count, digest], whatever their order.

    The digest is the sum of the hashes: equal things in two databases have equal digests.
    """
    found = await connection.execute(
        text(
            f"SELECT {_BUCKET} AS bucket, count(*) AS counted, {_DIGEST}::text AS digest "
            f"FROM ({things}) AS things GROUP BY 1 ORDER BY 1"
        )
    )
    buckets = [[row.bucket, row.counted, row.digest] for row in found]
    return {"count": sum(bucket[1] for bucket in buckets), "buckets": buckets}


async def things_in(connection: AsyncConnection, things: str, bucket: int, after: str) -> list[str]:
    """What is told in one bucket, in its order, from after `after`; a page of it."""
    found = await connection.execute(
        text(
            f"SELECT told FROM ({things}) AS things WHERE {_BUCKET} = :bucket "
            f'AND told COLLATE "C" > :after ORDER BY told COLLATE "C" LIMIT {LISTED_AT_ONCE}'
        ),
        {"bucket": bucket, "after": after},
    )
    return list(found.scalars())


@asynccontextmanager
async def open_audit(database: Database) -> AsyncIterator[AsyncConnection]:
    """One snapshot of the whole database, so that all checks see the same moment.

    `database` logs in as the audit role.
    """
    async with database.engine.connect() as connection, connection.begin():
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        await connection.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_S}s'"))
        yield connection


async def run_check(connection: AsyncConnection, name: str, problems_sql: str, count_sql: str) -> AuditCheck:
    """`problems_sql` returns one row for each problem, `count_sql` how many things were looked at.

    A problem is told as its columns with their names.
    """
    tell_progress(name)
    sample = text(
        f"SELECT found.*, count(*) OVER () AS audit_problem_count FROM ({problems_sql}) AS found "
        f"LIMIT {PROBLEMS_SHOWN_MAX}"
    )
    rows = (await connection.execute(sample)).mappings().all()
    checked_count = (await connection.execute(text(count_sql))).scalar_one()
    return AuditCheck(
        name=name,
        ok=not rows,
        checked_count=checked_count,
        problems=tuple(_told(row) for row in rows),
        problem_count=rows[0]["audit_problem_count"] if rows else 0,
    )


def check_of(name: str, *, checked_count: int, problems: Iterable[str]) -> AuditCheck:
    """A check that was made outside of the database."""
    found = [problem[:PROBLEM_LENGTH_MAX] for problem in problems]
    return AuditCheck(
        name=name,
        ok=not found,
        checked_count=checked_count,
        problems=tuple(found[:PROBLEMS_SHOWN_MAX]),
        problem_count=len(found),
    )


async def common_checks(connection: AsyncConnection) -> tuple[AuditCheck, ...]:
    """What must hold in every service: events go out in time, and none waits for a person, going out or coming in.

    That no message is handled twice needs no look: the inbox's key sees to it.
    """
    stale = await run_check(
        connection,
        "outbox_stale",
        f"""SELECT id, type, recorded_at FROM outbox WHERE published_at IS NULL AND refused_at IS NULL
            AND recorded_at < clock_timestamp() - interval '{OUTBOX_STALE_S} s' ORDER BY position""",
        "SELECT count(*) FROM outbox WHERE published_at IS NULL AND refused_at IS NULL",
    )
    refused = await run_check(
        connection,
        "outbox_refused",
        """SELECT id, type, aggregate_id, octet_length(data) AS bytes, refusal FROM outbox
           WHERE published_at IS NULL AND refused_at IS NOT NULL ORDER BY position""",
        "SELECT count(*) FROM outbox WHERE published_at IS NULL",
    )
    dead = await run_check(
        connection,
        "dead_letters",
        "SELECT message_id, type, error FROM message_failure WHERE dead ORDER BY first_failed_at",
        "SELECT count(*) FROM message_failure",
    )
    return stale, refused, dead


async def count_facts(connection: AsyncConnection, queries: Mapping[str, str]) -> dict[str, int | str]:
    """Each query's single value, under its name."""
    return {name: (await connection.execute(text(sql))).scalar_one() for name, sql in queries.items()}


def _told(row: RowMapping) -> str:
    told = ", ".join(f"{name}={value}" for name, value in row.items() if name != "audit_problem_count")
    return told[:PROBLEM_LENGTH_MAX]

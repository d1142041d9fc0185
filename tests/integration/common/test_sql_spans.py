"""A statement is a span, made where asyncpg sends it: under SQLAlchemy, and without."""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from libs.common.persistence.session import asyncpg_dsn
from libs.common.telemetry import TraceRing, service_scope, setup_tracing, span
from libs.common.telemetry.ring import SpanView


@pytest.fixture
def ring() -> Iterator[TraceRing]:
    tracing = setup_tracing()
    yield tracing.ring
    tracing.shutdown()


def spans_of(ring: TraceRing, name: str) -> list[SpanView]:
    (summary,) = ring.list_traces(name=name)
    view = ring.find_trace(summary.trace_id)
    assert view is not None
    return [s for s in view.spans if s.name != name]


async def test_statements_of_sqlalchemy_are_spans_without_values(database: str, ring: TraceRing) -> None:
    engine = create_async_engine(database)
    try:
        with service_scope("billing"), span("work"):
            async with engine.begin() as connection:
                await connection.execute(text("CREATE TABLE thing (id text, n int)"))
                rows = [{"id": f"secret-{n}", "n": n} for n in range(3)]
                await connection.execute(text("INSERT INTO thing VALUES (:id, :n)"), rows)
                found = await connection.execute(
                    text("WITH t AS (SELECT 1) SELECT n FROM thing WHERE id = :id"), {"id": "secret-1"}
                )
                assert found.scalar_one() == 1
    finally:
        await engine.dispose()

    spans = spans_of(ring, "work")
    names = [s.name for s in spans]
    for expected in ("CREATE thing", "INSERT thing", "COMMIT"):
        assert expected in names
    assert not any(name.startswith("BEGIN") for name in names)
    select = spans[
        [s.attributes["db.operation.name"] for s in spans].index("SELECT", names.index("INSERT thing"))
    ]
    assert select.kind == "client"
    assert select.service == "billing"
    assert select.attributes["db.system.name"] == "postgresql"
    assert select.attributes["db.namespace"] == make_url(database).database
    assert "thing WHERE id = $1" in select.attributes["db.query.text"]
    assert "secret" not in str(spans)


async def test_statements_of_asyncpg_are_spans_and_copy_is_one(database: str, ring: TraceRing) -> None:
    connection = await asyncpg.connect(asyncpg_dsn(database))
    try:
        with span("work"):
            await connection.execute("CREATE TEMPORARY TABLE staged (id text)")
            await connection.copy_records_to_table("staged", records=[("secret",)])
            await connection.executemany("INSERT INTO staged VALUES ($1)", [("secret",)])
            assert await connection.fetchval("SELECT count(*) FROM staged") == 2
            async with connection.transaction():
                async for _ in connection.cursor("SELECT id FROM staged"):
                    pass
    finally:
        await connection.close()

    names = [s.name for s in spans_of(ring, "work")]
    assert names[:4] == ["CREATE staged", "COPY staged", "INSERT staged", "SELECT staged"]


async def test_a_statement_outside_of_any_span_begins_no_trace(database: str, ring: TraceRing) -> None:
    connection = await asyncpg.connect(asyncpg_dsn(database))
    try:
        await connection.fetchval("SELECT 1")
    finally:
        await connection.close()

    assert ring.list_traces() == []


async def test_a_failed_statement_tells_its_state_and_not_its_values(database: str, ring: TraceRing) -> None:
    connection = await asyncpg.connect(asyncpg_dsn(database))
    try:
        await connection.execute("CREATE TEMPORARY TABLE once (id text PRIMARY KEY)")
        with span("work"):
            await connection.execute("INSERT INTO once VALUES ($1)", "secret")
            with pytest.raises(asyncpg.UniqueViolationError):
                await connection.execute("INSERT INTO once VALUES ($1)", "secret")
    finally:
        await connection.close()

    spans = spans_of(ring, "work")
    assert [s.failed for s in spans] == [False, True]
    assert spans[1].attributes["error.type"] == "23505"
    assert "secret" not in str(spans)


async def test_after_shutdown_asyncpg_is_as_it_was(database: str) -> None:
    before = asyncpg.Connection.execute
    tracing = setup_tracing()
    assert asyncpg.Connection.execute is not before
    tracing.shutdown()

    assert asyncpg.Connection.execute is before

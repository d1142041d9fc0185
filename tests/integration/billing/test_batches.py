"""Many at once: a batch takes a few statements, whatever its length."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event as sqlalchemy_event

from libs.common.contracts.envelope import Event
from libs.common.persistence.session import Database
from tests.integration.billing.workbench import Workbench, after
from tests.support.billing import Story
from tests.support.service_under_test import new_tenant

STATEMENTS_MAX = 40  # one for each kind of thing that is read or written
BATCH = 150


@contextmanager
def statements_of(database: Database) -> Iterator[list[str]]:
    """Every statement that is sent, through SQLAlchemy or by asyncpg itself; BEGIN and COMMIT apart."""
    sent: list[str] = []
    engine = database.engine.sync_engine

    def note(query: str) -> None:
        if not query.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            sent.append(" ".join(query.split())[:120])

    def before_execute(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        note(statement)

    def asyncpg_sent(told: Any) -> None:
        note(told.query)

    def checked_out(connection: Any, *_: Any) -> None:
        connection.driver_connection.add_query_logger(asyncpg_sent)

    def checked_in(connection: Any, *_: Any) -> None:
        if connection is not None:
            connection.driver_connection.remove_query_logger(asyncpg_sent)

    hooks = [
        (engine, "before_cursor_execute", before_execute),
        (engine, "checkout", checked_out),
        (engine, "checkin", checked_in),
    ]
    for hook in hooks:
        sqlalchemy_event.listen(*hook)
    try:
        yield sent
    finally:
        for hook in hooks:
            sqlalchemy_event.remove(*hook)


async def statements_to_hear(bench: Workbench, *events: Event) -> list[str]:
    """What is sent to handle one batch of these events."""
    with statements_of(bench.units.database) as sent:
        await bench.hear(*events)
    return sent


async def statements_of_a_life(bench: Workbench, tenant: str, count: int) -> dict[str, int]:
    """How many statements each batch takes in the lives of so many subscriptions of a new tenant."""
    await bench.add_seller(tenant)
    stories = [Story(tenant) for _ in range(count)]
    half = stories[: count // 2]
    mixed = [told for story in half for told in (story.window_closed(1, "10"), story.renewed(2))]
    batches: dict[str, list[Event]] = {
        "start": [story.started() for story in stories],
        "change": [story.changed(1) for story in stories],
        "renew": [story.renewed(1) for story in stories],
        "close": [story.window_closed(0, "10") for story in stories],
        "correct": [story.usage_corrected(0, "10", "12") for story in stories],
        "mixed": mixed,
        "end": [story.ended(2) for story in half],
    }
    taken = {name: len(await statements_to_hear(bench, *batch)) for name, batch in batches.items()}
    invoices = await bench.invoices(tenant)
    finalized = [row for row in invoices if row["status"] == "finalized"]
    assert (len(invoices), len(finalized)) == (3 * count, 2 * count + len(half))
    return taken


async def test_a_batch_of_many_takes_as_many_statements_as_one_of_few(bench: Workbench, tenant: str) -> None:
    await statements_of_a_life(bench, new_tenant(), 2)  # connections learn what types there are
    few = await statements_of_a_life(bench, new_tenant(), 4)
    many = await statements_of_a_life(bench, tenant, BATCH)
    assert many == few
    assert max(many.values()) <= STATEMENTS_MAX, many


async def test_drafts_and_payments_of_a_batch_take_a_few_statements(
    own_bench: Workbench, tenant: str
) -> None:
    """While there is no seller, when there is one at last, and when the money is asked for."""
    stories = [Story(tenant, metered=False) for _ in range(100)]
    waiting = await statements_to_hear(own_bench, *[story.started() for story in stories])
    await own_bench.add_seller(tenant)
    finalize, collect = own_bench.jobs(clock=after(stories[0].boundary(1), days=1))
    with statements_of(own_bench.units.database) as finalizing:
        assert await finalize.run_once() == 100
    with statements_of(own_bench.units.database) as collecting:
        assert await collect.run_once() == 100
    counts = [len(statements) for statements in (waiting, finalizing, collecting)]
    assert max(counts) <= STATEMENTS_MAX, counts
    assert {row["status"] for row in await own_bench.invoices(tenant)} == {"finalized"}
    states = [row["state"] for row in await own_bench.attempts(tenant)]
    assert (states.count("failed"), states.count("pending")) == (100, 100)

"""Cursor pages on a real database: they tile, also among equal instants, and the index finds them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest_asyncio
from sqlalchemy import Index, MetaData, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.paging import PageRequest, Position
from libs.common.persistence.base import id_column, instant
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.session import Database

START = datetime(2025, 1, 1, tzinfo=UTC)
THING = Table("thing", MetaData(), id_column(), instant("created_at"), Index("ix_thing", "created_at", "id"))


@pytest_asyncio.fixture
async def connection(database: str) -> AsyncIterator[AsyncConnection]:
    opened = Database(database)
    async with opened.engine.begin() as connection:
        await connection.run_sync(THING.metadata.create_all)
        rows = [
            {"id": f"thing_{n:02}", "created_at": START + timedelta(microseconds=n // 4)} for n in range(20)
        ]
        await connection.execute(insert(THING), rows)
        yield connection
    await opened.close()


async def page_of(connection: AsyncConnection, page: PageRequest) -> tuple[list[str], Position | None]:
    found = await fetch_page(
        connection,
        select(THING.c.id),
        created_at=THING.c.created_at,
        id=THING.c.id,
        page=page,
        to_view=lambda row: str(row["id"]),
    )
    return list(found.items), found.next


async def test_pages_tile_the_list(connection: AsyncConnection) -> None:
    for limit in (1, 3, 7, 19, 20, 21):
        seen: list[str] = []
        after: Position | None = None
        while True:
            items, after = await page_of(connection, PageRequest(limit=limit, after=after))
            seen += items
            assert len(items) <= limit
            if after is None:
                break
        assert seen == [f"thing_{n:02}" for n in range(20)]


async def test_bounds_are_half_open(connection: AsyncConnection) -> None:
    bounds = PageRequest(
        limit=200,
        created_from=START + timedelta(microseconds=1),
        created_to=START + timedelta(microseconds=2),
    )
    items, after = await page_of(connection, bounds)
    assert items == ["thing_04", "thing_05", "thing_06", "thing_07"]
    assert after is None

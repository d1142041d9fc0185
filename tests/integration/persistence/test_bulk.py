"""Many rows in one statement: every type of column comes back as it went in, and absence stays absence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import Boolean, Column, Date, Integer, LargeBinary, SmallInteger, Table, Text, select, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from libs.common.persistence.base import (
    bulk_insert,
    bulk_update,
    currency_column,
    decimal_column,
    id_column,
    instant,
    json_column,
    minor,
    new_metadata,
)

metadata = new_metadata()
wide = Table(
    "wide",
    metadata,
    id_column(),
    Column("words", Text),
    Column("owner", UUID(as_uuid=False)),
    Column("few", SmallInteger),
    Column("number", Integer),
    minor("amount_minor", nullable=True),
    decimal_column("quantity", nullable=True),
    Column("yes", Boolean),
    Column("day", Date),
    instant("at", nullable=True),
    json_column("told", nullable=True),
    Column("content", LargeBinary),
    Column("names", ARRAY(Text)),
    Column("numbers", ARRAY(Integer)),
    Column("grid", ARRAY(Integer, dimensions=2)),
    Column("offset", Integer),  # a reserved word
)
money = Table("money", metadata, id_column(), currency_column())

FULL: dict[str, Any] = {
    "words": 'naïve ‘quotes’ " \\ , {} \n NULL',
    "owner": "0190f0a0-0000-7000-8000-00000000000a",
    "few": -32768,
    "number": 2**31 - 1,
    "amount_minor": -(2**63),
    "quantity": Decimal("123456789012345678901234567890.000000000012300"),
    "yes": False,
    "day": date(2024, 2, 29),
    "at": datetime(2025, 6, 1, 12, 0, 0, 1, tzinfo=UTC),
    "told": {"a": [1, 2.5, None, "ü\\\"'"], "b": {"c": True}},
    "content": b"\x00\xff'\\",
    "names": ["a", "", 'with "quotes"', "back\\slash", "comma, {brace}", None, "NULL", " edge "],
    "numbers": [1, None, -3],
    "grid": [[1, 2], [3, 4]],
    "offset": 0,
}
EMPTY: dict[str, Any] = dict.fromkeys(FULL)


@pytest_asyncio.fixture(scope="module")
async def database_of_wide(postgres: Any) -> AsyncIterator[str]:
    async with postgres.fresh_database() as dsn:
        engine = create_async_engine(dsn)
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await engine.dispose()
        yield dsn


@pytest_asyncio.fixture
async def connection(database_of_wide: str) -> AsyncIterator[AsyncConnection]:
    """In a transaction that is rolled back."""
    engine = create_async_engine(database_of_wide)
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(text("SELECT 1"))
        yield connection
        await transaction.rollback()
    await engine.dispose()


async def stored(connection: AsyncConnection) -> dict[str, dict[str, Any]]:
    found = (await connection.execute(select(wide))).mappings()
    return {row["id"]: {name: row[name] for name in FULL} for row in found}


async def test_every_type_comes_back_as_it_went_in(connection: AsyncConnection) -> None:
    await bulk_insert(connection, wide, [{"id": "full", **FULL}, {"id": "empty", **EMPTY}])
    assert await stored(connection) == {"full": FULL, "empty": EMPTY}
    (digits,) = (await connection.execute(text("SELECT quantity::text FROM wide WHERE id = 'full'"))).one()
    assert digits == "123456789012345678901234567890.000000000012300"


@pytest.mark.parametrize("name", FULL)
async def test_a_column_in_which_all_are_absent(connection: AsyncConnection, name: str) -> None:
    await bulk_insert(connection, wide, [{"id": id, **FULL, name: None} for id in ("a", "b")])
    found = await stored(connection)
    assert found["a"] == found["b"] == {**FULL, name: None}


async def test_absent_json_is_null_and_not_the_word_null(connection: AsyncConnection) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "none", "told": None},
        {"id": "empty", "told": {}},
        {"id": "list", "told": [None]},
    ]
    await bulk_insert(connection, wide, rows)
    asked = text("SELECT id FROM wide WHERE told IS NULL")
    assert (await connection.execute(asked)).scalars().all() == ["none"]


async def test_empty_arrays_are_not_absent_ones(connection: AsyncConnection) -> None:
    await bulk_insert(connection, wide, [{"id": "a", "names": []}, {"id": "b", "names": None}])
    found = await stored(connection)
    assert (found["a"]["names"], found["b"]["names"]) == ([], None)


async def test_updates_reach_their_own_rows_only(connection: AsyncConnection) -> None:
    ids = [f"r{number:03}" for number in range(200)]
    await bulk_insert(connection, wide, [{"id": id, **EMPTY} for id in ids])
    changed = [{"id": id, **FULL, "number": number} for number, id in enumerate(ids) if number % 2]
    await bulk_update(connection, wide, list(reversed(changed)))
    found = await stored(connection)
    for number, id in enumerate(ids):
        assert found[id] == ({**FULL, "number": number} if number % 2 else EMPTY)


async def test_an_update_may_take_values_away(connection: AsyncConnection) -> None:
    await bulk_insert(connection, wide, [{"id": "a", **FULL}, {"id": "b", **FULL}])
    await bulk_update(connection, wide, [{"id": "a", **EMPTY}])
    assert await stored(connection) == {"a": EMPTY, "b": FULL}


async def test_only_the_named_columns_change(connection: AsyncConnection) -> None:
    await bulk_insert(connection, wide, [{"id": "a", **FULL}])
    await bulk_update(connection, wide, [{"id": "a", "words": "new", "told": [1]}])
    assert await stored(connection) == {"a": {**FULL, "words": "new", "told": [1]}}


async def test_rows_may_be_found_by_another_key(connection: AsyncConnection) -> None:
    await bulk_insert(connection, wide, [{"id": id, "words": f"word {id}", "number": 1} for id in ("a", "b")])
    await bulk_update(connection, wide, [{"words": "word b", "number": 2}], key="words")
    found = await stored(connection)
    assert (found["a"]["number"], found["b"]["number"]) == (1, 2)


async def test_nothing_to_write_is_no_statement(connection: AsyncConnection) -> None:
    assert await bulk_insert(connection, wide, []) == []
    await bulk_update(connection, wide, [])


async def test_many_rows_are_one_statement(connection: AsyncConnection) -> None:
    rows = [{"id": str(uuid4()), "number": number, "told": {"n": number}} for number in range(20_000)]
    returned = await bulk_insert(connection, wide, rows, tail="RETURNING number")
    assert [row["number"] for row in returned] == list(range(20_000))  # in the order in which they were given


async def test_conflicts_are_left_out_or_overwritten_as_the_tail_says(connection: AsyncConnection) -> None:
    await bulk_insert(connection, wide, [{"id": "a", "number": 1}])
    new = await bulk_insert(
        connection,
        wide,
        [{"id": "a", "number": 2}, {"id": "b", "number": 2}],
        tail="ON CONFLICT DO NOTHING RETURNING id",
    )
    assert [row["id"] for row in new] == ["b"]
    await bulk_insert(
        connection,
        wide,
        [{"id": "a", "number": 3}],
        tail="ON CONFLICT (id) DO UPDATE SET number = excluded.number",
    )
    assert (await stored(connection))["a"]["number"] == 3


async def test_the_tail_may_say_which_of_the_given_rows_to_insert(connection: AsyncConnection) -> None:
    rows = [{"id": str(number), "number": number} for number in range(4)]
    await bulk_insert(connection, wide, rows, tail="WHERE given.number % 2 = 0")
    assert sorted(await stored(connection)) == ["0", "2"]


async def test_currencies_keep_their_three_letters(connection: AsyncConnection) -> None:
    await bulk_insert(connection, money, [{"id": "a", "currency": "EUR"}, {"id": "b", "currency": "JPY"}])
    await bulk_update(connection, money, [{"id": "a", "currency": "USD"}])
    found = (await connection.execute(select(money).order_by(money.c.id))).all()
    assert [tuple(row) for row in found] == [("a", "USD"), ("b", "JPY")]


async def test_instants_keep_their_microseconds_and_become_utc(connection: AsyncConnection) -> None:
    from zoneinfo import ZoneInfo

    at = datetime(2025, 3, 30, 3, 0, 0, 999999, tzinfo=ZoneInfo("Europe/Rome"))
    await bulk_insert(connection, wide, [{"id": "a", "at": at}])
    found = (await stored(connection))["a"]["at"]
    assert found == at
    assert found.utcoffset() == timedelta(0)

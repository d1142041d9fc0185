"""Tables as SQLAlchemy Core objects, named alike everywhere, and the bulk statements that write them."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg
import msgspec
from sqlalchemy import (
    ARRAY,
    CHAR,
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    any_,
    cast,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.type_api import TypeEngine

from libs.common.persistence.direct import DirectConnection

CONSTRAINT_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
_Key = TypeVar("_Key", bound=Hashable)
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def new_metadata() -> MetaData:
    """One per service, since each has a database of its own."""
    return MetaData(naming_convention=CONSTRAINT_NAMES)


def tenant_column() -> Column[Any]:
    """On every business row; compared by the row policy."""
    return Column("tenant", UUID(as_uuid=False), nullable=False)


def id_column() -> Column[Any]:
    return Column("id", Text, primary_key=True)


def instant(name: str, *, nullable: bool = False, **options: Any) -> Column[Any]:
    """A UTC instant."""
    return Column(name, DateTime(timezone=True), nullable=nullable, **options)


def minor(name: str, *, nullable: bool = False, **options: Any) -> Column[Any]:
    """An amount in minor units of the row's currency."""
    return Column(name, BigInteger, nullable=nullable, **options)


def decimal_column(name: str, *, nullable: bool = False, **options: Any) -> Column[Any]:
    """An exact decimal: a quantity or a unit price."""
    return Column(name, Numeric, nullable=nullable, **options)


def currency_column() -> Column[Any]:
    return Column("currency", CHAR(3), nullable=False)


def json_column(name: str, *, nullable: bool = False, **options: Any) -> Column[Any]:
    return Column(name, JSONB, nullable=nullable, **options)


def version_column() -> Column[Any]:
    return Column("version", Integer, nullable=False, server_default=text("1"))


def due_columns() -> tuple[Column[Any], ...]:
    """What a scheduler needs to find a row, and to leave it alone for a while after it failed.

    `due_at` is business time, by the clock of `clock_id` or the wall; `retry_at` is always the wall's.
    `traceparent` is the trace that the work belongs to.
    """
    return (
        instant("due_at", nullable=True),
        Column("clock_id", Text, nullable=True),
        Column("attempts", Integer, nullable=False, server_default=text("0")),
        instant("retry_at", nullable=True),
        Column("last_error", Text, nullable=True),
        Column("traceparent", Text, nullable=True),
    )


async def raw(connection: AsyncConnection) -> asyncpg.Connection[Any]:
    """The asyncpg connection under a SQLAlchemy one, inside the same transaction."""
    if isinstance(connection, DirectConnection):
        return await connection.ready()
    proxied = await connection.get_raw_connection()
    driver: asyncpg.Connection[Any] = proxied.driver_connection  # type: ignore[assignment]
    return driver


async def run(connection: AsyncConnection, statement: str) -> None:
    """One that has neither parameters nor an answer; on a direct connection it travels with what waits there."""
    if isinstance(connection, DirectConnection):
        await connection.run(statement)
    else:
        await (await raw(connection)).execute(statement)


def is_among(column: ColumnElement[Any], values: Iterable[str]) -> ColumnElement[bool]:
    """One array however many values: a statement has room for 32,767 parameters, and is spelled once."""
    return column == any_(cast(sorted(values), ARRAY(column.type)))


def missing_from(wanted: Iterable[_Key], known: Container[_Key]) -> set[_Key]:
    """What is wanted and not known: `set - dict.keys()` would go through all that is known, each time."""
    return {key for key in wanted if key not in known}


def _carrier(column_type: TypeEngine[Any]) -> tuple[str, str]:
    """`(type, cast)`: an array of what carries the column's values, and how each is turned into its own type.

    JSON travels as text. So do arrays, since unnest() would take an array of arrays apart to the last element.
    """
    # How values are sorted is the column's affair, and not the array's.
    own = column_type.compile(dialect=_DIALECT).partition(" COLLATE ")[0]
    return ("text", f"::{own}") if isinstance(column_type, JSON | ARRAY) else (own, "")


def _array_literal(values: Iterable[Any]) -> str:
    def written(value: Any) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, list | tuple):
            return _array_literal(value)
        escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'

    return "{" + ",".join(map(written, values)) + "}"


def _encoded(column_type: TypeEngine[Any], values: Iterable[Any]) -> list[Any]:
    if isinstance(column_type, JSON):
        return [None if v is None else msgspec.json.encode(v).decode() for v in values]
    if isinstance(column_type, ARRAY):
        return [None if v is None else _array_literal(v) for v in values]
    return list(values)


def _unnest(table: Table, names: Sequence[str]) -> tuple[dict[str, str], str]:
    """`(name → expression, FROM clause)`, reading one row per array element."""
    carriers = [_carrier(table.columns[name].type) for name in names]
    arrays = ", ".join(f"${i}::{carrier}[]" for i, (carrier, _) in enumerate(carriers, 1))
    values = {name: f'given."{name}"{cast}' for name, (_, cast) in zip(names, carriers, strict=True)}
    aliases = ", ".join(f'"{n}"' for n in names)
    return values, f"FROM unnest({arrays}) AS given({aliases})"


def _arrays(table: Table, names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    return [_encoded(table.columns[n].type, (row[n] for row in rows)) for n in names]


async def bulk_insert(
    connection: AsyncConnection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    tail: str = "",
) -> list[asyncpg.Record]:
    """Insert all `rows` in one statement, however many. All rows have the keys of the first.

    `tail` is what follows: `WHERE …` over `given`, the rows to insert, `ON CONFLICT … DO …`, `RETURNING …`.
    """
    if not rows:
        return []
    names = list(rows[0])
    values, source = _unnest(table, names)
    columns = ", ".join(f'"{n}"' for n in names)
    statement = f"INSERT INTO {table.name} ({columns}) SELECT {', '.join(values.values())} {source} {tail}"
    driver = await raw(connection)
    return list(await driver.fetch(statement, *_arrays(table, names, rows)))


async def bulk_update(
    connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]], *, key: str = "id"
) -> None:
    """Update many rows, found by `key`, in one statement. All rows have the keys of the first."""
    if not rows:
        return
    names = list(rows[0])
    values, source = _unnest(table, names)
    changes = ", ".join(f'"{name}" = {value}' for name, value in values.items() if name != key)
    statement = f'UPDATE {table.name} SET {changes} {source} WHERE {table.name}."{key}" = given."{key}"'
    driver = await raw(connection)
    await driver.execute(statement, *_arrays(table, names, rows))

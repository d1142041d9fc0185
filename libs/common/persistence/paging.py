"""Cursor pages over any select: bounded, ordered by (created_at, id), found by an index and not by OFFSET."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, RowMapping, Select, literal, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.paging import PageRequest, Position, Slice

V = TypeVar("V")

_AT, _ID = "page_created_at", "page_id"


def paged(
    statement: Select[Any],
    *,
    created_at: ColumnElement[datetime],
    id: ColumnElement[str],
    page: PageRequest,
) -> Select[Any]:
    """`statement` with the page's bounds and order, and one row more than asked for: it tells of a next page.

    An index on (tenant, created_at, id) serves it; the row comparison is what makes PostgreSQL use it whole.
    """
    if page.after is not None:
        place = tuple_(literal(page.after.created_at), literal(page.after.id))
        statement = statement.where(tuple_(created_at, id) > place)
    if page.created_from is not None:
        statement = statement.where(created_at >= page.created_from)
    if page.created_to is not None:
        statement = statement.where(created_at < page.created_to)
    return (
        statement.add_columns(created_at.label(_AT), id.label(_ID))
        .order_by(created_at, id)
        .limit(page.limit + 1)
    )


async def fetch_page(
    connection: AsyncConnection,
    statement: Select[Any],
    *,
    created_at: ColumnElement[datetime],
    id: ColumnElement[str],
    page: PageRequest,
    to_view: Callable[[RowMapping], V],
) -> Slice[V]:
    """One page of `statement`, each row made into a view."""
    bounded = paged(statement, created_at=created_at, id=id, page=page)
    rows = (await connection.execute(bounded)).mappings().all()
    shown = rows[: page.limit]
    following = Position(shown[-1][_AT], shown[-1][_ID]) if len(rows) > page.limit else None
    return Slice(items=tuple(to_view(row) for row in shown), next=following)

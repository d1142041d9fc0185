"""A span for every SQL statement, made where asyncpg sends it.

SQLAlchemy 2.1 cannot be observed by the stock instrumentation for it, and the stock one for asyncpg costs
twice what this does, makes a root of every statement that has no parent, and does not see COPY, which carries
the bulk of our writes. Statements are recorded, values never are.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg.connection
import asyncpg.cursor
import asyncpg.prepared_stmt
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from libs.common.telemetry.redaction import redact

STATEMENT_LENGTH_MAX = 1_000
_REMEMBERED_LENGTH_MAX = 4_000  # a bulk statement may be long, and no two of them alike

_LEADING_COMMENT = re.compile(r"\s*(?:/\*.*?\*/\s*|--[^\n]*\n\s*)*", re.DOTALL)
_VERB = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|MERGE)\b", re.IGNORECASE)
_TARGET = re.compile(r'\b(?:FROM|INTO|UPDATE|TABLE)\s+(?:ONLY\s+)?("?[a-z_][\w."]*)', re.IGNORECASE)

_Method = Callable[..., Awaitable[Any]]

_WRAPPED: dict[tuple[type, str], _Method] = {}


def _summary(statement: str) -> tuple[str, str, str] | None:
    """The span's name (verb and table), its verb and its text; None for what is not worth a span."""
    text = statement[_LEADING_COMMENT.match(statement).end() :]  # type: ignore[union-attr]  # it matches always
    words = text.split(None, 1)
    verb = words[0].rstrip(";").upper() if words else "SQL"
    if verb in {"BEGIN", "START"}:
        return None  # sends nothing that takes time, and stands in front of every transaction
    if verb == "WITH":
        main = _VERB.search(text)
        verb = main.group(1).upper() if main else verb
    target = _TARGET.search(text, 0, STATEMENT_LENGTH_MAX)
    name = f"{verb} {target.group(1)}".replace('"', "") if target else verb
    return name, verb, redact(text[:STATEMENT_LENGTH_MAX])


_remembered_summary = functools.lru_cache(maxsize=2_000)(_summary)


def _start(tracer: Tracer, connection: Any, statement: str) -> Span | None:
    known = (_remembered_summary if len(statement) <= _REMEMBERED_LENGTH_MAX else _summary)(statement)
    if known is None:
        return None
    name, verb, text = known
    return tracer.start_span(
        name,
        kind=SpanKind.CLIENT,
        attributes={
            "db.system.name": "postgresql",
            "db.namespace": getattr(getattr(connection, "_params", None), "database", None) or "",
            "db.operation.name": verb,
            "db.query.text": text,
        },
    )


def _observed(tracer: Tracer, method: _Method, describe: Callable[..., tuple[Any, str]]) -> _Method:
    """The method, with a span around it wherever a recorded span is active: an idle poll is no story."""

    @functools.wraps(method)
    async def observed(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not trace.get_current_span().is_recording():
            return await method(self, *args, **kwargs)
        connection, statement = describe(self, args, kwargs)
        span = _start(tracer, connection, statement)
        if span is None:
            return await method(self, *args, **kwargs)
        try:
            return await method(self, *args, **kwargs)
        except Exception as error:
            # Neither the error's text nor its stack: they quote values. Who handles it records what it may.
            span.set_attribute(
                "error.type", str(getattr(error, "sqlstate", None) or type(error).__qualname__)
            )
            span.set_status(StatusCode.ERROR, type(error).__qualname__)
            raise
        finally:
            span.end()

    return observed


def _of_connection(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, str]:
    return self, str(args[0] if args else kwargs.get("query") or kwargs.get("command") or "SQL")


def _of_copy(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, str]:
    return self, f"COPY INTO {args[0] if args else kwargs.get('table_name')}"


def _of_statement(self: Any, _: tuple[Any, ...], __: dict[str, Any]) -> tuple[Any, str]:
    return self._connection, self._query or "SQL"


_OBSERVED: tuple[tuple[type, tuple[str, ...], Callable[..., tuple[Any, str]]], ...] = (
    (
        asyncpg.connection.Connection,
        ("execute", "executemany", "fetch", "fetchval", "fetchrow", "fetchmany"),
        _of_connection,
    ),
    (asyncpg.connection.Connection, ("copy_records_to_table", "copy_to_table"), _of_copy),
    (
        asyncpg.prepared_stmt.PreparedStatement,
        ("fetch", "fetchval", "fetchrow", "fetchmany", "executemany"),
        _of_statement,
    ),
    (asyncpg.cursor.Cursor, ("fetch", "fetchrow", "forward"), _of_statement),
)


def observe_sql(tracer: Tracer) -> None:
    """Record every statement of every connection from now on, where a recorded span is active."""
    stop_observing_sql()
    for owner, names, describe in _OBSERVED:
        for name in names:
            method = owner.__dict__.get(name)
            if method is not None:
                _WRAPPED[owner, name] = method
                setattr(owner, name, _observed(tracer, method, describe))


def stop_observing_sql() -> None:
    """Put asyncpg back as it was."""
    while _WRAPPED:
        (owner, name), method = _WRAPPED.popitem()
        setattr(owner, name, method)

"""Which errors are an outage of the database or the network, and which are a lost race: neither is a message's fault."""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from libs.common.errors import TransientError

_OUTAGES = (
    OSError,
    PoolTimeout,
    InterfaceError,
    TransientError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.OperatorInterventionError,  # class 57: shut down, starting up, terminated
    asyncpg.InsufficientResourcesError,  # class 53: disk full, too many connections
    asyncpg.InternalClientError,
)
_RACES = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        if isinstance(seen, DBAPIError) and isinstance(seen.orig, BaseException):
            yield seen.orig
        seen = seen.__cause__ or seen.__context__


def is_outage(error: BaseException) -> bool:
    """True when the same work may succeed later, unchanged, once something outside has recovered.

    A statement that ran into its own time limit (`query_canceled`) is not an outage: it would do so again.
    """
    chain = list(_chain(error))
    if any(isinstance(link, asyncpg.QueryCanceledError) for link in chain):
        return False
    if any(isinstance(link, DBAPIError) and link.connection_invalidated for link in chain):
        return True
    return any(isinstance(link, _OUTAGES) for link in chain)


def is_lost_race(error: BaseException) -> bool:
    """True for deadlocks and serialization failures: the whole transaction is simply repeated."""
    return any(isinstance(link, _RACES) for link in _chain(error))

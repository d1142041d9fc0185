"""Which errors are an outage of the database or the network, and which are a lost race: neither is a message's fault."""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from libs.common.errors import TransientError

_OUTAGES = (
    OSError,  # refused, reset, unreachable, timed out; the socket of a server that is down is a missing file
    PoolTimeout,
    TransientError,
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.OperatorInterventionError,  # class 57: shut down, starting up, terminated
    asyncpg.InsufficientResourcesError,  # class 53: disk full, too many connections
    asyncpg.PostgresSystemError,  # class 58: the disk cannot be read or written
    asyncpg.ReadOnlySQLTransactionError,  # a standby that has not taken over yet
    asyncpg.InternalClientError,
)
_RACES = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError)
_GONE = ("closed", "closing")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        if isinstance(seen, DBAPIError) and isinstance(seen.orig, BaseException):
            yield seen.orig
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _says_outage(link: BaseException) -> bool:
    if isinstance(link, DBAPIError):
        return link.connection_invalidated
    if isinstance(link, asyncpg.InterfaceError):
        # Said of a connection that has gone, but also of mistakes in how it is used: those would never end.
        return any(word in str(link) for word in _GONE)
    return isinstance(link, _OUTAGES)


def is_outage(error: BaseException) -> bool:
    """True when the same work may succeed later, unchanged, once something outside has recovered.

    A statement that ran into its own time limit (`query_canceled`) is not an outage: it would do so again.
    """
    chain = list(_chain(error))
    if any(isinstance(link, asyncpg.QueryCanceledError) for link in chain):
        return False
    return any(_says_outage(link) for link in chain)


def is_lost_race(error: BaseException) -> bool:
    """True for deadlocks and serialization failures: the whole transaction is simply repeated."""
    return any(isinstance(link, _RACES) for link in _chain(error))

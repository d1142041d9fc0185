"""Which errors are an outage, which a lost race, and which a mistake that would be made again."""

from __future__ import annotations

from collections.abc import Callable

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from libs.common.errors import RuleViolation
from libs.common.messaging.bus import BusUnavailable
from libs.common.persistence.outage import is_lost_race, is_outage


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as seen:
        return seen


def raised_from(cause: BaseException) -> BaseException:
    try:
        try:
            raise cause
        except BaseException as seen:
            raise RuntimeError("could not do it") from seen
    except RuntimeError as seen:
        return seen


def raised_meanwhile(first: BaseException) -> BaseException:
    try:
        try:
            raise first
        except BaseException:
            raise KeyError("and then")  # noqa: B904
    except KeyError as seen:
        return seen


def raised_instead(first: BaseException) -> BaseException:
    try:
        try:
            raise first
        except BaseException:
            raise RuleViolation("not like that") from None
    except RuleViolation as seen:
        return seen


def from_the_driver(error: BaseException, *, gone: bool = False) -> BaseException:
    return DBAPIError("SELECT 1", {}, error, connection_invalidated=gone)


CLOSED = asyncpg.InterfaceError("cannot call PreparedStatement.fetch(): the underlying connection is closed")
OUTAGES: dict[str, BaseException] = {
    "refused": ConnectionRefusedError(),
    "socket_is_gone": FileNotFoundError(2, "No such file or directory"),
    "timed_out": TimeoutError(),
    "pool_is_empty": PoolTimeout(),
    "bus": BusUnavailable("gone"),
    "terminated": asyncpg.AdminShutdownError("terminating connection"),
    "starting_up": asyncpg.CannotConnectNowError("the database system is starting up"),
    "lost_in_mid_air": asyncpg.ConnectionDoesNotExistError(
        "connection was closed in the middle of operation"
    ),
    "too_many": asyncpg.TooManyConnectionsError("sorry, too many clients already"),
    "disk_full": asyncpg.DiskFullError("no space left"),
    "disk_broken": asyncpg.PostgresIOError("could not read block"),
    "standby": asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
    "closed": CLOSED,
    "out_of_step": asyncpg.InternalClientError("cannot switch to state 11"),
    "through_sqlalchemy": from_the_driver(asyncpg.AdminShutdownError("terminating")),
    "invalidated": from_the_driver(ValueError("whatever"), gone=True),
}
MISTAKES: dict[str, BaseException] = {
    "ours": ValueError("no"),
    "refused_by_a_rule": RuleViolation("no"),
    "bad_argument": asyncpg.DataError("invalid input for query argument $1"),
    "wrong_count": asyncpg.InterfaceError("the server expects 1 argument for this query, 0 were passed"),
    "two_at_once": asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
    "constraint": asyncpg.UniqueViolationError("duplicate key"),
    "took_too_long": asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
    "through_sqlalchemy": from_the_driver(asyncpg.CheckViolationError("no")),
    "not_ours_to_do": asyncpg.InsufficientPrivilegeError("permission denied"),
}
RACES: dict[str, BaseException] = {
    "deadlock": asyncpg.DeadlockDetectedError("deadlock detected"),
    "serialization": asyncpg.SerializationError("could not serialize access"),
    "not_waiting": asyncpg.LockNotAvailableError("could not obtain lock"),
    "through_sqlalchemy": from_the_driver(asyncpg.DeadlockDetectedError("deadlock detected")),
}

Wrapping = Callable[[BaseException], BaseException]


@pytest.mark.parametrize("wrapped", [raised, raised_from, raised_meanwhile])
@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_is_told_whatever_was_made_of_it(name: str, wrapped: Wrapping) -> None:
    error = wrapped(OUTAGES[name])
    assert is_outage(error)
    assert not is_lost_race(error)


@pytest.mark.parametrize("wrapped", [raised, raised_from, raised_meanwhile])
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_neither_an_outage_nor_a_race(name: str, wrapped: Wrapping) -> None:
    error = wrapped(MISTAKES[name])
    assert not is_outage(error)
    assert not is_lost_race(error)


@pytest.mark.parametrize("wrapped", [raised, raised_from, raised_meanwhile])
@pytest.mark.parametrize("name", RACES)
def test_a_lost_race_is_no_outage(name: str, wrapped: Wrapping) -> None:
    error = wrapped(RACES[name])
    assert is_lost_race(error)
    assert not is_outage(error)


@pytest.mark.parametrize("name", OUTAGES)
def test_who_says_that_the_cause_does_not_matter_is_believed(name: str) -> None:
    assert not is_outage(raised_instead(OUTAGES[name]))

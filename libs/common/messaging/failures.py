"""Messages that failed by themselves: tried again with growing pauses, then kept as dead letters to be redriven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import Insert, insert

from libs.common.errors import NotFound
from libs.common.messaging.bus import Delivery
from libs.common.messaging.inbox import can_be_claimed
from libs.common.persistence.machinery import Machinery
from libs.common.persistence.unit_of_work import UnitOfWork, UnitsOfWork

PAUSES_S = (0.2, 1.0, 5.0, 30.0)
TRY_S = 10  # how long a try keeps others from trying the same; one that died is followed by another after it
ERROR_LENGTH_MAX = 2000


class DeadLetterNotFound(NotFound):
    code = "dead_letter_not_found"
    title = "There is no such dead letter"


@dataclass(frozen=True, slots=True)
class FailedMessage:
    """One failed message as operators see it. `dead` means that it waits for a person."""

    message_id: str
    handler: str
    type: str | None
    tenant: str | None
    topic: str
    partition: int
    offset: int
    key: str
    dead: bool
    attempts: int
    next_try_at: datetime | None
    error: str
    trace_id: str | None
    first_failed_at: datetime
    last_failed_at: datetime
    headers: Mapping[str, str]
    value: bytes


def _message_id(delivery: Delivery) -> str:
    """Its own id, or else its place on the bus."""
    given = delivery.headers.get("ce_id", "")
    return given if can_be_claimed(given) else f"{delivery.topic}/{delivery.partition}/{delivery.offset}"


def _storable(told: str) -> str:
    """PostgreSQL's text has no NUL and no half of a character; what cannot be read may hold anything."""
    return told.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")


class Failures:
    """The failed messages of one handler group.

    Order: the next event of the same key may be applied before a failed one is. Handlers that replace state
    ignore older versions, and handlers that add do not depend on order, so trying again is always safe.
    `also` names other groups of the service, whose failures are shown and redriven here too.
    """

    def __init__(self, units: UnitsOfWork[Any], handler: str, *, also: Sequence[str] = ()) -> None:
        self._units = units
        self._handler = handler
        self._shown = (handler, *also)

    def _mine(self, machinery: Machinery, message_id: str | None = None) -> Any:
        table = machinery.message_failure
        condition = table.c.handler == self._handler
        return condition if message_id is None else condition & (table.c.message_id == message_id)

    def _among_shown(self, machinery: Machinery, message_id: str) -> Any:
        table = machinery.message_failure
        return table.c.handler.in_(self._shown) & (table.c.message_id == message_id)

    async def keep(self, delivery: Delivery, error: BaseException) -> None:
        """Keep a message that failed when it was delivered. One that is kept already came twice: it is left alone."""
        async with self._units.open_for_many() as uow:
            await uow.become("", self._handler)
            await uow.connection.execute(self._first_failure(uow, delivery, error).on_conflict_do_nothing())

    async def put(self, delivery: Delivery, error: BaseException) -> bool:
        """Keep a failed message, or count one more attempt; True when that was its last, and it is dead."""
        async with self._units.open_for_many() as uow:
            await uow.become("", self._handler)
            table = uow.machinery.message_failure
            row = self._first_failure(uow, delivery, error)
            pauses = ", ".join(str(pause_s) for pause_s in PAUSES_S)
            pause = text(f"(ARRAY[{pauses}]::float8[])[message_failure.attempts + 1] * interval '1 s'")
            again = row.on_conflict_do_update(
                index_elements=["handler", "message_id"],
                set_={
                    "attempts": table.c.attempts + 1,
                    "dead": table.c.attempts >= len(PAUSES_S),
                    "next_try_at": func.clock_timestamp() + pause,
                    "error": row.excluded.error,
                    "last_failed_at": func.clock_timestamp(),
                },
            )
            return bool((await uow.connection.execute(again.returning(table.c.dead))).scalar_one())

    def _first_failure(self, uow: UnitOfWork, delivery: Delivery, error: BaseException) -> Insert:
        # Left out and not mended: mended, a message that could not be read might come back as another one.
        headers = {
            name: value for name, value in delivery.headers.items() if _storable(name + value) == name + value
        }
        traceparent = headers.get("traceparent", "")
        return insert(uow.machinery.message_failure).values(
            handler=self._handler,
            message_id=_message_id(delivery),
            topic=delivery.topic,
            partition=delivery.partition,
            offset=delivery.offset,
            key=_storable(delivery.key),
            headers=headers,
            value=delivery.value,
            type=headers.get("ce_type"),
            tenant=headers.get("ce_tenant"),
            test_clock=headers.get("ce_testclock"),
            attempts=1,
            next_try_at=func.clock_timestamp() + text(f"interval '{PAUSES_S[0]} s'"),
            error=_storable(f"{type(error).__name__}: {error}")[:ERROR_LENGTH_MAX],
            trace_id=traceparent.split("-")[1] if traceparent.count("-") == 3 else None,
        )

    async def next_due(self) -> Delivery | None:
        """The message whose pause has been over longest, or None. Nobody else is given it for the next seconds."""
        async with self._units.open_for_many() as uow:
            await uow.become("", self._handler)
            table = uow.machinery.message_failure
            due = (
                select(table.c.message_id)
                .where(
                    self._mine(uow.machinery), ~table.c.dead, table.c.next_try_at <= func.clock_timestamp()
                )
                .order_by(table.c.next_try_at)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            taken = (
                update(table)
                .where(self._mine(uow.machinery), table.c.message_id == due.scalar_subquery())
                .values(next_try_at=func.clock_timestamp() + text(f"interval '{TRY_S} s'"))
                .returning(table)
            )
            row = (await uow.connection.execute(taken)).first()
        if row is None:
            return None
        return Delivery(
            topic=row.topic,
            partition=row.partition,
            offset=row.offset,
            key=row.key,
            headers=row.headers,
            value=row.value,
        )

    async def resolve(self, uow: UnitOfWork, delivery: Delivery) -> None:
        """Forget the failure, in the transaction that handled the message."""
        table = uow.machinery.message_failure
        mine = self._mine(uow.machinery, _message_id(delivery))
        await uow.connection.execute(delete(table).where(mine))

    async def count_dead(self) -> int:
        async with self._units.open_for_many() as uow:
            await uow.become("", self._handler)
            table = uow.machinery.message_failure
            counted = select(func.count()).select_from(table).where(self._mine(uow.machinery), table.c.dead)
            return int((await uow.connection.execute(counted)).scalar_one())

    async def list(self, *, limit: int = 100, include_retrying: bool = True) -> list[FailedMessage]:
        """Oldest first."""
        async with self._units.open_for_many() as uow:
            await uow.become("", self._handler)
            table = uow.machinery.message_failure
            wanted = (
                select(table).where(self._mine(uow.machinery)).order_by(table.c.first_failed_at).limit(limit)
            )
            if not include_retrying:
                wanted = wanted.where(table.c.dead)
            return [_failed(row) for row in (await uow.connection.execute(wanted)).mappings()]

    async def get(self, message_id: str) -> FailedMessage:
        """Raises: DeadLetterNotFound."""
        async with self._units.open_for_many() as uow:
            await uow.become("", self._handler)
            table = uow.machinery.message_failure
            found = await uow.connection.execute(
                select(table).where(self._among_shown(uow.machinery, message_id))
            )
            row = found.mappings().first()
        if row is None:
            raise DeadLetterNotFound("no failed message has this id", message_id=message_id)
        return _failed(row)

    async def redrive(self, message_id: str) -> None:
        """Try the message again now, with all its tries. Raises: DeadLetterNotFound."""
        async with self._units.open_for_many() as uow:
            await uow.become("", self._handler)
            table = uow.machinery.message_failure
            again = (
                update(table)
                .where(self._among_shown(uow.machinery, message_id))
                .values(dead=False, attempts=0, next_try_at=func.clock_timestamp())
            )
            changed = await uow.connection.execute(again)
        if changed.rowcount == 0:
            raise DeadLetterNotFound("no failed message has this id", message_id=message_id)


def _failed(row: Mapping[str, Any]) -> FailedMessage:
    return FailedMessage(**{field.name: row[field.name] for field in fields(FailedMessage)})

"""Messages that failed by themselves: tried again with growing pauses, then kept as dead letters to be redriven."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from libs.common.errors import NotFound
from libs.common.messaging.bus import Delivery
from libs.common.persistence.machinery import Machinery
from libs.common.persistence.unit_of_work import UnitOfWork, UnitsOfWork

PAUSES_S = (0.2, 1.0, 5.0, 30.0)
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
    return delivery.headers.get("ce_id") or f"{delivery.topic}/{delivery.partition}/{delivery.offset}"


class Failures:
    """The failed messages of one handler group.

    Order: the next event of the same key may be applied before a failed one is. Handlers that replace state
    ignore older versions, and handlers that add do not depend on order, so trying again is always safe.
    """

    def __init__(self, units: UnitsOfWork[Any], handler: str) -> None:
        self._units = units
        self._handler = handler

    def _mine(self, machinery: Machinery, message_id: str | None = None) -> Any:
        table = machinery.message_failure
        condition = table.c.handler == self._handler
        return condition if message_id is None else condition & (table.c.message_id == message_id)

    async def put(self, delivery: Delivery, error: BaseException) -> None:
        """Keep a failed message, or count one more attempt; after the last pause it is dead."""
        async with self._units.open_for_many() as uow:
            await uow.become("", self._handler)
            table = uow.machinery.message_failure
            told = f"{type(error).__name__}: {error}"[:ERROR_LENGTH_MAX]
            traceparent = delivery.headers.get("traceparent", "")
            row = insert(table).values(
                handler=self._handler,
                message_id=_message_id(delivery),
                topic=delivery.topic,
                partition=delivery.partition,
                offset=delivery.offset,
                key=delivery.key,
                headers=dict(delivery.headers),
                value=delivery.value,
                type=delivery.headers.get("ce_type"),
                tenant=delivery.headers.get("ce_tenant"),
                test_clock=delivery.headers.get("ce_testclock"),
                attempts=1,
                next_try_at=func.clock_timestamp() + text(f"interval '{PAUSES_S[0]} s'"),
                error=told,
                trace_id=traceparent.split("-")[1] if traceparent.count("-") == 3 else None,
            )
            pauses = ", ".join(str(pause_s) for pause_s in PAUSES_S)
            pause = text(f"(ARRAY[{pauses}]::float8[])[message_failure.attempts + 1] * interval '1 s'")
            again = row.on_conflict_do_update(
                index_elements=["handler", "message_id"],
                set_={
                    "attempts": table.c.attempts + 1,
                    "dead": table.c.attempts >= len(PAUSES_S),
                    "next_try_at": func.clock_timestamp() + pause,
                    "error": told,
                    "last_failed_at": func.clock_timestamp(),
                },
            )
            await uow.connection.execute(again)

    async def next_due(self) -> Delivery | None:
        """The message whose pause has been over longest, or None."""
        async with self._units.open_for_many() as uow:
            await uow.become("", self._handler)
            table = uow.machinery.message_failure
            due = (
                select(table)
                .where(
                    self._mine(uow.machinery), ~table.c.dead, table.c.next_try_at <= func.clock_timestamp()
                )
                .order_by(table.c.next_try_at)
                .limit(1)
            )
            row = (await uow.connection.execute(due)).first()
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
            found = await uow.connection.execute(select(table).where(self._mine(uow.machinery, message_id)))
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
                .where(self._mine(uow.machinery, message_id))
                .values(dead=False, attempts=0, next_try_at=func.clock_timestamp())
            )
            changed = await uow.connection.execute(again)
        if changed.rowcount == 0:
            raise DeadLetterNotFound("no failed message has this id", message_id=message_id)


def _failed(row: Mapping[str, Any]) -> FailedMessage:
    return FailedMessage(**{field.name: row[field.name] for field in fields(FailedMessage)})

"""A payment gateway that moves no money and does what its payment method tells it, with a memory of its own.

It stands for an outside party: it is called outside our transactions, remembers every idempotency key, and can
answer late or not at all after it has taken the money.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.access.tenancy import APP
from libs.common.errors import TransientError
from libs.common.money import Money
from libs.common.persistence.session import Database
from services.billing.adapters.rows import sandbox_gateway_payment as payments
from services.billing.domain.payment import Collected, Declined, Outcome, PaymentMethod

Behaviour = Literal["succeeds", "fails_once", "always_fails", "times_out_once"]
BEHAVIOURS: tuple[str, ...] = get_args(Behaviour)
DECLINED = "declined_by_sandbox"

_FIRST_DIFFERS = frozenset({"fails_once", "times_out_once"})

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('sandbox_gateway/' || :method, 0))")


class GatewayTimedOut(TransientError):
    """The money may have been taken: nobody knows until the gateway is asked."""

    code = "gateway_timed_out"
    title = "The payment gateway did not answer in time"


class SandboxGateway:
    """`fails_once` declines the first payment of a method, `times_out_once` takes its first one and says nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def collect(
        self, *, idempotency_key: str, method: PaymentMethod, amount: Money, at: datetime
    ) -> Outcome:
        """The same key gives the same answer, however often it is asked. Raises: GatewayTimedOut."""
        async with self._database.transaction(APP) as connection:
            is_first = method.behaviour in _FIRST_DIFFERS and await _is_first(connection, method.id)
            fails = method.behaviour == "always_fails" or (method.behaviour == "fails_once" and is_first)
            row = insert(payments).values(
                idempotency_key=idempotency_key,
                payment_method_id=method.id,
                amount_minor=amount.amount_minor,
                currency=amount.currency,
                succeeded=not fails,
                reason=DECLINED if fails else None,
            )
            made = await connection.execute(row.on_conflict_do_nothing().returning(payments.c.succeeded))
            is_new = made.first() is not None
            known = None if is_new else await _find(connection, idempotency_key)
        if known is not None:
            return known
        if method.behaviour == "times_out_once" and is_first:
            raise GatewayTimedOut("no answer", idempotency_key=idempotency_key)
        return Declined(DECLINED) if fails else _collected(idempotency_key)

    async def find_outcome(self, *, idempotency_key: str) -> Outcome | None:
        async with self._database.transaction(APP) as connection:
            return await _find(connection, idempotency_key)


async def _is_first(connection: AsyncConnection, method_id: str) -> bool:
    """Asked by one payment of a method at a time, so that one of them is the first."""
    await connection.execute(_ONE_AT_A_TIME, {"method": method_id})
    counted = select(func.count()).select_from(payments).where(payments.c.payment_method_id == method_id)
    return (await connection.execute(counted)).scalar_one() == 0


async def _find(connection: AsyncConnection, idempotency_key: str) -> Outcome | None:
    found = select(payments).where(payments.c.idempotency_key == idempotency_key)
    row = (await connection.execute(found)).first()
    if row is None:
        return None
    return _collected(idempotency_key) if row.succeeded else Declined(row.reason)


def _collected(idempotency_key: str) -> Collected:
    return Collected(reference=f"sandbox-{idempotency_key}")

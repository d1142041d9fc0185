"""A payment gateway that moves no money and does what its payment method tells it, with a memory of its own.

It stands for an outside party: it is called outside our transactions, remembers every idempotency key, and can
answer late or not at all after it has taken the money.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import Row, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.access.tenancy import APP
from libs.common.errors import TransientError
from libs.common.money import Money
from libs.common.persistence.base import is_among
from libs.common.persistence.session import Database
from services.billing.adapters.rows import sandbox_gateway_payment as payments
from services.billing.adapters.rows import sandbox_gateway_refund as refunds
from services.billing.domain.gateway_dispute import GatewayDispute
from services.billing.domain.payment import (
    AcceptedMethod,
    Collected,
    Declined,
    MethodDetails,
    Outcome,
    PaymentMethod,
    PaymentTokenUnusable,
    Pending,
    RefundFailed,
    RefundOutcome,
    RefundPending,
    RefundSucceeded,
)

Behaviour = Literal[
    "succeeds",
    "fails_once",
    "always_fails",
    "times_out_once",
    "pending_then_succeeds",
    "pending_then_fails",
    "needs_action",
    "refund_fails",
    "refund_pending",
    "refund_times_out_once",
]
BEHAVIOURS: tuple[str, ...] = get_args(Behaviour)
DECLINED, NOT_ACTED = "declined_by_sandbox", "action_not_taken"

_FIRST_DIFFERS = frozenset({"fails_once", "times_out_once"})
_FAILS = {"always_fails": DECLINED, "pending_then_fails": DECLINED, "needs_action": NOT_ACTED}
_AWAITS = {"pending_then_succeeds": "bank", "pending_then_fails": "bank", "needs_action": "customer"}

_PREFIX = "sandbox-"
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('sandbox_gateway/' || :method, 0))")


class GatewayTimedOut(TransientError):
    """The money may have been taken: nobody knows until the gateway is asked."""

    code = "gateway_timed_out"
    title = "The payment gateway did not answer in time"


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    payment: Mapping[str, Any]
    answer: asyncio.Future[Outcome]


class SandboxGateway:
    """`fails_once` declines the first payment of a method, `times_out_once` takes its first one and says nothing.

    `pending_…` answers that a bank has still to act, which it has when the gateway is asked about it;
    `needs_action` waits for a customer who never comes. The behaviours that begin with `refund_` are about what is
    given back. Payments that are asked for at the same time are remembered in one transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked: list[_Asked] = []
        self._writer: asyncio.Task[None] | None = None

    async def collect(
        self, *, tenant: str, idempotency_key: str, method: PaymentMethod, amount: Money, at: datetime
    ) -> Outcome:
        """The same key gives the same answer, however often it is asked. Raises: GatewayTimedOut."""
        behaviour = method.behaviour or ""
        payment = {
            "idempotency_key": idempotency_key,
            "payment_method_id": method.id,
            "amount_minor": amount.amount_minor,
            "currency": amount.currency,
            "succeeded": behaviour not in _FAILS,
            "reason": _FAILS.get(behaviour),
            "awaits": _AWAITS.get(behaviour),
        }
        if method.behaviour in _FIRST_DIFFERS:
            return await self._collect_alone(payment, method)
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked(payment, answer))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), context=contextvars.Context())
        return await answer

    async def _collect_alone(self, payment: dict[str, Any], method: PaymentMethod) -> Outcome:
        async with self._database.transaction(APP) as connection:
            is_first = await _is_first(connection, method.id)
            if method.behaviour == "fails_once" and is_first:
                payment |= {"succeeded": False, "reason": DECLINED}
            is_new = payment["idempotency_key"] in await _remember(connection, [payment])
            outcome = (await _find(connection, [payment["idempotency_key"]]))[payment["idempotency_key"]]
        if is_new and is_first and method.behaviour == "times_out_once":
            raise GatewayTimedOut("no answer", idempotency_key=payment["idempotency_key"])
        return outcome

    async def _write(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                await self._answer(asked)
        finally:  # in the turn in which nothing was found: whoever asks next starts another
            self._writer = None

    async def _answer(self, asked: Sequence[_Asked]) -> None:
        keys = [one.payment["idempotency_key"] for one in asked]
        try:
            async with self._database.transaction(APP) as connection:
                await _remember(connection, [one.payment for one in asked])
                outcomes = await _find(connection, keys)
        except Exception as error:
            for one in asked:
                if not one.answer.done():
                    one.answer.set_exception(error)
            return
        for key, one in zip(keys, asked, strict=True):
            if not one.answer.done():  # whoever asked may have given up
                one.answer.set_result(outcomes[key])

    async def find_outcome(
        self,
        *,
        tenant: str,
        idempotency_key: str,
        method: PaymentMethod,
        reference: str | None,
        called_at: datetime | None,
    ) -> Outcome | None:
        """A bank has acted by the time that somebody asks."""
        async with self._database.transaction(APP) as connection:
            known = await _find(connection, [idempotency_key], is_asked=True)
        return known.get(idempotency_key)

    async def give_up(self, *, tenant: str, method: PaymentMethod, reference: str) -> Outcome:
        """Nothing is to be taken back: what waits for the customer was never going to succeed."""
        return Declined(NOT_ACTED)

    async def refund(
        self,
        *,
        tenant: str,
        idempotency_key: str,
        method: PaymentMethod,
        payment_reference: str,
        amount: Money,
        at: datetime,
    ) -> RefundOutcome:
        """Raises: GatewayTimedOut."""
        refund = {
            "idempotency_key": idempotency_key,
            "payment_key": payment_reference.removeprefix(_PREFIX),
            "amount_minor": amount.amount_minor,
            "currency": amount.currency,
            "succeeded": method.behaviour != "refund_fails",
            "is_late": method.behaviour == "refund_pending",
        }
        async with self._database.transaction(APP) as connection:
            made = insert(refunds).values(refund).on_conflict_do_nothing().returning(refunds.c.payment_key)
            is_new = (await connection.execute(made)).first() is not None
            outcome = await _find_refund(connection, idempotency_key, is_asked=False)
        if is_new and method.behaviour == "refund_times_out_once":
            raise GatewayTimedOut("no answer", idempotency_key=idempotency_key)
        assert outcome is not None, "it was remembered a moment ago"
        return outcome

    async def find_refund(
        self,
        *,
        tenant: str,
        idempotency_key: str,
        method: PaymentMethod,
        payment_reference: str,
        reference: str | None,
    ) -> RefundOutcome | None:
        async with self._database.transaction(APP) as connection:
            return await _find_refund(connection, idempotency_key, is_asked=True)

    async def accept_method(
        self,
        *,
        tenant: str,
        account: str | None,
        token: str,
        customer_id: str,
        gateway_customer: str | None = None,
    ) -> AcceptedMethod:
        raise PaymentTokenUnusable("the sandbox gateway has no tokens", pointer="/token")

    async def find_details(self, *, tenant: str, method: PaymentMethod) -> MethodDetails | None:
        return method.details

    async def find_dispute(
        self, *, tenant: str, account: str | None, reference: str
    ) -> GatewayDispute | None:
        return None

    async def accept_dispute(self, *, tenant: str, account: str | None, reference: str) -> None:
        """No bank disputes what moved no money."""

    async def release_method(self, *, tenant: str, method: PaymentMethod) -> None:
        """It keeps nothing of methods."""


async def _is_first(connection: AsyncConnection, method_id: str) -> bool:
    """Asked by one payment of a method at a time, so that one of them is the first."""
    await connection.execute(_ONE_AT_A_TIME, {"method": method_id})
    counted = select(func.count()).select_from(payments).where(payments.c.payment_method_id == method_id)
    return (await connection.execute(counted)).scalar_one() == 0


async def _remember(connection: AsyncConnection, asked: Sequence[Mapping[str, Any]]) -> set[str]:
    """The keys that were new."""
    made = insert(payments).values(list(asked)).on_conflict_do_nothing().returning(payments.c.idempotency_key)
    return set((await connection.execute(made)).scalars())


async def _find(
    connection: AsyncConnection, keys: Sequence[str], *, is_asked: bool = False
) -> dict[str, Outcome]:
    known = await connection.execute(select(payments).where(is_among(payments.c.idempotency_key, keys)))
    return {row.idempotency_key: _outcome(row, is_asked=is_asked) for row in known}


def _outcome(row: Row[Any], *, is_asked: bool) -> Outcome:
    reference = f"{_PREFIX}{row.idempotency_key}"
    if row.awaits == "customer" or (row.awaits == "bank" and not is_asked):
        return Pending(reference, needs_action=row.awaits == "customer")
    return Collected(reference) if row.succeeded else Declined(row.reason)


async def _find_refund(
    connection: AsyncConnection, idempotency_key: str, *, is_asked: bool
) -> RefundOutcome | None:
    found = await connection.execute(select(refunds).where(refunds.c.idempotency_key == idempotency_key))
    row = found.first()
    if row is None:
        return None
    reference = f"{_PREFIX}{idempotency_key}"
    if row.is_late and not is_asked:
        return RefundPending(reference)
    return RefundSucceeded(reference) if row.succeeded else RefundFailed(DECLINED, reference)

"""What a change would come to: the change is carried out, and the next boundary if asked for, and taken back.

What would have been told is held against usage so far by metering, and made into documents by billing, each with the
very code that does it when it happens, in transactions that are taken back as well. No lock is held over the calls.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal, NoReturn, Protocol

from libs.common.contracts.subscriptions import AGREEMENT_EVENTS
from libs.common.errors import Conflict, RuleViolation
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.application.renew_subscription import (
    RenewSubscription,
    load_for_renewal,
    renew_subscription,
)
from services.subscriptions.domain.lifecycle import MOVES
from services.subscriptions.domain.renewal import Ended, NotDue, Renewed
from services.subscriptions.domain.subscription import Subscription

Shown = Literal["next_invoice", "at_once"]
STEPS_MAX = 120
EVENTS_MAX = 200
NOTHING_OWED = "skipped"
"""The status of a document that comes to nothing: nobody will see it."""

ToldEvents = Sequence[Mapping[str, Any]]


class NothingToPreview(Conflict):
    """It is over, or waits for something that no clock brings about."""

    code: ClassVar[str] = "nothing_to_preview"
    title: ClassVar[str] = "The subscription will have no invoice by itself"


class PreviewTooLong(RuleViolation):
    """A beginning or a change far in the past makes more documents than one preview shows."""

    code: ClassVar[str] = "preview_too_long"
    title: ClassVar[str] = "The preview would be too long"


@dataclass(frozen=True, slots=True)
class UsageSoFar:
    """As of `as_of`; what waits is accepted or told of, and not counted yet. `closed` are windows as if they closed."""

    as_of: datetime | None = None
    usage_records_waiting: int | None = None
    events_waiting: int | None = None
    closed: ToldEvents = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """`documents` and `balances` are billing's own answer. `until` is the instant up to which time was let run."""

    subscription: Subscription
    until: datetime
    usage: UsageSoFar
    documents: Sequence[Mapping[str, Any]] = ()
    balances: Sequence[Mapping[str, Any]] = field(default=())


class PreviewPeers(Protocol):
    async def count_usage(self, tenant: str, events: ToldEvents) -> UsageSoFar:
        """Raises: TransientError, RuleViolation."""
        ...

    async def bill(self, tenant: str, events: ToldEvents) -> Mapping[str, Any]:
        """Raises: TransientError, RuleViolation."""
        ...


class Rehearsed(Exception):
    """What was rehearsed; raised, so that the transaction is rolled back."""

    def __init__(self, events: ToldEvents, subscription: Subscription, until: datetime) -> None:
        super().__init__("rehearsed")
        self.events, self.subscription, self.until = events, subscription, until


async def rehearse(
    change: Callable[[UnitOfWork], Awaitable[Subscription]],
    *,
    shown: Shown,
    now: Callable[[Subscription], Awaitable[datetime]],
    uow: UnitOfWork,
) -> NoReturn:
    """Carry `change` out and whatever is due by now, let time run on if that is wanted, and take all of it back.

    Raises: Rehearsed, always; NothingToPreview; whatever `change` raises.
    """
    told: list[dict[str, Any]] = []
    changed = await change(uow)
    until = await now(changed)
    await _write(told, uow)
    subscription = await uow.subscriptions.get_for_update(changed.id)
    while subscription.due_at is not None and subscription.due_at <= until and len(told) < EVENTS_MAX:
        subscription, _ = await _step(subscription, until, told, uow=uow)
    if shown == "next_invoice":
        subscription, until = await _run_on(subscription, until, told, uow=uow)
    raise Rehearsed(told, subscription, until)


async def _run_on(
    subscription: Subscription, until: datetime, told: list[dict[str, Any]], *, uow: UnitOfWork
) -> tuple[Subscription, datetime]:
    """Do what falls due, one thing after another, until a period has ended.

    Raises: NothingToPreview, where nothing has happened and nothing will.
    """
    for _ in range(STEPS_MAX):
        due_at = subscription.due_at
        if due_at is None:
            break
        until = max(until, due_at)
        subscription, is_boundary = await _step(subscription, until, told, uow=uow)
        if is_boundary:
            break
    if not told:
        raise NothingToPreview(
            f"a subscription that is {subscription.state} comes to no invoice by itself",
            state=subscription.state,
            moves=list(MOVES[subscription.state]),
        )
    return subscription, until


async def _step(
    subscription: Subscription, until: datetime, told: list[dict[str, Any]], *, uow: UnitOfWork
) -> tuple[Subscription, bool]:
    """The next thing that is due by `until`, and whether it ended a period."""
    command = RenewSubscription(subscription.id, until)
    await load_for_renewal([command], uow=uow)
    outcome = await renew_subscription(command, uow=uow)
    assert not isinstance(outcome, NotDue), "what is due by then is done by then"
    await _write(told, uow)
    # As it was saved: what waits is counted anew when an outcome is carried out.
    after = await uow.subscriptions.get_for_update(subscription.id)
    return after, isinstance(outcome, Renewed | Ended)


async def _write(told: list[dict[str, Any]], uow: UnitOfWork) -> None:
    """Later steps read what earlier ones have written; nothing of it will be there afterwards."""
    told += [{"type": row["type"], "data": json.loads(row["data"])} for row in uow.outbox.events]
    await uow.flush()


async def show(rehearsed: Rehearsed, *, tenant: str, peers: PreviewPeers) -> Preview:
    """The documents that the rehearsed events would make, with usage so far.

    Raises: PreviewTooLong, TransientError, RuleViolation.
    """
    events = [event for event in rehearsed.events if _is_of_agreement(event)]
    if not events:
        return Preview(rehearsed.subscription, rehearsed.until, UsageSoFar())
    usage = UsageSoFar()
    if len(events) <= EVENTS_MAX:
        usage = await peers.count_usage(tenant, events)
    if len(events) + len(usage.closed) > EVENTS_MAX:
        raise PreviewTooLong(
            "it begins or reaches back too long ago for one preview",
            events_max=EVENTS_MAX,
            remedy="Preview it from a later date, or with billed_until.",
        )
    billed = await peers.bill(tenant, [*events, *usage.closed])
    documents = [document for document in billed["documents"] if document["status"] != NOTHING_OWED]
    return Preview(rehearsed.subscription, rehearsed.until, usage, documents, billed["balances"])


def _is_of_agreement(event: Mapping[str, Any]) -> bool:
    return event["type"] in AGREEMENT_EVENTS

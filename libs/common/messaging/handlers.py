"""Event → command: what a service does with the events that it hears."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from libs.common.contracts import EVENTS
from libs.common.contracts.envelope import Envelope, Event
from libs.common.errors import DomainError
from libs.common.messaging.bus import Delivery
from libs.common.messaging.inbox import can_be_claimed
from libs.common.persistence.unit_of_work import UnitOfWork

U = TypeVar("U", bound=UnitOfWork)

Handler = Callable[[Any, U], Awaitable[None]]
Preparation = Callable[[Sequence[Event], U], Awaitable[None]]


async def _nothing(events: Sequence[Event], uow: Any) -> None:
    """For groups whose handlers lock nothing."""


class UnreadableMessage(DomainError):
    """A message that is no event, or one of a version that this service does not know."""

    code = "unreadable_message"
    title = "The message cannot be read"


@dataclass(frozen=True, slots=True)
class HandlerGroup(Generic[U]):
    """All that one service hears. `name` is the consumer group and the inbox's handler.

    `prepare` loads and locks, in one go, what the handlers of a batch will need: it is given all events of one tenant
    that the group listens to. It locks one kind of thing after the other, each in id order over all types of events,
    so that two consumers with mixed batches over the same things wait for each other and do not deadlock.
    """

    name: str
    topics: tuple[str, ...]
    handle: Mapping[type[Event], Handler[U]]
    prepare: Preparation[U] = _nothing


@dataclass(frozen=True, slots=True)
class Message:
    """A delivery that has been read. `event` is None when this group does not listen to its type."""

    delivery: Delivery
    envelope: Envelope
    event: Event | None


def read(delivery: Delivery, group: HandlerGroup[Any]) -> Message:
    """Raises: UnreadableMessage."""
    try:
        envelope = Envelope.from_headers(delivery.headers, delivery.value)
    except (KeyError, ValueError) as error:
        raise UnreadableMessage("CloudEvents headers are missing or malformed", missing=str(error)) from error
    if not can_be_claimed(envelope.id):
        raise UnreadableMessage("the CloudEvents id cannot be kept", id_length=len(envelope.id))
    contract = EVENTS.get(envelope.type)
    if contract is None:
        raise UnreadableMessage("no contract of this type and version is known", type=envelope.type)
    if contract not in group.handle:
        return Message(delivery, envelope, None)
    try:
        event = contract.model_validate_json(envelope.data)
    except ValidationError as error:
        raise UnreadableMessage("the data does not fit the contract", type=envelope.type) from error
    return Message(delivery, envelope, event)

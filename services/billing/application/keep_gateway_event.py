"""A gateway told us that something happened: that is kept, once, and worked off in the background."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.ids import derived_id
from services.billing.application.ports import UnitOfWork
from services.billing.domain.gateway_event import GatewayEvent, SubjectKind


@dataclass(frozen=True, slots=True)
class KeepGatewayEvent:
    """It was verified. `traceparent` is the trace in which it came."""

    gateway: str
    account: str
    event_id: str
    type: str
    subject_kind: SubjectKind
    subject_id: str
    our_id: str | None
    happened_at: datetime
    traceparent: str | None


async def keep_gateway_event(command: KeepGatewayEvent, *, now: datetime, uow: UnitOfWork) -> bool:
    """Whether it was new. The same event again, or at the same time, changes nothing. `now` is the wall's."""
    id = derived_id("gwe", uow.tenant, command.gateway, command.account, command.event_id)
    if await uow.gateway_events.is_known(id):
        return False
    uow.gateway_events.add(
        GatewayEvent(
            id=id,
            gateway=command.gateway,
            account=command.account,
            event_id=command.event_id,
            type=command.type,
            subject_kind=command.subject_kind,
            subject_id=command.subject_id,
            our_id=command.our_id,
            happened_at=command.happened_at,
            created_at=now,
            due_at=now,
            traceparent=command.traceparent,
        )
    )
    return True

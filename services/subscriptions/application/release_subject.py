"""End the binding of a subject: from an instant on, its usage no longer counts for the item."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.clock import Clock
from services.subscriptions.application import events
from services.subscriptions.application.now import business_now
from services.subscriptions.application.ports import CheckVersion, UnitOfWork, any_version
from services.subscriptions.domain.subject_binding import SubjectBinding, release


@dataclass(frozen=True, slots=True)
class ReleaseSubject:
    binding_id: str
    at: datetime


async def release_subject(
    command: ReleaseSubject, *, uow: UnitOfWork, clock: Clock, check_version: CheckVersion = any_version
) -> SubjectBinding:
    """Cut the binding at an instant, past or to come. To cut it where it ends already changes nothing.

    Emits: SubjectReleased.
    Raises: SubjectBindingNotFound, BindingReversed, BindingEndsEarlier.
    """
    binding = await uow.bindings.get_for_update(command.binding_id)
    check_version(binding.version)
    released = release(binding, command.at)
    if released is None:
        return binding
    now = await business_now(released.test_clock_id, uow=uow, clock=clock)
    uow.bindings.save(released)
    uow.record("subject_binding.released", released.id, released.version)
    uow.outbox.append(events.for_released(released, tenant=uow.tenant, occurred_at=now), key=released.id)
    return released

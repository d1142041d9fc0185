"""Make a test clock, by which sandbox customers can live."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.clock import Clock
from libs.common.errors import Conflict
from libs.common.ids import new_id
from services.subscriptions.application import events
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.test_clock import SandboxOnly, TestClock


class TenantNotKnown(Conflict):
    """The tenant was never made, or the news of it has not arrived here yet."""

    code = "tenant_not_known"
    title = "The tenant is not known yet"


@dataclass(frozen=True, slots=True)
class CreateTestClock:
    name: str
    starts_at: datetime


async def create_test_clock(command: CreateTestClock, *, uow: UnitOfWork, clock: Clock) -> TestClock:
    """A clock that shows `starts_at` until it is moved.

    Emits: TestClockMoved, by which every service learns of it.
    Raises: SandboxOnly, TenantNotKnown.
    """
    mode = await uow.tenant_mode()
    if mode is None:
        raise TenantNotKnown(
            "this service has not heard of the tenant", remedy="Make the tenant first, or wait a moment."
        )
    if mode != "sandbox":
        raise SandboxOnly("a live tenant's customers live by the real time")
    system_now = clock.system_now()
    test_clock = TestClock(
        id=new_id("clk", system_now), name=command.name, now=command.starts_at, created_at=system_now
    )
    uow.test_clocks.add(test_clock)
    uow.record("test_clock.created", test_clock.id, test_clock.version)
    uow.outbox.append(events.for_clock(test_clock, tenant=uow.tenant), key=test_clock.id)
    return test_clock

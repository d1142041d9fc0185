"""A worker as a process of its own: it commits events, begins to publish them, and stops at a given point to be killed.

`python -m tests.support.paused_relay before|after <first number> <service's address> <bus' address>`
"""

from __future__ import annotations

import asyncio
import sys

from libs.common.access.tenancy import APP
from libs.common.messaging.embedded_bus import EmbeddedBus
from libs.common.messaging.relay import Relay
from libs.common.persistence.session import Database
from libs.common.persistence.unit_of_work import UnitsOfWork
from tests.support.small_service import NAME, TENANT_A, BusInBetween, SmallUnitOfWork, happened

EVENTS = 5
REACHED = "reached"


async def main(point: str, first: int, service_dsn: str, bus_dsn: str) -> None:
    bus = BusInBetween(EmbeddedBus(bus_dsn))

    async def pause() -> None:
        print(REACHED, flush=True)
        await asyncio.Event().wait()

    if point == "before":
        bus.before = pause
    else:
        bus.after = pause
    async with UnitsOfWork(Database(service_dsn), SmallUnitOfWork).open(TENANT_A, "test") as uow:
        for number in range(first, first + EVENTS):
            uow.outbox.append(happened("t1", number), key="t1")
    await Relay(service=NAME, dsn=service_dsn, role=APP, bus=bus).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]))

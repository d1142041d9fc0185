"""Where the parts of subscriptions are joined."""

from __future__ import annotations

from dataclasses import replace

from libs.common.http_client import PeerClient
from libs.common.runtime import Platform, Service, assemble, parts_of
from libs.common.web.limits import MEBIBYTE, Limits
from services.subscriptions.adapters import rows
from services.subscriptions.adapters.audit import audit_subscriptions
from services.subscriptions.adapters.clock_peers import HttpClockPeers
from services.subscriptions.adapters.event_progress import BusProgress
from services.subscriptions.adapters.mover_lock import MoverLock
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application.move_test_clock import ClockMover
from services.subscriptions.entrypoints import (
    routes_bindings,
    routes_customers,
    routes_subscriptions,
    routes_test_clocks,
    scheduler,
)
from services.subscriptions.entrypoints.clock_mover import ClockMoverLoop
from services.subscriptions.entrypoints.event_handlers import HANDLERS

NAME = "subscriptions"
DESCRIPTION = """Who agreed to what, until when: customers, subscriptions, and which subject counts for which item.

Test clocks, too: the time of a sandbox tenant's customers, which can be moved."""

PEER_TIMEOUT_S = 5.0


def build(platform: Platform) -> Service:
    """Subscriptions, on the parts of this process."""
    parts = parts_of(NAME, platform, SubscriptionsUnitOfWork)
    # The mover asks again by itself, so the client does not.
    client = PeerClient(platform.peers, timeout_s=PEER_TIMEOUT_S, retries_max=0)
    mover = ClockMover(
        units=parts.worker_units,
        peers=HttpClockPeers(client, key_path=platform.key_path, clock=platform.clock),
        progress=BusProgress(platform.bus),
        clock=platform.clock,
    )
    service = assemble(
        parts,
        title="Perennial subscriptions",
        description=DESCRIPTION,
        machinery=rows.shared,
        handlers=HANDLERS,
        routers=(
            routes_customers.router,
            routes_subscriptions.router,
            routes_bindings.router,
            routes_test_clocks.router,
        ),
        audit=audit_subscriptions,
        jobs=scheduler.jobs(parts.worker_units, platform.clock),
        due_tables=[rows.subscription],
        limits=Limits(body_bytes_max_by_prefix={"/v1/subject-bindings": 4 * MEBIBYTE}),
        worker_loops=(
            ClockMoverLoop(mover, MoverLock(parts.worker_database.dsn), stopping=platform.stopping).run,
        ),
    )

    async def close() -> None:
        await client.close()
        await service.close()

    return replace(service, close=close)

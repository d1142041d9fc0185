"""Where the parts of subscriptions are joined."""

from __future__ import annotations

from dataclasses import replace

from libs.common.http_client import PeerClient
from libs.common.runtime import Platform, Service, assemble, parts_of
from libs.common.web.limits import MEBIBYTE, Limits
from services.subscriptions.adapters import rows
from services.subscriptions.adapters.audit import LISTINGS, audit_subscriptions
from services.subscriptions.adapters.clock_peers import HttpClockPeers
from services.subscriptions.adapters.event_progress import BusProgress
from services.subscriptions.adapters.mover_lock import MoverLock
from services.subscriptions.adapters.preview_peers import HttpPreviewPeers
from services.subscriptions.adapters.revenue_rows import revenue_fill
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application.move_test_clock import ClockMover
from services.subscriptions.entrypoints import (
    routes_bindings,
    routes_changes,
    routes_customers,
    routes_entitlements,
    routes_pauses,
    routes_plan_moves,
    routes_previews,
    routes_revenue,
    routes_subscriptions,
    routes_terms,
    routes_test_clocks,
    routes_timeline,
    scheduler,
)
from services.subscriptions.entrypoints.clock_mover import ClockMoverLoop
from services.subscriptions.entrypoints.event_handlers import HANDLERS

NAME = "subscriptions"
DESCRIPTION = """Who agreed to what, until when: customers, subscriptions, and which subject counts for which item.

Test clocks, too: the time of a sandbox tenant's customers, which can be moved."""

PEER_TIMEOUT_S = 5.0
PREVIEW_TIMEOUT_S = 10.0


def build(platform: Platform) -> Service:
    """Subscriptions, on the parts of this process."""
    parts = parts_of(NAME, platform, SubscriptionsUnitOfWork)
    # The mover asks again by itself, so the client does not.
    client = PeerClient(platform.peers, timeout_s=PEER_TIMEOUT_S, retries_max=0)
    preview_client = PeerClient(platform.peers, timeout_s=PREVIEW_TIMEOUT_S)
    previews = HttpPreviewPeers(preview_client, key_path=platform.key_path, clock=platform.clock)
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
            routes_entitlements.router,  # asked most often, and so looked for first
            routes_customers.router,
            routes_subscriptions.router,
            routes_changes.router,
            routes_pauses.router,
            routes_plan_moves.router,
            routes_terms.router,
            routes_terms.declarations,
            routes_timeline.router,
            routes_previews.router,
            routes_revenue.router,
            routes_revenue.standings,
            routes_bindings.router,
            routes_test_clocks.router,
        ),
        audit=audit_subscriptions,
        listings=LISTINGS,
        jobs=scheduler.jobs(parts.worker_units, platform.clock),
        due_tables=[rows.subscription, rows.plan_move, revenue_fill],
        state={"preview_peers": previews},
        limits=Limits(
            body_bytes_max_by_prefix={"/v1/subject-bindings": 4 * MEBIBYTE},
            card_free_prefixes=("/v1/customers",),
        ),
        worker_loops=(
            ClockMoverLoop(mover, MoverLock(parts.worker_database.dsn), stopping=platform.stopping).run,
        ),
    )

    async def close() -> None:
        await client.close()
        await preview_client.close()
        await service.close()

    return replace(service, close=close)

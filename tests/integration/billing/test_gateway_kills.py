"""Workers that are really killed while they collect: each is a process of its own, and ends by SIGKILL at any moment."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from libs.common.clock import SystemClock
from libs.common.persistence.session import Database
from libs.common.persistence.unit_of_work import UnitsOfWork
from services.billing.adapters.gateway_accounts import GatewayAccounts
from services.billing.adapters.stripe_client import StripeClient
from services.billing.adapters.stripe_gateway import StripeGateway
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.entrypoints.outside_calls import CallOutside
from services.billing.entrypoints.payment_job import CollectPayments
from tests.integration.billing.test_gateway_faults import TOKENS, World, check
from tests.integration.billing.workbench import Workbench
from tests.support.stripe_stand_in import NEEDS_ACTION, Faults, StandIn, running_stand_in

INVOICES = 60
WORKERS = 3
KILLS = 40
CLAIM_S = 1.0
CALM_S = 90.0


async def collect_for_ever(dsn: str, url: str, accounts: str) -> None:
    """What a killed worker did: turns of the job, as fast as they go. It ends only from outside."""
    database = Database(dsn, pool_size=2)
    client = StripeClient(url, timeout_s=0.5)
    gateways = {"stripe": StripeGateway(GatewayAccounts(Path(accounts)), client)}
    collect = CallOutside(
        CollectPayments(gateways=gateways, retry_days=(), clock=SystemClock()),
        units=UnitsOfWork(database, BillingUnitOfWork),
        clock=SystemClock(),
        claim_s=CLAIM_S,
        calls_at_once=4,
    )
    while True:
        if not await collect.run_once():
            await asyncio.sleep(0.05)


async def start(world: World, accounts: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.billing.test_gateway_kills",
        world.bench.service.database.worker_dsn, world.stand_in.url, str(accounts),
        cwd=Path(__file__).parents[3], stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.long
async def test_workers_that_are_killed_take_money_once(own_bench: Workbench, tmp_path: Path) -> None:
    seed = int(os.environ.get("PERENNIAL_FAULT_SEED", "1"))
    chance = random.Random(seed)
    faults = Faults(chance, share=0.2)
    stand_in = StandIn(faults=faults, now=lambda: datetime.now(UTC).timestamp(), late_s=0.7)
    async with running_stand_in(stand_in), own_bench.admin() as admin:
        await admin.execute("DROP INDEX uq_payment_method_token")
        world = World(own_bench, stand_in, StripeClient(stand_in.url, timeout_s=1), admin, tmp_path)
        ids, _ = await world.bill(
            [chance.choice([t for t in TOKENS if t != NEEDS_ACTION]) for _ in range(INVOICES)]
        )
        await world.wake(ids)
        workers = [await start(world, tmp_path / "accounts.json") for _ in range(WORKERS)]
        try:
            for _ in range(KILLS):
                await asyncio.sleep(chance.uniform(0.2, 3.0))
                victim = workers.pop(chance.randrange(len(workers)))
                victim.send_signal(signal.SIGKILL)
                await victim.wait()
                workers.append(await start(world, tmp_path / "accounts.json"))
            faults.share = 0.0
            stand_in.forget_keys()
            async with asyncio.timeout(CALM_S):
                while await admin.fetchval("SELECT count(*) FROM payment_attempt WHERE due_at IS NOT NULL"):
                    stand_in.settle_all()
                    await admin.execute(  # an hour is long enough to wait for it here
                        "UPDATE payment_attempt SET due_at = now(), retry_at = least(retry_at, now() + interval '2 s')"
                        " WHERE due_at IS NOT NULL"
                    )
                    await asyncio.sleep(0.5)
        finally:
            for worker in workers:
                worker.kill()
                await worker.wait()
        await check(world, seed, ids)


if __name__ == "__main__":
    asyncio.run(collect_for_ever(*sys.argv[1:4]))

"""Transactions by the driver itself: what is kept, what is undone, and what a connection that goes away costs."""

from __future__ import annotations

from contextlib import suppress

import asyncpg
import pytest

from libs.common.persistence.base import raw, run
from libs.common.persistence.direct import DirectTransactions, NotCommitted
from libs.common.persistence.outage import is_outage
from tests.support.small_service import SmallService

TENANT, OTHER = "00000000-0000-4000-8000-00000000d1c7", "00000000-0000-4000-8000-00000000d1c8"


async def changes_of(service: SmallService, tenant: str) -> list[str]:
    async with service.units.open(tenant, "test") as uow:
        found = await (await raw(uow.connection)).fetch(
            "SELECT aggregate_id FROM change_log ORDER BY position"
        )
    return [row["aggregate_id"] for row in found]


async def test_many_transactions_on_one_connection_each_for_its_tenants(service: SmallService) -> None:
    transactions = service.worker.direct_transactions()
    pids = set()
    for number in range(3):
        async with service.units.open_directly(transactions) as uow:
            for tenant in (TENANT, OTHER):
                await uow.become(tenant, "test")
                uow.record("thing.made", f"{tenant[-1]}-{number}")
                await run(uow.connection, "SELECT 1")
                driver = await raw(uow.connection)
                pids.add(driver.get_server_pid())
                assert await driver.fetchval("SELECT current_setting('perennial.tenant')") == tenant
    await transactions.close()
    assert len(pids) == 1
    assert service.worker.connections_in_use() == 0
    assert await changes_of(service, TENANT) == ["7-0", "7-1", "7-2"]
    assert await changes_of(service, OTHER) == ["8-0", "8-1", "8-2"]


async def make(
    service: SmallService, transactions: DirectTransactions, name: str, then: str = "SELECT 1"
) -> None:
    async with service.units.open_directly(transactions) as uow:
        await uow.become(TENANT, "test")
        uow.record("thing.made", name)
        await uow.flush()
        await run(uow.connection, then)


async def pass_over_an_error(service: SmallService, transactions: DirectTransactions) -> None:
    async with service.units.open_directly(transactions) as uow:
        await uow.become(TENANT, "test")
        with suppress(asyncpg.DivisionByZeroError):
            await run(uow.connection, "SELECT 1 / 0")


async def lose_the_connection(service: SmallService, transactions: DirectTransactions) -> None:
    async with service.units.open_directly(transactions) as uow:
        await uow.become(TENANT, "test")
        uow.record("thing.made", "lost")
        (await raw(uow.connection)).terminate()


async def test_an_error_undoes_all_and_the_connection_goes_on(service: SmallService) -> None:
    transactions = service.worker.direct_transactions()
    with pytest.raises(asyncpg.DivisionByZeroError):
        await make(service, transactions, "lost", then="SELECT 1 / 0")
    with pytest.raises(NotCommitted):
        await pass_over_an_error(service, transactions)
    await make(service, transactions, "kept")
    await transactions.close()
    assert await changes_of(service, TENANT) == ["kept"]


async def test_a_connection_that_goes_away_is_replaced(service: SmallService) -> None:
    transactions = service.worker.direct_transactions()
    with pytest.raises(asyncpg.InterfaceError) as lost:
        await lose_the_connection(service, transactions)
    assert is_outage(lost.value)
    await make(service, transactions, "it's kept")
    await transactions.close()
    assert service.worker.connections_in_use() == 0
    assert await changes_of(service, TENANT) == ["it's kept"]

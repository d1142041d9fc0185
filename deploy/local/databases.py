"""The databases of the one process: made, migrated, and where each login finds them."""

from __future__ import annotations

import asyncio

import asyncpg

from deploy.local.settings import LocalSettings
from libs.common.access.tenancy import API_LOGIN, AUDIT, WORKER_LOGIN
from libs.common.contracts import SERVICES
from libs.common.messaging.bus_migrations import install
from libs.common.persistence.embedded import EmbeddedPostgres
from libs.common.persistence.migrate import create_roles_and_databases, database_url, migrate
from libs.common.persistence.session import asyncpg_dsn

BUS_DATABASE = "perennial_bus"


def database_name(service: str) -> str:
    return f"perennial_{service}"


class Databases:
    """Either the embedded cluster, started and stopped with us, or a server at `PERENNIAL_DATABASE_URL`."""

    def __init__(self, settings: LocalSettings) -> None:
        self._server: EmbeddedPostgres | None = None
        self._url = settings.database_url
        if not self._url:
            self._server = EmbeddedPostgres(settings.var_folder / "postgres", fsync=settings.database_fsync)

    def start(self) -> None:
        if self._server is not None:
            self._server.start()
            self._url = self._server.dsn()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()

    async def migrate(self) -> None:
        """Bring all five databases to their newest version. A repeat finds nothing to do."""
        names = [*(database_name(service) for service in SERVICES), BUS_DATABASE]
        await create_roles_and_databases(self._url, names)
        for service in SERVICES:
            await asyncio.to_thread(self._migrate_one, service)
        connection = await asyncpg.connect(asyncpg_dsn(self.bus_dsn))
        try:
            await install(connection)
        finally:
            await connection.close()

    def _migrate_one(self, service: str) -> None:
        """On a thread and a loop of its own, since Alembic keeps its state in globals and blocks."""
        asyncio.run(migrate(service, database_url(self._url, database_name(service))))

    @property
    def bus_dsn(self) -> str:
        return database_url(self._url, BUS_DATABASE)

    def api_dsn(self, service: str) -> str:
        return self._login(service, API_LOGIN)

    def worker_dsn(self, service: str) -> str:
        return self._login(service, WORKER_LOGIN)

    def audit_dsn(self, service: str) -> str:
        return self._login(service, AUDIT)

    def _login(self, service: str, user: str) -> str:
        # The embedded server trusts whoever can reach its private socket; elsewhere the server decides.
        return database_url(self._url, database_name(service), user)

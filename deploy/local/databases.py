"""The databases of the one process: made, migrated, and where each login finds them."""

from __future__ import annotations

from deploy.local.settings import LocalSettings
from deploy.migrate import make_databases, migrate_services
from libs.common.access.tenancy import API_LOGIN, AUDIT, WORKER_LOGIN
from libs.common.contracts import SERVICES
from libs.common.persistence.addresses import database_url
from libs.common.persistence.embedded import EmbeddedPostgres
from libs.common.serving.addresses import BUS_DATABASE, database_name, login_dsn


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
        servers = dict.fromkeys(SERVICES, self._url)
        await make_databases(servers, bus_server=self._url, login_password=None)
        await migrate_services(servers, say=lambda told: None)

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
        return login_dsn(self._url, database_name(service), user)

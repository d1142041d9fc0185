"""`python -m deploy.migrate`: roles, databases, tables and topics, brought to their newest version.

Run once before the processes start, and again at each upgrade. It alone holds the password of a login that may
make roles and databases. A repeat finds nothing to do; two at once take turns.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import asyncpg
from sqlalchemy.engine import make_url

from libs.common.access.tenancy import API_LOGIN, WORKER_LOGIN
from libs.common.contracts import SERVICES
from libs.common.contracts.topics import TOPICS
from libs.common.errors import ServiceError
from libs.common.messaging.bus import Bus
from libs.common.messaging.bus_migrations import install
from libs.common.messaging.embedded_bus import EmbeddedBus
from libs.common.persistence.addresses import database_url
from libs.common.persistence.embedded import SUPERUSER
from libs.common.persistence.migrate import create_roles_and_databases, is_migrated, migrate
from libs.common.persistence.outage import is_outage
from libs.common.persistence.session import asyncpg_dsn
from libs.common.serving.addresses import BUS_DATABASE, database_name
from libs.common.serving.settings import with_own_server
from libs.common.settings import Settings, secret, setting

LOOK_EVERY_S = 0.25

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateSettings(Settings):
    """`database_url` names the server, and the login that may make roles and databases ("postgres" if none).

    `database_password` becomes the password of the processes' logins. `migrate_wait_s` is how long a server or a
    broker that is not there yet is waited for.
    """

    PREFIX: ClassVar[str] = "PERENNIAL_"

    database_url: str = setting()
    database_admin_password: str = secret()
    database_password: str = secret()
    kafka_bootstrap: str = setting("")
    migrate_wait_s: float = setting(120.0, minimum=0, maximum=3600)

    def admin_url(self) -> str:
        url = make_url(self.database_url)
        named = url.set(
            database=url.database or "postgres",
            username=url.username or SUPERUSER,
            password=self.database_admin_password,
        )
        return named.render_as_string(hide_password=False)


class NotThere(ServiceError):
    """What is to be migrated cannot be reached."""

    code = "not_there"
    title = "What is to be migrated cannot be reached"


async def make_databases(
    servers: Mapping[str, str], *, bus_server: str | None, login_password: str | None
) -> None:
    """Make the roles, the databases, and the tables of the embedded bus, if it is used.

    `servers`: an administrator's address of each service's server, often the same. `bus_server`: where the
    embedded bus has its tables.
    """
    names: dict[str, list[str]] = {}
    for service in SERVICES:
        names.setdefault(servers[service], []).append(database_name(service))
    if bus_server is not None:
        names.setdefault(bus_server, []).append(BUS_DATABASE)
    for server, databases in names.items():
        await create_roles_and_databases(server, databases, login_password=login_password)
    if bus_server is not None:
        await _install_bus(database_url(bus_server, BUS_DATABASE))


async def migrate_services(servers: Mapping[str, str], *, say: Say) -> None:
    """Bring each service's tables to their newest version."""
    addresses = {service: database_url(servers[service], database_name(service)) for service in SERVICES}
    found = await asyncio.gather(*(is_migrated(service, dsn) for service, dsn in addresses.items()))
    for (service, dsn), is_done in zip(addresses.items(), found, strict=True):
        say(f"tables of {service}")
        if not is_done:
            await asyncio.to_thread(_migrate_one, service, dsn)


def _migrate_one(service: str, dsn: str) -> None:
    """On a thread and a loop of its own, since Alembic keeps its state in globals and blocks."""
    asyncio.run(migrate(service, dsn))


async def _install_bus(dsn: str) -> None:
    """Its tables, and what the processes may do with them: it is machinery, without tenants."""
    connection = await asyncpg.connect(asyncpg_dsn(dsn))
    try:
        await install(connection)
        async with connection.transaction():
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('perennial_bus_rights', 0))"
            )
            for login in (API_LOGIN, WORKER_LOGIN):
                await connection.execute(f"GRANT USAGE ON SCHEMA public TO {login}")
                await connection.execute(
                    f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {login}"
                )
    finally:
        await connection.close()


async def run(environ: Mapping[str, str], *, say: Say) -> None:
    """Raises: InvalidSettings, NotThere."""
    settings = MigrateSettings.from_environment(environ)
    own = {name: MigrateSettings.from_environment(with_own_server(name, environ)) for name in SERVICES}
    servers = {service: own[service].admin_url() for service in SERVICES}
    bus_server = None if settings.kafka_bootstrap else settings.admin_url()
    give_up_at = time.monotonic() + settings.migrate_wait_s

    def make() -> Awaitable[None]:
        return make_databases(servers, bus_server=bus_server, login_password=settings.database_password)

    async def in_time(work: Callable[[], Awaitable[None]], what: str, where: str) -> None:
        await _once_there(work, what, where, give_up_at=give_up_at)

    say("roles and databases")
    await in_time(make, "PostgreSQL", settings.database_url)
    say("topics")  # before the tables, for which the workers wait: these then find their topics
    bus = _bus_of(settings)
    try:
        await in_time(lambda: bus.ensure_topics(TOPICS), "the bus", settings.kafka_bootstrap)
    finally:
        await bus.close()
    await in_time(lambda: migrate_services(servers, say=say), "PostgreSQL", settings.database_url)
    say("all is in place")


def _bus_of(settings: MigrateSettings) -> Bus:
    if settings.kafka_bootstrap:
        from libs.common.messaging.kafka_bus import KafkaBus

        return KafkaBus(settings.kafka_bootstrap, client_id="perennial-migrate")
    return EmbeddedBus(database_url(settings.admin_url(), BUS_DATABASE))


async def _once_there(
    work: Callable[[], Awaitable[None]], what: str, where: str, *, give_up_at: float
) -> None:
    """Do the work; an outage is waited out, and the work done anew. Raises: NotThere."""
    while True:
        try:
            await work()
            return
        except Exception as error:
            if not is_outage(error):
                raise
            if time.monotonic() > give_up_at:
                address = make_url(where).render_as_string() if "://" in where else where
                raise NotThere(
                    f"{what} does not answer at {address}",
                    remedy="Start it, or correct the address; then run this again.",
                    reason=f"{type(error).__name__}: {error}",
                ) from error
            await asyncio.sleep(LOOK_EVERY_S)


def main() -> int:
    """Exit code 1: something is missing or wrong, and was named."""

    def say(told: str) -> None:
        print(f"migrate: {told}", flush=True)

    try:
        asyncio.run(run(os.environ, say=say))
    except (ServiceError, asyncpg.PostgresError, ValueError) as error:
        print(f"migrate: {error}", file=sys.stderr)
        if isinstance(error, ServiceError) and error.remedy:
            print(f"         {error.remedy}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

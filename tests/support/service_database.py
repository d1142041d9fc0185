"""A service's database for a test: migrated once a run, then copied."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from libs.common.access.tenancy import API_LOGIN, AUDIT, WORKER_LOGIN
from libs.common.persistence.migrate import create_roles_and_databases, migrate
from tests.support.postgres import PostgresForTests

_templates: WeakKeyDictionary[PostgresForTests, dict[str, str]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class ServiceDatabase:
    """Addresses of one database, for each login."""

    name: str
    admin_dsn: str
    api_dsn: str
    worker_dsn: str
    audit_dsn: str


@asynccontextmanager
async def service_database(postgres: PostgresForTests, service: str) -> AsyncIterator[ServiceDatabase]:
    """A migrated database of this service, dropped in the end."""
    name = await postgres.create_database(service, template=await _template(postgres, service))
    dsn = postgres.server.dsn
    try:
        yield ServiceDatabase(
            name=name,
            admin_dsn=dsn(name),
            api_dsn=dsn(name, API_LOGIN),
            worker_dsn=dsn(name, WORKER_LOGIN),
            audit_dsn=dsn(name, AUDIT),
        )
    finally:
        await postgres.drop_database(name)


async def _template(postgres: PostgresForTests, service: str) -> str:
    known = _templates.setdefault(postgres, {})
    if service not in known:
        name = f"template_{service}"
        await create_roles_and_databases(postgres.server.dsn(), [name])
        await migrate(service, postgres.server.dsn(name))
        known[service] = name
    return known[service]

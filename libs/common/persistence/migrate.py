"""Databases, roles and tables of the services: made and moved to the newest version by Alembic.

Alembic is imported when there is something to move, which at most starts there is not: it takes longer than the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy import Connection, MetaData, pool, text

from libs.common.access.tenancy import API_LOGIN, AUDIT, MIGRATOR, WORKER_LOGIN, create_roles, grant_schema
from libs.common.persistence.scram import scram_verifier
from libs.common.persistence.session import asyncpg_dsn, make_engine

if TYPE_CHECKING:
    from alembic.config import Config

ROOT = Path(__file__).resolve().parents[3]
LOCK = "hashtextextended('perennial_migrate', 0)"


async def create_roles_and_databases(
    admin_dsn: str, databases: list[str], *, login_password: str | None = None
) -> None:
    """Make what is missing. `admin_dsn` logs in as a superuser, or as a role that may make roles and databases.

    `login_password` is set for the logins of the processes: always, since that is how it is changed. None leaves
    them as they are, for a server that trusts whoever reaches it.
    """
    admin = await asyncpg.connect(asyncpg_dsn(admin_dsn))
    try:
        await admin.execute(f"SELECT pg_advisory_lock({LOCK})")  # gone with the connection
        await admin.execute(";\n".join(create_roles()))
        if login_password is not None:
            for login in (API_LOGIN, WORKER_LOGIN, AUDIT):
                # A verifier: the password itself must not come by the server's log.
                await admin.execute(f"ALTER ROLE {login} PASSWORD '{scram_verifier(login_password)}'")
        present = {row["datname"] for row in await admin.fetch("SELECT datname FROM pg_database")}
        for database in databases:
            if database not in present:
                await admin.execute(f'CREATE DATABASE "{database}" OWNER {MIGRATOR}')
    finally:
        await admin.close()


async def migrate(service: str, database_dsn: str, *, revision: str = "head") -> None:
    """Bring one service's database to its newest version, or to `revision`.

    The login must be able to become the migrator.

    All in one transaction; a second process that wants the same waits, and then finds nothing left to do.
    """
    if revision == "head" and await is_migrated(service, database_dsn):
        return
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_folder(service)).replace("%", "%%"))
    engine = make_engine(database_dsn, poolclass=pool.NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
            for statement in grant_schema():
                await connection.execute(text(statement))
            await connection.execute(text(f"SET LOCAL ROLE {MIGRATOR}"))
            await connection.run_sync(_upgrade, config, revision)
    finally:
        await engine.dispose()


async def is_migrated(service: str, database_dsn: str) -> bool:
    """Whether its tables are of the newest version; what roles may do with the schema is then granted again as well."""
    newest = newest_version(service)
    connection = await asyncpg.connect(asyncpg_dsn(database_dsn))
    try:
        async with connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
            if await connection.fetchval("SELECT to_regclass('public.alembic_version')") is None:
                return False
            present = await connection.fetch("SELECT version_num FROM public.alembic_version")
            if [row["version_num"] for row in present] != [newest]:
                return False
            await connection.execute(";\n".join(grant_schema()))
            return True
    finally:
        await connection.close()


def newest_version(service: str) -> str:
    """By the names of the files, which begin with it: to ask Alembic takes longer than all else."""
    return max(file.name for file in (_folder(service) / "versions").glob("*.py")).partition("_")[0]


def _folder(service: str) -> Path:
    return ROOT / "services" / service / "migrations"


def _upgrade(connection: Connection, config: Config, revision: str) -> None:
    from alembic import command

    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def run_environment(metadata: MetaData) -> None:
    """What each service's `migrations/env.py` calls."""
    from alembic import context

    context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()

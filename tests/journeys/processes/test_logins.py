"""Processes log in with a password, over TLS where the address asks for it, and never as the administrator."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import psutil
import pytest
from sqlalchemy import text

from libs.common.access.tenancy import API_LOGIN, APP, AUDIT, WORKER_LOGIN
from libs.common.persistence.session import Database, asyncpg_dsn
from libs.common.serving.addresses import database_name
from tests.support.fleet import PROCESSES, Fleet


@pytest.mark.parametrize("login", [API_LOGIN, WORKER_LOGIN, AUDIT])
async def test_no_login_without_its_password(processes: Fleet, login: str) -> None:
    url = asyncpg_dsn(processes.database_url(database_name("billing"), login))
    connection = await asyncpg.connect(url)
    try:
        may = await connection.fetchrow(
            "SELECT rolsuper, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        )
        assert not any(may)
    finally:
        await connection.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url, password="another")


async def test_options_of_the_address_hold(processes: Fleet) -> None:
    """sslmode among them: this server has no TLS, so whoever insists on it is refused."""
    url = processes.database_url(database_name("billing"), API_LOGIN)
    for mode in ("disable", "prefer"):
        database = Database(f"{url}?sslmode={mode}")
        async with database.transaction(APP) as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar() == 1
        await database.close()
    insisting = Database(f"{url}?sslmode=require")
    with pytest.raises(ConnectionError, match="SSL"):
        async with insisting.transaction(APP):
            pass
    await insisting.close()


def test_no_process_has_the_administrators_password(processes: Fleet) -> None:
    held = processes.folder.parent / "admin" / "database-password"
    password = held.read_text(encoding="ascii").strip()
    for name in PROCESSES:
        environment = psutil.Process(processes.pid(name)).environ()
        assert not [key for key in environment if "ADMIN" in key], name
        assert password not in environment.values(), name
        assert str(held) not in environment.values(), name
        assert password not in Path(processes.log(name)).read_text(encoding="utf-8"), name

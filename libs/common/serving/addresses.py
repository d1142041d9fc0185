"""What the databases of a deployment are called, and where each login finds them."""

from __future__ import annotations

from libs.common.persistence.addresses import database_url

BUS_DATABASE = "perennial_bus"


def database_name(service: str) -> str:
    return f"perennial_{service}"


def login_dsn(server_url: str, database: str, login: str, password: str | None = None) -> str:
    """One login's address of one database. Without a password, the server decides whom it trusts."""
    return database_url(server_url, database, login, password)

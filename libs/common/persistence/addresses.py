"""Addresses of databases, as text."""

from __future__ import annotations

from sqlalchemy.engine import make_url


def database_url(admin_dsn: str, database: str, user: str | None = None, password: str | None = None) -> str:
    """The address of one database on the same server, for one login. `postgres://…` and the like are read too."""
    url = make_url(admin_dsn).set(drivername="postgresql+asyncpg", database=database)
    if user is not None:
        url = url.set(username=user, password=password)
    return url.render_as_string(hide_password=False)

"""The tenant of a transaction, the database roles, and the row policies that keep tenants apart.

Roles (one set for the whole cluster):

- `perennial_app` does all work; row policies apply to it.
- `perennial_finder` may find and lock the due rows of all tenants, run what concerns all of them at once, and read
  or change nothing else.
- `perennial_audit` reads all and writes nothing.
- `perennial_migrator` owns the tables and bypasses the policies.
- `perennial_api` and `perennial_worker` are what processes log in as. Neither inherits: an API process may
  become *app* only, a worker *app* or *finder*.
"""

from __future__ import annotations

from collections.abc import Iterable

APP, FINDER, AUDIT, MIGRATOR = "perennial_app", "perennial_finder", "perennial_audit", "perennial_migrator"
API_LOGIN, WORKER_LOGIN = "perennial_api", "perennial_worker"

# After a commit the setting is an empty string and not null, hence the nullif: no tenant set means no rows.
CURRENT_TENANT = "(SELECT nullif(current_setting('perennial.tenant', true), '')::uuid)"

ENTER = "SELECT set_config('role', :role, true), set_config('perennial.tenant', :tenant, true)"


def create_roles() -> list[str]:
    """Statements that make the roles. Safe to repeat; run by a superuser or a role with CREATEROLE."""
    wanted = {
        APP: "NOLOGIN",
        FINDER: "NOLOGIN",
        AUDIT: "LOGIN",
        MIGRATOR: "NOLOGIN BYPASSRLS",
        API_LOGIN: "LOGIN NOINHERIT",
        WORKER_LOGIN: "LOGIN NOINHERIT",
    }
    made = [
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') "
        f"THEN CREATE ROLE {role} {options}; END IF; END $$"
        for role, options in wanted.items()
    ]
    grants = [f"GRANT {APP} TO {API_LOGIN}", f"GRANT {APP}, {FINDER} TO {WORKER_LOGIN}"]
    return made + grants


def grant_schema() -> list[str]:
    """What every database of ours allows its roles before any table is made."""
    return [
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        f"GRANT USAGE ON SCHEMA public TO {APP}, {FINDER}, {AUDIT}",
        f"GRANT ALL ON SCHEMA public TO {MIGRATOR}",
    ]


def protect(table: str, *, writes: str = "SELECT, INSERT, UPDATE, DELETE") -> list[str]:
    """Row policies of a tenant's table: the tenant of the transaction for *app*, everything for *audit*."""
    return [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY tenant_rows ON {table} TO {APP} "
        f"USING (tenant = {CURRENT_TENANT}) WITH CHECK (tenant = {CURRENT_TENANT})",
        f"CREATE POLICY audit_rows ON {table} FOR SELECT TO {AUDIT} USING (true)",
        f"GRANT {writes} ON {table} TO {APP}",
        f"GRANT SELECT ON {table} TO {AUDIT}",
    ]


def let_finder_claim(table: str, *, extra_columns: Iterable[str] = ()) -> list[str]:
    """The *finder* may see which rows are due, and lock them; the UPDATE right is there for the lock only."""
    columns = ", ".join(("tenant", "id", "due_at", "clock_id", "retry_at", *extra_columns))
    return [
        f"CREATE POLICY due_rows ON {table} FOR SELECT TO {FINDER} USING (due_at IS NOT NULL)",
        f"CREATE POLICY due_locks ON {table} FOR UPDATE TO {FINDER} "
        "USING (due_at IS NOT NULL) WITH CHECK (false)",
        f"GRANT SELECT ({columns}), UPDATE (attempts) ON {table} TO {FINDER}",
        f"CREATE INDEX ix_{table}_due ON {table} (due_at, id) WHERE due_at IS NOT NULL AND clock_id IS NULL",
        f"CREATE INDEX ix_{table}_clock_due ON {table} (clock_id, due_at) "
        "WHERE due_at IS NOT NULL AND clock_id IS NOT NULL",
    ]


def open_to_app(table: str, *, rights: str = "SELECT, INSERT, UPDATE, DELETE") -> list[str]:
    """Machinery without a tenant policy (outbox, inbox, dead letters): no route reaches it but the operators'."""
    return [f"GRANT {rights} ON {table} TO {APP}", f"GRANT SELECT ON {table} TO {AUDIT}"]

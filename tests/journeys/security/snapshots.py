"""All rows of one tenant, in all four databases, as one value each: to see that nothing of it changed."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.all_services import AllServices

# What the machinery does in its own time, whoever asks.
_MACHINERY = ("outbox", "inbox", "message_failure", "idempotency_key")
# Told again when something was used, and noted whenever retention was looked after: within seconds, by no request.
_IN_ITS_OWN_TIME = ("usage_balance", "usage_retention")

_TABLES = """
    SELECT c.relname FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    ORDER BY c.relname
"""


async def rows_of(everything: AllServices, tenant: str) -> Mapping[str, tuple[int, str]]:
    """Table → how many rows, and a digest of them."""
    found = {}
    for service in everything.services:
        async with everything.admin(service) as admin:
            for record in await admin.fetch(_TABLES):
                table = record["relname"]
                if table in _MACHINERY or table in _IN_ITS_OWN_TIME:
                    continue
                row = await admin.fetchrow(
                    f"SELECT count(*) AS rows, md5(coalesce(string_agg(md5(t::text), '' ORDER BY "
                    f"md5(t::text)), '')) AS digest FROM public.\"{table}\" t WHERE tenant::text = $1",
                    tenant,
                )
                found[f"{service}.{table}"] = (row["rows"], row["digest"])
    return found


def changed(before: Mapping[str, tuple[int, str]], after: Mapping[str, tuple[int, str]]) -> list[str]:
    """Which tables differ, and by how many rows."""
    return [
        f"{table}: {before[table][0]} → {rows} rows"
        for table, (rows, digest) in after.items()
        if before[table] != (rows, digest)
    ]

"""Which messages a handler group has already dealt with: claim and effect commit or vanish together."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.persistence.base import bulk_insert


async def claim(
    connection: AsyncConnection, inbox: Table, *, handler: str, message_ids: Sequence[str]
) -> set[str]:
    """Claim the messages for this transaction; those returned are new, the others were handled before.

    Ids are inserted in sorted order, so that two consumers with the same messages wait and do not deadlock.
    """
    rows = [{"handler": handler, "message_id": message_id} for message_id in sorted(set(message_ids))]
    new = await bulk_insert(connection, inbox, rows, tail="ON CONFLICT DO NOTHING RETURNING message_id")
    return {row["message_id"] for row in new}

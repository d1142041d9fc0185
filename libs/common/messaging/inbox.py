"""Which messages a handler group has already dealt with: claim and effect commit or vanish together."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.persistence.base import bulk_insert

ID_LENGTH_MAX = 200

_UNLESS_KEPT = """
    WHERE NOT EXISTS (
        SELECT FROM message_failure kept
        WHERE kept.handler = given.handler AND kept.message_id = given.message_id
    )
"""


def can_be_claimed(message_id: str) -> bool:
    """Whether an id may stand in our tables: neither empty nor endless, and nothing in it that is no text."""
    return 0 < len(message_id) <= ID_LENGTH_MAX and message_id.isprintable()


async def claim(
    connection: AsyncConnection,
    inbox: Table,
    *,
    handler: str,
    message_ids: Sequence[str],
    even_if_kept: bool = False,
) -> set[str]:
    """Claim the messages for this transaction; those returned are new, the others were handled before.

    What is kept among the failures is left to whoever tries it again (`even_if_kept`): delivered a second time, it
    neither costs an attempt nor gets ahead of its pause.
    Ids are inserted in sorted order, so that two consumers with the same messages wait and do not deadlock.
    """
    rows = [{"handler": handler, "message_id": message_id} for message_id in sorted(set(message_ids))]
    where = "" if even_if_kept else _UNLESS_KEPT
    tail = f"{where} ON CONFLICT DO NOTHING RETURNING message_id"
    return {row["message_id"] for row in await bulk_insert(connection, inbox, rows, tail=tail)}

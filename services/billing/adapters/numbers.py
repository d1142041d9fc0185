"""Numbers without a gap: one counter for each seller, series and head, moved in the transaction that issues documents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from libs.common.persistence.base import bulk_insert
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.domain.document_number import document_number


@dataclass(frozen=True, slots=True)
class NumberWanted:
    """A document that is to be numbered; of those with the same `head`, numbers follow `place`.

    `series` is the main one or a test clock's, for documents of every kind; what `head` is, says `number_head`.
    """

    id: str
    seller_id: str
    series: str
    head: str
    place: tuple[Any, ...]


async def take_numbers(wanted: Iterable[NumberWanted], *, uow: UnitOfWork) -> dict[str, str]:
    """One statement takes all numbers of a batch, counters in order. Call it as the last thing before the commit."""
    by_counter: dict[tuple[str, str, str], list[NumberWanted]] = defaultdict(list)
    for document in sorted(wanted, key=lambda document: document.place):
        by_counter[document.seller_id, document.series, document.head].append(document)
    counters = [
        {
            "tenant": uow.tenant,
            "seller_id": key[0],
            "series": key[1],
            "head": key[2],
            "next": len(by_counter[key]) + 1,
        }
        for key in sorted(by_counter)
    ]
    taken = await bulk_insert(
        uow.connection,
        rows.number_series,
        counters,
        tail="ON CONFLICT (seller_id, series, head) DO UPDATE "
        "SET next = number_series.next + excluded.next - 1 RETURNING seller_id, series, head, next",
    )
    numbers: dict[str, str] = {}
    for row in taken:
        batch = by_counter[row["seller_id"], row["series"], row["head"]]
        for ordinal, document in enumerate(batch, start=row["next"] - len(batch)):
            numbers[document.id] = document_number(document.head, ordinal)
    return numbers

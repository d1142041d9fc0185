"""The ledger: only ever added to."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import RowMapping, select

from libs.common.money import Money
from libs.common.persistence.base import bulk_insert, is_among
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.domain.ledger_entry import LedgerEntry, Posting


class LedgerRepository:
    """Entries are only ever added, each balanced set in one statement."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._posted: list[Posting] = []
        self._accrues: bool | None = None  # whether anything was ever accrued: of most tenants, nothing

    def reset(self) -> None:
        self._accrues = None

    def post(self, postings: Iterable[Posting]) -> None:
        self._posted += postings

    async def of_invoice(self, invoice_id: str) -> list[Posting]:
        """Every set that is about the document, those dated ahead too."""
        table = rows.ledger_entry
        mine = (table.c.tenant == self._uow.tenant) & (table.c.invoice_id == invoice_id)
        stored = select(table).where(mine)
        written = postings_from((await self._uow.connection.execute(stored)).mappings())
        return written + [posting for posting in self._posted if posting.invoice_id == invoice_id]

    async def accruals_of(self, charge_ids: Iterable[str], *, is_first: bool = False) -> dict[str, Money]:
        """What is accrued of these charges and not taken back; `is_first`: all that was ever accrued of them."""
        wanted = set(charge_ids)
        found = [p for p in self._posted if p.source_id in wanted and p.key.startswith("charge:")]
        if wanted and await self._has_accruals():
            table = rows.ledger_entry
            keys = [f"charge:{id}:{fact}" for id in wanted for fact in ("accrued", "accrual_reversed")]
            stored = select(table).where(is_among(table.c.posting_key, keys))
            found += postings_from((await self._uow.connection.execute(stored)).mappings())
        accrued: dict[str, Money] = {}
        for posting in found:
            if is_first and not posting.key.endswith(":accrued"):
                continue
            for entry in posting.entries:
                if entry.account == "contract_asset":
                    assert posting.source_id is not None, "an accrual is of a charge"
                    before = accrued.get(posting.source_id, Money.zero(entry.amount.currency))
                    accrued[posting.source_id] = before + entry.amount
        return {id: amount for id, amount in accrued.items() if amount.amount_minor}

    async def _has_accruals(self) -> bool:
        if self._accrues is None:
            table = rows.ledger_entry
            mine = (table.c.tenant == self._uow.tenant) & (table.c.account == "contract_asset")
            any_of_them = select(table.c.posting_key).where(mine).limit(1)
            self._accrues = (await self._uow.connection.execute(any_of_them)).first() is not None
        return self._accrues

    async def flush(self) -> None:
        posted, self._posted = self._posted, []
        tenant = self._uow.tenant
        await bulk_insert(
            self._uow.connection,
            rows.ledger_entry,
            [
                {
                    "tenant": tenant,
                    "posting_key": posting.key,
                    "ordinal": ordinal,
                    "account": entry.account,
                    "amount_minor": entry.amount.amount_minor,
                    "currency": entry.amount.currency,
                    "posted_at": posting.posted_at,
                    "posted_on": posting.posted_on,
                    "invoice_id": posting.invoice_id,
                    "attempt_id": posting.attempt_id,
                    "balance_entry_id": posting.balance_entry_id,
                    "source_id": posting.source_id,
                }
                for posting in posted
                for ordinal, entry in enumerate(posting.entries)
            ],
        )


def postings_from(stored: Iterable[RowMapping]) -> list[Posting]:
    """The sets that these rows are, in whatever order they come."""
    sets: dict[str, list[RowMapping]] = {}
    for row in sorted(stored, key=lambda row: (row["posting_key"], row["ordinal"])):
        sets.setdefault(row["posting_key"], []).append(row)
    return [_posting_from(key, entries) for key, entries in sets.items()]


def _posting_from(key: str, entries: list[RowMapping]) -> Posting:
    first = entries[0]
    return Posting(
        key=key,
        posted_at=first["posted_at"],
        posted_on=first["posted_on"],
        entries=tuple(
            LedgerEntry(row["account"], Money(row["amount_minor"], row["currency"])) for row in entries
        ),
        invoice_id=first["invoice_id"],
        attempt_id=first["attempt_id"],
        balance_entry_id=first["balance_entry_id"],
        source_id=first["source_id"],
    )

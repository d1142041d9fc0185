"""Billing runs, their documents and a tenant's settings for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping, func, select, update

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import bulk_insert, bulk_update, is_among, raw
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import billing_run_rows as rows
from services.billing.domain.billing_run import (
    BillingRun,
    BillingRunNotFound,
    DocumentState,
    LimitExceeded,
    RunDocument,
    RunSettings,
    RunState,
    RunTotal,
)

# What may be finalized up to an instant: drafts that fall due by then, and boundaries that wait for a run. A draft
# that another run holds is that one's. Rows are locked in id order, as everybody locks them.
_GATHER = """
    WITH chosen AS (
        SELECT id, customer_id, currency FROM invoice i
        WHERE i.tenant = $1 AND i.status = 'draft' AND NOT i.awaits_window
          AND (i.draft_until IS NULL OR i.draft_until <= $2)
          AND ((i.held_for = 'billing_run' AND i.boundary_at <= $2) OR (i.held_for IS NULL AND i.due_at <= $2))
          AND NOT EXISTS (
              SELECT FROM billing_run_document d
              WHERE d.invoice_id = i.id AND d.tenant = i.tenant AND (d.run_id = $3 OR d.holds)
          )
        ORDER BY i.id LIMIT $7 {lock}
    )
    INSERT INTO billing_run_document
        (tenant, id, run_id, invoice_id, customer_id, currency, is_dry, holds, state, created_at, due_at)
    SELECT $1, 'brd_' || substr($3, 5) || substr(id, 5), $3, id, customer_id, currency,
           $4, NOT $4, 'counting', $5, $6
    FROM chosen
    ON CONFLICT DO NOTHING
    RETURNING invoice_id
"""
# From here on the scheduler leaves them to the run.
_HOLD = """
    UPDATE invoice SET held_for = 'billing_run', due_at = NULL, version = version + 1
    WHERE tenant = $1 AND id = ANY($2::text[]) AND status = 'draft'
"""
_LOCK_SETTINGS = "SELECT pg_advisory_xact_lock(hashtextextended('billing_run_settings ' || $1, 0))"


class BillingRunRepository(Repository[BillingRun]):
    """Runs, and with them their documents: those are read in batches, and written as they come out."""

    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.billing_run,
            to_row=_run_to_row,
            from_row=_run_from_row,
            not_found=lambda id: BillingRunNotFound("no billing run has this id", id=id),
        )
        self._settings: RunSettings | None = None
        self._kept: RunSettings | None = None
        self._documents: dict[str, RunDocument] = {}
        self._touched: dict[str, datetime] = {}

    def reset(self) -> None:
        super().reset()
        self._settings = None

    # Settings

    async def settings(self, *, for_update: bool = False) -> RunSettings:
        """As the tenant said last; read once in a unit of work."""
        if self._settings is None or for_update:
            wanted = select(rows.billing_run_settings).where(
                rows.billing_run_settings.c.tenant == self.uow.tenant
            )
            if for_update:
                await (await raw(self.uow.connection)).execute(_LOCK_SETTINGS, self.uow.tenant)
            row = (await self.uow.connection.execute(wanted)).mappings().first()
            self._settings = RunSettings() if row is None else _settings_from_row(row)
        return self._settings

    def keep_settings(self, settings: RunSettings) -> None:
        """They were locked."""
        self._settings = self._kept = settings

    # Documents

    async def gather(self, run: BillingRun, *, most: int, now: datetime) -> int:
        """Put the next documents that are due on the run; returns how many. A dry run holds none of them."""
        driver = await raw(self.uow.connection)
        found = await driver.fetch(
            _GATHER.format(lock="" if run.is_dry else "FOR UPDATE"),
            self.uow.tenant,
            run.until,
            run.id,
            run.is_dry,
            run.created_at,
            now,
            most,
        )
        ids = [row["invoice_id"] for row in found]
        if ids and not run.is_dry:
            await driver.execute(_HOLD, self.uow.tenant, ids)
        return len(ids)

    async def load_documents(self, ids: Iterable[str]) -> list[RunDocument]:
        """Locked by whoever claimed them; in the order of their invoices, which is that of locks."""
        table = rows.billing_run_document
        wanted = select(table).where(is_among(table.c.id, ids)).order_by(table.c.invoice_id)
        found = await self.uow.connection.execute(wanted)
        return [_document_from_row(row) for row in found.mappings()]

    def save_document(self, document: RunDocument) -> None:
        self._documents[document.id] = document

    async def finalize_documents(self, run_id: str, *, now: datetime) -> None:
        """What was counted is to be finalized now."""
        table = rows.billing_run_document
        await self.uow.connection.execute(
            update(table)
            .where(table.c.tenant == self.uow.tenant, table.c.run_id == run_id, table.c.state == "counted")
            .values(state="finalizing", due_at=now, attempts=0, retry_at=None, last_error=None)
        )

    async def give_up_documents(self, run_id: str) -> None:
        """The run holds none of its documents any more: they wait for another one."""
        table = rows.billing_run_document
        await self.uow.connection.execute(
            update(table)
            .where(table.c.tenant == self.uow.tenant, table.c.run_id == run_id, table.c.holds)
            .values(holds=False, state="left", reason="rejected", due_at=None)
        )

    def touch(self, run_id: str, *, now: datetime) -> None:
        """Look at the run again once this is committed: some of its documents are done."""
        self._touched[run_id] = now

    async def progress(self, run_ids: Sequence[str]) -> Mapping[str, Mapping[DocumentState, int]]:
        """How many documents of each run are in which state."""
        table = rows.billing_run_document
        wanted = (
            select(table.c.run_id, table.c.state, func.count().label("how_many"))
            .where(table.c.tenant == self.uow.tenant, is_among(table.c.run_id, run_ids))
            .group_by(table.c.run_id, table.c.state)
        )
        found: dict[str, dict[DocumentState, int]] = {id: {} for id in run_ids}
        for row in await self.uow.connection.execute(wanted):
            found[row.run_id][row.state] = row.how_many
        return found

    async def totals(self, run_id: str, states: Sequence[DocumentState]) -> list[RunTotal]:
        """Currency by currency, what the documents in these states come to."""
        table = rows.billing_run_document
        wanted = (
            select(
                table.c.currency,
                func.coalesce(func.sum(table.c.total_minor), 0).label("total"),
                func.count().label("how_many"),
            )
            .where(
                table.c.tenant == self.uow.tenant,
                table.c.run_id == run_id,
                is_among(table.c.state, states),
            )
            .group_by(table.c.currency)
            .order_by(table.c.currency)
        )
        found = await self.uow.connection.execute(wanted)
        return [RunTotal(row.currency, int(row.total), row.how_many) for row in found]

    async def last_finished(self) -> BillingRun | None:
        """The last run that finalized anything."""
        table = self.table
        wanted = (
            select(table)
            .where(
                table.c.tenant == self.uow.tenant,
                table.c.state == "finished",
                ~table.c.is_dry,
                func.jsonb_array_length(table.c.totals) > 0,
            )
            .order_by(table.c.finished_at.desc(), table.c.id.desc())
            .limit(1)
        )
        row = (await self.uow.connection.execute(wanted)).mappings().first()
        return None if row is None else _run_from_row(row)

    # Lists

    async def list_runs(self, page: PageRequest, *, state: RunState | None) -> Slice[BillingRun]:
        chosen = () if state is None else (self.table.c.state == state,)
        return await self.page_of(page, self.table.c.tenant == self.uow.tenant, *chosen)

    async def list_documents(
        self, run_id: str, page: PageRequest, *, state: DocumentState | None
    ) -> Slice[RunDocument]:
        table = rows.billing_run_document
        wanted = select(table).where(table.c.tenant == self.uow.tenant, table.c.run_id == run_id)
        if state is not None:
            wanted = wanted.where(table.c.state == state)
        return await fetch_page(
            self.uow.connection,
            wanted,
            created_at=table.c.created_at,
            id=table.c.id,
            page=page,
            to_view=_document_from_row,
        )

    async def flush(self) -> None:
        """Runs last of all: whoever is touched is locked for the shortest time."""
        documents, self._documents = self._documents, {}
        touched, self._touched = self._touched, {}
        kept, self._kept = self._kept, None
        await super().flush()
        await bulk_update(
            self.uow.connection,
            rows.billing_run_document,
            [
                {
                    "id": document.id,
                    "state": document.state,
                    "total_minor": document.total_minor,
                    "line_count": document.line_count,
                    "reason": document.reason,
                    "holds": not document.is_dry and document.state in ("counting", "counted", "finalizing"),
                    "due_at": document.due_at,
                }
                for document in sorted(documents.values(), key=lambda document: document.id)
            ],
        )
        await bulk_update(
            self.uow.connection,
            rows.billing_run,
            [{"id": id, "due_at": touched[id]} for id in sorted(touched)],
        )
        if kept is not None:
            await bulk_insert(
                self.uow.connection,
                rows.billing_run_settings,
                [
                    {
                        "tenant": self.uow.tenant,
                        "id": self.uow.tenant,
                        "run_limit_multiple": kept.run_limit_multiple,
                        "requires_run": kept.requires_run,
                        "gathering_hours": kept.gathering_hours,
                        "version": kept.version,
                    }
                ],
                tail="""ON CONFLICT (id) DO UPDATE SET run_limit_multiple = excluded.run_limit_multiple,
                        requires_run = excluded.requires_run, gathering_hours = excluded.gathering_hours,
                        version = excluded.version""",
            )


def _settings_from_row(row: RowMapping) -> RunSettings:
    return RunSettings(
        run_limit_multiple=row["run_limit_multiple"],
        requires_run=row["requires_run"],
        gathering_hours=row["gathering_hours"],
        version=row["version"],
    )


def _run_to_row(run: BillingRun) -> dict[str, Any]:
    return {
        "id": run.id,
        "until": run.until,
        "is_dry": run.is_dry,
        "state": run.state,
        "requested_by": run.requested_by,
        "is_gathered": run.is_gathered,
        "invoice_count": run.invoice_count,
        "totals": [
            {"currency": total.currency, "total_minor": total.total_minor, "count": total.count}
            for total in run.totals
        ],
        "exceeded": [
            {
                "currency": limit.currency,
                "total_minor": limit.total_minor,
                "last_minor": limit.last_minor,
                "multiple": str(limit.multiple),
                "last_run_id": limit.last_run_id,
            }
            for limit in run.exceeded
        ],
        "decided_by": run.decided_by,
        "decided_at": run.decided_at,
        "reason": run.reason,
        "finished_at": run.finished_at,
        "created_at": run.created_at,
        "version": run.version,
        "due_at": run.due_at,
        "traceparent": run.traceparent,
    }


def _run_from_row(row: RowMapping) -> BillingRun:
    return BillingRun(
        id=row["id"],
        until=row["until"],
        is_dry=row["is_dry"],
        state=row["state"],
        requested_by=row["requested_by"],
        is_gathered=row["is_gathered"],
        invoice_count=row["invoice_count"],
        totals=tuple(RunTotal(**total) for total in row["totals"]),
        exceeded=tuple(
            LimitExceeded(**{**limit, "multiple": Decimal(limit["multiple"])}) for limit in row["exceeded"]
        ),
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
        reason=row["reason"],
        finished_at=row["finished_at"],
        created_at=row["created_at"],
        version=row["version"],
        due_at=row["due_at"],
        traceparent=row["traceparent"],
    )


def _document_from_row(row: RowMapping) -> RunDocument:
    return RunDocument(
        id=row["id"],
        run_id=row["run_id"],
        invoice_id=row["invoice_id"],
        customer_id=row["customer_id"],
        currency=row["currency"],
        is_dry=row["is_dry"],
        state=row["state"],
        created_at=row["created_at"],
        total_minor=row["total_minor"],
        line_count=row["line_count"],
        reason=row["reason"],
        attempts=row["attempts"],
        last_error=row["last_error"],
        due_at=row["due_at"],
    )

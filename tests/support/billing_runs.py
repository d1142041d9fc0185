"""Gathering, billing runs and spend thresholds in memory, for billing's unit of work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from libs.common.errors import NotFound
from services.billing.domain.billing_run import (
    BillingRun,
    BillingRunNotFound,
    DocumentState,
    RunDocument,
    RunSettings,
    RunTotal,
)
from services.billing.domain.gathering import GatheringKey, is_part, key_of
from services.billing.domain.invoice import Invoice
from services.billing.domain.spend_threshold import SpendThreshold
from tests.support.memory import MemoryRepository

if TYPE_CHECKING:
    from tests.support.billing import MemoryBilling


class MemoryGatherings:
    """Nobody else is here. What is `busy` somebody else has in hand, all the same."""

    def __init__(self, uow: MemoryBilling) -> None:
        self._uow = uow
        self.busy: set[str] = set()

    async def open_for_update(self, wanted: Iterable[Invoice]) -> set[str]:
        drafts = {draft.id: draft for draft in wanted}
        for id, draft in drafts.items():
            if id not in self._uow.invoices.by_id:
                self._uow.invoices.add(draft)
        return drafts.keys() - self.busy

    async def awaited(
        self, keys: Sequence[GatheringKey], *, but: Iterable[str]
    ) -> Mapping[GatheringKey, int]:
        come = set(but)
        drafts = [
            invoice
            for invoice in self._uow.invoices.by_id.values()
            if invoice.status == "draft" and is_part(invoice) and invoice.id not in come
        ]
        agreements = [
            agreement
            for agreement in self._uow.agreements.by_id.values()
            if agreement.next_boundary_at is not None
        ]
        return {
            key: sum(key_of(draft) == key for draft in drafts)
            + sum(
                (agreement.pays.id, agreement.currency, agreement.zone, agreement.clock_id)
                == (key.payer_id, key.currency, key.zone, key.clock_id)
                and agreement.next_boundary_at is not None
                and key.start <= agreement.next_boundary_at < key.end
                for agreement in agreements
            )
            for key in keys
        }


class MemoryBillingRuns(MemoryRepository[BillingRun]):
    def __init__(self) -> None:
        super().__init__(lambda id: BillingRunNotFound("no billing run has this id", id=id))
        self.kept = RunSettings()
        self.documents: dict[str, RunDocument] = {}
        self.waiting: list[RunDocument] = []  # what `gather` finds
        self.touched: list[str] = []

    async def settings(self, *, for_update: bool = False) -> RunSettings:
        return self.kept

    def keep_settings(self, settings: RunSettings) -> None:
        self.kept = settings

    async def gather(self, run: BillingRun, *, most: int, now: datetime) -> int:
        found, self.waiting = self.waiting[:most], self.waiting[most:]
        self.documents.update({document.id: replace(document, run_id=run.id) for document in found})
        return len(found)

    def save_document(self, document: RunDocument) -> None:
        self.documents[document.id] = document

    async def finalize_documents(self, run_id: str, *, now: datetime) -> None:
        for document in self._of(run_id):
            if document.state == "counted":
                self.documents[document.id] = replace(document, state="finalizing", due_at=now)

    async def give_up_documents(self, run_id: str) -> None:
        for document in self._of(run_id):
            self.documents[document.id] = replace(document, state="left", due_at=None)

    def touch(self, run_id: str, *, now: datetime) -> None:
        self.touched.append(run_id)

    async def progress(self, run_ids: Sequence[str]) -> Mapping[str, Mapping[DocumentState, int]]:
        found: dict[str, dict[DocumentState, int]] = {id: {} for id in run_ids}
        for id in run_ids:
            for document in self._of(id):
                found[id][document.state] = found[id].get(document.state, 0) + 1
        return found

    async def totals(self, run_id: str, states: Sequence[DocumentState]) -> list[RunTotal]:
        mine = [document for document in self._of(run_id) if document.state in states]
        return [
            RunTotal(
                currency,
                sum(document.total_minor or 0 for document in mine if document.currency == currency),
                sum(document.currency == currency for document in mine),
            )
            for currency in sorted({document.currency for document in mine})
        ]

    async def last_finished(self) -> BillingRun | None:
        done = [
            run
            for run in self.by_id.values()
            if run.state == "finished" and not run.is_dry and run.totals and run.finished_at is not None
        ]
        return max(done, key=lambda run: (run.finished_at, run.id), default=None)

    def _of(self, run_id: str) -> list[RunDocument]:
        return [document for document in self.documents.values() if document.run_id == run_id]


class MemorySpendThresholds(MemoryRepository[SpendThreshold]):
    def __init__(self) -> None:
        super().__init__(lambda id: NotFound("the subscription has no threshold", id=id))

    async def unclaim(self, id: str) -> None:
        """Nobody claims anything here."""

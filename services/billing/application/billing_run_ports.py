"""What gathering, billing runs and spend thresholds need from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from services.billing.domain.billing_run import BillingRun, DocumentState, RunDocument, RunSettings, RunTotal
from services.billing.domain.charge import ItemUsage
from services.billing.domain.gathering import GatheringKey
from services.billing.domain.invoice import Invoice
from services.billing.domain.spend_threshold import SpendThreshold


class Gatherings(Protocol):
    """Gathered documents in the making."""

    async def open_for_update(self, wanted: Iterable[Invoice]) -> set[str]:
        """Make those that are not there yet, and lock all that nobody else has; returns the ids of the locked ones."""
        ...

    async def awaited(
        self, keys: Sequence[GatheringKey], *, but: Iterable[str]
    ) -> Mapping[GatheringKey, int]:
        """How many agreements are to reach a boundary on the date, and how many parts have come but are not complete.

        `but` are the parts that are being gathered in this unit of work.
        """
        ...


class BillingRuns(Protocol):
    """Runs, their documents, and what the tenant says of them."""

    async def settings(self, *, for_update: bool = False) -> RunSettings:
        """Read once in a unit of work."""
        ...

    def keep_settings(self, settings: RunSettings) -> None: ...

    async def get_for_update(self, id: str) -> BillingRun: ...

    def add(self, aggregate: BillingRun) -> None: ...

    def save(self, aggregate: BillingRun) -> None: ...

    async def gather(self, run: BillingRun, *, most: int, now: datetime) -> int:
        """Put the next documents that are due on the run; returns how many."""
        ...

    def save_document(self, document: RunDocument) -> None: ...

    async def finalize_documents(self, run_id: str, *, now: datetime) -> None:
        """What was counted is to be finalized now."""
        ...

    async def give_up_documents(self, run_id: str) -> None:
        """The run holds none of its documents any more."""
        ...

    def touch(self, run_id: str, *, now: datetime) -> None:
        """Look at the run again once this is committed."""
        ...

    async def progress(self, run_ids: Sequence[str]) -> Mapping[str, Mapping[DocumentState, int]]: ...

    async def totals(self, run_id: str, states: Sequence[DocumentState]) -> list[RunTotal]: ...

    async def last_finished(self) -> BillingRun | None:
        """The last run that finalized anything."""
        ...


class SpendThresholds(Protocol):
    async def find_for_update(self, id: str) -> SpendThreshold | None: ...

    def add(self, aggregate: SpendThreshold) -> None: ...

    def save(self, aggregate: SpendThreshold) -> None: ...

    async def unclaim(self, id: str) -> None:
        """Its usage was looked at."""
        ...


class UsageSoFar(Protocol):
    """One usage window under way, as metering told it."""

    @property
    def window_id(self) -> str: ...

    @property
    def period_index(self) -> int: ...

    @property
    def window_start(self) -> datetime: ...

    @property
    def window_end(self) -> datetime: ...

    @property
    def counted_until(self) -> datetime: ...

    @property
    def totals(self) -> tuple[ItemUsage, ...]: ...


class Metering(Protocol):
    """The other service, asked how much was used so far."""

    async def usage_so_far(self, tenant: str, subscription_id: str) -> Sequence[UsageSoFar]:
        """Of the windows under way. Raises: PeerUnavailable."""
        ...

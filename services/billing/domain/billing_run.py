"""A billing run: everything due for one tenant up to an instant, counted first, then finalized, or stopped for a person.

counting → running → finished; or, where its total is far above that of the last one, counting → awaiting approval →
running or rejected. One that is run dry is finished once it is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from libs.common.errors import Conflict, NotFound

RunState = Literal["counting", "awaiting_approval", "running", "finished", "rejected"]
# What becomes of one document in a run. `left`: when its turn came it was no longer to be finalized by a run.
DocumentState = Literal["counting", "counted", "finalizing", "finalized", "skipped", "left", "failed"]
TRIES_MAX = 3

UNDER_WAY: frozenset[RunState] = frozenset(("counting", "awaiting_approval", "running"))
DONE: frozenset[DocumentState] = frozenset(("finalized", "skipped", "left", "failed"))


class BillingRunNotFound(NotFound):
    code = "billing_run_not_found"
    title = "There is no such billing run"


class BillingRunNotAwaitingApproval(Conflict):
    code = "billing_run_not_awaiting_approval"
    title = "The billing run does not wait for anybody"


@dataclass(frozen=True, slots=True)
class RunSettings:
    """`run_limit_multiple`: a run whose total is more than so many times that of the last one waits for approval.

    With `requires_run`, documents of a boundary are finalized by runs alone. A gathered invoice waits at most
    `gathering_hours` for those who should be on it.
    """

    run_limit_multiple: Decimal | None = None
    requires_run: bool = False
    gathering_hours: int = 24
    version: int = 0


@dataclass(frozen=True, slots=True)
class RunTotal:
    """What documents in one currency come to, in minor units."""

    currency: str
    total_minor: int
    count: int


@dataclass(frozen=True, slots=True)
class LimitExceeded:
    """`total_minor` is more than `multiple` times `last_minor`, which the run `last_run_id` came to."""

    currency: str
    total_minor: int
    last_minor: int
    multiple: Decimal
    last_run_id: str


@dataclass(frozen=True, slots=True)
class BillingRun:
    """`totals` are of what was counted, and of what was finalized in the end. `is_dry`: nothing is finalized."""

    id: str
    until: datetime
    is_dry: bool
    state: RunState
    requested_by: str
    created_at: datetime
    version: int = 1
    is_gathered: bool = False
    invoice_count: int = 0
    totals: tuple[RunTotal, ...] = ()
    exceeded: tuple[LimitExceeded, ...] = ()
    decided_by: str | None = None
    decided_at: datetime | None = None
    reason: str | None = None
    finished_at: datetime | None = None
    due_at: datetime | None = None
    traceparent: str | None = None

    @property
    def is_under_way(self) -> bool:
        return self.state in UNDER_WAY


def limits_exceeded(
    totals: Sequence[RunTotal], last: BillingRun | None, settings: RunSettings
) -> tuple[LimitExceeded, ...]:
    """Currency by currency, what goes beyond the set multiple of the last run; one without a last run has no limit."""
    multiple = settings.run_limit_multiple
    if last is None or multiple is None:
        return ()
    before = {total.currency: total.total_minor for total in last.totals}
    return tuple(
        LimitExceeded(total.currency, total.total_minor, before[total.currency], multiple, last.id)
        for total in totals
        if before.get(total.currency, 0) > 0
        and total.total_minor > Fraction(multiple) * before[total.currency]
    )


def counted(
    run: BillingRun,
    totals: Sequence[RunTotal],
    *,
    last: BillingRun | None,
    settings: RunSettings,
    now: datetime,
) -> BillingRun:
    """All documents are counted: it goes on, waits for approval, or, where it is dry or empty, is finished."""
    assert run.state == "counting", "a run is counted once"
    count = sum(total.count for total in totals)
    run = replace(run, totals=tuple(totals), invoice_count=count, due_at=None, version=run.version + 1)
    exceeded = limits_exceeded(totals, last, settings)
    if run.is_dry:
        return replace(run, state="finished", exceeded=exceeded, finished_at=now)
    if exceeded:
        return replace(run, state="awaiting_approval", exceeded=exceeded)
    return replace(run, state="running")


def approved(run: BillingRun, *, by: str, reason: str | None, now: datetime) -> BillingRun:
    """Raises: BillingRunNotAwaitingApproval."""
    return replace(_decided(run, by=by, reason=reason, now=now), state="running")


def rejected(run: BillingRun, *, by: str, reason: str | None, now: datetime) -> BillingRun:
    """Nothing of it is finalized; its documents wait for another run. Raises: BillingRunNotAwaitingApproval."""
    return replace(_decided(run, by=by, reason=reason, now=now), state="rejected", finished_at=now)


def _decided(run: BillingRun, *, by: str, reason: str | None, now: datetime) -> BillingRun:
    if run.state != "awaiting_approval":
        raise BillingRunNotAwaitingApproval(
            "only a run that waits for approval can be approved or rejected", state=run.state
        )
    return replace(run, decided_by=by, decided_at=now, reason=reason, version=run.version + 1)


def finished(run: BillingRun, totals: Sequence[RunTotal], *, now: datetime) -> BillingRun:
    """Each of its documents is finalized, or was given up by this run."""
    assert run.state == "running", "only a run that runs can be finished"
    return replace(
        run,
        state="finished",
        totals=tuple(totals),
        finished_at=now,
        due_at=None,
        version=run.version + 1,
    )


@dataclass(frozen=True, slots=True)
class RunDocument:
    """One document of a run. `total_minor` is what it was counted to, and what it was issued with in the end."""

    id: str
    run_id: str
    invoice_id: str
    customer_id: str
    currency: str
    is_dry: bool
    state: DocumentState
    created_at: datetime
    total_minor: int | None = None
    line_count: int | None = None
    reason: str | None = None
    attempts: int = 0
    last_error: str | None = None
    due_at: datetime | None = None

    @property
    def has_failed_often(self) -> bool:
        return self.attempts >= TRIES_MAX


def outcome(
    document: RunDocument,
    state: DocumentState,
    *,
    total_minor: int | None = None,
    line_count: int | None = None,
    reason: str | None = None,
) -> RunDocument:
    return replace(
        document,
        state=state,
        total_minor=document.total_minor if total_minor is None else total_minor,
        line_count=document.line_count if line_count is None else line_count,
        reason=reason,
        due_at=None,
    )


Progress = Mapping[DocumentState, int]

"""Request and response bodies of billing runs, their settings, and spend thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints

from libs.common.money import Money
from libs.common.web.bodies import (
    DecimalText,
    Flag,
    Instant,
    MoneyBody,
    Quantity,
    StrictBody,
    identifier,
)
from services.billing.application.change_run_settings import ChangeRunSettings
from services.billing.application.decide_billing_run import DecideBillingRun
from services.billing.application.start_billing_run import StartBillingRun
from services.billing.domain.billing_run import (
    DONE,
    BillingRun,
    DocumentState,
    LimitExceeded,
    RunDocument,
    RunSettings,
    RunTotal,
)
from services.billing.domain.spend_threshold import SpendThreshold

BillingRunId = Annotated[str, identifier("run")]
RunStateText = Literal["counting", "awaiting_approval", "running", "finished", "rejected"]
DocumentStateText = Literal["counting", "counted", "finalizing", "finalized", "skipped", "left", "failed"]
MULTIPLE_MAX = Decimal(1_000_000)
GATHERING_HOURS_MAX = 31 * 24


def _multiple(value: Decimal) -> Decimal:
    if not 0 < value <= MULTIPLE_MAX:
        raise ValueError(f"must be above zero, and at most {MULTIPLE_MAX}")
    return value


def _above_zero(amount: MoneyBody) -> MoneyBody:
    if amount.to_money().amount_minor <= 0:
        raise ValueError("must be above zero")
    return amount


class NewBillingRunBody(StrictBody):
    """Everything that is due by `until`, of each customer by his own clock. With `dry_run` it is only counted."""

    until: Instant
    dry_run: Flag = False

    def to_command(self) -> StartBillingRun:
        return StartBillingRun(until=self.until, is_dry=self.dry_run)


class RunDecisionBody(StrictBody):
    reason: Annotated[
        str | None,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
        Field(examples=["the annual contracts fall due this month"]),
    ] = None

    def to_command(self, run_id: str, *, is_approved: bool) -> DecideBillingRun:
        return DecideBillingRun(run_id, is_approved=is_approved, reason=self.reason)


class RunTotalBody(StrictBody):
    total: MoneyBody
    count: int

    @classmethod
    def from_domain(cls, total: RunTotal) -> Self:
        return cls(total=MoneyBody.from_money(Money(total.total_minor, total.currency)), count=total.count)


class LimitExceededBody(StrictBody):
    """The total is more than `multiple` times that of the last run."""

    total: MoneyBody
    last_total: MoneyBody
    multiple: DecimalText
    last_run_id: str

    @classmethod
    def from_domain(cls, limit: LimitExceeded) -> Self:
        return cls(
            total=MoneyBody.from_money(Money(limit.total_minor, limit.currency)),
            last_total=MoneyBody.from_money(Money(limit.last_minor, limit.currency)),
            multiple=limit.multiple,
            last_run_id=limit.last_run_id,
        )


class RunProgressBody(StrictBody):
    """How many documents have been found, and how far they have come.

    `done` are over for this run: `finalized`, `skipped` because nothing was owed, `left` because a person or another
    event took them out of it, or `failed` several times. `remaining` are still to be counted or finalized.
    """

    found: int
    counted: int
    finalized: int
    skipped: int
    left: int
    failed: int
    done: int
    remaining: int

    @classmethod
    def from_counts(cls, counts: Mapping[DocumentState, int], *, is_dry: bool) -> Self:
        found = sum(counts.values())
        over = DONE | {"counted"} if is_dry else DONE
        done = sum(count for state, count in counts.items() if state in over)
        return cls(
            found=found,
            counted=found - counts.get("counting", 0),
            finalized=counts.get("finalized", 0),
            skipped=counts.get("skipped", 0),
            left=counts.get("left", 0),
            failed=counts.get("failed", 0),
            done=done,
            remaining=found - done,
        )


class BillingRunBody(StrictBody):
    """`totals` are those of what was counted, and once the run is finished of what was finalized.

    A run whose total exceeds the limit that was set waits for approval: nothing of it is finalized before.
    """

    id: str
    until: Instant
    dry_run: bool
    state: RunStateText
    invoice_count: int
    totals: list[RunTotalBody]
    exceeded: list[LimitExceededBody]
    progress: RunProgressBody
    requested_by: str
    decided_by: str | None
    decided_at: Instant | None
    reason: str | None
    created_at: Instant
    finished_at: Instant | None
    version: int

    @classmethod
    def from_view(cls, run: BillingRun, counts: Mapping[DocumentState, int]) -> Self:
        return cls(
            id=run.id,
            until=run.until,
            dry_run=run.is_dry,
            state=run.state,
            invoice_count=run.invoice_count,
            totals=[RunTotalBody.from_domain(total) for total in run.totals],
            exceeded=[LimitExceededBody.from_domain(limit) for limit in run.exceeded],
            progress=RunProgressBody.from_counts(counts, is_dry=run.is_dry),
            requested_by=run.requested_by,
            decided_by=run.decided_by,
            decided_at=run.decided_at,
            reason=run.reason,
            created_at=run.created_at,
            finished_at=run.finished_at,
            version=run.version,
        )


class RunDocumentBody(StrictBody):
    """One document of a run. `total` is null until it is counted. `reason` says why it was left, skipped or failed."""

    invoice_id: str
    customer_id: str
    state: DocumentStateText
    total: MoneyBody | None
    line_count: int | None
    reason: str | None
    attempts: int

    @classmethod
    def from_domain(cls, document: RunDocument) -> Self:
        total = document.total_minor
        return cls(
            invoice_id=document.invoice_id,
            customer_id=document.customer_id,
            state=document.state,
            total=None if total is None else MoneyBody.from_money(Money(total, document.currency)),
            line_count=document.line_count,
            reason=document.reason or document.last_error,
            attempts=document.attempts,
        )


class RunSettingsChangeBody(StrictBody):
    """All of it: what is left out is as if nothing was ever said.

    A run whose total in a currency is more than `run_limit_multiple` times that of the last one waits for approval; null:
    none does. With `requires_run`, invoices of boundaries are finalized by billing runs alone. A gathered invoice waits
    `gathering_hours` at most for those who should be on it.
    """

    run_limit_multiple: Annotated[
        Annotated[Quantity, AfterValidator(_multiple)] | None, Field(examples=["3"])
    ] = None
    requires_run: Flag = False
    gathering_hours: Annotated[int, Field(strict=True, ge=0, le=GATHERING_HOURS_MAX)] = 24

    def to_command(self) -> ChangeRunSettings:
        return ChangeRunSettings(
            run_limit_multiple=self.run_limit_multiple,
            requires_run=self.requires_run,
            gathering_hours=self.gathering_hours,
        )


class RunSettingsBody(StrictBody):
    """`version` is 0 while nothing was said."""

    run_limit_multiple: DecimalText | None
    requires_run: bool
    gathering_hours: int
    version: int

    @classmethod
    def from_domain(cls, settings: RunSettings) -> Self:
        return cls(
            run_limit_multiple=settings.run_limit_multiple,
            requires_run=settings.requires_run,
            gathering_hours=settings.gathering_hours,
            version=settings.version,
        )


class SpendThresholdChangeBody(StrictBody):
    """Once usage that is not invoiced yet comes to `amount`, before tax, it is invoiced at once; null: never."""

    amount: Annotated[MoneyBody, AfterValidator(_above_zero)] | None


class SpendThresholdBody(StrictBody):
    """`checked_at` is when usage was looked at last. While nothing was said, `version` is 0 and `created_at` null."""

    subscription_id: str
    customer_id: str
    amount: MoneyBody | None
    checked_at: Instant | None
    created_at: Instant | None
    version: int

    @classmethod
    def from_domain(cls, threshold: SpendThreshold) -> Self:
        return cls(
            subscription_id=threshold.subscription_id,
            customer_id=threshold.customer_id,
            amount=None if threshold.amount is None else MoneyBody.from_money(threshold.amount),
            checked_at=threshold.checked_at,
            created_at=threshold.created_at if threshold.version else None,
            version=threshold.version,
        )

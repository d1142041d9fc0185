"""Requests and answers about usage and windows."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Self

from pydantic import AfterValidator, Field

from libs.common.web.bodies import DecimalText, Instant, StrictBody, identifier
from services.metering.domain.late_usage import LateUsagePolicy, UsageChangeCause, WindowCorrection
from services.metering.domain.recount_refusal import RecountRefusal
from services.metering.domain.usage_correction import REASON_LENGTH_MAX
from services.metering.domain.usage_window import State, UsageTotal, UsageWindow, WaitsFor
from services.metering.entrypoints.reading_bodies import TrueUpBody
from services.metering.entrypoints.usage_event_bodies import plain

WindowId = Annotated[str, identifier("uwin"), Field(examples=["uwin_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
AnyId = Annotated[str, Field(min_length=1, max_length=100)]


class UsageTotalBody(StrictBody):
    """`price_id` is there where the price of the item changed in the period: one total for each price.

    Of `quantity`, `estimated_quantity` is no reading's but an estimate's; `true_ups` say which earlier estimates it puts
    right.
    """

    item_id: str
    meter: str
    quantity: DecimalText
    event_count: int
    price_id: str | None = None
    estimated_quantity: DecimalText = Decimal(0)
    true_ups: list[TrueUpBody] = Field(default_factory=list)

    @classmethod
    def from_domain(cls, total: UsageTotal) -> Self:
        return cls(
            item_id=total.item_id,
            meter=total.meter,
            quantity=total.quantity,
            event_count=total.event_count,
            price_id=total.price_id,
            estimated_quantity=total.estimated_quantity,
            true_ups=[TrueUpBody.from_domain(true_up) for true_up in total.true_ups],
        )


class RecountRefusalBody(StrictBody):
    """Why the window stays as it was said, although what it counts has changed, and who has seen to it."""

    told: str
    refused_at: Instant
    dismissed_at: Instant | None
    dismissed_by: str | None
    reason: str | None

    @classmethod
    def from_domain(cls, refusal: RecountRefusal) -> Self:
        return cls(
            told=refusal.told,
            refused_at=refusal.refused_at,
            dismissed_at=refusal.dismissed_at,
            dismissed_by=refusal.dismissed_by,
            reason=refusal.reason,
        )


class RefusalDismissalBody(StrictBody):
    """What was done about it, or why nothing has to be."""

    reason: Annotated[
        str,
        Field(min_length=1, max_length=REASON_LENGTH_MAX, examples=["Billed by hand: invoice 2025-0042."]),
        AfterValidator(plain),
    ]


class UsageWindowBody(StrictBody):
    """The usage of one billing period. `totals` are said when it closes; `revision` counts corrections since.

    `waits_for` says what keeps it from closing once its period is over: its `grace`, `bindings` or `usage` that were said
    before and are still under way, `retries` of messages that failed, or the `back_fill` of a meter. `recount_refusal`
    says why the totals of a closed one cannot follow what has changed since.
    """

    id: str
    subscription_id: str
    customer_id: str
    period_index: int
    state: State
    window_start: Instant
    window_end: Instant
    due_at: Instant | None
    waits_for: list[WaitsFor]
    closed_at: Instant | None
    revision: int
    totals: list[UsageTotalBody]
    recount_refusal: RecountRefusalBody | None

    @classmethod
    def from_domain(cls, window: UsageWindow) -> Self:
        return cls(
            id=window.id,
            subscription_id=window.subscription_id,
            customer_id=window.customer_id,
            period_index=window.period_index,
            state=window.state,
            window_start=window.window_start,
            window_end=window.window_end,
            due_at=window.due_at,
            waits_for=list(window.waits_for),
            closed_at=window.closed_at,
            revision=window.revision,
            totals=[UsageTotalBody.from_domain(total) for total in window.totals],
            recount_refusal=None
            if window.recount_refusal is None
            else RecountRefusalBody.from_domain(window.recount_refusal),
        )


class UsageDifferenceBody(StrictBody):
    """What changed of one total: now less than before, hence negative if usage was taken back."""

    item_id: str
    meter: str
    quantity: DecimalText
    event_count: int
    price_id: str | None


class ChangedEventBody(StrictBody):
    """An event that came `late`, or was `voided` or `amended`, after its window had closed."""

    source: str
    id: str
    cause: UsageChangeCause


class WindowCorrectionBody(StrictBody):
    """The usage of a closed window, which is not what it was: `before`, now, and the difference.

    `events` are the first hundred of `changed_event_count` behind it, by their time; without any, it was the agreement, a
    binding or a meter that changed. `policy` is the plan's. What is not `is_billable` came after more days than the plan
    allows: it is kept and reported, and not billed.
    """

    id: str
    window_id: str
    subscription_id: str
    customer_id: str
    period_index: int
    window_start: Instant
    window_end: Instant
    revision: int
    before: list[UsageTotalBody]
    totals: list[UsageTotalBody]
    differences: list[UsageDifferenceBody]
    events: list[ChangedEventBody]
    changed_event_count: int
    policy: LateUsagePolicy
    is_billable: bool
    corrected_at: Instant

    @classmethod
    def from_domain(cls, correction: WindowCorrection) -> Self:
        return cls(
            id=correction.id,
            window_id=correction.window_id,
            subscription_id=correction.subscription_id,
            customer_id=correction.customer_id,
            period_index=correction.period_index,
            window_start=correction.window_start,
            window_end=correction.window_end,
            revision=correction.revision,
            before=[UsageTotalBody.from_domain(total) for total in correction.before],
            totals=[UsageTotalBody.from_domain(total) for total in correction.totals],
            differences=[
                UsageDifferenceBody(
                    item_id=difference.item_id,
                    meter=difference.meter,
                    quantity=difference.quantity,
                    event_count=difference.event_count,
                    price_id=difference.price_id,
                )
                for difference in correction.differences
            ],
            events=[
                ChangedEventBody(source=event.source, id=event.event_id, cause=event.cause)
                for event in correction.events.first
            ],
            changed_event_count=correction.events.count,
            policy=correction.policy,
            is_billable=correction.is_billable,
            corrected_at=correction.corrected_at,
        )

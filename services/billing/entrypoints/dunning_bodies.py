"""Request and response bodies of dunning."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field

from libs.common.web.bodies import Instant, MoneyBody, StrictBody
from services.billing.application.dun_invoice import is_owed
from services.billing.application.queries import DunningView
from services.billing.domain.dunning import StepBehind, StepKind, StepOutcome
from services.billing.entrypoints.credit_note_bodies import Reason

DunningStateText = Literal["running", "paused", "exhausted", "settled"]


class DunningPauseBody(StrictBody):
    """Until an instant, or, without one, until it is resumed."""

    reason: Reason
    until: Instant | None = None


class DunningResumptionBody(StrictBody):
    """Nothing needs to be said."""


class SkippedStepBody(StrictBody):
    """One of the steps that lie `ahead`."""

    kind: StepKind
    number: Annotated[int, Field(strict=True, ge=1, le=100)] = 1
    reason: Reason


class StepAheadBody(StrictBody):
    """`at` of null: when the retries end."""

    kind: StepKind
    number: int
    at: Instant | None
    subscription_ids: list[str]


class StepBehindBody(StrictBody):
    """`overtaken`: a later step was due as well. A person's name and reason stand beside a step that was `skipped`."""

    round: int
    kind: StepKind
    number: int
    at: Instant
    outcome: StepOutcome
    actor: str | None
    reason: str | None

    @classmethod
    def from_domain(cls, step: StepBehind) -> Self:
        return cls(
            round=step.reopened_count,
            kind=step.kind,
            number=step.number,
            at=step.at,
            outcome=step.outcome,
            actor=step.actor,
            reason=step.reason,
        )


class RunningPauseBody(StrictBody):
    since: Instant
    until: Instant | None
    actor: str | None
    reason: str | None


class DunningBody(StrictBody):
    """What is done about an invoice that is not paid.

    `running` while steps or tries lie ahead, `paused` by a person, `exhausted` when all is over and it is still not paid,
    `settled` when nothing is due of it any more. Days are counted from `counted_from`. `round` counts how often the money
    of the invoice was taken back after it had been paid; steps of earlier rounds stand behind with their round.
    """

    id: str
    invoice_id: str
    invoice_number: str | None
    customer_id: str
    state: DunningStateText
    amount_due: MoneyBody
    due_on: date | None
    counted_from: date
    round: int
    is_collected: bool
    retry_days: list[int]
    pause: RunningPauseBody | None
    ahead: list[StepAheadBody]
    behind: list[StepBehindBody]
    version: int
    created_at: Instant

    @classmethod
    def from_view(cls, view: DunningView) -> Self:
        dunning, invoice = view.dunning, view.invoice
        is_open = is_owed(invoice)
        steps = dunning.ahead if is_open else ()
        pause = None
        if is_open and dunning.paused_at is not None:
            pause = RunningPauseBody(
                since=dunning.paused_at,
                until=dunning.paused_until,
                actor=dunning.paused_by,
                reason=dunning.pause_reason,
            )
        return cls(
            id=dunning.id,
            invoice_id=invoice.id,
            invoice_number=invoice.number,
            customer_id=dunning.customer_id,
            state=dunning.state if is_open else "settled",
            amount_due=MoneyBody.from_money(invoice.due),
            due_on=invoice.due_on,
            counted_from=dunning.counted_from,
            round=dunning.reopened_count,
            is_collected=dunning.is_collected,
            retry_days=list(dunning.retry_days),
            pause=pause,
            ahead=[
                StepAheadBody(
                    kind=step.kind,
                    number=step.number,
                    at=step.at,
                    subscription_ids=list(step.subscription_ids),
                )
                for step in steps
            ],
            behind=[StepBehindBody.from_domain(step) for step in dunning.behind],
            version=dunning.version,
            created_at=dunning.created_at,
        )

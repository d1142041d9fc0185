"""Requests and answers about moving the customers of one plan version to another."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from libs.common.web.bodies import Flag, Instant, Quantity, StrictBody, identifier
from services.subscriptions.application.move_plan import MovePlan
from services.subscriptions.domain.plan_move import (
    Difference,
    MoveOutcome,
    MoveResult,
    PlanMove,
    PlanMoveState,
    PricedItem,
)
from services.subscriptions.entrypoints.bodies import PlanVersionId
from services.subscriptions.entrypoints.change_bodies import (
    OnDateBody,
    ProrationMethod,
    ReasonBody,
    WhenGiven,
    when_of,
)

PlanMoveId = Annotated[str, identifier("plm"), Field(examples=["plm_01jz3v6m1qk0c8n4r2d5s7t9wx"])]


class PlanMoveCreateBody(StrictBody):
    """All subscriptions on one plan version get another: now, at the end of the period of each, or on a date.

    `dry_run` says what that would do, and changes nothing. `indexation`: the new prices are the old ones, adjusted to an
    index as was agreed on, and are shown apart among the movements of recurring revenue.
    """

    from_plan_version_id: PlanVersionId
    to_plan_version_id: PlanVersionId
    when: WhenGiven
    proration: ProrationMethod | None = None
    dry_run: Flag
    indexation: Flag = False

    def to_command(self) -> MovePlan:
        return MovePlan(
            from_plan_version_id=self.from_plan_version_id,
            to_plan_version_id=self.to_plan_version_id,
            when=when_of(self.when),
            proration=self.proration,
            is_dry_run=self.dry_run,
            is_indexation=self.indexation,
        )


class PricedItemBody(StrictBody):
    code: str
    price_id: str
    quantity: Quantity | None

    @classmethod
    def from_domain(cls, item: PricedItem) -> Self:
        return cls(code=item.code, price_id=item.price_id, quantity=item.quantity)


class DifferenceBody(StrictBody):
    subscription_id: str
    before: list[PricedItemBody]
    after: list[PricedItemBody]

    @classmethod
    def from_domain(cls, difference: Difference) -> Self:
        return cls(
            subscription_id=difference.subscription_id,
            before=[PricedItemBody.from_domain(item) for item in difference.before],
            after=[PricedItemBody.from_domain(item) for item in difference.after],
        )


class MoveCountsBody(StrictBody):
    """`scheduled`: to be moved when its time comes. In a dry run, what each count would have been."""

    found: int
    moved: int
    scheduled: int
    unchanged: int
    refused: int


class PlanMoveBody(StrictBody):
    """`counts` grow until the move is done. `differences` are the first ones of a dry run."""

    id: str
    status: PlanMoveState
    from_plan_version_id: str
    to_plan_version_id: str
    when: Literal["now", "period_end"] | OnDateBody
    proration: ProrationMethod | None
    dry_run: bool
    indexation: bool
    counts: MoveCountsBody
    differences: list[DifferenceBody]
    version: int
    created_at: Instant
    done_at: Instant | None

    @classmethod
    def from_domain(cls, move: PlanMove) -> Self:
        return cls(
            id=move.id,
            status=move.state,
            from_plan_version_id=move.from_plan_version_id,
            to_plan_version_id=move.to_plan_version_id,
            when=OnDateBody(on=move.when.on) if move.when.on is not None else move.when.kind,
            proration=move.proration,
            dry_run=move.is_dry_run,
            indexation=move.is_indexation,
            counts=MoveCountsBody(
                found=move.found_count,
                moved=move.moved_count,
                scheduled=move.scheduled_count,
                unchanged=move.unchanged_count,
                refused=move.refused_count,
            ),
            differences=[DifferenceBody.from_domain(one) for one in move.differences],
            version=move.version,
            created_at=move.created_at,
            done_at=move.done_at,
        )


class MoveResultBody(StrictBody):
    """What became of one subscription. `change_id` is the change that moves it; `reason` why it stays as it is."""

    subscription_id: str
    outcome: MoveOutcome
    change_id: str | None
    reason: ReasonBody | None
    created_at: Instant

    @classmethod
    def from_domain(cls, result: MoveResult) -> Self:
        reason = None
        if result.reason_code is not None:
            reason = ReasonBody(code=result.reason_code, detail=result.reason or "")
        return cls(
            subscription_id=result.id,
            outcome=result.outcome,
            change_id=result.change_id,
            reason=reason,
            created_at=result.created_at,
        )

"""Plan moves, and what became of each subscription that they found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import select

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import bulk_insert
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters.mapping import Row
from services.subscriptions.adapters.rows import plan_move, plan_move_result
from services.subscriptions.application.ports import MoveResultFilter
from services.subscriptions.domain.plan_move import (
    Difference,
    MoveOutcome,
    MoveResult,
    PlanMove,
    PlanMoveNotFound,
    PlanMoveState,
)
from services.subscriptions.domain.scheduled_change import When

_DIFFERENCES = TypeAdapter(tuple[Difference, ...])
_ALIKE = (
    "id",
    "version",
    "from_plan_version_id",
    "to_plan_version_id",
    "proration",
    "is_dry_run",
    "is_indexation",
    "reached_id",
    "found_count",
    "moved_count",
    "scheduled_count",
    "unchanged_count",
    "refused_count",
    "created_at",
    "due_at",
    "done_at",
)


def move_to_row(move: PlanMove) -> dict[str, Any]:
    return {
        **{name: getattr(move, name) for name in _ALIKE},
        "state": move.state.value,
        "when_kind": move.when.kind,
        "when_on": move.when.on,
        "differences": _DIFFERENCES.dump_python(move.differences, mode="json"),
        "clock_id": None,
        # Whatever kept it from going on before, it has gone on since.
        "attempts": 0,
        "retry_at": None,
        "last_error": None,
    }


def move_from_row(row: Row) -> PlanMove:
    return PlanMove(
        **{name: row[name] for name in _ALIKE},
        state=PlanMoveState(row["state"]),
        when=When(row["when_kind"], row["when_on"]),
        differences=_DIFFERENCES.validate_python(row["differences"]),
    )


def result_from_row(row: Row) -> MoveResult:
    values = {name: row[name] for name in MoveResult.__slots__}
    return MoveResult(**{**values, "outcome": MoveOutcome(row["outcome"])})


class PlanMoveRepository(Repository[PlanMove]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            plan_move,
            to_row=move_to_row,
            from_row=move_from_row,
            not_found=lambda id: PlanMoveNotFound("there is no plan move with this id"),
        )
        self._results: list[MoveResult] = []

    def add_results(self, results: Sequence[MoveResult]) -> None:
        self._results += results

    async def list_page(self, page: PageRequest) -> Slice[PlanMove]:
        return await self.page_of(page)

    async def list_results(self, wanted: MoveResultFilter, page: PageRequest) -> Slice[MoveResult]:
        column = plan_move_result.c
        statement = select(plan_move_result).where(column.plan_move_id == wanted.plan_move_id)
        if wanted.outcome is not None:
            statement = statement.where(column.outcome == wanted.outcome.value)
        return await fetch_page(
            self.uow.connection,
            statement,
            created_at=column.created_at,
            id=column.id,
            page=page,
            to_view=result_from_row,
        )

    async def flush(self) -> None:
        await super().flush()
        results, self._results = self._results, []
        found = [
            {
                "tenant": self.uow.tenant,
                **{name: getattr(result, name) for name in MoveResult.__slots__},
                "outcome": result.outcome.value,
            }
            for result in results
        ]
        await bulk_insert(self.uow.connection, plan_move_result, found)

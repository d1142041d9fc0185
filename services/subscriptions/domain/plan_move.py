"""A plan move: all subscriptions on one plan version are moved to another, some at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from libs.common.errors import NotFound, RuleViolation
from services.subscriptions.domain.scheduled_change import When
from services.subscriptions.domain.subscription import Subscription
from services.subscriptions.domain.subscription_item import Proration

DIFFERENCES_MAX = 20


class PlanMoveNotFound(NotFound):
    code = "plan_move_not_found"
    title = "There is no such plan move"


class NowhereToMove(RuleViolation):
    code = "nowhere_to_move"
    title = "A plan move goes from one plan version to another"


class OwnPricesInTheWay(RuleViolation):
    """A customer's own prices are of the version that they were agreed for, and are not taken away with many others."""

    code = "own_prices_in_the_way"
    title = "The customer has prices of its own"


class PlanMoveState(StrEnum):
    RUNNING = "running"
    DONE = "done"


class MoveOutcome(StrEnum):
    """`scheduled`: it will be moved when its time comes. `unchanged`: it has that version, or will have it, already."""

    MOVED = "moved"
    SCHEDULED = "scheduled"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class MoveResult:
    """What became of one subscription; in a dry run, what would have. `id` is the subscription's."""

    plan_move_id: str
    id: str
    outcome: MoveOutcome
    created_at: datetime
    change_id: str | None = None
    reason_code: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PricedItem:
    code: str
    price_id: str
    quantity: Decimal | None


@dataclass(frozen=True, slots=True)
class Difference:
    """What a dry run would have made of a subscription's items."""

    subscription_id: str
    before: tuple[PricedItem, ...]
    after: tuple[PricedItem, ...]


@dataclass(frozen=True, slots=True)
class PlanMove:
    """`reached_id` is the last subscription that was looked at, in the order of ids: whoever goes on begins after it.

    It is due from its beginning until it is done; `due_at` is when it was asked for, or last went on. `is_indexation`:
    the version that it moves to has the prices of before, adjusted to an index.
    """

    id: str
    from_plan_version_id: str
    to_plan_version_id: str
    when: When
    created_at: datetime
    due_at: datetime | None
    proration: Proration | None = None
    is_dry_run: bool = False
    is_indexation: bool = False
    state: PlanMoveState = PlanMoveState.RUNNING
    version: int = 1
    reached_id: str | None = None
    found_count: int = 0
    moved_count: int = 0
    scheduled_count: int = 0
    unchanged_count: int = 0
    refused_count: int = 0
    differences: tuple[Difference, ...] = ()
    done_at: datetime | None = None

    def reached(
        self, results: Sequence[MoveResult], differences: Sequence[Difference], *, more: bool, now: datetime
    ) -> PlanMove:
        """The move after these, in the order of their ids; done if there are no more."""

        def count(outcome: MoveOutcome) -> int:
            return sum(1 for result in results if result.outcome is outcome)

        return replace(
            self,
            version=self.version + 1,
            reached_id=results[-1].id if results else self.reached_id,
            found_count=self.found_count + len(results),
            moved_count=self.moved_count + count(MoveOutcome.MOVED),
            scheduled_count=self.scheduled_count + count(MoveOutcome.SCHEDULED),
            unchanged_count=self.unchanged_count + count(MoveOutcome.UNCHANGED),
            refused_count=self.refused_count + count(MoveOutcome.REFUSED),
            differences=(*self.differences, *differences)[:DIFFERENCES_MAX],
            state=PlanMoveState.RUNNING if more else PlanMoveState.DONE,
            due_at=now if more else None,
            done_at=None if more else now,
        )


def priced_items(subscription: Subscription) -> tuple[PricedItem, ...]:
    return tuple(PricedItem(item.code, item.price_id, item.quantity) for item in subscription.items)

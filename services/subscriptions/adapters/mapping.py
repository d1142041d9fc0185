"""Rows ↔ domain objects of subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from libs.common.contracts.catalog import PlanV1
from libs.common.periods import Interval
from services.subscriptions.domain.billing_period import BillingPeriod, Calendar
from services.subscriptions.domain.customer import Customer
from services.subscriptions.domain.subject_binding import SubjectBinding
from services.subscriptions.domain.subscription import Subscription, SubscriptionState
from services.subscriptions.domain.subscription_item import SubscriptionItem
from services.subscriptions.domain.test_clock import ClockMove, MoveState, TestClock

Row = Mapping[Any, Any]  # of SQLAlchemy or of the driver


def customer_to_row(customer: Customer) -> dict[str, Any]:
    row = {name: getattr(customer, name) for name in Customer.__slots__}
    return {**row, "metadata": dict(customer.metadata or {})}


def customer_from_row(row: Row) -> Customer:
    return Customer(**{name: row[name] for name in Customer.__slots__})


def plan_to_row(plan: PlanV1) -> dict[str, Any]:
    return {
        "id": plan.plan_version_id,
        "plan_id": plan.plan_id,
        "code": plan.code,
        "plan_version": plan.plan_version,
        "plan": plan.model_dump(mode="json", exclude_defaults=True),
        "valid_from": plan.valid_from,
        "valid_until": plan.valid_until,
    }


def plan_from_row(row: Row) -> PlanV1:
    return PlanV1.model_validate(row["plan"])


def subscription_to_row(subscription: Subscription) -> dict[str, Any]:
    calendar, period = subscription.calendar, subscription.period
    return {
        "id": subscription.id,
        "version": subscription.version,
        "customer_id": subscription.customer_id,
        "external_id": subscription.external_id,
        "plan_version_id": subscription.plan_version_id,
        "plan_code": subscription.plan_code,
        "plan_name": subscription.plan_name,
        "currency": subscription.currency,
        "zone": calendar.zone,
        "anchor_on": calendar.anchor_on,
        "interval_unit": calendar.interval.unit,
        "interval_count": calendar.interval.count,
        "state": subscription.state.value,
        "starts_at": subscription.starts_at,
        "term_ends_at": subscription.term_ends_at,
        "cancels_at": subscription.cancels_at,
        "period_index": period.index if period else None,
        "period_start_on": period.start_on if period else None,
        "period_end_on": period.end_on if period else None,
        "period_start": period.start if period else None,
        "period_end": period.end if period else None,
        "ended_at": subscription.ended_at,
        "end_reason": subscription.end_reason,
        "created_at": subscription.created_at,
        "due_at": subscription.due_at,
        "clock_id": subscription.test_clock_id,
        # Whatever kept it from being renewed before, it has been changed since.
        "attempts": 0,
        "retry_at": None,
        "last_error": None,
    }


def subscription_from_row(row: Row) -> Subscription:
    """Without its items, which stand in a table of their own."""
    return Subscription(
        id=row["id"],
        version=row["version"],
        customer_id=row["customer_id"],
        external_id=row["external_id"],
        plan_version_id=row["plan_version_id"],
        plan_code=row["plan_code"],
        plan_name=row["plan_name"],
        currency=row["currency"],
        calendar=Calendar(
            anchor_on=row["anchor_on"],
            interval=Interval(row["interval_unit"], row["interval_count"]),
            zone=row["zone"],
        ),
        items=(),
        state=SubscriptionState(row["state"]),
        starts_at=row["starts_at"],
        term_ends_at=row["term_ends_at"],
        cancels_at=row["cancels_at"],
        period=_period_from_row(row) if row["period_index"] is not None else None,
        ended_at=row["ended_at"],
        end_reason=row["end_reason"],
        test_clock_id=row["clock_id"],
        created_at=row["created_at"],
    )


def _period_from_row(row: Row) -> BillingPeriod:
    return BillingPeriod(
        index=row["period_index"],
        start_on=row["period_start_on"],
        end_on=row["period_end_on"],
        start=row["period_start"],
        end=row["period_end"],
    )


def item_to_row(item: SubscriptionItem, *, subscription_id: str, position: int) -> dict[str, Any]:
    return {
        "id": item.id,
        "subscription_id": subscription_id,
        "position": position,
        "price_id": item.price_id,
        "price_code": item.price_code,
        "kind": item.kind,
        "meter": item.meter,
        "quantity": item.quantity,
    }


def item_from_row(row: Row) -> SubscriptionItem:
    return SubscriptionItem(**{name: row[name] for name in SubscriptionItem.__slots__})


def period_to_row(subscription_id: str, period: BillingPeriod) -> dict[str, Any]:
    return {
        "subscription_id": subscription_id,
        "index": period.index,
        "start_on": period.start_on,
        "end_on": period.end_on,
        "start_at": period.start,
        "end_at": period.end,
    }


def binding_to_row(binding: SubjectBinding) -> dict[str, Any]:
    return {name: getattr(binding, name) for name in SubjectBinding.__slots__}


def binding_from_row(row: Row) -> SubjectBinding:
    return SubjectBinding(**{name: row[name] for name in SubjectBinding.__slots__})


def test_clock_to_row(test_clock: TestClock) -> dict[str, Any]:
    return {name: getattr(test_clock, name) for name in TestClock.__slots__}


def test_clock_from_row(row: Row) -> TestClock:
    return TestClock(**{name: row[name] for name in TestClock.__slots__})


def clock_move_to_row(move: ClockMove) -> dict[str, Any]:
    return {
        "id": move.id,
        "state": move.state.value,
        "from_at": move.from_at,
        "to_at": move.to_at,
        "clock_now": move.clock_now,
        "steps": move.steps,
        "next_due_at": move.next_due_at,
        "waiting_for": move.waiting_for,
        "started_at": move.started_at,
        "arrived_at": move.arrived_at,
        "clock_id": move.test_clock_id,
        "due_at": move.started_at if move.state is MoveState.MOVING else None,
    }


def clock_move_from_row(row: Row) -> ClockMove:
    return ClockMove(
        id=row["id"],
        test_clock_id=row["clock_id"],
        state=MoveState(row["state"]),
        from_at=row["from_at"],
        to_at=row["to_at"],
        clock_now=row["clock_now"],
        steps=row["steps"],
        next_due_at=row["next_due_at"],
        waiting_for=row["waiting_for"],
        started_at=row["started_at"],
        arrived_at=row["arrived_at"],
    )

"""Rows ↔ domain objects of subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from libs.common.contracts.catalog import PlanV1
from libs.common.periods import Interval
from services.subscriptions.adapters.parts_json import (
    ACTIVATION,
    PAUSES,
    REMINDERS,
    TERM,
    more_of_period,
    period_from,
    proration_from_json,
    proration_to_json,
    to_json,
)
from services.subscriptions.domain.billing_period import BillingPeriod, Bounds, Calendar
from services.subscriptions.domain.customer import Customer
from services.subscriptions.domain.postal_address import PostalAddress
from services.subscriptions.domain.subject_binding import SubjectBinding
from services.subscriptions.domain.subscription import Dunning, Subscription, SubscriptionState
from services.subscriptions.domain.subscription_item import ItemSegment, SubscriptionItem
from services.subscriptions.domain.test_clock import ClockMove, MoveState, TestClock

Row = Mapping[Any, Any]  # of SQLAlchemy or of the driver


def customer_to_row(customer: Customer) -> dict[str, Any]:
    row = {name: getattr(customer, name) for name in Customer.__slots__}
    return {
        **row,
        "metadata": dict(customer.metadata or {}),
        "address": asdict(customer.address) if customer.address else None,
        "name_key": customer.name.casefold(),
        "email_key": customer.email.casefold() if customer.email else None,
    }


def customer_from_row(row: Row) -> Customer:
    values = {name: row[name] for name in Customer.__slots__}
    address = PostalAddress(**values["address"]) if values["address"] else None
    return Customer(**{**values, "address": address})


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
        "period_more": more_of_period(period),
        "ended_at": subscription.ended_at,
        "end_reason": subscription.end_reason,
        "created_at": subscription.created_at,
        "due_at": subscription.due_at,
        "clock_id": subscription.test_clock_id,
        "dunning": subscription.dunning.value,
        "pauses": to_json(PAUSES, subscription.pauses),
        "touched": sorted(subscription.touched) or None,
        "reminders": to_json(REMINDERS, subscription.reminders),
        "activation": to_json(ACTIVATION, subscription.activation),
        "term": to_json(TERM, subscription.term),
        "proration": proration_to_json(subscription.proration),
        **{name: getattr(subscription, name) for name in _PLAIN},
        # Whatever kept it from being renewed before, it has been changed since.
        "attempts": 0,
        "retry_at": None,
        "last_error": None,
    }


# Columns and fields that are called alike and hold the same.
_PLAIN = (
    "cancel_credit",
    "cancel_reason",
    "keeps_charges_of",
    "overlay_id",
    "payer_id",
    "trial_ends_at",
    "trial_without_payment_method",
    "merges_stub",
    "next_change_at",
    "boundary_changes",
    "phase",
    "phase_ends_index",
    "billed_until",
    "won_back_from",
    "withdrawal_ends_on",
)


def subscription_from_row(row: Row) -> Subscription:
    """Without its segments, which stand in a table of their own."""
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
        segments=(),
        state=SubscriptionState(row["state"]),
        starts_at=row["starts_at"],
        term_ends_at=row["term_ends_at"],
        cancels_at=row["cancels_at"],
        period=_period_from_row(row) if row["period_index"] is not None else None,
        ended_at=row["ended_at"],
        end_reason=row["end_reason"],
        test_clock_id=row["clock_id"],
        created_at=row["created_at"],
        dunning=Dunning(row["dunning"]),
        pauses=PAUSES.validate_python(row["pauses"] or ()),
        touched=frozenset(row["touched"] or ()),
        reminders=REMINDERS.validate_python(row["reminders"] or ()),
        activation=ACTIVATION.validate_python(row["activation"]) if row["activation"] else None,
        term=TERM.validate_python(row["term"]) if row["term"] else None,
        proration=proration_from_json(row["proration"]),
        **{name: row[name] for name in _PLAIN},
    )


def _period_from_row(row: Row) -> BillingPeriod:
    bounds = Bounds(row["period_start_on"], row["period_end_on"], row["period_start"], row["period_end"])
    return period_from(row["period_index"], bounds, row["period_more"])


def item_to_row(item: SubscriptionItem, *, subscription_id: str, position: int) -> dict[str, Any]:
    """The item as it was first agreed on: what others refer to."""
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


def segment_to_row(segment: ItemSegment, *, subscription_id: str, ordinal: int) -> dict[str, Any]:
    item = segment.item
    return {
        "subscription_id": subscription_id,
        "ordinal": ordinal,
        "item_id": item.id,
        "price_id": item.price_id,
        "price_code": item.price_code,
        "kind": item.kind,
        "meter": item.meter,
        "quantity": item.quantity,
        "plan_version_id": item.plan_version_id,
        "overlay_id": item.overlay_id,
        "add_on": item.add_on,
        "start_at": segment.start,
        "start_on": segment.start_on,
        "end_at": segment.end,
        "end_on": segment.end_on,
        "start_proration": segment.start_proration,
        "end_proration": segment.end_proration,
        "is_indexation": segment.is_indexation,
    }


def segment_from_row(row: Row) -> ItemSegment:
    item = SubscriptionItem(
        id=row["item_id"],
        price_id=row["price_id"],
        price_code=row["price_code"],
        kind=row["kind"],
        meter=row["meter"],
        quantity=row["quantity"],
        plan_version_id=row["plan_version_id"],
        overlay_id=row["overlay_id"],
        add_on=row["add_on"],
    )
    return ItemSegment(
        item=item,
        start=row["start_at"],
        start_on=row["start_on"],
        end=row["end_at"],
        end_on=row["end_on"],
        start_proration=row["start_proration"],
        end_proration=row["end_proration"],
        is_indexation=row["is_indexation"],
    )


def period_to_row(subscription_id: str, period: BillingPeriod) -> dict[str, Any]:
    return {
        "subscription_id": subscription_id,
        "index": period.index,
        "start_on": period.start_on,
        "end_on": period.end_on,
        "start_at": period.start,
        "end_at": period.end,
        "more": more_of_period(period),
    }


def period_from_row(row: Row) -> BillingPeriod:
    bounds = Bounds(row["start_on"], row["end_on"], row["start_at"], row["end_at"])
    return period_from(row["index"], bounds, row["more"])


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

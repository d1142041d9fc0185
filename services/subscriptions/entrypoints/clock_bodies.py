"""Requests and answers about test clocks and their moves."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field

from libs.common.web.bodies import Instant, Name, StrictBody, identifier
from services.subscriptions.domain.test_clock import ClockMove, MoveState, TestClock

MoveId = Annotated[str, identifier("mov"), Field(examples=["mov_01jz3v6m1qk0c8n4r2d5s7t9wx"])]


class TestClockCreateBody(StrictBody):
    """A clock that shows `starts_at` until it is moved."""

    name: Name = Field(examples=["The year 2013"])
    starts_at: Instant = Field(examples=["2013-01-01T05:00:00Z"])


class TestClockBody(StrictBody):
    id: str
    name: str
    now: Instant
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, test_clock: TestClock) -> Self:
        return cls(
            id=test_clock.id,
            name=test_clock.name,
            now=test_clock.now,
            version=test_clock.version,
            created_at=test_clock.created_at,
        )


class ClockMoveCreateBody(StrictBody):
    """Forward only. To where the clock stands: it has arrived when all that is due has been done."""

    to: Instant = Field(examples=["2013-02-01T05:00:00Z"])


class ClockMoveBody(StrictBody):
    """`waiting_for` says what keeps the clock at `clock_now`, when it stays there for more than a moment."""

    id: str
    test_clock_id: str
    state: MoveState
    from_at: Instant = Field(serialization_alias="from")
    to_at: Instant = Field(serialization_alias="to")
    clock_now: Instant
    steps: int
    next_due_at: Instant | None
    waiting_for: str | None
    started_at: Instant
    arrived_at: Instant | None

    @classmethod
    def from_domain(cls, move: ClockMove) -> Self:
        return cls(
            id=move.id,
            test_clock_id=move.test_clock_id,
            state=move.state,
            from_at=move.from_at,
            to_at=move.to_at,
            clock_now=move.clock_now,
            steps=move.steps,
            next_due_at=move.next_due_at,
            waiting_for=move.waiting_for,
            started_at=move.started_at,
            arrived_at=move.arrived_at,
        )

"""What is said about usage: how much, of which events, how balances stand, and as of when all that is true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import Field

from libs.common.web.bodies import DecimalText, Instant, StrictBody, decimal_text, instant_text
from services.metering.application.ask_usage import UsageAnswer, UsageSlice
from services.metering.application.list_usage_balances import BalanceNow, BalancesNow
from services.metering.application.list_usage_behind import UsageBehind
from services.metering.application.prove_usage import leaf_for
from services.metering.application.reads import AnswerPosition, MeasuredEvent
from services.metering.domain.usage_seal import hash_of

Operation = Literal["add", "remove"]


class PositionBody(StrictBody):
    """What the answer has seen. `snapshot` names the transactions of the database that were committed by then.

    `usage_topic`, where usage goes through a topic: by partition, the offset that is stored next.
    """

    snapshot: str = Field(examples=["7421:7421:"])
    usage_topic: dict[str, int] = Field(examples=[{"0": 1204}])

    @classmethod
    def from_view(cls, position: AnswerPosition) -> Self:
        return cls(
            snapshot=position.snapshot,
            usage_topic={str(partition): offset for partition, offset in position.usage_topic.items()},
        )


class UsageRowBody(StrictBody):
    """Usage from `from` until before `to`, of one group."""

    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    group: dict[str, str | None]
    quantity: DecimalText
    event_count: int

    @classmethod
    def from_slice(cls, found: UsageSlice) -> Self:
        return cls.model_validate(
            {
                "from": found.start,
                "to": found.end,
                "group": found.group,
                "quantity": found.usage.quantity,
                "event_count": found.usage.event_count,
            }
        )


_AS_OF = "Everything that was stored by then is counted."
_COMPLETE = "False while a meter that was made after its events is still being filled with them."
_FILLED = "Up to when usage is counted in full, while the answer is not complete."


class UsageBody(StrictBody):
    """A page of whole windows. Everything that was stored by `as_of` is counted, all of it read at one instant."""

    meter: str
    unit: str | None
    data: list[UsageRowBody]
    next_cursor: str | None
    as_of: Annotated[Instant, Field(description=_AS_OF)]
    position: PositionBody
    is_complete: Annotated[bool, Field(description=_COMPLETE)]
    filled_until: Annotated[Instant | None, Field(description=_FILLED)]

    @classmethod
    def from_answer(cls, answer: UsageAnswer, next_cursor: str | None) -> Self:
        return cls(
            meter=answer.meter.code,
            unit=answer.meter.unit,
            data=[UsageRowBody.from_slice(found) for found in answer.slices],
            next_cursor=next_cursor,
            as_of=answer.position.as_of,
            position=PositionBody.from_view(answer.position),
            is_complete=answer.filled_until is None,
            filled_until=answer.filled_until,
        )


class MeasuredEventBody(StrictBody):
    """An event behind a figure, as it was stored, with what its meter took from it. Numbers in `data` are exact.

    `value` is null where the meter only counts; `member` and `operation` are there where it counts different things.
    Of a level (time-weighted meters), `level` is what it was from then on, `seconds` how long, or `days` on how many days
    the change weighs, and `contribution` what that is of the figure: all contributions add up to it. The level that was
    there before comes first and has no `id`.
    """

    id: str | None
    source: str | None
    type: str | None
    subject: str
    time: Instant
    arrived_at: Instant | None
    data: Any
    group: dict[str, str | None]
    value: DecimalText | None
    member: str | None
    operation: Operation | None
    level: DecimalText | None
    seconds: DecimalText | None
    days: int | None
    contribution: DecimalText | None


class WindowEventBody(MeasuredEventBody):
    """An event behind a total, and how it stands in the window's seal: `key` places it among events of one instant."""

    key: str
    leaf_hash: str = Field(description="Of its leaf, in hex, as docs/proofs.md makes it.")


class MeasuredEventsBody(StrictBody):
    """A page of the events behind a figure, in the order in which they happened."""

    data: list[MeasuredEventBody]
    next_cursor: str | None
    as_of: Annotated[Instant, Field(description=_AS_OF)]
    position: PositionBody
    is_complete: Annotated[bool, Field(description=_COMPLETE)]
    filled_until: Annotated[Instant | None, Field(description=_FILLED)]


class UsageBalanceBody(StrictBody):
    """How much of an item was used in the period under way: now, and as it was told to others last."""

    item_id: str
    subscription_id: str
    customer_id: str
    meter: str
    period_index: int
    period_start: Instant
    period_end: Instant
    quantity: DecimalText
    event_count: int
    said_quantity: DecimalText | None = Field(
        description="What entitlements go by; null if nothing was said of this period yet."
    )
    said_at: Instant | None
    is_complete: Annotated[bool, Field(description=_COMPLETE)]

    @classmethod
    def from_view(cls, balance: BalanceNow) -> Self:
        return cls(
            item_id=balance.total.item_id,
            subscription_id=balance.window.subscription_id,
            customer_id=balance.window.customer_id,
            meter=balance.total.meter,
            period_index=balance.window.period_index,
            period_start=balance.window.window_start,
            period_end=balance.window.window_end,
            quantity=balance.total.quantity,
            event_count=balance.total.event_count,
            said_quantity=balance.said_quantity,
            said_at=balance.said_at,
            is_complete=balance.filled_until is None,
        )


class UsageBalancesBody(StrictBody):
    """The balances of so many periods under way as were asked for."""

    data: list[UsageBalanceBody]
    next_cursor: str | None
    as_of: Annotated[Instant, Field(description=_AS_OF)]
    position: PositionBody

    @classmethod
    def from_view(cls, found: BalancesNow, next_cursor: str | None) -> Self:
        return cls(
            data=[UsageBalanceBody.from_view(balance) for balance in found.balances.items],
            next_cursor=next_cursor,
            as_of=found.position.as_of,
            position=PositionBody.from_view(found.position),
        )


def measured_json(measured: MeasuredEvent) -> Mapping[str, Any]:
    """As `MeasuredEventBody`, with the event's data as it was stored."""
    event, step = measured.event, measured.step
    operation = None if measured.member is None else "add" if measured.is_in else "remove"
    return {
        "id": event and event.event_id,
        "source": event and event.source,
        "type": event and event.type,
        "subject": measured.subject,
        "time": instant_text(measured.at),
        "arrived_at": event and instant_text(event.arrived_at),
        "data": msgspec.Raw(((event and event.data_json) or "null").encode()),
        "group": measured.group,
        "value": None if measured.value is None else decimal_text(measured.value),
        "member": measured.member,
        "operation": operation,
        "level": step and decimal_text(step.level),
        "seconds": None if step is None or step.seconds is None else decimal_text(step.seconds),
        "days": step and step.days,
        "contribution": step and decimal_text(step.contribution),
    }


def window_event_json(measured: MeasuredEvent) -> Mapping[str, Any]:
    """As `WindowEventBody`."""
    leaf_hash = hash_of(leaf_for(measured)).hex()
    return {**measured_json(measured), "key": measured.key.hex, "leaf_hash": leaf_hash}


def behind_json(found: UsageBehind, next_cursor: str | None) -> bytes:
    """As `MeasuredEventsBody`."""
    return msgspec.json.encode(
        {
            "data": [measured_json(event) for event in found.events],
            "next_cursor": next_cursor,
            "as_of": instant_text(found.position.as_of),
            "position": PositionBody.from_view(found.position).model_dump(),
            "is_complete": found.filled_until is None,
            "filled_until": found.filled_until and instant_text(found.filled_until),
        }
    )

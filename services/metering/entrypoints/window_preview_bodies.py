"""Requests and answers of previews: the events of a change that was not made, and what windows would say then."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from libs.common.contracts.metering import UsageCorrectedV1, UsageWindowClosedV1
from libs.common.contracts.subscriptions import (
    AGREEMENT_EVENTS,
    AgreementEvent,
    SubscriptionRenewedV1,
)
from libs.common.errors import InputError, InvalidInput
from libs.common.web.bodies import Instant, StrictBody
from libs.common.web.sent_events import read_sent_event
from services.metering.application.preview_usage_windows import Told

EVENTS_MAX = 200


class UsageWindowPreviewInvalid(InvalidInput):
    """Not events as subscriptions publishes them; everything wrong is listed."""

    code: ClassVar[str] = "usage_window_preview_invalid"
    title: ClassVar[str] = "The events of the preview are invalid"


class SupposedEventBody(StrictBody):
    """An event as the service subscriptions would publish it; its tenant is the token's."""

    type: str = Field(max_length=200, examples=[SubscriptionRenewedV1.TYPE])
    data: dict[str, Any]


class NewUsageWindowPreviewBody(StrictBody):
    """What a change of agreements would say, in the order in which it would be published."""

    events: Annotated[list[SupposedEventBody], Field(min_length=1, max_length=EVENTS_MAX)]

    def to_events(self, *, tenant: str) -> list[AgreementEvent]:
        """Raises: UsageWindowPreviewInvalid, with all that is wrong."""
        events: list[AgreementEvent] = []
        faults: list[InputError] = []
        for place, supposed in enumerate(self.events):
            contract = AGREEMENT_EVENTS.get(supposed.type)
            if contract is None:
                faults.append({"pointer": f"/events/{place}/type", "detail": "is no event of an agreement"})
                continue
            event, found = read_sent_event(contract, supposed.data, tenant=tenant, at=f"/events/{place}/data")
            faults += found
            if event is not None:
                events.append(event)
        if faults:
            raise UsageWindowPreviewInvalid(
                "the events cannot be read: see errors",
                errors=faults,
                remedy="Send them as the service subscriptions publishes them.",
            )
        return events


class SaidEventBody(StrictBody):
    """An event as metering would publish it."""

    type: Literal["perennial.metering.usage_window.closed.v1", "perennial.metering.usage.corrected.v1"]
    data: dict[str, Any]

    @classmethod
    def from_event(cls, event: Told) -> Self:
        assert event.TYPE in (UsageWindowClosedV1.TYPE, UsageCorrectedV1.TYPE)
        return cls.model_validate({"type": event.TYPE, "data": event.model_dump(mode="json")})


class UsageWindowPreviewBody(StrictBody):
    """What windows would say. All usage that was stored by `as_of` is counted.

    `usage_records_waiting` were accepted and are not stored yet, `events_waiting` were said of subscriptions and
    bindings and not heard yet; null where nobody can tell.
    """

    as_of: Instant
    usage_records_waiting: int | None = Field(examples=[0])
    events_waiting: int | None = Field(examples=[0])
    events: list[SaidEventBody]

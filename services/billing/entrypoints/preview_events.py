"""Reading the events of a preview: what was sent → the contracts, with every fault and its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from libs.common.contracts.catalog import PriceV1
from libs.common.contracts.envelope import Event
from libs.common.contracts.metering import UsageWindowClosedV1
from libs.common.contracts.subscriptions import (
    AGREEMENT_EVENTS,
    AgreementEvent,
    BillingPeriodV1,
    SubscriptionItemV1,
    TermSegmentV1,
)
from libs.common.errors import InputError, ServiceError
from libs.common.money import exponent
from libs.common.web.bodies import known_zones
from libs.common.web.sent_events import read_sent_event
from services.billing.application.preview_invoices import InvoicePreviewInvalid
from services.billing.application.snapshots import price_from
from services.billing.domain.rating.validate_price import validate_price

PREVIEWED: Mapping[str, type[Event]] = {
    **AGREEMENT_EVENTS,
    UsageWindowClosedV1.TYPE: UsageWindowClosedV1,
}

PERIODS_MAX = 100_000


def read_events(given: Sequence[tuple[str, Mapping[str, Any]]], *, tenant: str) -> list[Event]:
    """The events, of `tenant` whatever they say themselves.

    Raises: InvoicePreviewInvalid, with everything that is wrong with them.
    """
    events: list[Event] = []
    faults: list[InputError] = []
    for position, (type_name, data) in enumerate(given):
        at, contract = f"/events/{position}/data", PREVIEWED[type_name]
        event, found = read_sent_event(contract, data, tenant=tenant, at=at)
        faults += found
        if event is not None:
            events.append(event)
            faults += _agreement_faults(event, at) if isinstance(event, AgreementEvent) else ()
    if faults:
        raise InvoicePreviewInvalid("the events cannot be read: see errors", errors=faults)
    return events


def _agreement_faults(event: AgreementEvent, at: str) -> Iterator[InputError]:
    subscription, here = event.subscription, f"{at}/subscription"
    if subscription.zone not in known_zones():
        yield _fault(f"{here}/zone", "must be a time zone of the IANA database")
    try:
        exponent(subscription.currency)
    except ServiceError:
        yield _fault(f"{here}/currency", "must be a currency of ISO 4217")
    if subscription.interval_count < 1:
        yield _fault(f"{here}/interval_count", "must be at least 1")
    for position, item in enumerate(subscription.items):
        yield from _item_faults(item, subscription.currency, f"{here}/items/{position}")
    for name in ("period", "ended"):
        period = getattr(event, name, None)
        if period is not None:
            yield from _period_faults(period, f"{at}/{name}")
    for place, terms in enumerate(event.terms):
        yield from _period_faults(terms.period, f"{at}/terms/{place}/period")
        for position, segment in enumerate(terms.segments):
            inside = f"{at}/terms/{place}/segments/{position}"
            yield from _item_faults(segment, subscription.currency, inside)
            if segment.end < segment.start or segment.end_on < segment.start_on:
                yield _fault(f"{inside}/end", "is not before the start")


def _item_faults(item: SubscriptionItemV1 | TermSegmentV1, currency: str, at: str) -> Iterator[InputError]:
    price: PriceV1 = item.price
    if price.currency != currency:
        yield _fault(f"{at}/price/currency", "is that of the subscription")
    for fault in validate_price(price_from(price)):
        yield _fault(f"{at}/price{fault['pointer']}", fault["detail"])
    if price.kind == "usage":
        return
    if item.quantity is None:
        yield _fault(f"{at}/quantity", "is needed: only usage is counted afterwards")
    elif item.quantity < 0:
        yield _fault(f"{at}/quantity", "must not be negative")


def _period_faults(period: BillingPeriodV1, at: str) -> Iterator[InputError]:
    if period.index > PERIODS_MAX:
        yield _fault(f"{at}/index", f"must be at most {PERIODS_MAX}")
    if period.end < period.start or period.end_on < period.start_on:
        yield _fault(f"{at}/end", "is not before the start")


def _fault(pointer: str, detail: str) -> InputError:
    return {"pointer": pointer, "detail": detail}

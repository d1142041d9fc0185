"""Events, in words: what a subscription's timeline shows of its own changes, its documents, payments and usage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from libs.common.contracts.billing import (
    DunningStepTakenV1,
    InvoiceFinalizedV1,
    InvoicePaidV1,
    InvoiceReopenedV1,
    InvoiceV1,
    InvoiceVoidedV1,
    PaymentFailedV1,
)
from libs.common.contracts.envelope import Event
from libs.common.contracts.metering import UsageCorrectedV1, UsageWindowClosedV1
from libs.common.contracts.subscriptions import (
    AgreementEvent,
    BillingPeriodV1,
    SubscriptionChangedV1,
    SubscriptionEndedV1,
    SubscriptionPastDueV1,
    SubscriptionPausedV1,
    SubscriptionReceiptIssuedV1,
    SubscriptionRecoveredV1,
    SubscriptionRenewalUpcomingV1,
    SubscriptionRenewedV1,
    SubscriptionResumedV1,
    SubscriptionScheduledV1,
    SubscriptionStartedV1,
    SubscriptionSuspendedV1,
    SubscriptionTrialEndingV1,
)
from libs.common.money import Money
from libs.common.telemetry import current_traceparent
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.timeline_entry import TimelineEntry

Told = tuple[str, str | None]
"""The words, and the id of what they are about."""


def note(event: Event, subscription_id: str, *, uow: UnitOfWork, zone: str = "UTC") -> None:
    """Add what the event tells of to the subscription's timeline, in the transaction that it is told or heard in.

    Dates are those of `zone`: the subscription's, where whoever calls this knows it, or the event does.
    """
    if isinstance(event, AgreementEvent):
        zone = event.subscription.zone
    words, about = WORDS[type(event)](event, zone)
    trace = current_traceparent()
    uow.timeline.add(
        TimelineEntry(
            id=uow.timeline.next_id(subscription_id),
            subscription_id=subscription_id,
            at=event.occurred_at,
            event=type(event).__name__.removesuffix("V1"),
            words=words,
            about=about,
            trace_id=trace.split("-")[1] if trace else None,
        )
    )


def _agreed(event: AgreementEvent) -> str:
    """The items, as they are agreed on now."""
    items = [
        f"{_number(item.quantity)} × {item.price.description}"
        if item.quantity is not None
        else item.price.description
        for item in event.subscription.items
    ]
    return f"{event.subscription.plan_name} ({', '.join(items)})" if items else event.subscription.plan_name


def _scheduled(event: SubscriptionScheduledV1, zone: str) -> Told:
    if event.subscription.state == "awaiting_activation":
        return f"Agreed on: {_agreed(event)}; begins when it is activated", None
    return f"Agreed on: {_agreed(event)}; begins {_day(event.subscription.starts_at, zone)}", None


def _started(event: SubscriptionStartedV1, zone: str) -> Told:
    if event.period.kind == "trial":
        return f"Trial of {event.subscription.plan_name} began, until {_date(event.period.end_on)}", None
    return f"Began: {_agreed(event)}; {_period(event.period)}", None


def _renewed(event: SubscriptionRenewedV1, zone: str) -> Told:
    if event.ended.kind == "trial":
        return f"Trial over: {_agreed(event)}; {_period(event.period)}", None
    return f"Renewed: {_agreed(event)}; {_period(event.period)}", None


def _changed(event: SubscriptionChangedV1, zone: str) -> Told:
    ends_at = event.subscription.ends_at
    if event.subscription.state == "ending" and ends_at is not None and not event.terms:
        return f"Canceled, to end {_day(ends_at, zone)}", None
    until = f"; ends {_day(ends_at, zone)}" if ends_at is not None else ""
    return f"Changed: {_agreed(event)}{until}", None


def _paused(event: SubscriptionPausedV1, zone: str) -> Told:
    return f"Paused{f', until {_day(event.resumes_at, zone)}' if event.resumes_at else ''}", None


def _resumed(event: SubscriptionResumedV1, zone: str) -> Told:
    return f"Resumed: {_agreed(event)}", None


def _ended(event: SubscriptionEndedV1, zone: str) -> Told:
    if event.ended is None:
        return "Canceled before it began", None
    return f"Ended {_day(event.ended_at, zone)}: {ENDED[event.reason]}", None


def _trial_ending(event: SubscriptionTrialEndingV1, zone: str) -> Told:
    missing = "" if event.has_payment_method else "; there is no payment method"
    return f"Reminded: the trial ends {_day(event.ends_at, zone)}{missing}", None


def _upcoming(event: SubscriptionRenewalUpcomingV1, zone: str) -> Told:
    return f"Reminded: the term is over {_day(event.term_ends_at, zone)}, in {event.days_before} days", None


def _receipt(event: SubscriptionReceiptIssuedV1, zone: str) -> Told:
    return f"{event.kind.capitalize()} received", event.receipt_id


def _past_due(event: SubscriptionPastDueV1, zone: str) -> Told:
    return "Past due: an invoice is overdue", event.invoice_id


def _suspended(event: SubscriptionSuspendedV1, zone: str) -> Told:
    return "Suspended: an invoice was still not paid", event.invoice_id


def _recovered(event: SubscriptionRecoveredV1, zone: str) -> Told:
    return "All that was overdue is paid", None


def _finalized(event: InvoiceFinalizedV1, zone: str) -> Told:
    invoice = event.invoice
    balance = Money(abs(invoice.balance_applied_minor), invoice.currency)
    if invoice.balance_applied_minor < 0:
        rest = f", {_amount(balance)} to the customer's balance"
    elif invoice.balance_applied_minor > 0:
        rest = f", {_amount(balance)} of it from the customer's balance"
    else:
        rest = ""
    kind = DOCUMENTS.get(invoice.document_kind, invoice.document_kind.capitalize())
    return f"{kind} {invoice.number}: {_total(invoice)}{rest}", invoice.invoice_id


def _paid(event: InvoicePaidV1, zone: str) -> Told:
    return f"Invoice {event.invoice.number} paid", event.invoice.invoice_id


def _failed(event: PaymentFailedV1, zone: str) -> Told:
    again = event.next_attempt_at
    then = f"tried again {_day(again, zone)}" if again else "not tried again"
    why = event.reason.replace("_", " ")
    return (
        f"Payment of invoice {event.invoice.number} failed, attempt {event.attempt_number}: {why}; {then}",
        event.attempt_id,
    )


def _reopened(event: InvoiceReopenedV1, zone: str) -> Told:
    invoice = event.invoice
    due = _amount(Money(event.due_minor, invoice.currency))
    return f"Payment of invoice {invoice.number} taken back: {due} due again", invoice.invoice_id


def _voided(event: InvoiceVoidedV1, zone: str) -> Told:
    return f"Invoice {event.invoice.number} voided", event.invoice.invoice_id


def _dunned(event: DunningStepTakenV1, zone: str) -> Told:
    invoice = event.invoice
    due = _amount(Money(event.due_minor, invoice.currency))
    return f"{_STEPS[event.kind]}: invoice {invoice.number}, {due} due", invoice.invoice_id


def _closed(event: UsageWindowClosedV1, zone: str) -> Told:
    return f"Usage until {_day(event.window_end, zone)}: {_used(event)}", event.window_id


def _corrected(event: UsageCorrectedV1, zone: str) -> Told:
    return f"Usage until {_day(event.window_end, zone)} is, as corrected: {_used(event)}", event.window_id


WORDS: Mapping[type[Event], Callable[[Any, str], Told]] = {
    SubscriptionScheduledV1: _scheduled,
    SubscriptionStartedV1: _started,
    SubscriptionRenewedV1: _renewed,
    SubscriptionChangedV1: _changed,
    SubscriptionPausedV1: _paused,
    SubscriptionResumedV1: _resumed,
    SubscriptionEndedV1: _ended,
    SubscriptionTrialEndingV1: _trial_ending,
    SubscriptionRenewalUpcomingV1: _upcoming,
    SubscriptionReceiptIssuedV1: _receipt,
    SubscriptionPastDueV1: _past_due,
    SubscriptionSuspendedV1: _suspended,
    SubscriptionRecoveredV1: _recovered,
    InvoiceFinalizedV1: _finalized,
    InvoicePaidV1: _paid,
    PaymentFailedV1: _failed,
    InvoiceReopenedV1: _reopened,
    InvoiceVoidedV1: _voided,
    DunningStepTakenV1: _dunned,
    UsageWindowClosedV1: _closed,
    UsageCorrectedV1: _corrected,
}
_STEPS = {
    "overdue": "Overdue",
    "reminder": "Reminder of payment",
    "final_reminder": "Last reminder of payment",
    "suspend": "To be suspended for want of payment",
    "end": "To end for want of payment",
}
ENDED = {
    "term_end": "its term is over",
    "canceled": "canceled",
    "withdrawn": "withdrawn from",
    "trial_without_payment_method": "the trial is over, and there is no payment method",
    "not_paid": "not paid",
}
DOCUMENTS = {"invoice": "Invoice", "change": "Invoice for a change", "credit": "Credit"}


def _used(event: UsageWindowClosedV1 | UsageCorrectedV1) -> str:
    return ", ".join(f"{_number(total.quantity)} {total.meter}" for total in event.totals) or "none"


def _period(period: BillingPeriodV1) -> str:
    return f"period {period.index}, {_date(period.start_on)} until {_date(period.end_on)}"


def _total(invoice: InvoiceV1) -> str:
    return _amount(Money(invoice.total_minor, invoice.currency))


def _amount(money: Money) -> str:
    return f"{money.to_decimal()} {money.currency}"


def _number(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _day(at: datetime, zone: str) -> str:
    """The local date, with the time of day where that is not the beginning of it."""
    local = at.astimezone(ZoneInfo(zone))
    return _date(local.date()) if local.time() == time() else f"{local:%Y-%m-%d %H:%M} ({zone})"


def _date(on: date) -> str:
    return on.isoformat()

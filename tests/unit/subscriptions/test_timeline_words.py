"""Every event that is about a subscription has words in its timeline, and they read well."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from libs.common.contracts import EVENTS
from libs.common.contracts.billing import (
    DunningStepTakenV1,
    InvoiceFinalizedV1,
    InvoicePaidV1,
    InvoiceReopenedV1,
    InvoiceV1,
    InvoiceVoidedV1,
    PaymentFailedV1,
)
from libs.common.contracts.catalog import PriceV1
from libs.common.contracts.envelope import Event
from libs.common.contracts.metering import UsageCorrectedV1, UsageTotalV1, UsageWindowClosedV1
from libs.common.contracts.subscriptions import (
    BillingPeriodV1,
    CustomerV1,
    SubscriptionChangedV1,
    SubscriptionEndedV1,
    SubscriptionItemV1,
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
    SubscriptionV1,
)
from services.subscriptions.application.timeline import WORDS
from tests.support.subscriptions import TENANT, utc

ZONE = "Europe/Amsterdam"
APRIL, MAY = utc("2026-03-31T22:00"), utc("2026-04-30T22:00")
NOON = utc("2026-04-21T10:00")

NOT_ABOUT_ONE_SUBSCRIPTION = {
    "CustomerChangedV1",
    "CustomerBalanceChangedV1",
    "MeterDefinedV1",
    "MeterReadingHeldV1",
    "PaymentMethodChangedV1",
    "TestClockMovedV1",
}
"""Of a customer, a meter, a clock."""
LISTED_ELSEWHERE = {
    "BillingRunChangedV1",
    "CreditNoteIssuedV1",
    "DepositChangedV1",
    "DisputeChangedV1",
    "InvoiceMarkedUncollectibleV1",
    "MailBouncedV1",
    "PaymentReceivedV1",
    "RefundCanceledV1",
    "RefundFailedV1",
    "RefundRequestedV1",
    "RefundSucceededV1",
    "SubjectBoundV1",
    "SubjectReleasedV1",
    "UsageBalanceUpdatedV1",
    "UsageThresholdReachedV1",
    "UsageWindowSealedV1",
    "WalletChangedV1",
    "WalletTopUpRequestedV1",
}
"""Bindings, alerts, mails, payments and what becomes of documents have lists of their own, and balances change with every
use."""


def test_every_event_about_a_subscription_has_words() -> None:
    told = {event.__name__ for type, event in EVENTS.items() if not type.startswith("perennial.catalog.")}
    assert {event.__name__ for event in WORDS} == told - NOT_ABOUT_ONE_SUBSCRIPTION - LISTED_ELSEWHERE


def _price(description: str) -> PriceV1:
    return PriceV1(
        id="prc_1",
        code="seats",
        product_id="prd_1",
        description=description,
        kind="recurring",
        timing="advance",
        model="flat",
        currency="EUR",
        unit_amount=Decimal(10),
    )


def _agreement(**changes: Any) -> SubscriptionV1:
    items = (
        SubscriptionItemV1(item_id="si_1", price=_price("Seats"), quantity=Decimal("5.00")),
        SubscriptionItemV1(item_id="si_2", price=_price("Calls")),
    )
    return SubscriptionV1(
        subscription_id="sub_1",
        customer=CustomerV1(customer_id="cus_1", customer_version=1, name="Somebody"),
        plan_version_id="plv_1",
        plan_name="Large",
        currency="EUR",
        zone=ZONE,
        anchor_on=date(2026, 4, 1),
        interval_unit="month",
        interval_count=1,
        items=items,
        starts_at=APRIL,
    ).model_copy(update=changes)


def _period(index: int = 0, kind: str = "regular") -> BillingPeriodV1:
    return BillingPeriodV1(
        index=index, start_on=date(2026, 4, 1), end_on=date(2026, 5, 1), start=APRIL, end=MAY, kind=kind
    )


def _invoice(**changes: Any) -> InvoiceV1:
    return InvoiceV1(
        invoice_id="inv_1",
        number="S-7",
        subscription_id="sub_1",
        customer_id="cus_1",
        currency="EUR",
        total_minor=3000,
        boundary_at=APRIL,
    ).model_copy(update=changes)


def _usage(event: type[Any], **more: Any) -> Event:
    total = UsageTotalV1(item_id="si_2", meter="calls", quantity=Decimal("12.50"), event_count=3)
    return event(
        **ABOUT,
        window_id="win_1",
        subscription_id="sub_1",
        period_index=0,
        window_start=APRIL,
        window_end=MAY,
        totals=(total,),
        **more,
    )


ABOUT: dict[str, Any] = {"tenant": TENANT, "occurred_at": NOON}
AGREED = {**ABOUT, "subscription": _agreement()}
NAMED = {**ABOUT, "subscription_id": "sub_1", "customer_id": "cus_1"}
LARGE = "Large (5 × Seats, Calls)"


class Case(NamedTuple):
    event: Event
    words: str
    about: str | None = None


CASES = [
    Case(SubscriptionScheduledV1(**AGREED), f"Agreed on: {LARGE}; begins 2026-04-01"),
    Case(
        SubscriptionScheduledV1(**ABOUT, subscription=_agreement(state="awaiting_activation")),
        f"Agreed on: {LARGE}; begins when it is activated",
    ),
    Case(
        SubscriptionStartedV1(**AGREED, period=_period()),
        f"Began: {LARGE}; period 0, 2026-04-01 until 2026-05-01",
    ),
    Case(
        SubscriptionStartedV1(**AGREED, period=_period(kind="trial")),
        "Trial of Large began, until 2026-05-01",
    ),
    Case(
        SubscriptionRenewedV1(**AGREED, ended=_period(), period=_period(1)),
        f"Renewed: {LARGE}; period 1, 2026-04-01 until 2026-05-01",
    ),
    Case(
        SubscriptionRenewedV1(**AGREED, ended=_period(kind="trial"), period=_period(1)),
        f"Trial over: {LARGE}; period 1, 2026-04-01 until 2026-05-01",
    ),
    Case(SubscriptionChangedV1(**AGREED), f"Changed: {LARGE}"),
    Case(
        SubscriptionChangedV1(**ABOUT, subscription=_agreement(items=(), ends_at=MAY)),
        "Changed: Large; ends 2026-05-01",
    ),
    Case(
        SubscriptionChangedV1(**ABOUT, subscription=_agreement(state="ending", ends_at=NOON)),
        "Canceled, to end 2026-04-21 12:00 (Europe/Amsterdam)",
    ),
    Case(SubscriptionPausedV1(**AGREED), "Paused"),
    Case(SubscriptionPausedV1(**AGREED, resumes_at=MAY), "Paused, until 2026-05-01"),
    Case(SubscriptionResumedV1(**AGREED), f"Resumed: {LARGE}"),
    Case(
        SubscriptionEndedV1(**AGREED, ended=_period(), ended_at=MAY, reason="term_end"),
        "Ended 2026-05-01: its term is over",
    ),
    Case(
        SubscriptionEndedV1(**AGREED, ended=None, ended_at=MAY, reason="canceled"),
        "Canceled before it began",
    ),
    Case(
        SubscriptionTrialEndingV1(**NAMED, ends_at=MAY, has_payment_method=False),
        "Reminded: the trial ends 2026-05-01; there is no payment method",
    ),
    Case(
        SubscriptionRenewalUpcomingV1(**NAMED, term_ends_at=MAY, days_before=30, on_term_end="end"),
        "Reminded: the term is over 2026-05-01, in 30 days",
    ),
    Case(
        SubscriptionReceiptIssuedV1(**NAMED, receipt_id="rcp_1", kind="withdrawal"),
        "Withdrawal received",
        "rcp_1",
    ),
    Case(
        SubscriptionPastDueV1(**ABOUT, subscription_id="sub_1", invoice_id="inv_1"),
        "Past due: an invoice is overdue",
        "inv_1",
    ),
    Case(
        SubscriptionSuspendedV1(**ABOUT, subscription_id="sub_1", invoice_id="inv_1"),
        "Suspended: an invoice was still not paid",
        "inv_1",
    ),
    Case(SubscriptionRecoveredV1(**ABOUT, subscription_id="sub_1"), "All that was overdue is paid"),
    Case(InvoiceFinalizedV1(**ABOUT, invoice=_invoice()), "Invoice S-7: 30.00 EUR", "inv_1"),
    Case(
        InvoiceFinalizedV1(**ABOUT, invoice=_invoice(balance_applied_minor=1000)),
        "Invoice S-7: 30.00 EUR, 10.00 EUR of it from the customer's balance",
        "inv_1",
    ),
    Case(
        InvoiceFinalizedV1(
            **ABOUT,
            invoice=_invoice(document_kind="credit", total_minor=-1000, balance_applied_minor=-1000),
        ),
        "Credit S-7: -10.00 EUR, 10.00 EUR to the customer's balance",
        "inv_1",
    ),
    Case(
        InvoiceFinalizedV1(**ABOUT, invoice=_invoice(document_kind="change")),
        "Invoice for a change S-7: 30.00 EUR",
        "inv_1",
    ),
    Case(InvoicePaidV1(**ABOUT, invoice=_invoice()), "Invoice S-7 paid", "inv_1"),
    Case(
        PaymentFailedV1(
            **ABOUT,
            invoice=_invoice(),
            attempt_id="pay_1",
            attempt_number=1,
            reason="no_payment_method",
            next_attempt_at=MAY,
        ),
        "Payment of invoice S-7 failed, attempt 1: no payment method; tried again 2026-05-01",
        "pay_1",
    ),
    Case(
        PaymentFailedV1(
            **ABOUT, invoice=_invoice(), attempt_id="pay_5", attempt_number=5, reason="card declined"
        ),
        "Payment of invoice S-7 failed, attempt 5: card declined; not tried again",
        "pay_5",
    ),
    Case(
        InvoiceReopenedV1(**ABOUT, invoice=_invoice(), payment_id="pmt_1", due_minor=1950, reason="dispute"),
        "Payment of invoice S-7 taken back: 19.50 EUR due again",
        "inv_1",
    ),
    Case(InvoiceVoidedV1(**ABOUT, invoice=_invoice(), reason="wrong"), "Invoice S-7 voided", "inv_1"),
    Case(
        DunningStepTakenV1(
            **ABOUT, invoice=_invoice(), kind="final_reminder", number=2, due_minor=1950, days_overdue=10
        ),
        "Last reminder of payment: invoice S-7, 19.50 EUR due",
        "inv_1",
    ),
    Case(_usage(UsageWindowClosedV1), "Usage until 2026-05-01: 12.5 calls", "win_1"),
    Case(
        _usage(UsageCorrectedV1, revision=2, before=()),
        "Usage until 2026-05-01 is, as corrected: 12.5 calls",
        "win_1",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.words)
def test_it_says(case: Case) -> None:
    assert WORDS[type(case.event)](case.event, ZONE) == (case.words, case.about)


def test_each_event_is_said_in_the_table() -> None:
    assert {type(case.event) for case in CASES} == set(WORDS)

"""Answers about recurring revenue and how customers stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Self

from fastapi import Query
from pydantic import Field

from libs.common.money import Money
from libs.common.web.bodies import BusinessDate, MoneyBody, StrictBody
from libs.common.web.csv_text import csv_line
from services.subscriptions.application.ports import RevenueEntry
from services.subscriptions.application.revenue_queries import RevenueTime, RevenueView
from services.subscriptions.domain.customer_standing import (
    AnnualRevenue,
    Coming,
    CustomerStanding,
    Owed,
)
from services.subscriptions.domain.recurring_revenue import (
    KINDS,
    MovementKind,
    RevenueMonth,
    to_minor,
)

_MONTH = r"^(19|20|21)[0-9]{2}-(0[1-9]|1[0-2])$"

MonthText = Annotated[str, Field(pattern=_MONTH, max_length=7, examples=["2025-06"])]
GivenMonth = Annotated[
    str | None, Query(pattern=_MONTH, max_length=7, description="A calendar month: 2025-06.")
]
CSV_COLUMNS = (
    "month",
    "currency",
    "opening",
    *KINDS,
    "closing",
    "net_retention",
    "gross_retention",
    "customers",
    "subscriptions",
)


def month_of(text: str | None) -> date | None:
    return date.fromisoformat(f"{text}-01") if text is not None else None


def month_text(on: date) -> str:
    return on.isoformat()[:7]


def _ratio(value: Decimal | None) -> str | None:
    return format(value, "f") if value is not None else None


Ratio = Annotated[str | None, Field(examples=["1.0350"])]


class RevenueFiguresBody(StrictBody):
    """MRR as it opened and closed, and what led from the one to the other: the movements add up to the difference.

    `net_retention` is how much of the opening MRR those who had it then have at the end, without indexations;
    `gross_retention` leaves out what any of them took more, and is never above one. Both are null where nothing opened.
    `customers` and `subscriptions` are those with any MRR at the end.
    """

    opening: MoneyBody
    new: MoneyBody
    reactivation: MoneyBody
    expansion: MoneyBody
    indexation: MoneyBody
    contraction: MoneyBody
    churn: MoneyBody
    closing: MoneyBody
    net_retention: Ratio
    gross_retention: Ratio
    customers: int
    subscriptions: int


class RevenueMonthBody(RevenueFiguresBody):
    month: MonthText

    @classmethod
    def from_domain(cls, month: RevenueMonth) -> Self:
        return cls(month=month_text(month.starts_on), **_figures(month))


class RevenueTotalBody(RevenueFiguresBody):
    @classmethod
    def from_domain(cls, total: RevenueMonth) -> Self:
        return cls(**_figures(total))


class RevenueInCurrencyBody(StrictBody):
    """One currency; `total` takes all of the time as one, so that who came and went again in it is in neither."""

    currency: str
    months: list[RevenueMonthBody]
    total: RevenueTotalBody

    @classmethod
    def from_view(cls, view: RevenueView) -> Self:
        return cls(
            currency=view.currency,
            months=[RevenueMonthBody.from_domain(month) for month in view.months],
            total=RevenueTotalBody.from_domain(view.total),
        )


class RevenueMovementsBody(StrictBody):
    """Months from `from` to `to`, both shown. Amounts of different currencies are never added up."""

    from_: MonthText = Field(alias="from")
    to: MonthText
    data: list[RevenueInCurrencyBody]

    @classmethod
    def from_views(cls, time: RevenueTime, views: Sequence[RevenueView]) -> Self:
        told: dict[str, Any] = {"from": month_text(time.start_on)}
        return cls(
            **told,
            to=month_text(time.last_month),
            data=[RevenueInCurrencyBody.from_view(view) for view in views],
        )


def _figures(month: RevenueMonth) -> dict[str, Any]:
    shown = month.shown()

    def money(amount_minor: int) -> MoneyBody:
        return MoneyBody.from_money(Money(amount_minor, month.currency))

    return {
        "opening": money(shown.opening),
        **{kind: money(amount) for kind, amount in shown.by_kind.items()},
        "closing": money(shown.closing),
        "net_retention": _ratio(month.net_retention),
        "gross_retention": _ratio(month.gross_retention),
        "customers": month.customer_count,
        "subscriptions": month.subscription_count,
    }


def revenue_csv(views: Sequence[RevenueView]) -> str:
    """One record for each month and currency; amounts in major units with the currency's decimals."""
    return "".join(
        [csv_line(CSV_COLUMNS), *(csv_line(_record(one)) for view in views for one in view.months)]
    )


def _record(month: RevenueMonth) -> Iterator[str]:
    shown = month.shown()
    amounts = (shown.opening, *(shown.by_kind[kind] for kind in KINDS), shown.closing)
    yield month_text(month.starts_on)
    yield month.currency
    for amount in amounts:
        yield format(Money(amount, month.currency).to_decimal(), "f")
    yield _ratio(month.net_retention) or ""
    yield _ratio(month.gross_retention) or ""
    yield str(month.customer_count)
    yield str(month.subscription_count)


class RevenueEntryBody(StrictBody):
    """What a day did to the MRR of one subscription; `kind` is what that day did to the customer.

    `before` and `after` are the customer's MRR in this currency, over all of its subscriptions.
    """

    on: BusinessDate
    kind: MovementKind
    customer_id: str
    subscription_id: str
    amount: MoneyBody
    before: MoneyBody
    after: MoneyBody

    @classmethod
    def from_entry(cls, entry: RevenueEntry) -> Self:
        def money(amount: Decimal) -> MoneyBody:
            return MoneyBody.from_money(Money(to_minor(amount, entry.currency), entry.currency))

        return cls(
            on=entry.on_date,
            kind=entry.kind,
            customer_id=entry.customer_id,
            subscription_id=entry.subscription_id,
            amount=money(entry.amount),
            before=money(entry.before),
            after=money(entry.after),
        )


class AnnualRevenueBody(StrictBody):
    """ARR, twelve times MRR, as it was on the first day on which there was any, and as it is now.

    Of the way between them, `indexation` is what price adjustments to an index have added, and `other` the rest.
    `change` and `change_without_indexation` are parts of the original: 0.3500 is 35 percent more.
    """

    currency: str
    original: MoneyBody
    now: MoneyBody
    indexation: MoneyBody
    other: MoneyBody
    change: Ratio
    change_without_indexation: Ratio

    @classmethod
    def from_domain(cls, revenue: AnnualRevenue) -> Self:
        original, now, indexation = (
            to_minor(amount, revenue.currency)
            for amount in (revenue.original, revenue.now, revenue.indexation)
        )

        def money(amount_minor: int) -> MoneyBody:
            return MoneyBody.from_money(Money(amount_minor, revenue.currency))

        return cls(
            currency=revenue.currency,
            original=money(original),
            now=money(now),
            indexation=money(indexation),
            other=money(now - original - indexation),
            change=_ratio(revenue.change),
            change_without_indexation=_ratio(revenue.change_without_indexation),
        )


class OwedBody(StrictBody):
    """What of one currency is due on invoices that are not paid, and what of that is overdue."""

    due: MoneyBody
    overdue: MoneyBody
    overdue_invoices: int

    @classmethod
    def from_domain(cls, owed: Owed) -> Self:
        return cls(
            due=MoneyBody.from_money(Money(owed.due_minor, owed.currency)),
            overdue=MoneyBody.from_money(Money(owed.overdue_minor, owed.currency)),
            overdue_invoices=owed.overdue_count,
        )


class ComingBody(StrictBody):
    on: BusinessDate
    subscription_id: str

    @classmethod
    def from_domain(cls, coming: Coming | None) -> Self | None:
        return cls(on=coming.on, subscription_id=coming.subscription_id) if coming is not None else None


class CustomerStandingBody(StrictBody):
    """Facts, and no score. `as_of` is today in the customer's zone, by its test clock if it has one.

    `tenure_days` counts from `first_active_on` until today, or until the last subscription ended. `renewals` are those of
    minimum terms, and of subscriptions without one the billing periods after the first. `owed` is of the invoices that
    this customer is to pay, also for others; those are overdue from the day after they were due. `notice_by` is the last
    day on which a cancellation is in time for the end of a term.
    """

    customer_id: str
    as_of: BusinessDate
    active: bool
    first_active_on: BusinessDate | None
    tenure_days: int | None
    renewals: int
    revenue: list[AnnualRevenueBody]
    subscriptions: dict[str, int]
    paid_up: bool
    days_overdue: int
    oldest_due_on: BusinessDate | None
    owed: list[OwedBody]
    next_renewal: ComingBody | None
    next_term_end: ComingBody | None
    notice_by: ComingBody | None

    @classmethod
    def from_domain(cls, standing: CustomerStanding) -> Self:
        return cls(
            customer_id=standing.customer_id,
            as_of=standing.as_of,
            active=standing.is_active,
            first_active_on=standing.first_active_on,
            tenure_days=standing.tenure_days,
            renewals=standing.renewals,
            revenue=[AnnualRevenueBody.from_domain(one) for one in standing.revenue],
            subscriptions=dict(standing.by_state),
            paid_up=standing.is_paid_up,
            days_overdue=standing.days_overdue,
            oldest_due_on=standing.oldest_due_on,
            owed=[OwedBody.from_domain(one) for one in standing.owed],
            next_renewal=ComingBody.from_domain(standing.next_renewal),
            next_term_end=ComingBody.from_domain(standing.next_term_end),
            notice_by=ComingBody.from_domain(standing.notice_by),
        )

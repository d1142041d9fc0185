"""A consumer's declaration that it withdraws or cancels, and the receipt for it, which never changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from libs.common.errors import Conflict, NotFound
from libs.common.periods import load_zone, local_date
from services.subscriptions.domain.customer import Customer
from services.subscriptions.domain.subscription import Subscription

ReceiptKind = Literal["cancellation", "withdrawal"]

WITHDRAWAL_DAYS = 14


class ReceiptNotFound(NotFound):
    code = "receipt_not_found"
    title = "There is no such receipt"


class WithdrawalOver(Conflict):
    code = "withdrawal_over"
    title = "The subscription can no longer be withdrawn from"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was declared, by whom as they said, when it was received, and when the subscription ends because of it.

    `text` is the whole of it in words: what is given to the consumer to keep.
    """

    id: str
    kind: ReceiptKind
    subscription_id: str
    customer_id: str
    received_at: datetime
    zone: str
    declared_by: str
    statement: str
    ends_at: datetime | None
    text: str
    created_at: datetime


def withdrawal_ends_on(now: datetime, zone: str, days: int | None, customer: Customer) -> date | None:
    """The first local date on which the agreement made now can no longer be withdrawn from; None where it never can.

    Unless `days` are agreed on, a person has fourteen and a business (a legal name or a VAT id says so) none. The day
    of the agreement does not count.
    Source: consumer rights directive 2011/83/EU, article 9.
    """
    if days is None:
        is_business = customer.legal_name is not None or customer.vat_id is not None
        days = 0 if is_business else WITHDRAWAL_DAYS
    return local_date(now, zone) + timedelta(days=days + 1) if days else None


def refuse_withdrawal(subscription: Subscription, now: datetime) -> None:
    """Raises: WithdrawalOver, SubscriptionOver."""
    subscription.refuse_when_over(now, to="withdraw from")
    until = subscription.withdrawal_ends_on
    if until is None or local_date(now, subscription.calendar.zone) >= until:
        raise WithdrawalOver(
            "the time for a withdrawal is over"
            if until is not None
            else "no withdrawal was agreed on for this subscription",
            withdrawal_ended_on=until,
            remedy="Cancel it (POST /v1/cancellations): it then ends as early as its term allows.",
        )


def write_receipt(
    kind: ReceiptKind,
    subscription: Subscription,
    *,
    id: str,
    declared_by: str,
    statement: str,
    ends_at: datetime | None,
    now: datetime,
    created_at: datetime,
) -> Receipt:
    zone = subscription.calendar.zone
    words = [
        f"Receipt {id}",
        f"Received: {_in_zone(now, zone)}",
        "Declaration: "
        + ("withdrawal from the agreement" if kind == "withdrawal" else "cancellation of the agreement"),
        f"Agreement: {subscription.plan_name}, {subscription.external_id or subscription.id}",
        f"Declared by: {declared_by}",
        "The agreement ends: " + (_in_zone(ends_at, zone) if ends_at is not None else "it never began"),
        "",
        "In the words received:",
        statement,
    ]
    return Receipt(
        id=id,
        kind=kind,
        subscription_id=subscription.id,
        customer_id=subscription.customer_id,
        received_at=now,
        zone=zone,
        declared_by=declared_by,
        statement=statement,
        ends_at=ends_at,
        text="\n".join(words) + "\n",
        created_at=created_at,
    )


def _in_zone(at: datetime, zone: str) -> str:
    local = at.astimezone(load_zone(zone))
    return f"{local:%Y-%m-%d %H:%M:%S} {zone} (UTC{local:%z})"

"""Buying more for a wallet: one invoice sells the credits, and grants them once, when it is issued or paid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from libs.common.errors import Conflict, RuleViolation
from libs.common.exact import text
from libs.common.ids import derived_id
from libs.common.money import Money
from services.billing.domain.manual_line import ManualLine
from services.billing.domain.tax_treatment import OUTSIDE_SCOPE
from services.billing.domain.wallet import Movement, Wallet, granted, is_below_threshold, watched

TopUpCause = Literal["manual", "automatic"]
TopUpState = Literal["open", "granted", "void"]


class TopUpPriceMissing(RuleViolation):
    """Units have no price of their own: the wallet or the request says it."""

    code = "top_up_price_missing"
    title = "A top-up without a price"


class TopUpUsed(Conflict):
    """What was sold has been used, at least in part: the sale stands."""

    code = "top_up_used"
    title = "Credits of the top-up were used"


@dataclass(frozen=True, slots=True)
class TopUp:
    """`amount` of credits for `price`, which is without tax. `invoice_id` is the document that sells them."""

    id: str
    wallet_id: str
    invoice_id: str
    cause: TopUpCause
    amount: Decimal
    price: Money
    priority: int
    days: int | None
    requested_at: datetime
    state: TopUpState = "open"


def price_of(wallet: Wallet, amount: Decimal, price: Money | None = None) -> Money:
    """What so many credits cost: money its amount, units by the wallet's unit amount, unless `price` says it.

    Rounding: once, half away from zero. Raises: TopUpPriceMissing.
    """
    if price is not None:
        return price
    if wallet.is_money:
        return Money.from_decimal(amount, wallet.currency)
    if wallet.unit_amount is None:
        raise TopUpPriceMissing(
            "the wallet does not say what a unit costs",
            pointer="/price",
            remedy="Give the price of this top-up, or set the wallet's unit_amount.",
        )
    return Money.from_decimal(Fraction(amount) * Fraction(wallet.unit_amount), wallet.currency)


def line_of_top_up(wallet: Wallet, top_up: TopUp, *, now: datetime) -> ManualLine:
    """What stands on the invoice. Money is taxed when it is used, units when they are sold."""
    by_unit = (
        wallet.unit_amount is not None
        and not wallet.is_money
        and price_of(wallet, top_up.amount) == top_up.price
    )
    told = text(top_up.amount)
    what = f"{told} {wallet.currency}" if wallet.is_money else f"{told} {wallet.unit}"
    return ManualLine(
        id=derived_id("mln", top_up.id),
        invoice_id=top_up.invoice_id,
        description=f"{wallet.name}: {what} prepaid",
        quantity=top_up.amount if by_unit else Decimal(1),
        unit_amount=wallet.unit_amount if by_unit and wallet.unit_amount else top_up.price.to_decimal(),
        currency=wallet.currency,
        created_at=now,
        tax_category=OUTSIDE_SCOPE if wallet.is_money else wallet.tax_category,
    )


def grant_of_top_up(
    wallet: Wallet, top_up: TopUp, *, cost: Money, now: datetime, actor: str
) -> tuple[TopUp, Movement]:
    """The credits that were sold, from now on. `cost` is what the document asks for them, without tax."""
    movement = granted(
        _without(wallet, top_up),
        amount=top_up.amount,
        cost=cost,
        priority=top_up.priority,
        now=now,
        actor=actor,
        expires_at=None if top_up.days is None else now + timedelta(days=top_up.days),
        source="top_up",
        top_up_id=top_up.id,
    )
    return replace(top_up, state="granted"), movement


def top_up_voided(wallet: Wallet, top_up: TopUp, *, now: datetime) -> tuple[Wallet, TopUp]:
    """Its document holds no longer: where the wallet is below its threshold still, another is made."""
    return watched(_without(wallet, top_up), now=now), replace(top_up, state="void")


def _without(wallet: Wallet, top_up: TopUp) -> Wallet:
    return replace(wallet, open_top_up_id=None) if wallet.open_top_up_id == top_up.id else wallet


def month_of(instant: datetime) -> tuple[datetime, datetime]:
    """The calendar month of UTC in which the instant lies, and the next one's beginning."""
    start = instant.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return start, (start + timedelta(days=31)).replace(day=1)


@dataclass(frozen=True, slots=True)
class NotBefore:
    """More would be bought than the month allows: it is looked at again at `at`."""

    at: datetime


def decide_top_up(wallet: Wallet, *, spent: Money, now: datetime) -> Money | NotBefore | None:
    """What an automatic top-up costs, if one is to be made now. `spent` is what this month's cost so far."""
    rule = wallet.top_up
    if rule is None or not is_below_threshold(wallet) or wallet.open_top_up_id is not None:
        return None
    price = price_of(wallet, rule.amount)
    if rule.monthly_limit is not None and (spent + price).amount_minor > rule.monthly_limit.amount_minor:
        return NotBefore(month_of(now)[1])
    return price

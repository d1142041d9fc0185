"""How prepaid credits are used up by one document: units by its lines before tax, money by its total with tax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from libs.common.exact import EXACT
from libs.common.money import Money, allocate
from services.billing.domain.wallet import NOTHING, Draw, Grant, Wallet, drawing_order


@dataclass(frozen=True, slots=True)
class PayableLine:
    """A line as credits see it: what it comes to, and what it is for.

    `amount` is as priced for units, and what is to be paid of it, tax included, for money. `quantity` is what units may
    cover, none where the line is no number of units at a price each.
    """

    id: str
    amount: Money
    price_code: str | None = None
    product_id: str | None = None
    meter: str | None = None
    unit: str | None = None
    quantity: Decimal = NOTHING
    unit_amount: Decimal = NOTHING
    charge_id: str | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one document draws, grant by grant in their order, and what that pays of it."""

    draws: tuple[Draw, ...]
    paid: Money


def draw_money(
    wallets: Sequence[Wallet], lines: Sequence[PayableLine], total: Money, *, now: datetime
) -> Drawn:
    """Pay `total` from wallets of money in its currency, as far as they go.

    Grants of all wallets in one order: priority, then what expires first, then age. One with a scope pays no more than
    the lines of its scope come to, less what others paid of them. What pays is never more than `total`.
    Units: minor units of the currency of `total`.
    """
    left = [max(line.amount.amount_minor, 0) for line in lines]
    due = max(total.amount_minor, 0)
    draws: list[Draw] = []
    for grant in _in_order(wallets, total.currency, now, units=False):
        covered = [place for place, line in enumerate(lines) if _covers(grant, line)]
        most = due if grant.scope.is_all else min(due, sum(left[place] for place in covered))
        taken = min(most, _in_minor(grant, total.currency))
        if taken <= 0:
            continue
        draws.append(Draw(grant.id, Money(taken, total.currency).to_decimal(), Money(taken, total.currency)))
        due -= taken
        for place in covered:
            of_line = min(left[place], taken)
            left[place] -= of_line
            taken -= of_line
    return Drawn(tuple(draws), Money(max(total.amount_minor, 0) - due, total.currency))


def draw_units(
    wallets: Sequence[Wallet], lines: Sequence[PayableLine], currency: str, *, now: datetime
) -> Drawn:
    """Cover lines with units from wallets of units that are bought in `currency`, line by line in their order.

    A grant without a scope covers lines whose price is in the unit of its wallet. Where all units of a line are
    covered, all of it is paid, whatever single units were rounded to.
    Rounding: units x the line's unit amount, once for each draw, half away from zero; never more than is left of it.
    """
    left = [(line.quantity, line.amount.amount_minor) for line in lines]
    unit_of = {grant.id: wallet.unit for wallet in wallets for grant in wallet.grants}
    draws: list[Draw] = []
    for grant in _in_order(wallets, currency, now, units=True):
        remaining = grant.remaining
        for place, line in enumerate(lines):
            quantity, minor = left[place]
            if remaining <= 0 or quantity <= 0 or minor <= 0 or not _covers(grant, line):
                continue
            if grant.scope.is_all and line.unit != unit_of[grant.id]:
                continue
            units = min(remaining, quantity)
            paid = minor if units == quantity else min(minor, _worth(units, line))
            draws.append(Draw(grant.id, units, Money(paid, currency), line.id, line.charge_id))
            remaining = EXACT.subtract(remaining, units)
            left[place] = EXACT.subtract(quantity, units), minor - paid
    return Drawn(tuple(draws), Money(sum(draw.paid.amount_minor for draw in draws), currency))


def payable_of(nets: Sequence[Money], percents: Sequence[Decimal], total: Money) -> list[Money]:
    """What is to be paid of each line, tax included: together, `total`.

    Rounding: by largest remainder, in proportion to the nets with their tax.
    """
    weights = [
        net.amount_minor * (100 + Fraction(percent)) for net, percent in zip(nets, percents, strict=True)
    ]
    if not sum(weights):
        return list(nets)
    return allocate(total, weights)


def _in_order(wallets: Sequence[Wallet], currency: str, now: datetime, *, units: bool) -> list[Grant]:
    fitting = [w for w in wallets if w.currency == currency and w.is_money is not units]
    return sorted((grant for w in fitting for grant in w.usable(now)), key=drawing_order)


def _covers(grant: Grant, line: PayableLine) -> bool:
    return grant.scope.covers(price_code=line.price_code, product_id=line.product_id, meter=line.meter)


def _in_minor(grant: Grant, currency: str) -> int:
    return Money.from_decimal(grant.remaining, currency).amount_minor


def _worth(units: Decimal, line: PayableLine) -> int:
    exact = Fraction(units) * Fraction(line.unit_amount)
    return Money.from_decimal(exact, line.amount.currency).amount_minor

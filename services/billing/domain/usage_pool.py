"""Periods between two readings, of which some were estimated: their usage and their allowances are taken together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache

from libs.common.exact import EXACT, text
from libs.common.money import Money, total
from services.billing.domain.correction_lines import OwedLine, owed_line
from services.billing.domain.rating.allowance import AllowanceBalance
from services.billing.domain.rating.price import Price, PriceTier
from services.billing.domain.rating.rate import rate_usage
from services.billing.domain.rating.rated_line import NOTHING
from services.billing.domain.rating.usage import Usage

PRICES_KEPT = 256


@dataclass(frozen=True, slots=True)
class UsagePool:
    """What a period has to do with a true-up. Source: R17.

    `period_count` periods lie between the two readings, in which `quantity` was used in truth. `elsewhere` is what the
    periods before this one are charged of it, line by line. The last period, in which the true-up stands, is charged
    what is left of it; one before it comes to no more than is left. `allowance` is the balance of free units before the
    first of them, where free units are carried on.
    """

    period_count: int
    quantity: Decimal
    event_count: int | None
    is_last: bool
    elsewhere: tuple[tuple[str, Money], ...] = ()
    allowance: AllowanceBalance | None = None

    def share(self, price: Price, own: Sequence[OwedLine]) -> list[OwedLine]:
        """What one period is charged, of which the usage alone comes to `own`: never below zero in all."""
        together = self.lines(price)
        told = f"{self.period_count} periods together, {text(self.quantity)}"
        elsewhere = dict(self.elsewhere)
        if self.is_last:
            return [_left(line, elsewhere.get(line.key), told) for line in together] + [
                _taken_back(key, amount, price, told)
                for key, amount in elsewhere.items()
                if key not in {line.key for line in together}
            ]
        left = _sum(together, price) - total(elsewhere.values(), price.currency)
        excess = _sum(own, price) - left
        if excess.amount_minor <= 0:
            return list(own)
        formulas = "; ".join(line.formula for line in together)
        return _reduced(own, excess, f"{told}: {formulas}")

    def lines(self, price: Price) -> list[OwedLine]:
        """What all the periods together come to. Rounding: each line once."""
        usage = Usage(max(self.quantity, NOTHING), self.event_count)
        rated = rate_usage(pooled(price, self.period_count), usage, allowance=self.allowance)
        return [owed_line(line) for line in rated.lines]


@lru_cache(maxsize=PRICES_KEPT)
def pooled(price: Price, period_count: int) -> Price:
    """The price of so many periods in one: what it has for each period, it has so many times.

    A block stays as large as it is.
    """
    count = Decimal(period_count)

    def times(amount: Decimal | None) -> Decimal | None:
        return None if amount is None else EXACT.multiply(amount, count)

    def tier(one: PriceTier) -> PriceTier:
        return replace(
            one,
            up_to=times(one.up_to),
            flat_amount=times(one.flat_amount),
            cap_amount=times(one.cap_amount),
        )

    return replace(
        price,
        unit_amount=times(price.unit_amount) if price.model == "flat" else price.unit_amount,
        tiers=tuple(tier(one) for one in price.tiers),
        included_quantity=EXACT.multiply(price.included_quantity, count),
        free_events=None if price.free_events is None else price.free_events * period_count,
        free_amount=times(price.free_amount),
        minimum_amount=times(price.minimum_amount),
        maximum_amount=times(price.maximum_amount),
    )


def _left(line: OwedLine, elsewhere: Money | None, told: str) -> OwedLine:
    formula = f"{told}: {line.formula}"
    if elsewhere is None or not elsewhere.amount_minor:
        return replace(line, formula=formula)
    left = line.amount - elsewhere
    less = f"{line.amount.to_decimal()} - {elsewhere.to_decimal()} charged before"
    return replace(line, amount=left, formula=f"{formula}; {less} = {left.to_decimal()} {left.currency}")


def _taken_back(key: str, amount: Money, price: Price, told: str) -> OwedLine:
    formula = f"{told}: nothing of this part; 0 - {amount.to_decimal()} charged before"
    return OwedLine(key, 0, price.description, NOTHING, -amount, formula)


def _reduced(own: Sequence[OwedLine], excess: Money, told: str) -> list[OwedLine]:
    """The last lines come to less; what is a reduction already stays."""
    found: list[OwedLine] = []
    left = excess.amount_minor
    for line in reversed(own):
        taken = min(left, max(line.amount.amount_minor, 0))
        left -= taken
        amount = Money(line.amount.amount_minor - taken, excess.currency)
        found.append(replace(line, amount=amount, formula=told) if taken else line)
    return list(reversed(found))


def _sum(lines: Iterable[OwedLine], price: Price) -> Money:
    return total((line.amount for line in lines), price.currency)

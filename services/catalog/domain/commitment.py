"""A commitment: a least or a most that some prices of a plan come to together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from libs.common.errors import InputError
from libs.common.periods import Interval
from services.catalog.domain.amount import amount_faults
from services.catalog.domain.interval_nesting import nest, spelled
from services.catalog.domain.price import Price

COMMITMENTS_MAX = 50
YEAR = Interval("year", 1)


@dataclass(frozen=True, slots=True)
class Commitment:
    """In each billing period or each year. `price_codes` is empty where it is about the whole plan.

    Units: amounts in major units of `currency`; `minimum_quantity` in units of the one price that it names, at whose
    unit amount it is priced.
    """

    code: str
    description: str
    currency: str
    price_codes: tuple[str, ...] = ()
    per: Literal["period", "year"] = "period"
    minimum_amount: Decimal | None = None
    minimum_quantity: Decimal | None = None
    maximum_amount: Decimal | None = None


def commitment_faults(
    commitments: Sequence[Commitment], prices: Sequence[Price], interval: Interval, at: str
) -> Iterator[InputError]:
    """Everything wrong with the commitments of a plan, each with its place below `at` and what to do."""
    if len(commitments) > COMMITMENTS_MAX:
        yield {"pointer": at, "detail": f"there are more than {COMMITMENTS_MAX} commitments: join some"}
    by_key = {price.key: price for price in prices}
    codes = {price.code for price in prices}
    first_with: dict[str, int] = {}
    for position, commitment in enumerate(commitments):
        here = f"{at}/{position}"
        first = first_with.setdefault(commitment.code, position)
        if first != position:
            detail = f"the commitment at {at}/{first} has this code already: choose another"
            yield {"pointer": f"{here}/code", "detail": detail}
        yield from _amount_faults(commitment, here)
        if commitment.per == "year" and not nest(interval, YEAR):
            detail = f"a year is not made of whole billing periods of {spelled(interval)}: use per period"
            yield {"pointer": f"{here}/per", "detail": detail}
        yield from _price_faults(commitment, by_key, codes, here)


def _amount_faults(commitment: Commitment, at: str) -> Iterator[InputError]:
    given = {
        name: amount
        for name in ("minimum_amount", "minimum_quantity", "maximum_amount")
        if (amount := getattr(commitment, name)) is not None
    }
    if not given:
        detail = "commits to nothing: give minimum_amount, minimum_quantity or maximum_amount"
        yield {"pointer": at, "detail": detail}
    for name, amount in given.items():
        yield from amount_faults(amount, f"{at}/{name}")
    if "minimum_amount" in given and "minimum_quantity" in given:
        detail = "there is a minimum_amount already: commit to an amount or to a quantity, or twice"
        yield {"pointer": f"{at}/minimum_quantity", "detail": detail}
    least, most = commitment.minimum_amount, commitment.maximum_amount
    if least is not None and most is not None and least > most:
        detail = "is less than minimum_amount: raise it, or lower the other"
        yield {"pointer": f"{at}/maximum_amount", "detail": detail}


def _price_faults(
    commitment: Commitment, by_key: Mapping[tuple[str, str], Price], codes: set[str], at: str
) -> Iterator[InputError]:
    """What is wrong with the prices that it names: all must be there, in its one currency."""
    named: list[Price] = []
    for position, code in enumerate(commitment.price_codes):
        here = f"{at}/price_codes/{position}"
        price = by_key.get((code, commitment.currency))
        if code in commitment.price_codes[:position]:
            yield {"pointer": here, "detail": f"the price {code} stands here twice: leave one of the two out"}
        elif price is not None:
            named.append(price)
        elif code in codes:
            detail = (
                f"the price {code} is in another currency: commitments are in one, here {commitment.currency}"
            )
            yield {"pointer": here, "detail": detail}
        else:
            yield {"pointer": here, "detail": f"there is no price {code}: name one of this plan's"}
    if not commitment.price_codes:
        named = [price for (_, currency), price in by_key.items() if currency == commitment.currency]
        if not named:
            detail = f"no price of the plan is in {commitment.currency}: name a currency that one has"
            yield {"pointer": f"{at}/currency", "detail": detail}
    if len({price.tax_behavior for price in named}) > 1:
        detail = "some of its prices include tax and others do not: commit to them one by one"
        yield {"pointer": f"{at}/price_codes", "detail": detail}
    if commitment.minimum_quantity is not None:
        if len(commitment.price_codes) != 1:
            detail = "a quantity is priced at the unit amount of one price: name just that in price_codes"
            yield {"pointer": f"{at}/price_codes", "detail": detail}
        elif named and named[0].model != "per_unit":
            detail = f"a {named[0].model} price has no one unit amount: commit to an amount instead"
            yield {"pointer": f"{at}/minimum_quantity", "detail": detail}

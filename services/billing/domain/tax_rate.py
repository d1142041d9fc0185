"""Rates of tax by country, category and date: those that the law says, and those that a business keeps itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from libs.common.errors import RuleViolation

STANDARD, REDUCED, SECOND_REDUCED, SUPER_REDUCED = "standard", "reduced", "second_reduced", "super_reduced"
ZERO, EXEMPT, OUTSIDE_SCOPE, GOODS = "zero", "exempt", "outside_scope", "goods"

# What these mean follows from the word alone: no rate can be given to them.
WITHOUT_RATE = frozenset((ZERO, EXEMPT, OUTSIDE_SCOPE))
OWN_RATES_MAX = 5_000


class TaxRateOfFixedCategory(RuleViolation):
    """`zero`, `exempt` and `outside_scope` say by themselves that no tax is due."""

    code = "tax_rate_of_fixed_category"
    title = "The category has no rate"


class TooManyTaxRates(RuleViolation):
    """All of them are read for a document that is taxed."""

    code = "too_many_tax_rates"
    title = "Too many tax rates"


@dataclass(frozen=True, slots=True)
class TaxRate:
    """`percent` for `category` in `country`, from `valid_from` until the next one begins.

    Written once. Of two from one day on, the one that was written later holds: so a mistake is put right.
    A `percent` of None ends it: from then on, the law's own holds again, or, of the law's, there is none.
    """

    id: str
    country: str
    category: str
    percent: Decimal | None
    valid_from: date
    source: str
    created_at: datetime
    is_shipped: bool = False


Rates = Mapping[tuple[str, str], Sequence[TaxRate]]


def word_of(category: str | None) -> str:
    """How a product's tax category is looked up: spelled one way; nothing said is `standard`."""
    return STANDARD if not category else category.lower().replace("-", "_")


def ordered(rates: Iterable[TaxRate]) -> Rates:
    """By country and category, oldest first."""
    found: dict[tuple[str, str], list[TaxRate]] = {}
    for rate in sorted(rates, key=lambda rate: (rate.valid_from, rate.created_at, rate.id)):
        found.setdefault((rate.country, rate.category), []).append(rate)
    return found


@dataclass(frozen=True, slots=True)
class TaxTable:
    """The rates that ship with the program, and before them those of one tenant."""

    shipped: Rates
    own: Rates

    def find(self, country: str, category: str, on: date) -> TaxRate | None:
        """The newest of the tenant's own that is valid then, or else the newest of the law's."""
        for rates in (self.own, self.shipped):
            found = _newest(rates.get((country, category), ()), on)
            if found is not None and found.percent is not None:
                return found
        return None

    def standard(self, country: str, on: date) -> TaxRate | None:
        """The standard rate; before the first that is known, that one."""
        found = self.find(country, STANDARD, on)
        if found is not None:
            return found
        return next(
            (rate for rate in self.shipped.get((country, STANDARD), ()) if rate.percent is not None), None
        )


def _newest(rates: Sequence[TaxRate], on: date) -> TaxRate | None:
    return next((rate for rate in reversed(rates) if rate.valid_from <= on), None)

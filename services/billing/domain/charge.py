"""What is owed for one item, price, billing period and kind: derived from the agreement and the usage, with an identity.

Deriving twice gives the same identities, so that what is recorded already is left alone. A charge keeps all that it was
derived from: rated again, it gives the same lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from libs.common.errors import RuleViolation
from libs.common.exact import text
from libs.common.ids import derived_id
from libs.common.money import Money, total
from services.billing.domain.agreement import Bounds
from services.billing.domain.charge_line import ChargeLine, capped, change_lines, credit_lines, told_line
from services.billing.domain.correction_lines import BilledLine, OwedLine, correction_lines, owed_line
from services.billing.domain.rating.allowance import AllowanceBalance
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rate import RatedLine, rate, rate_usage
from services.billing.domain.rating.usage import Usage
from services.billing.domain.usage_pool import UsagePool

ChargeKind = Literal["advance", "arrears", "usage", "once", "fee", "commitment"]
CountedBy = Literal["day", "second", "whole"]
LateUsagePolicy = Literal["next_invoice", "note_at_once", "draft_only"]

WHOLE = Fraction(1)
NOTHING = Decimal(0)


class UsageOfUnknownItem(RuleViolation):
    """Somebody used what the agreement does not price: it must not vanish."""

    code = "usage_of_unknown_item"
    title = "Usage of an item that is not in the agreement"


@dataclass(frozen=True, slots=True)
class TrueUp:
    """A reading that puts estimates right: from the reading before them, at `start`, until it, at `end`."""

    subject: str
    start: datetime
    end: datetime
    actual_quantity: Decimal
    estimated_quantity: Decimal


@dataclass(frozen=True, slots=True)
class ItemUsage:
    """The usage of one item in one window: at one of its prices, where it had several.

    `estimated_quantity` of it is an estimate's; `true_ups` say which earlier estimates it puts right, so that the
    quantity is below zero where too much was estimated.
    """

    item_id: str
    meter: str
    quantity: Decimal
    event_count: int
    price_id: str | None = None
    estimated_quantity: Decimal = NOTHING
    true_ups: tuple[TrueUp, ...] = ()


@dataclass(frozen=True, slots=True)
class UsageOfPeriod:
    """All usage of one billing period of a subscription, summed once by metering, at `closed_at`."""

    window_id: str
    subscription_id: str
    period_index: int
    window_start: datetime
    window_end: datetime
    closed_at: datetime
    totals: tuple[ItemUsage, ...]


@dataclass(frozen=True, slots=True)
class UsageCorrection:
    """What the totals of a closed window came to later, `before` and after it: the `revision`-th time.

    `policy` is what the plan wants done with it. What is not `is_billable` came later than the plan allows: it is kept
    and told, and not billed. `before` is None of what was kept by a release that kept the newest one only: it stands
    for all until then, and went from what the window closed with.
    """

    window_id: str
    subscription_id: str
    period_index: int
    revision: int
    totals: tuple[ItemUsage, ...]
    before: tuple[ItemUsage, ...] | None = None
    policy: LateUsagePolicy = "next_invoice"
    is_billable: bool = True
    corrected_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """One amount that is owed. Its identity is item, price, billing period, kind and revision.

    The service period is no part of the identity. `fraction` is the part of the period that is in use; the
    price is kept whole, so that the amount can be derived again at any time.

    A charge for a change goes from `quantity_before` (None: from nothing) to `quantity`, or to nothing where `is_end`:
    it then gives back what `quantity_before` costs. `counted_by` says what its part of the period is: dates, instants,
    or all of it whenever it was in use. `most` caps a credit at what had been charged. `allowance` is the balance of
    free units before this usage. `basis` says how a quantity came about that nobody agreed on or used. `whole` are the
    bounds that this is a part of, where those are not the period's. `plan_code` is the agreement's plan when it was
    charged.

    A charge that corrects one for usage goes from what all charges before it came to, line by line (`billed_before`), to
    what `quantity` comes to, or to nothing where `is_end`. `pools` are the true-ups that the usage has part in, and
    `estimated_quantity` of it is an estimate's.
    """

    id: str
    subscription_id: str
    item_id: str
    price: Price
    period_index: int
    kind: ChargeKind
    revision: int
    quantity: Decimal
    fraction: Fraction
    service_start: datetime
    service_end: datetime
    service_start_on: date
    service_end_on: date
    amount: Money
    created_at: datetime
    invoice_id: str | None = None
    usage_window_id: str | None = None
    event_count: int | None = None
    quantity_before: Decimal | None = None
    is_end: bool = False
    counted_by: CountedBy | None = None
    most: Money | None = None
    allowance: AllowanceBalance | None = None
    basis: str | None = None
    whole: Bounds | None = None
    plan_code: str | None = None
    billed_before: tuple[BilledLine, ...] | None = None
    pools: tuple[UsagePool, ...] = ()
    estimated_quantity: Decimal | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is what a quantity costs, and nothing else."""
        return (
            self.quantity_before is None
            and self.allowance is None
            and self.basis is None
            and not self.pools
            and self.estimated_quantity is None
        )

    @property
    def identity(self) -> str:
        return f"{self.item_id}/{self.price.id}/{self.period_index}/{self.kind}/{self.revision}"


def charge_id(item_id: str, price_id: str, period_index: int, kind: ChargeKind, revision: int = 0) -> str:
    """Derived from the identity, so that the same charge cannot be made twice."""
    return derived_id("chg", item_id, price_id, str(period_index), kind, str(revision))


def rated_lines(charge: Charge) -> Sequence[RatedLine | ChargeLine]:
    """The lines of a charge, derived from what is stored with it: the same bytes every time."""
    if charge.is_plain and charge.price.model != "expression":
        return rate(charge.price, charge.quantity, fraction=charge.fraction)
    if charge.billed_before is not None or charge.pools:
        owed = () if charge.is_end else owed_lines(charge)
        return correction_lines(charge.price, owed, charge.billed_before or (), in_units=bool(charge.pools))
    if charge.quantity_before is not None:
        return _change_lines(charge, charge.quantity_before)
    if charge.kind == "usage":
        rated = _rated_usage(charge)
        if charge.estimated_quantity is None:
            return rated
        estimated = f"{text(charge.estimated_quantity)} of it estimated"
        return [told_line(line, f"{line.formula}; {estimated}") for line in rated]
    lines = rate(charge.price, charge.quantity, fraction=charge.fraction)
    return [told_line(line, charge.basis or line.formula) for line in lines]


def owed_lines(charge: Charge) -> Sequence[OwedLine]:
    """What usage comes to, whatever was charged for it before."""
    owed: Sequence[OwedLine] = ()
    if not any(pool.is_last for pool in charge.pools):
        owed = [owed_line(line) for line in _rated_usage(charge)]
    for pool in charge.pools:
        owed = pool.share(charge.price, owed)
    return owed


def _rated_usage(charge: Charge) -> Sequence[RatedLine]:
    usage = Usage(charge.quantity, charge.event_count)
    return rate_usage(charge.price, usage, allowance=charge.allowance).lines


def _change_lines(charge: Charge, before: Decimal) -> Sequence[ChargeLine]:
    if charge.is_end:
        lines = credit_lines(charge.price, before, charge.fraction)
    else:
        lines = change_lines(charge.price, before, charge.quantity, charge.fraction)
    if charge.most is not None:
        lines = capped(lines, charge.most)
    if charge.basis is None:
        return lines
    return [replace(line, formula=charge.basis) for line in lines]


def with_amount(charge: Charge) -> Charge:
    """The charge with the amount that its lines come to."""
    amount = total((line.amount for line in rated_lines(charge)), charge.price.currency)
    return replace(charge, amount=amount)


def capped_at(charge: Charge, most: Money) -> Charge:
    """The credit, no more than `most`."""
    return with_amount(replace(charge, most=most))


def missing(expected: Sequence[Charge], recorded: Iterable[str]) -> list[Charge]:
    """The expected charges whose identity is not recorded yet."""
    known = set(recorded)
    return [charge for charge in expected if charge.id not in known]

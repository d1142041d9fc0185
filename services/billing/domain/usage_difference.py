"""What is missing of the charges for usage: what its newest totals come to, less all that has been charged for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from libs.common.exact import EXACT
from libs.common.ids import derived_id
from libs.common.money import Money
from services.billing.domain.agreement import Agreement
from services.billing.domain.charge import (
    NOTHING,
    Charge,
    ItemUsage,
    UsageOfPeriod,
    charge_id,
    owed_lines,
    rated_lines,
    with_amount,
)
from services.billing.domain.correction_lines import BilledLine, OwedLine, line_key
from services.billing.domain.pooled_allowance import goes_on_in, replaced_within
from services.billing.domain.rating.allowance import AllowanceBalance, AllowancePool
from services.billing.domain.rating.usage import sum_of
from services.billing.domain.terms import PeriodTerms
from services.billing.domain.usage_charges import (
    ItemPrice,
    Metered,
    is_billed,
    is_pooled,
    opening_of,
    renewals_between,
    totals_by_price,
    usage_charges,
)
from services.billing.domain.usage_pool import UsagePool


def usage_difference(
    agreement: Agreement,
    usage: UsageOfPeriod,
    recorded: Sequence[Charge],
    *,
    now: datetime,
    terms: PeriodTerms | None = None,
    earlier: Mapping[ItemPrice, Charge] | None = None,
    pools: Mapping[ItemPrice, Sequence[UsagePool]] | None = None,
    is_open: bool = False,
) -> list[Charge]:
    """The charges that bring what was charged for the usage of a period to what its newest totals come to.

    `recorded` are all charges of the period; those that are not for usage are passed over. Where nothing was charged for
    an item and price, all of it is; else the difference, line by line, as the next revision. So a price that no longer
    holds is given back, a repeat adds nothing, and whatever was charged in between, all of it together is what the
    newest totals come to. While the period `is_open`, the price's minimum is not owed yet.
    Rounding: each line of the newest rating once; of what was rounded, the difference is taken.
    Raises: UsageOfUnknownItem, of an item for which nothing was charged before.
    Source: R19.
    """
    mine = [charge for charge in recorded if charge.kind == "usage"]
    usage = _without_items_gone(agreement, usage, terms, mine)
    expected = usage_charges(agreement, usage, now=now, terms=terms, earlier=earlier, pools=pools)
    if is_open:
        expected = [_while_open(charge) for charge in expected]
    window_id = None if is_open else usage.window_id
    return list(differences(expected, mine, window_id=window_id, now=now))


def differences(
    expected: Sequence[Charge], recorded: Sequence[Charge], *, window_id: str | None, now: datetime
) -> Iterator[Charge]:
    """What is given back is given back before more is charged."""
    of_price: dict[ItemPrice, list[Charge]] = {}
    for charge in sorted(recorded, key=lambda charge: charge.revision):
        of_price.setdefault(_key(charge), []).append(charge)
    known = {_key(charge) for charge in expected}
    for key, charged in of_price.items():
        if key not in known and not charged[-1].is_end:
            nothing = replace(
                charged[-1],
                quantity=NOTHING,
                event_count=0,
                is_end=True,
                pools=(),
                estimated_quantity=None,
                usage_window_id=window_id,
            )
            yield _correction(nothing, charged, now=now)
    for charge in expected:
        before = of_price.get(_key(charge))
        if before is None:
            yield charge
        elif _changes(charge, before):
            yield _correction(charge, before, now=now)


def billed_lines(charges: Iterable[Charge]) -> tuple[BilledLine, ...]:
    """What has been charged for one item and price of a period, line by line, in all revisions."""
    found: dict[str, BilledLine] = {}
    for charge in charges:
        for line in rated_lines(charge):
            key = line_key(line, charge.price)
            known = found.get(key)
            line_id = None
            if charge.invoice_id is not None and (line.rounded or line.quantity):
                line_id = derived_id("lin", charge.invoice_id, charge.id, line.key)
            if known is None:
                found[key] = BilledLine(key, line.amount, line_id)
            else:
                found[key] = BilledLine(key, known.amount + line.amount, known.line_id or line_id)
    return tuple(found.values())


def _changes(charge: Charge, before: Sequence[Charge]) -> bool:
    """Also where it costs nothing: free units that are carried on count, and so do units for a commitment."""
    last = before[-1]
    if last.is_end or _standing(charge) != _standing(last):
        return True
    if charge.usage_window_id != last.usage_window_id:
        return True  # what was charged while the window was open: from now on, all of it is
    return _amounts(owed_lines(charge)) != {
        line.key: line.amount for line in billed_lines(before) if line.amount.amount_minor
    }


def _standing(charge: Charge) -> tuple[object, ...]:
    carried = [pool for pool in charge.pools if pool.is_last and pool.allowance is not None]
    return charge.quantity, charge.allowance, carried


def _amounts(lines: Iterable[OwedLine]) -> dict[str, Money]:
    return {line.key: line.amount for line in lines if line.amount.amount_minor}


def _correction(charge: Charge, before: Sequence[Charge], *, now: datetime) -> Charge:
    revision = before[-1].revision + 1
    return with_amount(
        replace(
            charge,
            id=charge_id(charge.item_id, charge.price.id, charge.period_index, "usage", revision),
            revision=revision,
            quantity_before=before[-1].quantity,
            billed_before=billed_lines(before),
            created_at=now,
            invoice_id=None,
        )
    )


def _key(charge: Charge) -> ItemPrice:
    return charge.item_id, charge.price.id


def _while_open(charge: Charge) -> Charge:
    """It belongs to no closed window yet."""
    price = replace(charge.price, minimum_amount=None)
    return with_amount(replace(charge, price=price, usage_window_id=None))


def _without_items_gone(
    agreement: Agreement, usage: UsageOfPeriod, terms: PeriodTerms | None, recorded: Sequence[Charge]
) -> UsageOfPeriod:
    """Without the totals of items that were charged for and are agreed on no more: what was charged is given back."""
    if terms is None:
        return usage
    agreed = {segment.item_id for segment in terms.segments} | {item.id for item in agreement.items}
    gone = {charge.item_id for charge in recorded} - agreed
    if not gone:
        return usage
    return replace(usage, totals=tuple(told for told in usage.totals if told.item_id not in gone))


@dataclass(frozen=True, slots=True)
class WindowUsage:
    """A closed window: its newest totals, the terms of its period, and what was charged for it so far."""

    usage: UsageOfPeriod
    recorded: tuple[Charge, ...]
    terms: PeriodTerms | None = None


@dataclass(slots=True)
class _Pool:
    """A true-up of one item and price: from the first of its windows to the last, whose totals tell of it."""

    first: int
    last: int
    quantity: Decimal
    event_count: int
    elsewhere: tuple[tuple[str, Money], ...] = ()
    allowance: AllowanceBalance | None = None

    def part(self, place: int) -> UsagePool:
        return UsagePool(
            period_count=self.last - self.first + 1,
            quantity=self.quantity,
            event_count=self.event_count,
            is_last=place == self.last,
            elsewhere=self.elsewhere,
            allowance=self.allowance,
        )


Totals = tuple[dict[ItemPrice, Metered], dict[ItemPrice, ItemUsage]]


def usage_differences(
    agreement: Agreement,
    windows: Sequence[WindowUsage],
    *,
    now: datetime,
    earlier: Mapping[ItemPrice, Charge] | None = None,
    after: PeriodTerms | None = None,
) -> list[Charge]:
    """The same for windows that follow each other, of which one decides on the next, or puts estimates right.

    Free units that are carried on go from each to the next. `earlier` are the last charges before the first. `after` are
    the terms of the period after the last, None where it has not begun: then the agreement tells which prices go on.
    One that does not settles its pooled allowance.
    Raises: UsageOfUnknownItem, of an item for which nothing was charged before.
    Source: R17, R19.
    """
    windows = [
        replace(w, usage=_without_items_gone(agreement, w.usage, w.terms, w.recorded)) for w in windows
    ]
    totals = [_totals(agreement, window) for window in windows]
    pools = _pools(agreement, windows, totals)
    standing = dict(earlier or {})
    found: list[Charge] = []
    for place, window in enumerate(windows):
        parts: dict[ItemPrice, tuple[UsagePool, ...]] = {}
        for key, of_price in pools.items():
            mine = [pool for pool in of_price if pool.first <= place <= pool.last]
            for pool in mine:
                if pool.first == place:
                    pool.allowance = _allowance_of(agreement, key, pool, totals, standing.get(key))
            if mine:
                parts[key] = tuple(pool.part(place) for pool in mine)
        expected = usage_charges(
            agreement,
            window.usage,
            now=now,
            terms=window.terms,
            earlier=standing,
            pools=parts,
            ends=_ends(agreement, place, windows, totals, after),
            planned=_planned(window.recorded),
        )
        for charge in expected:
            key = _key(charge)
            standing[key] = charge
            for pool in pools.get(key, ()):
                if pool.first <= place < pool.last:
                    pool.elsewhere = _added(pool.elsewhere, owed_lines(charge))
        found += differences(expected, window.recorded, window_id=window.usage.window_id, now=now)
    return found


def _totals(agreement: Agreement, window: WindowUsage) -> Totals:
    if not is_billed(agreement, window.terms, window.usage):
        return {}, {}
    return totals_by_price(agreement, window.usage, window.terms)


def _ends(
    agreement: Agreement,
    place: int,
    windows: Sequence[WindowUsage],
    totals: Sequence[Totals],
    after: PeriodTerms | None,
) -> set[ItemPrice]:
    """The prices with pooled allowances that hold no longer after the window in this place."""
    return {
        key
        for key, metered in totals[place][0].items()
        if is_pooled(agreement, metered.price)
        and not _goes_on(agreement, key, metered, place, windows, totals, after)
    }


def _goes_on(
    agreement: Agreement,
    key: ItemPrice,
    metered: Metered,
    place: int,
    windows: Sequence[WindowUsage],
    totals: Sequence[Totals],
    after: PeriodTerms | None,
) -> bool:
    if replaced_within(windows[place].terms, key, metered.held):
        return False
    for known, _ in totals[place + 1 :]:
        if key in known:
            return True
        if any(item_id == key[0] for item_id, _ in known):
            return False
    if agreement.ends_at is not None and agreement.ends_at <= windows[-1].usage.window_end:
        return False
    goes_on = goes_on_in(after, agreement, key)
    return goes_on_in(None, agreement, key) is True if goes_on is None else goes_on


def _planned(recorded: Sequence[Charge]) -> dict[ItemPrice, AllowancePool]:
    """The pools as they were charged for before, the newest of each price."""
    found: dict[ItemPrice, AllowancePool] = {}
    for charge in sorted(recorded, key=lambda charge: charge.revision):
        if charge.allowance is not None and charge.allowance.pool is not None:
            found[_key(charge)] = charge.allowance.pool
    return found


def _pools(
    agreement: Agreement, windows: Sequence[WindowUsage], totals: Sequence[Totals]
) -> dict[ItemPrice, list[_Pool]]:
    """Each true-up with the windows before it whose usage it puts right, as far as they are known."""
    found: dict[ItemPrice, list[_Pool]] = {}
    for last, (_, used) in enumerate(totals):
        for key, told in used.items():
            if not told.true_ups or is_pooled(agreement, totals[last][0][key].price):
                continue  # a pooled allowance takes quantities together anyway
            start = min(true_up.start for true_up in told.true_ups)
            first = last
            while first and _has_part(windows[first - 1], totals[first - 1], key, start):
                first -= 1
            if first == last:
                continue
            together = [totals[place][1][key] for place in range(first, last + 1) if key in totals[place][1]]
            found.setdefault(key, []).append(
                _Pool(
                    first=first,
                    last=last,
                    quantity=sum_of(one.quantity for one in together),
                    event_count=sum(one.event_count for one in together),
                )
            )
    return found


def _has_part(window: WindowUsage, totals: Totals, key: ItemPrice, start: datetime) -> bool:
    """Between the readings, or with an estimate from there: of the window in which the first one was read."""
    metered, used = totals
    if key not in metered or window.usage.window_end <= start:
        return False
    return window.usage.window_start >= start or (key in used and bool(used[key].estimated_quantity))


def _allowance_of(
    agreement: Agreement, key: ItemPrice, pool: _Pool, totals: Sequence[Totals], earlier: Charge | None
) -> AllowanceBalance | None:
    """The free units before the first of the windows, and those that begin anew until the last."""
    first, last = (totals[place][0][key] for place in (pool.first, pool.last))
    opening = opening_of(agreement, first.price, first.held, earlier)
    if opening is None:
        return None
    renewed = renewals_between(agreement, first.price, first.held, last.held)
    more = EXACT.multiply(first.price.included_quantity, Decimal(renewed))
    return replace(opening, included=EXACT.add(opening.included, more))


def _added(
    elsewhere: tuple[tuple[str, Money], ...], lines: Iterable[OwedLine]
) -> tuple[tuple[str, Money], ...]:
    found = dict(elsewhere)
    for line in lines:
        found[line.key] = found[line.key] + line.amount if line.key in found else line.amount
    return tuple(found.items())

"""When a line is earned: over its service period, by calendar month, in whole minor units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from libs.common.money import Money, allocate
from libs.common.periods import DAY
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.ledger_entry import Account


@dataclass(frozen=True, slots=True)
class EarnedLine:
    """The net of a line, earned from `starts_on` until before `earned_until`; at once where that is None.

    `income` is the account that it is earned on.
    """

    net: Money
    starts_on: date | None = None
    earned_until: date | None = None
    income: Account = "revenue"


@dataclass(frozen=True, slots=True)
class EarnedPart:
    """What is earned in one calendar month: `on` is the last day of it that is served."""

    on: date
    amount: Money


@dataclass(frozen=True, slots=True)
class LineSchedule:
    """`at_issue` is earned by the day of the document; the rest is a contract liability until it is earned."""

    at_issue: Money
    later: tuple[EarnedPart, ...]


def earned_line_of(line: InvoiceLine) -> EarnedLine:
    return EarnedLine(line.net, line.service_start_on, line.earned_until, line.income)


def schedule_of(line: EarnedLine, invoiced_on: date) -> LineSchedule:
    """What of a line is earned when its document is issued, and what in each month after that.

    The days before that of the document are behind it, the rest ahead: a line whose period starts on the day of the
    document is all ahead. What has a part of its period in a month is earned on its last day in that month.
    Units: local dates of the document's zone.
    Rounding: by days, as `allocate`: the parts sum to the net.
    Source: IFRS 15.35(a), 105 and 106; R7.
    """
    start, until = line.starts_on, line.earned_until
    if start is None or until is None or until <= invoiced_on:
        return LineSchedule(line.net, ())
    nothing = Money(0, line.net.currency)
    if until <= start:
        until = start + DAY  # a service without length is given on its day
    last = until - DAY
    if start >= invoiced_on and (start.year, start.month) == (last.year, last.month):
        return LineSchedule(nothing, (EarnedPart(last, line.net),))
    cuts = _cuts(start, until, invoiced_on)
    days = [(end - begin).days for begin, end in pairwise(cuts)]
    parts = allocate(line.net, days)
    ends, behind = cuts[1:], start < invoiced_on
    later = tuple(EarnedPart(end - DAY, part) for end, part in zip(ends, parts, strict=True))
    return LineSchedule(parts[0], later[1:]) if behind else LineSchedule(nothing, later)


def credited_schedule(line: EarnedLine, invoiced_on: date, *, before: Money, credit: Money) -> LineSchedule:
    """What a credit of `credit` takes from each part of a line's schedule, of which `before` was credited already.

    Credits that come to the whole line leave nothing in any month, however many they were.
    Rounding: in proportion to the parts, as `allocate`, on all that is credited by now.
    """
    whole = schedule_of(line, invoiced_on)
    weights = [whole.at_issue.amount_minor, *(part.amount.amount_minor for part in whole.later)]
    if not any(weights):
        return LineSchedule(credit, ())
    now, then = allocate(before + credit, weights), allocate(before, weights)
    parts = [one - other for one, other in zip(now, then, strict=True)]
    return LineSchedule(
        parts[0],
        tuple(EarnedPart(part.on, taken) for part, taken in zip(whole.later, parts[1:], strict=True)),
    )


def by_month(parts: Iterable[tuple[EarnedPart, Account]]) -> dict[date, list[tuple[Account, int]]]:
    """What is earned in each calendar month, in minor units, by the last day in it that any part is earned on."""
    days: dict[tuple[int, int], date] = {}
    sums: dict[tuple[int, int], list[tuple[Account, int]]] = {}
    for part, income in parts:
        month = part.on.year, part.on.month
        days[month] = max(days.get(month, part.on), part.on)
        sums.setdefault(month, []).append((income, part.amount.amount_minor))
    return {days[month]: sums[month] for month in sorted(sums)}


def _cuts(start: date, until: date, invoiced_on: date) -> list[date]:
    """Where the period is cut: at the document's day, and where months begin after it."""
    cuts = [start]
    if start < invoiced_on:
        cuts.append(invoiced_on)
    month = _next_month(cuts[-1])
    while month < until:
        cuts.append(month)
        month = _next_month(month)
    cuts.append(until)
    return cuts


def _next_month(on: date) -> date:
    return date(on.year + on.month // 12, on.month % 12 + 1, 1)

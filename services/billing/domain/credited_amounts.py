"""How much a credit note gives back of each line and of each tax, and never more than was billed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

from libs.common.errors import RuleViolation
from libs.common.money import CurrencyMismatch, Money, round_ratio, total
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.settlement import InvoiceTax

PERCENT = Fraction(1, 100)


class CreditBeyondBilled(RuleViolation):
    """A credit note gives back what was billed, less what others gave back: never more."""

    code = "credit_beyond_billed"
    title = "More than what is left to be credited"


class NothingToCredit(RuleViolation):
    code = "nothing_to_credit"
    title = "The credit note would give nothing back"


class NoSuchLine(RuleViolation):
    code = "no_such_line"
    title = "The invoice has no such line"


@dataclass(frozen=True, slots=True)
class CreditableLine:
    """A line as it was billed. `amount` is as priced; `paid` is that after discount and prepaid units.

    Where the price includes the tax, `paid` holds it, and `net` is the rest; else `paid` is `net`. All lines of one
    `basis` were taxed together. A line that gave something back is below zero, and so is what is credited of it.
    """

    id: str
    amount: Money
    paid: Money
    net: Money
    basis: str
    is_inclusive: bool = False


@dataclass(frozen=True, slots=True)
class Basis:
    """What was taxed together on the invoice, and the tax that came on top of it (not what is inside of prices)."""

    key: str
    category: str
    percent: Decimal
    tax: Money


@dataclass(frozen=True, slots=True)
class Billed:
    """An invoice as a credit note sees it. Its lines' nets, what is inside of them, and the taxes sum to `total`."""

    currency: str
    lines: tuple[CreditableLine, ...]
    bases: tuple[Basis, ...]

    @property
    def total(self) -> Money:
        return total(
            [*(line.paid for line in self.lines), *(basis.tax for basis in self.bases)], self.currency
        )


@dataclass(frozen=True, slots=True)
class LineCredit:
    """What of one line is to be credited, as the line is priced: before discount. None: all that is left of it."""

    line_id: str
    amount: Money | None = None


@dataclass(frozen=True, slots=True)
class CreditedLine:
    """What one note credits of one line, in the terms of `CreditableLine`."""

    line_id: str
    amount: Money
    paid: Money
    net: Money


@dataclass(frozen=True, slots=True)
class CreditedTax:
    """The net, and the tax, that one note credits of one basis; `tax_on_top` leaves out what is inside of prices."""

    basis: str
    category: str
    percent: Decimal
    net: Money
    tax: Money
    tax_on_top: Money


@dataclass(frozen=True, slots=True)
class Credited:
    """`net` + `tax` = `total`; the lines sum to `net`, the taxes to `net` and `tax`."""

    lines: tuple[CreditedLine, ...]
    taxes: tuple[CreditedTax, ...]
    net: Money
    tax: Money
    total: Money


def billed(lines: Sequence[InvoiceLine], taxes: Sequence[InvoiceTax], currency: str) -> Billed:
    """The lines of an invoice, and its taxes, taken apart by what was taxed together.

    That is a category and rate, or each line where the seller rounds each line's tax.
    """
    found: list[CreditableLine] = []
    inside: dict[tuple[str, Decimal], Money] = {}
    by_line: dict[tuple[str, Decimal], Money] = {}
    bases: dict[str, Basis] = {}
    zero = Money.zero(currency)
    for line in lines:
        rate = (line.tax_category, line.tax_percent)
        is_inclusive = line.tax_behavior == "inclusive"
        paid = line.amount - line.prepaid - line.discount if is_inclusive else line.net
        key = _key(*rate)
        if is_inclusive:
            inside[rate] = inside.get(rate, zero) + paid - line.net
        elif line.tax is not None:
            key = f"{key}/{line.id}"
            by_line[rate] = by_line.get(rate, zero) + line.tax
            bases[key] = Basis(key, *rate, line.tax)
        found.append(CreditableLine(line.id, line.amount, paid, line.net, key, is_inclusive))
    for group in taxes:
        rate = (group.category, group.percent)
        on_top = group.tax - inside.get(rate, zero) - by_line.get(rate, zero)
        bases[_key(*rate)] = Basis(_key(*rate), *rate, on_top)
    for rate in {(line.tax_category, line.tax_percent) for line in lines}:
        bases.setdefault(
            _key(*rate), Basis(_key(*rate), *rate, zero)
        )  # as old invoices, which know of no tax
    return Billed(currency, tuple(found), tuple(bases[key] for key in sorted(bases)))


def credit_of_lines(given: Billed, earlier: Sequence[Credited], wanted: Sequence[LineCredit]) -> Credited:
    """Credit these lines, in full or in part: of a discounted one at the most what was paid for it.

    Rounding: what was paid for a part, once for the note, spread by largest remainder. Tax on top, in proportion to that
    of its basis, once and half away from zero; where notes before it have come off the exact proportion by more than one
    minor unit, this one puts it right, and the one that takes the last of a basis takes what is left of its tax.
    Raises: CreditBeyondBilled, NothingToCredit, NoSuchLine.
    """
    left = _Left(given, earlier)
    taken = {credit.line_id: left.asked(credit, position) for position, credit in enumerate(wanted)}
    exact = {id: left.exact_paid(id, amount) for id, amount in taken.items()}
    paid = _spread(
        Money(_rounded(sum(exact.values(), Fraction(0))), given.currency),
        exact,
        {id: left.paid[id] for id in taken},
        given.currency,
    )
    return _credited(left, taken, paid, left.tax_in_proportion(paid))


def credit_of_amount(given: Billed, earlier: Sequence[Credited], amount: Money) -> Credited:
    """Credit an amount, tax included, in proportion to what is left of each line.

    Rounding: shares by largest remainder, ties to the first line; then the tax within the share of each basis, once and
    half away from zero, so that all of it sums to `amount`.
    Raises: CreditBeyondBilled, NothingToCredit.
    """
    left = _Left(given, earlier)
    whole = left.total
    _same_currency(amount, given.currency, "/amount/currency")
    _refuse_beyond(amount, whole)
    if amount == whole:
        return credit_in_full(given, earlier)
    gross = {line.id: left.gross(line) for line in given.lines}
    part = Fraction(amount.amount_minor, whole.amount_minor)
    shares = _spread(
        amount,
        {id: exact * part for id, exact in gross.items()},
        {id: Money(ceil(exact), given.currency) for id, exact in gross.items()},
        given.currency,
    )
    paid: dict[str, Money] = {line.id: shares[line.id] for line in given.lines if line.is_inclusive}
    taxes: dict[str, Money] = {}
    for basis in given.bases:
        lines = left.lines_on(basis)
        share = total((shares[line.id] for line in lines), given.currency)
        was = sum((gross[line.id] for line in lines), Fraction(0))
        tax = Money(0, given.currency)
        if was:
            tax = Money(
                _rounded(share.amount_minor * left.tax[basis.key].amount_minor * was**-1), given.currency
            )
        tax, base = left.within(basis, tax, share)
        taxes[basis.key] = tax
        weights = {line.id: Fraction(shares[line.id].amount_minor) for line in lines}
        sum_of_weights = sum(weights.values(), Fraction(0))
        if sum_of_weights:
            weights = {id: weight * base.amount_minor * sum_of_weights**-1 for id, weight in weights.items()}
        paid |= _spread(base, weights, {line.id: left.paid[line.id] for line in lines}, given.currency)
    amounts = {id: left.amount_for(id, money) for id, money in paid.items()}
    return _credited(left, amounts, paid, taxes)


def credit_in_full(given: Billed, earlier: Sequence[Credited]) -> Credited:
    """All that is left: with the notes before it, it sums to the invoice, line by line and tax by tax.

    Raises: NothingToCredit.
    """
    left = _Left(given, earlier)
    open_lines = [
        line for line in given.lines if left.amount[line.id].amount_minor or left.paid[line.id].amount_minor
    ]
    amounts = {line.id: left.amount[line.id] for line in open_lines}
    paid = {line.id: left.paid[line.id] for line in open_lines}
    return _credited(left, amounts, paid, dict(left.tax))


def taken_back(given: Billed, nets: Mapping[str, Money]) -> Credited:
    """What lines of later documents gave back of these lines, as if a note had credited it: it is not given back twice.

    `nets` are positive, and without tax.
    """
    left = _Left(given, ())
    paid: dict[str, Money] = {}
    for line in given.lines:
        net = nets.get(line.id)
        if net is None or line.net.amount_minor <= 0:
            continue
        part = Fraction(net.amount_minor * line.paid.amount_minor, line.net.amount_minor)
        paid[line.id] = _nearest(_rounded(part), line.paid)
    if not paid:
        return Credited((), (), *[Money.zero(given.currency)] * 3)
    amounts = {id: left.amount_for(id, money) for id, money in paid.items()}
    return _told(left, amounts, paid, left.tax_in_proportion(paid))


class _Left:
    """What the notes before have left of each line and of each tax."""

    def __init__(self, given: Billed, earlier: Sequence[Credited]) -> None:
        self.given = given
        self.line = {line.id: line for line in given.lines}
        self.amount = {line.id: line.amount for line in given.lines}
        self.paid = {line.id: line.paid for line in given.lines}
        self.net = {line.id: line.net for line in given.lines}
        self.tax = {basis.key: basis.tax for basis in given.bases}
        self._on: dict[str, list[CreditableLine]] = {}
        for line in given.lines:
            if not line.is_inclusive:
                self._on.setdefault(line.basis, []).append(line)
        for note in earlier:
            for part in note.lines:
                self.amount[part.line_id] -= part.amount
                self.paid[part.line_id] -= part.paid
                self.net[part.line_id] -= part.net
            for tax in note.taxes:
                self.tax[tax.basis] -= tax.tax_on_top
        self._paid_on = {
            key: sum(self.paid[line.id].amount_minor for line in on) for key, on in self._on.items()
        }

    @property
    def total(self) -> Money:
        return total([*self.paid.values(), *self.tax.values()], self.given.currency)

    def asked(self, credit: LineCredit, position: int) -> Money:
        """What is credited of a line, in the terms of its price."""
        pointer = f"/lines/{position}"
        if credit.line_id not in self.line:
            raise NoSuchLine("no line of the invoice has this id", pointer=f"{pointer}/line_id")
        left = self.amount[credit.line_id]
        if credit.amount is None:
            return left
        _same_currency(credit.amount, self.given.currency, f"{pointer}/amount/currency")
        asked, sign = credit.amount.amount_minor, 1 if left.amount_minor > 0 else -1
        if not 0 < asked * sign <= left.amount_minor * sign:
            raise CreditBeyondBilled(
                "more than what is left of the line",
                left=left,
                asked=credit.amount,
                pointer=f"{pointer}/amount",
                remedy=f"Credit no more of this line than {left.to_decimal()} {left.currency}.",
            )
        return credit.amount

    def exact_paid(self, id: str, amount: Money) -> Fraction:
        """What was paid for `amount` of a line, with what rounding left over before."""
        line = self.line[id]
        if amount == self.amount[id]:
            return Fraction(self.paid[id].amount_minor)
        credited = line.amount - self.amount[id] + amount
        part = Fraction(credited.amount_minor, line.amount.amount_minor)
        return part * line.paid.amount_minor - (line.paid - self.paid[id]).amount_minor

    def amount_for(self, id: str, paid: Money) -> Money:
        """The part of the line's price for which `paid` was paid."""
        line = self.line[id]
        if paid == self.paid[id] or not line.paid.amount_minor:
            return self.amount[id]
        part = Fraction(paid.amount_minor, line.paid.amount_minor)
        return _nearest(_rounded(part * line.amount.amount_minor), self.amount[id])

    def lines_on(self, basis: Basis) -> list[CreditableLine]:
        """Those whose tax comes on top."""
        return self._on.get(basis.key, [])

    def gross(self, line: CreditableLine) -> Fraction:
        """What is left of a line, with its share of the tax that is left on top of it."""
        left = Fraction(self.paid[line.id].amount_minor)
        if line.is_inclusive:
            return left
        whole = self._paid_on[line.basis]
        return left + left * Fraction(self.tax[line.basis].amount_minor, whole) if whole else left

    def tax_in_proportion(self, paid: Mapping[str, Money]) -> dict[str, Money]:
        """The tax on top of what is credited of each basis."""
        return {basis.key: self._tax(basis, paid) for basis in self.given.bases}

    def _tax(self, basis: Basis, paid: Mapping[str, Money]) -> Money:
        lines, currency = self.lines_on(basis), self.given.currency
        credited = sum(paid[line.id].amount_minor for line in lines if line.id in paid)
        if all(self.paid[line.id] == paid.get(line.id, Money.zero(currency)) for line in lines):
            return self.tax[basis.key]
        whole = sum(line.paid.amount_minor for line in lines)
        rate = Fraction(basis.tax.amount_minor, whole) if whole else Fraction(basis.percent) * PERCENT
        before = whole - sum(self.paid[line.id].amount_minor for line in lines)
        exact_after = (before + credited) * rate
        taken = basis.tax.amount_minor - self.tax[basis.key].amount_minor
        tax = _rounded(credited * rate)
        tax = min(max(tax, floor(exact_after) - 1 - taken), ceil(exact_after) + 1 - taken)
        if all(line.paid.amount_minor >= 0 for line in lines):
            tax = min(max(tax, 0), self.tax[basis.key].amount_minor)
        return Money(tax, currency)

    def within(self, basis: Basis, tax: Money, share: Money) -> tuple[Money, Money]:
        """The tax in the share of a basis, and the rest: neither more than what is left of it."""
        lines = self.lines_on(basis)
        if any(line.paid.amount_minor < 0 for line in lines):
            return tax, share - tax
        most = sum(self.paid[line.id].amount_minor for line in lines)
        least_tax = max(share.amount_minor - most, 0)
        most_tax = min(self.tax[basis.key].amount_minor, share.amount_minor)
        minor = min(max(tax.amount_minor, least_tax), max(most_tax, least_tax))
        return Money(minor, tax.currency), Money(share.amount_minor - minor, tax.currency)

    def net_for(self, line: CreditableLine, paid: Money) -> Money:
        """Of prices that include the tax: what of `paid` is net, together with what was credited before in proportion."""
        if not line.is_inclusive:
            return paid
        if paid == self.paid[line.id] or not line.paid.amount_minor:
            return self.net[line.id]
        after = line.paid - self.paid[line.id] + paid
        exact = Fraction(after.amount_minor * line.net.amount_minor, line.paid.amount_minor)
        net = _rounded(exact) - (line.net - self.net[line.id]).amount_minor
        return _nearest(net, paid)


def _credited(
    left: _Left, amounts: Mapping[str, Money], paid: Mapping[str, Money], taxes: Mapping[str, Money]
) -> Credited:
    found = _told(left, amounts, paid, taxes)
    _refuse_beyond(found.total, left.total)
    return found


def _told(
    left: _Left, amounts: Mapping[str, Money], paid: Mapping[str, Money], taxes: Mapping[str, Money]
) -> Credited:
    currency = left.given.currency
    zero = Money.zero(currency)
    lines = tuple(
        CreditedLine(line.id, amounts[line.id], paid[line.id], left.net_for(line, paid[line.id]))
        for line in left.given.lines
        if line.id in amounts and (amounts[line.id].amount_minor or paid[line.id].amount_minor)
    )
    found: list[CreditedTax] = []
    for basis in left.given.bases:
        mine = [line for line in lines if left.line[line.line_id].basis == basis.key]
        on_top = taxes.get(basis.key, zero)
        inside = total((line.paid - line.net for line in mine), currency)
        net = total((line.net for line in mine), currency)
        if mine or on_top.amount_minor:
            found.append(CreditedTax(basis.key, basis.category, basis.percent, net, on_top + inside, on_top))
    net = total((line.net for line in lines), currency)
    tax = total((one.tax for one in found), currency)
    return Credited(lines, tuple(found), net, tax, net + tax)


def _same_currency(asked: Money, currency: str, pointer: str) -> None:
    if asked.currency != currency:
        raise CurrencyMismatch(
            "the invoice is in another currency", pointer=pointer, one=currency, other=asked.currency
        )


def _refuse_beyond(asked: Money, left: Money) -> None:
    if asked.amount_minor <= 0:
        raise NothingToCredit(
            "what is asked for comes to nothing, or to less",
            left=left,
            remedy="Name lines, or an amount, of which something is left to be credited.",
        )
    if asked.amount_minor > left.amount_minor:
        raise CreditBeyondBilled(
            "more than what is left of the invoice",
            left=left,
            asked=asked,
            remedy=f"Credit no more than {left.to_decimal()} {left.currency}, tax included.",
        )


def _spread(
    whole: Money, exact: Mapping[str, Fraction], most: Mapping[str, Money], currency: str
) -> dict[str, Money]:
    """`whole` by largest remainder, ties to the first, and nothing beyond what is left of a line."""
    bounds = {id: sorted((0, most[id].amount_minor)) for id in exact}
    minors = {id: min(max(floor(share), bounds[id][0]), bounds[id][1]) for id, share in exact.items()}
    missing = whole.amount_minor - sum(minors.values())
    order = sorted(exact, key=lambda id: -(exact[id] - floor(exact[id])))
    while missing > 0:
        room = [id for id in order if minors[id] < bounds[id][1]]
        if not room:
            break
        for id in room[:missing]:
            minors[id] += 1
        missing = whole.amount_minor - sum(minors.values())
    return {id: Money(minor, currency) for id, minor in minors.items()}


def _nearest(minor: int, most: Money) -> Money:
    low, high = sorted((0, most.amount_minor))
    return Money(min(max(minor, low), high), most.currency)


def _rounded(exact: Fraction) -> int:
    return round_ratio(exact.numerator, exact.denominator, 0)


def _key(category: str, percent: Decimal) -> str:
    return f"{category}/{percent.normalize():f}"

"""What prepaid credits pay of a document: units before tax, money after it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from libs.common.exact import EXACT
from libs.common.ids import derived_id
from libs.common.money import Money
from libs.common.telemetry import current_traceparent
from services.billing.application.coupons_for import taken_back_on
from services.billing.application.ports import UnitOfWork
from services.billing.domain.charge import Charge
from services.billing.domain.invoice import Invoice
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.postings_of_wallets import postings_for_money_used, postings_for_units_used
from services.billing.domain.wallet import Draw, Grant, Wallet, drawn, given_back
from services.billing.domain.wallet_draw import PayableLine, draw_money, draw_units, payable_of

# Of what bills a customer. What a top-up sells, a deposit, and damages are paid with money.
PAID_WITH_CREDITS = frozenset(("invoice", "change", "correction", "interim", "one_off"))
TAKES_UNITS_BACK = PAID_WITH_CREDITS | {"credit"}
# Models whose lines are a number of units at a price each. Lines of a minimum, a maximum or a shortfall are not.
COUNTED_BY_UNIT = frozenset(("per_unit", "graduated", "volume", "matrix", "capacity"))
NOT_COUNTED = ("minimum", "maximum", "shortfall")
UNIT_DECIMALS = 12


@dataclass(frozen=True, slots=True)
class UnitCredits:
    """What prepaid units cover of each line, by its id, and what is drawn for that; below zero where a credit gives back.

    `returned` are the units that come back, with the grants that they were drawn on.
    """

    prepaid: Mapping[str, Money] = field(default_factory=dict)
    draws: tuple[Draw, ...] = ()
    returned: tuple[tuple[Grant, Draw], ...] = ()


@dataclass(frozen=True, slots=True)
class MoneyCredits:
    """What the payer's prepaid money may pay of a document's total."""

    amount: Money
    draws: tuple[Draw, ...] = ()


NO_UNITS = UnitCredits()


async def unit_credits_for(
    draft: Invoice, lines: Sequence[InvoiceLine], *, now: datetime, uow: UnitOfWork
) -> UnitCredits:
    """What the payer's units cover of the lines, grant by grant; and what credits give back of what units covered."""
    if draft.document_kind not in TAKES_UNITS_BACK:
        return NO_UNITS
    wallets = [w for w in await uow.wallets.of_customer_for_update(draft.customer_id) if not w.is_money]
    if not wallets:
        return NO_UNITS
    returned = await _returned(draft, lines, uow=uow)
    draws: tuple[Draw, ...] = ()
    if draft.document_kind in PAID_WITH_CREDITS and any(wallet.usable(now) for wallet in wallets):
        charges = {charge.id: charge for charge in await uow.charges.of_invoice(draft.id)}
        payable = [_countable(draft, line, charges) for line in lines if line.charge_id in charges]
        draws = draw_units(wallets, payable, draft.currency, now=now).draws
    prepaid: dict[str, Money] = {}
    for draw in (*draws, *(replace(draw, paid=-draw.paid) for _, draw in returned)):
        assert draw.line_id is not None, "units cover a line"
        prepaid[draw.line_id] = prepaid.get(draw.line_id, Money.zero(draft.currency)) + draw.paid
    return UnitCredits(prepaid, draws, returned)


def _countable(draft: Invoice, line: InvoiceLine, charges: Mapping[str, Charge]) -> PayableLine:
    """A line as units see it; none of its quantity can be covered where it is no number of units at a price each."""
    charge = charges[line.charge_id or ""]
    price = charge.price
    quantity, unit_amount = _units_of(draft, line, charge)
    return PayableLine(
        id=line.id,
        amount=line.amount,
        price_code=price.code,
        product_id=price.product_id or None,
        meter=price.meter,
        unit=price.unit,
        quantity=quantity,
        unit_amount=unit_amount,
        charge_id=charge.id,
    )


def _units_of(draft: Invoice, line: InvoiceLine, charge: Charge) -> tuple[Decimal, Decimal]:
    """How many units the line is for, and at what price each; none where it is something else."""
    nothing = Decimal(0), line.unit_amount
    if charge.price.model not in COUNTED_BY_UNIT:
        return nothing
    if any(line.id == derived_id("lin", draft.id, charge.id, key) for key in NOT_COUNTED):
        return nothing
    if charge.kind == "usage" and charge.quantity_before is not None:
        # What came later stands on a line of one: where that is all of it, it is for the units that came later.
        units = charge.quantity - charge.quantity_before
        if units <= 0 or line.amount != charge.amount:
            return nothing
        price = Fraction(line.amount.to_decimal()) * Fraction(units) ** -1
        return units, _to_decimals(price)
    exact = Fraction(line.quantity) * Fraction(line.unit_amount)
    with_more = abs(Money.from_decimal(exact, draft.currency).amount_minor - line.amount.amount_minor) > 1
    return nothing if with_more else (line.quantity, line.unit_amount)


async def _returned(
    draft: Invoice, lines: Sequence[InvoiceLine], *, uow: UnitOfWork
) -> tuple[tuple[Grant, Draw], ...]:
    """The units behind what credits take back: of the grants that were drawn on last, first."""
    back = {
        line_id: -amount
        for line_id, amount in (await taken_back_on(draft, lines, uow=uow)).prepaid.items()
        if amount.amount_minor
    }
    if not back:
        return ()
    charges = {charge.id: charge for charge in await uow.charges.of_invoice(draft.id)}
    found: list[tuple[Grant, Draw]] = []
    for line in lines:
        if line.id not in back:
            continue
        credit = charges[line.charge_id or ""]
        period = await uow.charges.of_period(credit.subscription_id, credit.period_index)
        same = [c.id for c in period if (c.item_id, c.price.id) == (credit.item_id, credit.price.id)]
        left = back[line.id].amount_minor
        for grant, drawn_before in await uow.wallets.units_of_charges(sorted(same)):
            taken = min(left, drawn_before.paid.amount_minor)
            if taken <= 0:
                continue
            left -= taken
            paid = Money(taken, draft.currency)
            units = _part(drawn_before, paid)
            found.append((grant, replace(drawn_before, amount=units, paid=paid, line_id=line.id)))
    return tuple(found)


def _part(drawn_before: Draw, paid: Money) -> Decimal:
    """As many of the units as `paid` is of what they covered. Rounding: down, to 12 decimals."""
    whole = drawn_before.paid.amount_minor
    if paid.amount_minor == whole:
        return drawn_before.amount
    exact = Fraction(drawn_before.amount) * paid.amount_minor * Fraction(1, whole)
    return _to_decimals(exact)


def _to_decimals(exact: Fraction) -> Decimal:
    """Rounding: down, to 12 decimals."""
    return EXACT.scaleb(Decimal(exact.numerator * 10**UNIT_DECIMALS // exact.denominator), -UNIT_DECIMALS)


async def money_credits_for(
    draft: Invoice, lines: Sequence[InvoiceLine], total: Money, *, now: datetime, uow: UnitOfWork
) -> MoneyCredits:
    """What the payer's money pays of the total, tax included, grant by grant."""
    nothing = MoneyCredits(Money.zero(draft.currency))
    if draft.document_kind not in PAID_WITH_CREDITS or total.amount_minor <= 0:
        return nothing
    wallets = [w for w in await uow.wallets.of_customer_for_update(draft.customer_id) if w.is_money]
    usable = [grant for wallet in wallets for grant in wallet.usable(now)]
    if not usable:
        return nothing
    payable: list[PayableLine] = []
    if any(not grant.scope.is_all for grant in usable):
        payable = await _payable(draft, lines, total, uow=uow)
    found = draw_money(wallets, payable, total, now=now)
    return MoneyCredits(found.paid, found.draws)


async def _payable(
    draft: Invoice, lines: Sequence[InvoiceLine], total: Money, *, uow: UnitOfWork
) -> list[PayableLine]:
    charges = {charge.id: charge for charge in await uow.charges.of_invoice(draft.id)}
    amounts = payable_of([line.net for line in lines], [line.tax_percent for line in lines], total)
    found = []
    for line, amount in zip(lines, amounts, strict=True):
        price = charges[line.charge_id].price if line.charge_id in charges else None
        found.append(
            PayableLine(
                id=line.id,
                amount=amount,
                price_code=None if price is None else price.code,
                product_id=line.product_id,
                meter=None if price is None else price.meter,
            )
        )
    return found


async def draw_credits(
    invoice: Invoice, units: UnitCredits, money: MoneyCredits, *, now: datetime, uow: UnitOfWork
) -> None:
    """Write down what the issued invoice drew, and what came back to it. Emits: WalletChanged."""
    wallets = await uow.wallets.of_customer_for_update(invoice.customer_id)
    unit_cost = _draw(invoice, wallets, units.draws, now=now, uow=uow)
    unit_cost = unit_cost + await _return(invoice, units.returned, now=now, uow=uow)
    uow.ledger.post(postings_for_units_used(invoice.id, unit_cost, at=now, zone=invoice.zone))
    if invoice.credits_applied.amount_minor:
        assert invoice.credits_applied == money.amount, "what was decided is what is drawn"
        cost = _draw(invoice, wallets, money.draws, now=now, uow=uow)
        uow.ledger.post(
            postings_for_money_used(invoice.id, invoice.credits_applied, cost, at=now, zone=invoice.zone)
        )


def _draw(
    invoice: Invoice, wallets: Sequence[Wallet], draws: Sequence[Draw], *, now: datetime, uow: UnitOfWork
) -> Money:
    """What was paid for all of it."""
    cost = Money.zero(invoice.currency)
    for wallet in wallets:
        mine = {grant.id for grant in wallet.grants}
        of_wallet = [draw for draw in draws if draw.grant_id in mine]
        if not of_wallet:
            continue
        movement = drawn(wallet, of_wallet, invoice_id=invoice.id, now=now, actor=uow.actor)
        uow.wallets.move(movement, traceparent=current_traceparent() or invoice.traceparent)
        uow.record("wallet.drawn", wallet.id, movement.wallet.version)
        cost = cost - movement.cost
    return cost


async def _return(
    invoice: Invoice, returned: Sequence[tuple[Grant, Draw]], *, now: datetime, uow: UnitOfWork
) -> Money:
    """What was paid for what comes back, below zero."""
    by_wallet: dict[str, list[tuple[Grant, Draw]]] = defaultdict(list)
    for grant, draw in returned:
        by_wallet[grant.wallet_id].append((grant, draw))
    cost = Money.zero(invoice.currency)
    for id in sorted(by_wallet):
        wallet = await uow.wallets.get_for_update(id)
        movement = given_back(wallet, by_wallet[id], invoice_id=invoice.id, now=now, actor=uow.actor)
        uow.wallets.move(movement, traceparent=current_traceparent() or invoice.traceparent)
        uow.record("wallet.given_back", wallet.id, movement.wallet.version)
        cost = cost - movement.cost
    return cost

"""Prepaid credits of a customer: a wallet of money or of units, filled by grants that are used up in a stated order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from libs.common.errors import Conflict, NotFound, RuleViolation
from libs.common.exact import EXACT
from libs.common.ids import derived_id
from libs.common.money import Money

GrantSource = Literal["manual", "purchase", "top_up"]
GrantsOn = Literal["issue", "payment"]
EntryKind = Literal["granted", "drawn", "given_back", "expired", "voided"]

NOTHING = Decimal(0)
GRANTS_MAX = 1_000
PRIORITY_MAX = 9_999


class WalletNotFound(NotFound):
    code = "wallet_not_found"
    title = "There is no such wallet"


class GrantNotFound(NotFound):
    code = "wallet_grant_not_found"
    title = "There is no such grant"


class GrantOfTopUp(Conflict):
    """What an invoice sold is taken back with the invoice, so that the money goes back as well."""

    code = "wallet_grant_of_top_up"
    title = "The grant was bought with an invoice"


class GrantUsedUp(Conflict):
    """Nothing of it is left: it was used, has expired, or was taken back."""

    code = "wallet_grant_used_up"
    title = "Nothing of the grant is left"


class TooManyGrants(RuleViolation):
    code = "too_many_wallet_grants"
    title = "The wallet holds too many grants"


class WalletTooFull(RuleViolation):
    code = "wallet_too_full"
    title = "More than a wallet can hold"


AMOUNT_MAX = Decimal(10) ** 15


@dataclass(frozen=True, slots=True)
class Scope:
    """What credits may pay for: prices by code, products by id, usage by meter; all of it where none is named.

    With several kinds named, one that fits is enough.
    """

    price_codes: tuple[str, ...] = ()
    product_ids: tuple[str, ...] = ()
    meters: tuple[str, ...] = ()

    @property
    def is_all(self) -> bool:
        return not (self.price_codes or self.product_ids or self.meters)

    def covers(self, *, price_code: str | None, product_id: str | None, meter: str | None) -> bool:
        return (
            self.is_all
            or price_code in self.price_codes
            or product_id in self.product_ids
            or (meter is not None and meter in self.meters)
        )


EVERYTHING = Scope()


@dataclass(frozen=True, slots=True)
class Grant:
    """An amount of credits that came at once, the `ordinal`-th of its wallet, and what is left of it.

    Units: `amount` and `remaining` are units, or money in major units. `cost` is what was paid for all of it, without
    tax; nothing for a promotional one. It can be used until before `expires_at`.
    """

    id: str
    wallet_id: str
    ordinal: int
    amount: Decimal
    remaining: Decimal
    cost: Money
    priority: int
    granted_at: datetime
    expires_at: datetime | None = None
    scope: Scope = EVERYTHING
    source: GrantSource = "manual"
    reason: str | None = None
    top_up_id: str | None = None
    voided_at: datetime | None = None

    @property
    def cost_left(self) -> Money:
        """What was paid for what is left. It follows from what is left alone, however it came to that.

        Rounding: what was paid for the used part, half away from zero; the last use has the rest.
        """
        used = EXACT.subtract(self.amount, self.remaining)
        numerator, denominator = used.as_integer_ratio()
        whole, part = self.amount.as_integer_ratio()
        return self.cost - self.cost.share(numerator * part, denominator * whole)

    def is_usable(self, now: datetime) -> bool:
        return self.remaining > 0 and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class TopUpRule:
    """Below `threshold`, `amount` more is bought; for no more than `monthly_limit` in a calendar month of UTC."""

    threshold: Decimal
    amount: Decimal
    monthly_limit: Money | None = None


@dataclass(frozen=True, slots=True)
class Wallet:
    """Prepaid credits of one customer: money in `currency`, or, where `unit` is named, units bought in it.

    `unit_amount` is what a unit costs when more are bought. Top-ups grant their credits when the invoice is issued, or
    when it is paid (`grants_on`), with `top_up_priority`, for `top_up_days` days (None: for ever). `balance` is the sum
    of the entries. `grants` are those of which something is left, in their order, where they were loaded.
    `open_top_up_id` is the one automatic top-up that is under way. `due_at` is when the scheduler shall look at it:
    something expires, or more is to be bought, not before `top_up_after`.
    """

    id: str
    customer_id: str
    name: str
    currency: str
    created_at: datetime
    unit: str | None = None
    unit_amount: Decimal | None = None
    tax_category: str | None = None
    grants_on: GrantsOn = "payment"
    top_up: TopUpRule | None = None
    top_up_priority: int = 0
    top_up_days: int | None = None
    zone: str = "UTC"
    balance: Decimal = NOTHING
    grant_count: int = 0
    entry_count: int = 0
    version: int = 1
    clock_id: str | None = None
    open_top_up_id: str | None = None
    top_up_after: datetime | None = None
    due_at: datetime | None = None
    grants: tuple[Grant, ...] = field(default=())

    @property
    def is_money(self) -> bool:
        return self.unit is None

    def usable(self, now: datetime) -> list[Grant]:
        """In the order in which they are used: by priority, the lowest first, then what expires first, then age."""
        return sorted((grant for grant in self.grants if grant.is_usable(now)), key=drawing_order)


@dataclass(frozen=True, slots=True)
class WalletEntry:
    """More (positive) or less of one grant, the `ordinal`-th entry of its wallet, which came to `after`. Written once.

    `cost` is what was paid for it, with its sign; `paid` what it paid of the line or document that drew it.
    """

    id: str
    wallet_id: str
    grant_id: str
    ordinal: int
    kind: EntryKind
    amount: Decimal
    after: Decimal
    cost: Money
    occurred_at: datetime
    actor: str
    invoice_id: str | None = None
    line_id: str | None = None
    charge_id: str | None = None
    paid: Money | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Movement:
    """The wallet after one thing happened to it, the grants that changed, and the entries that say so."""

    wallet: Wallet
    kind: EntryKind
    grants: tuple[Grant, ...]
    entries: tuple[WalletEntry, ...]

    @property
    def cost(self) -> Money:
        """What was paid for all that moved, with its sign."""
        minor = sum(entry.cost.amount_minor for entry in self.entries)
        return Money(minor, self.wallet.currency)


@dataclass(frozen=True, slots=True)
class Draw:
    """`amount` of a grant pays `paid` of a line, or of a document where `line_id` is None."""

    grant_id: str
    amount: Decimal
    paid: Money
    line_id: str | None = None
    charge_id: str | None = None


def drawing_order(grant: Grant) -> tuple[int, bool, datetime, datetime, int]:
    """A grant that never expires comes after those of its priority that do."""
    expires = grant.expires_at
    return grant.priority, expires is None, expires or grant.granted_at, grant.granted_at, grant.ordinal


def granted(
    wallet: Wallet,
    *,
    amount: Decimal,
    cost: Money,
    priority: int,
    now: datetime,
    actor: str,
    expires_at: datetime | None = None,
    scope: Scope = EVERYTHING,
    source: GrantSource = "manual",
    reason: str | None = None,
    top_up_id: str | None = None,
) -> Movement:
    """A new grant. Raises: TooManyGrants, WalletTooFull."""
    assert amount > 0, "a grant is of something"
    assert cost.currency == wallet.currency, "a grant is paid in the currency of its wallet"
    if len(wallet.grants) >= GRANTS_MAX:
        raise TooManyGrants(
            f"a wallet holds at most {GRANTS_MAX} grants of which something is left",
            remedy="Take some of them back, or give fewer and larger ones.",
        )
    if EXACT.add(wallet.balance, amount) > AMOUNT_MAX:
        raise WalletTooFull(
            f"a wallet holds at most {AMOUNT_MAX}", pointer="/amount", remedy="Choose a smaller amount."
        )
    ordinal = wallet.grant_count + 1
    grant = Grant(
        id=derived_id("grt", wallet.id, str(ordinal)),
        wallet_id=wallet.id,
        ordinal=ordinal,
        amount=amount,
        remaining=amount,
        cost=cost,
        priority=priority,
        granted_at=now,
        expires_at=expires_at,
        scope=scope,
        source=source,
        reason=reason,
        top_up_id=top_up_id,
    )
    steps = [_Step(grant, amount, cost, reason=reason)]
    before = replace(wallet, grant_count=ordinal, grants=(*wallet.grants, grant))
    return _moved(before, "granted", steps, now=now, actor=actor)


def drawn(wallet: Wallet, draws: Sequence[Draw], *, invoice_id: str, now: datetime, actor: str) -> Movement:
    """What an issued document used."""
    grants = {grant.id: grant for grant in wallet.grants}
    steps = []
    for draw in draws:
        before = grants[draw.grant_id]
        assert 0 < draw.amount <= before.remaining, "no more is drawn than there is"
        after = replace(before, remaining=EXACT.subtract(before.remaining, draw.amount))
        grants[draw.grant_id] = after
        cost = after.cost_left - before.cost_left
        steps.append(_Step(after, -draw.amount, cost, invoice_id, draw.line_id, draw.charge_id, draw.paid))
    return _moved(wallet, "drawn", steps, now=now, actor=actor)


def given_back(
    wallet: Wallet,
    drawn_of: Sequence[tuple[Grant, Draw]],
    *,
    invoice_id: str,
    now: datetime,
    actor: str,
) -> Movement:
    """What a document had drawn comes back to the grants that it came from; `draw.amount` is how much of it.

    What has expired meanwhile expires again, when the scheduler looks at it next.
    """
    grants = {grant.id: grant for grant, _ in drawn_of}
    grants.update({grant.id: grant for grant in wallet.grants if grant.id in grants})
    steps = []
    for _, draw in drawn_of:
        before = grants[draw.grant_id]
        remaining = EXACT.add(before.remaining, draw.amount)
        assert before.remaining < remaining <= before.amount, "no more comes back than was granted"
        after = replace(before, remaining=remaining)
        grants[draw.grant_id] = after
        cost = after.cost_left - before.cost_left
        steps.append(_Step(after, draw.amount, cost, invoice_id, draw.line_id, draw.charge_id, -draw.paid))
    return _moved(wallet, "given_back", steps, now=now, actor=actor)


def expired(wallet: Wallet, *, now: datetime, actor: str) -> Movement | None:
    """What is left of the grants whose time is over; None where there is none."""
    over = [
        grant
        for grant in wallet.grants
        if grant.remaining and grant.expires_at is not None and grant.expires_at <= now
    ]
    return _emptied(wallet, "expired", over, now=now, actor=actor) if over else None


def grant_voided(
    wallet: Wallet, grant_id: str, *, now: datetime, actor: str, reason: str, with_its_invoice: bool = False
) -> Movement:
    """What is left of a grant is taken back.

    Raises: GrantUsedUp; GrantOfTopUp, unless its invoice is taken back as well.
    """
    grant = next((grant for grant in wallet.grants if grant.id == grant_id), None)
    if grant is None or not grant.remaining:
        raise GrantUsedUp("nothing of this grant is left", remedy="There is nothing to take back.")
    if grant.source == "top_up" and not with_its_invoice:
        raise GrantOfTopUp(
            "the grant was bought with an invoice",
            remedy="Void the invoice of its top-up while it is not paid: the credits go with it.",
        )
    over = replace(grant, voided_at=now)
    return _emptied(wallet, "voided", [over], now=now, actor=actor, reason=reason)


def watched(wallet: Wallet, *, now: datetime) -> Wallet:
    """The wallet with when it is to be looked at next: at its first expiry, or at once where it fell below its threshold.

    While one automatic top-up is under way, no other is made.
    """
    after = wallet.top_up_after
    if not is_below_threshold(wallet) or wallet.open_top_up_id is not None:
        after = None
    elif after is None:
        after = now
    at = [grant.expires_at for grant in wallet.grants if grant.remaining and grant.expires_at is not None]
    if after is not None:
        at.append(after)
    return replace(wallet, top_up_after=after, due_at=min(at, default=None))


def is_below_threshold(wallet: Wallet) -> bool:
    return wallet.top_up is not None and wallet.balance < wallet.top_up.threshold


@dataclass(frozen=True, slots=True)
class _Step:
    grant: Grant
    amount: Decimal
    cost: Money
    invoice_id: str | None = None
    line_id: str | None = None
    charge_id: str | None = None
    paid: Money | None = None
    reason: str | None = None


def _emptied(
    wallet: Wallet,
    kind: EntryKind,
    grants: Iterable[Grant],
    *,
    now: datetime,
    actor: str,
    reason: str | None = None,
) -> Movement:
    steps = [
        _Step(replace(grant, remaining=NOTHING), -grant.remaining, -grant.cost_left, reason=reason)
        for grant in grants
    ]
    return _moved(wallet, kind, steps, now=now, actor=actor)


def _moved(wallet: Wallet, kind: EntryKind, steps: Sequence[_Step], *, now: datetime, actor: str) -> Movement:
    entries: list[WalletEntry] = []
    balance = wallet.balance
    for ordinal, step in enumerate(steps, start=wallet.entry_count + 1):
        balance = EXACT.add(balance, step.amount)
        assert balance >= 0, "a wallet never goes below zero"
        entries.append(
            WalletEntry(
                id=derived_id("wen", wallet.id, str(ordinal)),
                wallet_id=wallet.id,
                grant_id=step.grant.id,
                ordinal=ordinal,
                kind=kind,
                amount=step.amount,
                after=balance,
                cost=step.cost,
                occurred_at=now,
                actor=actor,
                invoice_id=step.invoice_id,
                line_id=step.line_id,
                charge_id=step.charge_id,
                paid=step.paid,
                reason=step.reason,
            )
        )
    changed = {step.grant.id: step.grant for step in steps}
    kept = {grant.id: grant for grant in wallet.grants} | changed
    after = watched(
        replace(
            wallet,
            balance=balance,
            entry_count=wallet.entry_count + len(steps),
            version=wallet.version + 1,
            grants=tuple(sorted((g for g in kept.values() if g.remaining), key=lambda grant: grant.ordinal)),
        ),
        now=now,
    )
    return Movement(after, kind, tuple(changed.values()), tuple(entries))

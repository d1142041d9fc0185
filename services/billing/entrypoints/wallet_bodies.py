"""Request and response bodies of wallets."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from libs.common.money import Money, exponent
from libs.common.web.bodies import (
    Currency,
    DecimalText,
    Instant,
    MoneyBody,
    Name,
    Quantity,
    StrictBody,
    Zone,
    identifier,
)
from services.billing.application.grant_credits import GrantCredits
from services.billing.application.open_wallet import OpenWallet, WalletSettings, settings_of
from services.billing.domain.wallet import PRIORITY_MAX, Grant, Scope, TopUpRule, Wallet, WalletEntry
from services.billing.domain.wallet_top_up import TopUp
from services.billing.entrypoints.bodies import CustomerId

AMOUNT_DIGITS_MAX, AMOUNT_DECIMALS_MAX = 12, 12
DAYS_MAX = 3_660
NAMED_MAX = 50

WalletId = Annotated[str, identifier("wal")]
GrantId = Annotated[str, identifier("grt")]


def _countable(value: Decimal) -> Decimal:
    if value <= 0:
        raise ValueError("must be more than nothing")
    exponent_of = value.normalize().as_tuple().exponent
    assert isinstance(exponent_of, int), "what came in is a number"
    if value.adjusted() >= AMOUNT_DIGITS_MAX or -exponent_of > AMOUNT_DECIMALS_MAX:
        raise ValueError(
            f"must have at most {AMOUNT_DIGITS_MAX} digits, and at most {AMOUNT_DECIMALS_MAX} decimals"
        )
    return value


CreditAmount = Annotated[Quantity, AfterValidator(_countable), Field(examples=["100"])]
UnitName = Annotated[Name, Field(max_length=64, examples=["kWh"])]
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
    Field(examples=["welcome credit"]),
]
Words = list[Annotated[str, Field(min_length=1, max_length=128)]]
Priority = Annotated[int, Field(strict=True, ge=0, le=PRIORITY_MAX)]
Days = Annotated[int, Field(strict=True, ge=1, le=DAYS_MAX)]
TaxCategoryText = Annotated[str, Field(min_length=1, max_length=64, examples=["standard"])]


class TopUpRuleBody(StrictBody):
    """Below `threshold`, one top-up of `amount` is made; no more than `monthly_limit` in a calendar month of UTC."""

    threshold: CreditAmount
    amount: CreditAmount
    monthly_limit: MoneyBody | None = None

    def to_domain(self) -> TopUpRule:
        limit = None if self.monthly_limit is None else self.monthly_limit.to_money()
        return TopUpRule(self.threshold, self.amount, limit)

    @classmethod
    def from_domain(cls, rule: TopUpRule) -> Self:
        limit = None if rule.monthly_limit is None else MoneyBody.from_money(rule.monthly_limit)
        return cls(threshold=rule.threshold, amount=rule.amount, monthly_limit=limit)


class NewWalletBody(StrictBody):
    """Of money, unless `unit` names what it holds; `currency` is then what units are bought in."""

    customer_id: CustomerId
    name: Name
    currency: Currency
    unit: UnitName | None = None
    unit_amount: CreditAmount | None = None
    tax_category: TaxCategoryText | None = None
    zone: Zone = "UTC"
    grants_on: Literal["payment", "issue"] = "payment"
    top_up: TopUpRuleBody | None = None
    top_up_priority: Priority = 0
    top_up_expires_after_days: Days | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_settings(self.to_command("").settings, currency=self.currency, unit=self.unit)
        return self

    def to_command(self, id: str) -> OpenWallet:
        settings = WalletSettings(
            name=self.name,
            unit_amount=self.unit_amount,
            tax_category=self.tax_category,
            zone=self.zone,
            grants_on=self.grants_on,
            top_up=None if self.top_up is None else self.top_up.to_domain(),
            top_up_priority=self.top_up_priority,
            top_up_days=self.top_up_expires_after_days,
        )
        return OpenWallet(id, self.customer_id, self.currency, self.unit, settings)


class WalletChangeBody(StrictBody):
    """What is left out stays as it is; null takes it away."""

    name: Name | None = None
    unit_amount: CreditAmount | None = None
    tax_category: TaxCategoryText | None = None
    zone: Zone | None = None
    grants_on: Literal["payment", "issue"] | None = None
    top_up: TopUpRuleBody | None = None
    top_up_priority: Priority | None = None
    top_up_expires_after_days: Days | None = None

    @model_validator(mode="after")
    def _keeps_what_it_needs(self) -> Self:
        for name in ("name", "zone", "grants_on", "top_up_priority"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} cannot be taken away")
        return self

    def applied_to(self, wallet: Wallet) -> WalletSettings:
        """Raises: ValueError where the settings do not fit the wallet."""
        named: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set}
        if "top_up_expires_after_days" in named:
            named["top_up_days"] = named.pop("top_up_expires_after_days")
        if self.top_up is not None:
            named["top_up"] = self.top_up.to_domain()
        before = settings_of(wallet)
        kept = {name: getattr(before, name) for name in WalletSettings.__slots__}
        return WalletSettings(**{**kept, **named})


def check_settings(settings: WalletSettings, *, currency: str, unit: str | None) -> None:
    """Raises: ValueError."""
    if unit is None and (settings.unit_amount is not None or settings.tax_category is not None):
        raise ValueError(
            "unit_amount and tax_category belong to wallets of units: money is taxed when it is used"
        )
    rule = settings.top_up
    if rule is None:
        return
    if rule.monthly_limit is not None and rule.monthly_limit.currency != currency:
        raise ValueError(f"monthly_limit must be in {currency}, as the wallet is")
    if unit is None:
        for amount in (rule.threshold, rule.amount):
            check_fineness(amount, currency)
    elif settings.unit_amount is None:
        raise ValueError("a top_up of units needs unit_amount: what a unit costs")


def check_fineness(amount: Decimal, currency: str) -> None:
    """Raises: ValueError where an amount of money is finer than its currency."""
    if Money.from_decimal(amount, currency).to_decimal() != amount:
        raise ValueError(f"an amount of {currency} has at most {exponent(currency)} decimals")


class WalletBody(StrictBody):
    """`balance` is what its grants hold: money in `currency`, or units."""

    id: str
    customer_id: str
    name: str
    currency: str
    unit: str | None
    unit_amount: DecimalText | None
    tax_category: str | None
    zone: str
    grants_on: Literal["payment", "issue"]
    top_up: TopUpRuleBody | None
    top_up_priority: int
    top_up_expires_after_days: int | None
    balance: DecimalText
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, wallet: Wallet) -> Self:
        return cls(
            id=wallet.id,
            customer_id=wallet.customer_id,
            name=wallet.name,
            currency=wallet.currency,
            unit=wallet.unit,
            unit_amount=wallet.unit_amount,
            tax_category=wallet.tax_category,
            zone=wallet.zone,
            grants_on=wallet.grants_on,
            top_up=None if wallet.top_up is None else TopUpRuleBody.from_domain(wallet.top_up),
            top_up_priority=wallet.top_up_priority,
            top_up_expires_after_days=wallet.top_up_days,
            balance=wallet.balance,
            version=wallet.version,
            created_at=wallet.created_at,
        )


class ScopeBody(StrictBody):
    """What the credits may pay for; all of it where nothing is named. Of several kinds, one that fits is enough."""

    price_codes: Words = Field(default_factory=list, max_length=NAMED_MAX)
    product_ids: Words = Field(default_factory=list, max_length=NAMED_MAX)
    meters: Words = Field(default_factory=list, max_length=NAMED_MAX)

    def to_domain(self) -> Scope:
        return Scope(tuple(self.price_codes), tuple(self.product_ids), tuple(self.meters))

    @classmethod
    def from_domain(cls, scope: Scope) -> Self:
        return cls(
            price_codes=list(scope.price_codes),
            product_ids=list(scope.product_ids),
            meters=list(scope.meters),
        )


class NewGrantBody(StrictBody):
    """`cost` is what the customer paid for it elsewhere; without one, it is a gift."""

    amount: CreditAmount
    cost: MoneyBody | None = None
    priority: Priority = 0
    expires_at: Instant | None = None
    scope: ScopeBody = ScopeBody()
    reason: Reason | None = None

    def to_command(self, currency: str) -> GrantCredits:
        return GrantCredits(
            amount=self.amount,
            cost=Money.zero(currency) if self.cost is None else self.cost.to_money(),
            priority=self.priority,
            expires_at=self.expires_at,
            scope=self.scope.to_domain(),
            reason=self.reason,
        )


class GrantBody(StrictBody):
    """`remaining` of `amount` is left, for which `cost_left` of `cost` was paid."""

    id: str
    wallet_id: str
    amount: DecimalText
    remaining: DecimalText
    cost: MoneyBody
    cost_left: MoneyBody
    priority: int
    granted_at: Instant
    expires_at: Instant | None
    scope: ScopeBody
    source: Literal["manual", "purchase", "top_up"]
    reason: str | None
    top_up_id: str | None
    voided_at: Instant | None

    @classmethod
    def from_domain(cls, grant: Grant) -> Self:
        return cls(
            id=grant.id,
            wallet_id=grant.wallet_id,
            amount=grant.amount,
            remaining=grant.remaining,
            cost=MoneyBody.from_money(grant.cost),
            cost_left=MoneyBody.from_money(grant.cost_left),
            priority=grant.priority,
            granted_at=grant.granted_at,
            expires_at=grant.expires_at,
            scope=ScopeBody.from_domain(grant.scope),
            source=grant.source,
            reason=grant.reason,
            top_up_id=grant.top_up_id,
            voided_at=grant.voided_at,
        )


class GrantVoidBody(StrictBody):
    reason: Reason


class WalletEntryBody(StrictBody):
    """One movement of one grant; `balance_after` is what the wallet came to by it, `paid` what it paid of a document."""

    id: str
    wallet_id: str
    grant_id: str
    ordinal: int
    kind: Literal["granted", "drawn", "given_back", "expired", "voided"]
    amount: DecimalText
    balance_after: DecimalText
    cost: MoneyBody
    paid: MoneyBody | None
    invoice_id: str | None
    line_id: str | None
    reason: str | None
    occurred_at: Instant

    @classmethod
    def from_domain(cls, entry: WalletEntry) -> Self:
        return cls(
            id=entry.id,
            wallet_id=entry.wallet_id,
            grant_id=entry.grant_id,
            ordinal=entry.ordinal,
            kind=entry.kind,
            amount=entry.amount,
            balance_after=entry.after,
            cost=MoneyBody.from_money(entry.cost),
            paid=None if entry.paid is None else MoneyBody.from_money(entry.paid),
            invoice_id=entry.invoice_id,
            line_id=entry.line_id,
            reason=entry.reason,
            occurred_at=entry.occurred_at,
        )


class NewTopUpBody(StrictBody):
    """`price` is without tax; left out, it is the amount of money, or so many times the wallet's `unit_amount`."""

    amount: CreditAmount
    price: MoneyBody | None = None


class TopUpBody(StrictBody):
    """The invoice sells the credits; they are granted when it is issued, or paid, as the wallet says."""

    id: str
    wallet_id: str
    invoice_id: str
    cause: Literal["manual", "automatic"]
    amount: DecimalText
    price: MoneyBody
    state: Literal["open", "granted", "void"]
    requested_at: Instant

    @classmethod
    def from_domain(cls, top_up: TopUp) -> Self:
        return cls(
            id=top_up.id,
            wallet_id=top_up.wallet_id,
            invoice_id=top_up.invoice_id,
            cause=top_up.cause,
            amount=top_up.amount,
            price=MoneyBody.from_money(top_up.price),
            state=top_up.state,
            requested_at=top_up.requested_at,
        )

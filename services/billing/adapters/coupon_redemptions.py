"""The coupons that customers have: locked for a whole batch before its documents use them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, or_, select

from libs.common.money import Money
from libs.common.persistence.base import bulk_insert, bulk_update, is_among
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.adapters.coupon_rows import coupon_redemption, coupon_use
from services.billing.domain.coupon_redemption import CouponRedemption, CouponTerms, CouponUse

# Whichever of the two news comes first, both hold in the end.
_KEEP_BOTH = (
    "ON CONFLICT (id) DO UPDATE SET "
    "coupon = coalesce(coupon_redemption.coupon, excluded.coupon), "
    "redeemed_at = coalesce(coupon_redemption.redeemed_at, excluded.redeemed_at), "
    "clock_id = coalesce(coupon_redemption.clock_id, excluded.clock_id), "
    "withdrawn_at = coalesce(coupon_redemption.withdrawn_at, excluded.withdrawn_at)"
)


class CouponRedemptionRepository:
    """Most customers have none, which costs a batch one read. Rows are locked in id order, after all invoices."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._held: dict[str, CouponRedemption] = {}
        self._by_customer: dict[str, list[str]] = defaultdict(list)
        self._customers: set[str] = set()
        self._subscriptions: set[str] = set()
        self._told: dict[str, dict[str, Any]] = {}
        self._used: dict[str, CouponRedemption] = {}
        self._uses: list[CouponUse] = []

    def reset(self) -> None:
        self._held.clear()
        self._by_customer.clear()
        self._customers.clear()
        self._subscriptions.clear()

    async def load_for_update(
        self,
        customer_ids: Iterable[str],
        *,
        subscription_ids: Iterable[str] = (),
        used_by: Iterable[str] = (),
    ) -> None:
        """Lock and read what these customers have, and those who use these subscriptions, in one statement.

        `used_by` are subscriptions whose users are among the customers.
        """
        self._subscriptions.update(used_by)
        customers = sorted(set(customer_ids) - self._customers)
        subscriptions = sorted(set(subscription_ids) - self._subscriptions)
        if not customers and not subscriptions:
            return
        self._customers.update(customers)
        self._subscriptions.update(subscriptions)
        table, agreement = coupon_redemption.c, rows.agreement.c
        theirs: list[ColumnElement[bool]] = []
        if customers:
            theirs.append(is_among(table.customer_id, customers))
        if subscriptions:
            users = select(agreement.customer_id).where(is_among(agreement.id, subscriptions))
            theirs.append(table.customer_id.in_(users))
        wanted = (
            select(coupon_redemption)
            .where(table.tenant == self._uow.tenant, table.coupon.is_not(None), or_(*theirs))
            .order_by(table.id)
            .with_for_update()
        )
        for row in (await self._uow.connection.execute(wanted)).mappings():
            self._hold(redemption_from_row(row))

    @property
    def has_any(self) -> bool:
        return bool(self._held)

    def held(self, id: str) -> CouponRedemption:
        return self._held[id]

    def of_customers(self, customer_ids: Iterable[str]) -> list[CouponRedemption]:
        """All that were loaded or told of in this transaction, in id order."""
        ids = sorted(id for customer_id in set(customer_ids) for id in self._by_customer[customer_id])
        return [self._held[id] for id in ids]

    def _hold(self, redemption: CouponRedemption) -> None:
        """One that is held already may have been used since."""
        if redemption.id not in self._held:
            self._held[redemption.id] = redemption
            self._by_customer[redemption.customer_id].append(redemption.id)

    def keep(self, redemption: CouponRedemption) -> None:
        """What was told of. One that is known stays as it is."""
        withdrawn_at = self._told.get(redemption.id, {}).get("withdrawn_at")
        self._hold(replace(redemption, withdrawn_at=withdrawn_at))
        self._told[redemption.id] = {**redemption_to_row(redemption), "withdrawn_at": withdrawn_at}

    def withdraw(self, id: str, *, customer_id: str, subscription_id: str | None, at: datetime) -> None:
        """From now on it takes nothing off; also where its redemption has not been heard of yet."""
        known = self._held.get(id)
        if known is not None:
            self._held[id] = replace(known, withdrawn_at=known.withdrawn_at or at)
        told = self._told.get(id) or {
            "id": id,
            "customer_id": customer_id,
            "subscription_id": subscription_id,
            "coupon": None,
            "redeemed_at": None,
            "clock_id": None,
            "used_count": 0,
            "used_minor": 0,
            "periods": {},
        }
        self._told[id] = {**told, "withdrawn_at": at}

    def use(self, redemption: CouponRedemption, use: CouponUse) -> None:
        """What a document took of it, or gave back. It is locked, or nobody else has heard of it."""
        self._held[redemption.id] = redemption
        self._used[redemption.id] = redemption
        self._uses.append(use)

    async def uses_of(self, invoice_id: str) -> list[tuple[CouponRedemption, CouponUse]]:
        """What the document took and has not given back, with its redemptions, which are locked."""
        table = coupon_use.c
        found = select(coupon_use).where(table.tenant == self._uow.tenant, table.invoice_id == invoice_id)
        by_redemption: dict[str, CouponUse | None] = {}
        written = [use_from_row(row) for row in (await self._uow.connection.execute(found)).mappings()]
        for use in [*written, *(use for use in self._uses if use.invoice_id == invoice_id)]:
            if use.kind == "given_back" or by_redemption.get(use.redemption_id, use) is None:
                by_redemption[use.redemption_id] = None
            else:
                by_redemption[use.redemption_id] = use
        standing = {id: use for id, use in by_redemption.items() if use is not None}
        wanted = (
            select(coupon_redemption)
            .where(is_among(coupon_redemption.c.id, sorted(standing)))
            .order_by(coupon_redemption.c.id)
            .with_for_update()
        )
        if standing:
            for row in (await self._uow.connection.execute(wanted)).mappings():
                self._hold(redemption_from_row(row))
        return [(self._held[id], use) for id, use in sorted(standing.items())]

    async def flush(self) -> None:
        told, self._told = self._told, {}
        used, self._used = self._used, {}
        uses, self._uses = self._uses, []
        tenant = self._uow.tenant
        await bulk_insert(
            self._uow.connection,
            coupon_redemption,
            [{"tenant": tenant, **told[id]} for id in sorted(told)],
            tail=_KEEP_BOTH,
        )
        await bulk_update(
            self._uow.connection,
            coupon_redemption,
            [
                {
                    "id": id,
                    "used_count": used[id].used_count,
                    "used_minor": used[id].used_minor,
                    "periods": _periods_to_json(used[id].periods),
                }
                for id in sorted(used)
            ],
        )
        await bulk_insert(
            self._uow.connection, coupon_use, [{"tenant": tenant, **use_to_row(use)} for use in uses]
        )


def redemption_to_row(redemption: CouponRedemption) -> dict[str, Any]:
    return {
        "id": redemption.id,
        "customer_id": redemption.customer_id,
        "subscription_id": redemption.subscription_id,
        "coupon": _terms_to_json(redemption.terms),
        "redeemed_at": redemption.redeemed_at,
        "clock_id": redemption.clock_id,
        "used_count": redemption.used_count,
        "used_minor": redemption.used_minor,
        "periods": _periods_to_json(redemption.periods),
    }


def redemption_from_row(row: RowMapping) -> CouponRedemption:
    return CouponRedemption(
        id=row["id"],
        customer_id=row["customer_id"],
        subscription_id=row["subscription_id"],
        terms=_terms_from_json(row["coupon"]),
        redeemed_at=row["redeemed_at"],
        clock_id=row["clock_id"],
        withdrawn_at=row["withdrawn_at"],
        used_count=row["used_count"],
        used_minor=row["used_minor"],
        periods={
            subscription_id: {int(index): minor for index, minor in spent.items()}
            for subscription_id, spent in row["periods"].items()
        },
    )


def _periods_to_json(periods: Mapping[str, Mapping[int, int]]) -> dict[str, dict[str, int]]:
    return {key: {str(index): minor for index, minor in spent.items()} for key, spent in periods.items()}


def _terms_to_json(terms: CouponTerms) -> dict[str, Any]:
    return {
        "coupon_id": terms.coupon_id,
        "code": terms.code,
        "name": terms.name,
        "duration": terms.duration,
        "percent": None if terms.percent is None else format(terms.percent, "f"),
        "amount": None if terms.amount is None else [terms.amount.amount_minor, terms.amount.currency],
        "periods": terms.periods,
        "product_ids": list(terms.product_ids),
        "plan_codes": list(terms.plan_codes),
        "stacking_order": terms.stacking_order,
    }


def _terms_from_json(stored: Mapping[str, Any]) -> CouponTerms:
    percent, amount = stored["percent"], stored["amount"]
    return CouponTerms(
        coupon_id=stored["coupon_id"],
        code=stored["code"],
        name=stored["name"],
        duration=stored["duration"],
        percent=None if percent is None else Decimal(percent),
        amount=None if amount is None else Money(*amount),
        periods=stored["periods"],
        product_ids=tuple(stored["product_ids"]),
        plan_codes=tuple(stored["plan_codes"]),
        stacking_order=stored["stacking_order"],
    )


def use_to_row(use: CouponUse) -> dict[str, Any]:
    return {
        "id": use.id,
        "redemption_id": use.redemption_id,
        "invoice_id": use.invoice_id,
        "kind": use.kind,
        "amount_minor": use.amount.amount_minor,
        "currency": use.amount.currency,
        "parts": [list(part) for part in use.parts],
        "occurred_at": use.occurred_at,
    }


def use_from_row(row: RowMapping) -> CouponUse:
    return CouponUse(
        id=row["id"],
        redemption_id=row["redemption_id"],
        invoice_id=row["invoice_id"],
        kind=row["kind"],
        amount=Money(row["amount_minor"], row["currency"]),
        parts=tuple((part[0], part[1], part[2]) for part in row["parts"]),
        occurred_at=row["occurred_at"],
    )

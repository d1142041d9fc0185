"""Rows ↔ coupons and their redemptions; the counts that keep redemptions within the limits."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import RowMapping, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from libs.common.money import Money
from libs.common.paging import PageRequest, Slice
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.catalog.adapters import rows
from services.catalog.adapters.repositories import equal, is_set
from services.catalog.application.ports import CouponFilter, RedemptionFilter
from services.catalog.domain.coupon import Coupon, CouponNotFound, CouponTerms, RedemptionCount
from services.catalog.domain.coupon_redemption import CouponRedemption, CouponRedemptionNotFound

# Columns that hold the field of the same name as it is.
_PLAIN_TERMS = (
    "name",
    "duration",
    "percent",
    "periods",
    "stacking_order",
    "redemptions_max",
    "redemptions_per_customer_max",
    "valid_from",
    "valid_until",
)
_REDEMPTION = CouponRedemption.__slots__


class CouponRepository(Repository[Coupon]):
    """The counts are written at once and not with the coupon, whose version they do not touch."""

    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.coupon,
            to_row=_coupon_to_row,
            from_row=_coupon_from_row,
            not_found=lambda id: CouponNotFound("there is no such coupon", coupon_id=id),
        )

    async def find_named(self, codes: Collection[str]) -> list[Coupon]:
        wanted = select(rows.coupon).where(rows.coupon.c.code.in_(sorted(codes)))
        return [_coupon_from_row(row) for row in (await self.uow.connection.execute(wanted)).mappings()]

    async def list_page(self, wanted: CouponFilter, page: PageRequest) -> Slice[Coupon]:
        table = rows.coupon
        return await self.page_of(
            page, *equal(table, code=wanted.code), *is_set(table.c.archived_at, wanted.archived)
        )

    async def count_redemption(self, coupon_id: str, customer_id: str) -> bool:
        """Each update counts only while the limit that stands in the row allows it, whoever else counts."""
        coupon, customer = rows.coupon, rows.coupon_customer
        below = or_(coupon.c.redemptions_max.is_(None), coupon.c.redeemed_count < coupon.c.redemptions_max)
        counted = await self.uow.connection.execute(
            update(coupon)
            .where(coupon.c.id == coupon_id, below)
            .values(redeemed_count=coupon.c.redeemed_count + 1)
            .returning(coupon.c.id)
        )
        if counted.first() is None:
            return False
        limit = select(coupon.c.redemptions_per_customer_max).where(coupon.c.id == coupon_id)
        first = insert(customer).values(
            tenant=self.uow.tenant, coupon_id=coupon_id, customer_id=customer_id, redeemed_count=1
        )
        counted = await self.uow.connection.execute(
            first.on_conflict_do_update(
                index_elements=["coupon_id", "customer_id"],
                set_={"redeemed_count": customer.c.redeemed_count + 1},
                where=func.coalesce(
                    customer.c.redeemed_count < limit.scalar_subquery(),
                    True,  # without a limit
                ),
            ).returning(customer.c.coupon_id)
        )
        return counted.first() is not None

    async def give_back_redemption(self, coupon_id: str, customer_id: str) -> None:
        coupon, customer = rows.coupon, rows.coupon_customer
        for table, wanted in (
            (coupon, coupon.c.id == coupon_id),
            (customer, and_(customer.c.coupon_id == coupon_id, customer.c.customer_id == customer_id)),
        ):
            await self.uow.connection.execute(
                update(table).where(wanted).values(redeemed_count=table.c.redeemed_count - 1)
            )

    async def redeemed(self, coupon_id: str, customer_id: str | None) -> RedemptionCount:
        coupon, customer = rows.coupon, rows.coupon_customer
        most = select(func.coalesce(func.max(customer.c.redeemed_count), 0)).where(
            customer.c.coupon_id == coupon_id, *equal(customer, customer_id=customer_id)
        )
        wanted = select(coupon.c.redeemed_count, most.scalar_subquery()).where(coupon.c.id == coupon_id)
        overall, by_customer = (await self.uow.connection.execute(wanted)).one()
        return RedemptionCount(overall, by_customer)


class CouponRedemptionRepository(Repository[CouponRedemption]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.coupon_redemption,
            to_row=_redemption_to_row,
            from_row=_redemption_from_row,
            not_found=lambda id: CouponRedemptionNotFound("there is no such redemption", redemption_id=id),
        )

    async def list_page(self, wanted: RedemptionFilter, page: PageRequest) -> Slice[CouponRedemption]:
        table = rows.coupon_redemption
        return await fetch_page(
            self.uow.connection,
            select(table).where(
                *equal(
                    table,
                    coupon_id=wanted.coupon_id,
                    customer_id=wanted.customer_id,
                    subscription_id=wanted.subscription_id,
                ),
                *is_set(table.c.withdrawn_at, wanted.withdrawn),
            ),
            created_at=table.c.redeemed_at,
            id=table.c.id,
            page=page,
            to_view=_redemption_from_row,
        )


def _coupon_to_row(coupon: Coupon) -> dict[str, Any]:
    terms = coupon.terms
    return {
        "id": coupon.id,
        "code": coupon.code,
        **{name: getattr(terms, name) for name in _PLAIN_TERMS},
        "amount_minor": terms.amount.amount_minor if terms.amount else None,
        "currency": terms.amount.currency if terms.amount else None,
        "product_ids": list(terms.product_ids),
        "plan_codes": list(terms.plan_codes),
        "metadata": dict(terms.metadata),
        "version": coupon.version,
        "created_at": coupon.created_at,
        "archived_at": coupon.archived_at,
    }


def _coupon_from_row(row: RowMapping) -> Coupon:
    amount = row["amount_minor"]
    return Coupon(
        id=row["id"],
        code=row["code"],
        terms=CouponTerms(
            **{name: row[name] for name in _PLAIN_TERMS},
            amount=Money(amount, row["currency"]) if amount is not None else None,
            product_ids=tuple(row["product_ids"]),
            plan_codes=tuple(row["plan_codes"]),
            metadata=row["metadata"],
        ),
        version=row["version"],
        created_at=row["created_at"],
        archived_at=row["archived_at"],
    )


def _redemption_to_row(redemption: CouponRedemption) -> dict[str, Any]:
    return {name: getattr(redemption, name) for name in _REDEMPTION}


def _redemption_from_row(row: RowMapping) -> CouponRedemption:
    return CouponRedemption(**{name: row[name] for name in _REDEMPTION})

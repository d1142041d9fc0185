"""What coupons and prepaid credits need from outside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from libs.common.money import Money
from services.billing.domain.charge import Charge
from services.billing.domain.coupon_redemption import CouponRedemption, CouponUse
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.wallet import Draw, Grant, Movement, Wallet, WalletEntry
from services.billing.domain.wallet_top_up import TopUp


class CouponRedemptions(Protocol):
    async def load_for_update(
        self,
        customer_ids: Iterable[str],
        *,
        subscription_ids: Iterable[str] = (),
        used_by: Iterable[str] = (),
    ) -> None:
        """Lock what these customers have, and those who use these subscriptions; what is locked already costs nothing."""
        ...

    @property
    def has_any(self) -> bool:
        """Whether any was loaded or told of in this transaction, also one that is over."""
        ...

    def held(self, id: str) -> CouponRedemption: ...

    def of_customers(self, customer_ids: Iterable[str]) -> list[CouponRedemption]: ...

    def keep(self, redemption: CouponRedemption) -> None:
        """One that is known already stays as it is."""
        ...

    def withdraw(self, id: str, *, customer_id: str, subscription_id: str | None, at: datetime) -> None: ...

    def use(self, redemption: CouponRedemption, use: CouponUse) -> None:
        """What a document took of one that is locked, or gave back."""
        ...

    async def uses_of(self, invoice_id: str) -> list[tuple[CouponRedemption, CouponUse]]:
        """What the document took and has not given back; the redemptions are locked."""
        ...


class BilledLines(Protocol):
    async def of(self, charges: Sequence[Charge]) -> list[InvoiceLine]:
        """The lines of issued documents on which the charges stand."""
        ...


class Wallets(Protocol):
    """Wallets are locked when they are loaded, with the grants of which something is left."""

    async def of_customer_for_update(self, customer_id: str) -> list[Wallet]: ...

    async def get_for_update(self, id: str) -> Wallet: ...

    def add(self, made: Wallet) -> None: ...

    def save(self, changed: Wallet) -> None: ...

    def move(self, movement: Movement, *, traceparent: str | None = None) -> None:
        """Save the wallet with its grants, and write the entries; its event comes when the unit of work is flushed."""
        ...

    async def grants(self, ids: Sequence[str]) -> dict[str, Grant]:
        """Also those of which nothing is left."""
        ...

    async def drawn_by(self, invoice_id: str) -> list[WalletEntry]: ...

    async def units_of_charges(self, charge_ids: Sequence[str]) -> list[tuple[Grant, Draw]]:
        """What units still cover of these charges, what was drawn last first."""
        ...

    def add_top_up(self, top_up: TopUp) -> None: ...

    def save_top_up(self, top_up: TopUp) -> None: ...

    async def find_top_up(self, invoice_id: str) -> TopUp | None: ...

    async def find_top_up_of_grant(self, grant: Grant) -> TopUp | None: ...

    async def spent_automatically(
        self, wallet_id: str, currency: str, *, since: datetime, until: datetime
    ) -> Money: ...

"""Coupons and wallets in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from libs.common.exact import EXACT
from libs.common.money import Money, total
from services.billing.application import wallet_events
from services.billing.domain.charge import Charge
from services.billing.domain.coupon_redemption import CouponRedemption, CouponUse
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.wallet import NOTHING, Draw, Grant, Movement, Wallet, WalletEntry, WalletNotFound
from services.billing.domain.wallet_top_up import TopUp

if TYPE_CHECKING:
    from tests.support.billing import MemoryBilling


class MemoryCouponRedemptions:
    def __init__(self) -> None:
        self.by_id: dict[str, CouponRedemption] = {}
        self.uses: list[CouponUse] = []

    async def load_for_update(
        self,
        customer_ids: Iterable[str],
        *,
        subscription_ids: Iterable[str] = (),
        used_by: Iterable[str] = (),
    ) -> None:
        """All of them are at hand."""

    @property
    def has_any(self) -> bool:
        return bool(self.by_id)

    def held(self, id: str) -> CouponRedemption:
        return self.by_id[id]

    def of_customers(self, customer_ids: Iterable[str]) -> list[CouponRedemption]:
        wanted = set(customer_ids)
        return [self.by_id[id] for id in sorted(self.by_id) if self.by_id[id].customer_id in wanted]

    def keep(self, redemption: CouponRedemption) -> None:
        self.by_id.setdefault(redemption.id, redemption)

    def withdraw(self, id: str, *, customer_id: str, subscription_id: str | None, at: datetime) -> None:
        raise AssertionError("tested on a real database")

    def use(self, redemption: CouponRedemption, use: CouponUse) -> None:
        self.by_id[redemption.id] = redemption
        self.uses.append(use)

    async def uses_of(self, invoice_id: str) -> list[tuple[CouponRedemption, CouponUse]]:
        back = {use.redemption_id for use in self.uses if use.kind == "given_back"}
        mine = [use for use in self.uses if use.invoice_id == invoice_id and use.redemption_id not in back]
        return [(self.by_id[use.redemption_id], use) for use in mine]


class MemoryBilledLines:
    def __init__(self, uow: MemoryBilling) -> None:
        self._uow = uow

    async def of(self, charges: Sequence[Charge]) -> list[InvoiceLine]:
        return [
            line
            for charge in charges
            for line in self._uow.invoices.lines.get(charge.invoice_id or "", ())
            if line.charge_id == charge.id
        ]


class MemoryWallets:
    def __init__(self, uow: MemoryBilling) -> None:
        self._uow = uow
        self.by_id: dict[str, Wallet] = {}
        self.all_grants: dict[str, Grant] = {}
        self.entries: list[WalletEntry] = []
        self.top_ups: dict[str, TopUp] = {}

    async def of_customer_for_update(self, customer_id: str) -> list[Wallet]:
        return [self.by_id[id] for id in sorted(self.by_id) if self.by_id[id].customer_id == customer_id]

    async def get_for_update(self, id: str) -> Wallet:
        if id not in self.by_id:
            raise WalletNotFound("no wallet has this id", id=id)
        return self.by_id[id]

    def add(self, made: Wallet) -> None:
        self.by_id[made.id] = made

    def save(self, changed: Wallet) -> None:
        self.by_id[changed.id] = changed

    def move(self, movement: Movement, *, traceparent: str | None = None) -> None:
        self.save(movement.wallet)
        self.all_grants.update({grant.id: grant for grant in movement.grants})
        self.entries += movement.entries
        told = wallet_events.wallet_changed(movement, tenant=self._uow.tenant)
        self._uow.outbox.append(told, key=movement.wallet.id)

    async def grants(self, ids: Sequence[str]) -> dict[str, Grant]:
        return {id: self.all_grants[id] for id in ids if id in self.all_grants}

    async def drawn_by(self, invoice_id: str) -> list[WalletEntry]:
        return [entry for entry in self.entries if entry.invoice_id == invoice_id]

    async def units_of_charges(self, charge_ids: Sequence[str]) -> list[tuple[Grant, Draw]]:
        found: dict[tuple[str, str], list[WalletEntry]] = {}
        for entry in reversed(self.entries):
            if entry.charge_id in charge_ids and entry.charge_id is not None:
                found.setdefault((entry.grant_id, entry.charge_id), []).append(entry)
        draws = []
        for (grant_id, charge_id), entries in found.items():
            units = NOTHING
            for entry in entries:
                units = EXACT.subtract(units, entry.amount)
            paid = total((entry.paid for entry in entries if entry.paid), entries[0].cost.currency)
            draws.append((self.all_grants[grant_id], Draw(grant_id, units, paid, charge_id=charge_id)))
        return [(grant, draw) for grant, draw in draws if draw.amount > 0]

    def add_top_up(self, top_up: TopUp) -> None:
        self.top_ups[top_up.invoice_id] = top_up

    def save_top_up(self, top_up: TopUp) -> None:
        self.top_ups[top_up.invoice_id] = top_up

    async def find_top_up(self, invoice_id: str) -> TopUp | None:
        return self.top_ups.get(invoice_id)

    async def find_top_up_of_grant(self, grant: Grant) -> TopUp | None:
        return next((top_up for top_up in self.top_ups.values() if top_up.id == grant.top_up_id), None)

    async def spent_automatically(
        self, wallet_id: str, currency: str, *, since: datetime, until: datetime
    ) -> Money:
        counted = (
            top_up.price
            for top_up in self.top_ups.values()
            if (top_up.wallet_id, top_up.cause) == (wallet_id, "automatic")
            and top_up.state != "void"
            and since <= top_up.requested_at < until
        )
        return total(counted, currency)

"""Money that comes and goes, as use cases need it kept."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from libs.common.money import Money
from services.billing.domain.customer_balance import BalanceEntry, BalanceMovement, CustomerBalance
from services.billing.domain.deposit import Deposit
from services.billing.domain.dispute import Dispute
from services.billing.domain.gateway_event import GatewayEvent
from services.billing.domain.payment import (
    PaymentAttempt,
    PaymentMethod,
)
from services.billing.domain.payment_received import Payment, PaymentAllocation
from services.billing.domain.refund import Refund, RefundSource


class Refunds(Protocol):
    async def of_invoice(self, invoice_id: str, currency: str) -> Money:
        """All refunds of an invoice together that were not canceled."""
        ...

    async def of_payment(self, payment_id: str, currency: str) -> Money:
        """What goes back, or went back, along a payment."""
        ...

    async def sources_of_invoice(
        self, invoice_id: str, currency: str, *, deposit_id: str | None = None
    ) -> list[RefundSource]:
        """The payments that paid it, the newest first, each with what may still go back of that part; locked.

        `deposit_id`: it is the document by which that deposit was asked for.
        """
        ...

    async def sources_of_balance(self, customer_id: str, currency: str) -> list[RefundSource]:
        """The payments of which the balance was given something, the newest first; locked."""
        ...

    async def source_of_payment(self, payment_id: str, currency: str) -> list[RefundSource]:
        """One payment with all that may still go back of it; locked."""
        ...

    async def find_for_update(self, id: str) -> Refund | None: ...

    async def get_for_update(self, id: str) -> Refund: ...

    def add(self, aggregate: Refund) -> None: ...

    def save(self, aggregate: Refund) -> None: ...


class Disputes(Protocol):
    async def get(self, id: str) -> Dispute:
        """Without a lock. Raises: DisputeNotFound."""
        ...

    async def find_for_update(self, id: str) -> Dispute | None: ...

    async def get_for_update(self, id: str) -> Dispute: ...

    def add(self, aggregate: Dispute) -> None: ...

    def save(self, aggregate: Dispute) -> None: ...


class Deposits(Protocol):
    async def get_for_update(self, id: str) -> Deposit: ...

    async def find_for_update(self, id: str) -> Deposit | None: ...

    def add(self, aggregate: Deposit) -> None: ...

    def save(self, aggregate: Deposit) -> None: ...


class CustomerBalances(Protocol):
    """What is owed to customers. Drawn on by those who hold the balance locked; anybody may give to it."""

    async def find_for_update(self, customer_id: str, currency: str) -> CustomerBalance | None:
        """None where nothing was ever given: then there is nothing to lock, and nothing to draw on."""
        ...

    async def open_for_update(self, customer_id: str, currency: str, *, now: datetime) -> CustomerBalance:
        """The balance, made empty where there is none yet."""
        ...

    def move(self, movement: BalanceMovement) -> BalanceEntry:
        """Give to a balance, or draw on one that is locked; its event comes when the unit of work is flushed.

        The entry's place is sure where the balance is locked. Raises: BalanceTooSmall.
        """
        ...


class PaymentMethods(Protocol):
    async def find(self, id: str) -> PaymentMethod | None: ...

    async def find_default(self, customer_id: str) -> PaymentMethod | None: ...

    async def of_customer(self, customer_id: str) -> list[PaymentMethod]:
        """Those that were not removed, in the order in which they were added."""
        ...

    async def find_for_update(self, id: str) -> PaymentMethod | None: ...

    async def find_by_token(self, *, gateway: str, account: str, token: str) -> PaymentMethod | None:
        """The one that was not removed."""
        ...

    async def count_changes(self, customer_id: str) -> int:
        """How many methods the customer ever had, and how many of them were removed: it only grows."""
        ...

    async def remove(self, method: PaymentMethod) -> None:
        """Written at once, so that another may become the default. It was locked."""
        ...

    async def step_down(self, method: PaymentMethod) -> None:
        """No longer the default, written at once. It was locked."""
        ...

    async def get_for_update(self, id: str) -> PaymentMethod: ...

    def add(self, aggregate: PaymentMethod) -> None: ...

    def save(self, aggregate: PaymentMethod) -> None: ...


class PaymentAttempts(Protocol):
    async def find(self, id: str) -> PaymentAttempt | None: ...

    async def find_for_update(self, id: str) -> PaymentAttempt | None: ...

    async def last_of_invoice(self, invoice_id: str) -> PaymentAttempt | None: ...

    def add(self, aggregate: PaymentAttempt) -> None: ...

    def save(self, aggregate: PaymentAttempt) -> None: ...


class Payments(Protocol):
    """Money that came. A payment is locked after the invoices that it is about."""

    async def find(self, id: str) -> Payment | None: ...

    async def get(self, id: str) -> Payment:
        """Without a lock. Raises: PaymentNotFound."""
        ...

    async def find_for_update(self, id: str) -> Payment | None: ...

    async def get_for_update(self, id: str) -> Payment: ...

    async def owed_by(self, customer_id: str, currency: str) -> list[str]:
        """The invoices of which something is due, those first that are due first."""
        ...

    async def allocations_of(self, payment_id: str) -> list[PaymentAllocation]:
        """In the order in which they were made."""
        ...

    def add(self, aggregate: Payment) -> None: ...

    def save(self, aggregate: Payment) -> None: ...

    def allocate(self, allocation: PaymentAllocation) -> None:
        """Written once."""
        ...


class GatewayEvents(Protocol):
    async def is_known(self, id: str) -> bool: ...

    def add(self, aggregate: GatewayEvent) -> None:
        """One that is known stays as it is."""
        ...

"""What is asked of payment gateways."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from libs.common.money import Money
from services.billing.domain.gateway_dispute import GatewayDispute
from services.billing.domain.payment import (
    AcceptedMethod,
    MethodDetails,
    Outcome,
    PaymentMethod,
    RefundOutcome,
)


class PaymentGateway(Protocol):
    """An outside party, which serves all tenants; `method` says with which account of the tenant's, and what pays.

    `idempotency_key` is the id of the attempt or refund: it makes asking twice harmless. `at` is business time.
    Every call raises TransientError when the outcome is unknown, or the gateway does not answer.
    """

    async def collect(
        self, *, tenant: str, idempotency_key: str, method: PaymentMethod, amount: Money, at: datetime
    ) -> Outcome:
        """Declined is final: what was tried under this key can take no money any more."""
        ...

    async def find_outcome(
        self,
        *,
        tenant: str,
        idempotency_key: str,
        method: PaymentMethod,
        reference: str | None,
        called_at: datetime | None,
    ) -> Outcome | None:
        """What became of an earlier call, first made at `called_at` by the wall; None when the gateway knows of none.

        Where it knows of none, the call may be made again with the same key. `reference` is the gateway's, as far
        as it is known.
        """
        ...

    async def give_up(self, *, tenant: str, method: PaymentMethod, reference: str) -> Outcome:
        """Take back what waits for an action that nobody took; what it is after that, if it was too late."""
        ...

    async def refund(
        self,
        *,
        tenant: str,
        idempotency_key: str,
        method: PaymentMethod,
        payment_reference: str,
        amount: Money,
        at: datetime,
    ) -> RefundOutcome:
        """Give back a part of what was collected, or all. The same key gives back once."""
        ...

    async def find_refund(
        self,
        *,
        tenant: str,
        idempotency_key: str,
        method: PaymentMethod,
        payment_reference: str,
        reference: str | None,
    ) -> RefundOutcome | None:
        """What became of an earlier call of `refund`; None when the gateway knows of none."""
        ...

    async def accept_method(
        self,
        *,
        tenant: str,
        account: str | None,
        token: str,
        customer_id: str,
        gateway_customer: str | None = None,
    ) -> AcceptedMethod:
        """Make what the token stands for chargeable in the customer's absence. A repeat changes nothing.

        `gateway_customer` is what the customer is called there, where he has paid through that account before.
        Raises: PaymentTokenUnusable, GatewayAccountUnknown.
        """
        ...

    async def find_details(self, *, tenant: str, method: PaymentMethod) -> MethodDetails | None:
        """What is known of a method by now; None once it is gone."""
        ...

    async def find_dispute(
        self, *, tenant: str, account: str | None, reference: str
    ) -> GatewayDispute | None:
        """What a bank took back, or wants to, and how it stands."""
        ...

    async def accept_dispute(self, *, tenant: str, account: str | None, reference: str) -> None:
        """Nobody argues against the bank. A repeat changes nothing, nor does it once the dispute has ended."""
        ...

    async def release_method(self, *, tenant: str, method: PaymentMethod) -> None:
        """It is charged no more: the gateway forgets whose it was. A repeat changes nothing."""
        ...


Gateways = Mapping[str, PaymentGateway]

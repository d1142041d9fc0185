"""Stripe: PaymentIntents that are confirmed in the customer's absence, refunds, tokens of payment methods, disputes.

How an attempt takes money at most once: it creates one PaymentIntent under one Idempotency-Key, its id. Whoever does
not know what became of it looks for that intent, by its reference or by the attempt's id in its metadata, and only
when there is none asks for it again under the same key. Stripe forgets keys after 24 hours at the earliest; by then
an intent is long in the list. A decline is final only once the intent is canceled, so that nothing can take money
later for an attempt that we gave up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from libs.common.errors import TransientError
from libs.common.money import Money
from services.billing.adapters.gateway_accounts import GatewayAccount, GatewayAccounts
from services.billing.adapters.stripe_client import Answer, StripeClient, StripeRefused, path_of
from services.billing.adapters.stripe_money import money_of, stripe_amount
from services.billing.domain.gateway_dispute import DisputeState, GatewayDispute
from services.billing.domain.payment import (
    AcceptedMethod,
    Collected,
    Declined,
    GatewayAccountUnknown,
    MethodDetails,
    Outcome,
    PaymentMethod,
    PaymentTokenUnusable,
    Pending,
    RefundFailed,
    RefundOutcome,
    RefundPending,
    RefundSucceeded,
)

STRIPE = "stripe"
ATTEMPT, REFUND, CUSTOMER = "perennial_attempt", "perennial_refund", "perennial_customer"
NOT_ACTED = "action_not_taken"
NOT_CHARGEABLE = "amount_not_chargeable"

PAGE, PAGES_MAX = 100, 100
CLOCKS_DIFFER = timedelta(hours=1)
REASON_LENGTH_MAX = 100

_OUR_MISTAKES = ("parameter_", "url_invalid", "secret_key_required")

_DISPUTES: Mapping[str, DisputeState] = {
    "warning_needs_response": "inquiry",
    "warning_under_review": "inquiry",
    "warning_closed": "won",
    "needs_response": "open",
    "under_review": "open",
    "appeal_needs_response": "open",
    "appeal_under_review": "open",
    "prevented": "won",
    "won": "won",
    "lost": "lost",
}


class GatewayDisagrees(TransientError):
    """What the gateway has under our key is not what we asked for. A person has to look; nothing is recorded."""

    code = "gateway_disagrees"
    title = "The payment gateway has something else"


class StripeGateway:
    """The port over Stripe, for all tenants, each with accounts of his own."""

    def __init__(self, accounts: GatewayAccounts, client: StripeClient) -> None:
        self._accounts, self._client = accounts, client

    async def collect(
        self, *, tenant: str, idempotency_key: str, method: PaymentMethod, amount: Money, at: datetime
    ) -> Outcome:
        account = self._account_of(tenant, method)
        minor = stripe_amount(amount)
        if minor is None:
            return Declined(NOT_CHARGEABLE)
        asked = {
            "amount": minor,
            "currency": amount.currency.lower(),
            "customer": method.gateway_customer,
            "payment_method": method.token,
            "payment_method_types": [method.details.kind if method.details else "card"],
            "off_session": True,
            "confirm": True,
            "metadata": {ATTEMPT: idempotency_key},
        }
        try:
            intent = await self._client.post(account, path_of("payment_intents"), asked, key=idempotency_key)
        except StripeRefused as refused:
            if refused.intent is None:
                return _declined(refused)
            intent = refused.intent
        return await self._outcome_of(account, _checked(intent, idempotency_key, minor))

    async def find_outcome(
        self,
        *,
        tenant: str,
        idempotency_key: str,
        method: PaymentMethod,
        reference: str | None,
        called_at: datetime | None,
    ) -> Outcome | None:
        account = self._account_of(tenant, method)
        if reference is not None:
            intent = await self._client.get(account, path_of("payment_intents", reference))
            return await self._outcome_of(account, intent)
        wanted: dict[str, Any] = {"customer": method.gateway_customer}
        if called_at is not None:
            wanted["created"] = {"gte": int((called_at - CLOCKS_DIFFER).timestamp())}
        async for intent in self._list(account, "payment_intents", wanted):
            if _metadata(intent).get(ATTEMPT) == idempotency_key:
                return await self._outcome_of(account, intent)
        return None

    async def give_up(self, *, tenant: str, method: PaymentMethod, reference: str) -> Outcome:
        return await self._cancel(self._account_of(tenant, method), reference, reason=NOT_ACTED)

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
        minor = stripe_amount(amount)
        if minor is None:
            return RefundFailed(NOT_CHARGEABLE)
        asked = {
            "payment_intent": payment_reference,
            "amount": minor,
            "metadata": {REFUND: idempotency_key},
        }
        account = self._account_of(tenant, method)
        try:
            refund = await self._client.post(account, path_of("refunds"), asked, key=idempotency_key)
        except StripeRefused as refused:
            return RefundFailed(_short(refused.reason))
        return _refund_outcome(refund)

    async def find_refund(
        self,
        *,
        tenant: str,
        idempotency_key: str,
        method: PaymentMethod,
        payment_reference: str,
        reference: str | None,
    ) -> RefundOutcome | None:
        account = self._account_of(tenant, method)
        if reference is not None:
            return _refund_outcome(await self._client.get(account, path_of("refunds", reference)))
        async for refund in self._list(account, "refunds", {"payment_intent": payment_reference}):
            if _metadata(refund).get(REFUND) == idempotency_key:
                return _refund_outcome(refund)
        return None

    async def accept_method(
        self,
        *,
        tenant: str,
        account: str | None,
        token: str,
        customer_id: str,
        gateway_customer: str | None = None,
    ) -> AcceptedMethod:
        at = self._accounts.get(tenant, account)
        try:
            found = await self._client.get(at, path_of("payment_methods", token))
            owner = found.get("customer")
            if owner is None:
                owner = gateway_customer or await self._make_customer(at, customer_id)
                attach = path_of("payment_methods", token, "attach")
                found = await self._client.post(at, attach, {"customer": owner})
        except StripeRefused as refused:
            raise PaymentTokenUnusable(
                f"the gateway refuses the token: {_short(refused.code)}",
                pointer="/token",
                remedy="Send the token of a payment method that was set up for payments in the customer's absence.",
            ) from None
        return AcceptedMethod(at.code, str(owner), _details_of(found))

    async def find_details(self, *, tenant: str, method: PaymentMethod) -> MethodDetails | None:
        assert method.token is not None, "what Stripe is asked for has a token"
        try:
            found = await self._client.get(
                self._account_of(tenant, method), path_of("payment_methods", method.token)
            )
        except StripeRefused as refused:
            if refused.status == 404:
                return None
            raise
        return _details_of(found) if found.get("customer") is not None else None

    async def find_dispute(
        self, *, tenant: str, account: str | None, reference: str
    ) -> GatewayDispute | None:
        at = self._accounts.get(tenant, account)
        try:
            found = await self._client.get(at, path_of("disputes", reference), {"expand": ["payment_intent"]})
        except StripeRefused as refused:
            if refused.status == 404:
                return None
            raise
        intent = found.get("payment_intent")
        if not isinstance(intent, dict):
            return None  # of a charge that no intent of ours made
        return GatewayDispute(
            gateway=STRIPE,
            reference=found["id"],
            payment_reference=intent["id"],
            attempt_id=_metadata(intent).get(ATTEMPT),
            amount=money_of(found["amount"], found["currency"]),
            state=_DISPUTES.get(found["status"], "open"),
            reason=_short(str(found.get("reason") or "unknown")),
            opened_at=datetime.fromtimestamp(found["created"], UTC),
        )

    async def accept_dispute(self, *, tenant: str, account: str | None, reference: str) -> None:
        try:
            at = self._accounts.get(tenant, account)
        except GatewayAccountUnknown:
            raise GatewayDisagrees("the dispute's account is not configured", account=account) from None
        try:
            await self._client.post(at, path_of("disputes", reference, "close"), {})
        except StripeRefused as refused:
            if not await self._is_closed(at, reference):
                raise GatewayDisagrees(
                    "the gateway does not close the dispute", reason=refused.code
                ) from None

    async def _is_closed(self, account: GatewayAccount, reference: str) -> bool:
        try:
            found = await self._client.get(account, path_of("disputes", reference))
        except StripeRefused:
            return False
        return _DISPUTES.get(found["status"]) in ("won", "lost")

    async def release_method(self, *, tenant: str, method: PaymentMethod) -> None:
        assert method.token is not None, "what Stripe is asked for has a token"
        try:
            account = self._accounts.get(tenant, method.account)
        except GatewayAccountUnknown:
            return  # whoever asks there no more cannot charge it either
        try:
            await self._client.post(account, path_of("payment_methods", method.token, "detach"), {})
        except StripeRefused as refused:
            if await self.find_details(tenant=tenant, method=method) is not None:
                raise GatewayDisagrees("the gateway does not let go of it", reason=refused.code) from None

    async def _make_customer(self, account: GatewayAccount, customer_id: str) -> str:
        """The same for a day, whoever asks; without a name or an address, which are none of Stripe's business."""
        made = await self._client.post(
            account,
            path_of("customers"),
            {"metadata": {CUSTOMER: customer_id}},
            key=f"{customer_id}-customer",
        )
        return str(made["id"])

    async def _outcome_of(self, account: GatewayAccount, intent: Answer) -> Outcome:
        """What is declined, or was never confirmed, is canceled first: until then somebody could still pay it."""
        match intent["status"]:
            case "succeeded":
                return Collected(intent["id"])
            case "processing" | "requires_capture":
                return Pending(intent["id"])
            case "requires_action":
                return Pending(intent["id"], needs_action=True)
            case "canceled":
                return Declined(_reason_of(intent))
            case _:
                return await self._cancel(account, intent["id"], reason=_reason_of(intent))

    async def _cancel(self, account: GatewayAccount, reference: str, *, reason: str) -> Outcome:
        """A repeat is refused, and then told as it stands; so is one that comes too late."""
        try:
            await self._client.post(account, path_of("payment_intents", reference, "cancel"), {})
        except StripeRefused:
            intent = await self._client.get(account, path_of("payment_intents", reference))
            match intent["status"]:
                case "succeeded":
                    return Collected(reference)
                case "processing" | "requires_capture":
                    return Pending(reference)
                case "canceled":
                    return Declined(reason)
                case status:
                    raise GatewayDisagrees("the gateway does not cancel the payment", status=status) from None
        return Declined(reason)

    async def _list(
        self, account: GatewayAccount, what: str, wanted: Mapping[str, Any]
    ) -> AsyncIterator[Answer]:
        """The newest first, page by page. Raises: GatewayDisagrees where there are more than anybody could have made."""
        fields = {**wanted, "limit": PAGE}
        for _ in range(PAGES_MAX):
            page = await self._client.get(account, path_of(what), fields)
            for one in page["data"]:
                yield one
            if not page["has_more"]:
                return
            fields["starting_after"] = page["data"][-1]["id"]
        raise GatewayDisagrees("the list does not end", list=what)

    def _account_of(self, tenant: str, method: PaymentMethod) -> GatewayAccount:
        """An account that is configured no more leaves everything as it is, until it is there again."""
        try:
            return self._accounts.get(tenant, method.account)
        except GatewayAccountUnknown:
            raise GatewayDisagrees("the method's account is not configured", account=method.account) from None


def _checked(intent: Answer, attempt_id: str, minor: int) -> Answer:
    if _metadata(intent).get(ATTEMPT) != attempt_id or intent["amount"] != minor:
        raise GatewayDisagrees("another payment stands under the attempt's key", reference=intent["id"])
    return intent


def _declined(refused: StripeRefused) -> Declined:
    """Nothing was made that could take money. A request that Stripe cannot read is our own mistake."""
    if refused.code.startswith(_OUR_MISTAKES):
        raise GatewayDisagrees("the gateway cannot read the request", reason=refused.code)
    return Declined(_short(refused.reason))


def _metadata(thing: Answer) -> Mapping[str, str]:
    return thing.get("metadata") or {}


def _reason_of(intent: Answer) -> str:
    error = intent.get("last_payment_error") or {}
    told = error.get("decline_code") or error.get("code") or intent.get("cancellation_reason")
    return _short(str(told or "not_confirmed"))


def _short(reason: str) -> str:
    """The gateway's own word for it: a code, and never a sentence."""
    return reason[:REASON_LENGTH_MAX]


def _refund_outcome(refund: Answer) -> RefundOutcome:
    match refund["status"]:
        case "succeeded":
            return RefundSucceeded(refund["id"])
        case "failed" | "canceled":
            return RefundFailed(_short(str(refund.get("failure_reason") or refund["status"])), refund["id"])
        case _:
            return RefundPending(refund["id"])


def _details_of(found: Answer) -> MethodDetails:
    kind = str(found["type"])
    told = found.get(kind) or {}
    return MethodDetails(
        kind=kind,
        brand=told.get("brand") or told.get("bank_name") or told.get("bank_code"),
        last4=told.get("last4"),
        expiry_month=told.get("exp_month"),
        expiry_year=told.get("exp_year"),
    )

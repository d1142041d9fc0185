"""What Stripe's adapter makes of answers, amounts, signatures and the file of accounts."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.errors import TransientError
from libs.common.money import Money
from libs.common.settings import InvalidSettings
from services.billing.adapters.gateway_accounts import GatewayAccounts, GatewayAccountsInvalid
from services.billing.adapters.stripe_client import StripeClient
from services.billing.adapters.stripe_events import is_genuine, read_event
from services.billing.adapters.stripe_gateway import StripeGateway
from services.billing.adapters.stripe_money import money_of, stripe_amount
from services.billing.domain.gateway_dispute import GatewayDispute
from services.billing.domain.payment import (
    Collected,
    Declined,
    MethodDetails,
    Outcome,
    PaymentMethod,
    PaymentTokenUnusable,
    Pending,
    RefundFailed,
    RefundPending,
    RefundSucceeded,
)
from tests.support.stripe_stand_in import (
    DECLINES,
    NEEDS_ACTION,
    PROCESSES,
    PROCESSES_THEN_FAILS,
    SECRET_KEY,
    WEBHOOK_SECRET,
    Fault,
    Faults,
    StandIn,
    running_stand_in,
    signature,
)

TENANT = "01970000-0000-7000-8000-000000000001"
NOW = datetime(2025, 6, 15, 12, tzinfo=UTC)
EUR = Money(1250, "EUR")
SUCCEEDS = "pm_succeeds00000"
METHOD = PaymentMethod(
    id="pm_1",
    customer_id="cus_1",
    gateway="stripe",
    is_default=True,
    version=1,
    created_at=NOW,
    account="main",
    token=SUCCEEDS,
    gateway_customer="cus_there",
    details=MethodDetails("card"),
)


def given_accounts(*accounts: object) -> str:
    return json.dumps({"stripe": accounts})


@pytest.fixture
def accounts(tmp_path: Path) -> GatewayAccounts:
    known = {"tenant": TENANT, "secret_key": SECRET_KEY, "webhook_secrets": [WEBHOOK_SECRET]}
    path = tmp_path / "accounts.json"
    path.write_text(json.dumps({"stripe": [known]}))
    return GatewayAccounts(path)


@pytest_asyncio.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    async with running_stand_in(StandIn(now=NOW.timestamp)) as running:
        for token in (SUCCEEDS, DECLINES, PROCESSES, PROCESSES_THEN_FAILS, NEEDS_ACTION):
            running.add_method(token, customer="cus_there")
        yield running


@pytest_asyncio.fixture
async def gateway(stand_in: StandIn, accounts: GatewayAccounts) -> AsyncIterator[StripeGateway]:
    client = StripeClient(stand_in.url, timeout_s=0.2)
    yield StripeGateway(accounts, client)
    await client.close()


async def collect(
    gateway: StripeGateway, token: str = SUCCEEDS, key: str = "pay_1", amount: Money = EUR
) -> Outcome:
    return await gateway.collect(
        tenant=TENANT, idempotency_key=key, method=replace(METHOD, token=token), amount=amount, at=NOW
    )


async def find(gateway: StripeGateway, key: str = "pay_1", reference: str | None = None) -> Outcome | None:
    return await gateway.find_outcome(
        tenant=TENANT, idempotency_key=key, method=METHOD, reference=reference, called_at=NOW
    )


@pytest.mark.parametrize(
    ("token", "kind"),
    [(SUCCEEDS, Collected), (DECLINES, Declined), (PROCESSES, Pending), (NEEDS_ACTION, Pending)],
)
async def test_outcomes(stand_in: StandIn, gateway: StripeGateway, token: str, kind: type[Any]) -> None:
    outcome = await collect(gateway, token)
    assert isinstance(outcome, kind)
    assert await collect(gateway, token) == outcome, "the same key, the same answer"
    assert await find(gateway) == outcome, "found by what it was asked for"
    assert len(stand_in.charges) == (1 if kind is Collected else 0)
    assert isinstance(outcome, Pending) is False or outcome.needs_action is (token == NEEDS_ACTION)


async def test_a_decline_is_final_once_nobody_can_pay_it(stand_in: StandIn, gateway: StripeGateway) -> None:
    assert await collect(gateway, DECLINES) == Declined("generic_decline")
    (intent,) = stand_in.intents.values()
    assert intent["status"] == "canceled"
    assert not stand_in.pay_from_the_dashboard(intent["id"])


async def test_what_was_paid_before_it_was_canceled_is_collected(
    stand_in: StandIn, gateway: StripeGateway
) -> None:
    pending = await collect(gateway, NEEDS_ACTION)
    assert isinstance(pending, Pending)
    stand_in._succeed(stand_in.intents[pending.reference])
    given_up = await gateway.give_up(tenant=TENANT, method=METHOD, reference=pending.reference)
    assert given_up == Collected(pending.reference)


@pytest.mark.parametrize("token", [PROCESSES, PROCESSES_THEN_FAILS])
async def test_a_bank_acts_later(stand_in: StandIn, gateway: StripeGateway, token: str) -> None:
    pending = await collect(gateway, token)
    assert isinstance(pending, Pending)
    stand_in.settle(pending.reference)
    outcome = await find(gateway, reference=pending.reference)
    assert outcome == (Collected(pending.reference) if token == PROCESSES else Declined("insufficient_funds"))


@pytest.mark.parametrize("fault", ["cut_after", "late", "error_after", "twice"])
async def test_money_that_was_taken_without_an_answer_is_found(
    stand_in: StandIn, gateway: StripeGateway, fault: Fault
) -> None:
    """Also by whoever asks after the gateway has forgotten the key."""
    stand_in.late_s = 0.4
    stand_in.faults = Faults(random.Random(1), share=1.0, kinds=[fault])
    if fault == "twice":
        assert isinstance(await collect(gateway), Collected)
    else:
        with pytest.raises(TransientError):
            await collect(gateway)
    stand_in.faults.share = 0.0
    stand_in.forget_keys()
    assert isinstance(await find(gateway), Collected)
    assert len(stand_in.charges) == 1


@pytest.mark.parametrize("fault", ["cut_before", "too_many", "error_before"])
async def test_what_never_happened_is_asked_for_again(
    stand_in: StandIn, gateway: StripeGateway, fault: Fault
) -> None:
    stand_in.faults = Faults(random.Random(1), share=1.0, kinds=[fault])
    with pytest.raises(TransientError):
        await collect(gateway)
    stand_in.faults.share = 0.0
    assert await find(gateway) is None
    if fault == "error_before":  # kept under the key, for a day
        with pytest.raises(TransientError):
            await collect(gateway)
        stand_in.forget_keys()
    assert isinstance(await collect(gateway), Collected)
    assert len(stand_in.charges) == 1


async def test_another_amount_under_the_same_key_is_nobodys_decline(
    stand_in: StandIn, gateway: StripeGateway
) -> None:
    await collect(gateway)
    with pytest.raises(TransientError):
        await collect(gateway, amount=Money(1300, "EUR"))
    assert len(stand_in.charges) == 1


async def test_an_attempt_is_found_among_many(stand_in: StandIn, gateway: StripeGateway) -> None:
    for number in range(205):
        asked = {"amount": "1250", "currency": "eur", "customer": "cus_there", "payment_method": SUCCEEDS}
        stand_in.do("POST", "/v1/payment_intents", {**asked, "metadata[perennial_attempt]": f"pay_{number}"})
    assert isinstance(await find(gateway, key="pay_0"), Collected)
    assert await find(gateway, key="pay_205") is None


async def test_a_method_that_is_gone_declines(stand_in: StandIn, gateway: StripeGateway) -> None:
    stand_in.detach(SUCCEEDS)
    assert await collect(gateway) == Declined("resource_missing")
    assert await gateway.find_details(tenant=TENANT, method=METHOD) is None


async def test_refunds(stand_in: StandIn, gateway: StripeGateway) -> None:
    paid = await collect(gateway)
    assert isinstance(paid, Collected)

    async def refund(key: str, minor: int) -> Any:
        return await gateway.refund(
            tenant=TENANT, idempotency_key=key, method=METHOD, payment_reference=paid.reference,
            amount=Money(minor, "EUR"), at=NOW,
        )  # fmt: skip

    async def known(key: str, reference: str | None = None) -> Any:
        return await gateway.find_refund(
            tenant=TENANT, idempotency_key=key, method=METHOD, payment_reference=paid.reference,
            reference=reference,
        )  # fmt: skip

    first = await refund("rfd_1", 1000)
    assert isinstance(first, RefundSucceeded)
    assert await refund("rfd_1", 1000) == first == await known("rfd_1") == await known("x", first.reference)
    assert await refund("rfd_2", 1000) == RefundFailed("charge_already_refunded")
    assert await known("rfd_3") is None
    stand_in.faults.settles = 0.0
    late = await refund("rfd_4", 250)
    assert isinstance(late, RefundPending)
    stand_in.settle_all()
    assert await known("rfd_4", late.reference) == RefundSucceeded(late.reference)


async def test_disputes(stand_in: StandIn, gateway: StripeGateway) -> None:
    paid = await collect(gateway)
    assert isinstance(paid, Collected)
    dispute = stand_in.open_dispute(paid.reference, amount=1000)

    async def known() -> GatewayDispute | None:
        return await gateway.find_dispute(tenant=TENANT, account="main", reference=dispute["id"])

    found = await known()
    assert found == GatewayDispute(
        "stripe", dispute["id"], paid.reference, "pay_1", Money(1000, "EUR"), "open", "fraudulent", NOW
    )
    stand_in.close_dispute(dispute["id"], "won")
    assert found is not None
    assert await known() == replace(found, state="won")
    assert await gateway.find_dispute(tenant=TENANT, account="main", reference="dp_none") is None


async def test_a_token_becomes_chargeable(stand_in: StandIn, gateway: StripeGateway) -> None:
    async def accept(token: str, **known: Any) -> Any:
        return await gateway.accept_method(
            tenant=TENANT, account=None, token=token, customer_id="cus_1", **known
        )

    stand_in.add_method("pm_new000000000")
    accepted = await accept("pm_new000000000")
    assert (accepted.account, accepted.details) == (
        "main", MethodDetails("card", "visa", "4242", 12, 2031),
    )  # fmt: skip
    assert await accept("pm_new000000000") == accepted
    assert len(stand_in.customers) == 1
    stand_in.add_method("pm_more00000000")
    assert (await accept("pm_more00000000", gateway_customer="cus_x")).gateway_customer == "cus_x"
    with pytest.raises(PaymentTokenUnusable):
        await accept("pm_unknown00000")


async def test_an_account_that_is_not_there_leaves_everything_as_it_is(accounts: GatewayAccounts) -> None:
    gateway = StripeGateway(accounts, StripeClient("http://127.0.0.1:9", timeout_s=0.1))
    with pytest.raises(TransientError):
        await gateway.collect(
            tenant=TENANT, idempotency_key="x", method=replace(METHOD, account="gone"), amount=EUR, at=NOW
        )
    with pytest.raises(TransientError):
        await collect(gateway)


@pytest.mark.parametrize(
    ("money", "amount"),
    [
        (Money(1250, "EUR"), 1250),
        (Money(500, "JPY"), 500),
        (Money(5, "ISK"), 500),
        (Money(5120, "KWD"), 5120),
        (Money(5124, "KWD"), None),
        (Money(500, "MGA"), 5),
        (Money(550, "MGA"), None),
        (Money(500, "UGX"), None),
        (Money(1000, "IQD"), None),
    ],
)
def test_amounts_are_exact_or_not_asked_for(money: Money, amount: int | None) -> None:
    assert stripe_amount(money) == amount
    if amount is not None:
        assert money_of(amount, money.currency.lower()) == money


def signed_by_the_library(body: str, at: int) -> bool:
    try:
        return bool(
            stripe.WebhookSignature.verify_header(body, signature(body.encode(), at=at), WEBHOOK_SECRET)
        )
    except stripe.SignatureVerificationError:
        return False


@settings(max_examples=40, deadline=None)
@given(body=st.text(max_size=60), age_s=st.integers(-400, 400))
def test_signatures_are_those_of_the_official_library(body: str, age_s: int) -> None:
    at = int(NOW.timestamp()) - age_s
    header = signature(body.encode(), at=at)
    assert signed_by_the_library(body, at)
    assert is_genuine(body.encode(), header, [WEBHOOK_SECRET], now=NOW) is (abs(age_s) <= 300)
    assert not is_genuine(body.encode() + b" ", header, [WEBHOOK_SECRET], now=NOW)
    assert not is_genuine(body.encode(), header, ["whsec_other"], now=NOW)
    assert is_genuine(body.encode(), header, ["whsec_old", WEBHOOK_SECRET], now=NOW) is (abs(age_s) <= 300)


@pytest.mark.parametrize(
    "header",
    ["", "t=", "t=1", "v1=abc", "t=1,v1=", "t=x,v1=y", "t=1,t=2,v1=y", "t=²,v1=y", "t=1,v1=é", "," * 99],
)
def test_headers_of_nobody_are_refused(header: str) -> None:
    assert not is_genuine(b"{}", header, [WEBHOOK_SECRET], now=NOW)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"data":1}', b'{"id":1,"type":"x","created":1,"data":{"object":{}}}', b"\xff"],
)
def test_what_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        read_event(body)


def test_events_about_others_things_are_passed_over() -> None:
    stand_in = StandIn(now=NOW.timestamp)
    for kind in ("payment_intent", "refund", "charge"):
        body, _ = stand_in.event("x.updated", {"id": "x_1", "object": kind, "metadata": {"other": "y"}})
        assert read_event(body) is None
    body, _ = stand_in.event(
        "refund.updated", {"id": "re_1", "object": "refund", "metadata": {"perennial_refund": "rfd_1"}}
    )
    event = read_event(body)
    assert event is not None
    assert (event.subject_kind, event.subject_id, event.our_id, event.happened_at) == (
        "refund",
        "re_1",
        "rfd_1",
        NOW,
    )


@pytest.mark.parametrize(
    "text",
    [
        "{",
        given_accounts({"tenant": "x", "secret_key": "sk_live_verysecretvalue"}),
        given_accounts({"tenant": TENANT, "secret_key": "verysecretvalue00"}),
        given_accounts({"tenant": TENANT, "secret_key": "sk_live_verysecretvalue", "more": "verysecret"}),
        given_accounts(*[{"tenant": TENANT, "secret_key": "sk_live_verysecretvalue"}] * 2),
    ],
)
def test_a_file_that_cannot_be_used_is_told_without_its_secrets(text: str, tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    path.write_text(text)
    with pytest.raises(GatewayAccountsInvalid) as refused:
        GatewayAccounts(path)
    assert "verysecret" not in str(refused.value)


def test_secrets_are_not_shown(accounts: GatewayAccounts) -> None:
    account = accounts.get(TENANT, "main")
    assert SECRET_KEY not in repr(account)
    assert WEBHOOK_SECRET not in repr(account)
    assert accounts.find(TENANT, None) == account
    assert accounts.find("other", "main") is None
    assert (account.mode, replace(account, secret_key="rk_live_x").mode) == ("sandbox", "live")


@pytest.mark.parametrize(
    "url", ["http://api.stripe.com", "ftp://127.0.0.1", "https://", "https://u:p@host", "https://h?q"]
)
def test_the_way_to_stripe_is_encrypted(url: str) -> None:
    with pytest.raises(InvalidSettings):
        StripeClient(url, timeout_s=1)

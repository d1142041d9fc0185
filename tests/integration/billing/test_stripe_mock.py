"""What we ask of Stripe, held against Stripe's own description of its API: stripe-mock refuses what is not in it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from libs.common.errors import TransientError
from libs.common.money import Money
from services.billing.adapters.gateway_accounts import GatewayAccounts
from services.billing.adapters.stripe_client import GatewayUnavailable, StripeClient, StripeRefused, path_of
from services.billing.adapters.stripe_gateway import GatewayDisagrees, StripeGateway
from services.billing.domain.payment import AcceptedMethod, Declined, MethodDetails, PaymentMethod

STRIPE_MOCK = "github.com/stripe/stripe-mock@v0.197.0"
TENANT = "01970000-0000-7000-8000-000000000001"
NOW = datetime(2025, 6, 15, 12, tzinfo=UTC)
METHOD = PaymentMethod(
    id="pm_1",
    customer_id="cus_1",
    gateway="stripe",
    is_default=True,
    version=1,
    created_at=NOW,
    account="main",
    token="pm_123",
    gateway_customer="cus_123",
    details=MethodDetails("card"),
)

pytestmark = pytest.mark.long


async def _installed(folder: Path) -> str | None:
    """Where stripe-mock stands: found, or made with Go; None where neither can be had."""
    found = shutil.which("stripe-mock")
    if found or shutil.which("go") is None:
        return found
    environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-mod=mod"}
    made = await asyncio.create_subprocess_exec(
        "go", "install", STRIPE_MOCK, env=environment, cwd=folder, stderr=asyncio.subprocess.DEVNULL
    )
    return str(folder / "stripe-mock") if await made.wait() == 0 else None


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    program = await _installed(tmp_path_factory.mktemp("stripe-mock"))
    if program is None:
        pytest.skip("stripe-mock is not installed, and cannot be made here: that takes Go and the network")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mock = await asyncio.create_subprocess_exec(
        program, "-http-addr", f"127.0.0.1:{port}", stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(30):
            while not await _answers(port):  # noqa: ASYNC110  # another process: there is nothing to wait for
                await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        mock.kill()
        await mock.wait()


async def _answers(port: int) -> bool:
    with suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False


@pytest.fixture
def accounts(tmp_path: Path) -> GatewayAccounts:
    path = tmp_path / "accounts.json"
    path.write_text(json.dumps({"stripe": [{"tenant": TENANT, "secret_key": "sk_test_0123456789abcdef"}]}))
    return GatewayAccounts(path)


@pytest_asyncio.fixture
async def client(url: str) -> AsyncIterator[StripeClient]:
    client = StripeClient(url, timeout_s=10)
    yield client
    await client.close()


async def test_every_request_is_one_that_stripe_reads(
    client: StripeClient, accounts: GatewayAccounts
) -> None:
    """The mock answers with the same things whatever it is asked: what counts is that it does not refuse."""
    gateway = StripeGateway(accounts, client)
    with pytest.raises(GatewayDisagrees):  # it was read, and what came back is not what was asked for
        await gateway.collect(
            tenant=TENANT, idempotency_key="pay_1", method=METHOD, amount=Money(1250, "EUR"), at=NOW
        )
    found = await gateway.find_outcome(
        tenant=TENANT, idempotency_key="pay_2", method=METHOD, reference=None, called_at=NOW
    )
    assert found is None
    given_up = await gateway.give_up(tenant=TENANT, method=METHOD, reference="pi_123")
    assert isinstance(given_up, Declined)
    refund = await gateway.refund(
        tenant=TENANT, idempotency_key="rfd_1", method=METHOD, payment_reference="pi_123",
        amount=Money(250, "EUR"), at=NOW,
    )  # fmt: skip
    assert refund.reference
    for reference in (None, "re_123"):
        await gateway.find_refund(
            tenant=TENANT, idempotency_key="x", method=METHOD, payment_reference="pi_123", reference=reference
        )
    accepted = await gateway.accept_method(tenant=TENANT, account=None, token="pm_123", customer_id="cus_1")
    assert isinstance(accepted, AcceptedMethod)
    await gateway.find_details(tenant=TENANT, method=replace(METHOD, token="pm_123"))
    await gateway.find_dispute(tenant=TENANT, account="main", reference="dp_123")


async def test_the_mock_refuses_what_stripe_does_not_know(
    client: StripeClient, accounts: GatewayAccounts
) -> None:
    with pytest.raises((StripeRefused, TransientError)):
        await client.post(accounts.get(TENANT, None), path_of("payment_intents"), {"amount": "much"})
    with pytest.raises((StripeRefused, GatewayUnavailable)):
        await client.get(accounts.get(TENANT, None), path_of("nothing"))

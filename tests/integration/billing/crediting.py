"""Invoices, credit notes and deposits over HTTP, as tests make them."""

from __future__ import annotations

from typing import Any

import httpx

from libs.common.ids import new_id
from tests.integration.billing.workbench import Workbench
from tests.support.billing import Story

Thing = dict[str, Any]

BOTH = ("billing:read", "billing:write")
DUTCH = {
    "code": "main",
    "name": "Bureau Nu B.V.",
    "country": "NL",
    "tax_number": "NL001234567B01",
    "number_prefix": "F-",
}


def eur(amount: str) -> Thing:
    return {"amount": amount, "currency": "EUR"}


async def post(
    client: httpx.AsyncClient,
    path: str,
    body: Any,
    *,
    expecting: int = 201,
    key: str | None = None,
    **headers: str,
) -> Thing:
    answer = await client.post(path, json=body, headers={"idempotency-key": key or new_id("key"), **headers})
    assert answer.status_code == expecting, f"{path} {body}: {answer.status_code} {answer.text}"
    told: Thing = answer.json()
    return told


async def get(client: httpx.AsyncClient, path: str, **query: str) -> Thing:
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    told: Thing = answer.json()
    return told


async def listed(client: httpx.AsyncClient, path: str, **query: str) -> list[Thing]:
    found: list[Thing] = (await get(client, path, **query))["data"]
    return found


async def a_customer(bench: Workbench, client: httpx.AsyncClient, tenant: str) -> Story:
    """Somebody in the Netherlands, and a seller there: 21 % are taxed."""
    await post(client, "/v1/sellers", DUTCH)
    story = Story(tenant)
    story.customer = story.customer.model_copy(update={"country": "NL"})
    await bench.know_customer(story)
    return story


async def an_invoice(client: httpx.AsyncClient, story: Story, *lines: tuple[str, str], **more: Any) -> Thing:
    """Issued; each line is a quantity and a unit amount."""
    body = {
        "customer_id": story.customer.customer_id,
        "currency": "EUR",
        "lines": [
            {"description": f"Line {place}", "quantity": quantity, "unit_amount": amount}
            for place, (quantity, amount) in enumerate(lines)
        ],
        "finalize": True,
        **more,
    }
    return await post(client, "/v1/invoices", body)


async def balances(bench: Workbench, tenant: str) -> dict[str, int]:
    """What each account comes to that does not come to nothing, in minor units."""
    found = await bench.rows(
        """SELECT account, sum(amount_minor)::bigint AS minor FROM ledger_entry
           WHERE tenant = $1 GROUP BY 1 HAVING sum(amount_minor) <> 0""",
        tenant,
    )
    return {row["account"]: row["minor"] for row in found}


async def told(bench: Workbench, tenant: str) -> list[str]:
    """The types of what went into the outbox, without their versions."""
    return [row["type"].removeprefix("perennial.billing.") for row in await bench.told(tenant)]


async def problems(bench: Workbench, tenant: str) -> list[str]:
    """What the audit finds of mine; of other tenants, other tests may be in the middle of something."""
    report = await bench.audit()
    return [f"{check.name}: {problem}" for check in report.checks for problem in check.problems]

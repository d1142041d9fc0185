"""What the tests of this folder ask the catalog for."""

from __future__ import annotations

from typing import Any

import httpx

FEE: dict[str, Any] = {
    "code": "aircraft",
    "product": "flying-minutes",
    "kind": "recurring",
    "model": "per_unit",
    "unit_amount": "1200.00",
}
MINUTES: dict[str, Any] = {
    "code": "minutes",
    "product": "flying-minutes",
    "kind": "usage",
    "model": "graduated",
    "meter": "flying-minutes",
    "tiers": [
        {"up_to": "100000", "unit_amount": "5.20"},
        {"up_to": "500000", "unit_amount": "4.75"},
        {"unit_amount": "4.35"},
    ],
}
PRODUCT: dict[str, Any] = {
    "code": "flying-minutes",
    "name": "Flying minutes",
    "kind": "service",
    "unit": "minute",
}


def usage_price(code: str, model: str) -> dict[str, Any]:
    """The beginning of one; what its model needs is still missing."""
    return {
        "code": code,
        "product": "flying-minutes",
        "kind": "usage",
        "model": model,
        "meter": "flying-minutes",
    }


def a_plan_body(*prices: dict[str, Any], **changes: Any) -> dict[str, Any]:
    plan = {
        "code": "power",
        "name": "Power by the minute",
        "currency": "USD",
        "interval": {"unit": "month"},
        "prices": list(prices or (FEE,)),
    }
    return {**plan, **changes}


async def make(client: httpx.AsyncClient, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    """Make something that must succeed."""
    answer = await client.post(path, json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def make_plan(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    """A product, and a plan that charges a fee for it."""
    await make(client, "/v1/products", PRODUCT)
    return await make(client, "/v1/plans", a_plan_body(**changes))


async def publish(client: httpx.AsyncClient, plan_id: str, **bounds: str) -> dict[str, Any]:
    answer = await client.post(f"/v1/plans/{plan_id}/publications", json=bounds or None)
    assert answer.status_code == 200, answer.text
    outcome: dict[str, Any] = answer.json()
    return outcome


def pointers(answer: httpx.Response) -> list[str]:
    return [error["pointer"] for error in answer.json()["errors"]]

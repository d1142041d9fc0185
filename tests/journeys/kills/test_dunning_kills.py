"""The one process is killed with SIGKILL while many customers who never pay are dunned: each step is taken once."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from libs.common.ids import new_id
from tests.support.one_process import free_port, one_process

CUSTOMERS = 40
ARRIVES_WITHIN_S = 180.0
STEPS = ["reminder", "final_reminder", "suspend", "end"]
DUNNING = {"retry_days": [2], "reminder_days": [3, 10], "suspend_after_days": 14, "end_after_days": 30}
CATALOG = {
    "perennial_catalog": 1,
    "products": [{"code": "dunned-desk", "name": "Desk", "kind": "service"}],
    "plans": [
        {
            "code": "dunned-desk",
            "name": "Desk",
            "publish": True,
            "currency": "EUR",
            "interval": {"unit": "year"},
            "prices": [
                {
                    "code": "desk",
                    "product": "dunned-desk",
                    "kind": "recurring",
                    "model": "flat",
                    "unit_amount": "50",
                }
            ],
            "dunning": DUNNING,
        }
    ],
}


def ask(client: httpx.Client, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """Until it is answered: the process may be gone, or not have heard of the plan yet."""
    key = new_id("key")
    give_up_at = time.monotonic() + ARRIVES_WITHIN_S
    while True:
        try:
            answer = client.request(method, path, json=body, headers={"idempotency-key": key})
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.status_code in (200, 201, 202):
            told: dict[str, Any] = answer.json()
            return told
        if answer is not None and answer.status_code < 500:
            key = new_id("key")
        assert time.monotonic() < give_up_at, answer and answer.text
        time.sleep(0.1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_who_never_pays_is_dunned_once_through_all_kills(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    with one_process(tmp_path / "log", port=free_port(), PERENNIAL_BILLING_PAYMENT_CLAIM_S="2") as process:
        process.start()
        with process.client() as client:
            ask(client, "POST", "/v1/sellers", {"code": "dunned", "name": "Desks", "country": "NL"})
            ask(client, "POST", "/v1/catalog-imports?dry_run=false", CATALOG)
            start = {"name": "Dunning", "starts_at": "2025-02-28T23:00:00Z"}
            clock = ask(client, "POST", "/v1/test-clocks", start)["id"]
            for number in range(CUSTOMERS):
                who = {"name": f"Customer {number}", "country": "NL", "zone": "Europe/Amsterdam"}
                customer = ask(client, "POST", "/v1/customers", who)["id"]
                agreed = {"customer_id": customer, "plan": "dunned-desk", "test_clock_id": clock}
                ask(client, "POST", "/v1/subscriptions", agreed)
            for day in ("2025-03-19", "2025-03-26", "2025-03-30", "2025-04-16"):
                to = {"to": f"{day}T00:00:00Z"}
                move = ask(client, "POST", f"/v1/test-clocks/{clock}/moves", to)
                time.sleep(rng.uniform(0.0, 0.8))
                process.restart()
                give_up_at = time.monotonic() + ARRIVES_WITHIN_S
                while move["state"] != "arrived":
                    assert time.monotonic() < give_up_at, move
                    time.sleep(0.1)
                    move = ask(client, "GET", f"/v1/test-clocks/{clock}/moves/{move['id']}")
            dunned = ask(client, "GET", "/v1/dunning?limit=200")["data"]
            agreements = ask(client, "GET", "/v1/subscriptions?limit=200")["data"]
        with process.client(process.operator_token()) as operator:
            audit = operator.get("/v1/billing-operations/audit")
    steps = [Counter(step["kind"] for step in one["behind"]) for one in dunned]
    assert steps == [Counter(STEPS)] * CUSTOMERS
    ended = Counter((one["status"], one["end_reason"]) for one in agreements)
    assert ended == {("ended", "not_paid"): CUSTOMERS}
    assert audit.json()["ok"], audit.text

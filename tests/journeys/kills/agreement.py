"""What rounds of faults agree on: meters and a plan, and customers who subscribe to it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx

from tests.journeys.kills.senders import EVENT_TYPE, Unanswered, client_of, stubborn
from tests.support.demo import Deployment

Thing = dict[str, Any]

ARRIVES_WITHIN_S = 120.0
LOOK_EVERY_S = 0.05
FEE, UNIT = Decimal("50.00"), Decimal("0.01")
METER = "faults-kwh"
METERS = {METER: "sum", "faults-reads": "count", "faults-peak": "max"}
CATALOG = {
    "perennial_catalog": 1,
    "products": [{"code": "faults", "name": "Light", "kind": "service"}],
    "plans": [
        {
            "code": "faults",
            "name": "Light",
            "currency": "EUR",
            "interval": {"unit": "month"},
            "prices": [
                {
                    "code": "fee",
                    "product": "faults",
                    "kind": "recurring",
                    "model": "flat",
                    "unit_amount": str(FEE),
                },
                {
                    "code": "usage",
                    "product": "faults",
                    "kind": "usage",
                    "model": "per_unit",
                    "unit_amount": str(UNIT),
                    "meter": METER,
                },
            ],
            "publish": True,
        }
    ],
}


@dataclass(frozen=True, slots=True)
class Agreement:
    """`clock_id` is empty where the wall's clock holds."""

    clock_id: str
    customer_id: str
    subscription_id: str


def prepare(deployment: Deployment) -> None:
    """What all rounds share. A repeat changes nothing."""
    with client_of(deployment.base_url, deployment.token) as client:
        _make(
            client,
            "/v1/sellers",
            {"code": "faults", "name": "Faults", "country": "NL", "number_prefix": "F-"},
        )
        for code, aggregation in METERS.items():
            meter = {"code": code, "event_type": EVENT_TYPE, "aggregation": aggregation}
            _make(client, "/v1/meters", meter if aggregation == "count" else {**meter, "value": "/kwh"})
        give_up_at = time.monotonic() + ARRIVES_WITHIN_S
        while True:  # until the catalog has heard of the meters
            with_key = {"idempotency-key": f"faults-catalog-{time.time_ns()}"}
            answer = client.post("/v1/catalog-imports?dry_run=false", json=CATALOG, headers=with_key)
            if answer.is_success:
                return
            assert time.monotonic() < give_up_at, answer.text
            time.sleep(LOOK_EVERY_S)


def _make(client: httpx.Client, path: str, body: Thing) -> None:
    answer = client.post(path, json=body, headers={"idempotency-key": f"faults-{path}-{body['code']}"})
    assert answer.is_success or answer.status_code == 409, answer.text


def agree(
    client: httpx.Client, tag: str, *, starts_at: datetime, subjects: Sequence[str], with_clock: bool
) -> Agreement:
    """A customer who pays, a subscription in UTC, and what is metered for it. A repeat changes nothing."""

    def make(path: str, body: Thing) -> Thing:
        answer, _ = stubborn(client, path, body, **{"idempotency-key": f"{tag}{path}"})
        made: Thing = answer.json()
        return made

    def make_when_heard(path: str, body: Thing) -> Thing:
        """Until the service has heard of what the body names."""
        give_up_at = time.monotonic() + ARRIVES_WITHIN_S
        while True:
            try:
                return make(path, body)
            except Unanswered:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(LOOK_EVERY_S)

    clock: Thing = {}
    if with_clock:
        made = make("/v1/test-clocks", {"name": tag, "starts_at": starts_at.isoformat()})
        clock = {"test_clock_id": made["id"]}
    customer = {"name": tag, "currency": "EUR", "country": "NL", "zone": "UTC"}
    customer_id = make("/v1/customers", customer)["id"]
    pays = {"customer_id": customer_id, "gateway": "sandbox", "behaviour": "succeeds"}
    make_when_heard("/v1/payment-methods", pays)
    starts_on = starts_at.date().isoformat()
    agreed = {"customer_id": customer_id, "plan": "faults", "starts_on": starts_on, "zone": "UTC", **clock}
    subscription_id = make_when_heard("/v1/subscriptions", agreed)["id"]
    bound = {"meter": METER, "subscription_id": subscription_id, "bound_from": starts_at.isoformat()}
    bindings = [{"subject": subject, **bound} for subject in subjects]
    results = make("/v1/subject-bindings", {"bindings": bindings})["results"]
    assert {result["status"] for result in results} == {"created"}, results
    return Agreement(clock.get("test_clock_id", ""), customer_id, subscription_id)

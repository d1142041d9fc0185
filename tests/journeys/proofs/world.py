"""A laundry that is charged by every model, for usage of every kind of meter, over a month."""

from __future__ import annotations

from typing import Any

from tests.journeys.lifecycle.journey import Life, Thing
from tests.journeys.lifecycle.test_late_usage import until_accepted

SOURCE = "https://laundry.example/machines"
STARTS_AT = "2025-02-28T23:00:00Z"  # 1 March in Amsterdam
CHANGED_AT = "2025-03-11T09:00:00Z"
ENDS_AT = "2025-04-02T00:00:00Z"
SUBJECT = "cellar"

_WASH, _HEAT, _CREW = "wash.ended", "heat.measured", "machines.changed"
METERS: list[Thing] = [
    {"code": "washes", "event_type": _WASH, "aggregation": "count"},
    {
        "code": "litres",
        "event_type": _WASH,
        "aggregation": "sum",
        "value": "/litres",
        "group_by": ["programme"],
    },
    *(
        {"code": f"litres-{n}", "event_type": _WASH, "aggregation": "sum", "value": "/litres"}
        for n in (2, 3, 4)
    ),
    {"code": "longest", "event_type": _WASH, "aggregation": "max", "value": "/minutes"},
    {"code": "shortest", "event_type": _WASH, "aggregation": "min", "value": "/minutes"},
    {"code": "mean", "event_type": _WASH, "aggregation": "average", "value": "/minutes"},
    {"code": "last", "event_type": _HEAT, "aggregation": "latest", "value": "/celsius"},
    {"code": "users", "event_type": _WASH, "aggregation": "unique", "value": "/user"},
    {"code": "busiest", "event_type": _WASH, "aggregation": "peak", "value": "/litres", "peak_of": "1h"},
    {
        "code": "machines",
        "event_type": _CREW,
        "aggregation": "time_weighted",
        "value": "/more",
        "level": "change",
        "per": "window",
    },
]
_TIERS = [
    {"up_to": "100", "unit_amount": "0.105"},
    {"up_to": "300", "unit_amount": "0.0975"},
    {"unit_amount": "0.09"},
]
_BLOCKS = [
    {"up_to": "2", "unit_amount": "9", "flat_amount": "5"},
    {"unit_amount": "8.333", "flat_amount": "2"},
]
_SHARES = [{"up_to": "200", "rate_percent": "1.9"}, {"rate_percent": "1.4"}]
_USAGE: list[Thing] = [
    {"code": "washes", "meter": "washes", "model": "package", "package_size": "7", "unit_amount": "2.50"},
    {"code": "litres", "meter": "litres", "model": "graduated", "tiers": _TIERS, "included_quantity": "33.5"},
    {
        "code": "longest",
        "meter": "longest",
        "model": "per_unit",
        "unit_amount": "0.333",
        "minimum_amount": "60",
    },
    {
        "code": "shortest",
        "meter": "shortest",
        "model": "per_unit",
        "unit_amount": "0.777",
        "maximum_amount": "9",
    },
    {"code": "mean", "meter": "mean", "model": "per_unit", "unit_amount": "0.0417"},
    {"code": "last", "meter": "last", "model": "dynamic"},
    {"code": "users", "meter": "users", "model": "volume", "tiers": _BLOCKS},
    {
        "code": "busiest",
        "meter": "busiest",
        "model": "capacity",
        "capacity_basis": "peak",
        "unit_amount": "0.3",
    },
    {
        "code": "machines",
        "meter": "machines",
        "model": "capacity",
        "capacity_basis": "time_weighted",
        "tiers": _BLOCKS,
    },
    {"code": "share", "meter": "litres-2", "model": "percentage", "rate_percent": "2.9"},
    {"code": "shares", "meter": "litres-3", "model": "graduated_percentage", "tiers": _SHARES},
    {
        "code": "worked-out",
        "meter": "litres-4",
        "model": "expression",
        "expression": "if(quantity > 100, round(quantity / 7 * 1.13, 3), max(quantity, 3)) + event_count * 0.01",
    },
]
_RECURRING: list[Thing] = [
    {
        "code": "seats",
        "model": "graduated",
        "tiers": [{"up_to": "3", "unit_amount": "30"}, {"unit_amount": "26.1"}],
    },
    {"code": "room", "model": "flat", "unit_amount": "99.99"},
    {"code": "cleaning", "model": "per_unit", "unit_amount": "4.505", "timing": "arrears"},
]
CATALOG: Thing = {
    "perennial_catalog": 1,
    "products": [{"code": "laundry", "name": "Laundry", "kind": "service"}],
    "plans": [
        {
            "code": "everything",
            "name": "Everything",
            "currency": "EUR",
            "interval": {"unit": "month"},
            "prices": [
                *({"product": "laundry", "kind": "recurring", **price} for price in _RECURRING),
                *({"product": "laundry", "kind": "usage", **price} for price in _USAGE),
            ],
        }
    ],
}


def events(month: int, count: int) -> list[Thing]:
    """The same every time, and odd enough: washes, how hot it was, and machines that come and go."""
    found = []
    for n in range(count):
        at = f"2025-{month:02d}-{2 + n * 7 % 26:02d}T{n % 24:02d}:{n * 13 % 60:02d}:{n % 60:02d}.{n:06d}Z"
        data: Thing = {
            "litres": f"{7 + n * 31 % 17}.{n % 10}",
            "minutes": 20 + n * 11 % 67,
            "user": f"u{n % 5}",
            "programme": ("hot", "cold")[n % 2],
        }
        found.append(_event(f"w-{month}-{n}", at, _WASH, data))
        if n % 4 == 0:
            found.append(_event(f"h-{month}-{n}", at, _HEAT, {"celsius": f"{30 + n % 9}.25"}))
        if n % 10 == 0:
            found.append(_event(f"m-{month}-{n}", at, _CREW, {"more": 1 if n % 20 == 0 else 2}))
    return found


def _event(id: str, at: str, type: str, data: Thing) -> Thing:
    about = {"specversion": "1.0", "id": id, "source": SOURCE, "subject": SUBJECT}
    return {**about, "type": type, "time": at, "data": data}


async def live(life: Life) -> None:
    """A month, with more seats from its eleventh day; on the first of the next one it is billed."""
    for meter in METERS:
        await life.post("/v1/meters", meter)
    await until_accepted(life, "/v1/catalog-imports?dry_run=false", CATALOG)
    life.clock_id = (await life.post("/v1/test-clocks", {"name": "Spring", "starts_at": STARTS_AT}))["id"]
    customer = {"name": "Wäscherei Größ & Söhne 24", "zone": life.zone, "country": "NL"}
    life.customer_id = (await life.post("/v1/customers", customer))["id"]
    method = {"customer_id": life.customer_id, "gateway": "sandbox", "behaviour": "succeeds"}
    await life.post("/v1/payment-methods", method)
    about: dict[str, Any] = {
        "customer_id": life.customer_id,
        "test_clock_id": life.clock_id,
        "zone": life.zone,
        "plan": "everything",
        "quantities": {"seats": "4", "cleaning": "7"},
    }
    made = await until_accepted(life, "/v1/subscriptions", about)
    life.named["it"] = made
    bindings = [
        {"subject": SUBJECT, "meter": meter["code"], "subscription_id": made["id"], "bound_from": STARTS_AT}
        for meter in METERS
    ]
    bound = await life.post("/v1/subject-bindings", {"bindings": bindings})
    assert {result["status"] for result in bound["results"]} == {"created"}, bound
    await life.post("/v1/usage-events", events(3, 60))
    await life.move_to(CHANGED_AT)
    await life.post(f"/v1/subscriptions/{made['id']}/changes", {"quantities": {"seats": "9"}, "when": "now"})
    await life.move_to(ENDS_AT)

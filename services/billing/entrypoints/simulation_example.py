"""A simulation as the OpenAPI document shows it: what is asked, and what is answered. A test asks it."""

from __future__ import annotations

from typing import Any

ASKED: dict[str, Any] = {
    "candidates": [{"plan": "light"}],
    "period": {"start": "2026-03-01", "zone": "Europe/Amsterdam"},
    "usage": [{"meter": "klmh", "quantity": "85000", "event_count": 62}],
    "taxes": [{"percent": "21"}],
}

PARAGRAPH = (
    "Light delivered is priced per unit, in EUR. The quantity is 85000. "
    "85000 * 0.0042 = 357; that is 357.00 EUR."
)

ANSWERED: dict[str, Any] = {
    "time": {"zone": "Europe/Amsterdam", "start": "2026-03-01", "end": "2026-04-01", "periods": 1},
    "usage_of": None,
    "candidates": [
        {
            "plan": {
                "code": "light",
                "name": "Light as a service",
                "number": 2,
                "plan_id": "pln_01jz3v6m1qk0c8n4r2d5s7t9wx",
                "plan_version_id": "plv_01jz3v6m1qk0c8n4r2d5s7t9wx",
                "plan_overlay_id": None,
                "customer_id": None,
            },
            "currency": "EUR",
            "subtotal": {"amount": "357.00", "currency": "EUR"},
            "discount": {"amount": "0.00", "currency": "EUR"},
            "amount": {"amount": "357.00", "currency": "EUR"},
            "net": {"amount": "357.00", "currency": "EUR"},
            "tax": {"amount": "74.97", "currency": "EUR"},
            "total": {"amount": "431.97", "currency": "EUR"},
            "trial": None,
            "periods": [
                {
                    "index": 0,
                    "start": "2026-03-01",
                    "end": "2026-04-01",
                    "phase": None,
                    "subtotal": {"amount": "357.00", "currency": "EUR"},
                    "discount": {"amount": "0.00", "currency": "EUR"},
                    "amount": {"amount": "357.00", "currency": "EUR"},
                    "net": {"amount": "357.00", "currency": "EUR"},
                    "tax": {"amount": "74.97", "currency": "EUR"},
                    "total": {"amount": "431.97", "currency": "EUR"},
                    "charges": [
                        {
                            "code": "light",
                            "kind": "usage",
                            "description": "Light delivered",
                            "model": "per_unit",
                            "timing": "arrears",
                            "product_id": "prd_01jz3v6m1qk0c8n4r2d5s7t9wx",
                            "tax_behavior": "exclusive",
                            "tax_category": None,
                            "service_period": {"start": "2026-03-01", "end": "2026-04-01"},
                            "lines": [
                                {
                                    "kind": "price",
                                    "tier": None,
                                    "description": "Light delivered",
                                    "units": "",
                                    "quantity": "85000",
                                    "unit_amount": "0.0042",
                                    "amount": {"amount": "357.00", "currency": "EUR"},
                                    "net": {"amount": "357.00", "currency": "EUR"},
                                    "formula": "85000 * 0.0042 = 357.00 EUR",
                                }
                            ],
                            "amount": {"amount": "357.00", "currency": "EUR"},
                            "allowance": None,
                            "explanation": {
                                "paragraph": PARAGRAPH,
                                "price": {
                                    "code": "light",
                                    "description": "Light delivered",
                                    "model": "per_unit",
                                },
                                "currency": "EUR",
                                "currency_decimals": "2",
                                "inputs": [
                                    {"name": "quantity", "value": "85000", "says": "the quantity"},
                                    {"name": "unit_amount", "value": "0.0042", "says": "for each unit"},
                                ],
                                "steps": [],
                                "lines": [
                                    {
                                        "kind": "price",
                                        "ordinal": "0",
                                        "says": "",
                                        "steps": [
                                            {
                                                "name": "amount",
                                                "operation": "*",
                                                "operands": ["quantity", "unit_amount"],
                                                "result": "357",
                                                "says": "",
                                            },
                                            {
                                                "name": "rounded",
                                                "operation": "round",
                                                "operands": ["amount", "2"],
                                                "result": "357",
                                                "says": "to the minor unit",
                                            },
                                        ],
                                        "amount": "357.00",
                                    }
                                ],
                                "amount": "357.00",
                            },
                        }
                    ],
                    "discounts": [],
                }
            ],
            "taxes": [
                {
                    "category": None,
                    "percent": "21",
                    "taxable": {"amount": "357.00", "currency": "EUR"},
                    "tax": {"amount": "74.97", "currency": "EUR"},
                }
            ],
            "notes": [],
        }
    ],
    "comparisons": [],
}

"""The demo as a program that tests run, against one process or many, and the invoices that come of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import httpx

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "examples.engines_by_the_minute")
AUDIT = (sys.executable, "-m", "libs.cli.main", "audit", "--json")
TIMEOUT_S = 300

Thing = dict[str, Any]

_ID = re.compile(r"\b(?P<kind>[a-z]{2,6})_[0-9a-z]{26}\b")
# What another run of the same story may say otherwise: the order of numbers among airlines that are billed at one
# instant, with the references made of them, and in how many steps an invoice became what it is.
_OF_THE_RUN = ("number", "payment_reference", "version")


class Deployment(Protocol):
    """What one process and a fleet have in common."""

    @property
    def base_url(self) -> str: ...

    @property
    def token(self) -> str: ...

    @property
    def folder(self) -> Path: ...

    def operator_token(self) -> str: ...

    def client(self, token: str | None = None) -> httpx.Client: ...


def run_demo(deployment: Deployment, *options: str) -> str:
    """Run it to its end; returns what it printed."""
    done = subprocess.run(
        [*COMMAND, *options],
        cwd=ROOT,
        env=demo_environment(deployment),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def operators_environment(deployment: Deployment) -> dict[str, str]:
    return os.environ | {
        "PERENNIAL_URL": deployment.base_url,
        "PERENNIAL_VAR_FOLDER": str(deployment.folder),
    }


def demo_environment(deployment: Deployment) -> dict[str, str]:
    return os.environ | {
        "PERENNIAL_URL": deployment.base_url,
        "PERENNIAL_TOKEN": deployment.token,
        "COLUMNS": "120",
    }


def audit(deployment: Deployment) -> Thing:
    """`perennial audit`, as an operator runs it."""
    surroundings = operators_environment(deployment)
    answer = subprocess.run(AUDIT, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False)
    assert answer.stdout, answer.stderr
    report: Thing = json.loads(answer.stdout)
    return report


def everything(client: httpx.Client, path: str, **query: str) -> list[Thing]:
    """A whole collection."""
    found: list[Thing] = []
    cursor: dict[str, str] = {}
    while True:
        answer = client.get(path, params={"limit": "200", **query, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


def whole_invoices(deployment: Deployment, external_ids: Sequence[str]) -> list[Thing]:
    """The documents of these customers with all their lines, by customer and boundary, as any run would have them.

    Ids say of what kind they are, no more; a customer is known by its external id.
    """
    with deployment.client() as client:
        customers = {
            customer["id"]: customer["external_id"]
            for customer in everything(client, "/v1/customers")
            if customer["external_id"] in external_ids
        }
        found = [
            (customers[summary["customer_id"]], client.get(f"/v1/invoices/{summary['id']}").json())
            for summary in everything(client, "/v1/invoices")
            if summary["customer_id"] in customers
        ]
    found.sort(key=lambda each: (each[0], each[1]["boundary_at"]))
    return [{"customer": customer, **comparable(document)} for customer, document in found]


def comparable(value: Any) -> Any:
    """Without what belongs to one run: ids, numbers."""
    if isinstance(value, dict):
        return {key: comparable(held) for key, held in value.items() if key not in _OF_THE_RUN}
    if isinstance(value, list):
        return [comparable(held) for held in value]
    return _ID.sub(r"\g<kind>_", value) if isinstance(value, str) else value

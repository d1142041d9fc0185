"""The offerings under examples/: each can be imported, says what it cannot say yet, has the numbers of its contract."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from libs.cli.catalog_file import read_catalog_file
from libs.common.clock import SystemClock
from services.catalog.application.change_plan import ChangePlan, change_plan
from services.catalog.application.import_catalog import import_catalog
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.entrypoints.catalog_reading import read_document
from services.catalog.entrypoints.plan_bodies import PlanCreateBody
from tests.support.catalog import MemoryCatalog

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "examples").glob("*.yaml"))
DEMO = ROOT / "examples" / "engines_by_the_minute"

# plan → price → its amounts
AMOUNTS: dict[str, dict[str, list[str]]] = {
    "light-as-a-service": {"luminaires": ["3.20"], "light": ["0.0042"]},
    "furniture": {"desks": ["9.00"], "chairs": ["4.50"], "ergo-chairs": ["7.50"], "delivery": ["120.00"]},
    "furniture-swap": {"swap": ["25.00"]},
    "phone-999": {"instalments-1-to-12": ["41.63"], "instalments-13-to-24": ["41.62"], "care": ["8.00"]},
    "phone-1099": {"instalments-1-to-4": ["45.80"], "instalments-5-to-24": ["45.79"], "care": ["8.00"]},
    "phone-999-top-up": {"missing-instalments": ["41.63"]},
    "phone-grade-c": {"grade-c": ["29.00"]},
    "car": {"car": ["549.00"], "kilometres": ["0.10"]},
    "pay-per-wash": {"machine": ["19.95"], "washes": ["0.95"]},
    "engines-by-the-minute": {"aircraft": ["1200.00"], "minutes": ["5.20", "4.75", "4.35"]},
    "software-seats": {"seats": ["30", "26"]},
}


@pytest.fixture
async def uow() -> MemoryCatalog:
    """A catalog into which all of them were imported."""
    catalog = MemoryCatalog()
    catalog.products.by_id.clear()
    catalog.known_meters.by_code.clear()
    for file in FILES:
        command = read_document(read_catalog_file(file).value, dry_run=False, prune=False)
        catalog.known_meters.by_code |= {meter.code: meter for meter in command.document.meters if meter}
        await import_catalog(command, uow=catalog, clock=SystemClock())
    return catalog


def drafts(uow: MemoryCatalog) -> dict[str, PlanDraft]:
    return {plan.code: plan.draft for plan in uow.plans.by_id.values()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_says_how_to_apply_it(file: Path) -> None:
    comment = file.read_text(encoding="utf-8").split("perennial_catalog:")[0]
    assert f"perennial catalog apply examples/{file.name}\n" in comment


def test_each_has_the_numbers_of_its_contract(uow: MemoryCatalog) -> None:
    told = {
        code: {
            price.code: [price.unit_amount]
            if price.unit_amount
            else [tier.unit_amount for tier in price.tiers]
            for price in draft.prices
        }
        for code, draft in drafts(uow).items()
    }
    assert told == {
        code: {price: [Decimal(amount) for amount in amounts] for price, amounts in prices.items()}
        for code, prices in AMOUNTS.items()
    }


def test_what_lies_beside_the_amounts_is_as_the_contracts_say(uow: MemoryCatalog) -> None:
    told = drafts(uow)
    (least,) = told["light-as-a-service"].commitments
    assert (least.minimum_quantity, least.price_codes, least.per) == (Decimal(100_000), ("light",), "period")
    assert [phase.periods for phase in told["phone-999"].phases] == [12, 12, None]
    assert 12 * Decimal("41.63") + 12 * Decimal("41.62") == Decimal("999.00")
    assert [phase.periods for phase in told["phone-1099"].phases] == [4, 20, None]
    assert 4 * Decimal("45.80") + 20 * Decimal("45.79") == Decimal("1099.00")
    _, kilometres = told["car"].prices
    assert (kilometres.included_quantity, str(kilometres.allowance_interval.unit)) == (
        Decimal(18_000),
        "year",
    )
    machine, washes = told["pay-per-wash"].prices
    assert {machine.tax_behavior, washes.tax_behavior} == {"inclusive"}
    assert (machine.timing, washes.timing, washes.included_quantity) == ("arrears", "arrears", Decimal(12))
    assert [tier.up_to for tier in told["software-seats"].prices[0].tiers] == [Decimal(50), None]


async def test_the_demo_bills_the_very_plan_of_the_file(uow: MemoryCatalog) -> None:
    def body(name: str) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((DEMO / f"{name}.json").read_text(encoding="utf-8"))
        return read

    document = read_catalog_file(ROOT / "examples" / "engines-by-the-minute.yaml").value
    assert document["meters"] == [body("meter")]
    assert document["products"] == [body("product")]
    plan = next(plan for plan in uow.plans.by_id.values() if plan.code == body("plan")["code"])
    written = PlanCreateBody.model_validate(body("plan")).to_written()
    command = ChangePlan(plan.id, lambda _: written)
    assert await change_plan(command, uow=uow, check_version=lambda _: None) is plan

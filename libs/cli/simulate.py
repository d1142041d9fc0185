"""`perennial simulate`: what plans would come to, line by line, each with its explanation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer
from rich.table import Table
from rich.text import Text

from libs.cli.catalog_file import read_catalog_file
from libs.cli.deployment import Deployment, Refused, tenant_token
from libs.cli.settings import settings
from libs.cli.telling import out, say_error, told
from libs.common.clock import SystemClock
from libs.common.documents.read_document import DocumentUnreadable
from libs.common.errors import InvalidInput
from libs.common.money import exponent

PATH = "/v1/price-simulations"
ERROR = 2


class SimulationMiswritten(InvalidInput):
    code: ClassVar[str] = "simulation_miswritten"
    title: ClassVar[str] = "The command is not written right"


FileArgument = Annotated[
    Path | None, typer.Argument(help="A catalog file, of which nothing is saved; default: what is published.")
]
Plans = Annotated[
    list[str] | None,
    typer.Option(
        "--plan", help="A plan's code, code@number for a version; repeat it to compare. Default: all in FILE."
    ),
]
Quantities = Annotated[list[str] | None, typer.Option("--quantity", help="Of a recurring price: fee=400.")]
Usages = Annotated[list[str] | None, typer.Option("--usage", help="Of a meter, in each period: klmh=85000.")]


@told
def simulate(
    file: FileArgument = None,
    plan: Plans = None,
    quantity: Quantities = None,
    usage: Usages = None,
    start: Annotated[str | None, typer.Option(help="The first day; default: of this month.")] = None,
    periods: Annotated[int, typer.Option(min=1, max=36, help="How many, one after another.")] = 1,
    zone: Annotated[str, typer.Option(help="In whose calendar.")] = "UTC",
    subscription: Annotated[str | None, typer.Option(help="With what it really used.")] = None,
    period: Annotated[int, typer.Option(min=0, help="The subscription's period, from 0.")] = 0,
    currency: Annotated[str | None, typer.Option()] = None,
    explain: Annotated[bool, typer.Option(help="With the explanation of every charge.")] = True,
    tenant: Annotated[str | None, typer.Option(help="As for `perennial catalog`.")] = None,
) -> None:
    """Show what plans would come to. Nothing is saved and nothing is changed."""
    body: dict[str, Any] = {
        "candidates": _candidates(file, plan or []),
        "quantities": dict(pairs(quantity or [])),
        "usage": [{"meter": meter, "quantity": told} for meter, told in pairs(usage or [])],
        "periods": periods,
        "currency": currency,
    }
    if subscription is None:
        body["period"] = {
            "start": start or str(SystemClock().system_now().date().replace(day=1)),
            "zone": zone,
        }
    else:
        body["usage_of"] = {"subscription_id": subscription, "period_index": period}
    found = settings()
    try:
        answer = Deployment(found, token=tenant_token(found, tenant)).post(PATH, body)
    except Refused as refused:
        say_error(str(refused), refused.remedy)
        for fault in refused.problem.get("errors", ()):
            say_error(f"{fault.get('pointer') or '/'}: {fault.get('detail')}")
        raise typer.Exit(ERROR) from None
    for candidate in answer["candidates"]:
        _show(candidate, explain=explain)
    if plan and len(plan) > 1:
        for comparison in answer["comparisons"]:
            name = answer["candidates"][comparison["candidate"]]["plan"]["code"]
            out.print(Text(f"{name}: {comparison['says']}"), soft_wrap=True)


def _candidates(file: Path | None, named: Sequence[str]) -> list[dict[str, Any]]:
    if file is None:
        if not named:
            raise SimulationMiswritten("name a plan with --plan, or a catalog file")
        return [_published(code) for code in named]
    try:
        document = read_catalog_file(file).value
    except DocumentUnreadable as unreadable:
        told = "; ".join(f"line {fault.line}: {fault.detail}" for fault in unreadable.faults)
        raise SimulationMiswritten(f"{file}: {told}") from unreadable
    plans = [_described(plan, document) for plan in _listed(document, "plans")]
    codes = [str(plan.get("code")) for plan in plans]
    unknown = [code for code in named if code not in codes]
    if unknown or not plans:
        there = ", ".join(codes) or "none"
        raise SimulationMiswritten(f"{file} has no plan {', '.join(unknown)}", remedy=f"Its plans: {there}.")
    return [{"draft": plans[codes.index(code)]} for code in named or codes]


def _listed(within: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = within.get(name)
    return [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []


def _described(plan: dict[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """As the catalog does it: a price that says nothing of itself is called as its product."""
    names = {product.get("code"): product.get("name") for product in _listed(document, "products")}
    prices = [
        {**price, "description": price.get("description") or names.get(price.get("product"))}
        for price in _listed(plan, "prices")
    ]
    return {**plan, "prices": prices} if prices else plan


def _published(code: str) -> dict[str, Any]:
    name, _, number = code.partition("@")
    if number and not number.isdecimal():
        raise SimulationMiswritten(f"{code} is not written as code@number")
    return {"plan": name, "number": int(number)} if number else {"plan": name}


def pairs(written: Sequence[str]) -> Iterator[tuple[str, str]]:
    for pair in written:
        name, equals, told = pair.partition("=")
        if not equals:
            raise SimulationMiswritten(f"{pair} is not written as name=quantity")
        yield name, told


def _show(candidate: Mapping[str, Any], *, explain: bool) -> None:
    plan = candidate["plan"]
    version = f"version {plan['number']}" if plan["number"] else "draft"
    title = Text.assemble((plan["name"], "bold"), f" ({plan['code']}, {version})")
    out.print(title, soft_wrap=True)
    table = Table(show_footer=True)
    table.add_column("from")
    table.add_column("", footer="together")
    table.add_column("quantity", justify="right")
    table.add_column("each", justify="right")
    table.add_column(candidate["currency"], justify="right", footer=spelled(candidate["amount"]))
    for told_from, charge in _charges(candidate):
        for line in charge["lines"]:
            words = f"{line['description']} ({line['units']})" if line["units"] else line["description"]
            table.add_row(
                told_from, Text(words), line["quantity"], line["unit_amount"], spelled(line["amount"])
            )
    for period in candidate["periods"]:
        for discount in period["discounts"]:
            table.add_row(
                period["start"], Text(discount["formula"]), "", "", f"-{spelled(discount['amount'])}"
            )
    out.print(table)
    if explain:
        for told_from, charge in _charges(candidate):
            out.print(Text(f"{told_from}  {charge['explanation']['paragraph']}"), soft_wrap=True)
    for note in candidate["notes"]:
        out.print(Text(f"Note: {note['says']}"), soft_wrap=True)


def _charges(candidate: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """In the order in which they fall due, with the day on which the time that they are for begins."""
    charges = [candidate["trial"]] if candidate["trial"] else []
    charges += [charge for period in candidate["periods"] for charge in period["charges"]]
    for charge in charges:
        yield charge["service_period"]["start"], charge


def spelled(amount: Mapping[str, str]) -> str:
    """`1,312.00`, with the decimals of its currency."""
    whole, point, rest = amount["amount"].partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    assert len(rest) == exponent(amount["currency"]), "money is told with all of its decimals"
    return f"{sign}{int(digits):,}{point}{rest}"

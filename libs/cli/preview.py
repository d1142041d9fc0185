"""`perennial preview`: what the next invoice of a subscription will be, or what a change of it would come to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer
from rich.table import Table
from rich.text import Text

from libs.cli.deployment import Deployment, Refused, tenant_token
from libs.cli.settings import settings
from libs.cli.simulate import pairs, spelled
from libs.cli.telling import ERROR, out, say_error, told
from libs.common.errors import InvalidInput

AT = ("now", "period_end")


class PreviewMiswritten(InvalidInput):
    code: ClassVar[str] = "preview_miswritten"
    title: ClassVar[str] = "The command is not written right"


@told
def preview(
    subscription: Annotated[str, typer.Argument(help="The id of a subscription.")],
    file: Annotated[
        Path | None,
        typer.Option("--file", help="The body of the preview as JSON: a change, a pause, an end."),
    ] = None,
    plan: Annotated[str | None, typer.Option(help="Another plan, by its code.")] = None,
    quantity: Annotated[list[str] | None, typer.Option("--quantity", help="Of an item: seats=12.")] = None,
    when: Annotated[str, typer.Option(help="now, period_end, or a date.")] = "now",
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Only what is billed at once, on a document of its own.")
    ] = False,
    tenant: Annotated[str | None, typer.Option(help="As for `perennial catalog`.")] = None,
) -> None:
    """Show the documents, line by line. Nothing is saved and nothing is changed."""
    body = _read(file) if file is not None else {}
    if plan is not None or quantity:
        change: dict[str, Any] = {"when": when if when in AT else {"on": when}}
        if plan is not None:
            change["plan"] = plan
        if quantity:
            change["quantities"] = dict(pairs(quantity))
        body["change"] = change
    if at_once:
        body["show"] = "at_once"
        if "change" in body:
            body["change"]["settle"] = "at_once"
    found = settings()
    deployment = Deployment(found, token=tenant_token(found, tenant))
    try:
        answer = deployment.post(f"/v1/subscriptions/{subscription}/previews", body)
    except Refused as refused:
        say_error(str(refused), refused.remedy)
        for fault in refused.problem.get("errors", ()):
            say_error(f"{fault.get('pointer') or '/'}: {fault.get('detail')}")
        raise typer.Exit(ERROR) from None
    if not answer["documents"]:
        out.print(f"Until {answer['until']} nothing is billed.")
    for document in answer["documents"]:
        _show(document)


def _read(file: Path) -> dict[str, Any]:
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PreviewMiswritten(f"{file} is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise PreviewMiswritten(f"{file} is no JSON object")
    return body


def _show(document: Mapping[str, Any]) -> None:
    waits = f", waits for {', '.join(document['waits_for'])}" if document["waits_for"] else ""
    out.print(Text(f"{document['document_kind']} of {document['boundary_at']}{waits}"), soft_wrap=True)
    table = Table(show_footer=True)
    table.add_column("from")
    table.add_column("until")
    table.add_column("", footer="due")
    table.add_column("quantity", justify="right")
    table.add_column("each", justify="right")
    table.add_column(document["currency"], justify="right", footer=spelled(document["due"]))
    for line in document["lines"]:
        period = line["service_period"]
        table.add_row(
            period["start"],
            period["end"],
            Text(line["description"]),
            line["quantity"],
            line["unit_amount"],
            spelled(line["net"]),
        )
    balance = document["balance_applied"]
    if balance["amount"].strip("-0."):
        table.add_row("", "", "customer's balance", "", "", _negated(balance))
    out.print(table)


def _negated(amount: Mapping[str, str]) -> str:
    text = spelled(amount)
    return text.removeprefix("-") if text.startswith("-") else f"-{text}"

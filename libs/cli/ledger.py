"""`perennial ledger`: the trial balance of a tenant at any date, and its books as a file for other programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from libs.cli.deployment import Deployment, tenant_token
from libs.cli.settings import settings
from libs.cli.simulate import spelled
from libs.cli.telling import out, told

ledger = typer.Typer(no_args_is_help=True, help="The books: balances at any date, files for other programs.")

Tenant = Annotated[str | None, typer.Option(help="As for `perennial catalog`.")]
From = Annotated[str | None, typer.Option("--from", help="In the books of this date or later: 2026-01-01.")]
To = Annotated[str | None, typer.Option("--to", help="In the books of a date before this one.")]


def _deployment(tenant: str | None) -> Deployment:
    found = settings()
    return Deployment(found, token=tenant_token(found, tenant))


@ledger.command("trial-balance")
@told
def trial_balance(
    at: Annotated[
        str | None, typer.Option(help="At the close of this date, also one that lies ahead; default: now.")
    ] = None,
    tenant: Tenant = None,
) -> None:
    """Show what each account came to. In each currency the debits are the credits."""
    answer = _deployment(tenant).get("/v1/ledger-accounts", at=at)
    table = Table("account", "type", "currency", box=None)
    for name in ("debits", "credits", "balance"):
        table.add_column(name, justify="right")
    for row in answer["data"]:
        amounts = (spelled(row[name]) for name in ("debits", "credits", "balance"))
        table.add_row(row["account"], row["type"], row["currency"], *amounts)
    out.print(table if table.row_count else "Nothing is in the books yet.")
    out.print(f"At the close of {answer['at']}." if answer["at"] else f"Of all until {answer['as_of']}.")
    if not _balances(answer["data"]):
        out.print("Debits and credits differ.", style="red")
        raise typer.Exit(1)


def _balances(rows: Sequence[Mapping[str, Any]]) -> bool:
    sums: dict[str, int] = {}
    for row in rows:
        minor = int(row["balance"]["amount"].replace(".", ""))
        sums[row["currency"]] = sums.get(row["currency"], 0) + minor
    return not any(sums.values())


@ledger.command("export")
@told
def export(
    format: Annotated[str, typer.Option(help="csv, or beancount for a journal.")] = "csv",
    start: From = None,
    end: To = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; default: standard output.")
    ] = None,
    tenant: Tenant = None,
) -> None:
    """Write every entry of those dates, those that are dated ahead too unless --to leaves them out."""
    _download(tenant, "/v1/ledger-exports", output, {"format": format, "from": start, "to": end})


@ledger.command("export-invoices")
@told
def export_invoices(
    start: Annotated[
        str | None, typer.Option("--from", help="Issued at this instant or later: 2026-01-01T00:00:00Z.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Issued before this instant.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; default: standard output.")
    ] = None,
    tenant: Tenant = None,
) -> None:
    """Write every line of every document that was issued, as comma-separated values."""
    _download(tenant, "/v1/invoice-exports", output, {"issued_from": start, "issued_to": end})


def _download(tenant: str | None, path: str, output: Path | None, query: dict[str, Any]) -> None:
    """A file that is not whole is not left under its name."""
    parts = _deployment(tenant).download(path, **query)
    first = next(parts, b"")  # what is refused is refused before anything is written
    whole = chain((first,), parts)
    if output is None:
        for part in whole:
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
        return
    unfinished = output.with_name(f"{output.name}.unfinished")
    with unfinished.open("wb") as file:
        file.writelines(whole)
    unfinished.replace(output)
    out.print(f"{output}: {output.stat().st_size:,} bytes")

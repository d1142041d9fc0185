"""`perennial verify` and `perennial proof`: invoices derived again, and written down for whoever trusts nobody."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from libs.cli.bundle import compose
from libs.cli.deployment import Deployment, tenant_token
from libs.cli.settings import settings
from libs.cli.telling import say_error, told
from libs.common.clock import SystemClock
from libs.common.errors import NotFound

Thing = dict[str, Any]
Tenant = Annotated[str | None, typer.Option(help="The tenant's UUID; the sandbox if it is left out.")]

PAGE_LENGTH = 200
ISSUED = ("finalized", "paid", "void", "uncollectible")
SAID_EVERY = 100


class NoSuchInvoice(NotFound):
    code = "invoice_not_found"
    title = "There is no such invoice"


@told
def verify(
    invoices: Annotated[list[str] | None, typer.Argument(help="Ids or numbers of invoices.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that were issued.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say only what does not agree.")] = False,
    tenant: Tenant = None,
) -> None:
    """Derive invoices again from what is stored, and compare byte for byte. Exit code 1 when one does not agree."""
    if not invoices and not every:
        raise typer.BadParameter("name an invoice, or ask for --all")
    deployment = Deployment(settings(), token=tenant_token(settings(), tenant))
    ids = _all_issued(deployment) if every else (_id_of(deployment, named) for named in invoices or ())
    count = wrong = 0
    for id in ids:
        found = deployment.get(f"/v1/invoices/{id}/verification")
        count += 1
        wrong += not found["agrees"]
        if not found["agrees"] or not (quiet or every):
            _tell(found)
        if every and not quiet and count % SAID_EVERY == 0 and sys.stderr.isatty():
            print(f"\r{count:,} derived again", end="", file=sys.stderr, flush=True)
    if every and not quiet and sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)
    if wrong:
        say_error(f"{wrong:,} of {count:,} invoices are not what is stored with them makes of them")
        raise typer.Exit(1)
    if not quiet:
        print(f"{count:,} derived again from what is stored: the same to the byte.")


@told
def proof(
    invoice: Annotated[str, typer.Argument(help="The id or the number of an issued invoice.")],
    to: Annotated[Path, typer.Option("--to", help="The file to write.")],
    without_events: Annotated[
        bool, typer.Option("--without-events", help="Only the hashes of the events: quantities are taken.")
    ] = False,
    tenant: Tenant = None,
) -> None:
    """Write the proof of an invoice, to be checked offline with docs/verify_bundle.py."""
    deployment = Deployment(settings(), token=tenant_token(settings(), tenant))
    bundle = compose(
        deployment,
        _id_of(deployment, invoice),
        with_events=not without_events,
        made_at=SystemClock().system_now().isoformat().replace("+00:00", "Z"),
    )
    to.write_text(json.dumps(bundle, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    events = sum(len(total["leaf_hashes"] or ()) for total in bundle["usage"])
    print(f"{to}: {bundle['invoice']['number']}, {len(bundle['lines']):,} lines, {events:,} events")
    for total in bundle["usage"]:
        if "not_shown" in total:
            print(
                f"The events of {total['meter']} in {total['window_id']} are left out: {total['not_shown']}."
            )
    print(f"Root: {bundle['root']}")


def _id_of(deployment: Deployment, named: str) -> str:
    """Raises: NoSuchInvoice."""
    if named.startswith("inv_"):
        return named
    found = deployment.get("/v1/invoices", number=named)["data"]
    if len(found) != 1:
        told_of = "no invoice has" if not found else f"{len(found)} invoices have"
        raise NoSuchInvoice(f"{told_of} the number {named}", remedy="Name it by its id, such as inv_….")
    id: str = found[0]["id"]
    return id


def _all_issued(deployment: Deployment) -> Iterator[str]:
    cursor: str | None = None
    while True:
        page = deployment.get("/v1/invoices", limit=PAGE_LENGTH, cursor=cursor)
        yield from (invoice["id"] for invoice in page["data"] if invoice["status"] in ISSUED)
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _tell(found: Thing) -> None:
    total = f"{found['total']['amount']} {found['total']['currency']}"
    counted = f"{found['line_count']:,} lines and {found['posting_count']:,} postings"
    if found["agrees"]:
        print(f"{found['number']}, {total}: {counted} agree")
        return
    print(f"{found['number']}, {total}: {len(found['differences'])} differences")
    for one in found["differences"]:
        print(f"  {one['pointer']}: stored {one['stored']}, derived {one['derived']}")

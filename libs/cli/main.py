"""The `perennial` command: over HTTP, for operators and for whoever keeps a catalog; only `token` and `keys` work on
the key file itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import typer
from rich.table import Table

from libs.cli import replay as replays
from libs.cli.audit import findings_of
from libs.cli.catalog import catalog
from libs.cli.deployment import Deployment
from libs.cli.ledger import ledger
from libs.cli.preview import preview
from libs.cli.proof import proof, verify
from libs.cli.settings import settings
from libs.cli.simulate import simulate
from libs.cli.telling import out, told, waiting
from libs.common.access.keys import KeyFile
from libs.common.access.scopes import OPERATE, SCOPES
from libs.common.access.token import sign_token
from libs.common.clock import SystemClock
from libs.common.contracts import SERVICES
from libs.common.ids import new_id

DAY_S = 86_400
INSTANTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Operate a Perennial deployment.")
dead_letters = typer.Typer(no_args_is_help=True, help="Messages that failed by themselves.")
keys = typer.Typer(no_args_is_help=True, help="The keys that sign tokens.")
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(keys, name="keys")
app.add_typer(catalog, name="catalog")
app.add_typer(ledger, name="ledger")
app.command("simulate")(simulate)
app.command("preview")(preview)
app.command("verify")(verify)
app.command("proof")(proof)

ServiceName = Annotated[str, typer.Option("--service", help=f"One of {', '.join(SERVICES)}.")]


def _services(wanted: str | None) -> tuple[str, ...]:
    if wanted is None:
        return SERVICES
    if wanted not in SERVICES:
        raise typer.BadParameter(f"{wanted} is none of {', '.join(SERVICES)}")
    return (wanted,)


@app.command()
@told
def token(
    tenant: Annotated[str | None, typer.Option(help="The tenant's UUID; leave out with --operate.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="May be repeated; default: all of a tenant's.")
    ] = None,
    customer: Annotated[str | None, typer.Option(help="Make a portal token of this customer.")] = None,
    operate: Annotated[
        bool, typer.Option("--operate", help="An operator's token, without a tenant.")
    ] = False,
    days: Annotated[float, typer.Option(help="How long it is good.", min=0.001, max=90)] = 1,
) -> None:
    """Sign a token with the deployment's key file. Its id goes to standard error: it is what one revokes."""
    everything = [name for name in SCOPES if name != OPERATE]
    if customer is not None and not scope:
        everything = ["subscriptions:read", "usage:read", "billing:read"]
    token_id = new_id("tok")
    signed = sign_token(
        KeyFile.load(settings().key_path).signing_key,
        tenant=tenant,
        scopes=[OPERATE] if operate else scope or everything,
        customer=customer,
        now=SystemClock().system_now(),
        lifetime_s=int(days * DAY_S),
        token_id=token_id,
    )
    print(f"id: {token_id}", file=sys.stderr)
    print(signed)


@keys.command("rotate")
@told
def rotate_keys() -> None:
    """Sign with a new key from now on; tokens of the previous one stay good, those of the one before do not."""
    rotated = KeyFile.load(settings().key_path).rotate()
    print(f"signing with {rotated.signing_key.kid}; {len(rotated.keys)} keys verify")


@app.command()
@told
def audit(
    as_json: Annotated[bool, typer.Option("--json", help="The whole report as JSON.")] = False,
) -> None:
    """Look once more at everything that must hold, in all four services. Exit code 1 when something does not."""
    deployment = Deployment(settings())
    reports = {}
    with waiting.status("The audit begins.") as status:
        for service in SERVICES:

            def say(step: str, service: str = service) -> None:
                status.update(f"{service}: {step}")

            reports[service] = deployment.audit(service, say)
        findings = findings_of(reports, partial(_audited_things, deployment))
    is_clean = all(finding.ok for finding in findings)
    if as_json:
        shown = [{name: getattr(finding, name) for name in finding.__slots__} for finding in findings]
        print(json.dumps({"ok": is_clean, "checks": shown}, indent=2))
    else:
        table = Table("service", "check", "looked at", "problems", box=None)
        for finding in findings:
            problems = "none" if finding.ok else f"[bold red]{finding.problem_count}[/]"
            table.add_row(finding.service, finding.name, f"{finding.checked_count:,}", problems)
        out.print(table)
        for finding in findings:
            for problem in finding.problems:
                out.print(f"{finding.service}.{finding.name}: {problem}", style="red", markup=False)
        out.print("The audit is clean." if is_clean else "The audit found problems.")
    raise typer.Exit(0 if is_clean else 1)


def _audited_things(deployment: Deployment, service: str, listing: str, bucket: int) -> Iterator[str]:
    after: str | None = None
    while True:
        page = deployment.get(f"/v1/{service}-operations/audit/{listing}", bucket=bucket, after=after)
        yield from page["data"]
        after = page["next_after"]
        if after is None:
            return


@app.command()
@told
def replay(
    service: Annotated[str, typer.Argument(help=f"One of {', '.join(SERVICES)}.")],
    topic: Annotated[
        str | None, typer.Option(help="Only this topic, or the topic of this service; default: all it hears.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            help="What was published at or after this instant (UTC unless it says otherwise).",
            formats=INSTANTS,
        ),
    ] = None,
    from_offset: Annotated[
        int | None, typer.Option(min=0, help="From this offset of each partition.")
    ] = None,
    partition: Annotated[int | None, typer.Option(min=0, help="Only this partition of the topic.")] = None,
    wait: Annotated[bool, typer.Option(help="Show how far it is until it is done.")] = True,
) -> None:
    """Let a service hear again what it has handled; by default everything that the bus still keeps.

    Always safe, and as often as you like: an effect happens once.
    """
    (name,) = _services(service)
    deployment = Deployment(settings())
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    asked = replays.ask(
        deployment, name, topic=topic, partition=partition, from_offset=from_offset, since=since
    )
    for line in replays.told(name, asked):
        print(line)
    if wait and asked["status"] != "done":
        said = ""
        for seen in replays.until_done(deployment, name, asked):
            if replays.progress(seen) != said:
                said = replays.progress(seen)
                print(said, flush=True)


@dead_letters.command("list")
@told
def list_dead_letters(
    service: ServiceName | None = None,
    retrying: Annotated[bool, typer.Option("--retrying", help="Also those still tried again.")] = False,
) -> None:
    """Dead letters, oldest first."""
    deployment = Deployment(settings())
    table = Table("service", "message", "type", "attempts", "state", "error", box=None)
    for name in _services(service):
        for letter in _letters(deployment, name, status=None if retrying else "dead"):
            table.add_row(name, *_row(letter))
    out.print(table if table.row_count else "There are no dead letters.")


def _letters(deployment: Deployment, service: str, *, status: str | None) -> Iterator[dict[str, Any]]:
    """Page by page."""
    cursor: str | None = None
    while True:
        page = deployment.get(f"/v1/{service}-operations/dead-letters", status=status, cursor=cursor)
        yield from page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _row(letter: dict[str, Any]) -> tuple[str, ...]:
    error = letter["error"].splitlines()[0][:80] if letter["error"] else ""
    return letter["message_id"], letter["type"] or "?", str(letter["attempts"]), letter["status"], error


@dead_letters.command("show")
@told
def show_dead_letter(message_id: str, service: ServiceName) -> None:
    """One dead letter whole: its error, headers, data and trace id."""
    (name,) = _services(service)
    letter = Deployment(settings()).get(f"/v1/{name}-operations/dead-letters/{message_id}")
    print(json.dumps(letter, indent=2, ensure_ascii=False))


@dead_letters.command("redrive")
@told
def redrive_dead_letter(
    service: ServiceName,
    message_id: Annotated[str | None, typer.Argument(help="Leave out to redrive all of the service.")] = None,
) -> None:
    """Try again now. Always safe: an effect happens once, and older news never replaces newer."""
    (name,) = _services(service)
    deployment = Deployment(settings())
    dead = _letters(deployment, name, status="dead")
    ids = [message_id] if message_id else [letter["message_id"] for letter in dead]
    for id in ids:
        deployment.post(f"/v1/{name}-operations/dead-letters/{id}/redrive")
    print(f"{len(ids)} redriven")


if __name__ == "__main__":
    app()

"""`perennial catalog`: a whole catalog as one file, compared, imported and exported."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from libs.cli.catalog_file import catalog_text, read_catalog_file
from libs.cli.catalog_meters import Meter, meters_named, missing_meters
from libs.cli.catalog_screen import changes_anything, lines_of
from libs.cli.deployment import Deployment, Refused, tenant_token
from libs.cli.settings import settings
from libs.cli.telling import out, say_error, told_with
from libs.common.documents.read_document import DocumentUnreadable, ReadDocument
from libs.common.errors import InputError

ERROR, CHANGES = 1, 2
WRITTEN_WRONGLY = 2  # what such a command exits with elsewhere
IMPORTS, EXPORT = "/v1/catalog-imports", "/v1/catalog-export"
METERS_HEARD_WITHIN_S = 30.0
PAUSE_S = 0.5

told = told_with(ERROR)


class Command(TyperCommand):
    """A command that is written wrongly exits as any error of it does: 2 says that something would change."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if getattr(error, "exit_code", None) == WRITTEN_WRONGLY:
                error.__dict__["exit_code"] = ERROR
            raise


catalog = typer.Typer(no_args_is_help=True, help="A whole catalog as one file.")

FileArgument = Annotated[Path, typer.Argument(help="YAML, or JSON if it ends in .json.")]
Prune = Annotated[
    bool, typer.Option("--prune", help="What is not in the file is no longer sold: archived or withdrawn.")
]
Tenant = Annotated[
    str | None,
    typer.Option(
        help="The tenant's UUID, for a token signed with the key file; default: PERENNIAL_TOKEN, or the sandbox's."
    ),
]


@dataclass(frozen=True, slots=True)
class Planned:
    """`plan` is what the catalog says would change; `meters` are those that are to be defined first."""

    document: dict[str, Any]
    plan: Mapping[str, Any]
    meters: Sequence[Meter]

    @property
    def changes_anything(self) -> bool:
        return changes_anything(self.plan)


@catalog.command("diff", cls=Command)
@told
def diff(file: FileArgument, prune: Prune = False, tenant: Tenant = None) -> None:
    """Show what importing the file would change. Exit code 0: nothing; 2: something; 1: an error."""
    planned = _plan(_deployment(tenant), file, prune=prune)
    _show(planned.plan)
    raise typer.Exit(CHANGES if planned.changes_anything else 0)


@catalog.command("apply", cls=Command)
@told
def apply(
    file: FileArgument,
    prune: Prune = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    tenant: Tenant = None,
) -> None:
    """Import the file: show what changes, ask if there is somebody to answer, and change it. Twice is as good as once.

    Everything is changed in one transaction, or nothing. Exit code 1: an error, or the answer was no.
    """
    deployment = _deployment(tenant)
    planned = _plan(deployment, file, prune=prune)
    _show(planned.plan)
    if not planned.changes_anything:
        return
    if not yes and is_somebody_there() and not typer.confirm("Apply these changes?"):
        out.print("Nothing was changed.")
        raise typer.Exit(ERROR)
    for meter in planned.meters:
        deployment.post("/v1/meters", dict(meter))
    done = _apply(deployment, planned, prune=prune)
    out.print(f"Applied: {done['words']}", highlight=False, soft_wrap=True)


@catalog.command("export", cls=Command)
@told
def export(
    file: Annotated[
        Path | None, typer.Argument(help="Where to: YAML, or JSON if it ends in .json; default: YAML, here.")
    ] = None,
    tenant: Tenant = None,
) -> None:
    """Write the whole catalog as one file, with the meters that it names. Importing it changes nothing."""
    deployment = _deployment(tenant)
    exported: dict[str, Any] = deployment.get(EXPORT)
    meters = meters_named(deployment, exported)
    first = {"perennial_catalog": exported.pop("perennial_catalog")}
    document = first | ({"meters": meters} if meters else {}) | exported
    text = catalog_text(document, as_json=file is not None and file.suffix == ".json")
    if file is None:
        sys.stdout.write(text)
    else:
        file.write_text(text, encoding="utf-8")


def is_somebody_there() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


def _deployment(tenant: str | None) -> Deployment:
    found = settings()
    return Deployment(found, token=tenant_token(found, tenant))


def _plan(deployment: Deployment, file: Path, *, prune: bool) -> Planned:
    """What would change. Whatever is wrong is said with its line, and ends the command."""
    try:
        read = read_catalog_file(file)
    except DocumentUnreadable as error:
        for fault in error.faults:
            _say_fault(file, fault.line, fault.detail)
        raise typer.Exit(ERROR) from None
    document = read.value
    try:
        plan = deployment.post(IMPORTS, document, dry_run=True, prune=prune)
    except Refused as refused:
        _end_with(refused.problem.get("errors", ()), file, read)
        raise
    meters, faults = missing_meters(deployment, document.get("meters", ()))
    _end_with(faults, file, read)
    return Planned(document, plan, meters)


def _apply(deployment: Deployment, planned: Planned, *, prune: bool) -> Mapping[str, Any]:
    """The catalog hears of meters that were defined a moment ago: it is asked until it has."""
    give_up_at = time.monotonic() + (METERS_HEARD_WITHIN_S if planned.meters else 0)
    while True:
        try:
            done: Mapping[str, Any] = deployment.post(IMPORTS, planned.document, dry_run=False, prune=prune)
            return done
        except Refused as refused:
            is_early = refused.problem.get("code") == "catalog_meter_unknown"
            if not is_early or time.monotonic() >= give_up_at:
                raise
        time.sleep(PAUSE_S)


def _show(plan: Mapping[str, Any]) -> None:
    for line in lines_of(plan):
        out.print(line, highlight=False, soft_wrap=True)


def _end_with(faults: Iterable[InputError], file: Path, read: ReadDocument) -> None:
    """Say what is wrong with the file, if anything is, and end the command."""
    told = sorted(((read.line_of(fault["pointer"]), fault) for fault in faults), key=lambda f: f[0] or 0)
    for line, fault in told:
        _say_fault(file, line, f"{fault['pointer']} {fault['detail']}".strip())
    if told:
        say_error(f"{file}: {len(told)} fault{'s' if len(told) > 1 else ''}; nothing was changed")
        raise typer.Exit(ERROR)


def _say_fault(file: Path, line: int | None, detail: str) -> None:
    print(f"{file}:{line}: {detail}" if line else f"{file}: {detail}", file=sys.stderr)

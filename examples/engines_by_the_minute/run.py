"""The story from beginning to end. Told twice it changes nothing; broken off, it goes on where it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from examples.engines_by_the_minute.agreement import (
    Airline,
    agree_with_airlines,
    external_id,
    make_test_clock,
    publish_offer,
)
from examples.engines_by_the_minute.bills import (
    Bill,
    count_failed_payments,
    list_invoices,
    read_bills,
    wait_until_paid,
)
from examples.engines_by_the_minute.client import Perennial, Thing
from examples.engines_by_the_minute.fleet import Fleet, Tenure, survey
from examples.engines_by_the_minute.flights import read_airlines, read_flights
from examples.engines_by_the_minute.papers import Papers, collect_papers
from examples.engines_by_the_minute.proof import Proved, prove
from examples.engines_by_the_minute.screen import Screen
from examples.engines_by_the_minute.sending import Sent, bind_aircraft, send_flights
from examples.engines_by_the_minute.story import Story, instant_text
from examples.engines_by_the_minute.time_travel import Shown, move_clock
from examples.engines_by_the_minute.told import Stopped

LATE = 4  # every fourth aircraft is bound only after its flights have come

Invoices = Mapping[str, Sequence[Thing]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`before` and `after` are the invoices as they stood, to the last field, before and after this run."""

    story: Story
    fleet: Fleet
    bound: Counter[str]
    bound_late: Counter[str]
    sent: Sent
    clock_steps: int
    bills: Sequence[Bill]
    proved: Proved
    papers: Papers
    new: Counter[str]
    before: Invoices
    after: Invoices
    durations_s: Mapping[str, float]

    @property
    def total(self) -> Decimal:
        return sum((bill.total for bill in self.bills), Decimal(0))

    @property
    def nothing_changed(self) -> bool:
        return not self.new.total() and self.before == self.after

    @property
    def events_per_s(self) -> float:
        return self.sent.total / self.durations_s["flights"]


async def tell(perennial: Perennial, story: Story, *, data: Path, screen: Screen) -> Outcome:
    """From the offer to the last paid invoice. Raises: Stopped."""
    before = await _invoices_so_far(perennial, story)
    with screen.stage("survey"):
        fleet = survey(read_flights(data, story))
    screen.told("survey", f"{fleet.rows:,} flights; {fleet.aircraft_count:,} aircraft were in the air")
    if not fleet.aircraft_count:
        raise Stopped("no flight of the story was flown", remedy="Choose other carriers, or more months.")

    with screen.stage("agreement"):
        await publish_offer(perennial, story)
        clock_id = await make_test_clock(perennial, story)
        airlines = await agree_with_airlines(
            perennial, story, names=read_airlines(data), aircraft=fleet.aircraft, clock_id=clock_id
        )
    screen.told("agreement", f"a plan, {len(airlines)} airlines that subscribe to it")

    tenures = fleet.tenures(start=instant_text(story.starts_at), end=instant_text(story.ends_at))
    early = [tenure for place, tenure in enumerate(tenures) if place % LATE != LATE - 1]
    late = tenures[LATE - 1 :: LATE]
    bound = await _bind(perennial, story, early, airlines, screen, stage="aircraft, early")
    sent = await _send(perennial, story, data, fleet, screen)
    bound_late = await _bind(perennial, story, late, airlines, screen, stage="aircraft, late")
    clock_steps = await _move(perennial, story, clock_id, screen)
    with screen.stage("payments"):
        after = await wait_until_paid(perennial, [airline.subscription_id for airline in airlines])
    known = {invoice["id"] for invoices in before.values() for invoice in invoices}
    paid = [invoice for invoices in after.values() for invoice in invoices]
    perennial.new["invoices"] += sum(invoice["id"] not in known for invoice in paid)
    screen.told("payments", f"{len(paid):,} invoices, each of them paid")
    for airline in airlines:
        if airline.declined_once and (mine := after[airline.subscription_id]):
            failed = await count_failed_payments(perennial, mine[0])
            screen.say(f"  {airline.name}'s first payment failed {failed} time, and was tried again")
    with screen.stage("reading"):
        bills = await read_bills(perennial, airlines, after)
    screen.told("reading", "each bill, down to the events behind its lines")
    with screen.stage("papers"):
        papers = await collect_papers(perennial, airlines, after)
    waiting = f", {papers.waiting:,} wait for a way out" if papers.waiting else ""
    screen.told("papers", f"{papers.documents:,} PDF files, {papers.mails.total():,} mails sent{waiting}")
    with screen.stage("proof"):
        proved = await prove(perennial, after)
    screen.told("proof", f"{proved.invoices:,} invoices derived again, {proved.lines:,} lines")
    outcome = Outcome(
        story=story,
        fleet=fleet,
        bound=bound,
        bound_late=bound_late,
        sent=sent,
        clock_steps=clock_steps,
        bills=bills,
        proved=proved,
        papers=papers,
        new=+perennial.new,
        before=before,
        after=after,
        durations_s=dict(screen.durations_s),
    )
    check_against_data(outcome)
    return outcome


async def _invoices_so_far(perennial: Perennial, story: Story) -> Invoices:
    plan = story.read_body("plan.json")["code"]
    subscriptions = await perennial.pages("/v1/subscriptions", plan=plan)
    return await list_invoices(perennial, [subscription["id"] for subscription in subscriptions])


async def _bind(
    perennial: Perennial,
    story: Story,
    tenures: Sequence[Tenure],
    airlines: Sequence[Airline],
    screen: Screen,
    *,
    stage: str,
) -> Counter[str]:
    subscriptions = {airline.carrier: airline.subscription_id for airline in airlines}
    with screen.stage(stage):
        statuses = await bind_aircraft(perennial, story, tenures, subscriptions=subscriptions)
    known = f", {statuses['unchanged']:,} before" if statuses["unchanged"] else ""
    screen.told(stage, f"{len(tenures):,} bound to those who fly them{known}")
    return statuses


async def _send(perennial: Perennial, story: Story, data: Path, fleet: Fleet, screen: Screen) -> Sent:
    with screen.stage("flights"), screen.counting() as progress:
        bar = progress.add_task("flights", total=fleet.rows)
        sent = await send_flights(
            perennial, story, read_flights(data, story), advance=lambda count: progress.advance(bar, count)
        )
    rate = sent.total / screen.durations_s["flights"]
    told = ", ".join(f"{count:,} {status}" for status, count in sent.statuses.most_common())
    screen.told("flights", f"{told}; {rate:,.0f} events a second")
    screen.show_rejected(sent)
    return sent


async def _move(perennial: Perennial, story: Story, clock_id: str, screen: Screen) -> int:
    begin, end = story.clock_starts_at, story.clock_ends_at
    with screen.stage("clock"), screen.travelling() as progress:
        bar = progress.add_task("2013", total=(end - begin).total_seconds(), note="")

        def show(shown: Shown) -> None:
            progress.update(
                bar,
                completed=(shown.now - begin).total_seconds(),
                description=f"{shown.now:%d %b %Y}",
                note=shown.waiting_for or "",
            )

        steps = await move_clock(perennial, clock_id, end, show=show)
    pace = f"stopped {steps} times on the way" if steps else "stood there already"
    screen.told("clock", f"to {end:%d %B %Y}: {pace}")
    return steps


def check_against_data(outcome: Outcome) -> None:
    """The bills name the flights and minutes that were sent. Raises: Stopped."""
    fleet = outcome.fleet
    for bill in outcome.bills:
        carrier = bill.airline.carrier
        if bill.flights != fleet.flown[carrier] or bill.minutes != Decimal(fleet.minutes[carrier]):
            raise Stopped(
                f"{carrier} flew {fleet.flown[carrier]:,} times, {fleet.minutes[carrier]:,} minutes, "
                f"and was billed for {bill.flights:,} flights, {bill.minutes:,} minutes"
            )


def as_json(outcome: Outcome) -> dict[str, Any]:
    """For programs: everything that the screen shows, and the invoices."""
    sent = outcome.sent
    return {
        "story": outcome.story.label or "whole",
        "nothing_changed": outcome.nothing_changed,
        "new": dict(outcome.new),
        "durations_s": {name: round(seconds, 3) for name, seconds in outcome.durations_s.items()},
        "events": {
            "sent": sent.total,
            "per_s": round(outcome.events_per_s),
            "statuses": dict(sent.statuses),
            "rejected": [
                {"reasons": list(reasons), "count": count} for reasons, count in sent.reasons.most_common()
            ],
        },
        "bindings": {"early": dict(outcome.bound), "late": dict(outcome.bound_late)},
        "aircraft": {"count": outcome.fleet.aircraft_count, "changed_hands": outcome.fleet.changed_hands},
        "clock_steps": outcome.clock_steps,
        "proved": asdict(outcome.proved),
        "papers": {
            "documents": outcome.papers.documents,
            "mails": dict(outcome.papers.mails),
            "waiting": outcome.papers.waiting,
        },
        "airlines": [
            {
                "carrier": bill.airline.carrier,
                "external_id": external_id(outcome.story, bill.airline.carrier),
                "customer_id": bill.airline.customer_id,
                "subscription_id": bill.airline.subscription_id,
                "aircraft": bill.airline.aircraft,
                "flights": bill.flights,
                "minutes": str(bill.minutes),
                "total": str(bill.total),
                "invoices": list(bill.invoices),
            }
            for bill in outcome.bills
        ],
        "total": str(outcome.total),
    }

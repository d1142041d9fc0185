"""What the airlines owe and have paid, as Perennial tells it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from examples.engines_by_the_minute.agreement import Airline
from examples.engines_by_the_minute.client import Perennial, Thing
from examples.engines_by_the_minute.told import Stopped

READS_AT_ONCE = 6
PAID_WITHIN_S = 120.0
LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Bill:
    """One airline's year. `flights` is how many events stand behind the lines, `minutes` what they come to."""

    airline: Airline
    flights: int
    minutes: Decimal
    invoices: Sequence[Thing]

    @property
    def total(self) -> Decimal:
        return sum((Decimal(invoice["total"]["amount"]) for invoice in self.invoices), Decimal(0))


async def list_invoices(perennial: Perennial, subscription_ids: Iterable[str]) -> dict[str, list[Thing]]:
    """Summaries by subscription, in the order of their boundaries."""
    found: dict[str, list[Thing]] = {}
    for subscription_id in subscription_ids:
        invoices = await perennial.pages("/v1/invoices", subscription_id=subscription_id)
        found[subscription_id] = sorted(invoices, key=lambda invoice: str(invoice["boundary_at"]))
    return found


async def wait_until_paid(perennial: Perennial, subscription_ids: Sequence[str]) -> dict[str, list[Thing]]:
    """All invoices, once each is paid. Raises: Stopped when one is not, in time."""
    give_up_at = time.monotonic() + PAID_WITHIN_S
    while True:
        found = await list_invoices(perennial, subscription_ids)
        owed = [invoice for invoices in found.values() for invoice in invoices if invoice["status"] != "paid"]
        if not owed:
            return found
        if time.monotonic() > give_up_at:
            told = ", ".join(
                f"{invoice['number'] or invoice['id']} ({invoice['status']})" for invoice in owed
            )
            raise Stopped(f"{len(owed)} invoices are not paid: {told}")
        await asyncio.sleep(LOOK_EVERY_S)


async def read_bills(
    perennial: Perennial, airlines: Sequence[Airline], invoices: Mapping[str, Sequence[Thing]]
) -> list[Bill]:
    """Down to the events: what the lines say was used, and how many events their explanations count."""
    at_once = asyncio.Semaphore(READS_AT_ONCE)

    async def read(invoice: Thing) -> tuple[int, Decimal]:
        async with at_once:
            whole = await perennial.get(f"/v1/invoices/{invoice['id']}")
            usage = [line for line in whole["lines"] if line["tier"] is not None]
            minutes = sum((Decimal(line["quantity"]) for line in usage), Decimal(0))
            # The tiers of one month are explained by the same events.
            explained = {line["service_period"]["start"]: line["explanation"] for line in usage}
            events = 0
            for address in explained.values():
                explanation = await perennial.get(address)
                if not explanation["agrees"]:
                    raise Stopped(f"a line cannot be derived again: {address}")
                events += explanation["usage"]["event_count"]
            return events, minutes

    async def read_all(airline: Airline) -> Bill:
        mine = invoices[airline.subscription_id]
        read_each = await asyncio.gather(*(read(invoice) for invoice in mine))
        flights = sum(events for events, _ in read_each)
        minutes = sum((minutes for _, minutes in read_each), Decimal(0))
        return Bill(airline, flights, minutes, mine)

    return list(await asyncio.gather(*(read_all(airline) for airline in airlines)))


async def count_failed_payments(perennial: Perennial, invoice: Thing) -> int:
    """How many attempts at collecting it failed before one succeeded."""
    attempts = await perennial.get(f"/v1/invoices/{invoice['id']}/payment-attempts")
    return sum(attempt["state"] == "failed" for attempt in attempts["data"])

"""Every invoice derived again from what is stored, and one line traced to a single flight."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

from examples.engines_by_the_minute.bills import READS_AT_ONCE
from examples.engines_by_the_minute.client import Perennial, Thing
from examples.engines_by_the_minute.told import Stopped


@dataclass(frozen=True, slots=True)
class Traced:
    """One flight behind the largest invoice: the `place`-th of `flights`, shown to be among them by so many hashes."""

    invoice_id: str
    number: str
    flight: str
    minutes: str
    place: int
    flights: int
    hashes: int


@dataclass(frozen=True, slots=True)
class Proved:
    invoices: int
    lines: int
    traced: Traced | None


async def prove(perennial: Perennial, invoices: Mapping[str, Sequence[Thing]]) -> Proved:
    """Raises: Stopped, where one is not what is stored with it makes of it."""
    at_once = asyncio.Semaphore(READS_AT_ONCE)

    async def derive(invoice: Thing) -> int:
        async with at_once:
            found = await perennial.get(f"/v1/invoices/{invoice['id']}/verification")
        if not found["agrees"]:
            places = ", ".join(difference["pointer"] for difference in found["differences"][:3])
            raise Stopped(f"{invoice['number']} cannot be derived again: {places}")
        return int(found["line_count"])

    every = [invoice for mine in invoices.values() for invoice in mine]
    lines = await asyncio.gather(*(derive(invoice) for invoice in every))
    return Proved(len(every), sum(lines), await _trace(perennial, _largest(every)))


def _largest(invoices: Iterable[Thing]) -> Thing | None:
    return max(
        invoices, key=lambda invoice: (Decimal(invoice["total"]["amount"]), invoice["id"]), default=None
    )


async def _trace(perennial: Perennial, invoice: Thing | None) -> Traced | None:
    """A flight from the middle of the first page behind its usage, and the proof that it is among the others."""
    if invoice is None:
        return None
    whole = await perennial.get(f"/v1/invoices/{invoice['id']}")
    line = next((line for line in whole["lines"] if line["tier"] is not None), None)
    if line is None:
        return None
    usage = (await perennial.get(line["explanation"]))["usage"]
    events = (await _follow(perennial, usage["events"]))["data"]
    if not events or usage["digest"] is None:
        return None
    event = events[len(events) // 2]
    asked = {"source": event["source"], "event_id": event["id"]}
    shown = await _follow(perennial, usage["inclusion_proofs"], **asked)
    if shown["root"] != usage["digest"]["root"]:
        raise Stopped(f"the flights behind {invoice['number']} are others than those that were sealed")
    return Traced(
        invoice_id=str(invoice["id"]),
        number=str(invoice["number"]),
        flight=str(event["id"]),
        minutes=str(event["value"]),
        place=int(shown["index"]) + 1,
        flights=int(shown["leaf_count"]),
        hashes=len(shown["path"]),
    )


async def _follow(perennial: Perennial, address: str, **more: str) -> Thing:
    """What an address of the API leads to, with its query and more."""
    parts = urlsplit(address)
    return await perennial.get(parts.path, **dict(parse_qsl(parts.query)), **more)

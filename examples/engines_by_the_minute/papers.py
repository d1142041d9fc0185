"""What a person can hold: each invoice as a PDF file, and the mails that went out with them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.engines_by_the_minute.agreement import Airline
from examples.engines_by_the_minute.client import Perennial, Thing
from examples.engines_by_the_minute.told import Stopped

READS_AT_ONCE = 4
SENT_WITHIN_S = 120.0
LOOK_EVERY_S = 0.5
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "var" / "demo"  # which git does not know


@dataclass(frozen=True, slots=True)
class Papers:
    """`mails` counts those that were sent, by kind."""

    folder: Path
    documents: int
    mails: Counter[str]


async def collect_papers(
    perennial: Perennial,
    airlines: Sequence[Airline],
    invoices: Mapping[str, Sequence[Thing]],
    *,
    folder: Path = FOLDER,
) -> Papers:
    """Every invoice's PDF into the folder, under its number. Raises: Stopped when mails are not sent in time."""
    at_once = asyncio.Semaphore(READS_AT_ONCE)

    async def keep(invoice: Thing) -> None:
        async with at_once:
            document = await perennial.download(f"/v1/invoices/{invoice['id']}/pdf")
        _write(folder, f"{invoice['number']}.pdf", document)

    every = [invoice for mine in invoices.values() for invoice in mine]
    await asyncio.gather(*(keep(invoice) for invoice in every))
    mails: Counter[str] = Counter()
    for airline in airlines:
        mails += await _mails_to(perennial, airline)
    return Papers(folder, len(every), mails)


def _write(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


async def _mails_to(perennial: Perennial, airline: Airline) -> Counter[str]:
    give_up_at = time.monotonic() + SENT_WITHIN_S
    while True:
        mails = await perennial.pages("/v1/mails", customer_id=airline.customer_id)
        waiting = [mail for mail in mails if mail["state"] in ("pending", "sending")]
        if not waiting:
            return Counter(mail["kind"] for mail in mails if mail["state"] == "sent")
        if time.monotonic() > give_up_at:
            raise Stopped(f"{len(waiting)} mails to {airline.name} are not sent: {waiting[0]['id']}")
        await asyncio.sleep(LOOK_EVERY_S)

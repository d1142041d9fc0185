"""What a person can hold: each airline's last invoice as a PDF file, and the mails that went out with all of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.engines_by_the_minute.agreement import Airline
from examples.engines_by_the_minute.client import Perennial, Thing

READS_AT_ONCE = 4
NOTHING_SENT_FOR_S = 5.0
LOOK_EVERY_S = 0.5
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "var" / "demo"  # which git does not know


@dataclass(frozen=True, slots=True)
class Papers:
    """`mails` counts those that were sent, by kind; `waiting` are those that nobody sends here."""

    folder: Path
    documents: int
    mails: Counter[str]
    waiting: int


async def collect_papers(
    perennial: Perennial,
    airlines: Sequence[Airline],
    invoices: Mapping[str, Sequence[Thing]],
    *,
    folder: Path = FOLDER,
) -> Papers:
    """Each airline's last invoice into the folder, under its number; the others lie in the mails."""
    at_once = asyncio.Semaphore(READS_AT_ONCE)

    async def keep(invoice: Thing) -> None:
        async with at_once:
            document = await perennial.download(f"/v1/invoices/{invoice['id']}/pdf")
        _write(folder, f"{invoice['number']}.pdf", document)

    last = [mine[-1] for mine in invoices.values() if mine]
    await asyncio.gather(*(keep(invoice) for invoice in last))
    mails = await _mails_when_sent(perennial, [airline.customer_id for airline in airlines])
    by_state = {
        state: Counter(mail["kind"] for mail in mails if mail["state"] == state)
        for state in ("sent", "pending")
    }
    return Papers(folder, len(last), by_state["sent"], by_state["pending"].total())


def _write(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


async def _mails_when_sent(perennial: Perennial, customers: Sequence[str]) -> list[Thing]:
    """Once all are sent, or none was for a while: where nobody said how mails go out, they wait."""
    waiting, seen_at = -1, time.monotonic()
    while True:
        pages = [await perennial.pages("/v1/mails", customer_id=customer_id) for customer_id in customers]
        mails = [mail for page in pages for mail in page]
        left = sum(mail["state"] in ("pending", "sending") for mail in mails)
        if left != waiting:
            waiting, seen_at = left, time.monotonic()
        if not left or time.monotonic() - seen_at > NOTHING_SENT_FOR_S:
            return mails
        await asyncio.sleep(LOOK_EVERY_S)

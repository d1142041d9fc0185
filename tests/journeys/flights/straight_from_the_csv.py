"""What the airlines owe, computed from the CSV alone: no code of the product, and the carrier column for owner."""

from __future__ import annotations

import csv
import io
import zipfile
from collections import defaultdict
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
FEE = Decimal("1200.00")
TIERS = ((100_000, Decimal("5.20")), (500_000, Decimal("4.75")), (None, Decimal("4.35")))
CENT = Decimal("0.01")

Owed = dict[str, dict[date, Decimal]]


def rows_of(archive: Path) -> list[dict[str, str]]:
    with zipfile.ZipFile(archive) as packed, packed.open("flights.csv") as file:
        return list(csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline="")))


def owed_by_airline(rows: list[dict[str, str]], months: int = 12) -> Owed:
    """Each airline's invoices by the date of their boundary; what comes to nothing is left out."""
    aircraft: dict[str, set[str]] = defaultdict(set)
    minutes: dict[tuple[str, int], int] = defaultdict(int)
    for row in rows:
        local = datetime.fromisoformat(row["time_hour"]).astimezone(NEW_YORK)
        if row["air_time"] != "NA" and local.month <= months:
            aircraft[row["carrier"]].add(row["tailnum"])
            minutes[row["carrier"], local.month] += int(row["air_time"])
    owed: Owed = {}
    for carrier, tails in sorted(aircraft.items()):
        invoices = {}
        for behind in range(months + 1):  # the month that is over at the boundary; 0: none yet
            ahead = behind < months
            amount = len(tails) * FEE * ahead + price_of(minutes[carrier, behind])
            if amount:
                invoices[date(2013 + behind // 12, behind % 12 + 1, 1)] = amount
        owed[carrier] = invoices
    return owed


def price_of(minutes: int) -> Decimal:
    """Graduated: each part at its own tier's price, each rounded half away from zero."""
    total, begin = Decimal(0), 0
    for end, unit_amount in TIERS:
        part = max(0, (minutes if end is None else min(minutes, end)) - begin)
        total += (part * unit_amount).quantize(CENT, ROUND_HALF_UP)
        begin = end or begin
    return total

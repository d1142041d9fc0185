"""The rates that ship with the program: dated, each with its source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.resources import files

from services.billing.domain.tax_rate import Rates, TaxRate, ordered


@cache
def shipped_tax_rates() -> Sequence[TaxRate]:
    """In the order in which lists show them: by the day from which they hold."""
    told = json.loads(
        files("services.billing.adapters").joinpath("shipped_tax_rates.json").read_text("utf-8")
    )
    sources = {name: f"{source['title']}, {source['url']}" for name, source in told["sources"].items()}
    rates = []
    for row in told["rates"]:
        since = date.fromisoformat(row["valid_from"])
        rates.append(
            TaxRate(
                id=f"txr_{row['country']}.{row['category']}.{row['valid_from']}",
                country=row["country"],
                category=row["category"],
                percent=None if row["percent"] is None else Decimal(row["percent"]),
                valid_from=since,
                source=sources[row["source"]],
                created_at=datetime.combine(since, time.min, UTC),
                is_shipped=True,
            )
        )
    return tuple(sorted(rates, key=lambda rate: (rate.created_at, rate.id)))


@cache
def shipped_table() -> Rates:
    return ordered(shipped_tax_rates())

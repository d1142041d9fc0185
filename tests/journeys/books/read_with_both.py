"""Reads what was exported with DuckDB and with Beancount, in an environment that has nothing of ours; prints JSON."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path

import duckdb
from beancount import loader
from beancount.core import realization
from beancount.core.data import Balance, Transaction


def with_duckdb(ledger: Path, invoices: Path) -> dict[str, object]:
    database = duckdb.connect()
    read = "read_csv(?, header = true, all_varchar = true)"
    balances = database.execute(
        f"SELECT account, currency, sum(amount::DECIMAL(38, 4)) FROM {read} GROUP BY ALL", [str(ledger)]
    ).fetchall()
    unbalanced = database.execute(
        f"""SELECT posting FROM {read} GROUP BY posting, currency, posted_on
            HAVING sum(amount::DECIMAL(38, 4)) <> 0""",
        [str(ledger)],
    ).fetchall()
    wrong = database.execute(
        f"""SELECT invoice_number FROM {read} GROUP BY invoice_id, invoice_number, invoice_net
            HAVING sum(line_net::DECIMAL(38, 4)) <> invoice_net::DECIMAL(38, 4)""",
        [str(invoices)],
    ).fetchall()
    descriptions = database.execute(
        f"SELECT DISTINCT description FROM {read} ORDER BY 1", [str(invoices)]
    ).fetchall()
    return {
        "balances": {f"{account} {currency}": str(sum.normalize()) for account, currency, sum in balances},
        "unbalanced": unbalanced,
        "invoices_off": wrong,
        "descriptions": [row[0] for row in descriptions],
    }


def with_beancount(journal: Path) -> dict[str, object]:
    entries, errors, _ = loader.load_file(str(journal))
    root = realization.realize(entries)
    balances: dict[str, str] = {}
    for account in realization.iter_children(root):
        for position in account.balance:
            balances[f"{account.account} {position.units.currency}"] = str(
                Decimal(position.units.number).normalize()
            )
    return {
        "errors": [str(error.message) for error in errors],
        "balances": balances,
        "transactions": sum(isinstance(entry, Transaction) for entry in entries),
        "asserted": sum(isinstance(entry, Balance) for entry in entries),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    told = {
        "duckdb": with_duckdb(folder / "ledger.csv", folder / "invoices.csv"),
        "beancount": with_beancount(folder / "ledger.beancount"),
        "later": with_beancount(folder / "later.beancount"),
    }
    print(json.dumps(told))

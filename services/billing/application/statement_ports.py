"""What the use cases of bank statements need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from services.billing.domain.bank_statement import BankStatement, BankStatementEntry
from services.billing.domain.statement_matching import Known, Quoted


class BankStatements(Protocol):
    async def open(self, statement: BankStatement) -> BankStatement | None:
        """Make it, at once; the one that is known where the same file was taken in before."""
        ...

    async def add_entries(self, entries: Sequence[BankStatementEntry]) -> int:
        """Those that nobody told of before, at once; returns how many they are."""
        ...

    async def count_new(self, statement: BankStatement) -> None:
        """Write down how many of its entries were new."""
        ...


class BankStatementEntries(Protocol):
    """Entries are locked before payments and invoices."""

    async def load_for_update(self, ids: Iterable[str]) -> None: ...

    async def get_for_update(self, id: str) -> BankStatementEntry: ...

    def save(self, aggregate: BankStatementEntry) -> None: ...

    async def known_for(self, quoted: Sequence[tuple[BankStatementEntry, Quoted]]) -> Known:
        """What the books know that may concern these entries, in a few statements."""
        ...

    async def originals_of(self, entry: BankStatementEntry) -> list[BankStatementEntry]:
        """Credits of the same account and amount that an entry may take back, by what they have in common."""
        ...

    def learn(self, account: str, customer_id: str, *, at: datetime) -> None:
        """From now on, the customer is known to pay from this account."""
        ...

    async def forget(self, account: str) -> None:
        """Nobody is known to pay from this account any more."""
        ...

    async def forget_customer(self, customer_id: str) -> None:
        """The customer was erased: from which accounts he paid is known no more."""
        ...

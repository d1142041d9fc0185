"""Mails in memory."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from services.billing.domain.mail import Mail, MailNotFound
from tests.support.memory import MemoryRepository


class MemoryMails(MemoryRepository[Mail]):
    """One whose id is known stays as it is."""

    def __init__(self) -> None:
        super().__init__(lambda id: MailNotFound("no mail has this id", id=id))
        self.suppressed: set[tuple[str, str]] = set()

    async def is_wanted(self) -> bool:
        return False

    def add(self, aggregate: Mail) -> None:
        if aggregate.id not in self.by_id:
            super().add(aggregate)

    async def suppressed_addresses(self, customer_ids: Iterable[str]) -> set[tuple[str, str]]:
        return {pair for pair in self.suppressed if pair[0] in set(customer_ids)}

    async def suppress(self, bounced: Mail, reason: str, *, at: datetime) -> None:
        self.suppressed.add((bounced.customer_id, bounced.recipient.casefold()))

    async def lift(self, customer_id: str, address: str) -> None:
        self.suppressed.discard((customer_id, address.casefold()))

    async def forget(self, customer_id: str) -> None:
        for id in [mail.id for mail in self.by_id.values() if mail.customer_id == customer_id]:
            del self.by_id[id]

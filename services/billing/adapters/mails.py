"""Mails that wait, go out or went; addresses that take none; what tenants say in their own words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, delete, func, select, text, update

from libs.common.ids import derived_id
from libs.common.persistence.base import bulk_insert, bulk_update, is_among
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.adapters.mail_rows import mail, mail_suppression, mail_template
from services.billing.adapters.party_mapping import customer_from_row
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.mail import CUSTOMER_ERASED, Mail, MailNotFound
from services.billing.domain.mail_template import MailTemplate, MailTemplateNotFound

_BY_TABLE = ("created_at", "due_at")
_PLAIN = tuple(name for name in Mail.__slots__ if name not in (*_BY_TABLE, "attached", "details"))


class MailRepository(Repository[Mail]):
    """A mail whose fact was told before is left as it is."""

    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            mail,
            to_row=mail_to_row,
            from_row=mail_from_row,
            not_found=lambda id: MailNotFound("no mail has this id", id=id),
            insert_tail="ON CONFLICT (id) DO NOTHING",
        )
        self._is_wanted: bool | None = None

    def reset(self) -> None:
        super().reset()
        self._is_wanted = None

    async def is_wanted(self) -> bool:
        """Whether any seller of the tenant sends mails. Asked once for each unit of work."""
        if self._is_wanted is None:
            wanted = select(rows.seller.c.id).where(
                rows.seller.c.tenant == self.uow.tenant, rows.seller.c.details.has_key("mail_from")
            )
            self._is_wanted = (await self.uow.connection.execute(wanted.limit(1))).first() is not None
        return self._is_wanted

    async def flush(self) -> None:
        """New ones are due at once, by the table's own default; of others, what changed is written."""
        added, self._added = self._added, {}
        saved, self._saved = self._saved, {}
        changed = [{**row, "due_at": saved[row["id"]].due_at} for row in self._rows(saved.values())]
        await bulk_update(self.uow.connection, mail, changed)
        await bulk_insert(self.uow.connection, mail, self._rows(added.values()), tail=self._insert_tail)

    async def lock_rate(self) -> None:
        """One after another claims mails of the tenant, so that what went lately is counted right."""
        await self.uow.connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended('mail/' || :tenant, 0))"),
            {"tenant": self.uow.tenant},
        )

    async def claimed_since(self, instant: datetime) -> int:
        """How many of the tenant's mails were claimed since then, by the wall."""
        counted = select(func.count()).where(mail.c.tenant == self.uow.tenant, mail.c.claimed_at >= instant)
        return int((await self.uow.connection.execute(counted)).scalar_one())

    async def note_claims(self, ids: Iterable[str], *, at: datetime) -> None:
        await self.uow.connection.execute(update(mail).where(is_among(mail.c.id, ids)).values(claimed_at=at))

    async def rest(self, ids: Iterable[str], *, until: datetime) -> None:
        """Look at these again then: more would be too many at once."""
        given = list(ids)
        if given:
            await self.uow.connection.execute(
                update(mail).where(is_among(mail.c.id, given)).values(retry_at=until)
            )

    async def too_old(self, ids: Iterable[str], *, age: timedelta) -> set[str]:
        """Those that waited for longer, by the database's clock, which dated them."""
        wanted = select(mail.c.id).where(is_among(mail.c.id, ids), mail.c.created_at < func.now() - age)
        return {row[0] for row in await self.uow.connection.execute(wanted)}

    async def customers(self, ids: Iterable[str]) -> dict[str, CustomerDetails]:
        """By their ids, in one statement."""
        wanted = select(rows.customer).where(is_among(rows.customer.c.id, ids))
        found = (await self.uow.connection.execute(wanted)).mappings()
        return {row["id"]: customer_from_row(row) for row in found}

    async def was_sent(self, invoice_id: str) -> bool:
        """Whether a mail with the invoice itself went out."""
        table = mail.c
        mine = (table.tenant == self.uow.tenant) & (table.invoice_id == invoice_id)
        wanted = select(table.id).where(mine, table.kind == "invoice", table.state == "sent").limit(1)
        return (await self.uow.connection.execute(wanted)).first() is not None

    async def suppressed_addresses(self, customer_ids: Iterable[str]) -> set[tuple[str, str]]:
        """Pairs of customer and address that take no mail."""
        wanted = select(mail_suppression.c.customer_id, mail_suppression.c.address).where(
            is_among(mail_suppression.c.customer_id, customer_ids)
        )
        return {(row[0], row[1]) for row in await self.uow.connection.execute(wanted)}

    async def suppress(self, bounced: Mail, reason: str, *, at: datetime) -> None:
        """Nothing more goes to the address. One that is suppressed already stays so."""
        address = bounced.recipient.casefold()
        row = {
            "tenant": self.uow.tenant,
            "id": derived_id("msp", self.uow.tenant, bounced.customer_id, address),
            "customer_id": bounced.customer_id,
            "address": address,
            "mail_id": bounced.id,
            "reason": reason,
            "created_at": at,
        }
        await bulk_insert(self.uow.connection, mail_suppression, [row], tail="ON CONFLICT (id) DO NOTHING")

    async def lift(self, customer_id: str, address: str) -> None:
        """Somebody knows that the address takes mail again."""
        await self.uow.connection.execute(
            delete(mail_suppression).where(
                mail_suppression.c.customer_id == customer_id,
                mail_suppression.c.address == address.casefold(),
            )
        )

    async def forget(self, customer_id: str) -> None:
        """The customer was erased: what named or quoted him is gone, and what waits is not sent."""
        mine = mail.c.customer_id == customer_id
        gone: dict[str, Any] = {
            "recipient": "",
            "details": {},
            "subject": None,
            "text_body": None,
            "html_body": None,
            "version": mail.c.version + 1,
        }
        await self.uow.connection.execute(update(mail).where(mine).values(**gone))
        await self.uow.connection.execute(
            update(mail)
            .where(mine, mail.c.state == "pending")
            .values(state="suppressed", reason=CUSTOMER_ERASED, due_at=None, retry_at=None)
        )
        await self.uow.connection.execute(
            delete(mail_suppression).where(mail_suppression.c.customer_id == customer_id)
        )


class MailTemplateRepository(Repository[MailTemplate]):
    """A tenant has few: all are read at once."""

    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            mail_template,
            to_row=lambda given: {name: getattr(given, name) for name in MailTemplate.__slots__},
            from_row=template_from_row,
            not_found=lambda id: MailTemplateNotFound("the tenant says nothing of his own there", id=id),
        )

    async def of_tenant(self) -> list[MailTemplate]:
        """All that he has."""
        found = await self.uow.connection.execute(
            select(mail_template).where(mail_template.c.tenant == self.uow.tenant)
        )
        return [template_from_row(row) for row in found.mappings()]

    async def remove(self, template: MailTemplate) -> None:
        await self.uow.connection.execute(delete(mail_template).where(mail_template.c.id == template.id))
        self._locked[template.id] = None


def mail_to_row(given: Mail) -> dict[str, Any]:
    row = {name: getattr(given, name) for name in _PLAIN}
    row["retry_at"] = given.claimed_until or given.retry_at  # while it is claimed, no scheduler finds it
    return {**row, "attached": list(given.attached), "details": dict(given.details)}


def mail_from_row(row: RowMapping) -> Mail:
    plain: Mapping[str, Any] = {name: row[name] for name in (*_PLAIN, *_BY_TABLE)}
    return Mail(**plain, attached=tuple(row["attached"]), details=row["details"])


def template_from_row(row: RowMapping) -> MailTemplate:
    return MailTemplate(**{name: row[name] for name in MailTemplate.__slots__})

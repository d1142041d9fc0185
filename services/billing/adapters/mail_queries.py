"""Reads of mails on one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import null, select

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import is_among
from libs.common.persistence.paging import fetch_page
from services.billing.adapters.mail_rows import mail, mail_template
from services.billing.adapters.mails import mail_from_row, template_from_row
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.domain.mail import Mail, MailNotFound
from services.billing.domain.mail_template import MailTemplate

_LONG = ("text_body", "html_body")
_SHORT = [column for column in mail.c if column.name not in _LONG]


class MailQueries:
    def __init__(self, uow: BillingUnitOfWork) -> None:
        self._connection = uow.connection

    async def list_mails(self, page: PageRequest, **wanted: str | None) -> Slice[Mail]:
        """Those of which each named column has the given value, where one is given; without their texts."""
        statement = select(*_SHORT, *(null().label(name) for name in _LONG))
        for name, value in wanted.items():
            if value is not None:
                statement = statement.where(mail.c[name] == value)
        return await fetch_page(
            self._connection,
            statement,
            created_at=mail.c.created_at,
            id=mail.c.id,
            page=page,
            to_view=mail_from_row,
        )

    async def get_mail(self, id: str) -> Mail:
        """Raises: MailNotFound."""
        row = (await self._connection.execute(select(mail).where(mail.c.id == id))).mappings().first()
        if row is None:
            raise MailNotFound("no mail has this id")
        return mail_from_row(row)

    async def get_mails(self, ids: Sequence[str]) -> list[Mail]:
        """In the order of `ids`, all of which are there."""
        read = (await self._connection.execute(select(mail).where(is_among(mail.c.id, ids)))).mappings()
        found = {row["id"]: mail_from_row(row) for row in read}
        return [found[id] for id in ids]

    async def list_templates(self, page: PageRequest) -> Slice[MailTemplate]:
        return await fetch_page(
            self._connection,
            select(mail_template),
            created_at=mail_template.c.created_at,
            id=mail_template.c.id,
            page=page,
            to_view=template_from_row,
        )

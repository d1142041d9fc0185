"""The files that go with a mail: the pages of its document, and the e-invoice where the customer takes those by mail."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, timedelta

from services.billing.adapters.customer_statements import CustomerStatements
from services.billing.adapters.seller_logos import SellerLogos
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.mail_ports import Attachment
from services.billing.application.make_e_invoice import PDF, EInvoiceWriter, make_e_invoice
from services.billing.application.render_document import DocumentRenderer, find_logo, render_pdf
from services.billing.domain.contact_details import EInvoiceFormat
from services.billing.domain.e_invoice_rules import EInvoiceImpossible
from services.billing.domain.issued_document import IssuedDocument
from services.billing.domain.mail_contents import MailMaterial
from services.billing.domain.seller_logo import SellerLogo

MAIL_SCHEME = "EM"
ONE_DAY = timedelta(days=1)
_NOT_IN_FILE_NAME = re.compile(r"[^0-9A-Za-z._-]+")

log = logging.getLogger(__name__)


class DocumentFiles:
    """`__call__` reads what the files need; what it gives back makes them, with no transaction open."""

    def __init__(self, renderer: DocumentRenderer, writer: EInvoiceWriter) -> None:
        self._renderer, self._writer = renderer, writer

    async def __call__(
        self, material: MailMaterial, uow: BillingUnitOfWork
    ) -> Callable[[], Awaitable[Sequence[Attachment]]]:
        if material.mail.kind == "statement":
            return await self._statement(material, uow)
        document = material.document
        assert document is not None, "only what is about a document has its files"
        logo = await find_logo(document, SellerLogos(uow))

        async def made() -> list[Attachment]:
            e_invoice = await self._e_invoice(document, logo, material.language)
            if e_invoice is not None and e_invoice.media_type == PDF:
                return [e_invoice]
            pages = await render_pdf(document, renderer=self._renderer, logo=logo, language=material.language)
            file = Attachment(f"{file_stem(document)}.pdf", PDF, pages)
            return [file] if e_invoice is None else [file, e_invoice]

        return made

    async def _statement(
        self, material: MailMaterial, uow: BillingUnitOfWork
    ) -> Callable[[], Awaitable[Sequence[Attachment]]]:
        """The account as it stands by now, in the language of the mail."""
        first, last = (date.fromisoformat(str(material.mail.details[name])) for name in ("from_on", "to_on"))
        statement = await CustomerStatements(uow).get(
            material.mail.customer_id, start_on=first, end_on=last + ONE_DAY
        )
        logo = await find_logo(statement, SellerLogos(uow))

        async def made() -> list[Attachment]:
            pages = await render_pdf(
                statement, renderer=self._renderer, logo=logo, language=material.mail.locale
            )
            return [Attachment(f"{statement.file_stem}.pdf", PDF, pages)]

        return made

    async def _e_invoice(
        self, document: IssuedDocument, logo: SellerLogo | None, language: str | None
    ) -> Attachment | None:
        """What lacks something that the standard asks for goes as pages alone: GET …/e-invoice-check says what."""
        format = e_invoice_by_mail(document)
        if format is None:
            return None
        try:
            file = await make_e_invoice(
                document, format, writer=self._writer, renderer=self._renderer, logo=logo, language=language
            )
        except EInvoiceImpossible as error:
            log.warning(
                "no e-invoice goes with the mail", extra={"document": document.id, "code": error.code}
            )
            return None
        return Attachment(file.name, file.media_type, file.content)


def e_invoice_by_mail(document: IssuedDocument) -> EInvoiceFormat | None:
    """As which e-invoice the customer takes documents by mail; UBL where all that is said is an address for mail."""
    delivery = document.delivery
    if delivery is None or delivery.e_invoice is not None:
        return None if delivery is None else delivery.e_invoice
    address = delivery.electronic_address
    return "ubl" if address is not None and address.scheme == MAIL_SCHEME else None


def file_stem(document: IssuedDocument) -> str:
    return _NOT_IN_FILE_NAME.sub("-", document.number or document.id).strip("-.") or document.id

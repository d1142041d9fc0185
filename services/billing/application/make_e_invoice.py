"""An issued document as an e-invoice: UBL or CII, or its pages with CII inside (Factur-X)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Protocol

from services.billing.application.render_document import DocumentRenderer
from services.billing.domain.contact_details import EInvoiceFormat
from services.billing.domain.e_invoice import EInvoice, e_invoice_of
from services.billing.domain.e_invoice_rules import (
    EInvoiceProblem,
    missing_for_peppol,
    problems_of,
    require_e_invoice,
)
from services.billing.domain.issued_document import IssuedDocument, as_issued
from services.billing.domain.seller_logo import SellerLogo

Syntax = Literal["ubl", "cii"]

XML, PDF = "application/xml", "application/pdf"
_NOT_IN_FILE_NAME = re.compile(r"[^0-9A-Za-z._-]+")


class EInvoiceWriter(Protocol):
    async def write(self, invoice: EInvoice, syntax: Syntax) -> bytes: ...

    async def embed(self, pdf: bytes, invoice: EInvoice) -> bytes:
        """The pages, a PDF/A-3, with the e-invoice inside."""
        ...


@dataclass(frozen=True, slots=True)
class EInvoiceFile:
    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class EInvoiceCheck:
    """`problems` keep it from being an e-invoice at all, `missing_for_peppol` from travelling by Peppol."""

    profile: str
    problems: tuple[EInvoiceProblem, ...]
    missing_for_peppol: tuple[EInvoiceProblem, ...]


async def make_e_invoice(
    document: IssuedDocument,
    format: EInvoiceFormat,
    *,
    writer: EInvoiceWriter,
    renderer: DocumentRenderer,
    logo: SellerLogo | None = None,
    language: str | None = None,
) -> EInvoiceFile:
    """The same document gives the same bytes. Call it with no transaction open. `language` is that of the pages.

    Raises: EInvoiceImpossible, with every rule that is broken; DocumentsBusy, DocumentTooLong.
    """
    invoice = e_invoice_of(document)
    require_e_invoice(invoice)
    name = _NOT_IN_FILE_NAME.sub("-", invoice.number).strip("-.") or invoice.type_code
    if format == "factur-x":
        pages = await renderer.render(as_issued(document), logo=logo, language=language)
        return EInvoiceFile(f"{name}.pdf", PDF, await writer.embed(pages, invoice))
    return EInvoiceFile(f"{name}-{format}.xml", XML, await writer.write(invoice, format))


def check_e_invoice(document: IssuedDocument) -> EInvoiceCheck:
    """What `make_e_invoice` would refuse, without making anything."""
    invoice = e_invoice_of(document)
    problems = problems_of(invoice)
    return EInvoiceCheck(invoice.profile, problems, tuple(missing_for_peppol(invoice)))

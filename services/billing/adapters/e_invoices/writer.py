"""E-invoices as files. What writes XML and PDF is loaded when the first one is asked for, and works in a thread."""

from __future__ import annotations

import asyncio

from services.billing.application.make_e_invoice import Syntax
from services.billing.domain.e_invoice import EInvoice


class EInvoiceFiles:
    async def write(self, invoice: EInvoice, syntax: Syntax) -> bytes:
        return await asyncio.to_thread(_written, invoice, syntax)

    async def embed(self, pdf: bytes, invoice: EInvoice) -> bytes:
        return await asyncio.to_thread(_embedded, pdf, invoice)


def _written(invoice: EInvoice, syntax: Syntax) -> bytes:
    if syntax == "ubl":
        from services.billing.adapters.e_invoices.ubl import ubl_of

        return ubl_of(invoice)
    from services.billing.adapters.e_invoices.cii import cii_of

    return cii_of(invoice)


def _embedded(pdf: bytes, invoice: EInvoice) -> bytes:
    from services.billing.adapters.e_invoices.cii import cii_of
    from services.billing.adapters.e_invoices.factur_x import with_xml

    return with_xml(pdf, cii_of(invoice, is_embedded=True), issued_on=invoice.issued_on)

"""The e-invoices in docs/samples: `python -m tests.support.e_invoice_samples` writes them anew."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from libs.common.money import Money
from services.billing.adapters.e_invoices.cii import cii_of
from services.billing.adapters.e_invoices.ubl import ubl_of
from services.billing.adapters.e_invoices.writer import EInvoiceFiles
from services.billing.adapters.typst_documents import TypstDocuments
from services.billing.application.make_e_invoice import make_e_invoice
from services.billing.domain.agreement import Address
from services.billing.domain.contact_details import DocumentDelivery, ElectronicAddress
from services.billing.domain.credit_note import WantedCredit
from services.billing.domain.e_invoice import e_invoice_of
from services.billing.domain.issued_document import IssuedDocument
from tests.support.issued_documents import BUYER, MARCH, PROFILE, Row, a_credit_note, a_document, an_invoice

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "samples"
FACTUR_X = FOLDER / "e-invoice-factur-x.pdf"

LIGHT = (
    Row("Service fee, 400 luminaires", "400", "3.28", unit="luminaire"),
    Row("Light delivered", "85000", "0.004305", period=MARCH, unit="klm·h"),
    Row("Minimum commitment shortfall", "15000", "0.004305", period=MARCH, unit="klm·h"),
    Row("SLA credit, availability 98.6 %", "-1", "65.60", period=MARCH),
)


BUYER_AT_HOME = replace(
    BUYER,
    name="Warenhuis De Kade",
    legal_name="Warenhuis De Kade B.V.",
    email="crediteuren@dekade.example",
    country="NL",
    vat_id="NL001234567B01",
    address=Address("Westerkade 5", None, "3511 HA", "Utrecht", None, "NL"),
)
PROFILE_AT_HOME = replace(
    PROFILE, delivery=DocumentDelivery(electronic_address=ElectronicAddress("9944", "NL001234567B01"))
)


def sample_invoice() -> IssuedDocument:
    """Light as a service, for April 2026."""
    return a_document(*LIGHT, buyer=BUYER_AT_HOME, profile=PROFILE_AT_HOME)


def sample_credit_note() -> IssuedDocument:
    """A hundred of it is given back."""
    invoice, lines = an_invoice(*LIGHT, buyer=BUYER_AT_HOME, profile=PROFILE_AT_HOME)
    return a_credit_note(invoice, lines, WantedCredit(amount=Money(10000, "EUR")))


def sample_files() -> dict[str, bytes]:
    """By name: those that are XML."""
    invoice, note = e_invoice_of(sample_invoice()), e_invoice_of(sample_credit_note())
    return {
        "e-invoice-ubl.xml": ubl_of(invoice),
        "e-invoice-cii.xml": cii_of(invoice),
        "e-invoice-credit-note-ubl.xml": ubl_of(note),
        "e-invoice-credit-note-cii.xml": cii_of(note),
    }


async def sample_factur_x() -> bytes:
    documents = TypstDocuments()
    try:
        file = await make_e_invoice(sample_invoice(), "factur-x", writer=EInvoiceFiles(), renderer=documents)
    finally:
        await documents.close()
    return file.content


if __name__ == "__main__":
    for name, content in sample_files().items():
        (FOLDER / name).write_bytes(content)
    FACTUR_X.write_bytes(asyncio.run(sample_factur_x()))

"""Which e-invoice goes with the mail of a document."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.billing.adapters.mail_attachments import e_invoice_by_mail
from services.billing.domain.contact_details import DocumentDelivery, EInvoiceFormat, ElectronicAddress
from tests.support.issued_documents import PROFILE, Row, a_document

MAIL, PEPPOL = ElectronicAddress("EM", "ap@kaufhaus.example"), ElectronicAddress("9930", "DE136695976")


@pytest.mark.parametrize(
    ("delivery", "format"),
    [
        (None, None),
        (DocumentDelivery(), None),
        (DocumentDelivery(PEPPOL), None),
        (DocumentDelivery(MAIL), "ubl"),
        (DocumentDelivery(MAIL, e_invoice="cii"), "cii"),
        (DocumentDelivery(PEPPOL, e_invoice="ubl"), "ubl"),
        (DocumentDelivery(e_invoice="factur-x"), "factur-x"),
    ],
)
def test_it_is_the_one_that_was_asked_for(
    delivery: DocumentDelivery | None, format: EInvoiceFormat | None
) -> None:
    document = a_document(Row("Desk", "1", "9"), profile=replace(PROFILE, delivery=delivery))
    assert e_invoice_by_mail(document) == format

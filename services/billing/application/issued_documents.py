"""Reading the one view of an issued document, for whoever puts it on paper, into XML or into a mail."""

from __future__ import annotations

from typing import Protocol

from libs.common.errors import Conflict
from services.billing.domain.issued_document import IssuedDocument


class DocumentNotIssued(Conflict):
    code = "document_not_issued"
    title = "The document is not issued"


class IssuedDocuments(Protocol):
    async def get(self, id: str, *, customer_id: str | None = None) -> IssuedDocument:
        """By the id of an invoice (`inv_...`) or of a credit note (`crn_...`); `customer_id` of None is anybody.

        Raises: InvoiceNotFound, CreditNoteNotFound, also when it is not `customer_id`'s; DocumentNotIssued.
        """
        ...

"""An issued document as pages to print or send: the port to whatever sets them, and its use."""

from __future__ import annotations

from typing import Protocol

from libs.common.errors import RuleViolation, TransientError
from services.billing.domain.customer_statement import CustomerStatement
from services.billing.domain.issued_document import IssuedDocument
from services.billing.domain.seller_logo import SellerLogo

Printable = IssuedDocument | CustomerStatement


class DocumentsBusy(TransientError):
    """As many pages as may wait are waiting to be set."""

    code = "documents_busy"
    title = "Too many documents at once"


class DocumentTooLong(RuleViolation):
    """It was not set within the time that a document may take."""

    code = "document_too_long"
    title = "The document cannot be set in time"


class Logos(Protocol):
    async def find(self, id: str) -> SellerLogo | None: ...


class DocumentRenderer(Protocol):
    async def render(
        self, document: Printable, *, logo: SellerLogo | None = None, language: str | None = None
    ) -> bytes:
        """A PDF/A-3b. The same document, logo and language give the same bytes.

        Raises: DocumentsBusy, DocumentTooLong.
        """
        ...

    async def tag(
        self, document: Printable, *, logo: SellerLogo | None = None, language: str | None = None
    ) -> str:
        """Names all that the pages say and how they are set, without setting them."""
        ...

    async def check_logo(self, logo: SellerLogo) -> None:
        """Raises: LogoRefused where it cannot be drawn; DocumentsBusy."""
        ...


async def find_logo(document: Printable, logos: Logos) -> SellerLogo | None:
    """The logo that the seller had when the document was issued, or has when an account is stated."""
    details = document.seller.details
    return None if details is None or details.logo is None else await logos.find(details.logo)


async def render_pdf(
    document: Printable,
    *,
    renderer: DocumentRenderer,
    logo: SellerLogo | None = None,
    language: str | None = None,
) -> bytes:
    """The pages of a document, in `language` or in the one that it is for. Call it with no transaction open.

    Raises: DocumentsBusy, DocumentTooLong.
    """
    return await renderer.render(document, logo=logo, language=language)

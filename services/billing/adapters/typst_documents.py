"""Documents set by typst, in a process of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from services.billing.adapters.document_sheet import Sheet, sheet_of
from services.billing.adapters.logo_picture import LOGO_FILE, as_svg
from services.billing.adapters.statement_sheet import statement_sheet
from services.billing.adapters.typesetting import (
    Pages,
    Typesetting,
    TypesettingFailed,
    TypesettingTimedOut,
)
from services.billing.application.render_document import DocumentsBusy, DocumentTooLong, Printable
from services.billing.domain.issued_document import IssuedDocument
from services.billing.domain.seller_logo import LogoRefused, SellerLogo

WAITING_MAX = 64
RETRY_S = 2

log = logging.getLogger(__name__)


class TypstDocuments:
    """Sets one document after another, off the event loop. So many may wait at once; whoever comes then is sent away."""

    def __init__(self, typesetting: Typesetting | None = None, *, waiting_max: int = WAITING_MAX) -> None:
        self.typesetting = typesetting or Typesetting()
        self._room = threading.BoundedSemaphore(waiting_max)

    async def render(
        self, document: Printable, *, logo: SellerLogo | None = None, language: str | None = None
    ) -> bytes:
        def work() -> Pages:
            return self.typesetting.pdf(_sheet(document, logo, language))

        try:
            pages = await self._in_turn(work)
        except TypesettingTimedOut as error:
            raise DocumentTooLong(str(error), remedy="Have it in parts.") from None
        if pages.missing:
            missing = [f"U+{ord(character):04X}" for character in pages.missing]
            log.warning(
                "no font has some characters", extra={"document": _name(document), "missing": missing}
            )
        return pages.content

    async def tag(
        self, document: Printable, *, logo: SellerLogo | None = None, language: str | None = None
    ) -> str:
        def work() -> str:
            return _sheet(document, logo, language).tag

        return await asyncio.to_thread(work)

    async def check_logo(self, logo: SellerLogo) -> None:
        sheet = Sheet("logo", {"logo": LOGO_FILE}, logo.created_at.date(), {LOGO_FILE: as_svg(logo)})
        try:
            await self._in_turn(lambda: self.typesetting.pdf(sheet))
        except TypesettingFailed as error:
            raise LogoRefused("the picture cannot be drawn", remedy="Send another one.") from error

    async def close(self) -> None:
        await asyncio.to_thread(self.typesetting.close)

    async def _in_turn(self, work: Callable[[], Pages]) -> Pages:
        if not self._room.acquire(blocking=False):
            raise DocumentsBusy("as many documents as may wait are waiting", retry_after_s=RETRY_S)
        try:
            return await asyncio.to_thread(work)
        finally:
            self._room.release()


def _sheet(document: Printable, logo: SellerLogo | None, language: str | None) -> Sheet:
    if isinstance(document, IssuedDocument):
        return sheet_of(document, logo=logo, language=language)
    return statement_sheet(document, logo=logo, language=language)


def _name(document: Printable) -> str:
    return document.id if isinstance(document, IssuedDocument) else document.customer.id

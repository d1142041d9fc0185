"""A document as the answer to a request: its pages, unless the reader has them already."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Query
from starlette.responses import Response

from libs.common.web import etag
from libs.common.web.calls import Call
from libs.common.web.contact_bodies import Locale
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.render_document import DocumentRenderer, Printable, render_pdf
from services.billing.domain.seller_logo import SellerLogo

PDF = "application/pdf"
AS_PDF: dict[int | str, dict[str, Any]] = {200: {"content": {PDF: {}}}}
Language = Annotated[
    Locale | None,
    Query(description="A language and perhaps a country, such as de-AT, instead of the customer's."),
]
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


async def pdf_answer(
    call: Call[BillingUnitOfWork],
    document: Printable,
    *,
    logo: SellerLogo | None,
    renderer: DocumentRenderer,
    language: str | None,
    name: str,
) -> Response:
    """200 with the pages, or 304. Nothing is kept: the same document is the same file whenever it is asked for.

    Raises: DocumentsBusy, DocumentTooLong.
    """
    tag = f'"{await renderer.tag(document, logo=logo, language=language)}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if etag.is_known(call.request, tag):
        return Response(status_code=304, headers=headers)
    content = await render_pdf(document, renderer=renderer, logo=logo, language=language)
    headers["content-disposition"] = f'inline; filename="{file_name(name)}.pdf"'
    return Response(content, headers=headers, media_type=PDF)


def file_name(name: str) -> str:
    return _NOT_IN_A_NAME.sub("-", name).strip("-.") or "document"

"""The logo of a seller over HTTP."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Annotated, Any, Self

from pydantic import Field
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.web import etag
from libs.common.web.bodies import StrictBody
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from services.billing.adapters.logo_check import checked_type
from services.billing.adapters.seller_logos import SellerLogos
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.change_logo import change_logo
from services.billing.application.render_document import DocumentRenderer
from services.billing.domain.seller import Seller
from services.billing.domain.seller_logo import (
    LOGO_BYTES_MAX,
    LogoNotFound,
    LogoRefused,
    SellerLogo,
    seller_logo,
)
from services.billing.entrypoints.seller_bodies import SellerId

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]
Change = Annotated[Call[BillingUnitOfWork], authorised("billing:write")]
AS_PICTURE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}, "image/svg+xml": {}}}}
BASE64_LENGTH_MAX = 4 * (LOGO_BYTES_MAX // 3 + 2)
_SANDBOX = "default-src 'none'; style-src 'unsafe-inline'; sandbox"  # for whoever opens an SVG by itself


class NewLogoBody(StrictBody):
    """A PNG, or an SVG of shapes only, of 256 KiB at most, in base64. What it is follows from its content."""

    content: Annotated[str, Field(min_length=1, max_length=BASE64_LENGTH_MAX)]

    def to_bytes(self) -> bytes:
        """Raises: LogoRefused."""
        try:
            return b64decode(self.content, validate=True)
        except (binascii.Error, ValueError):
            raise LogoRefused(
                "the content is no base64", pointer="/content", remedy="Send it as base64 -w0 prints it."
            ) from None


class LogoBody(StrictBody):
    """The logo that a seller's documents have from now on; `version` is the seller's, `id` the content's SHA-256."""

    id: str | None
    media_type: str | None
    version: int

    @classmethod
    def from_domain(cls, seller: Seller, logo: SellerLogo | None) -> Self:
        return cls(
            id=None if logo is None else logo.id,
            media_type=None if logo is None else logo.media_type,
            version=seller.version,
        )


def logo_router(clock: Clock, renderer: DocumentRenderer) -> LateRouter:
    """The routes, on the clock of the process, with what tries whether a logo can be drawn."""
    router = LateRouter(prefix="/v1/sellers/{seller_id}", tags=["sellers"])

    @router.put("/logo", response_model=LogoBody, summary="Give a seller a logo")
    async def put_logo(seller_id: SellerId, body: NewLogoBody, call: Change) -> Response:
        """For documents that are issued from now on; issued ones keep theirs. Send the seller's ETag in If-Match."""
        content = body.to_bytes()
        logo = seller_logo(checked_type(content), content, now=clock.system_now())
        etag.check_named(call.request)
        await renderer.check_logo(logo)

        async def work(uow: BillingUnitOfWork) -> LogoBody:
            changed = await change_logo(
                seller_id, logo, uow=uow, logos=SellerLogos(uow), check_version=call.require_version
            )
            return LogoBody.from_domain(changed, logo)

        return await call.change(work)

    @router.delete("/logo", response_model=LogoBody, summary="Take a seller's logo away")
    async def delete_logo(seller_id: SellerId, call: Change) -> Response:
        """From documents that are issued from now on. Send the seller's ETag in If-Match."""

        async def work(uow: BillingUnitOfWork) -> LogoBody:
            changed = await change_logo(
                seller_id, None, uow=uow, logos=SellerLogos(uow), check_version=call.require_version
            )
            return LogoBody.from_domain(changed, None)

        return await call.change(work)

    @router.get("/logo", response_class=Response, responses=AS_PICTURE, summary="Show a seller's logo")
    async def get_logo(seller_id: SellerId, call: Read) -> Response:
        async def work(uow: BillingUnitOfWork) -> SellerLogo:
            seller = await uow.sellers.get(seller_id)
            wanted = None if seller.details is None else seller.details.logo
            logo = None if wanted is None else await SellerLogos(uow).find(wanted)
            if logo is None:
                raise LogoNotFound("the seller has no logo")
            return logo

        logo = await call.run(work)
        tag = f'"{logo.id}"'
        headers = {"etag": tag, "content-security-policy": _SANDBOX, "x-content-type-options": "nosniff"}
        if etag.is_known(call.request, tag):
            return Response(status_code=304, headers=headers)
        return Response(logo.content, headers=headers, media_type=logo.media_type)

    return router

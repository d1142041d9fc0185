"""Mails over HTTP: what was sent to whom, sending again, what came back, words of one's own."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.web.calls import Call, authorised
from libs.common.web.contact_bodies import Locale
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.mail_queries import MailQueries
from services.billing.adapters.mail_renderer import TemplateRenderer, languages
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.change_mail_template import (
    ChangeMailTemplate,
    change_mail_template,
    check_language,
    remove_mail_template,
)
from services.billing.application.record_bounce import RecordBounce, record_bounce
from services.billing.application.send_again import MailInvoice, mail_invoice, send_again
from services.billing.domain.delivery_notice import read_notice
from services.billing.domain.mail import MailKind, MailState, Rendered
from services.billing.domain.mail_contents import example_contents
from services.billing.domain.mail_template import MailTemplate, template_id
from services.billing.domain.seller import Seller
from services.billing.entrypoints.bodies import CustomerId, SubscriptionId
from services.billing.entrypoints.credit_note_bodies import CreditNoteId, InvoiceId
from services.billing.entrypoints.mail_bodies import (
    MailBody,
    MailBounceBody,
    MailId,
    MailsBody,
    MailTemplateBody,
    MailTextBody,
    NewInvoiceMailBody,
)

NOTICES = "/v1/mail-notices"
NOTICE_BYTES_MAX = 256 * 1024

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]
Note = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="optional")]
Change = Annotated[Call[BillingUnitOfWork], authorised("billing:write")]


def mail_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1", tags=["mails"])

    @router.get("/mails", response_model=Page[MailBody], summary="List mails")
    async def list_mails(
        call: Read,
        page: PageDep,
        customer_id: Annotated[CustomerId | None, Query()] = None,
        invoice_id: Annotated[InvoiceId | None, Query()] = None,
        credit_note_id: Annotated[CreditNoteId | None, Query()] = None,
        subscription_id: Annotated[SubscriptionId | None, Query()] = None,
        kind: Annotated[MailKind | None, Query()] = None,
        state: Annotated[MailState | None, Query()] = None,
    ) -> Response:
        """What customers were told by mail, and what has yet to go out. Without the texts."""

        async def work(uow: BillingUnitOfWork) -> Slice[MailBody]:
            found = await MailQueries(uow).list_mails(
                page,
                customer_id=customer_id,
                invoice_id=invoice_id,
                credit_note_id=credit_note_id,
                subscription_id=subscription_id,
                kind=kind,
                state=state,
            )
            return found.map(MailBody.from_domain)

        return await call.page(work)

    @router.get("/mails/{mail_id}", response_model=MailBody, summary="Show a mail")
    async def get_mail(mail_id: MailId, call: Read) -> Response:
        """With its texts as they were sent."""

        async def work(uow: BillingUnitOfWork) -> MailBody:
            return MailBody.from_domain(await MailQueries(uow).get_mail(mail_id))

        return await call.read(work)

    @router.post(
        "/mails/{mail_id}/again", status_code=201, response_model=MailBody, summary="Send a mail again"
    )
    async def post_mail_again(mail_id: MailId, call: Make) -> Response:
        """A new mail like it. An address that had bounced is written to again from now on."""

        async def work(uow: BillingUnitOfWork) -> MailBody:
            made = await send_again(mail_id, uow=uow)
            await uow.flush()
            return MailBody.from_domain(await MailQueries(uow).get_mail(made.id))

        return await call.once(work, location=lambda made: f"/v1/mails/{made.id}")

    @router.post(
        "/invoices/{invoice_id}/mails",
        status_code=201,
        response_model=MailsBody,
        summary="Mail an invoice now",
    )
    async def post_invoice_mail(invoice_id: InvoiceId, body: NewInvoiceMailBody, call: Make) -> Response:
        """To the customer, or to somebody else. Each time it is asked for, whatever was sent before."""

        async def work(uow: BillingUnitOfWork) -> MailsBody:
            invoice = await uow.invoices.get(invoice_id)
            if body.locale is not None:
                check_language(body.locale, languages())
            now = clock.business_now(await uow.test_clock(invoice.clock_id))
            command = MailInvoice(invoice_id, body.kind, now, body.to, body.locale)
            made = await mail_invoice(command, invoice, uow=uow)
            await uow.flush()
            return MailsBody.from_domain(await MailQueries(uow).get_mails([one.id for one in made]))

        return await call.once(work)

    @router.post("/mail-bounces", response_model=MailBody, summary="Say that a mail came back")
    async def post_mail_bounce(body: MailBounceBody, call: Note) -> Response:
        """As a provider tells it. Said twice, it changes nothing."""

        async def work(uow: BillingUnitOfWork) -> MailBody:
            return MailBody.from_domain(await record_bounce(body.to_command(clock.system_now()), uow=uow))

        return await call.once(work, status=200)

    @router.post(
        "/mail-notices",
        response_model=MailBody,
        summary="Hand in a notice of a mail server",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"message/rfc822": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def post_mail_notice(request: Request, call: Note) -> Response:
        """The whole message as it came to the mailbox (RFC 3464): it names the mail that it is about."""
        notice = await asyncio.to_thread(read_notice, await request.body())

        async def work(uow: BillingUnitOfWork) -> MailBody:
            command = RecordBounce(
                notice.mail_id, notice.reason, notice.is_permanent, notice.is_address, clock.system_now()
            )
            return MailBody.from_domain(await record_bounce(command, uow=uow))

        return await call.once(work, status=200)

    _templates(router, clock)
    return router


def _templates(router: LateRouter, clock: Clock) -> None:
    @router.get("/mail-templates", response_model=Page[MailTemplateBody], summary="List your mail templates")
    async def list_mail_templates(call: Read, page: PageDep) -> Response:
        """Those in which something was changed."""

        async def work(uow: BillingUnitOfWork) -> Slice[MailTemplateBody]:
            return (await MailQueries(uow).list_templates(page)).map(MailTemplateBody.from_domain)

        return await call.page(work)

    @router.get(
        "/mail-templates/{kind}/{locale}", response_model=MailTemplateBody, summary="Show a mail template"
    )
    async def get_mail_template(kind: MailKind, locale: Locale, call: Read) -> Response:
        """With an example of how the mail looks. Every kind has one in each language."""

        async def work(uow: BillingUnitOfWork) -> MailTemplateBody:
            check_language(locale, languages())
            id = template_id(uow.tenant, kind, locale)
            known = await uow.mail_templates.find(id)
            template = known or MailTemplate(id, kind, locale, clock.system_now(), version=0)
            return MailTemplateBody.from_domain(template, await _example(template, uow))

        return await call.read(work)

    @router.put(
        "/mail-templates/{kind}/{locale}", response_model=MailTemplateBody, summary="Change a mail template"
    )
    async def put_mail_template(kind: MailKind, locale: Locale, body: MailTextBody, call: Change) -> Response:
        """For mails that are sent from now on. Send its ETag in If-Match: that of version 0 before the first change."""

        async def work(uow: BillingUnitOfWork) -> MailTemplateBody:
            template = await change_mail_template(
                ChangeMailTemplate(kind, locale, body.subject, body.intro),
                languages=languages(),
                now=clock.system_now(),
                uow=uow,
                check_version=call.require_version,
            )
            return MailTemplateBody.from_domain(template, await _example(template, uow))

        return await call.change(work)

    @router.delete("/mail-templates/{kind}/{locale}", status_code=204, summary="Remove a mail template")
    async def delete_mail_template(kind: MailKind, locale: Locale, call: Change) -> Response:
        """The words that ship are used again."""

        async def work(uow: BillingUnitOfWork) -> None:
            await remove_mail_template(kind, locale, uow=uow, check_version=call.require_version)

        return await call.change(work)


async def _example(template: MailTemplate, uow: BillingUnitOfWork) -> Rendered:
    """In the colours of the tenant's seller, where there is one."""
    seller = await uow.sellers.find_default() or _nobody(template)
    return await asyncio.to_thread(
        TemplateRenderer().render,
        example_contents(template.kind, seller=seller),
        seller=seller,
        language=template.locale,
        own={(template.kind, template.locale): template},
    )


def _nobody(template: MailTemplate) -> Seller:
    return Seller(
        id="",
        code="example",
        name="Engines Inc.",
        country="US",
        number_prefix="INV-",
        payment_terms_days=14,
        is_default=False,
        version=0,
        created_at=template.created_at,
    )

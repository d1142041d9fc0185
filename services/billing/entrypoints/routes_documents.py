"""Invoices and credit notes as pages, and statements of account."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.periods import local_date
from libs.common.web.bodies import BusinessDate, identifier
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from services.billing.adapters.customer_statements import CustomerStatements
from services.billing.adapters.mail_queries import MailQueries
from services.billing.adapters.mail_renderer import languages
from services.billing.adapters.queries import SqlBillingQueries
from services.billing.adapters.seller_logos import SellerLogos
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.add_payment_method import CustomerNotFound
from services.billing.application.change_mail_template import check_language
from services.billing.application.issued_documents import DocumentNotIssued
from services.billing.application.ledger_views import LedgerDatesReversed
from services.billing.application.render_document import DocumentRenderer, find_logo
from services.billing.application.send_again import MailStatement, mail_statement
from services.billing.application.show_draft import show_draft
from services.billing.domain.customer_statement import CustomerStatement
from services.billing.domain.issued_document import DocumentFacts, IssuedDocument, document_of_invoice
from services.billing.domain.seller_logo import SellerLogo
from services.billing.entrypoints.credit_note_bodies import CreditNoteId, InvoiceId
from services.billing.entrypoints.customer_statement_bodies import CustomerStatementBody
from services.billing.entrypoints.mail_bodies import MailsBody, NewStatementMailBody
from services.billing.entrypoints.pdf_answers import AS_PDF, Language, pdf_answer

PortalRead = Annotated[Call[BillingUnitOfWork], authorised("billing:read", portal=True)]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]
PathCustomerId = Annotated[str, identifier("cus")]
DAYS_BY_DEFAULT = 90
ONE_DAY = timedelta(days=1)
FromDay = Annotated[
    BusinessDate | None, Query(alias="from", description="The first day; by default 90 days before the last.")
]
ToDay = Annotated[
    BusinessDate | None, Query(alias="to", description="The day after the last; by default tomorrow.")
]


def document_router(clock: Clock, renderer: DocumentRenderer) -> LateRouter:
    """The routes, on the clock of the process, with what sets its pages."""
    router = LateRouter(prefix="/v1", tags=["documents"])

    @router.get(
        "/invoices/{invoice_id}/pdf",
        response_class=Response,
        responses=AS_PDF,
        summary="Show an invoice as PDF",
    )
    async def get_invoice_pdf(invoice_id: InvoiceId, call: PortalRead, language: Language = None) -> Response:
        """As it stands: with what was paid and credited since. A draft is marked as one, a void invoice as void."""

        async def work(uow: BillingUnitOfWork) -> tuple[IssuedDocument, SellerLogo | None]:
            document = await _invoice(invoice_id, call, uow, clock)
            return document, await find_logo(document, SellerLogos(uow))

        document, logo = await call.run(work)
        name = document.number or "draft"
        return await pdf_answer(call, document, logo=logo, renderer=renderer, language=language, name=name)

    @router.get(
        "/credit-notes/{credit_note_id}/pdf",
        response_class=Response,
        responses=AS_PDF,
        summary="Show a credit note as PDF",
    )
    async def get_credit_note_pdf(
        credit_note_id: CreditNoteId, call: PortalRead, language: Language = None
    ) -> Response:
        async def work(uow: BillingUnitOfWork) -> tuple[IssuedDocument, SellerLogo | None]:
            document = await uow.issued_documents.get(credit_note_id, customer_id=call.customer)
            return document, await find_logo(document, SellerLogos(uow))

        document, logo = await call.run(work)
        name = document.number or document.id
        return await pdf_answer(call, document, logo=logo, renderer=renderer, language=language, name=name)

    @router.get(
        "/customer-statements/{customer_id}",
        response_model=CustomerStatementBody,
        summary="State a customer's account",
    )
    async def get_customer_statement(
        customer_id: PathCustomerId, call: PortalRead, start_on: FromDay = None, end_on: ToDay = None
    ) -> Response:
        """What was owed, what was charged, paid and credited, and what is owed, in each currency; from the ledger.

        Deposits are no part of it: they are the customer's own money.
        """

        async def work(uow: BillingUnitOfWork) -> CustomerStatementBody:
            return CustomerStatementBody.from_domain(
                await _statement(customer_id, call, uow, clock, start_on, end_on)
            )

        return await call.read(work)

    @router.get(
        "/customer-statements/{customer_id}/pdf",
        response_class=Response,
        responses=AS_PDF,
        summary="State a customer's account as PDF",
    )
    async def get_customer_statement_pdf(
        customer_id: PathCustomerId,
        call: PortalRead,
        start_on: FromDay = None,
        end_on: ToDay = None,
        language: Language = None,
    ) -> Response:
        async def work(uow: BillingUnitOfWork) -> tuple[CustomerStatement, SellerLogo | None]:
            statement = await _statement(customer_id, call, uow, clock, start_on, end_on)
            return statement, await find_logo(statement, SellerLogos(uow))

        statement, logo = await call.run(work)
        name = statement.file_stem
        return await pdf_answer(call, statement, logo=logo, renderer=renderer, language=language, name=name)

    @router.post(
        "/customer-statements/{customer_id}/mails",
        status_code=201,
        response_model=MailsBody,
        summary="Mail a customer's account now",
    )
    async def post_customer_statement_mail(
        customer_id: PathCustomerId, body: NewStatementMailBody, call: Make
    ) -> Response:
        """To the customer, or to somebody else, with its pages. Each time it is asked for."""

        async def work(uow: BillingUnitOfWork) -> MailsBody:
            if body.locale is not None:
                check_language(body.locale, languages())
            stated = await _statement(customer_id, call, uow, clock, body.start_on, body.end_on)
            now = clock.business_now(await uow.test_clock(stated.customer.clock_id))
            command = MailStatement(
                customer_id=customer_id,
                seller_id=stated.seller.id,
                start_on=stated.start_on,
                end_on=stated.end_on,
                now=now,
                to=body.to,
                locale=body.locale or stated.language,
            )
            made = await mail_statement(command, uow=uow)
            await uow.flush()
            return MailsBody.from_domain(await MailQueries(uow).get_mails([one.id for one in made]))

        return await call.once(work)

    return router


async def _invoice(
    invoice_id: str, call: Call[BillingUnitOfWork], uow: BillingUnitOfWork, clock: Clock
) -> IssuedDocument:
    """A draft as it would be if it were issued now.

    Raises: InvoiceNotFound; DocumentNotIssued where there is nothing that would be issued, or nobody who would.
    """
    view = await SqlBillingQueries(uow).get_invoice(invoice_id, customer_id=call.customer)
    draft = view.invoice
    if draft.status != "draft":
        return await uow.issued_documents.get(invoice_id, customer_id=call.customer)
    shown = await show_draft(draft, now=clock.business_now(await uow.test_clock(draft.clock_id)), uow=uow)
    profile = await uow.billing_profiles.find(draft.customer_id)
    seller_id = None if profile is None else profile.seller_id
    seller = await (uow.sellers.find_default() if seller_id is None else uow.sellers.find(seller_id))
    if seller is None:
        raise DocumentNotIssued("nobody would issue the draft", remedy="Add a seller.")
    facts = DocumentFacts(delivery=None if profile is None else profile.delivery)
    return document_of_invoice(shown.invoice, shown.lines, facts, seller=seller)


async def _statement(
    customer_id: str,
    call: Call[BillingUnitOfWork],
    uow: BillingUnitOfWork,
    clock: Clock,
    start_on: date | None,
    end_on: date | None,
) -> CustomerStatement:
    """Raises: CustomerNotFound, also when it is another portal's; LedgerDatesReversed, CustomerHasNoSeller, …"""
    customer = await uow.customers.find(customer_id)
    if customer is None or call.customer not in (None, customer_id):
        raise CustomerNotFound("no customer has this id")
    now = clock.business_now(await uow.test_clock(customer.clock_id))
    end = end_on or local_date(now, customer.zone or "UTC") + ONE_DAY
    start = start_on or end - DAYS_BY_DEFAULT * ONE_DAY
    if start >= end:
        raise LedgerDatesReversed("from must be before to", pointer="/from", remedy="Send dates in order.")
    return await CustomerStatements(uow).get(customer_id, start_on=start, end_on=end)

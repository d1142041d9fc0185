"""Proof over HTTP: why a line is what it is, whether an invoice can be derived again, and what shows it to others."""

from __future__ import annotations

from typing import Annotated

from starlette.responses import Response

from libs.common.web.bodies import identifier
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from services.billing.adapters.proof_queries import SqlProofQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.domain.verification import verify_invoice
from services.billing.entrypoints.proof_bodies import LineExplanationBody, ProofPartsBody, VerificationBody

PortalRead = Annotated[Call[BillingUnitOfWork], authorised("billing:read", portal=True)]
InvoiceId = Annotated[str, identifier("inv")]
LineId = Annotated[str, identifier("lin")]


def proof_router() -> LateRouter:
    router = LateRouter(prefix="/v1/invoices/{invoice_id}", tags=["proof"])

    @router.get("/lines/{line_id}/explanation", response_model=LineExplanationBody, summary="Explain a line")
    async def get_line_explanation(invoice_id: InvoiceId, line_id: LineId, call: PortalRead) -> Response:
        """Price, quantity, every step of the arithmetic, and the way to the very events; derived again and compared."""

        async def work(uow: BillingUnitOfWork) -> LineExplanationBody:
            queries = SqlProofQueries(uow)
            return LineExplanationBody.from_view(
                await queries.explain_line(invoice_id, line_id, customer_id=call.customer)
            )

        return await call.read(work)

    @router.get("/verification", response_model=VerificationBody, summary="Derive an invoice again")
    async def get_verification(invoice_id: InvoiceId, call: PortalRead) -> Response:
        """Lines, discounts, tax, totals and ledger, from what is stored: compared with what was issued, byte for byte."""

        async def work(uow: BillingUnitOfWork) -> VerificationBody:
            stored = await SqlProofQueries(uow).get_stored(invoice_id, customer_id=call.customer)
            return VerificationBody.from_domain(stored, verify_invoice(stored))

        return await call.read(work)

    @router.get("/proof", response_model=ProofPartsBody, summary="Show what an invoice was made from")
    async def get_proof(invoice_id: InvoiceId, call: PortalRead) -> Response:
        """Charges with their whole prices, and all else that the amounts follow from, to be checked by others."""

        async def work(uow: BillingUnitOfWork) -> ProofPartsBody:
            parts = await SqlProofQueries(uow).get_proof_parts(invoice_id, customer_id=call.customer)
            return ProofPartsBody.from_view(parts)

        return await call.read(work)

    return router

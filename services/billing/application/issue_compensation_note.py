"""Ask a customer to make good a damage: no supply, hence no tax, on a document of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.ids import new_id
from libs.common.money import Money
from services.billing.application.finalize_invoice import finalize_if_complete
from services.billing.application.make_deposit import OutsideScope, put_on_document
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.invoice import Invoice


@dataclass(frozen=True, slots=True)
class IssueCompensationNote:
    """`asset` is what was damaged or lost, by the name that its owner gave it."""

    customer_id: str
    amount: Money
    description: str
    zone: str | None
    subscription_id: str | None = None
    asset: str | None = None


async def issue_compensation_note(
    command: IssueCompensationNote, *, customer: CustomerDetails, now: datetime, uow: UnitOfWork
) -> Invoice:
    """`now` is the customer's business now. Compensation for damage or loss is outside the scope of tax (R16).

    Emits: InvoiceFinalized, InvoicePaid, CustomerBalanceChanged.
    """
    told = command.description if command.asset is None else f"{command.description} ({command.asset})"
    document = OutsideScope(
        group_id=new_id("doc"),
        document_kind="compensation",
        amount=command.amount,
        description=told,
        zone=command.zone,
        subscription_id=command.subscription_id,
    )
    draft = put_on_document(document, customer=customer, now=now, uow=uow)
    return await finalize_if_complete(draft, now=now, uow=uow)

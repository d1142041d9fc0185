"""Something happened of which a customer is told by mail: the mail waits, in the transaction of the fact."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from libs.common.telemetry import current_traceparent
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.contact_details import SellerDetails
from services.billing.domain.invoice import Invoice
from services.billing.domain.mail import Mail, MailKind, MailValue, mail_id
from services.billing.domain.seller import Seller

OWN_ADDRESS = "own"


def is_mailed(seller: Seller | None, kind: MailKind) -> bool:
    """Whether the seller has mails of this kind sent at all: not without an address to send them from."""
    details: SellerDetails | None = None if seller is None else seller.details
    if details is None or details.mail_from is None:
        return False
    return details.mails is None or kind in details.mails


def queue_mail(
    kind: MailKind,
    *,
    fact: str,
    seller: Seller | None,
    customer: CustomerDetails,
    profile: BillingProfile | None,
    now: datetime,
    uow: UnitOfWork,
    details: Mapping[str, MailValue] | None = None,
    invoice_id: str | None = None,
    credit_note_id: str | None = None,
    refund_id: str | None = None,
    subscription_id: str | None = None,
    traceparent: str | None = None,
) -> None:
    """Let each address of the customer hear of it, once: the ids are derived from `fact`, kind and address.

    `now` is the customer's business now, `fact` what names that which happened: the id of the invoice, of the payment,
    of the step. Nothing happens, and nothing is asked of the database, where the seller sends no such mails or the
    customer was erased. Whether an address takes mail is looked at when it is sent. `details` are what the text needs
    beyond the documents that are named: texts, ISO dates, amounts as `<name>_minor` in the document's currency.
    """
    if seller is None or not is_mailed(seller, kind) or customer.is_erased:
        return
    delivery = None if profile is None else profile.delivery
    others = () if delivery is None else delivery.mail_to
    for address in others or (None,):
        uow.mails.add(
            Mail(
                id=mail_id(fact, kind, address or OWN_ADDRESS),
                kind=kind,
                customer_id=customer.id,
                seller_id=seller.id,
                recipient=address or customer.email or "",
                to_own=address is None,
                details=dict(details or {}),
                invoice_id=invoice_id,
                credit_note_id=credit_note_id,
                refund_id=refund_id,
                subscription_id=subscription_id,
                occurred_at=now,
                traceparent=traceparent or current_traceparent(),
            )
        )


def queue_issued_mail(invoice: Invoice, *, now: datetime, uow: UnitOfWork) -> None:
    """An invoice was issued: with what it found of seller and customer."""
    queue_mail(
        "invoice",
        fact=invoice.id,
        seller=invoice.seller,
        customer=invoice.customer,
        profile=invoice.profile,
        now=now,
        uow=uow,
        invoice_id=invoice.id,
        subscription_id=invoice.subscription_id,
        traceparent=invoice.traceparent,
    )


async def queue_invoice_mail(
    kind: MailKind,
    invoice: Invoice,
    *,
    now: datetime,
    uow: UnitOfWork,
    fact: str | None = None,
    details: Mapping[str, MailValue] | None = None,
    credit_note_id: str | None = None,
    refund_id: str | None = None,
) -> None:
    """Something became of an issued invoice. `fact` of None is the invoice: a thing that happens to it once.

    Where mails go, and whether, is asked of seller and customer as they are now; of a seller who sends none, once a
    batch.
    """
    if invoice.seller is None:
        return
    seller = await uow.sellers.find(invoice.seller.id)
    if not is_mailed(seller, kind):
        return
    queue_mail(
        kind,
        fact=fact or invoice.id,
        seller=seller,
        customer=invoice.customer,
        profile=await uow.billing_profiles.find(invoice.customer_id),
        now=now,
        uow=uow,
        details=details,
        invoice_id=invoice.id,
        credit_note_id=credit_note_id,
        refund_id=refund_id,
        subscription_id=invoice.subscription_id,
    )


async def queue_customer_mail(
    kind: MailKind,
    customer_id: str,
    *,
    fact: str,
    now: datetime,
    uow: UnitOfWork,
    details: Mapping[str, MailValue] | None = None,
    refund_id: str | None = None,
    invoice_id: str | None = None,
) -> None:
    """Something that is about no issued document: in the name of who issues the customer's invoices."""
    if not await uow.mails.is_wanted():
        return
    customer = await uow.customers.find(customer_id)
    profile = await uow.billing_profiles.find(customer_id)
    seller_id = None if profile is None else profile.seller_id
    seller = await uow.sellers.find(seller_id) if seller_id is not None else await uow.sellers.find_default()
    if customer is None:
        return
    queue_mail(
        kind,
        fact=fact,
        seller=seller,
        customer=customer,
        profile=profile,
        now=now,
        uow=uow,
        details=details,
        refund_id=refund_id,
        invoice_id=invoice_id,
    )

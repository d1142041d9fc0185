"""A person wants a mail to go out: one that went before, or one about an invoice or an account, whoever it is for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from libs.common.errors import Conflict
from libs.common.ids import new_id
from services.billing.application.add_payment_method import CustomerNotFound
from services.billing.application.change_billing_profile import check_not_erased
from services.billing.application.issued_documents import DocumentNotIssued
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.invoice import Invoice
from services.billing.domain.mail import Mail, MailKind, MailUnderWay
from services.billing.domain.seller import Seller

NOT_ISSUED = ("draft", "skipped", "gathered")
ONE_DAY = timedelta(days=1)


class SellerSendsNoMails(Conflict):
    code = "seller_sends_no_mails"
    title = "The seller sends no mails"


class NoAddress(Conflict):
    code = "customer_has_no_address"
    title = "The customer has no mail address"


@dataclass(frozen=True, slots=True)
class MailInvoice:
    """`to` of None are the addresses of the customer. `now` is the invoice's business now."""

    invoice_id: str
    kind: MailKind
    now: datetime
    to: str | None = None
    locale: str | None = None


@dataclass(frozen=True, slots=True)
class MailStatement:
    """The account from `start_on` until before `end_on`. `to` of None are the addresses of the customer.

    `now` is the customer's business now.
    """

    customer_id: str
    seller_id: str
    start_on: date
    end_on: date
    now: datetime
    to: str | None = None
    locale: str | None = None


async def send_again(mail_id: str, *, uow: UnitOfWork) -> Mail:
    """A new mail like this one. Whoever asks knows that the address takes mail: it is written to again from now on.

    Raises: MailNotFound, MailUnderWay, CustomerNotFound, CustomerErased, NoAddress, SellerSendsNoMails.
    """
    mail = await uow.mails.get_for_update(mail_id)
    if mail.is_open:
        raise MailUnderWay("the mail has yet to be sent", remedy="Wait until it was, or could not be.")
    seller = await uow.sellers.find(mail.seller_id)
    _check_sends(seller)
    customer = await _customer(mail.customer_id, uow)
    return await _send(
        Mail(
            id=new_id("mail"),
            kind=mail.kind,
            customer_id=mail.customer_id,
            seller_id=mail.seller_id,
            recipient=(customer.email or "") if mail.to_own else mail.recipient,
            to_own=mail.to_own,
            locale=mail.locale,
            details=mail.details,
            invoice_id=mail.invoice_id,
            credit_note_id=mail.credit_note_id,
            refund_id=mail.refund_id,
            subscription_id=mail.subscription_id,
            again_of_id=mail.id,
            occurred_at=mail.occurred_at,
        ),
        uow=uow,
    )


async def mail_invoice(command: MailInvoice, invoice: Invoice, *, uow: UnitOfWork) -> list[Mail]:
    """Each time it is asked for, whatever went out before: one mail for each address.

    Raises: DocumentNotIssued, CustomerNotFound, CustomerErased, NoAddress, SellerSendsNoMails.
    """
    if invoice.status in NOT_ISSUED or invoice.seller is None:
        raise DocumentNotIssued(f"the invoice is {invoice.status}", remedy="Finalize it first.")
    mail = Mail(
        id="",
        kind=command.kind,
        customer_id=invoice.customer_id,
        seller_id=invoice.seller.id,
        recipient="",
        locale=command.locale,
        invoice_id=invoice.id,
        subscription_id=invoice.subscription_id,
        occurred_at=command.now,
    )
    return await _send_to_each(mail, to=command.to, uow=uow)


async def mail_statement(command: MailStatement, *, uow: UnitOfWork) -> list[Mail]:
    """Each time it is asked for: one mail for each address, with the account as it stands when the mail is sent.

    Raises: CustomerNotFound, CustomerErased, NoAddress, SellerSendsNoMails.
    """
    mail = Mail(
        id="",
        kind="statement",
        customer_id=command.customer_id,
        seller_id=command.seller_id,
        recipient="",
        locale=command.locale,
        details={
            "from_on": command.start_on.isoformat(),
            "to_on": (command.end_on - ONE_DAY).isoformat(),
        },
        occurred_at=command.now,
    )
    return await _send_to_each(mail, to=command.to, uow=uow)


async def _send_to_each(mail: Mail, *, to: str | None, uow: UnitOfWork) -> list[Mail]:
    """One like `mail` to each address of its customer, or to `to` alone."""
    _check_sends(await uow.sellers.find(mail.seller_id))
    customer = await _customer(mail.customer_id, uow)
    profile = await uow.billing_profiles.find(customer.id)
    delivery = None if profile is None else profile.delivery
    others = (to,) if to is not None else () if delivery is None else delivery.mail_to
    each = [replace(mail, recipient=address, to_own=False) for address in others]
    own = replace(mail, recipient=customer.email or "")
    return [await _send(replace(one, id=new_id("mail")), uow=uow) for one in each or [own]]


async def _send(mail: Mail, *, uow: UnitOfWork) -> Mail:
    if not mail.recipient:
        raise NoAddress(
            "nobody said where to write to", remedy="Give the customer a mail address, or name one."
        )
    await uow.mails.lift(mail.customer_id, mail.recipient)
    uow.mails.add(mail)
    uow.record("mail.asked_for", mail.id)
    return mail


async def _customer(id: str, uow: UnitOfWork) -> CustomerDetails:
    customer = await uow.customers.find(id)
    if customer is None:
        raise CustomerNotFound("no customer has this id")
    check_not_erased(customer)
    return customer


def _check_sends(seller: Seller | None) -> None:
    if seller is None or seller.details is None or seller.details.mail_from is None:
        raise SellerSendsNoMails(
            "the seller has no address to send mails from", remedy="Give it one: details.mail_from."
        )

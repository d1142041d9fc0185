"""Send mails that wait: which of them, whether there is still a reason to, and what became of each.

Three steps, as a payment is collected: the claim is committed, the mail is rendered and sent with no transaction
open, what became of it is written in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from libs.common.telemetry import current_traceparent
from services.billing.application import events
from services.billing.application.issued_documents import IssuedDocuments
from services.billing.application.mail_ports import Accepted, Delivery, Later, Refused, Unneeded
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.mail import (
    ADDRESS_BOUNCED,
    CUSTOMER_ERASED,
    GIVEN_UP,
    GIVEN_UP_AFTER,
    NO_ADDRESS,
    OUTCOME_UNKNOWN,
    SENT_AT_MOST_ONCE,
    Mail,
    Rendered,
    bounced,
    claimed,
    failed,
    pause_after,
    put_off,
    released,
    sent,
    suppressed,
)
from services.billing.domain.mail_contents import ABOUT_DOCUMENTS, ONLY_WHILE_DUE, MailMaterial
from services.billing.domain.seller import Seller

TRIES_MAX = 20  # with the pauses between them, about three days
RATE_WINDOW = timedelta(minutes=1)

NO_SELLER = "seller_sends_no_mails"
NOTHING_DUE = "nothing_due"
DOCUMENT_VOID = "document_void"
NEVER_SENT = "invoice_was_never_sent"
SANDBOX = "sandbox"


class MailShelf(Protocol):
    """The mails of one unit of work, as their sender needs them."""

    async def load_for_update(self, ids: Sequence[str]) -> None: ...

    async def customers(self, ids: Sequence[str]) -> dict[str, CustomerDetails]:
        """By their ids, in one statement."""
        ...

    async def too_old(self, ids: Sequence[str], *, age: timedelta) -> set[str]:
        """Those that waited for longer, by the database's clock, which dated them."""
        ...

    async def lock_rate(self) -> None: ...

    async def claimed_since(self, instant: datetime) -> int: ...

    async def note_claims(self, ids: Sequence[str], *, at: datetime) -> None: ...

    async def rest(self, ids: Sequence[str], *, until: datetime) -> None: ...

    async def was_sent(self, invoice_id: str) -> bool:
        """Whether a mail with the invoice itself went out."""
        ...


@dataclass(frozen=True, slots=True)
class SendingRules:
    """`per_minute` bounds what a tenant sends; None where nothing leaves the machine. `recognises_repeats`: the way out
    takes a mail twice and sends it once. `serves_sandboxes`: mails of sandbox tenants go out as well."""

    per_minute: int | None
    recognises_repeats: bool
    serves_sandboxes: bool


@dataclass(frozen=True, slots=True)
class ClaimedMail:
    """A mail that this process may send. `now` is the wall's."""

    tenant: str
    mail: Mail
    now: datetime

    @property
    def id(self) -> str:
        return self.mail.id

    @property
    def claimed_until(self) -> datetime:
        assert self.mail.claimed_until is not None, "it is claimed"
        return self.mail.claimed_until

    @property
    def traceparent(self) -> str | None:
        return self.mail.traceparent


@dataclass(frozen=True, slots=True)
class Handed:
    """What the way out said of a mail, and how it read."""

    delivery: Delivery | Unneeded
    rendered: Rendered | None = None
    message_id: str | None = None
    at: datetime | None = None


async def claim_mails(
    ids: Sequence[str],
    *,
    until: datetime,
    now: datetime,
    rules: SendingRules,
    is_sandbox: bool,
    shelf: MailShelf,
    uow: UnitOfWork,
) -> list[ClaimedMail]:
    """Mark those that are to be sent, until `until` by the wall. The others end here, or wait for their turn.

    Of one whose earlier claim ran out nobody knows whether it went: it goes once more, unless its kind is sent at most
    once. A customer's own address is the newest one.
    """
    await shelf.load_for_update(ids)
    found = [mail for id in ids if (mail := await uow.mails.find_for_update(id)) is not None and mail.is_open]
    customers = await shelf.customers(sorted({mail.customer_id for mail in found}))
    refused = await uow.mails.suppressed_addresses({mail.customer_id for mail in found})
    stale = await shelf.too_old([mail.id for mail in found], age=GIVEN_UP_AFTER)
    wanted: list[Mail] = []
    for mail in found:
        customer = customers.get(mail.customer_id)
        mail = _addressed(mail, customer)
        if mail.state == "sending" and mail.kind in SENT_AT_MOST_ONCE and not rules.recognises_repeats:
            uow.mails.save(failed(mail, OUTCOME_UNKNOWN))
        elif mail.id in stale or mail.tries >= TRIES_MAX:
            uow.mails.save(failed(mail, GIVEN_UP))
        elif (reason := _reason_not_to(mail, customer, refused)) is not None:
            uow.mails.save(suppressed(mail, reason))
        elif is_sandbox and not rules.serves_sandboxes:
            uow.mails.save(suppressed(mail, SANDBOX))
        else:
            wanted.append(mail)
    allowed = await _allowed(wanted, rules, now=now, shelf=shelf)
    claims = [ClaimedMail(uow.tenant, claimed(mail, until=until), now) for mail in allowed]
    for claim in claims:
        uow.mails.save(claim.mail)
    return claims


def _addressed(mail: Mail, customer: CustomerDetails | None) -> Mail:
    if not mail.to_own or customer is None or customer.email in (None, mail.recipient):
        return mail
    return replace(mail, recipient=customer.email or "")


def _reason_not_to(mail: Mail, customer: CustomerDetails | None, refused: set[tuple[str, str]]) -> str | None:
    if customer is not None and customer.is_erased:
        return CUSTOMER_ERASED
    if not mail.recipient:
        return NO_ADDRESS
    return ADDRESS_BOUNCED if (mail.customer_id, mail.recipient.casefold()) in refused else None


async def _allowed(
    wanted: Sequence[Mail], rules: SendingRules, *, now: datetime, shelf: MailShelf
) -> Sequence[Mail]:
    """As many as the tenant may send by now; the others are looked at again in a while."""
    if rules.per_minute is None or not wanted:
        return wanted
    await shelf.lock_rate()
    room = max(0, rules.per_minute - await shelf.claimed_since(now - RATE_WINDOW))
    await shelf.note_claims([mail.id for mail in wanted[:room]], at=now)
    await shelf.rest([mail.id for mail in wanted[room:]], until=now + RATE_WINDOW / 4)
    return wanted[:room]


async def material_for(
    mail: Mail, *, documents: IssuedDocuments, shelf: MailShelf, uow: UnitOfWork
) -> MailMaterial | Unneeded:
    """All that it is made from, as it stands now; or why nobody needs it any more.

    Raises: InvoiceNotFound, CreditNoteNotFound, DocumentNotIssued.
    """
    seller = await uow.sellers.find(mail.seller_id)
    if seller is None or not _can_send(seller):
        return Unneeded(NO_SELLER)
    customer = await uow.customers.find(mail.customer_id)
    if mail.kind not in ABOUT_DOCUMENTS:
        customer = customer or CustomerDetails(mail.customer_id, 0, mail.recipient, None, None, None)
        zone = mail.details.get("zone")
        return MailMaterial(mail, seller, customer, zone=str(zone) if zone else customer.zone or "UTC")
    id = mail.credit_note_id or mail.invoice_id
    assert id is not None, "it is about a document"
    document = await documents.get(id)
    if mail.kind == "invoice" and document.is_void:
        return Unneeded(DOCUMENT_VOID)
    if mail.kind in ONLY_WHILE_DUE and (document.status != "finalized" or document.due.amount_minor <= 0):
        return Unneeded(NOTHING_DUE)
    if mail.kind == "invoice_voided" and not await shelf.was_sent(id):
        return Unneeded(NEVER_SENT)
    method = await uow.payment_methods.find_default(mail.customer_id)
    return MailMaterial(
        mail,
        seller,
        customer or document.buyer,
        document=document,
        is_collected=method is not None and not _pays_by_transfer(document.profile),
        zone=document.zone,
    )


def _can_send(seller: Seller) -> bool:
    return seller.details is not None and seller.details.mail_from is not None


def _pays_by_transfer(profile: object) -> bool:
    return getattr(profile, "pays_by", None) == "bank_transfer"


async def record_mail(claim: ClaimedMail, told: Handed, *, uow: UnitOfWork) -> None:
    """Write down what became of it. Whoever lost his claim writes nothing: who has it now learns the same.

    Emits: MailBounced.
    """
    mail = await uow.mails.find_for_update(claim.id)
    if mail is None or not mail.is_open or mail.version != claim.mail.version:
        return
    delivery = told.delivery
    if isinstance(delivery, Accepted):
        assert told.rendered is not None
        assert told.message_id is not None
        assert told.at is not None
        uow.mails.save(sent(mail, told.rendered, message_id=told.message_id, at=told.at))
    elif isinstance(delivery, Later):
        if mail.tries >= TRIES_MAX:
            uow.mails.save(failed(mail, delivery.reason))
        else:
            until = claim.now + pause_after(mail.tries)
            uow.mails.save(put_off(mail, until=until, reason=delivery.reason))
    elif isinstance(delivery, Unneeded):
        uow.mails.save(suppressed(mail, delivery.reason))
    else:
        await bounce(mail, delivery, message_id=told.message_id, now=claim.now, uow=uow)


async def bounce(
    mail: Mail, refused: Refused, *, message_id: str | None, now: datetime, uow: UnitOfWork
) -> Mail:
    """The mail came back, now or later; `mail` is locked. Where it is the address, nothing more is sent to it.

    Emits: MailBounced.
    """
    back = bounced(mail, refused.reason, message_id=message_id)
    uow.mails.save(back)
    if refused.is_address:
        await uow.mails.suppress(back, refused.reason, at=now)
    uow.outbox.append(
        events.mail_bounced(back, is_address=refused.is_address, occurred_at=now, tenant=uow.tenant),
        key=back.id,
        traceparent=current_traceparent() or back.traceparent,
    )
    uow.record("mail.bounced", back.id, back.version)
    return back


async def release_mail(claim: ClaimedMail, *, uow: UnitOfWork) -> None:
    """Nobody began to send it: it is due again at once."""
    mail = await uow.mails.find_for_update(claim.id)
    if mail is not None and mail.is_open and mail.version == claim.mail.version:
        uow.mails.save(replace(released(mail), retry_at=None))

"""A mail as a message of RFC 5322: headers that nobody's name can break, both texts, and what is attached."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from libs.common.errors import RuleViolation
from libs.common.periods import local_date
from services.billing.adapters.mail_renderer import clean
from services.billing.application.mail_ports import Attachment, OutgoingMail
from services.billing.domain.mail import Rendered
from services.billing.domain.mail_contents import MailMaterial

# Of RFC 5322 what mailboxes really have: letters, digits and signs, and a domain of names.
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
)


class AddressUnusable(RuleViolation):
    """Nothing can be sent to it: it is no address of a mailbox, or one that needs what few servers offer (RFC 6531)."""

    code = "address_unusable"
    title = "The address cannot be written to"


class MessageComposer:
    """`sender` stands in From for sellers whose own domain this installation may not send for; they get the answers."""

    def __init__(self, *, sender: str | None = None) -> None:
        self._sender = None if sender is None else usable_address(sender)

    def compose(
        self,
        material: MailMaterial,
        rendered: Rendered,
        attachments: Sequence[Attachment],
        *,
        tenant: str,
        message_id: str,
        sent_at: datetime,
    ) -> OutgoingMail:
        """Raises: AddressUnusable."""
        mail, seller, details = material.mail, material.seller, material.seller.details
        assert details is not None
        assert details.mail_from is not None, "only who has an address sends mails"
        sender, own = self._sender or usable_address(details.mail_from), usable_address(details.mail_from)
        recipient = usable_address(mail.recipient)
        message = EmailMessage(policy=SMTP)
        message["From"] = Address(clean(seller.name), addr_spec=sender)
        message["To"] = Address(clean(material.customer.name) if mail.to_own else "", addr_spec=recipient)
        message["Reply-To"] = usable_address(details.email) if details.email else own
        message["Subject"] = clean(rendered.subject)
        message["Date"] = format_datetime(sent_at)
        message["Message-ID"] = message_id
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(rendered.text, cte="quoted-printable")
        message.add_alternative(rendered.html, subtype="html", cte="quoted-printable")
        for attachment in attachments:
            maintype, _, subtype = attachment.media_type.partition("/")
            message.add_attachment(
                attachment.content, maintype=maintype, subtype=subtype, filename=attachment.name
            )
        return OutgoingMail(
            tenant=tenant,
            mail=mail,
            on=local_date(mail.occurred_at, material.zone),
            sender=sender,
            recipient=recipient,
            message=message.as_bytes(),
        )


def usable_address(address: str) -> str:
    """The address as it travels: its domain in letters of ASCII.

    Raises: AddressUnusable.
    Source: RFC 5321, 2.3.5 and 4.1.2; RFC 5891, 4.4.
    """
    local, _, domain = address.strip().rpartition("@")
    try:
        ascii_domain = domain.encode("idna").decode("ascii")
    except UnicodeError:
        ascii_domain = ""
    if not _LOCAL.fullmatch(local) or len(local) > 64 or not _DOMAIN.fullmatch(ascii_domain):
        raise AddressUnusable("the address is none that mail can be sent to", remedy="Choose another one.")
    return f"{local}@{ascii_domain}"

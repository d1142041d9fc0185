"""A notice came that a mail was not delivered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.billing.application.mail_ports import Refused
from services.billing.application.ports import UnitOfWork
from services.billing.application.send_mail import bounce
from services.billing.domain.mail import Mail


@dataclass(frozen=True, slots=True)
class RecordBounce:
    """`now` is the wall's. One that is not permanent says only that it takes longer."""

    mail_id: str
    reason: str
    is_permanent: bool
    is_address: bool
    now: datetime


async def record_bounce(command: RecordBounce, *, uow: UnitOfWork) -> Mail:
    """A mail comes back once: what is told again, or of one that never went out, changes nothing.

    Emits: MailBounced. Raises: MailNotFound.
    """
    mail = await uow.mails.get_for_update(command.mail_id)
    if not command.is_permanent or mail.state not in ("sent", "sending"):
        return mail
    refused = Refused(command.reason, is_address=command.is_address)
    return await bounce(mail, refused, message_id=None, now=command.now, uow=uow)

"""What sending mails needs from outside: words for what they say, files that go with them, a way out of the house."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from libs.common.errors import TransientError
from services.billing.domain.mail import Mail, MailKind, Rendered
from services.billing.domain.mail_contents import MailContents, MailMaterial
from services.billing.domain.mail_template import MailTemplate
from services.billing.domain.seller import Seller


class MailOutcomeUnknown(TransientError):
    """The other side may have taken it: the connection broke before it answered."""

    code = "mail_outcome_unknown"
    title = "Nobody knows whether the mail was taken"


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """A whole message, and on which envelope it goes. `on` is the date of which it tells."""

    tenant: str
    mail: Mail
    on: date
    sender: str
    recipient: str
    message: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """It is out of the house."""


@dataclass(frozen=True, slots=True)
class Later:
    """It was surely not taken, and may be taken later."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It was refused for good. `is_address`: it is the address that takes nothing, whatever it is."""

    reason: str
    is_address: bool


@dataclass(frozen=True, slots=True)
class Unneeded:
    """By now there is no reason to send it."""

    reason: str


Delivery = Accepted | Later | Refused


class MailTransport(Protocol):
    """`recognises_repeats`: the same mail given twice goes out once. `reaches_people`: it leaves the machine."""

    recognises_repeats: bool
    reaches_people: bool

    async def send(self, outgoing: OutgoingMail) -> Delivery:
        """Raises: MailOutcomeUnknown."""
        ...

    async def close(self) -> None: ...


class MailRenderer(Protocol):
    def render(
        self,
        contents: MailContents,
        *,
        seller: Seller,
        language: str | None,
        own: Mapping[tuple[MailKind, str], MailTemplate],
    ) -> Rendered:
        """In the language nearest to the one that is wanted."""
        ...


class MailComposer(Protocol):
    def compose(
        self,
        material: MailMaterial,
        rendered: Rendered,
        attachments: Sequence[Attachment],
        *,
        tenant: str,
        message_id: str,
        sent_at: datetime,
    ) -> OutgoingMail: ...


class Mails(Protocol):
    async def is_wanted(self) -> bool:
        """Whether any seller of the tenant sends mails. Asked once for each unit of work."""
        ...

    async def find_for_update(self, id: str) -> Mail | None: ...

    async def get_for_update(self, id: str) -> Mail: ...

    def add(self, aggregate: Mail) -> None:
        """One whose id is known stays as it is."""
        ...

    def save(self, aggregate: Mail) -> None: ...

    async def suppressed_addresses(self, customer_ids: Iterable[str]) -> set[tuple[str, str]]:
        """Pairs of customer and address, in small letters, that take no mail."""
        ...

    async def suppress(self, bounced: Mail, reason: str, *, at: datetime) -> None: ...

    async def lift(self, customer_id: str, address: str) -> None:
        """Somebody knows that the address takes mail again."""
        ...

    async def forget(self, customer_id: str) -> None:
        """The customer was erased."""
        ...


class MailTemplates(Protocol):
    async def find_for_update(self, id: str) -> MailTemplate | None: ...

    def add(self, aggregate: MailTemplate) -> None: ...

    def save(self, aggregate: MailTemplate) -> None: ...

    async def remove(self, template: MailTemplate) -> None: ...

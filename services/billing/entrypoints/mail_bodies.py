"""Request and response bodies of mails, of texts in a tenant's own words, of what came back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from libs.common.web.bodies import BusinessDate, Instant, StrictBody, identifier
from libs.common.web.contact_bodies import Email, Locale
from services.billing.application.record_bounce import RecordBounce
from services.billing.domain.delivery_notice import mail_id_in
from services.billing.domain.mail import Mail, MailKind, MailState, Rendered
from services.billing.domain.mail_contents import example_names
from services.billing.domain.mail_template import MailTemplate

MailId = Annotated[str, identifier("mail")]
InvoiceMailKind = Literal["invoice", "dunning_reminder"]
TEXT_LENGTH_MAX = 4_000

Subject = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\r\n]+$"),
    Field(examples=["{{document}} {{number}} for your records"]),
]
MessageId = Annotated[
    str, Field(max_length=998, examples=["<mail_01jz3v6m1qk0c8n4r2d5s7t9wx@engines.example>"])
]
Intro = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_LENGTH_MAX),
    Field(examples=["Your {{document}} {{number}} is attached.\n\nThank you for flying with us."]),
]


class MailBody(StrictBody):
    """One message to one address. `state`: `pending` or `sending`; `sent`; `bounced`, when it was refused or came back;
    `failed`, when it could not be sent; `suppressed`, when it should not be. `reason` says why.

    `subject`, and where one mail is shown `text` and `html`, are as they were sent. `attached` are the files' names.
    """

    id: str = Field(examples=["mail_01jz3v6m1qk0c8n4r2d5s7t9wx"])
    kind: MailKind
    state: MailState
    reason: str | None = Field(examples=[None])
    customer_id: str = Field(examples=["cus_01jz3v6m1qk0c8n4r2d5s7t9wx"])
    to: str = Field(examples=["accounts@delta.example"])
    locale: str | None
    invoice_id: str | None
    credit_note_id: str | None
    refund_id: str | None
    subscription_id: str | None
    again_of_id: str | None
    message_id: str | None = Field(examples=["<mail_01jz3v6m1qk0c8n4r2d5s7t9wx@engines.example>"])
    subject: str | None = Field(examples=["Your invoice INV-000042 from Engines Inc."])
    text: str | None = None
    html: str | None = None
    attached: list[str] = Field(examples=[["INV-000042.pdf"]])
    tries: int
    occurred_at: Instant
    created_at: Instant | None
    sent_at: Instant | None
    version: int

    @classmethod
    def from_domain(cls, mail: Mail) -> Self:
        return cls(
            id=mail.id,
            kind=mail.kind,
            state=mail.state,
            reason=mail.reason,
            customer_id=mail.customer_id,
            to=mail.recipient,
            locale=mail.locale,
            invoice_id=mail.invoice_id,
            credit_note_id=mail.credit_note_id,
            refund_id=mail.refund_id,
            subscription_id=mail.subscription_id,
            again_of_id=mail.again_of_id,
            message_id=mail.message_id,
            subject=mail.subject,
            text=mail.text_body,
            html=mail.html_body,
            attached=list(mail.attached),
            tries=mail.tries,
            occurred_at=mail.occurred_at,
            created_at=mail.created_at,
            sent_at=mail.sent_at,
            version=mail.version,
        )


class MailsBody(StrictBody):
    """The mails that were made, one for each address."""

    data: list[MailBody]

    @classmethod
    def from_domain(cls, mails: Iterable[Mail]) -> Self:
        return cls(data=[MailBody.from_domain(mail) for mail in mails])


class NewInvoiceMailBody(StrictBody):
    """Without `to` it goes to the customer's addresses, without `locale` in the customer's language."""

    kind: InvoiceMailKind = "invoice"
    to: Email | None = None
    locale: Locale | None = None


class NewStatementMailBody(StrictBody):
    """The account from `start_on` until before `end_on`: by default the last 90 days, with today.

    Without `to` it goes to the customer's addresses, without `locale` in the customer's language.
    """

    start_on: BusinessDate | None = None
    end_on: BusinessDate | None = None
    to: Email | None = None
    locale: Locale | None = None


class MailBounceBody(StrictBody):
    """What a provider tells of a mail: by its id or its Message-ID. One that is not `permanent` changes nothing.

    `is_address`: nothing is taken at that address, so that nothing more is sent to it.
    """

    mail_id: MailId | None = None
    message_id: MessageId | None = None
    permanent: bool = True
    is_address: bool = True
    reason: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
        Field(examples=["550 5.1.1 no such mailbox"]),
    ]

    @model_validator(mode="after")
    def _which(self) -> Self:
        if (self.mail_id is None) == (self.message_id is None):
            raise ValueError("names the mail by its mail_id or by its message_id")
        if self.message_id is not None and mail_id_in(self.message_id) is None:
            raise ValueError("the message_id is none of a mail that was sent from here")
        return self

    def to_command(self, now: Instant) -> RecordBounce:
        id = self.mail_id or mail_id_in(self.message_id or "")
        assert id is not None, "it was checked"
        return RecordBounce(id, self.reason, self.permanent, self.is_address, now)


class MailTextBody(StrictBody):
    """Words of your own; of a part that is null, those that ship are used. Values are named as `{{number}}`."""

    subject: Subject | None = None
    intro: Intro | None = None


class MailExampleBody(StrictBody):
    """How a mail with these words looks, about nothing that happened."""

    subject: str
    text: str
    html: str


class MailTemplateBody(StrictBody):
    """`values` may be named in the texts. In version 0 nothing of it was changed."""

    kind: MailKind
    locale: str = Field(examples=["de-CH"])
    subject: str | None
    intro: str | None
    values: list[str] = Field(examples=[["customer", "number", "seller"]])
    version: int
    example: MailExampleBody | None = None

    @classmethod
    def from_domain(cls, template: MailTemplate, example: Rendered | None = None) -> Self:
        shown = None
        if example is not None:
            shown = MailExampleBody(subject=example.subject, text=example.text, html=example.html)
        return cls(
            kind=template.kind,
            locale=template.locale,
            subject=template.subject,
            intro=template.intro,
            values=sorted(example_names(template.kind)),
            version=template.version,
            example=shown,
        )

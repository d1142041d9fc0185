"""A message to a customer: what it is about, to whom it goes, and what has become of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, get_args

from libs.common.errors import Conflict, NotFound
from libs.common.ids import derived_id

MailKind = Literal[
    "invoice",
    "receipt",
    "partial_payment",
    "credit_note",
    "refund",
    "invoice_voided",
    "payment_failed",
    "payment_action",
    "dunning_reminder",
    "dunning_final_reminder",
    "dunning_suspended",
    "dunning_ended",
    "trial_ending",
    "renewal_upcoming",
    "cancellation_receipt",
    "withdrawal_receipt",
    "subscription_recovered",
    "subscription_ended",
    "statement",
]
MailState = Literal["pending", "sending", "sent", "failed", "bounced", "suppressed"]
MailValue = str | int | None

MAIL_KINDS: tuple[MailKind, ...] = get_args(MailKind)

# A second copy of these is worse than none, since another of their kind follows anyway. All others must arrive: where
# nobody knows whether one went out it goes once more, with the same Message-ID.
SENT_AT_MOST_ONCE: frozenset[MailKind] = frozenset(
    {"payment_failed", "payment_action", "dunning_reminder", "trial_ending"}
)

PAUSE_FIRST, PAUSE_LAST = timedelta(minutes=1), timedelta(hours=6)
GIVEN_UP_AFTER = timedelta(days=3)

GIVEN_UP = "given_up"
OUTCOME_UNKNOWN = "outcome_unknown"
CUSTOMER_ERASED = "customer_erased"
NO_ADDRESS = "no_address"
ADDRESS_BOUNCED = "address_bounced"
NOT_RENDERED = "not_rendered"


class MailNotFound(NotFound):
    code = "mail_not_found"
    title = "There is no such mail"


class MailUnderWay(Conflict):
    code = "mail_under_way"
    title = "The mail is being sent"


@dataclass(frozen=True, slots=True)
class Mail:
    """One message to one address. `details` are what its text needs beyond the documents that it names.

    `to_own`: the address is the customer's own, so that the newest one of it is used. `locale` of None is found when it
    is sent. `occurred_at` is when that happened of which it tells, by the customer's clock; all else is the wall's time,
    as nobody's mailbox lives by a test clock. `created_at` and `due_at` are set by the table. `sending` with a
    `claimed_until` that has passed means *unknown*.
    `attached` are the names of the files that went with it.
    """

    id: str
    kind: MailKind
    customer_id: str
    seller_id: str
    recipient: str
    occurred_at: datetime
    state: MailState = "pending"
    to_own: bool = True
    locale: str | None = None
    details: Mapping[str, MailValue] = field(default_factory=dict)
    invoice_id: str | None = None
    credit_note_id: str | None = None
    refund_id: str | None = None
    subscription_id: str | None = None
    again_of_id: str | None = None
    message_id: str | None = None
    subject: str | None = None
    text_body: str | None = None
    html_body: str | None = None
    attached: tuple[str, ...] = ()
    tries: int = 0
    reason: str | None = None
    claimed_until: datetime | None = None
    sent_at: datetime | None = None
    created_at: datetime | None = None
    due_at: datetime | None = None
    retry_at: datetime | None = None
    traceparent: str | None = None
    version: int = 1

    @property
    def is_open(self) -> bool:
        return self.state in ("pending", "sending")


def mail_id(fact: str, kind: MailKind, recipient: str) -> str:
    """Derived from what happened, so that each address hears of it once, however often it is told."""
    return derived_id("mail", fact, kind, recipient.casefold())


def message_id_of(id: str, sender: str) -> str:
    """The Message-ID of a mail, by which a second copy of it, and a notice that it bounced, are recognised."""
    return f"<{id}@{sender.rpartition('@')[2].lower()}>"


def claimed(mail: Mail, *, until: datetime) -> Mail:
    """While it is being sent; committed before it is."""
    return replace(mail, state="sending", claimed_until=until, tries=mail.tries + 1, version=mail.version + 1)


def released(mail: Mail) -> Mail:
    """Claimed, and then not sent after all."""
    return replace(
        mail, state="pending", claimed_until=None, tries=max(mail.tries - 1, 0), version=mail.version + 1
    )


def put_off(mail: Mail, *, until: datetime, reason: str) -> Mail:
    """It did not go out, and may later."""
    return replace(
        mail, state="pending", claimed_until=None, retry_at=until, reason=reason, version=mail.version + 1
    )


@dataclass(frozen=True, slots=True)
class Rendered:
    """A mail as it reads."""

    subject: str
    text: str
    html: str
    attached: tuple[str, ...] = ()


def sent(mail: Mail, rendered: Rendered, *, message_id: str, at: datetime) -> Mail:
    return replace(
        _ended(mail, "sent", None),
        message_id=message_id,
        subject=rendered.subject,
        text_body=rendered.text,
        html_body=rendered.html,
        attached=rendered.attached,
        sent_at=at,
    )


def failed(mail: Mail, reason: str) -> Mail:
    return _ended(mail, "failed", reason)


def suppressed(mail: Mail, reason: str) -> Mail:
    """Not sent, since it should not be."""
    return _ended(mail, "suppressed", reason)


def bounced(mail: Mail, reason: str, *, message_id: str | None = None) -> Mail:
    """The address does not take it: said at once, or in a notice that came later."""
    return replace(_ended(mail, "bounced", reason), message_id=message_id or mail.message_id)


def pause_after(tries: int) -> timedelta:
    """Before the next try, after this many."""
    doublings = min(max(tries - 1, 0), 16)
    return min(PAUSE_FIRST * (1 << doublings), PAUSE_LAST)


def _ended(mail: Mail, state: MailState, reason: str | None) -> Mail:
    return replace(
        mail,
        state=state,
        reason=reason,
        claimed_until=None,
        due_at=None,
        retry_at=None,
        version=mail.version + 1,
    )

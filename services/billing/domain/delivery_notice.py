"""A mail server's notice of what became of a mail: which one it was, and whether it is over with it.

Source: RFC 3464; enhanced status codes are those of RFC 3463.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message

from libs.common.errors import InvalidInput
from libs.common.ids import ALPHABET, BODY_LENGTH

REASON_LENGTH_MAX = 500
_MAIL_ID = re.compile(rf"\bmail_[{ALPHABET}]{{{BODY_LENGTH}}}(?=@)")
# Of the mailbox: it is not there, has moved, or is switched off.
_ADDRESS = re.compile(r"5\.1\.[0-9]+|5\.2\.1")


class NoticeUnreadable(InvalidInput):
    code = "delivery_notice_unreadable"
    title = "The notice cannot be read"


@dataclass(frozen=True, slots=True)
class DeliveryNotice:
    """`is_permanent`: it was given up. `is_address`: since nothing is taken at that address."""

    mail_id: str
    is_permanent: bool
    is_address: bool
    reason: str


def mail_id_in(message_id: str) -> str | None:
    """Which mail of ours has this Message-ID."""
    found = _MAIL_ID.search(message_id)
    return None if found is None else found[0]


def is_about_address(status: str) -> bool:
    return _ADDRESS.fullmatch(status) is not None


def read_notice(raw: bytes) -> DeliveryNotice:
    """Raises: NoticeUnreadable, where it is no notice, or about no mail of ours."""
    message = message_from_bytes(raw)
    recipient = next(_recipients(message), None)
    if recipient is None:
        raise NoticeUnreadable(
            "it holds no message/delivery-status", remedy="Send the whole notice as it came (RFC 3464)."
        )
    mail_id = _mail_of(message) or mail_id_in(raw.decode("ascii", "replace"))
    if mail_id is None:
        raise NoticeUnreadable("it names no mail that was sent from here by its Message-ID")
    status = _field(recipient, "status").split(" ")[0]
    told = _field(recipient, "diagnostic-code").partition(";")[2].strip() or status or "refused"
    return DeliveryNotice(
        mail_id=mail_id,
        is_permanent=_field(recipient, "action").lower() == "failed",
        is_address=is_about_address(status),
        reason=told[:REASON_LENGTH_MAX],
    )


def _recipients(message: Message) -> Iterator[Message]:
    """What is said of each recipient: the fields of the whole message come first, and say no action."""
    for part in message.walk():
        if part.get_content_type() != "message/delivery-status" or not part.is_multipart():
            continue
        for block in part.get_payload():
            if isinstance(block, Message) and block.get("action") is not None:
                yield block


def _mail_of(message: Message) -> str | None:
    """By the Message-ID of the mail that is sent back with the notice, whole or its headers alone."""
    for part in message.walk():
        kind = part.get_content_type()
        if kind == "message/rfc822" and part.is_multipart():
            for inner in part.get_payload():
                if isinstance(inner, Message) and (found := mail_id_in(_field(inner, "message-id"))):
                    return found
        if kind == "text/rfc822-headers":
            text = part.get_payload()
            if isinstance(text, str) and (found := mail_id_in(text)):
                return found
    return None


def _field(message: Message, name: str) -> str:
    return " ".join(str(message.get(name, "")).split())

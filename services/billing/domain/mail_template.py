"""What a tenant says in his own words: the subject and the first words of one kind of mail, in one language."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.errors import NotFound
from libs.common.ids import derived_id
from services.billing.domain.mail import MailKind


class MailTemplateNotFound(NotFound):
    code = "mail_template_not_found"
    title = "There is no such mail template"


@dataclass(frozen=True, slots=True)
class MailTemplate:
    """Of a part that is None, the words that ship with the program are used."""

    id: str
    kind: MailKind
    locale: str
    created_at: datetime
    subject: str | None = None
    intro: str | None = None
    version: int = 1


def template_id(tenant: str, kind: MailKind, locale: str) -> str:
    """One for each kind and locale of a tenant."""
    return derived_id("mtp", tenant, kind, locale)

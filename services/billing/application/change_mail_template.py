"""A tenant says something in his own words, or goes back to those that ship with the program."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.errors import InputError, InvalidInput
from services.billing.application.ports import UnitOfWork
from services.billing.domain.mail import MailKind
from services.billing.domain.mail_contents import example_names
from services.billing.domain.mail_template import MailTemplate, MailTemplateNotFound, template_id
from services.billing.domain.placeholders import faults_in


class MailTextInvalid(InvalidInput):
    code = "mail_text_invalid"
    title = "The text cannot be used"


class MailLanguageUnknown(InvalidInput):
    code = "mail_language_unknown"
    title = "There are no mails in this language"


@dataclass(frozen=True, slots=True)
class ChangeMailTemplate:
    kind: MailKind
    locale: str
    subject: str | None
    intro: str | None


def check_language(locale: str, languages: Collection[str]) -> None:
    """Raises: MailLanguageUnknown."""
    if locale.split("-")[0] not in languages:
        raise MailLanguageUnknown(
            f"mails are written in {', '.join(sorted(languages))}",
            pointer="/locale",
            remedy="Choose one of these languages, with a region if you like, such as de-CH.",
        )


async def change_mail_template(
    command: ChangeMailTemplate,
    *,
    languages: Collection[str],
    now: datetime,
    uow: UnitOfWork,
    check_version: Callable[[int], None],
) -> MailTemplate:
    """For mails that are sent from now on. The version of words that nobody changed is 0.

    Raises: MailTextInvalid, with every fault and its line; MailLanguageUnknown, and what `check_version` raises.
    """
    check_language(command.locale, languages)
    _check_texts(command)
    id = template_id(uow.tenant, command.kind, command.locale)
    known = await uow.mail_templates.find_for_update(id)
    check_version(0 if known is None else known.version)
    if known is None:
        made = MailTemplate(id, command.kind, command.locale, now, command.subject, command.intro)
        uow.mail_templates.add(made)
        uow.record("mail_template.made", made.id)
        return made
    changed = replace(known, subject=command.subject, intro=command.intro, version=known.version + 1)
    uow.mail_templates.save(changed)
    uow.record("mail_template.changed", changed.id, changed.version)
    return changed


async def remove_mail_template(
    kind: MailKind, locale: str, *, uow: UnitOfWork, check_version: Callable[[int], None]
) -> None:
    """Raises: MailTemplateNotFound, and what `check_version` raises."""
    known = await uow.mail_templates.find_for_update(template_id(uow.tenant, kind, locale))
    if known is None:
        raise MailTemplateNotFound("the tenant says nothing of his own there")
    check_version(known.version)
    await uow.mail_templates.remove(known)
    uow.record("mail_template.removed", known.id, known.version)


def _check_texts(command: ChangeMailTemplate) -> None:
    known = example_names(command.kind)
    texts = {"subject": command.subject, "intro": command.intro}
    errors: list[InputError] = [
        {"pointer": f"/{part}", "detail": f"line {fault.line}: {fault.problem}"}
        for part, text in texts.items()
        if text is not None
        for fault in faults_in(text, known)
    ]
    if errors:
        named = ", ".join(f"{{{{{name}}}}}" for name in sorted(known))
        raise MailTextInvalid("the text names what is not there", errors=errors, remedy=f"There are {named}.")

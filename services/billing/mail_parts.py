"""What mails are made and sent with, as the settings of the process say: a part of the bootstrap."""

from __future__ import annotations

from collections.abc import Mapping

from libs.common.settings import InvalidSettings
from services.billing.adapters.mail_attachments import DocumentFiles
from services.billing.adapters.mail_folder import MailFolder
from services.billing.adapters.mail_message import AddressUnusable, MessageComposer
from services.billing.adapters.mail_renderer import TemplateRenderer
from services.billing.adapters.smtp_transport import SmtpTransport, SmtpUrlInvalid, smtp_server
from services.billing.application.mail_ports import MailTransport
from services.billing.application.make_e_invoice import EInvoiceWriter
from services.billing.application.render_document import DocumentRenderer
from services.billing.application.send_mail import SendingRules
from services.billing.entrypoints.mail_job import MailParts
from services.billing.settings import MailSettings, SmtpCredentials


def mail_parts(
    environment: Mapping[str, str], *, documents: DocumentRenderer, e_invoices: EInvoiceWriter
) -> MailParts | None:
    """None where no way out is set: mails wait until one is.

    Raises: InvalidSettings.
    """
    settings = MailSettings.from_environment(environment)
    transport = _transport(settings, environment)
    if transport is None:
        return None
    return MailParts(
        transport=transport,
        renderer=TemplateRenderer(),
        composer=_composer(settings),
        rules=SendingRules(
            per_minute=settings.mails_per_minute if transport.reaches_people else None,
            recognises_repeats=transport.recognises_repeats,
            serves_sandboxes=settings.mail_sandboxes or not transport.reaches_people,
        ),
        attach=DocumentFiles(documents, e_invoices),
        calls_at_once=settings.mails_at_once,
        claim_s=settings.mail_claim_s,
    )


def _transport(settings: MailSettings, environment: Mapping[str, str]) -> MailTransport | None:
    if not settings.smtp_url:
        return None if settings.mail_folder is None else MailFolder(settings.mail_folder)
    user = environment.get(SmtpCredentials.variable("user"), "").strip()
    credentials = SmtpCredentials.from_environment(environment) if user else None
    try:
        server = smtp_server(
            settings.smtp_url,
            user="" if credentials is None else credentials.user,
            password="" if credentials is None else credentials.password,
            allow_plaintext=settings.smtp_plaintext,
            timeout_s=settings.smtp_timeout_s,
        )
    except SmtpUrlInvalid as error:
        raise InvalidSettings("MailSettings", {MailSettings.variable("smtp_url"): str(error)}) from None
    return SmtpTransport(server)


def _composer(settings: MailSettings) -> MessageComposer:
    try:
        return MessageComposer(sender=settings.mail_sender or None)
    except AddressUnusable as error:
        raise InvalidSettings("MailSettings", {MailSettings.variable("mail_sender"): error.message}) from None

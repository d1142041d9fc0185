"""Mails that wait: claimed in one transaction, rendered and sent in none, recorded in another."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.clock import Clock
from libs.common.messaging.due import DueRow, Job
from libs.common.persistence.outage import is_outage
from libs.common.persistence.reference import find_tenant_mode
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.stopping import Stopping
from services.billing.adapters.issued_documents import IssuedDocumentReader
from services.billing.adapters.mail_message import AddressUnusable
from services.billing.adapters.mail_rows import mail as mail_table
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.mail_ports import (
    Attachment,
    Later,
    MailComposer,
    MailRenderer,
    MailTransport,
    OutgoingMail,
    Refused,
    Unneeded,
)
from services.billing.application.send_mail import (
    ClaimedMail,
    Handed,
    SendingRules,
    claim_mails,
    material_for,
    record_mail,
    release_mail,
)
from services.billing.domain.mail import NOT_RENDERED, MailKind, message_id_of
from services.billing.domain.mail_contents import WITH_DOCUMENT, MailMaterial, contents_of
from services.billing.domain.mail_template import MailTemplate
from services.billing.entrypoints.outside_calls import CallOutside, OutsideWork, Told

log = logging.getLogger(__name__)

NAME = "send_mails"
Attach = Callable[[MailMaterial, BillingUnitOfWork], Awaitable[Callable[[], Awaitable[Sequence[Attachment]]]]]


@dataclass(frozen=True, slots=True)
class MailParts:
    """What mails are made and sent with. `attach` reads what a document needs, and gives back what makes its files."""

    transport: MailTransport
    renderer: MailRenderer
    composer: MailComposer
    rules: SendingRules
    attach: Attach
    calls_at_once: int = 4
    claim_s: float = 120.0


def mail_job(
    parts: MailParts,
    *,
    units: UnitsOfWork[BillingUnitOfWork],
    clock: Clock,
    stopping: Stopping | None = None,
) -> Job:
    """A worker's turns at the mails that are due."""
    return CallOutside(
        SendMails(parts, units=units, clock=clock),
        units=units,
        clock=clock,
        claim_s=parts.claim_s,
        calls_at_once=parts.calls_at_once,
        stopping=stopping,
    )


class SendMails(OutsideWork[ClaimedMail, Handed]):
    """What is done of each mail; `CallOutside` says when."""

    name, task = NAME, "send mail"
    table = mail_table

    def __init__(self, parts: MailParts, *, units: UnitsOfWork[BillingUnitOfWork], clock: Clock) -> None:
        self._parts, self._units, self._clock = parts, units, clock

    async def claim(
        self, due: Sequence[DueRow], *, until: datetime, uow: BillingUnitOfWork
    ) -> list[ClaimedMail]:
        rules = self._parts.rules
        is_sandbox = not rules.serves_sandboxes and await find_tenant_mode(uow) != "live"
        return await claim_mails(
            [row.id for row in due],
            until=until,
            now=self._clock.system_now(),
            rules=rules,
            is_sandbox=is_sandbox,
            shelf=uow.mails,
            uow=uow,
        )

    async def call(self, claim: ClaimedMail) -> Handed:
        """Raises: MailOutcomeUnknown, and what happens to the way out; the claim then runs out."""
        parts = self._parts
        try:
            prepared = await self._prepare(claim)
        except Exception as error:
            if is_outage(error):
                return Handed(Later(type(error).__name__))
            log.error("mail not rendered", extra={"row": claim.id}, exc_info=error)
            return Handed(Later(NOT_RENDERED))
        if isinstance(prepared, Handed):
            return prepared
        outgoing, handed = prepared
        return replace(handed, delivery=await parts.transport.send(outgoing))

    async def _prepare(self, claim: ClaimedMail) -> Handed | tuple[OutgoingMail, Handed]:
        """The whole message, made with no transaction open from what was read in one."""
        parts, tenant = self._parts, claim.tenant
        async with self._units.open(tenant, f"schedule:{NAME}") as uow:
            material = await material_for(
                claim.mail, documents=IssuedDocumentReader(uow), shelf=uow.mails, uow=uow
            )
            if isinstance(material, Unneeded):
                return Handed(material)
            own = await own_texts(uow)
            make_files = None
            if claim.mail.kind in WITH_DOCUMENT:
                make_files = await parts.attach(material, uow)
        files = [] if make_files is None else await make_files()
        rendered = parts.renderer.render(
            contents_of(material), seller=material.seller, language=material.language, own=own
        )
        rendered = replace(rendered, attached=tuple(file.name for file in files))
        details = material.seller.details
        assert details is not None
        assert details.mail_from is not None, "only who has an address sends mails"
        message_id = claim.mail.message_id or message_id_of(claim.id, details.mail_from)
        handed = Handed(Later(NOT_RENDERED), rendered, message_id, self._clock.system_now())
        try:
            outgoing = parts.composer.compose(
                material, rendered, files, tenant=tenant, message_id=message_id, sent_at=claim.now
            )
        except AddressUnusable as error:
            return replace(handed, delivery=Refused(error.code, is_address=True))
        return outgoing, handed

    async def record(self, told: Sequence[Told[ClaimedMail, Handed]], *, uow: BillingUnitOfWork) -> None:
        await uow.mails.load_for_update([one.claim.id for one in told])
        for one in told:
            await record_mail(one.claim, one.answer, uow=uow)

    async def release(self, claims: Sequence[ClaimedMail], *, now: datetime, uow: BillingUnitOfWork) -> None:
        await uow.mails.load_for_update([claim.id for claim in claims])
        for claim in claims:
            await release_mail(claim, uow=uow)


async def own_texts(uow: BillingUnitOfWork) -> dict[tuple[MailKind, str], MailTemplate]:
    """What the tenant says in his own words, by kind and locale."""
    return {(one.kind, one.locale): one for one in await uow.mail_templates.of_tenant()}


async def no_files(
    material: MailMaterial, uow: BillingUnitOfWork
) -> Callable[[], Awaitable[list[Attachment]]]:
    """For where documents are not set."""

    async def none() -> list[Attachment]:
        return []

    return none

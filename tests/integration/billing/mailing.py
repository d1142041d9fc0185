"""Mails at work in a test: a seller who sends some, and workers that send what waits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from libs.common.clock import Clock
from services.billing.adapters.mail_folder import MailFolder
from services.billing.adapters.mail_message import MessageComposer
from services.billing.adapters.mail_renderer import TemplateRenderer
from services.billing.adapters.smtp_transport import SmtpServer, SmtpTransport
from services.billing.application.mail_ports import MailTransport
from services.billing.application.send_mail import SendingRules
from services.billing.domain.contact_details import BankAccount, SellerDetails
from services.billing.domain.seller import Seller
from services.billing.entrypoints.mail_job import MailParts, mail_job, no_files
from tests.integration.billing.workbench import LONG_AFTER, Workbench
from tests.support.billing import Story, a_customer
from tests.support.clocks import FixedClock
from tests.support.smtp import HOST, MailServer

CLAIM_S = 30.0
SELLS = SellerDetails(
    mail_from="billing@engines.example",
    bank=BankAccount("NL91ABNA0417164300"),
    payment_url="https://engines.example/pay/{invoice_id}",
)


def parts(
    transport: MailTransport, *, per_minute: int | None = None, sandboxes: bool = True, attach: Any = no_files
) -> MailParts:
    return MailParts(
        transport=transport,
        renderer=TemplateRenderer(),
        composer=MessageComposer(),
        rules=SendingRules(
            per_minute=per_minute,
            recognises_repeats=transport.recognises_repeats,
            serves_sandboxes=sandboxes,
        ),
        attach=attach,
        claim_s=CLAIM_S,
    )


def smtp(server: MailServer, **options: Any) -> SmtpTransport:
    tls = options.pop("tls", None)
    plain = {"host": HOST, "port": server.port, "is_tls": False, "requires_starttls": False, "timeout_s": 5.0}
    return SmtpTransport(SmtpServer(**{**plain, **options}), tls=tls)


async def send(
    bench: Workbench, transport: MailTransport, *, clock: Clock | None = None, **options: Any
) -> int:
    """Turns of a worker of its own until nothing is due; returns how many mails were looked at."""
    job = mail_job(parts(transport, **options), units=bench.units, clock=clock or bench.clock)
    done = 0
    while turn := await job.run_once():
        done += turn
    await transport.close()
    return done


def later(**time: float) -> FixedClock:
    return FixedClock(LONG_AFTER + timedelta(**time))


async def a_mailing_story(bench: Workbench, tenant: str, **options: Any) -> tuple[Seller, Story]:
    """A seller who sends mails, and one issued invoice."""
    details = options.pop("details", SELLS)
    seller = await bench.add_seller(tenant, details=details)
    story = a_reader(tenant, **options)
    await bench.know_customer(story)
    await bench.hear(story.started())
    return seller, story


def a_reader(tenant: str, **options: Any) -> Story:
    """The story of a customer who has a mail address."""
    customer = a_customer(email="ap@delta.example", locale="en", name="Delta Air Lines")
    return Story(tenant, metered=False, customer=customer, **options)


async def mails(bench: Workbench, tenant: str) -> list[Mapping[str, Any]]:
    return await bench.rows("SELECT * FROM mail WHERE tenant = $1 ORDER BY created_at, kind, id", tenant)


async def states(bench: Workbench, tenant: str) -> list[tuple[str, str, str | None]]:
    return [(row["kind"], row["state"], row["reason"]) for row in await mails(bench, tenant)]


def files(folder: Path, tenant: str) -> list[Path]:
    return sorted((folder / tenant).iterdir()) if (folder / tenant).exists() else []


def mail_folder(folder: Path) -> MailFolder:
    return MailFolder(folder)

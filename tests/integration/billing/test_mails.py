"""Mails from the fact to the mailbox: once each, whatever dies on the way, and what comes back."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from libs.common.contracts.subscriptions import (
    CustomerChangedV1,
    SubscriptionReceiptIssuedV1,
    SubscriptionRecoveredV1,
    SubscriptionRenewalUpcomingV1,
    SubscriptionTrialEndingV1,
)
from services.billing.adapters.mail_folder import MailFolder
from services.billing.adapters.smtp_transport import SmtpUrlInvalid, smtp_server
from services.billing.application.change_seller import ChangeSeller, change_seller
from services.billing.application.issue_credit_note import IssueCreditNote, issue_credit_note
from services.billing.application.mail_ports import Delivery, OutgoingMail
from services.billing.application.void_invoice import VoidInvoice, void_invoice
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.contact_details import DocumentDelivery
from services.billing.domain.credit_note import WantedCredit
from tests.integration.billing.mailing import (
    CLAIM_S,
    SELLS,
    a_mailing_story,
    a_reader,
    files,
    later,
    mails,
    send,
    smtp,
    states,
)
from tests.integration.billing.workbench import LONG_AFTER, Workbench
from tests.support.smtp import DROPPED, MailServer, certificate_for, mail_server


@pytest_asyncio.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as found:
        yield found


async def test_an_invoice_and_its_receipt_are_mailed_once(
    bench: Workbench, tenant: str, tmp_path: Path
) -> None:
    _, story = await a_mailing_story(bench, tenant)
    await bench.hear(story.started())
    await bench.add_method(story)
    assert await send(bench, MailFolder(tmp_path)) == 1
    await bench.collect()
    assert await send(bench, MailFolder(tmp_path)) == 1
    assert await send(bench, MailFolder(tmp_path)) == 0
    assert await states(bench, tenant) == [("invoice", "sent", None), ("receipt", "sent", None)]
    (invoice,) = await bench.invoices(tenant)
    first, second = files(tmp_path, tenant)
    assert first.name == (
        f"{invoice['issued_at']:%Y-%m-%d}-invoice-{story.customer.customer_id}-"
        f"{(await mails(bench, tenant))[0]['id']}.eml"
    )
    read = message_from_bytes(first.read_bytes(), policy=policy.default)
    assert read["Subject"] == f"Your invoice {invoice['number']} from Engines Inc."
    assert read["To"].addresses[0].addr_spec == story.customer.email
    assert "paid in full" in second.read_text().replace("=\n", "")


async def test_a_seller_without_an_address_costs_nothing(bench: Workbench, tenant: str) -> None:
    _, story = await a_mailing_story(bench, tenant, details=None)
    await bench.add_method(story)
    await bench.collect()
    assert await mails(bench, tenant) == []


async def test_kinds_that_the_seller_does_not_send(bench: Workbench, tenant: str) -> None:
    _, story = await a_mailing_story(bench, tenant, details=replace(SELLS, mails=("receipt",)))
    await bench.add_method(story)
    await bench.collect()
    assert await states(bench, tenant) == [("receipt", "pending", None)]


async def test_a_payment_that_failed(bench: Workbench, tenant: str, tmp_path: Path) -> None:
    _, story = await a_mailing_story(bench, tenant)
    await bench.add_method(story, "always_fails")
    await bench.collect()
    await send(bench, MailFolder(tmp_path))
    assert ("payment_failed", "sent", None) in await states(bench, tenant)
    (row,) = [row for row in await mails(bench, tenant) if row["kind"] == "payment_failed"]
    assert "https://engines.example/pay/inv_" in row["text_body"]
    assert "try again on" in row["text_body"]


async def test_who_has_no_method_hears_of_the_invoice_alone(
    bench: Workbench, tenant: str, tmp_path: Path
) -> None:
    await a_mailing_story(bench, tenant)
    await bench.collect()
    await send(bench, MailFolder(tmp_path))
    (row,) = [row for row in await mails(bench, tenant) if row["kind"] in ("invoice", "payment_failed")]
    assert "NL91 ABNA 0417 1643 00" in row["text_body"]
    assert "RF" in row["text_body"]


async def test_a_credit_note_and_a_void(bench: Workbench, tenant: str, tmp_path: Path) -> None:
    """Who never had the invoice need not hear that it is void."""
    await a_mailing_story(bench, tenant)
    await send(bench, MailFolder(tmp_path))
    (invoice,) = await bench.invoices(tenant)
    async with bench.open(tenant) as uow:
        await issue_credit_note(
            IssueCreditNote(invoice["id"], WantedCredit(), "never delivered", invoice["issued_at"]), uow=uow
        )
    await send(bench, MailFolder(tmp_path))
    assert ("credit_note", "sent", None) in await states(bench, tenant)


async def test_a_void_is_told_to_whoever_had_the_invoice(
    bench: Workbench, tenant: str, tmp_path: Path
) -> None:
    _, story = await a_mailing_story(bench, tenant)
    await send(bench, MailFolder(tmp_path))
    await bench.hear(story.renewed(1))
    for invoice in await bench.invoices(tenant):
        async with bench.open(tenant) as uow:
            command = VoidInvoice(invoice["id"], "a mistake", invoice["issued_at"])
            await void_invoice(command, uow=uow, check_version=lambda version: None)
    await send(bench, MailFolder(tmp_path))
    assert sorted(await states(bench, tenant), key=str) == [
        ("invoice", "sent", None),
        ("invoice", "suppressed", "document_void"),
        ("invoice_voided", "sent", None),
        ("invoice_voided", "suppressed", "invoice_was_never_sent"),
    ]


async def test_what_becomes_of_subscriptions(bench: Workbench, tenant: str, tmp_path: Path) -> None:
    _, story = await a_mailing_story(bench, tenant)
    about = {
        "tenant": tenant,
        "occurred_at": story.boundary(1),
        "subscription_id": story.subscription_id,
    }
    whom = {"customer_id": story.customer.customer_id}
    ends = story.boundary(2)
    told = [
        SubscriptionTrialEndingV1(**about, **whom, ends_at=ends, has_payment_method=False),
        SubscriptionRenewalUpcomingV1(
            **about, **whom, term_ends_at=ends, days_before=30, on_term_end="renew"
        ),
        SubscriptionRenewalUpcomingV1(**about, **whom, term_ends_at=ends, days_before=7, on_term_end="renew"),
        SubscriptionReceiptIssuedV1(**about, **whom, receipt_id="rcp_1", kind="cancellation", ends_at=ends),
        SubscriptionReceiptIssuedV1(**about, **whom, receipt_id="rcp_2", kind="withdrawal"),
        SubscriptionRecoveredV1(**about),
    ]
    await bench.hear(*told)
    await bench.hear(*told)
    await send(bench, MailFolder(tmp_path))
    found = [kind for kind, state, _ in await states(bench, tenant) if state == "sent"]
    assert sorted(found) == [
        "cancellation_receipt",
        "invoice",
        "renewal_upcoming",
        "renewal_upcoming",
        "subscription_recovered",
        "trial_ending",
        "withdrawal_receipt",
    ]


async def test_who_was_erased_gets_none_and_is_forgotten(
    bench: Workbench, tenant: str, tmp_path: Path
) -> None:
    _, story = await a_mailing_story(bench, tenant)
    await bench.add_method(story)
    await send(bench, MailFolder(tmp_path))
    await bench.collect()
    erased = story.customer.model_copy(
        update={"customer_version": 9, "name": "erased", "email": None, "is_erased": True}
    )
    async with bench.open(tenant) as uow:
        uow.bank_statement_entries.learn("NL91ABNA0417164300", story.customer.customer_id, at=LONG_AFTER)
    await bench.hear(CustomerChangedV1(tenant=tenant, occurred_at=LONG_AFTER, customer=erased))
    assert await bench.rows("SELECT account FROM payer_account WHERE tenant = $1", tenant) == []
    assert await send(bench, MailFolder(tmp_path)) == 0
    assert await states(bench, tenant) == [
        ("invoice", "sent", None),
        ("receipt", "suppressed", "customer_erased"),
    ]
    kept = str(await mails(bench, tenant))
    assert story.customer.email is not None
    assert story.customer.email not in kept
    assert story.customer.name not in kept


async def test_the_newest_address_of_the_customer_is_used(
    bench: Workbench, tenant: str, server: MailServer
) -> None:
    _, story = await a_mailing_story(bench, tenant)
    moved = story.customer.model_copy(update={"customer_version": 2, "email": "new@delta.example"})
    await bench.hear(CustomerChangedV1(tenant=tenant, occurred_at=LONG_AFTER, customer=moved))
    await send(bench, smtp(server))
    assert [envelope[1] for envelope in server.envelopes] == [("new@delta.example",)]


async def test_each_address_of_the_documents_gets_one(
    bench: Workbench, tenant: str, server: MailServer
) -> None:
    """One that is refused keeps no other back."""
    await bench.add_seller(tenant, details=SELLS)
    story = a_reader(tenant)
    await bench.know_customer(story)
    delivery = DocumentDelivery(mail_to=("a@x.example", "b@x.example"))
    async with bench.open(tenant) as uow:
        uow.billing_profiles.add(
            BillingProfile(story.customer.customer_id, created_at=LONG_AFTER, delivery=delivery)
        )
    await bench.hear(story.started())
    server.to_rcpt = ["550 5.1.1 no such user"]
    await send(bench, smtp(server))
    assert sorted(state for _, state, _ in await states(bench, tenant)) == ["bounced", "sent"]


class Killed(BaseException):
    """The worker is gone."""


class Deadly(MailFolder):
    """A folder whose worker may die before it writes, after it did, or be cut off in between."""

    def __init__(self, folder: Path, chance: random.Random, risk: float) -> None:
        super().__init__(folder)
        self._chance, self._risk = chance, risk

    async def send(self, outgoing: OutgoingMail) -> Delivery:
        if self._chance.random() < self._risk:
            raise self._chance.choice((Killed(), asyncio.CancelledError(), ConnectionResetError()))
        answer = await super().send(outgoing)
        if self._chance.random() < self._risk:
            raise self._chance.choice((Killed(), asyncio.CancelledError(), ConnectionResetError()))
        return answer


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 40))]
)
async def test_into_files_each_goes_once_whoever_dies(
    bench: Workbench, tenant: str, tmp_path: Path, seed: int
) -> None:
    """Two workers at a time, killed again and again, on clocks that let claims run out."""
    chance = random.Random(seed)  # faults, not secrets
    _, story = await a_mailing_story(bench, tenant)
    for index in range(1, 6):
        await bench.hear(story.renewed(index))
    minutes = 0.0
    for turn in range(30):
        risk = 0.4 if turn < 12 else 0.0
        workers = [_turn(bench, Deadly(tmp_path, chance, risk), minutes) for _ in range(2)]
        await asyncio.gather(*workers)
        minutes += chance.choice((0.1, 1.0, 2.0))
        if all(state == "sent" for _, state, _ in await states(bench, tenant)):
            break
    assert await states(bench, tenant) == [("invoice", "sent", None)] * 6
    written = files(tmp_path, tenant)
    assert len(written) == 6  # and nothing half-written beside them
    ids = {row["id"] for row in await mails(bench, tenant)}
    assert {path.stem.rpartition("-")[2] for path in written} == ids


async def _turn(bench: Workbench, transport: MailFolder, minutes: float) -> None:
    try:
        await send(bench, transport, clock=later(minutes=minutes))
    except (Killed, asyncio.CancelledError):
        pass


async def test_over_smtp(bench: Workbench, tenant: str, tmp_path: Path) -> None:
    """Encrypted, with a user, and over one connection."""
    serves, trusts = certificate_for(tmp_path)
    _, story = await a_mailing_story(bench, tenant)
    for index in range(1, 4):
        await bench.hear(story.renewed(index))
    async with mail_server(tls=serves, auth=True) as server:
        way = smtp(server, tls=trusts, requires_starttls=True, user="u", password="right")
        await send(bench, way)
    assert [state for _, state, _ in await states(bench, tenant)] == ["sent"] * 4
    assert {envelope[2] for envelope in server.envelopes} == {True}
    assert len({message["Message-ID"] for message in server.taken}) == 4
    assert len(server.logins) <= 4


async def test_over_smtps(bench: Workbench, tenant: str, tmp_path: Path) -> None:
    serves, trusts = certificate_for(tmp_path)
    await a_mailing_story(bench, tenant)
    async with mail_server(tls=serves, implicit_tls=True) as server:
        await send(bench, smtp(server, tls=trusts, is_tls=True))
    assert len(server.taken) == 1


@pytest.mark.parametrize("trouble", ["no_starttls", "not_trusted", "wrong_password", "nobody_there"])
async def test_what_keeps_a_mail_back_is_tried_again_later(
    bench: Workbench, tenant: str, tmp_path: Path, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of it went out, so it goes later; no password gets into the log."""
    serves, trusts = certificate_for(tmp_path)
    await a_mailing_story(bench, tenant)
    async with mail_server(tls=None if trouble == "no_starttls" else serves, auth=True) as server:
        options: dict[str, Any] = {"tls": trusts, "requires_starttls": True}
        if trouble == "not_trusted":
            options["tls"] = ssl.create_default_context()
        if trouble == "wrong_password":
            options |= {"user": "u", "password": "hunter2-wrong"}
        if trouble == "nobody_there":
            options["port"] = 1
        await send(bench, smtp(server, **options))
        assert server.taken == []
    (row,) = await mails(bench, tenant)
    assert (row["state"], row["tries"]) == ("pending", 1)
    assert row["retry_at"] == LONG_AFTER + timedelta(minutes=1)
    async with mail_server() as server:
        await send(bench, smtp(server), clock=later(seconds=59))
        assert server.taken == []
        await send(bench, smtp(server), clock=later(seconds=61))
        assert len(server.taken) == 1
    assert "hunter2" not in caplog.text
    assert "hunter2" not in str(await mails(bench, tenant))


async def test_later_means_later_with_growing_pauses(
    bench: Workbench, tenant: str, server: MailServer
) -> None:
    await a_mailing_story(bench, tenant)
    server.to_rcpt = ["451 4.7.1 greylisted"]
    server.to_data = ["452 4.3.1 full"]
    await send(bench, smtp(server))
    await send(bench, smtp(server), clock=later(minutes=2))
    (row,) = await mails(bench, tenant)
    assert (row["state"], row["tries"], row["reason"]) == ("pending", 2, "452 4.3.1 full")
    assert row["retry_at"] == LONG_AFTER + timedelta(minutes=4)
    await send(bench, smtp(server), clock=later(minutes=5))
    assert await states(bench, tenant) == [("invoice", "sent", None)]


async def test_an_address_that_bounces_gets_nothing_more(
    bench: Workbench, tenant: str, server: MailServer
) -> None:
    """Until the customer has another one."""
    _, story = await a_mailing_story(bench, tenant)
    server.to_rcpt = ["550 5.1.1 no such user"]
    await send(bench, smtp(server))
    await bench.hear(story.renewed(1))
    await send(bench, smtp(server))
    assert server.taken == []
    assert await states(bench, tenant) == [
        ("invoice", "bounced", "550 5.1.1 no such user"),
        ("invoice", "suppressed", "address_bounced"),
    ]
    told = [row for row in await bench.told(tenant) if row["type"] == "perennial.billing.mail.bounced.v1"]
    assert len(told) == 1
    moved = story.customer.model_copy(update={"customer_version": 2, "email": "new@delta.example"})
    await bench.hear(CustomerChangedV1(tenant=tenant, occurred_at=LONG_AFTER, customer=moved))
    await bench.hear(story.renewed(2))
    await send(bench, smtp(server))
    assert len(server.taken) == 1


async def test_a_refused_message_says_nothing_of_the_address(
    bench: Workbench, tenant: str, server: MailServer
) -> None:
    _, story = await a_mailing_story(bench, tenant)
    server.to_data = ["554 5.7.1 looks like spam"]
    await send(bench, smtp(server))
    await bench.hear(story.renewed(1))
    await send(bench, smtp(server))
    assert [state for _, state, _ in await states(bench, tenant)] == ["bounced", "sent"]


async def test_what_nobody_knows_goes_once_more_with_the_same_id(
    bench: Workbench, tenant: str, server: MailServer
) -> None:
    """The server has it, and could not say so: a document must arrive, so it goes again, and is recognised."""
    await a_mailing_story(bench, tenant)
    server.to_data = [DROPPED]
    await send(bench, smtp(server))
    assert [state for _, state, _ in await states(bench, tenant)] == ["sending"]
    await send(bench, smtp(server), clock=later(seconds=CLAIM_S - 1))
    assert len(server.taken) == 1
    await send(bench, smtp(server), clock=later(seconds=CLAIM_S + 1))
    assert await states(bench, tenant) == [("invoice", "sent", None)]
    assert len(server.taken) == 2
    assert len({message["Message-ID"] for message in server.taken}) == 1


async def test_a_reminder_of_which_nobody_knows_does_not_go_twice(
    bench: Workbench, tenant: str, server: MailServer
) -> None:
    _, story = await a_mailing_story(bench, tenant, details=replace(SELLS, mails=("payment_failed",)))
    await bench.add_method(story, "always_fails")
    await bench.collect()
    server.to_data = [DROPPED]
    await send(bench, smtp(server))
    await send(bench, smtp(server), clock=later(seconds=CLAIM_S + 1))
    assert len(server.taken) == 1
    assert await states(bench, tenant) == [("payment_failed", "failed", "outcome_unknown")]


async def test_what_a_tenant_sends_in_a_minute_is_bounded(
    bench: Workbench, tenant: str, server: MailServer
) -> None:
    _, story = await a_mailing_story(bench, tenant)
    for index in range(1, 5):
        await bench.hear(story.renewed(index))
    await send(bench, smtp(server), per_minute=2)
    assert len(server.taken) == 2
    await send(bench, smtp(server), per_minute=2, clock=later(seconds=30))
    assert len(server.taken) == 2
    await send(bench, smtp(server), per_minute=2, clock=later(seconds=90))
    assert len(server.taken) == 4


async def test_mails_of_sandboxes_reach_nobody(bench: Workbench, tenant: str, server: MailServer) -> None:
    await bench.know_tenant(tenant)
    await a_mailing_story(bench, tenant)
    await send(bench, smtp(server), sandboxes=False)
    assert server.taken == []
    assert await states(bench, tenant) == [("invoice", "suppressed", "sandbox")]


async def test_mails_of_long_ago_are_not_sent_once_there_is_a_way(
    bench: Workbench, tenant: str, server: MailServer
) -> None:
    await a_mailing_story(bench, tenant)
    async with bench.admin() as admin:
        await admin.execute(
            "UPDATE mail SET created_at = now() - interval '4 days' WHERE tenant = $1", tenant
        )
    await send(bench, smtp(server))
    assert await states(bench, tenant) == [("invoice", "failed", "given_up")]


async def test_a_seller_who_stopped_sending(bench: Workbench, tenant: str, server: MailServer) -> None:
    seller, _ = await a_mailing_story(bench, tenant)
    async with bench.open(tenant) as uow:
        await change_seller(
            ChangeSeller(seller.id, {"details": None}), uow=uow, check_version=lambda version: None
        )
    await send(bench, smtp(server))
    assert await states(bench, tenant) == [("invoice", "suppressed", "seller_sends_no_mails")]


@pytest.mark.parametrize(
    ("url", "options", "encrypted"),
    [
        ("smtp://mail.example", {}, True),
        ("smtp://mail.example", {"allow_plaintext": True}, False),
        ("smtp://mail.example", {"allow_plaintext": True, "user": "u", "password": "p"}, True),
        ("smtp://localhost:1025", {}, False),
        ("smtp://127.0.0.1:1025", {}, False),
        ("smtp://[::1]", {}, False),
    ],
)
def test_who_is_sent_to_without_encryption(url: str, options: dict[str, Any], encrypted: bool) -> None:
    assert smtp_server(url, **options).requires_starttls is encrypted


@pytest.mark.parametrize(
    "url",
    [
        "http://mail.example",
        "smtp://",
        "smtp://u:secret@mail.example",
        "smtp://mail.example:99999",
        "smtp://m/x",
        "mail.example",
    ],
)
def test_addresses_of_servers_that_cannot_be_used(url: str) -> None:
    with pytest.raises(SmtpUrlInvalid) as refused:
        smtp_server(url)
    assert "secret" not in str(refused.value)

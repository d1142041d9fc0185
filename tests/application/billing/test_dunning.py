"""Whatever happens to an unpaid invoice, in whatever order: no step after its payment, and the end for who never pays."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts.billing import DunningStepTakenV1
from libs.common.contracts.catalog import DunningV1
from services.billing.application.change_dunning import (
    PauseDunning,
    ResumeDunning,
    pause_dunning,
    resume_dunning,
)
from services.billing.application.collect_payment import claim_attempt, record_payment
from services.billing.application.dun_invoice import advance_dunning
from services.billing.application.try_payment_again import TryPaymentAgain, try_payment_again
from services.billing.application.write_off_invoice import WriteOffInvoice, write_off_invoice
from services.billing.domain.dunning import dunning_id
from services.billing.domain.payment import Collected, Declined, Outcome
from tests.application.billing.telling import invoice_at, start
from tests.support.billing import MemoryBilling, Story

DAY = timedelta(days=1)
SCHEDULES = [
    DunningV1(reminder_days=(3, 10), suspend_after_days=14, end_after_days=30),
    DunningV1(retry_days=(5, 5), reminder_days=(0,), end_after_days=20, writes_off=True),
    DunningV1(retry_days=(), suspends=False, end_after_days=1),
]
DEEDS = ("days", "try", "pay", "pause", "resume", "write off", "claim")


def any_version(version: int) -> None:
    """Nobody asked for one."""


async def call_due(uow: MemoryBilling, invoice_id: str, outcome: Outcome, now: datetime) -> None:
    """What the payment job would do now."""
    last = await uow.payment_attempts.last_of_invoice(invoice_id)
    if last is None or last.state != "pending" or last.due_at is None or last.due_at > now:
        return
    claimed = await claim_attempt(last.id, now=now, claimed_until=now + DAY, uow=uow)
    assert claimed is not None
    await record_payment(claimed, outcome, retry_days=(1, 3), uow=uow)


@settings(max_examples=40)
@given(schedule=st.sampled_from(SCHEDULES), deeds=st.lists(st.sampled_from(DEEDS), max_size=14))
async def test_no_step_after_a_payment_and_the_end_for_who_never_pays(
    schedule: DunningV1, deeds: list[str]
) -> None:
    uow, story = MemoryBilling(), Story(metered=False, dunning=schedule)
    invoice_id = (await start(story, uow)).id
    now = story.boundary(0)
    id, claimed, quiet_from = dunning_id(invoice_id), None, None
    await call_due(uow, invoice_id, Declined("no"), now)
    for deed in [*deeds, "answer", "resume", *["days"] * 30]:
        invoice, dunning = invoice_at(story, uow, 0), uow.dunnings.by_id[id]
        is_owed, last = invoice.status == "finalized", await uow.payment_attempts.last_of_invoice(invoice_id)
        assert last is not None
        if deed == "days":
            now += 4 * DAY
            await call_due(uow, invoice_id, Declined("no"), now)
            await advance_dunning(id, now=now, uow=uow)
        elif deed == "answer" and claimed is not None:
            await record_payment(claimed, Declined("no"), retry_days=(1, 3), uow=uow)
            claimed = None
        elif deed == "claim" and last.state == "pending":  # a try that is under way while days pass
            claimed = await claim_attempt(last.id, now=now, claimed_until=now + DAY, uow=uow)
        elif deed in ("try", "pay") and is_owed and last.state != "calling":
            await try_payment_again(TryPaymentAgain(invoice_id, now), uow=uow)
            await call_due(uow, invoice_id, Collected("ref") if deed == "pay" else Declined("no"), now)
        elif deed == "write off" and is_owed and last.state != "calling":
            await write_off_invoice(WriteOffInvoice(invoice_id, "", now), uow=uow, check_version=any_version)
        elif deed == "pause" and is_owed and dunning.state == "running":
            command = PauseDunning(invoice_id, "asked for", None, now)
            await pause_dunning(command, uow=uow, check_version=any_version)
        elif deed == "resume" and is_owed and dunning.state == "paused":
            await resume_dunning(ResumeDunning(invoice_id, now), uow=uow, check_version=any_version)
        if quiet_from is None and invoice_at(story, uow, 0).status != "finalized":
            quiet_from = len(uow.outbox.events)
    steps = [event for event in uow.outbox.events if isinstance(event, DunningStepTakenV1)]
    assert not any(isinstance(event, DunningStepTakenV1) for event in uow.outbox.events[quiet_from or 9999 :])
    assert len({(step.kind, step.number) for step in steps}) == len(steps)
    assert uow.dunnings.by_id[id].due_at is None
    if invoice_at(story, uow, 0).status == "finalized" or (steps and steps[-1].kind == "end"):
        assert steps[-1].kind == "end"
        assert not any(attempt.is_open for attempt in uow.payment_attempts.of_invoice(invoice_id))

"""Documents of one payer and date → one invoice: each part as it is complete, and the whole when all have come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.billing.application.finalize_invoice import settle_draft
from services.billing.application.ports import UnitOfWork
from services.billing.domain.gathering import (
    is_gathered_document,
    is_held_part,
    joined,
    key_of,
    left_alone,
    open_gathered,
    released,
)
from services.billing.domain.invoice import Invoice, totalled


@dataclass(frozen=True, slots=True)
class GatherInvoices:
    """Drafts that are due, which are locked, and the business now of each."""

    due: Mapping[str, datetime]


@dataclass(slots=True)
class _Gathered:
    """A gathered document in hand. `is_overdue`: it has waited long enough."""

    invoice: Invoice
    now: datetime
    is_overdue: bool = False


async def gather_invoices(command: GatherInvoices, *, uow: UnitOfWork) -> dict[str, datetime]:
    """Put what a part holds on the document it is gathered into; returns which drafts are to be finalized now.

    Those are the gathered documents that are complete or have waited long enough, parts whose document was finalized
    without them, and whatever is not gathered at all. A document that somebody else has in hand is left to him, and its
    parts stay due. Two that gather for one document thus make one, and none of them misses the other: whoever comes
    second finds what the first has left.
    """
    due = {id: await uow.invoices.find_for_update(id) for id in command.due}
    drafts = [draft for draft in due.values() if draft is not None]
    parts = [draft for draft in drafts if is_held_part(draft)]
    waiting = {draft.id: draft for draft in drafts if _waits(draft)}
    if not parts and not waiting:
        return dict(command.due)
    hours = (await uow.billing_runs.settings()).gathering_hours
    waits = timedelta(hours=hours)
    wanted = {part.id: open_gathered(part, now=command.due[part.id], waits=waits) for part in parts}
    locked = await uow.gatherings.open_for_update([*wanted.values(), *waiting.values()])
    in_hand = [*locked, *(part.id for part in parts)]
    await uow.invoices.load_for_update(in_hand)
    await uow.charges.load_of_invoices(in_hand)
    await uow.manual_lines.load_of_invoices(in_hand)
    found: dict[str, _Gathered] = {}
    for id, draft in waiting.items():
        found[id] = _Gathered(draft, command.due[id], is_overdue=True)
    others = {id: at for id, at in command.due.items() if id not in wanted and id not in waiting}
    come: list[str] = []
    for part in parts:
        id, now = wanted[part.id].id, command.due[part.id]
        if id not in locked:
            continue
        if id not in found:
            found[id] = _Gathered(await uow.invoices.get_for_update(id), now)
        into = found[id]
        into.now = max(into.now, now)
        if into.invoice.status != "draft":
            uow.invoices.save(left_alone(part))
            others[part.id] = now
            continue
        into.invoice = await _join(into.invoice, part, uow=uow)
        come.append(part.id)
    return others | await _complete(found, come, uow=uow)


def _waits(draft: Invoice) -> bool:
    return draft.status == "draft" and draft.held_for == "gathering" and is_gathered_document(draft)


async def _join(into: Invoice, part: Invoice, *, uow: UnitOfWork) -> Invoice:
    into, done = joined(into, part)
    uow.invoices.save(done)
    uow.record("invoice.gathered", done.id, done.version)
    uow.charges.move(await uow.charges.of_invoice(part.id), into.id)
    uow.manual_lines.move(await uow.manual_lines.of_invoice(part.id), into.id)
    return into


async def _complete(
    found: Mapping[str, _Gathered], come: list[str], *, uow: UnitOfWork
) -> dict[str, datetime]:
    """Release those that wait for nobody any more; the others are kept as they are by now."""
    held = {id: one for id, one in found.items() if one.invoice.held_for == "gathering"}
    keys = [key_of(one.invoice) for one in held.values() if not one.is_overdue]
    awaited = await uow.gatherings.awaited(keys, but=come) if keys else {}
    ready: dict[str, datetime] = {}
    for id, one in found.items():
        if one.invoice.status != "draft":
            continue
        if id in held and awaited.get(key_of(one.invoice)) and not one.is_overdue:
            uow.invoices.save(await _shown(one, uow=uow))
            continue
        uow.invoices.save(released(one.invoice) if id in held else one.invoice)
        ready[id] = one.now
    return ready


async def _shown(one: _Gathered, *, uow: UnitOfWork) -> Invoice:
    """With what its lines come to so far, and due when it has waited long enough."""
    known = await settle_draft(one.invoice, now=one.now, uow=uow)
    return replace(totalled(one.invoice, known.settled), due_at=one.invoice.due_at)

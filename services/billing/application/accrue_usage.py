"""What was used and is not billed yet: accrued while its draft waits, taken back when the draft is issued."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from libs.common.money import Money, total
from libs.common.periods import local_date
from services.billing.application.ports import UnitOfWork
from services.billing.domain.invoice import Invoice
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.postings_of_invoices import postings_for_accrual, postings_for_accrual_reversed

SERVED = ("usage", "arrears", "commitment")


async def accrue_usage(
    draft: Invoice, lines: Sequence[InvoiceLine], *, now: datetime, uow: UnitOfWork
) -> None:
    """Post what stands on a draft that waits, and has been served: in the books of the last day of its service.

    A repeat finds it posted. Nothing is accrued while usage is awaited, nor of what nobody can bill for want of a seller.
    """
    charges = await uow.charges.of_invoice(draft.id)
    served = {charge.id: charge for charge in charges if charge.kind in SERVED}
    today = local_date(now, draft.zone)
    nets: dict[str, list[Money]] = {}
    for line in lines:
        if line.charge_id in served and served[line.charge_id].service_end_on <= today:
            nets.setdefault(line.charge_id, []).append(line.net)
    if not nets:
        return
    known = await uow.ledger.accruals_of(nets, is_first=True)
    for id in sorted(nets.keys() - known.keys()):
        net = total(nets[id], draft.currency)
        until = served[id].service_end_on
        uow.ledger.post(postings_for_accrual(id, net, served_until=until, zone=draft.zone))


async def reverse_accruals(
    invoice: Invoice, lines: Iterable[InvoiceLine], *, now: datetime, uow: UnitOfWork
) -> None:
    """Take back what was accrued of the lines that are billed by now: each in an entry of its own."""
    accrued = await uow.ledger.accruals_of({line.charge_id for line in lines if line.charge_id is not None})
    for id in sorted(accrued):
        uow.ledger.post(postings_for_accrual_reversed(id, accrued[id], at=now, zone=invoice.zone))

"""From the agreement and its periods: the charges that should exist, and what is missing of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from libs.common.telemetry import current_traceparent
from services.billing.application.finalize_invoice import finalize_if_complete, issue_credit
from services.billing.application.ports import UnitOfWork
from services.billing.application.usage_corrections import (
    has_closed,
    is_carried_on,
    missing_commitments,
    missing_of_pools,
    missing_usage_charges,
    missing_yearly_commitments,
    period_of,
    puts_right,
)
from services.billing.domain.agreement import Agreement, BilledPeriod, reaching, with_party
from services.billing.domain.charge import Charge, UsageOfPeriod, missing
from services.billing.domain.commitment_charges import commitment_charges
from services.billing.domain.fee_charge import fee_charge
from services.billing.domain.invoice import Invoice, invoice_id, open_draft
from services.billing.domain.period_charges import period_charges
from services.billing.domain.tax_treatment import is_outside_scope
from services.billing.domain.terms import Fee, PeriodTerms, plain_terms


@dataclass(frozen=True, slots=True)
class ReconcileCharges:
    """A boundary of an agreement. `begins` is the period ahead (None at the end), `ended` the one behind.

    `terms` are those of each period that is billed, or billed again, because of what happened.
    """

    agreement: Agreement
    boundary_at: datetime
    begins: BilledPeriod | None
    ended: BilledPeriod | None
    occurred_at: datetime
    terms: tuple[PeriodTerms, ...] = ()
    fees: tuple[Fee, ...] = ()


async def reconcile_charges(command: ReconcileCharges, *, uow: UnitOfWork) -> Invoice:
    """Open the draft of a boundary with what is owed there, and finalize it when no usage is awaited any more.

    What is owed follows from what was told of the periods, the newest of each, so that order does not matter.
    Running it twice adds nothing: the document's identity is derived, and the agreement is locked.
    Emits: InvoiceFinalized.
    """
    agreement = reaching(command.agreement, None if command.begins is None else command.begins.end)
    is_lasting = await keep_newest_agreement(agreement, uow=uow)
    await keep_newest_terms(command.terms, uow=uow)
    if is_lasting and command.begins is not None:
        begins = plain_terms(agreement, command.begins, is_first=command.ended is None)
        await keep_newest_terms([begins], uow=uow)  # whether a price goes on is asked later, too
    now, index, issue = command.occurred_at, _index_at(command), 1
    known = await uow.invoices.find_for_update(invoice_id(agreement.id, command.boundary_at))
    if known is not None and known.period_index != index:
        issue = agreement.version  # a period that was cut as it began has a document, too
        id = invoice_id(agreement.id, command.boundary_at, issue=issue)
        known = await uow.invoices.find_for_update(id)
    if known is not None:
        return known
    awaits, usage = await _usage_behind(command, uow=uow)
    before = await _currency_behind(command, uow=uow)
    draft = open_draft(
        agreement,
        boundary_at=command.boundary_at,
        period_index=index,
        awaits_window=awaits and before == agreement.currency,
        traceparent=current_traceparent(),
        now=now,
        issue=issue,
    )
    documents = Documents(agreement, draft, now)
    documents.open(draft, uow=uow)
    if awaits and before != agreement.currency:
        await documents.other_in(before, awaits_window=True, uow=uow)
    due = await _due_at(command, is_lasting=is_lasting, uow=uow)
    await put_on(documents, due, fees=command.fees, uow=uow)
    of_then = replace(agreement, currency=before)
    if usage is not None:
        await charge_usage(documents, usage, of_then, now=now, uow=uow)
        now = max(now, usage.closed_at)  # as if the usage had come last, which is the usual order
    elif not awaits and command.ended is not None:
        await settle_commitments(documents, command.ended, of_then, now=now, uow=uow)
    return await documents.finalize(now=now, uow=uow)


@dataclass(slots=True)
class Documents:
    """What one boundary or change puts charges on: `main`, and documents beside it for what may not stand on that.

    That is what is owed in another currency, which an agreement was paid in until it changed it at the boundary, and
    what is outside the scope of tax.
    """

    agreement: Agreement
    main: Invoice
    now: datetime
    others: dict[tuple[str, bool], Invoice] = field(default_factory=dict)

    def open(self, draft: Invoice, *, uow: UnitOfWork) -> None:
        uow.invoices.add(draft)
        uow.record("invoice.opened", draft.id)

    async def other_in(self, currency: str, *, awaits_window: bool = False, uow: UnitOfWork) -> Invoice:
        """Its issue is that of the main document, below zero."""
        return await self._beside(currency, awaits_window=awaits_window, outside_scope=False, uow=uow)

    async def _beside(
        self, currency: str, *, awaits_window: bool, outside_scope: bool, uow: UnitOfWork
    ) -> Invoice:
        key = currency, outside_scope
        if key not in self.others:
            main = self.main
            draft = open_draft(
                replace(self.agreement, currency=currency),
                boundary_at=main.boundary_at,
                period_index=main.period_index,
                awaits_window=awaits_window,
                traceparent=main.traceparent,
                now=self.now,
                document_kind="compensation" if outside_scope else main.document_kind,
                issue=main.issue if currency == main.currency else -main.issue,
            )
            known = await uow.invoices.find_for_update(draft.id)
            if known is None:
                self.open(draft, uow=uow)
            self.others[key] = known or draft
        return self.others[key]

    async def document_of(self, charge: Charge, *, uow: UnitOfWork) -> Invoice:
        """The one on which the charge may stand."""
        currency, outside = charge.amount.currency, is_outside_scope(charge)
        if currency == self.main.currency and not outside:
            return self.main
        return await self._beside(currency, awaits_window=False, outside_scope=outside, uow=uow)

    async def put(self, charge: Charge, *, uow: UnitOfWork) -> None:
        document = await self.document_of(charge, uow=uow)
        uow.charges.add(replace(charge, invoice_id=document.id, plan_code=self.agreement.plan_code or None))

    async def finalize(self, *, now: datetime, uow: UnitOfWork) -> Invoice:
        """Those that await nothing more."""
        for other in self.others.values():
            if other.status == "draft":
                await finalize_if_complete(other, now=now, uow=uow)
        return await finalize_if_complete(self.main, now=now, uow=uow)


async def _currency_behind(command: ReconcileCharges, *, uow: UnitOfWork) -> str:
    """What the period behind is paid in; it may change with a boundary."""
    ended, currency = command.ended, command.agreement.currency
    terms = None if ended is None else await uow.period_terms.find(command.agreement.id, ended.index)
    return currency if terms is None or not terms.segments else terms.segments[0].price.currency


async def _usage_behind(command: ReconcileCharges, *, uow: UnitOfWork) -> tuple[bool, UsageOfPeriod | None]:
    """Whether the usage of the period behind is awaited; and that usage, if its window has closed already."""
    agreement, ended = command.agreement, command.ended
    if ended is None or ended.start == ended.end:
        return False, None
    if agreement.billed_until is not None and ended.end <= agreement.billed_until:
        return False, None
    terms = await uow.period_terms.find(agreement.id, ended.index)
    as_agreed = agreement.has_metered_items and ended.kind == "regular"
    if not (as_agreed if terms is None else terms.has_usage):
        return False, None
    usage = await uow.usage_windows.find(agreement.id, ended.index)
    if usage is None or await waits_for_earlier(usage, agreement, uow=uow):
        return True, None
    return False, usage


async def _due_at(command: ReconcileCharges, *, is_lasting: bool, uow: UnitOfWork) -> list[Charge]:
    """All that is owed at the boundary but for usage: of the period ahead, of the one behind, and of changed ones."""
    agreement, until, now = command.agreement, command.boundary_at, command.occurred_at
    billed = [period.index for period in (command.ended, command.begins) if period is not None]
    told = await terms_to_settle(agreement, [*billed, *(t.period.index for t in command.terms)], uow=uow)
    told = [terms for terms in told if terms.period.index <= max(billed)]  # after the end, nothing begins
    charges: list[Charge] = []
    for terms in told:
        is_over = terms.period.index not in billed and terms.period.end <= until
        charges += await settle_period(
            agreement,
            terms,
            until=until,
            is_known=is_over,
            now=now,
            uow=uow,
        )
    charges = await with_pools_before(agreement, told, charges, is_lasting=is_lasting, now=now, uow=uow)
    known = {terms.period.index for terms in told}
    if command.begins is not None and command.begins.index not in known:
        plain = plain_terms(agreement, command.begins, is_first=command.ended is None)
        charges += await _not_recorded(
            period_charges(agreement, plain, (), until=until, now=now, timings=("advance",)), uow=uow
        )
    ended = command.ended
    if ended is not None and ended.index not in known and _has_arrears(agreement):
        plain = plain_terms(agreement, ended)
        charges += await _not_recorded(
            period_charges(agreement, plain, (), until=until, now=now, timings=("arrears",)), uow=uow
        )
    return charges


def _has_arrears(agreement: Agreement) -> bool:
    return any(item.price.kind == "recurring" and item.price.timing == "arrears" for item in agreement.items)


async def _not_recorded(expected: Sequence[Charge], *, uow: UnitOfWork) -> list[Charge]:
    return missing(expected, await uow.charges.recorded([charge.id for charge in expected]))


async def terms_to_settle(
    agreement: Agreement, indexes: Sequence[int], *, uow: UnitOfWork
) -> list[PeriodTerms]:
    """Of all periods that are to be held against what was charged: the terms that were told, in their order."""
    found = {terms.period.index: terms for terms in await uow.period_terms.unsettled(agreement.id)}
    for index in sorted(set(indexes) - found.keys()):
        terms = await uow.period_terms.find(agreement.id, index)
        if terms is not None:
            found[index] = terms
    return [found[index] for index in sorted(found)]


async def settle_period(
    agreement: Agreement,
    terms: PeriodTerms,
    *,
    until: datetime,
    is_known: bool,
    now: datetime,
    uow: UnitOfWork,
) -> list[Charge]:
    """What is missing of one period that has begun. `is_known`: it is over, and was settled before."""
    if terms.period.start > until:
        return []
    await uow.period_terms.settle(terms)
    index = terms.period.index
    recorded = await uow.charges.of_period(agreement.id, index)
    charges = period_charges(agreement, terms, recorded, until=until, now=now)
    of_period = [charge for charge in recorded if charge.period_index == index]
    is_charged = has_closed(of_period)
    if is_charged:  # what was used is rated again by the terms as they are now
        usage = await uow.usage_windows.find(agreement.id, index)
        assert usage is not None, "what was charged for a window was counted"
        charges += await missing_usage_charges(agreement, usage, is_first=False, now=now, uow=uow)
    if not charges or not (is_known or is_charged):
        return charges
    if terms.has_usage and not is_charged:
        return charges  # it is settled when the usage is known
    return charges + await missing_commitments(agreement, charges, now=now, uow=uow)


async def with_pools_before(
    agreement: Agreement,
    told: Sequence[PeriodTerms],
    charges: Sequence[Charge],
    *,
    is_lasting: bool,
    now: datetime,
    uow: UnitOfWork,
) -> list[Charge]:
    """Those of periods that were settled, with what they change in pooled allowances of the period before the first."""
    first = min((terms.period.index for terms in told), default=0)
    if not first:
        return list(charges)
    if not is_lasting:
        before = await uow.period_terms.find(agreement.id, first - 1)
        if before is None or not any(segment.price.allowance_pool for segment in before.segments):
            return list(charges)
    more = await missing_of_pools(agreement, first, now=now, uow=uow)
    return list({charge.id: charge for charge in [*charges, *more]}.values())


async def put_on(
    documents: Documents, charges: Sequence[Charge], *, fees: Sequence[Fee], uow: UnitOfWork
) -> None:
    """Record charges on their document, with fees, and those that waited for one.

    Where credits go to the balance of who pays, they stand on a document of their own.
    """
    agreement, draft, now = documents.agreement, documents.main, documents.now
    for waiting in await uow.charges.waiting(agreement.id):
        document = await documents.document_of(waiting, uow=uow)
        uow.charges.place(waiting, document.id)
    given_back: list[Charge] = []
    for charge in [*charges, *await missing_fees(agreement, fees, now=now, uow=uow)]:
        if charge.amount.amount_minor < 0 and agreement.proration.credits_to == "balance":
            given_back.append(charge)
        else:
            await documents.put(charge, uow=uow)
    if given_back:
        await issue_credit(
            replace(agreement, currency=given_back[0].amount.currency),
            given_back,
            boundary_at=draft.boundary_at,
            period_index=draft.period_index,
            issue=agreement.version,
            now=now,
            uow=uow,
        )


async def missing_fees(
    agreement: Agreement, fees: Sequence[Fee], *, now: datetime, uow: UnitOfWork
) -> list[Charge]:
    expected = [fee_charge(agreement, fee, now=now) for fee in fees]
    return [c for c in await _not_recorded(expected, uow=uow) if c.amount.amount_minor]


async def charge_usage(
    documents: Documents, usage: UsageOfPeriod, agreement: Agreement, *, now: datetime, uow: UnitOfWork
) -> None:
    """Add the charges for a window's usage, and then what is settled when all of its period is known.

    What it puts right of windows before it stands on the same document.
    """
    charges = await missing_usage_charges(agreement, usage, is_first=True, now=now, uow=uow)
    for charge in charges:
        await documents.put(charge, uow=uow)
    terms = await uow.period_terms.find(agreement.id, usage.period_index)
    if terms is not None:
        await settle_commitments(documents, terms.period, agreement, now=now, uow=uow)
    elif agreement.commitments:
        await settle_commitments(documents, period_of(usage, agreement), agreement, now=now, uow=uow)
    before = [charge for charge in charges if charge.period_index != usage.period_index]
    for charge in await missing_commitments(agreement, before, now=now, uow=uow):
        await documents.put(charge, uow=uow)


async def waits_for_earlier(usage: UsageOfPeriod, agreement: Agreement, *, uow: UnitOfWork) -> bool:
    """Whether the window before decides on this one, or has estimates that it puts right, and is not charged for yet."""
    terms = await uow.period_terms.find(agreement.id, usage.period_index)
    if not (puts_right(usage) or is_carried_on(agreement, usage, terms)):
        return False
    before = await uow.invoices.find_for_update(invoice_id(agreement.id, usage.window_start))
    return before is not None and before.status == "draft" and before.awaits_window


async def settle_commitments(
    documents: Documents, period: BilledPeriod, agreement: Agreement, *, now: datetime, uow: UnitOfWork
) -> None:
    """Once all charges of a period are known: what it falls short of, or goes beyond, what was committed to."""
    for charge in await missing_yearly_commitments(agreement, period.index, now=now, uow=uow):
        await documents.put(charge, uow=uow)
    terms = await uow.period_terms.find(agreement.id, period.index) or plain_terms(agreement, period)
    if not terms.commitments:
        return
    charges = await uow.charges.of_period(agreement.id, period.index)
    of_period = [charge for charge in charges if charge.period_index == period.index]
    for charge in commitment_charges(agreement, terms, of_period, now=now):
        await documents.put(charge, uow=uow)


async def keep_newest_agreement(agreement: Agreement, *, uow: UnitOfWork) -> bool:
    """Lock the agreement, and keep whichever version is newer; an older event replaces nothing.

    Returns whether something lasts longer than a period, by what is told or by what was known: pooled allowances, or
    commitments by the year.
    """
    known = await uow.agreements.find_for_update(agreement.id)
    uow.customers.keep_newest(agreement.customer)
    if agreement.payer is not None:
        uow.customers.keep_newest(agreement.payer)
    if known is None:
        uow.agreements.add(agreement)
    elif known.version < agreement.version:
        for party in known.parties:  # who was erased in the meantime stays so
            agreement = with_party(agreement, party)
        uow.agreements.save(agreement)
    told = [agreement] if known is None else [agreement, known]
    return any(
        any(item.price.allowance_pool is not None for item in one.items)
        or any(commitment.per == "year" for commitment in one.commitments)
        for one in told
    )


async def keep_newest_terms(told: Sequence[PeriodTerms], *, uow: UnitOfWork) -> None:
    for terms in told:
        await uow.period_terms.keep_newest(terms)


def _index_at(command: ReconcileCharges) -> int:
    """The index of the period that begins at the boundary, or would."""
    if command.begins is not None:
        return command.begins.index
    assert command.ended is not None, "a boundary has a period before it or after it"
    return command.ended.index + 1

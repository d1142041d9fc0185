"""The documents that news would make: the very handlers, in a unit of work of which nothing is ever written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from libs.common.contracts.envelope import Event
from libs.common.contracts.metering import UsageWindowClosedV1
from libs.common.contracts.subscriptions import (
    AgreementEvent,
    SubscriptionScheduledV1,
    SubscriptionStartedV1,
)
from libs.common.errors import Conflict, DomainError, InvalidInput
from services.billing.application.money_ports import CustomerBalances
from services.billing.application.ports import Invoices, UnitOfWork
from services.billing.application.show_draft import show_draft
from services.billing.domain.charge import Charge
from services.billing.domain.customer_balance import CustomerBalance
from services.billing.domain.invoice import Invoice
from services.billing.domain.invoice_line import InvoiceLine

log = logging.getLogger(__name__)

# What our own code may stumble over when events contradict each other in a way that nobody thought of.
_CONTRADICTIONS = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError)


class InvoicePreviewInvalid(InvalidInput):
    """The events cannot be what subscriptions and metering would say."""

    code = "invoice_preview_invalid"
    title = "The events cannot be previewed"


class SubscriptionNotKnownYet(Conflict):
    """Billing has not heard of the subscription yet, which takes a moment after it was made."""

    code = "subscription_not_known_yet"
    title = "The subscription is not known here yet"


@dataclass(frozen=True, slots=True)
class PreviewedDocument:
    """A document as it would be; `charges` are those that it would hold, by their ids."""

    invoice: Invoice
    lines: tuple[InvoiceLine, ...]
    charges: Mapping[str, Charge]


@dataclass(frozen=True, slots=True)
class InvoicePreview:
    """Every document that would be made or go on, and the balances that would change: before and after."""

    documents: tuple[PreviewedDocument, ...]
    balances: tuple[tuple[CustomerBalance, CustomerBalance], ...]


class PreviewedInvoices(Invoices, Protocol):
    def unwritten(self) -> Sequence[Invoice]:
        """Those that were made or changed in this unit of work."""
        ...

    def lines_to_issue(self, id: str) -> tuple[InvoiceLine, ...] | None:
        """Of a document that would be issued."""
        ...


class PreviewedBalances(CustomerBalances, Protocol):
    def moved_balances(self) -> Sequence[tuple[CustomerBalance, CustomerBalance]]:
        """Before and after."""
        ...


class PreviewUnitOfWork(UnitOfWork, Protocol):
    """The one that handlers get; what it would write can be looked at."""

    @property
    def invoices(self) -> PreviewedInvoices: ...

    @property
    def customer_balances(self) -> PreviewedBalances: ...


Prepare = Callable[[Sequence[Event], Any], Awaitable[None]]
Handle = Mapping[type[Event], Callable[[Any, Any], Awaitable[None]]]


async def preview_invoices(
    given: Sequence[Event], *, prepare: Prepare, handle: Handle, uow: PreviewUnitOfWork
) -> InvoicePreview:
    """Run what handles these events, in their order, and tell what it would write.

    Nothing is written, so that no number is taken and none waits for it; whoever calls this rolls back. Events that
    billing passes over make nothing.
    Raises: SubscriptionNotKnownYet; InvoicePreviewInvalid, and what the handlers raise, with the place of the event.
    """
    known = [event for event in given if type(event) in handle]
    try:
        await prepare(known, uow)
        await _check_known(given, uow)
    except _CONTRADICTIONS as error:
        raise InvoicePreviewInvalid("the events contradict each other", pointer="/events") from error
    for position, event in enumerate(given):
        if type(event) not in handle:
            continue
        at = f"/events/{position}"
        try:
            await handle[type(event)](event, uow)
        except DomainError as error:
            error.pointer = at
            raise
        except _CONTRADICTIONS as error:
            log.warning("preview given up", extra={"event_type": event.TYPE}, exc_info=error)
            raise InvoicePreviewInvalid(
                "the event contradicts itself or an earlier one", pointer=at
            ) from error
        await asyncio.sleep(0)  # whoever else is served by this process gets his turn
    documents = [await _document(invoice, uow) for invoice in sorted(uow.invoices.unwritten(), key=_place)]
    return InvoicePreview(tuple(documents), tuple(uow.customer_balances.moved_balances()))


async def _check_known(given: Sequence[Event], uow: PreviewUnitOfWork) -> None:
    """Without what was agreed on before, a change would be billed as if all of it were new."""
    begun: set[str] = set()
    for position, event in enumerate(given):
        if isinstance(event, AgreementEvent):
            id = event.subscription.subscription_id
        else:
            assert isinstance(event, UsageWindowClosedV1), "nothing else is previewed"
            id = event.subscription_id
        if id in begun:
            continue
        begun.add(id)
        is_new = isinstance(event, SubscriptionScheduledV1 | SubscriptionStartedV1)
        if not is_new and await uow.agreements.find_for_update(id) is None:
            raise SubscriptionNotKnownYet(
                "billing has not heard of this subscription",
                pointer=f"/events/{position}",
                remedy="Send the event that begins it first, or ask again in a moment.",
            )


async def _document(invoice: Invoice, uow: PreviewUnitOfWork) -> PreviewedDocument:
    charges = await uow.charges.of_invoice(invoice.id)
    by_id = {charge.id: charge for charge in charges}
    lines = uow.invoices.lines_to_issue(invoice.id)
    if lines is not None:
        return PreviewedDocument(invoice, lines, by_id)
    at = invoice.draft_until or invoice.created_at
    view = await show_draft(invoice, now=at, uow=uow)
    return PreviewedDocument(view.invoice, view.lines, by_id)


def _place(invoice: Invoice) -> tuple[Any, ...]:
    return invoice.boundary_at, invoice.group_id, invoice.document_kind, invoice.issue

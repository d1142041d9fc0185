"""One invoice for all that falls due for a payer on one date: which documents go together, and when it is complete.

Each subscription's boundary opens a document of its own, a *part*. A part that awaits nothing more is held; its charges
then go to the gathered document, which is finalized when all parts have come, or when it has waited long enough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from libs.common.ids import derived_id
from libs.common.periods import local_date, start_of_day
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.invoice import Invoice, open_document

LATECOMER = "latecomer"


@dataclass(frozen=True, slots=True, order=True)
class GatheringKey:
    """What goes on one invoice: all of a payer on one local date, in one currency, zone and time."""

    payer_id: str
    currency: str
    zone: str
    clock_id: str | None
    on: date

    @property
    def group_id(self) -> str:
        return derived_id("grp", self.payer_id, self.currency, self.zone, self.clock_id or "")

    @property
    def start(self) -> datetime:
        return start_of_day(self.on, self.zone)

    @property
    def end(self) -> datetime:
        return start_of_day(self.on + timedelta(days=1), self.zone)


def is_part(draft: Invoice) -> bool:
    """Whether it is the document of one subscription at a boundary, which may be gathered with others.

    What is owed in a currency that the subscription has left stands on a document of its own, and so does whatever
    came after its gathered document was finalized.
    """
    return (
        draft.document_kind == "invoice"
        and draft.subscription_id is not None
        and draft.issue > 0
        and draft.replaces_id is None
        and draft.status_reason != LATECOMER
    )


def is_to_be_held(draft: Invoice, profile: BillingProfile | None) -> bool:
    """Whether a draft that awaits nothing more is to wait for the others of its payer."""
    if profile is None or not profile.gathers:
        return False
    return draft.held_for is None and not draft.awaits_window and is_part(draft)


def is_held_part(draft: Invoice) -> bool:
    return draft.status == "draft" and draft.held_for == "gathering" and draft.subscription_id is not None


def held(part: Invoice, *, now: datetime) -> Invoice:
    """Due at once: whoever takes it up finds what it is gathered into."""
    return replace(part, held_for="gathering", due_at=now)


def key_of(document: Invoice) -> GatheringKey:
    """Of a part, or of a gathered document: the same."""
    return GatheringKey(
        document.customer_id,
        document.currency,
        document.zone,
        document.clock_id,
        local_date(document.boundary_at, document.zone),
    )


def is_gathered_document(document: Invoice) -> bool:
    return (
        document.document_kind == "invoice"
        and document.subscription_id is None
        and document.group_id == key_of(document).group_id
    )


def open_gathered(part: Invoice, *, now: datetime, waits: timedelta) -> Invoice:
    """The document that the part belongs on: it is held until all parts have come, or `waits` have passed."""
    key = key_of(part)
    draft = open_document(
        key.group_id,
        part.customer,
        boundary_at=key.start,
        currency=part.currency,
        zone=part.zone,
        clock_id=part.clock_id,
        traceparent=part.traceparent,
        now=now,
        document_kind="invoice",
    )
    return replace(draft, held_for="gathering", due_at=now + waits)


def joined(gathered: Invoice, part: Invoice) -> tuple[Invoice, Invoice]:
    """The gathered document, which bills one subscription more, and the part, which is done."""
    assert is_held_part(part), "only what is held for gathering can be gathered"
    assert gathered.status == "draft", "a document that was issued takes nothing more"
    assert part.subscription_id is not None
    subscriptions = tuple(sorted({*gathered.subscription_ids, part.subscription_id}))
    return (
        replace(gathered, subscription_ids=subscriptions, version=gathered.version + 1),
        replace(
            part,
            status="gathered",
            gathered_into=gathered.id,
            held_for=None,
            due_at=None,
            version=part.version + 1,
        ),
    )


def released(gathered: Invoice) -> Invoice:
    """It waits for no more parts."""
    return replace(gathered, held_for=None, due_at=None, version=gathered.version + 1)


def left_alone(part: Invoice) -> Invoice:
    """The gathered document was finalized without it: it becomes an invoice of its own."""
    return replace(part, held_for=None, status_reason=LATECOMER, due_at=None, version=part.version + 1)

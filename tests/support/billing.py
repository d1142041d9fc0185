"""What billing hears, as events; and billing's unit of work and gateway in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from libs.common.contracts.catalog import DunningV1, PlanOverlayV1, PlanV1, PriceTierV1, PriceV1
from libs.common.contracts.metering import UsageCorrectedV1, UsageTotalV1, UsageWindowClosedV1
from libs.common.contracts.subscriptions import (
    BillingPeriodV1,
    CustomerV1,
    SubscriptionChangedV1,
    SubscriptionEndedV1,
    SubscriptionItemV1,
    SubscriptionRenewedV1,
    SubscriptionStartedV1,
    SubscriptionV1,
    TestClockMovedV1,
)
from libs.common.errors import NotFound
from libs.common.ids import new_id
from libs.common.money import Money
from libs.common.periods import Interval, Period, nth_period
from services.billing.adapters.business_days import BusinessDays
from services.billing.adapters.table_tax_engine import TableTaxEngine
from services.billing.application import events, snapshots
from services.billing.application.gateway_ports import PaymentGateway
from services.billing.domain.agreement import Agreement, BilledPeriod, CustomerDetails
from services.billing.domain.billed_usage import billed_usage
from services.billing.domain.billing_profile import BillingProfile, BillingProfileNotFound
from services.billing.domain.charge import Charge, ItemUsage, UsageCorrection, UsageOfPeriod
from services.billing.domain.customer_balance import (
    BalanceEntry,
    BalanceMovement,
    CustomerBalance,
    balance_id,
    empty_balance,
    moved,
)
from services.billing.domain.deposit import Deposit, DepositNotFound
from services.billing.domain.document_number import document_number
from services.billing.domain.invoice import NO_SELLER, Finalized, Invoice, InvoiceLine, InvoiceNotFound
from services.billing.domain.ledger_entry import Posting, imbalance
from services.billing.domain.mail_template import MailTemplate, MailTemplateNotFound
from services.billing.domain.manual_line import ManualLineNotFound
from services.billing.domain.payment import (
    Collected,
    Declined,
    Outcome,
    PaymentAttempt,
    PaymentAttemptNotFound,
    PaymentMethod,
    PaymentMethodNotFound,
)
from services.billing.domain.payment_received import Payment, PaymentAllocation, PaymentNotFound
from services.billing.domain.period_charges import period_charges
from services.billing.domain.plan_terms import PlanTerms
from services.billing.domain.seller import Seller, SellerNotFound
from services.billing.domain.terms import PeriodTerms, plain_terms
from tests.support.billing_runs import MemoryBillingRuns, MemoryGatherings, MemorySpendThresholds
from tests.support.credit_notes import MemoryCreditNotes, MemoryRefunds
from tests.support.credits import MemoryBilledLines, MemoryCouponRedemptions, MemoryWallets
from tests.support.drafts import MemoryManualLines
from tests.support.dunnings import MemoryDunnings
from tests.support.mails import MemoryMails
from tests.support.memory import MemoryRepository, MemoryUnitOfWork
from tests.support.taxes import MemoryBilledTreatments, MemoryTaxRates

TENANT = "0197c7b3-41a2-7d6e-9f00-5a3c8e1b2d47"
ZONE = "America/New_York"
STARTS_ON = date(2025, 1, 1)
GRACE = timedelta(hours=1)

FEE = PriceV1(
    id="prc_fee",
    code="aircraft",
    product_id="prd_1",
    description="Aircraft",
    kind="recurring",
    timing="advance",
    model="per_unit",
    currency="USD",
    unit_amount=Decimal("1200.00"),
    unit="aircraft",
)
MINUTES = PriceV1(
    id="prc_minutes",
    code="minutes",
    product_id="prd_1",
    description="Flying minutes",
    kind="usage",
    timing="arrears",
    model="graduated",
    currency="USD",
    tiers=(
        PriceTierV1(up_to=Decimal(100_000), unit_amount=Decimal("5.20")),
        PriceTierV1(up_to=Decimal(500_000), unit_amount=Decimal("4.75")),
        PriceTierV1(unit_amount=Decimal("4.35")),
    ),
    meter="flying-minutes",
    unit="minute",
)


def a_plan(*prices: PriceV1, code: str = "engines", number: int = 1, **changes: Any) -> PlanV1:
    """A published version of a monthly plan: aircraft and flying minutes, unless told otherwise."""
    plain = {
        "plan_id": "pln_1",
        "plan_version_id": f"plv_{code}_{number}",
        "code": code,
        "name": "Engines by the minute",
        "plan_version": number,
        "currency": "USD",
        "interval_unit": "month",
        "interval_count": 1,
        "prices": prices or (FEE, MINUTES),
    }
    return PlanV1.model_validate({**plain, **changes})


class Story:
    """One monthly subscription, told in events: aircraft in advance, flying minutes in arrears."""

    def __init__(
        self,
        tenant: str = TENANT,
        *,
        quantity: str | None = "2",
        metered: bool = True,
        clock: str | None = None,
        customer: CustomerV1 | None = None,
        ends_on: date | None = None,
        fee: PriceV1 = FEE,
        starts_on: date = STARTS_ON,
        payer: CustomerV1 | None = None,
        dunning: DunningV1 = DunningV1(),
    ) -> None:
        self.dunning = dunning
        self.tenant, self.clock, self.starts_on = tenant, clock, starts_on
        self.subscription_id = new_id("sub")
        self.fee_item, self.minutes_item = new_id("itm"), new_id("itm")
        self.customer, self.payer = customer or a_customer(), payer
        self.ends_at = None if ends_on is None else Period.between(starts_on, ends_on, ZONE).end
        self.items: list[SubscriptionItemV1] = []
        if quantity is not None:
            self.items.append(
                SubscriptionItemV1(item_id=self.fee_item, price=fee, quantity=Decimal(quantity))
            )
        if metered:
            self.items.append(SubscriptionItemV1(item_id=self.minutes_item, price=MINUTES))

    def snapshot(self) -> SubscriptionV1:
        return SubscriptionV1(
            subscription_id=self.subscription_id,
            customer=self.customer,
            payer=self.payer,
            plan_version_id="plv_1",
            plan_name="Engines by the minute",
            currency="USD",
            zone=ZONE,
            anchor_on=self.starts_on,
            interval_unit="month",
            interval_count=1,
            items=tuple(self.items),
            starts_at=self.period(0).start,
            ends_at=self.ends_at,
            dunning=self.dunning,
        )

    def period(self, index: int) -> BillingPeriodV1:
        whole = nth_period(self.starts_on, Interval("month"), ZONE, index)
        return _period(whole, index)

    def boundary(self, index: int) -> datetime:
        return self.period(index).start

    def started(self) -> SubscriptionStartedV1:
        period = self.period(0)
        return SubscriptionStartedV1(
            **self._about(1, period.start), subscription=self.snapshot(), period=period
        )

    def renewed(self, index: int) -> SubscriptionRenewedV1:
        period = self.period(index)
        return SubscriptionRenewedV1(
            **self._about(index + 1, period.start),
            subscription=self.snapshot(),
            ended=self.period(index - 1),
            period=period,
        )

    def ended(self, index: int, at: datetime | None = None) -> SubscriptionEndedV1:
        """Period `index` is the last: it ends where it would, or is cut `at` an instant."""
        whole = self.period(index)
        at = whole.end if at is None else at
        return SubscriptionEndedV1(
            **self._about(index + 2, at),
            subscription=self.snapshot().model_copy(update={"ends_at": at}),
            ended=_period(Period(whole.start, at, ZONE), index),
            ended_at=at,
            reason="canceled",
        )

    def never_began(self) -> SubscriptionEndedV1:
        at = self.boundary(0) - timedelta(days=1)
        return SubscriptionEndedV1(
            **self._about(2, at), subscription=self.snapshot(), ended=None, ended_at=at, reason="canceled"
        )

    def changed(self, version: int) -> SubscriptionChangedV1:
        return SubscriptionChangedV1(**self._about(version, self.boundary(0)), subscription=self.snapshot())

    def window_closed(
        self, index: int, minutes: str = "0", *, event_count: int = 1, at: datetime | None = None
    ) -> UsageWindowClosedV1:
        period = self.period(index)
        end = at or period.end
        return UsageWindowClosedV1(
            **self._about(1, end + GRACE),
            window_id=f"uwin_{self.subscription_id}_{index}",
            subscription_id=self.subscription_id,
            period_index=index,
            window_start=period.start,
            window_end=end,
            totals=self._totals(minutes, event_count),
        )

    def usage_corrected(
        self, index: int, before: str, minutes: str, *, revision: int = 1
    ) -> UsageCorrectedV1:
        period = self.period(index)
        return UsageCorrectedV1(
            **self._about(revision + 1, period.end + timedelta(days=3)),
            window_id=f"uwin_{self.subscription_id}_{index}",
            subscription_id=self.subscription_id,
            period_index=index,
            revision=revision,
            window_start=period.start,
            window_end=period.end,
            before=self._totals(before, 1),
            totals=self._totals(minutes, 2),
        )

    def clock_moved(self, now: datetime, version: int = 1) -> TestClockMovedV1:
        assert self.clock is not None
        return TestClockMovedV1(
            tenant=self.tenant,
            version=version,
            occurred_at=now,
            test_clock=self.clock,
            clock_id=self.clock,
            now=now,
        )

    def agreement(self, version: int = 1) -> Agreement:
        return snapshots.agreement_from(self.snapshot(), version=version, clock_id=self.clock)

    def billed(self, index: int) -> BilledPeriod:
        return snapshots.period_from(self.period(index))

    def ahead(self, index: int, *, now: datetime) -> list[Charge]:
        """What is charged for a period as it begins, when nothing has changed."""
        agreement, period = self.agreement(), self.billed(index)
        return period_charges(agreement, plain_terms(agreement, period), (), until=period.start, now=now)

    def usage(self, index: int, minutes: str, at: datetime | None = None) -> UsageOfPeriod:
        closed = self.window_closed(index, minutes, at=at)
        return UsageOfPeriod(
            window_id=closed.window_id,
            subscription_id=closed.subscription_id,
            period_index=index,
            window_start=closed.window_start,
            window_end=closed.window_end,
            closed_at=closed.occurred_at,
            totals=tuple(snapshots.item_usage_from(total) for total in closed.totals),
        )

    def _totals(self, minutes: str, event_count: int) -> tuple[UsageTotalV1, ...]:
        return (
            UsageTotalV1(
                item_id=self.minutes_item,
                meter="flying-minutes",
                quantity=Decimal(minutes),
                event_count=event_count,
            ),
        )

    def _about(self, version: int, at: datetime) -> dict[str, Any]:
        return {"tenant": self.tenant, "version": version, "occurred_at": at, "test_clock": self.clock}


def _period(period: Period, index: int) -> BillingPeriodV1:
    return BillingPeriodV1(
        index=index, start_on=period.start_on, end_on=period.end_on, start=period.start, end=period.end
    )


def a_customer(**changes: Any) -> CustomerV1:
    plain = {"customer_id": new_id("cus"), "customer_version": 1, "name": "Cloudhop", "country": "US"}
    return CustomerV1(**{**plain, **changes})


def a_seller(**changes: Any) -> Seller:
    seller = Seller(
        id="sel_1",
        code="main",
        name="Engines Inc.",
        country="US",
        number_prefix="INV-",
        payment_terms_days=14,
        is_default=True,
        version=1,
        created_at=datetime(2025, 1, 1, tzinfo=UTC),
    )
    return replace(seller, **changes)


def a_method(customer_id: str, **changes: Any) -> PaymentMethod:
    method = PaymentMethod(
        id="pm_1",
        customer_id=customer_id,
        gateway="sandbox",
        behaviour="succeeds",
        is_default=True,
        version=1,
        created_at=datetime(2025, 1, 1, tzinfo=UTC),
    )
    return replace(method, **changes)


class MemoryCustomers:
    def __init__(self) -> None:
        self.by_id: dict[str, CustomerDetails] = {}

    async def find(self, id: str) -> CustomerDetails | None:
        return self.by_id.get(id)

    async def find_for_update(self, id: str) -> CustomerDetails | None:
        return self.by_id.get(id)

    def keep_newest(self, customer: CustomerDetails) -> None:
        known = self.by_id.get(customer.id)
        if known is None or known.version < customer.version:
            self.by_id[customer.id] = customer


class MemoryCharges:
    def __init__(self) -> None:
        self.by_id: dict[str, Charge] = {}
        self.freed: dict[str, str] = {}

    async def recorded(self, ids: Sequence[str]) -> set[str]:
        return self.by_id.keys() & set(ids)

    async def of_invoice(self, invoice_id: str) -> list[Charge]:
        return [charge for charge in self.by_id.values() if charge.invoice_id == invoice_id]

    async def of_periods(self, subscription_id: str, start: int, end: int) -> list[Charge]:
        mine = (charge for charge in self.by_id.values() if charge.subscription_id == subscription_id)
        return [charge for charge in mine if start <= charge.period_index < end]

    async def of_period(self, subscription_id: str, period_index: int) -> list[Charge]:
        mine = (charge for charge in self.by_id.values() if charge.subscription_id == subscription_id)
        return [charge for charge in mine if charge.period_index == period_index or charge.kind == "once"]

    async def waiting(self, subscription_id: str) -> list[Charge]:
        mine = (charge for charge in self.by_id.values() if charge.subscription_id == subscription_id)
        return [charge for charge in mine if charge.invoice_id is None]

    async def last_usage(self, item_id: str, price_id: str, *, before: int) -> Charge | None:
        found = [
            charge
            for charge in self.by_id.values()
            if (charge.item_id, charge.price.id, charge.kind) == (item_id, price_id, "usage")
            and charge.period_index < before
        ]
        return max(found, key=lambda charge: (charge.period_index, charge.revision), default=None)

    async def usage_of_period(self, subscription_id: str, period_index: int) -> list[Charge]:
        found = await self.of_periods(subscription_id, period_index, period_index + 1)
        return sorted(
            (charge for charge in found if charge.kind == "usage"),
            key=lambda charge: (charge.item_id, charge.price.id, charge.revision),
        )

    def add(self, charge: Charge) -> None:
        assert charge.id not in self.by_id, "a charge is recorded once"
        self.by_id[charge.id] = charge
        if charge.quantity_before is not None and charge.kind != "commitment":
            same = [c for c in self.by_id.values() if _net_key(c) == _net_key(charge)]
            net = sum(c.amount.amount_minor for c in same)
            assert net >= 0, "a credit never exceeds what was charged"

    def place(self, charge: Charge, invoice_id: str) -> None:
        assert self.by_id[charge.id].invoice_id is None, "it stands on no document yet"
        self.by_id[charge.id] = replace(charge, invoice_id=invoice_id)

    async def load_of_invoices(self, invoice_ids: Iterable[str]) -> None:
        """Everything is at hand."""

    def move(self, charges: Iterable[Charge], invoice_id: str) -> None:
        for charge in list(charges):
            self.by_id[charge.id] = replace(charge, invoice_id=invoice_id)

    async def free(self, invoice_id: str) -> list[Charge]:
        freed = [replace(charge, invoice_id=None) for charge in await self.of_invoice(invoice_id)]
        self.by_id |= {charge.id: charge for charge in freed}
        self.freed |= {charge.id: invoice_id for charge in freed}
        return freed

    async def freed_by(self, invoice_id: str) -> list[Charge]:
        mine = (self.by_id[id] for id, freed_from in self.freed.items() if freed_from == invoice_id)
        return [charge for charge in mine if charge.invoice_id is None]


def _net_key(charge: Charge) -> tuple[str, str, int, str]:
    return charge.item_id, charge.price.id, charge.period_index, charge.kind


class MemoryPeriodTerms:
    def __init__(self) -> None:
        self.by_period: dict[tuple[str, int], PeriodTerms] = {}
        self.open: set[tuple[str, int]] = set()

    async def find(self, subscription_id: str, period_index: int) -> PeriodTerms | None:
        return self.by_period.get((subscription_id, period_index))

    async def of_periods(self, subscription_id: str, start: int, end: int) -> dict[int, PeriodTerms]:
        found = {index: self.by_period.get((subscription_id, index)) for index in range(start, end)}
        return {index: terms for index, terms in found.items() if terms is not None}

    async def unsettled(self, subscription_id: str) -> list[PeriodTerms]:
        return [self.by_period[key] for key in sorted(self.open) if key[0] == subscription_id]

    async def keep_newest(self, terms: PeriodTerms) -> None:
        known = self.by_period.get(terms.key)
        if known is None or known.version < terms.version:
            self.by_period[terms.key] = terms
            self.open.add(terms.key)

    async def settle(self, terms: PeriodTerms) -> None:
        self.open.discard(terms.key)


class MemoryInvoices(MemoryRepository[Invoice]):
    """Numbers are given at once: there is nobody to race with."""

    def __init__(self, uow: MemoryBilling) -> None:
        super().__init__(lambda id: InvoiceNotFound("no invoice has this id", id=id))
        self._uow = uow
        self._next = 1
        self.lines: dict[str, tuple[InvoiceLine, ...]] = {}

    async def release_waiting_for_seller(self) -> None:
        for invoice in self.by_id.values():
            if (invoice.status, invoice.status_reason) == ("draft", NO_SELLER):
                self.by_id[invoice.id] = replace(invoice, due_at=invoice.created_at)

    def finalize(self, outcome: Finalized) -> None:
        invoice = outcome.invoice
        assert invoice.seller is not None
        numbered = replace(invoice, number=document_number(invoice.seller.number_prefix, self._next))
        self._next += 1
        self.save(numbered)
        self.lines[invoice.id] = outcome.lines
        for event in events.invoice_issued(numbered, tenant=self._uow.tenant):
            self._uow.outbox.append(event, key=invoice.id, traceparent=invoice.traceparent)


class MemoryCustomerBalances:
    """Events go out at once: there is nobody to wait for."""

    def __init__(self, uow: MemoryBilling) -> None:
        self._uow = uow
        self.by_id: dict[str, CustomerBalance] = {}
        self.entries: list[BalanceEntry] = []

    async def find_for_update(self, customer_id: str, currency: str) -> CustomerBalance | None:
        return self.by_id.get(balance_id(customer_id, currency))

    async def open_for_update(self, customer_id: str, currency: str, *, now: datetime) -> CustomerBalance:
        empty = empty_balance(customer_id, currency, now=now)
        return self.by_id.setdefault(empty.id, empty)

    def move(self, movement: BalanceMovement) -> BalanceEntry:
        empty = empty_balance(movement.customer_id, movement.amount.currency, now=movement.occurred_at)
        self.by_id[empty.id], entry = moved(self.by_id.get(empty.id, empty), movement)
        self.entries.append(entry)
        told = events.customer_balance_changed(entry, tenant=self._uow.tenant)
        self._uow.outbox.append(told, key=entry.balance_id, traceparent=movement.traceparent)
        return entry


class MemoryAgreements(MemoryRepository[Agreement]):
    async def of_customer_for_update(self, customer_id: str) -> list[Agreement]:
        known = [agreement for _, agreement in sorted(self.by_id.items())]
        theirs = [a for a in known if customer_id in [party.id for party in a.parties]]
        await self.load_for_update(agreement.id for agreement in theirs)
        return theirs


class MemoryUsageWindows:
    def __init__(self) -> None:
        self.by_period: dict[tuple[str, int], UsageOfPeriod] = {}
        self.corrections: dict[tuple[str, int], UsageCorrection] = {}

    async def find(self, subscription_id: str, period_index: int) -> UsageOfPeriod | None:
        return self.by_period.get((subscription_id, period_index))

    async def of_periods(self, subscription_id: str, start: int, end: int) -> list[UsageOfPeriod]:
        found = (self.by_period.get((subscription_id, index)) for index in range(start, end))
        return [usage for usage in found if usage is not None]

    async def corrections_of(self, subscription_id: str, start: int, end: int) -> list[UsageCorrection]:
        mine = (found for found in self.corrections.values() if found.subscription_id == subscription_id)
        return [found for found in mine if start <= found.period_index < end]

    def add(self, usage: UsageOfPeriod) -> None:
        self.by_period[usage.subscription_id, usage.period_index] = usage

    async def newest(self, usage: UsageOfPeriod) -> UsageOfPeriod:
        mine = [found for found in self.corrections.values() if found.window_id == usage.window_id]
        return billed_usage(usage, mine)

    async def add_correction(self, correction: UsageCorrection) -> bool:
        key = correction.window_id, correction.revision
        return self.corrections.setdefault(key, correction) is correction


class MemoryPayerAccounts:
    """Whom nobody is to be known by any more."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    async def forget_customer(self, customer_id: str) -> None:
        self.forgotten.append(customer_id)


class MemoryPlanVersions:
    """`asked` are the ids and codes that were asked for."""

    def __init__(self) -> None:
        self.by_id: dict[str, PlanTerms] = {}
        self.overlays: dict[str, PlanTerms] = {}
        self.asked: list[str] = []

    async def find(self, plan_version_id: str) -> PlanTerms | None:
        self.asked.append(plan_version_id)
        return self.by_id.get(plan_version_id)

    async def find_by_code(self, code: str, number: int | None) -> PlanTerms | None:
        self.asked.append(code)
        mine = [plan for plan in self.by_id.values() if plan.code == code and number in (None, plan.number)]
        return max(mine, key=lambda plan: plan.number or 0, default=None)

    async def find_overlay(self, overlay_id: str) -> PlanTerms | None:
        self.asked.append(overlay_id)
        return self.overlays.get(overlay_id)

    def keep(self, plan: PlanV1) -> None:
        self.by_id.setdefault(plan.plan_version_id, snapshots.plan_from(plan))

    def keep_overlay(self, overlay: PlanOverlayV1) -> None:
        self.overlays.setdefault(overlay.overlay_id, snapshots.overlay_from(overlay))


class MemorySellers(MemoryRepository[Seller]):
    async def find_default(self) -> Seller | None:
        return next((seller for seller in self.by_id.values() if seller.is_default), None)

    async def lock_default(self) -> None:
        """Nobody else is here."""

    async def step_down(self, seller: Seller) -> None:
        self.save(seller)


class MemoryPaymentMethods(MemoryRepository[PaymentMethod]):
    async def find_default(self, customer_id: str) -> PaymentMethod | None:
        mine = (method for method in self.by_id.values() if method.customer_id == customer_id)
        return next((method for method in mine if method.is_default), None)

    async def of_customer(self, customer_id: str) -> list[PaymentMethod]:
        known = (method for method in self.by_id.values() if method.customer_id == customer_id)
        left = [method for method in known if method.removed_at is None]
        return sorted(left, key=lambda method: (method.created_at, method.id))

    async def count_changes(self, customer_id: str) -> int:
        mine = [method for method in self.by_id.values() if method.customer_id == customer_id]
        return len(mine) + sum(method.removed_at is not None for method in mine)

    async def remove(self, method: PaymentMethod) -> None:
        self.save(method)


class MemoryPaymentAttempts(MemoryRepository[PaymentAttempt]):
    def of_invoice(self, invoice_id: str) -> list[PaymentAttempt]:
        mine = [attempt for attempt in self.by_id.values() if attempt.invoice_id == invoice_id]
        return sorted(mine, key=lambda attempt: attempt.number)

    async def last_of_invoice(self, invoice_id: str) -> PaymentAttempt | None:
        attempts = self.of_invoice(invoice_id)
        return await self.find_for_update(attempts[-1].id) if attempts else None


class MemoryLedger:
    def __init__(self) -> None:
        self.postings: dict[str, Posting] = {}

    def post(self, postings: Iterable[Posting]) -> None:
        for posting in postings:
            assert posting.key not in self.postings, "a fact is posted once"
            assert not imbalance(posting.entries)
            self.postings[posting.key] = posting

    async def of_invoice(self, invoice_id: str) -> list[Posting]:
        return [posting for posting in self.postings.values() if posting.invoice_id == invoice_id]

    async def accruals_of(self, charge_ids: Iterable[str], *, is_first: bool = False) -> dict[str, Money]:
        keys = [f"charge:{id}:accrued" for id in charge_ids]
        return {
            posting.source_id or "": next(e.amount for e in posting.entries if e.account == "contract_asset")
            for key in keys
            if (posting := self.postings.get(key)) is not None
            and (is_first or f"charge:{posting.source_id}:accrual_reversed" not in self.postings)
        }

    def balance(self, account: str, *, at: date | None = None) -> int:
        """What the account came to at the close of that date; by default, of all time."""
        return sum(
            entry.amount.amount_minor
            for posting in self.postings.values()
            if at is None or posting.posted_on <= at
            for entry in posting.entries
            if entry.account == account
        )


class MemoryPayments(MemoryRepository[Payment]):
    def __init__(self, uow: MemoryBilling) -> None:
        super().__init__(lambda id: PaymentNotFound("no payment has this id", id=id))
        self._uow = uow
        self.allocations: list[PaymentAllocation] = []

    def allocate(self, allocation: PaymentAllocation) -> None:
        self.allocations.append(allocation)

    async def allocations_of(self, payment_id: str) -> list[PaymentAllocation]:
        return [one for one in self.allocations if one.payment_id == payment_id]

    async def owed_by(self, customer_id: str, currency: str) -> list[str]:
        owed = [
            one
            for one in self._uow.invoices.items.values()
            if (one.customer_id, one.currency, one.status) == (customer_id, currency, "finalized")
        ]
        return [one.id for one in sorted(owed, key=lambda one: (str(one.due_on), one.id))]


class MemoryBilling(MemoryUnitOfWork):
    """Billing's unit of work in memory, with a seller unless told otherwise."""

    def __init__(self, *, seller: Seller | None = None, without_seller: bool = False) -> None:
        super().__init__(tenant=TENANT)
        self.agreements = MemoryAgreements(lambda id: NotFound("no agreement has this id", id=id))
        self.customers = MemoryCustomers()
        self.customer_balances = MemoryCustomerBalances(self)
        self.charges = MemoryCharges()
        self.period_terms = MemoryPeriodTerms()
        self.invoices = MemoryInvoices(self)
        self.usage_windows = MemoryUsageWindows()
        self.plan_versions = MemoryPlanVersions()
        self.sellers = MemorySellers(lambda id: SellerNotFound("no seller has this id", id=id))
        self.payment_methods = MemoryPaymentMethods(
            lambda id: PaymentMethodNotFound("no payment method has this id", id=id)
        )
        self.payment_attempts = MemoryPaymentAttempts(
            lambda id: PaymentAttemptNotFound("no payment attempt has this id", id=id)
        )
        self.payments = MemoryPayments(self)
        self.dunnings = MemoryDunnings(self)
        self.coupon_redemptions = MemoryCouponRedemptions()
        self.wallets = MemoryWallets(self)
        self.billed_lines = MemoryBilledLines(self)
        self.ledger = MemoryLedger()
        self.gatherings = MemoryGatherings(self)
        self.billing_runs = MemoryBillingRuns()
        self.spend_thresholds = MemorySpendThresholds()
        self.credit_notes = MemoryCreditNotes(self)
        self.refunds = MemoryRefunds()
        self.mails = MemoryMails()
        self.bank_statement_entries = MemoryPayerAccounts()
        self.mail_templates: MemoryRepository[MailTemplate] = MemoryRepository(
            lambda id: MailTemplateNotFound("no such template", id=id)
        )
        self.deposits: MemoryRepository[Deposit] = MemoryRepository(
            lambda id: DepositNotFound("no deposit has this id", id=id)
        )
        self.tax_rates = MemoryTaxRates()
        self.tax_engine = TableTaxEngine(self.tax_rates)
        self.billed_treatments = MemoryBilledTreatments()
        self.business_days = BusinessDays()
        self.manual_lines = MemoryManualLines(
            lambda id: ManualLineNotFound("no manual line has this id", id=id)
        )
        self.billing_profiles: MemoryRepository[BillingProfile] = MemoryRepository(
            lambda id: BillingProfileNotFound("the customer has no billing profile", id=id)
        )
        if not without_seller:
            self.sellers.add(seller or a_seller())

    @property
    def told(self) -> list[str]:
        """The names of the events that went out, in their order."""
        return [type(event).__name__ for event in self.outbox.events]


class MemoryGateway(PaymentGateway):
    """Remembers what it took; does as it is told with each new key."""

    def __init__(self, *behaviours: Outcome | Exception) -> None:
        self._behaviours = list(behaviours)
        self.outcomes: dict[str, Outcome] = {}
        self.collected: list[tuple[str, str, Money]] = []

    async def collect(
        self, *, tenant: str, idempotency_key: str, method: PaymentMethod, amount: Money, at: datetime
    ) -> Outcome:
        if idempotency_key in self.outcomes:
            return self.outcomes[idempotency_key]
        behaviour = self._behaviours.pop(0) if self._behaviours else Collected(f"ref-{idempotency_key}")
        outcome = behaviour if isinstance(behaviour, Outcome) else Collected("late")
        self.outcomes[idempotency_key] = outcome
        if isinstance(outcome, Collected):
            self.collected.append((idempotency_key, method.id, amount))
        if isinstance(behaviour, Exception):
            raise behaviour
        return outcome

    async def find_outcome(self, *, idempotency_key: str, **_: object) -> Outcome | None:
        return self.outcomes.get(idempotency_key)

    async def give_up(self, *, tenant: str, method: PaymentMethod, reference: str) -> Outcome:
        return Declined("action_not_taken")


def used(story: Story, minutes: str) -> ItemUsage:
    return ItemUsage(story.minutes_item, "flying-minutes", Decimal(minutes), 1)

"""Event → command: what billing does with what it hears."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from libs.common.contracts import HEARS, group_of, topic_of
from libs.common.contracts.catalog import (
    CouponRedeemedV1,
    CouponRedemptionWithdrawnV1,
    PlanOverlaidV1,
    PlanPublishedV1,
    TenantChangedV1,
    TokenRevokedV1,
)
from libs.common.contracts.envelope import Event
from libs.common.contracts.metering import (
    UsageCorrectedV1,
    UsageTotalV1,
    UsageWindowClosedV1,
    UsageWindowSealedV1,
)
from libs.common.contracts.subscriptions import (
    AgreementEvent,
    CustomerChangedV1,
    SubscriptionChangedV1,
    SubscriptionEndedV1,
    SubscriptionPausedV1,
    SubscriptionReceiptIssuedV1,
    SubscriptionRecoveredV1,
    SubscriptionRenewalUpcomingV1,
    SubscriptionRenewedV1,
    SubscriptionResumedV1,
    SubscriptionScheduledV1,
    SubscriptionStartedV1,
    SubscriptionTrialEndingV1,
    TestClockMovedV1,
)
from libs.common.messaging.handlers import HandlerGroup
from libs.common.persistence.reference import on_tenant_changed, on_test_clock_moved, on_token_revoked
from services.billing.adapters.period_terms import PeriodKey
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application import snapshots
from services.billing.application.add_usage_lines import AddUsageLines, add_usage_lines
from services.billing.application.correct_usage import CorrectUsage, correct_usage
from services.billing.application.keep_coupon_redemption import (
    keep_coupon_redemption,
    withdraw_coupon_redemption,
)
from services.billing.application.keep_customer import KeepCustomer, keep_customer
from services.billing.application.keep_plan import KeepPlan, KeepPlanOverlay, keep_plan, keep_plan_overlay
from services.billing.application.reconcile_charges import (
    ReconcileCharges,
    reconcile_charges,
)
from services.billing.application.settle_change import SettleChange, settle_change
from services.billing.domain.agreement import Agreement
from services.billing.domain.charge import (
    Charge,
    ChargeKind,
    ItemUsage,
    UsageCorrection,
    UsageOfPeriod,
    charge_id,
)
from services.billing.domain.invoice import invoice_id
from services.billing.domain.terms import PeriodTerms
from services.billing.domain.usage_difference import billed_lines
from services.billing.entrypoints.mail_handlers import (
    on_receipt_issued,
    on_renewal_upcoming,
    on_subscription_recovered,
    on_trial_ending,
    subscriptions_told_of,
    tell_of_end,
)

Lifecycle = SubscriptionStartedV1 | SubscriptionRenewedV1 | SubscriptionEndedV1


async def on_plan_published(event: PlanPublishedV1, uow: BillingUnitOfWork) -> None:
    """From now on it can be simulated."""
    await keep_plan(KeepPlan(event.plan), uow=uow)


async def on_plan_overlaid(event: PlanOverlaidV1, uow: BillingUnitOfWork) -> None:
    await keep_plan_overlay(KeepPlanOverlay(event.overlay), uow=uow)


async def on_customer_changed(event: CustomerChangedV1, uow: BillingUnitOfWork) -> None:
    await keep_customer(
        KeepCustomer(snapshots.customer_from(event.customer, clock_id=event.test_clock)), uow=uow
    )


async def on_subscription_started(event: SubscriptionStartedV1, uow: BillingUnitOfWork) -> None:
    """The first boundary: nothing is behind it."""
    await reconcile_charges(_boundary(event), uow=uow)


async def on_subscription_renewed(event: SubscriptionRenewedV1, uow: BillingUnitOfWork) -> None:
    await reconcile_charges(_boundary(event), uow=uow)


async def on_subscription_ended(event: SubscriptionEndedV1, uow: BillingUnitOfWork) -> None:
    """The last boundary: nothing is ahead of it.

    An agreement that never began owes nothing but fees; nor does a last period that ended the instant it began: what
    was due at that boundary stands on the document that its beginning opened, and what of it is given back on another.
    """
    if _never_began(event):
        await settle_change(_change(event, _settles_at(event)), uow=uow)
    else:
        await reconcile_charges(_boundary(event), uow=uow)
    await tell_of_end(event, uow)


def _never_began(event: AgreementEvent) -> bool:
    """The period that ends here has no length, or is none at all."""
    if not isinstance(event, SubscriptionEndedV1):
        return False
    return event.ended is None or event.ended.start == event.ended.end


async def on_subscription_scheduled(event: SubscriptionScheduledV1, uow: BillingUnitOfWork) -> None:
    """Nothing is owed yet but fees."""
    await settle_change(_change(event, None), uow=uow)


async def on_subscription_changed(event: SubscriptionChangedV1, uow: BillingUnitOfWork) -> None:
    """Also when it is paused or resumed. What the change costs is billed at once, or at the next boundary."""
    await settle_change(_change(event, event.settles_at), uow=uow)


def _settles_at(event: AgreementEvent) -> datetime | None:
    """When a document of its own is made for what happened; there is none where it has nothing to say."""
    if isinstance(event, SubscriptionChangedV1):
        return event.settles_at
    if isinstance(event, SubscriptionEndedV1) and _never_began(event) and (event.terms or event.fees):
        return event.ended_at
    return None


def _change(event: AgreementEvent, settles_at: datetime | None) -> SettleChange:
    return SettleChange(
        agreement=_agreement(event),
        terms=_terms(event),
        fees=tuple(snapshots.fee_from(fee) for fee in event.fees),
        settles_at=settles_at,
        occurred_at=event.occurred_at,
        begins_at=event.subscription.starts_at if isinstance(event, SubscriptionScheduledV1) else None,
        is_over=_never_began(event),
    )


def _terms(event: AgreementEvent) -> tuple[PeriodTerms, ...]:
    subscription_id = event.subscription.subscription_id
    return tuple(
        snapshots.terms_from(terms, subscription_id=subscription_id, version=event.version)
        for terms in event.terms
    )


def _agreement(event: AgreementEvent) -> Agreement:
    return snapshots.agreement_from(event.subscription, version=event.version, clock_id=event.test_clock)


def _boundary(event: Lifecycle) -> ReconcileCharges:
    begins = None if isinstance(event, SubscriptionEndedV1) else event.period
    ended = None if isinstance(event, SubscriptionStartedV1) else event.ended
    return ReconcileCharges(
        agreement=_agreement(event),
        boundary_at=_boundary_at(event),
        begins=None if begins is None else snapshots.period_from(begins),
        ended=None if ended is None else snapshots.period_from(ended),
        occurred_at=event.occurred_at,
        terms=_terms(event),
        fees=tuple(snapshots.fee_from(fee) for fee in event.fees),
    )


def _boundary_at(event: Lifecycle) -> datetime:
    return event.ended_at if isinstance(event, SubscriptionEndedV1) else event.period.start


async def on_usage_window_closed(event: UsageWindowClosedV1, uow: BillingUnitOfWork) -> None:
    """Bill metered usage in arrears, on the invoice raised at the window's end."""
    usage = UsageOfPeriod(
        window_id=event.window_id,
        subscription_id=event.subscription_id,
        period_index=event.period_index,
        window_start=event.window_start,
        window_end=event.window_end,
        closed_at=event.occurred_at,
        totals=_totals(event.totals),
    )
    await add_usage_lines(AddUsageLines(usage), uow=uow)


async def on_coupon_redeemed(event: CouponRedeemedV1, uow: BillingUnitOfWork) -> None:
    """It counts for what is billed from now on."""
    await keep_coupon_redemption(event, uow=uow)


async def on_coupon_redemption_withdrawn(event: CouponRedemptionWithdrawnV1, uow: BillingUnitOfWork) -> None:
    await withdraw_coupon_redemption(event, uow=uow)


async def on_usage_window_sealed(event: UsageWindowSealedV1, uow: BillingUnitOfWork) -> None:
    """Kept, to be shown with the lines that the usage came to."""
    uow.window_digests.add(snapshots.window_digest_from(event))


async def on_usage_corrected(event: UsageCorrectedV1, uow: BillingUnitOfWork) -> None:
    """What was billed of a window is put right."""
    correction = UsageCorrection(
        window_id=event.window_id,
        subscription_id=event.subscription_id,
        period_index=event.period_index,
        revision=event.revision,
        totals=_totals(event.totals),
        before=_totals(event.before),
        policy=event.policy,
        is_billable=event.is_billable,
        corrected_at=event.occurred_at,
    )
    await correct_usage(CorrectUsage(correction, event.occurred_at), uow=uow)


def _totals(given: Iterable[UsageTotalV1]) -> tuple[ItemUsage, ...]:
    return tuple(snapshots.item_usage_from(total) for total in given)


async def prepare(given: Sequence[Event], uow: BillingUnitOfWork) -> None:
    """Lock and load, in a few statements, what a batch will need: all its agreements, then all its drafts.

    News of one subscription comes on two topics, so two consumers may have the same agreements in hand: each takes
    them in id order, whatever the events are that ask for them.
    """
    told = [event for event in given if isinstance(event, AgreementEvent)]
    billed = [event for event in told if isinstance(event, Lifecycle) and not _never_began(event)]
    closed = [event for event in given if isinstance(event, UsageWindowClosedV1)]
    corrected = [event for event in given if isinstance(event, UsageCorrectedV1)]
    counted: list[UsageWindowClosedV1 | UsageCorrectedV1] = [*closed, *corrected]
    subscriptions = [event.subscription.subscription_id for event in told]
    reminded = await _reminded(given, uow)
    await uow.agreements.load_of_customers_for_update(
        _erased(given), also=[*subscriptions, *(event.subscription_id for event in counted), *reminded]
    )
    drafts = [document_id for event in told if (document_id := _document_id(event)) is not None]
    drafts += [invoice_id(event.subscription_id, event.window_end) for event in counted]
    put_right = [(event.subscription_id, event.period_index) for event in corrected]
    await uow.charges.load_usage_of_periods(put_right)
    drafts += [document_id for event in corrected for document_id in await _documents_of(event, uow)]
    await uow.invoices.load_for_update(drafts)
    payers = await _payers(told, corrected, drafts, uow)
    await _load_credits(told, counted, payers, uow)
    await uow.customer_balances.load_for_update(payers)
    written_to = [customer_id for customer_id in reminded.values() if customer_id is not None]
    await uow.billing_profiles.load([*(customer_id for customer_id, _ in payers), *written_to])
    await uow.charges.load_of_invoices(drafts)
    await uow.manual_lines.load_of_invoices(drafts)
    windows = [(event.subscription_id, event.period_index) for event in closed]
    await uow.usage_windows.load(
        [*_periods_behind(billed), *windows, *put_right],
        also=[event.window_id for event in counted],
    )
    of_terms = [*_periods_of(told), *windows, *put_right]
    around = [(id, index + step) for id, index in of_terms for step in (-1, 1)]  # for pooled allowances
    await uow.period_terms.load([*of_terms, *around], unsettled_of=subscriptions)
    await uow.charges.load_waiting(subscriptions)
    await uow.charges.load_of_periods(await _periods_settled(told, windows, uow))
    recorded = [id for event in told for id in _charge_ids(event)]
    await uow.charges.load_recorded(recorded)
    behind = [key for key in _periods_behind(billed) if await uow.usage_windows.find(*key) is not None]
    await uow.charges.load_usage_of_periods([*windows, *behind])
    corrects = [id async for id in _lines_put_right(put_right, subscriptions, uow)]
    if corrects:
        await uow.billed_treatments.of_lines(corrects)


async def _reminded(given: Sequence[Event], uow: BillingUnitOfWork) -> Mapping[str, str | None]:
    """The subscriptions of which mails tell, and to whom; none where no seller sends mails."""
    found = subscriptions_told_of(given)
    return found if found and await uow.mails.is_wanted() else {}


def _document_id(event: AgreementEvent) -> str | None:
    """The document that the event opens, if it opens one."""
    subscription_id = event.subscription.subscription_id
    if isinstance(event, Lifecycle) and not _never_began(event):
        return invoice_id(subscription_id, _boundary_at(event))
    at = _settles_at(event)
    return None if at is None else invoice_id(subscription_id, at, "change", event.version)


def _erased(given: Iterable[Event]) -> list[str]:
    """The customers of whom their agreements, too, must forget what they knew."""
    return [
        event.customer.customer_id
        for event in given
        if isinstance(event, CustomerChangedV1) and event.customer.is_erased
    ]


async def _load_credits(
    told: Iterable[AgreementEvent],
    windows: Iterable[UsageWindowClosedV1 | UsageCorrectedV1],
    payers: Iterable[tuple[str, str]],
    uow: BillingUnitOfWork,
) -> None:
    """Lock the wallets of who pays, and the coupons of who pays or uses; most have neither."""
    paying = {customer_id for customer_id, _ in payers}
    users = {event.subscription.subscription_id: event.subscription.customer.customer_id for event in told}
    for event in windows:
        agreement = await uow.agreements.find_for_update(event.subscription_id)
        if agreement is not None:
            users.setdefault(agreement.id, agreement.customer.id)
            paying.add(agreement.pays.id)
    await uow.wallets.load_for_update(paying)
    await uow.coupon_redemptions.load_for_update(paying.union(users.values()), used_by=users)


async def _documents_of(event: UsageCorrectedV1, uow: BillingUnitOfWork) -> list[str]:
    """On which the window's charges stand, and on which the difference may: of the agreement's end, or its own."""
    charged = await uow.charges.usage_of_period(event.subscription_id, event.period_index)
    found = [charge.invoice_id for charge in charged if charge.invoice_id is not None]
    found.append(invoice_id(event.subscription_id, event.window_end, "correction", event.revision))
    agreement = await uow.agreements.find_for_update(event.subscription_id)
    if agreement is not None and agreement.ends_at is not None:
        found.append(invoice_id(agreement.id, agreement.ends_at))
    return found


async def _lines_put_right(
    keys: Iterable[PeriodKey], subscriptions: Iterable[str], uow: BillingUnitOfWork
) -> AsyncIterator[str]:
    """The lines that a batch corrects: those of its windows, and those that waiting corrections name."""
    for key in keys:
        by_price: dict[tuple[str, str], list[Charge]] = {}
        for charge in await uow.charges.usage_of_period(*key):
            by_price.setdefault((charge.item_id, charge.price.id), []).append(charge)
        for charges in by_price.values():
            for line in billed_lines(charges):
                if line.line_id is not None:
                    yield line.line_id
    for subscription_id in subscriptions:
        for charge in await uow.charges.waiting(subscription_id):
            for line in charge.billed_before or ():
                if line.line_id is not None:
                    yield line.line_id


async def _payers(
    told: Iterable[AgreementEvent],
    corrected: Iterable[UsageCorrectedV1],
    drafts: Iterable[str],
    uow: BillingUnitOfWork,
) -> set[tuple[str, str]]:
    """Whose balances, in which currency, the documents of a batch may draw on."""
    payers = {((s.payer or s.customer).customer_id, s.currency) for s in (e.subscription for e in told)}
    for event in corrected:
        agreement = await uow.agreements.find_for_update(event.subscription_id)
        if agreement is not None:
            payers.add((agreement.pays.id, agreement.currency))
    for id in drafts:
        draft = await uow.invoices.find_for_update(id)
        if draft is not None and draft.status == "draft":
            payers.add((draft.customer_id, draft.currency))
    return payers


def _periods_behind(billed: Iterable[Lifecycle]) -> Iterator[PeriodKey]:
    for event in billed:
        if not isinstance(event, SubscriptionStartedV1) and event.ended is not None:
            yield event.subscription.subscription_id, event.ended.index


def _periods_of(told: Iterable[AgreementEvent]) -> Iterator[PeriodKey]:
    """All periods that these events tell of."""
    for event in told:
        subscription_id = event.subscription.subscription_id
        for terms in event.terms:
            yield subscription_id, terms.period.index
        if isinstance(event, Lifecycle):
            yield from _periods_behind([event])
        if isinstance(event, SubscriptionStartedV1 | SubscriptionRenewedV1):
            yield subscription_id, event.period.index


async def _periods_settled(
    told: Iterable[AgreementEvent], windows: Iterable[PeriodKey], uow: BillingUnitOfWork
) -> set[PeriodKey]:
    """Those that are held against what was charged: of which terms are told or kept, or that have a commitment."""
    wanted = {(e.subscription.subscription_id, terms.period.index) for e in told for terms in e.terms}
    for event in told:
        for terms in await uow.period_terms.unsettled(event.subscription.subscription_id):
            wanted.add(terms.key)
        if event.subscription.commitments:
            wanted.update(_periods_of([event]))
    for key in _periods_of(told):
        if await uow.period_terms.find(*key) is not None:
            wanted.add(key)
    for key in windows:
        agreement = await uow.agreements.find_for_update(key[0])
        kept = await uow.period_terms.find(*key)
        if (agreement is not None and agreement.commitments) or (kept is not None and kept.commitments):
            wanted.add(key)
    return wanted


def _charge_ids(event: AgreementEvent) -> Iterator[str]:
    """What the charges of a boundary will be called, of periods that have no terms of their own."""
    for fee in event.fees:
        yield charge_id(event.subscription.subscription_id, fee.fee_id, 0, "fee")
    if not isinstance(event, Lifecycle):
        return
    begins = None if isinstance(event, SubscriptionEndedV1) else event.period
    ended = None if isinstance(event, SubscriptionStartedV1) else event.ended
    for item in event.subscription.items:
        kind: ChargeKind = "advance" if item.price.timing == "advance" else "arrears"
        if item.price.kind == "recurring" and kind == "advance" and begins is not None:
            yield charge_id(item.item_id, item.price.id, begins.index, kind)
        if item.price.kind == "recurring" and kind == "arrears" and ended is not None:
            yield charge_id(item.item_id, item.price.id, ended.index, kind)
        if item.price.kind == "one_time" and begins is not None:
            yield charge_id(item.item_id, item.price.id, begins.index, "once")


HANDLERS: HandlerGroup[BillingUnitOfWork] = HandlerGroup(
    name=group_of("billing"),
    topics=tuple(topic_of(service) for service in HEARS["billing"]),
    handle={
        TenantChangedV1: on_tenant_changed,
        TokenRevokedV1: on_token_revoked,
        TestClockMovedV1: on_test_clock_moved,
        PlanPublishedV1: on_plan_published,
        PlanOverlaidV1: on_plan_overlaid,
        CustomerChangedV1: on_customer_changed,
        SubscriptionScheduledV1: on_subscription_scheduled,
        SubscriptionStartedV1: on_subscription_started,
        SubscriptionRenewedV1: on_subscription_renewed,
        SubscriptionChangedV1: on_subscription_changed,
        SubscriptionPausedV1: on_subscription_changed,
        SubscriptionResumedV1: on_subscription_changed,
        SubscriptionEndedV1: on_subscription_ended,
        SubscriptionTrialEndingV1: on_trial_ending,
        SubscriptionRenewalUpcomingV1: on_renewal_upcoming,
        SubscriptionReceiptIssuedV1: on_receipt_issued,
        SubscriptionRecoveredV1: on_subscription_recovered,
        UsageWindowClosedV1: on_usage_window_closed,
        UsageCorrectedV1: on_usage_corrected,
        UsageWindowSealedV1: on_usage_window_sealed,
        CouponRedeemedV1: on_coupon_redeemed,
        CouponRedemptionWithdrawnV1: on_coupon_redemption_withdrawn,
    },
    prepare=prepare,
)

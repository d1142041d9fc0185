"""Rows ↔ domain objects of billing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sqlalchemy import RowMapping

from libs.common.contracts.catalog import CommitmentV1
from libs.common.contracts.metering import UsageTotalV1
from libs.common.contracts.subscriptions import PeriodTermsV1
from libs.common.money import Money
from libs.common.periods import Interval
from services.billing.adapters.price_json import price_from_json, price_to_json
from services.billing.application.events import (
    commitment_snapshot,
    item_usage_from,
    item_usage_snapshot,
    terms_from,
    terms_snapshot,
)
from services.billing.domain.agreement import Address, Agreement, BilledItem, Bounds, CustomerDetails
from services.billing.domain.charge import Charge, ItemUsage, UsageCorrection, UsageOfPeriod
from services.billing.domain.customer_balance import BalanceEntry, BalanceMovement, CustomerBalance
from services.billing.domain.invoice import Invoice, InvoiceLine
from services.billing.domain.payment import PaymentAttempt, PaymentMethod
from services.billing.domain.proration import AS_USUAL, ProrationOptions
from services.billing.domain.rating.allowance import AllowanceBalance, RolledOver
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.seller import Seller
from services.billing.domain.terms import PeriodTerms

Row = RowMapping


def _plain(thing: Seller | CustomerDetails | PaymentMethod | ProrationOptions) -> dict[str, Any]:
    """Its fields by name; `asdict` would copy each value deeply, which takes ten times as long."""
    return {name: getattr(thing, name) for name in thing.__slots__}


def seller_to_row(seller: Seller) -> dict[str, Any]:
    return _plain(seller)


def seller_from_row(row: Row) -> Seller:
    return Seller(**{name: row[name] for name in Seller.__slots__})


_ALWAYS_WRITTEN = frozenset({"id", "version", "name", "email", "external_id", "country"})


def customer_to_json(customer: CustomerDetails) -> dict[str, Any]:
    """What was always written, and of the rest what is known: an issued invoice is written as it was found."""
    return {
        name: value
        for name, value in _plain(customer).items()
        if name in _ALWAYS_WRITTEN or (value is not None and value is not False)
    }


def customer_from_json(stored: Mapping[str, Any]) -> CustomerDetails:
    """Also one that was kept before all of it was."""
    known = {"email": None, "external_id": None, "country": None, **stored}
    address = known.get("address")
    return CustomerDetails(**{**known, "address": Address(**address) if address else None})


def customer_to_row(customer: CustomerDetails) -> dict[str, Any]:
    return _plain(customer)


def customer_from_row(row: Row) -> CustomerDetails:
    return customer_from_json({name: row[name] for name in CustomerDetails.__slots__})


def agreement_to_row(agreement: Agreement) -> dict[str, Any]:
    snapshot = {
        "customer": customer_to_json(agreement.customer),
        "payer": customer_to_json(agreement.payer) if agreement.payer else None,
        "currency": agreement.currency,
        "zone": agreement.zone,
        "ends_at": agreement.ends_at.isoformat() if agreement.ends_at else None,
        "anchor_on": agreement.anchor_on.isoformat() if agreement.anchor_on else None,
        "interval": [agreement.interval.unit, agreement.interval.count] if agreement.interval else None,
        "billed_until": agreement.billed_until.isoformat() if agreement.billed_until else None,
        "proration": None if agreement.proration == AS_USUAL else _plain(agreement.proration),
        "commitments": [
            commitment_snapshot(commitment).model_dump(mode="json", exclude_defaults=True)
            for commitment in agreement.commitments
        ],
        "items": [
            {
                "id": item.id,
                "price": price_to_json(item.price),
                "quantity": None if item.quantity is None else str(item.quantity),
            }
            for item in agreement.items
        ],
    }
    return {
        "id": agreement.id,
        "version": agreement.version,
        "customer_id": agreement.customer.id,
        "snapshot": snapshot,
        "clock_id": agreement.clock_id,
    }


def agreement_from_row(row: Row) -> Agreement:
    snapshot = row["snapshot"]
    anchor_on, interval = snapshot.get("anchor_on"), snapshot.get("interval")
    payer = snapshot.get("payer")
    billed_until, proration = snapshot.get("billed_until"), snapshot.get("proration")
    return Agreement(
        id=row["id"],
        version=row["version"],
        customer=customer_from_json(snapshot["customer"]),
        payer=customer_from_json(payer) if payer else None,
        currency=snapshot["currency"],
        zone=snapshot["zone"],
        items=tuple(
            BilledItem(
                id=item["id"],
                price=price_from_json(item["price"]),
                quantity=None if item["quantity"] is None else Decimal(item["quantity"]),
            )
            for item in snapshot["items"]
        ),
        ends_at=datetime.fromisoformat(snapshot["ends_at"]) if snapshot["ends_at"] else None,
        clock_id=row["clock_id"],
        anchor_on=date.fromisoformat(anchor_on) if anchor_on else None,
        interval=Interval(*interval) if interval else None,
        billed_until=datetime.fromisoformat(billed_until) if billed_until else None,
        proration=ProrationOptions(**proration) if proration else AS_USUAL,
        commitments=tuple(_commitment_from_json(stored) for stored in snapshot.get("commitments", ())),
    )


def _commitment_from_json(stored: Mapping[str, Any]) -> Commitment:
    snapshot = CommitmentV1.model_validate(stored)
    return Commitment(**{name: getattr(snapshot, name) for name in Commitment.__slots__})


def charge_to_row(charge: Charge) -> dict[str, Any]:
    return {
        "id": charge.id,
        "subscription_id": charge.subscription_id,
        "item_id": charge.item_id,
        "price_id": charge.price.id,
        "period_index": charge.period_index,
        "kind": charge.kind,
        "revision": charge.revision,
        "invoice_id": charge.invoice_id,
        "price": price_to_json(charge.price),
        "quantity": charge.quantity,
        "fraction_numerator": Decimal(charge.fraction.numerator),
        "fraction_denominator": Decimal(charge.fraction.denominator),
        "service_start": charge.service_start,
        "service_end": charge.service_end,
        "service_start_on": charge.service_start_on,
        "service_end_on": charge.service_end_on,
        "amount_minor": charge.amount.amount_minor,
        "currency": charge.amount.currency,
        "usage_window_id": charge.usage_window_id,
        "event_count": charge.event_count,
        "created_at": charge.created_at,
        "quantity_before": charge.quantity_before,
        "is_end": charge.is_end,
        "counted_by": charge.counted_by,
        "most_minor": None if charge.most is None else charge.most.amount_minor,
        "allowance": None if charge.allowance is None else _allowance_to_json(charge.allowance),
        "basis": charge.basis,
        "whole": None if charge.whole is None else _bounds_to_json(charge.whole),
    }


def charge_from_row(row: Row) -> Charge:
    return Charge(
        id=row["id"],
        subscription_id=row["subscription_id"],
        item_id=row["item_id"],
        price=price_from_json(row["price"]),
        period_index=row["period_index"],
        kind=row["kind"],
        revision=row["revision"],
        quantity=row["quantity"],
        fraction=Fraction(int(row["fraction_numerator"]), int(row["fraction_denominator"])),
        service_start=row["service_start"],
        service_end=row["service_end"],
        service_start_on=row["service_start_on"],
        service_end_on=row["service_end_on"],
        amount=Money(row["amount_minor"], row["currency"]),
        created_at=row["created_at"],
        invoice_id=row["invoice_id"],
        usage_window_id=row["usage_window_id"],
        event_count=row["event_count"],
        quantity_before=row["quantity_before"],
        is_end=row["is_end"],
        counted_by=row["counted_by"],
        most=None if row["most_minor"] is None else Money(row["most_minor"], row["currency"]),
        allowance=None if row["allowance"] is None else _allowance_from_json(row["allowance"]),
        basis=row["basis"],
        whole=None if row["whole"] is None else _bounds_from_json(row["whole"]),
    )


def _allowance_to_json(balance: AllowanceBalance) -> dict[str, Any]:
    return {
        "included": str(balance.included),
        "rolled_over": [[str(units.quantity), units.periods_left] for units in balance.rolled_over],
        "left_of_blocks": [[str(units.quantity), units.periods_left] for units in balance.left_of_blocks],
    }


def _allowance_from_json(stored: Mapping[str, Any]) -> AllowanceBalance:
    return AllowanceBalance(
        included=Decimal(stored["included"]),
        rolled_over=tuple(RolledOver(Decimal(units), left) for units, left in stored["rolled_over"]),
        left_of_blocks=tuple(RolledOver(Decimal(units), left) for units, left in stored["left_of_blocks"]),
    )


def _bounds_to_json(bounds: Bounds) -> dict[str, str]:
    return {name: getattr(bounds, name).isoformat() for name in Bounds.__slots__}


def _bounds_from_json(stored: Mapping[str, str]) -> Bounds:
    return Bounds(
        start_on=date.fromisoformat(stored["start_on"]),
        end_on=date.fromisoformat(stored["end_on"]),
        start=datetime.fromisoformat(stored["start"]),
        end=datetime.fromisoformat(stored["end"]),
    )


def terms_to_row(terms: PeriodTerms, *, is_settled: bool) -> dict[str, Any]:
    return {
        "subscription_id": terms.subscription_id,
        "period_index": terms.period.index,
        "version": terms.version,
        "terms": terms_snapshot(terms).model_dump(mode="json", exclude_defaults=True),
        "is_settled": is_settled,
    }


def terms_from_row(row: Row) -> PeriodTerms:
    return terms_from(
        PeriodTermsV1.model_validate(row["terms"]),
        subscription_id=row["subscription_id"],
        version=row["version"],
    )


def _seller_snapshot(seller: Seller | None) -> dict[str, Any] | None:
    return None if seller is None else {**_plain(seller), "created_at": seller.created_at.isoformat()}


def _seller_from_snapshot(snapshot: dict[str, Any] | None) -> Seller | None:
    if snapshot is None:
        return None
    return Seller(**{**snapshot, "created_at": datetime.fromisoformat(snapshot["created_at"])})


def invoice_to_row(invoice: Invoice) -> dict[str, Any]:
    return {
        "id": invoice.id,
        "subscription_id": invoice.subscription_id,
        "customer_id": invoice.customer_id,
        "boundary_at": invoice.boundary_at,
        "document_kind": invoice.document_kind,
        "issue": invoice.issue,
        "period_index": invoice.period_index,
        "status": invoice.status,
        "status_reason": invoice.status_reason,
        "awaits_window": invoice.awaits_window,
        "seller_id": invoice.seller.id if invoice.seller else None,
        "series": invoice.series,
        "number": invoice.number,
        "currency": invoice.currency,
        "zone": invoice.zone,
        "net_minor": invoice.net.amount_minor,
        "tax_minor": invoice.tax.amount_minor,
        "total_minor": invoice.total.amount_minor,
        "paid_minor": invoice.paid.amount_minor,
        "balance_applied_minor": invoice.balance_applied.amount_minor,
        "issued_at": invoice.issued_at,
        "due_on": invoice.due_on,
        "paid_at": invoice.paid_at,
        "customer": customer_to_json(invoice.customer),
        "seller": _seller_snapshot(invoice.seller),
        "version": invoice.version,
        "created_at": invoice.created_at,
        "due_at": invoice.due_at,
        "clock_id": invoice.clock_id,
        "traceparent": invoice.traceparent,
    }


def invoice_from_row(row: Row) -> Invoice:
    currency = row["currency"]
    return Invoice(
        id=row["id"],
        subscription_id=row["subscription_id"],
        customer_id=row["customer_id"],
        boundary_at=row["boundary_at"],
        document_kind=row["document_kind"],
        issue=row["issue"],
        period_index=row["period_index"],
        status=row["status"],
        status_reason=row["status_reason"],
        awaits_window=row["awaits_window"],
        currency=currency,
        zone=row["zone"],
        series=row["series"],
        created_at=row["created_at"],
        clock_id=row["clock_id"],
        traceparent=row["traceparent"],
        net=Money(row["net_minor"], currency),
        tax=Money(row["tax_minor"], currency),
        total=Money(row["total_minor"], currency),
        paid=Money(row["paid_minor"], currency),
        balance_applied=Money(row["balance_applied_minor"], currency),
        seller=_seller_from_snapshot(row["seller"]),
        customer=customer_from_json(row["customer"]),
        number=row["number"],
        issued_at=row["issued_at"],
        due_on=row["due_on"],
        paid_at=row["paid_at"],
        due_at=row["due_at"],
        version=row["version"],
    )


def line_to_row(line: InvoiceLine) -> dict[str, Any]:
    return {
        "id": line.id,
        "invoice_id": line.invoice_id,
        "charge_id": line.charge_id,
        "ordinal": line.ordinal,
        "tier": line.tier,
        "description": line.description,
        "quantity": line.quantity,
        "unit_amount": line.unit_amount,
        "net_minor": line.net.amount_minor,
        "currency": line.net.currency,
        "formula": line.formula,
        "service_start_on": line.service_start_on,
        "service_end_on": line.service_end_on,
    }


def line_from_row(row: Row) -> InvoiceLine:
    plain = {name: row[name] for name in InvoiceLine.__slots__ if name != "net"}
    return InvoiceLine(**plain, net=Money(row["net_minor"], row["currency"]))


def balance_to_row(balance: CustomerBalance) -> dict[str, Any]:
    return {
        "id": balance.id,
        "customer_id": balance.customer_id,
        "currency": balance.amount.currency,
        "balance_minor": balance.amount.amount_minor,
        "version": balance.version,
        "created_at": balance.created_at,
    }


def balance_from_row(row: Row) -> CustomerBalance:
    return CustomerBalance(
        id=row["id"],
        customer_id=row["customer_id"],
        amount=Money(row["balance_minor"], row["currency"]),
        version=row["version"],
        created_at=row["created_at"],
    )


def balance_entry_to_row(entry: BalanceEntry) -> dict[str, Any]:
    movement = entry.movement
    return {
        "id": entry.id,
        "balance_id": entry.balance_id,
        "ordinal": entry.ordinal,
        "customer_id": movement.customer_id,
        "kind": movement.kind,
        "amount_minor": movement.amount.amount_minor,
        "after_minor": entry.after.amount_minor,
        "currency": movement.amount.currency,
        "occurred_at": movement.occurred_at,
        "actor": movement.actor,
        "invoice_id": movement.invoice_id,
        "reason": movement.reason,
        "clock_id": movement.clock_id,
    }


def balance_entry_from_row(row: Row) -> BalanceEntry:
    plain = ("customer_id", "kind", "occurred_at", "actor", "invoice_id", "reason", "clock_id")
    amount, after = (Money(row[name], row["currency"]) for name in ("amount_minor", "after_minor"))
    return BalanceEntry(
        id=row["id"],
        balance_id=row["balance_id"],
        ordinal=row["ordinal"],
        movement=BalanceMovement(amount=amount, **{name: row[name] for name in plain}),
        after=after,
    )


def _totals_to_json(totals: Iterable[ItemUsage]) -> list[dict[str, Any]]:
    return [item_usage_snapshot(total).model_dump(mode="json") for total in totals]


def usage_to_row(usage: UsageOfPeriod) -> dict[str, Any]:
    return {
        "id": usage.window_id,
        "subscription_id": usage.subscription_id,
        "period_index": usage.period_index,
        "window_start": usage.window_start,
        "window_end": usage.window_end,
        "closed_at": usage.closed_at,
        "totals": _totals_to_json(usage.totals),
    }


def usage_from_row(row: Row) -> UsageOfPeriod:
    return UsageOfPeriod(
        window_id=row["id"],
        subscription_id=row["subscription_id"],
        period_index=row["period_index"],
        window_start=row["window_start"],
        window_end=row["window_end"],
        closed_at=row["closed_at"],
        totals=tuple(item_usage_from(UsageTotalV1.model_validate(total)) for total in row["totals"]),
    )


def correction_to_row(correction: UsageCorrection) -> dict[str, Any]:
    return {
        "id": correction.window_id,
        "subscription_id": correction.subscription_id,
        "period_index": correction.period_index,
        "revision": correction.revision,
        "totals": _totals_to_json(correction.totals),
        "policy": correction.policy,
        "is_billable": correction.is_billable,
        "billable_revision": correction.billable_revision,
    }


def correction_from_row(row: Row) -> UsageCorrection:
    return UsageCorrection(
        window_id=row["id"],
        subscription_id=row["subscription_id"],
        period_index=row["period_index"],
        revision=row["revision"],
        totals=tuple(item_usage_from(UsageTotalV1.model_validate(total)) for total in row["totals"]),
        policy=row["policy"],
        is_billable=row["is_billable"],
        billable_revision=row["billable_revision"],
    )


def method_to_row(method: PaymentMethod) -> dict[str, Any]:
    return _plain(method)


def method_from_row(row: Row) -> PaymentMethod:
    return PaymentMethod(**{name: row[name] for name in PaymentMethod.__slots__})


def attempt_to_row(attempt: PaymentAttempt) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "invoice_id": attempt.invoice_id,
        "customer_id": attempt.customer_id,
        "number": attempt.number,
        "state": attempt.state,
        "payment_method_id": attempt.payment_method_id,
        "amount_minor": attempt.amount.amount_minor,
        "currency": attempt.amount.currency,
        "gateway_reference": attempt.gateway_reference,
        "reason": attempt.reason,
        "claimed_until": attempt.claimed_until,
        "ended_at": attempt.ended_at,
        "created_at": attempt.created_at,
        "version": attempt.version,
        "due_at": attempt.due_at,
        "clock_id": attempt.clock_id,
        "retry_at": attempt.claimed_until,  # while it is claimed, no scheduler finds it
        "traceparent": attempt.traceparent,
    }


def attempt_from_row(row: Row) -> PaymentAttempt:
    return PaymentAttempt(
        id=row["id"],
        invoice_id=row["invoice_id"],
        customer_id=row["customer_id"],
        number=row["number"],
        state=row["state"],
        amount=Money(row["amount_minor"], row["currency"]),
        created_at=row["created_at"],
        due_at=row["due_at"],
        clock_id=row["clock_id"],
        traceparent=row["traceparent"],
        payment_method_id=row["payment_method_id"],
        claimed_until=row["claimed_until"],
        gateway_reference=row["gateway_reference"],
        reason=row["reason"],
        ended_at=row["ended_at"],
        version=row["version"],
    )

"""Rows ↔ agreements, charges, usage and invoices."""

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
from services.billing.adapters.dunning_json import dunning_terms_from_json, dunning_terms_to_json
from services.billing.adapters.party_mapping import (
    customer_from_json,
    customer_to_json,
    profile_from_json,
    profile_to_json,
    seller_from_json,
    seller_to_json,
)
from services.billing.adapters.plain_fields import plain_fields
from services.billing.adapters.price_json import price_from_json, price_to_json
from services.billing.application.snapshots import (
    commitment_snapshot,
    item_usage_from,
    item_usage_snapshot,
    terms_from,
    terms_snapshot,
)
from services.billing.domain.agreement import Agreement, BilledItem, Bounds
from services.billing.domain.charge import Charge, ItemUsage, UsageCorrection, UsageOfPeriod
from services.billing.domain.correction_lines import BilledLine
from services.billing.domain.discount import Coupon
from services.billing.domain.invoice import AppliedDiscount, Invoice
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.payment_terms import PaymentTerms
from services.billing.domain.proration import AS_USUAL, ProrationOptions
from services.billing.domain.rating.allowance import AllowanceBalance, AllowancePool, RolledOver
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.settlement import InvoiceTax
from services.billing.domain.terms import PeriodTerms
from services.billing.domain.usage_pool import UsagePool

Row = RowMapping


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
        "proration": None if agreement.proration == AS_USUAL else plain_fields(agreement.proration),
        "plan_code": agreement.plan_code,
        "dunning": dunning_terms_to_json(agreement.dunning),
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
        "payer_id": agreement.pays.id,
        "next_boundary_at": agreement.next_boundary_at,
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
        plan_code=snapshot.get("plan_code", ""),
        dunning=dunning_terms_from_json(snapshot.get("dunning")),
        next_boundary_at=row["next_boundary_at"],
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
        "plan_code": charge.plan_code,
        "billed_before": None
        if charge.billed_before is None
        else [[line.key, line.amount.amount_minor, line.line_id] for line in charge.billed_before],
        "pools": [_pool_to_json(pool) for pool in charge.pools] or None,
        "estimated_quantity": charge.estimated_quantity,
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
        plan_code=row["plan_code"],
        billed_before=None
        if row["billed_before"] is None
        else tuple(
            BilledLine(key, Money(minor, row["currency"]), line_id)
            for key, minor, line_id in row["billed_before"]
        ),
        pools=tuple(_pool_from_json(stored, row["currency"]) for stored in row["pools"] or ()),
        estimated_quantity=row["estimated_quantity"],
    )


def _pool_to_json(pool: UsagePool) -> dict[str, Any]:
    return {
        "period_count": pool.period_count,
        "quantity": format(pool.quantity, "f"),
        "event_count": pool.event_count,
        "is_last": pool.is_last,
        "elsewhere": [[key, amount.amount_minor] for key, amount in pool.elsewhere],
        "allowance": None if pool.allowance is None else _allowance_to_json(pool.allowance),
    }


def _pool_from_json(stored: Mapping[str, Any], currency: str) -> UsagePool:
    allowance = stored["allowance"]
    return UsagePool(
        period_count=stored["period_count"],
        quantity=Decimal(stored["quantity"]),
        event_count=stored["event_count"],
        is_last=stored["is_last"],
        elsewhere=tuple((key, Money(minor, currency)) for key, minor in stored["elsewhere"]),
        allowance=None if allowance is None else _allowance_from_json(allowance),
    )


def _allowance_to_json(balance: AllowanceBalance) -> dict[str, Any]:
    told: dict[str, Any] = {} if balance.pool is None else {"pool": _allowance_pool_to_json(balance.pool)}
    return told | {
        "included": str(balance.included),
        "rolled_over": [[str(units.quantity), units.periods_left] for units in balance.rolled_over],
        "left_of_blocks": [[str(units.quantity), units.periods_left] for units in balance.left_of_blocks],
    }


def _allowance_from_json(stored: Mapping[str, Any]) -> AllowanceBalance:
    return AllowanceBalance(
        included=Decimal(stored["included"]),
        rolled_over=tuple(RolledOver(Decimal(units), left) for units, left in stored["rolled_over"]),
        left_of_blocks=tuple(RolledOver(Decimal(units), left) for units, left in stored["left_of_blocks"]),
        pool=_allowance_pool_from_json(stored["pool"]) if "pool" in stored else None,
    )


def _allowance_pool_to_json(pool: AllowancePool) -> dict[str, Any]:
    return {
        "start_on": pool.start_on.isoformat(),
        "start": pool.start.isoformat(),
        "until_on": None if pool.until_on is None else pool.until_on.isoformat(),
        "held": str(pool.held),
        "length": pool.length,
        "unit": pool.unit,
        "used_before": format(pool.used_before, "f"),
        "is_last": pool.is_last,
    }


def _allowance_pool_from_json(stored: Mapping[str, Any]) -> AllowancePool:
    until_on = stored["until_on"]
    return AllowancePool(
        start_on=date.fromisoformat(stored["start_on"]),
        start=datetime.fromisoformat(stored["start"]),
        until_on=None if until_on is None else date.fromisoformat(until_on),
        held=Fraction(stored["held"]),
        length=stored["length"],
        unit=stored["unit"],
        used_before=Decimal(stored["used_before"]),
        is_last=stored["is_last"],
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
        "seller": seller_to_json(invoice.seller),
        "version": invoice.version,
        "created_at": invoice.created_at,
        "due_at": invoice.due_at,
        "clock_id": invoice.clock_id,
        "traceparent": invoice.traceparent,
        "group_id": invoice.group_id,
        **{f"{name}_minor": getattr(invoice, name).amount_minor for name in _INVOICE_AMOUNTS},
        "taxes": [_tax_to_json(tax) for tax in invoice.taxes],
        "discounts": [_discount_to_json(discount) for discount in invoice.discounts],
        "subscription_ids": list(invoice.subscription_ids),
        "profile": profile_to_json(invoice.profile),
        "payment_terms": None if invoice.payment_terms is None else plain_fields(invoice.payment_terms),
        **{name: getattr(invoice, name) for name in _INVOICE_PLAIN},
    }


def _amounts(row: Row, names: Iterable[str]) -> dict[str, Any]:
    return {name: Money(row[f"{name}_minor"], row["currency"]) for name in names}


_INVOICE_AMOUNTS = ("subtotal", "prepaid", "discount", "credits_applied", "credited")
_INVOICE_PLAIN = (
    "notes",
    "purchase_order",
    "buyer_reference",
    "external_id",
    "draft_until",
    "held_for",
    "gathered_into",
    "replaces_id",
    "voided_at",
    "reopened_count",
)


def _tax_to_json(tax: InvoiceTax) -> dict[str, Any]:
    return {
        "category": tax.category,
        "percent": format(tax.percent, "f"),
        "taxable_minor": tax.taxable.amount_minor,
        "tax_minor": tax.tax.amount_minor,
        "reason_code": tax.reason_code,
        "reason": tax.reason,
    }


def _tax_from_json(stored: Mapping[str, Any], currency: str) -> InvoiceTax:
    return InvoiceTax(
        category=stored["category"],
        percent=Decimal(stored["percent"]),
        taxable=Money(stored["taxable_minor"], currency),
        tax=Money(stored["tax_minor"], currency),
        reason_code=stored["reason_code"],
        reason=stored["reason"],
    )


def _discount_to_json(discount: AppliedDiscount) -> dict[str, Any]:
    return {
        "coupon": coupon_to_json(discount.coupon),
        "base_minor": discount.base.amount_minor,
        "amount_minor": discount.amount.amount_minor,
        "told": discount.told,
    }


def _discount_from_json(stored: Mapping[str, Any], currency: str) -> AppliedDiscount:
    return AppliedDiscount(
        coupon=coupon_from_json(stored["coupon"]),
        base=Money(stored["base_minor"], currency),
        amount=Money(stored["amount_minor"], currency),
        told=stored["told"],
    )


def coupon_to_json(coupon: Coupon) -> dict[str, Any]:
    """All of it, with what was used before: it takes off the same again."""
    stored: dict[str, Any] = {name: getattr(coupon, name) for name in Coupon.__slots__}
    stored["percent"] = None if coupon.percent is None else format(coupon.percent, "f")
    for name in ("amount", "already_used"):
        money = stored[name]
        stored[name] = None if money is None else [money.amount_minor, money.currency]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in stored.items()}


def coupon_from_json(stored: Mapping[str, Any]) -> Coupon:
    known: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
    for name in ("amount", "already_used"):
        known[name] = None if known[name] is None else Money(*known[name])
    known["percent"] = None if known["percent"] is None else Decimal(known["percent"])
    known["taken_back"] = tuple((id, minor) for id, minor in known.get("taken_back", ()))
    return Coupon(**known)


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
        seller=seller_from_json(row["seller"]),
        customer=customer_from_json(row["customer"]),
        number=row["number"],
        issued_at=row["issued_at"],
        due_on=row["due_on"],
        paid_at=row["paid_at"],
        due_at=row["due_at"],
        version=row["version"],
        group_id=row["group_id"],
        **_amounts(row, _INVOICE_AMOUNTS),
        taxes=tuple(_tax_from_json(stored, currency) for stored in row["taxes"]),
        discounts=tuple(_discount_from_json(stored, currency) for stored in row["discounts"]),
        subscription_ids=tuple(row["subscription_ids"]),
        profile=profile_from_json(row["profile"]),
        payment_terms=PaymentTerms(**row["payment_terms"]) if row["payment_terms"] else None,
        **{name: row[name] for name in _INVOICE_PLAIN},
    )


_LINE_AMOUNTS = ("amount", "prepaid", "discount", "net")
_LINE_PLAIN = tuple(name for name in InvoiceLine.__slots__ if name not in (*_LINE_AMOUNTS, "tax"))


def line_to_row(line: InvoiceLine) -> dict[str, Any]:
    stored: dict[str, Any] = {name: getattr(line, name) for name in _LINE_PLAIN}
    stored["amount_minor"] = line.amount.amount_minor
    stored["prepaid_minor"] = line.prepaid.amount_minor
    stored["discount_minor"] = line.discount.amount_minor
    stored["net_minor"] = line.net.amount_minor
    stored["line_tax_minor"] = None if line.tax is None else line.tax.amount_minor
    stored["currency"] = line.net.currency
    return stored


def line_from_row(row: Row) -> InvoiceLine:
    currency, tax = row["currency"], row["line_tax_minor"]
    return InvoiceLine(
        **{name: row[name] for name in _LINE_PLAIN},
        **_amounts(row, _LINE_AMOUNTS),
        tax=None if tax is None else Money(tax, currency),
    )


def _totals_to_json(totals: Iterable[ItemUsage]) -> list[dict[str, Any]]:
    return [item_usage_snapshot(total).model_dump(mode="json", exclude_defaults=True) for total in totals]


def _totals_from_json(stored: Iterable[Any]) -> tuple[ItemUsage, ...]:
    return tuple(item_usage_from(UsageTotalV1.model_validate(total)) for total in stored)


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
        totals=_totals_from_json(row["totals"]),
    )


def correction_to_row(correction: UsageCorrection) -> dict[str, Any]:
    return {
        "id": correction.window_id,
        "subscription_id": correction.subscription_id,
        "period_index": correction.period_index,
        "revision": correction.revision,
        "totals": _totals_to_json(correction.totals),
        "before": None if correction.before is None else _totals_to_json(correction.before),
        "policy": correction.policy,
        "is_billable": correction.is_billable,
        "corrected_at": correction.corrected_at,
    }


def correction_from_row(row: Row) -> UsageCorrection:
    return UsageCorrection(
        window_id=row["id"],
        subscription_id=row["subscription_id"],
        period_index=row["period_index"],
        revision=row["revision"],
        totals=_totals_from_json(row["totals"]),
        before=None if row["before"] is None else _totals_from_json(row["before"]),
        policy=row["policy"],
        is_billable=row["is_billable"],
        corrected_at=row["corrected_at"],
    )

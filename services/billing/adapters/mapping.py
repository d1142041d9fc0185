"""Rows ↔ domain objects of billing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
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
from services.billing.adapters.contact_json import (
    delivery_from_json,
    detail_to_json,
    seller_details_from_json,
)
from services.billing.adapters.dunning_json import dunning_terms_from_json, dunning_terms_to_json
from services.billing.adapters.price_json import price_from_json, price_to_json
from services.billing.application.events import (
    commitment_snapshot,
    item_usage_from,
    item_usage_snapshot,
    terms_from,
    terms_snapshot,
)
from services.billing.domain.agreement import Address, Agreement, BilledItem, Bounds, CustomerDetails
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.charge import Charge, ItemUsage, UsageCorrection, UsageOfPeriod
from services.billing.domain.correction_lines import BilledLine
from services.billing.domain.customer_balance import BalanceEntry, BalanceMovement, CustomerBalance
from services.billing.domain.discount import Coupon
from services.billing.domain.invoice import AppliedDiscount, Invoice
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.manual_line import ManualLine
from services.billing.domain.payment import MethodDetails, PaymentAttempt, PaymentMethod
from services.billing.domain.payment_terms import PaymentTerms
from services.billing.domain.proration import AS_USUAL, ProrationOptions
from services.billing.domain.rating.allowance import AllowanceBalance, RolledOver
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.seller import Seller, TaxRegistration
from services.billing.domain.settlement import InvoiceTax
from services.billing.domain.terms import PeriodTerms
from services.billing.domain.usage_pool import UsagePool

Row = RowMapping


Plain = (
    Seller
    | CustomerDetails
    | PaymentMethod
    | MethodDetails
    | PaymentTerms
    | ProrationOptions
    | BillingProfile
    | ManualLine
)


def _plain(thing: Plain) -> dict[str, Any]:
    """Its fields by name; `asdict` would copy each value deeply, which takes ten times as long."""
    return {name: getattr(thing, name) for name in thing.__slots__}


def seller_to_row(seller: Seller) -> dict[str, Any]:
    return {
        **_plain(seller),
        "registrations": _registrations_to_json(seller.registrations),
        "details": detail_to_json(seller.details),
    }


def seller_from_row(row: Row) -> Seller:
    plain = {name: row[name] for name in Seller.__slots__}
    return Seller(
        **{
            **plain,
            "registrations": _registrations_from_json(row["registrations"]),
            "details": seller_details_from_json(row["details"]),
        }
    )


def _registrations_to_json(registrations: Iterable[TaxRegistration]) -> list[dict[str, Any]]:
    return [
        {
            "country": known.country,
            "number": known.number,
            "valid_from": None if known.valid_from is None else known.valid_from.isoformat(),
            "scheme": known.scheme,
        }
        for known in registrations
    ]


def _registrations_from_json(stored: Iterable[Mapping[str, Any]]) -> tuple[TaxRegistration, ...]:
    return tuple(
        TaxRegistration(
            country=known["country"],
            number=known["number"],
            valid_from=date.fromisoformat(known["valid_from"]) if known.get("valid_from") else None,
            scheme=known.get("scheme", "vat"),
        )
        for known in stored
    )


def profile_to_row(profile: BillingProfile) -> dict[str, Any]:
    plain = _plain(profile)
    return {"id": plain.pop("customer_id"), **plain, "delivery": detail_to_json(profile.delivery)}


def profile_from_row(row: Row) -> BillingProfile:
    plain = {name: row[name] for name in BillingProfile.__slots__ if name != "customer_id"}
    return BillingProfile(
        **{**plain, "customer_id": row["id"], "delivery": delivery_from_json(row["delivery"])}
    )


def profile_to_json(profile: BillingProfile | None) -> dict[str, Any] | None:
    """What was not there yet when older documents were issued is left out where it was not said."""
    if profile is None:
        return None
    stored = {**_plain(profile), "created_at": profile.created_at.isoformat()}
    delivery = stored.pop("delivery")
    if stored["pays_by"] == "gateway":
        del stored["pays_by"]
    return stored if delivery is None else {**stored, "delivery": detail_to_json(delivery)}


def profile_from_json(stored: Mapping[str, Any] | None) -> BillingProfile | None:
    if stored is None:
        return None
    return BillingProfile(
        **{
            **stored,
            "created_at": datetime.fromisoformat(stored["created_at"]),
            "delivery": delivery_from_json(stored.get("delivery")),
        }
    )


def manual_line_to_row(line: ManualLine) -> dict[str, Any]:
    return _plain(line)


def manual_line_from_row(row: Row) -> ManualLine:
    return ManualLine(**{name: row[name] for name in ManualLine.__slots__})


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


# Fields that sellers have not always had. `registrations` is written as a list, where there are any.
_SELLER_UNLESS_SAID = {
    field.name: field.default
    for field in fields(Seller)
    if field.default is not MISSING and field.name not in ("address", "tax_number")
}


def seller_to_json(seller: Seller | None) -> dict[str, Any] | None:
    """What was always written, and of the rest what was said: an issued invoice is written as it was found."""
    if seller is None:
        return None
    unless = _SELLER_UNLESS_SAID
    stored = {
        name: value for name, value in _plain(seller).items() if name not in unless or value != unless[name]
    }
    if seller.registrations:
        stored["registrations"] = _registrations_to_json(seller.registrations)
    if seller.details is not None:
        stored["details"] = detail_to_json(seller.details)
    return {**stored, "created_at": seller.created_at.isoformat()}


def seller_from_json(snapshot: dict[str, Any] | None) -> Seller | None:
    if snapshot is None:
        return None
    return Seller(
        **{
            **snapshot,
            "created_at": datetime.fromisoformat(snapshot["created_at"]),
            "registrations": _registrations_from_json(snapshot.get("registrations", ())),
            "details": seller_details_from_json(snapshot.get("details")),
        }
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
        "payment_terms": None if invoice.payment_terms is None else _plain(invoice.payment_terms),
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
        "credit_note_id": movement.credit_note_id,
        "allocation_id": movement.allocation_id,
        "refund_id": movement.refund_id,
    }


def balance_entry_from_row(row: Row) -> BalanceEntry:
    plain = (
        "customer_id",
        "kind",
        "occurred_at",
        "actor",
        "invoice_id",
        "reason",
        "clock_id",
        "credit_note_id",
        "allocation_id",
        "refund_id",
    )
    amount, after = (Money(row[name], row["currency"]) for name in ("amount_minor", "after_minor"))
    return BalanceEntry(
        id=row["id"],
        balance_id=row["balance_id"],
        ordinal=row["ordinal"],
        movement=BalanceMovement(amount=amount, **{name: row[name] for name in plain}),
        after=after,
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


def method_to_row(method: PaymentMethod) -> dict[str, Any]:
    return {**_plain(method), "details": None if method.details is None else _plain(method.details)}


def method_from_row(row: Row) -> PaymentMethod:
    plain = {name: row[name] for name in PaymentMethod.__slots__}
    return PaymentMethod(**{**plain, "details": MethodDetails(**row["details"]) if row["details"] else None})


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
        "called_at": attempt.called_at,
        "processing_since": attempt.processing_since,
        "needs_action": attempt.needs_action,
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
        called_at=row["called_at"],
        processing_since=row["processing_since"],
        needs_action=row["needs_action"],
        version=row["version"],
    )

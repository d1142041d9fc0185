"""How a line came about, what an invoice comes to when it is derived again, and what a proof of it is made of."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field

from libs.common.web.bodies import DecimalText, Instant, MoneyBody, StrictBody
from services.billing.adapters.price_json import price_to_json
from services.billing.application.proof_queries import LineExplanation, PlanVersion, ProofParts
from services.billing.domain.charge import Charge
from services.billing.domain.invoice import AppliedDiscount
from services.billing.domain.rating.explain import explain
from services.billing.domain.rating.rate import rate_usage
from services.billing.domain.rating.usage import Usage
from services.billing.domain.verification import Difference, StoredInvoice
from services.billing.domain.window_digest import UsageDigest, WindowDigest
from services.billing.entrypoints.bodies import InvoiceLineBody, item_of
from services.billing.entrypoints.simulated_bodies import ExplanationBody


class PlanVersionBody(StrictBody):
    id: str
    code: str
    number: int

    @classmethod
    def from_view(cls, version: PlanVersion) -> Self:
        return cls(id=version.id, code=version.code, number=version.number)


class ExplainedPriceBody(StrictBody):
    """`terms` is the whole price, as it was when it was charged."""

    id: str
    code: str
    product_id: str | None
    plan_code: str | None
    plan_version: PlanVersionBody | None
    kind: str
    timing: str
    model: str
    currency: str
    unit_amount: DecimalText | None
    tiers: list[dict[str, str | None]]
    meter: str | None
    proration: str
    terms: dict[str, Any]

    @classmethod
    def from_charge(cls, charge: Charge, version: PlanVersion | None) -> Self:
        price = charge.price
        return cls(
            id=price.id,
            code=price.code,
            product_id=price.product_id or None,
            plan_code=charge.plan_code,
            plan_version=None if version is None else PlanVersionBody.from_view(version),
            kind=price.kind,
            timing=price.timing,
            model=price.model,
            currency=price.currency,
            unit_amount=price.unit_amount,
            tiers=[
                {
                    "up_to": None if tier.up_to is None else format(tier.up_to, "f"),
                    "unit_amount": format(tier.unit_amount, "f"),
                    "flat_amount": None if tier.flat_amount is None else format(tier.flat_amount, "f"),
                }
                for tier in price.tiers
            ],
            meter=price.meter,
            proration=price.proration,
            terms=dict(price_to_json(price)),
        )


class EventDigestBody(StrictBody):
    """The root of the tree over the events, in hex. docs/proofs.md tells how to make it of them again."""

    algorithm: str
    root: str
    quantity: DecimalText
    event_count: int
    leaf_count: int | None
    revision: int
    seal: int

    @classmethod
    def from_domain(cls, seal: WindowDigest, digest: UsageDigest) -> Self:
        return cls(
            algorithm=digest.algorithm,
            root=digest.root,
            quantity=digest.quantity,
            event_count=digest.event_count,
            leaf_count=digest.leaf_count,
            revision=seal.revision,
            seal=seal.seal,
        )


class ExplainedUsageBody(StrictBody):
    """`events` leads to the very events behind the quantity, page by page; `digest` pins them, once they are sealed.
    `segments` tells it thing by thing: what each counted while it was bound to the item.

    With `&source=…&event_id=…` behind it, `inclusion_proofs` shows that one event is among them.
    """

    window_id: str
    event_count: int
    events: str
    segments: str
    digest: EventDigestBody | None
    digests: str
    inclusion_proofs: str

    @classmethod
    def from_view(cls, charge: Charge, sealed: tuple[WindowDigest, UsageDigest] | None) -> Self:
        window = f"/v1/usage-windows/{charge.usage_window_id}"
        which = f"item_id={charge.item_id}"
        if sealed is not None and sealed[1].price_id is not None:
            which = f"{which}&price_id={sealed[1].price_id}"
        return cls(
            window_id=charge.usage_window_id or "",
            event_count=charge.event_count or 0,
            events=f"{window}/events?{which}",
            segments=f"{window}/segments?item_id={charge.item_id}",
            digest=None if sealed is None else EventDigestBody.from_domain(*sealed),
            digests=f"{window}/digests",
            inclusion_proofs=f"{window}/inclusion-proofs?{which}",
        )


class ExplainedDiscountBody(StrictBody):
    """What a coupon took off the whole document: the line's `discount` is its part of all of them."""

    coupon: str
    base: MoneyBody
    amount: MoneyBody
    formula: str

    @classmethod
    def from_domain(cls, discount: AppliedDiscount) -> Self:
        return cls(
            coupon=discount.coupon.code,
            base=MoneyBody.from_money(discount.base),
            amount=MoneyBody.from_money(discount.amount),
            formula=discount.told,
        )


class LineExplanationBody(StrictBody):
    """The line, what it was made from, and what comes of that today: `agrees` when it is the very same line.

    A change goes from `quantity_before` to `quantity`, or to nothing where `gives_back`. A fee belongs to no item; what a
    person put on the document has neither charge nor price. `derivation` has every step of the arithmetic, where the line
    is what a quantity costs, and no difference between two.
    """

    line: InvoiceLineBody
    charge_id: str | None
    charge: Annotated[str | None, Field(description="Item, price, billing period, kind and revision.")]
    charge_kind: str | None
    manual_line_id: str | None
    item_id: str | None
    quantity: DecimalText
    quantity_before: DecimalText | None
    gives_back: bool
    fraction_of_period: str
    price: ExplainedPriceBody | None
    usage: ExplainedUsageBody | None
    derivation: ExplanationBody | None
    discounts: list[ExplainedDiscountBody]
    derived_net: MoneyBody | None
    agrees: bool

    @classmethod
    def from_view(cls, view: LineExplanation) -> Self:
        charge, derived = view.charge, view.derived
        return cls(
            line=InvoiceLineBody.from_domain(view.line),
            charge_id=None if charge is None else charge.id,
            charge=None if charge is None else charge.identity,
            charge_kind=None if charge is None else charge.kind,
            manual_line_id=view.line.manual_line_id,
            item_id=None if charge is None else item_of(charge),
            quantity=view.line.quantity if charge is None else charge.quantity,
            quantity_before=None if charge is None else charge.quantity_before,
            gives_back=charge is not None and charge.is_end,
            fraction_of_period="1" if charge is None else str(charge.fraction),
            price=None if charge is None else ExplainedPriceBody.from_charge(charge, view.plan_version),
            usage=None
            if charge is None or not charge.usage_window_id
            else ExplainedUsageBody.from_view(charge, view.sealed),
            derivation=None if charge is None else _derivation(charge),
            discounts=[
                ExplainedDiscountBody.from_domain(discount)
                for discount in view.discounts
                if discount.amount.amount_minor
            ],
            derived_net=None if derived is None else MoneyBody.from_money(derived.net),
            agrees=derived == view.line,
        )


def _derivation(charge: Charge) -> ExplanationBody | None:
    if charge.quantity_before is not None or charge.pools or charge.basis is not None:
        return None
    usage = Usage(charge.quantity, charge.event_count)
    rated = rate_usage(charge.price, usage, fraction=charge.fraction, allowance=charge.allowance)
    return ExplanationBody.from_domain(explain(rated))


class DifferenceBody(StrictBody):
    """`pointer` says where; `stored` and `derived` are JSON, null where there is nothing."""

    pointer: str
    stored: str | None
    derived: str | None


class VerificationBody(StrictBody):
    """`agrees`: derived again from charges, manual lines, coupons and treatments, it is the same to the byte."""

    invoice_id: str
    number: str
    total: MoneyBody
    line_count: int
    posting_count: int
    issued_at: Instant
    agrees: bool
    differences: list[DifferenceBody]

    @classmethod
    def from_domain(cls, stored: StoredInvoice, differences: list[Difference]) -> Self:
        invoice = stored.invoice
        assert invoice.number is not None, "an issued document has a number"
        assert invoice.issued_at is not None, "an issued document has a date"
        return cls(
            invoice_id=invoice.id,
            number=invoice.number,
            total=MoneyBody.from_money(invoice.total),
            line_count=len(stored.lines),
            posting_count=len(stored.postings),
            issued_at=invoice.issued_at,
            agrees=not differences,
            differences=[
                DifferenceBody(pointer=one.pointer, stored=one.stored, derived=one.derived)
                for one in differences
            ],
        )


class ProofPartsBody(StrictBody):
    """What the document was made from, as it is stored. `seals` name the digests of the usage behind its charges.

    `perennial proof` makes a bundle of it with the events; docs/proofs.md tells what is in it.
    """

    tenant: str
    invoice: dict[str, Any]
    lines: list[dict[str, Any]]
    charges: list[dict[str, Any]]
    earlier_charges: list[dict[str, Any]]
    manual_lines: list[dict[str, Any]]
    ledger: list[dict[str, Any]]
    seals: list[dict[str, Any]]

    @classmethod
    def from_view(cls, parts: ProofParts) -> Self:
        return cls(**{name: getattr(parts, name) for name in ProofParts.__slots__})

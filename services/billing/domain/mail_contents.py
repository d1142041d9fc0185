"""What a mail says, before it is put into words: which variant of its text, the values in it, and the table below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from urllib.parse import quote

from libs.common.money import Money
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.contact_details import BankAccount
from services.billing.domain.issued_document import IssuedDocument
from services.billing.domain.mail import Mail, MailKind
from services.billing.domain.remittance import in_groups
from services.billing.domain.seller import Seller


@dataclass(frozen=True, slots=True)
class LocalTime:
    """An instant as clocks show it in `zone`."""

    at: datetime
    zone: str


@dataclass(frozen=True, slots=True)
class Word:
    """One of the words that every language has, by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Period:
    start: date
    end: date


ContentValue = str | Money | date | LocalTime | Word | Period


@dataclass(frozen=True, slots=True)
class Transfer:
    """Where to transfer what, naming what."""

    account: BankAccount
    holder: str
    reference: str


@dataclass(frozen=True, slots=True)
class MailContents:
    """`names` may stand in its text; `facts` stand in the table, by the name of their label."""

    kind: MailKind
    variant: str | None
    names: Mapping[str, ContentValue]
    facts: tuple[tuple[str, ContentValue], ...] = ()
    link: str | None = None
    transfer: Transfer | None = None


@dataclass(frozen=True, slots=True)
class MailMaterial:
    """All that a mail is made from. `document` is the invoice or the credit note that it is about, and goes with it.

    `is_collected`: a payment method is there from which what is due is collected.
    """

    mail: Mail
    seller: Seller
    customer: CustomerDetails
    document: IssuedDocument | None = None
    is_collected: bool = False
    zone: str = "UTC"

    @property
    def language(self) -> str | None:
        """In which it is to be: as somebody said of this mail, or as documents of the customer are."""
        if self.mail.locale is not None:
            return self.mail.locale
        if self.document is not None:
            return self.document.language
        details = self.seller.details
        return self.customer.locale or (None if details is None else details.language)


ABOUT_DOCUMENTS: frozenset[MailKind] = frozenset(
    {
        "invoice",
        "receipt",
        "partial_payment",
        "credit_note",
        "invoice_voided",
        "payment_failed",
        "payment_action",
        "dunning_reminder",
        "dunning_final_reminder",
        "dunning_suspended",
        "dunning_ended",
    }
)
ASKS_FOR_MONEY: frozenset[MailKind] = frozenset(
    {
        "invoice",
        "partial_payment",
        "payment_failed",
        "dunning_reminder",
        "dunning_final_reminder",
        "dunning_suspended",
        "dunning_ended",
    }
)
# Of no use once nothing is due any more.
ONLY_WHILE_DUE: frozenset[MailKind] = ASKS_FOR_MONEY - {"invoice"} | {"payment_action"}
WITH_DOCUMENT: frozenset[MailKind] = frozenset(
    {"invoice", "credit_note", "dunning_reminder", "dunning_final_reminder", "statement"}
)


def contents_of(given: MailMaterial) -> MailContents:
    """Pure: whatever is told, in whatever language, is decided here."""
    document, kind = given.document, given.mail.kind
    names: dict[str, ContentValue] = {
        "customer": given.customer.name,
        "seller": given.seller.name,
        **_told(given),
    }
    if document is not None:
        names |= _of_document(document)
    variant = _variant(given)
    if kind in ("cancellation_receipt", "withdrawal_receipt"):
        names["received_at"] = LocalTime(given.mail.occurred_at, given.zone)
    return MailContents(
        kind=kind,
        variant=variant,
        names=names,
        facts=_facts(given, names, variant),
        link=_link(given, variant),
        transfer=_transfer(given, variant),
    )


def example_names(kind: MailKind) -> frozenset[str]:
    """What may be named in the text of a kind, whatever its variant."""
    names = {"customer", "seller", *_DETAIL_NAMES.get(kind, ())}
    if kind in ABOUT_DOCUMENTS:
        names |= {"document", "number", "total", "issued_on"}
    if kind in ASKS_FOR_MONEY or kind == "payment_action":
        names |= {"due", "due_on"}
    return frozenset(names)


# What other texts than those of documents speak of.
_DETAIL_NAMES: Mapping[MailKind, tuple[str, ...]] = {
    "receipt": ("amount",),
    "partial_payment": ("amount",),
    "credit_note": ("invoice_number",),
    "refund": ("amount",),
    "trial_ending": ("plan", "ends_on"),
    "renewal_upcoming": ("plan", "ends_on"),
    "cancellation_receipt": ("plan", "received_at"),
    "withdrawal_receipt": ("plan", "received_at"),
    "subscription_recovered": ("plan",),
    "subscription_ended": ("plan", "ends_on"),
    "statement": ("from_on", "to_on"),
}


def _told(given: MailMaterial) -> dict[str, ContentValue]:
    """The details that came with the mail, as what they are."""
    details, found = given.mail.details, dict[str, ContentValue]()
    currency = details.get("currency") or (None if given.document is None else given.document.currency)
    for name, value in details.items():
        if value is None or name == "currency":
            continue
        if name.endswith("_minor") and isinstance(value, int) and isinstance(currency, str):
            found[name.removesuffix("_minor")] = Money(value, currency)
        elif name.endswith("_on") and isinstance(value, str):
            found[name] = date.fromisoformat(value)
        elif name.endswith("_at") and isinstance(value, str):
            found[name] = LocalTime(datetime.fromisoformat(value), given.zone)
        else:
            found[name] = str(value)
    return found


def _of_document(document: IssuedDocument) -> dict[str, ContentValue]:
    named: dict[str, ContentValue] = {
        "document": Word(document.kind),
        "number": document.number or document.id,
        "total": document.total,
        "due": document.due,
    }
    if document.issued_on is not None:
        named["issued_on"] = document.issued_on
    due_on = document.due_on or document.issued_on
    if due_on is not None:
        named["due_on"] = due_on
    if document.total.amount_minor < 0:
        named["credit"] = -document.total
    if document.is_credit_note and document.preceding:
        named["invoice_number"] = document.preceding[0].number
    return named


def _variant(given: MailMaterial) -> str | None:
    details, document, kind = given.mail.details, given.document, given.mail.kind
    if kind == "invoice" and document is not None:
        return _variant_of_invoice(document, is_collected=given.is_collected)
    if kind == "payment_failed":
        return None if details.get("next_on") else "last"
    if kind == "dunning_final_reminder" and details.get("next_on"):
        kinds = {"suspend": "suspend", "end": "end"}
        return kinds.get(str(details.get("next_kind")))
    if kind == "trial_ending":
        return None if details.get("has_payment_method") else "no_method"
    if kind == "renewal_upcoming":
        return "end" if details.get("on_term_end") == "end" else None
    if kind == "cancellation_receipt":
        return "dated" if details.get("ends_at") else None
    if kind == "subscription_ended":
        return "trial" if details.get("reason") == "trial_without_payment_method" else None
    return None


def _variant_of_invoice(document: IssuedDocument, *, is_collected: bool) -> str | None:
    if document.total.amount_minor < 0:
        return "credit"
    if not document.total.amount_minor:
        return "nothing"
    if document.due.amount_minor <= 0 or document.status != "finalized":
        return "paid"
    return "collected" if is_collected else None


def _facts(
    given: MailMaterial, names: Mapping[str, ContentValue], variant: str | None
) -> tuple[tuple[str, ContentValue], ...]:
    document, kind = given.document, given.mail.kind
    found: list[tuple[str, ContentValue]] = []
    if document is not None:
        found += [("number", names["number"])]
        found += [(name, names[name]) for name in ("issued_on",) if name in names]
        found += [("total", document.total)]
        if document.is_credit_note:
            parts = ("to_invoice", "to_balance", "to_refund")
            amounts: list[tuple[str, Money]] = [(name, getattr(document, name)) for name in parts]
            found += [("invoice_number", names[name]) for name in ("invoice_number",) if name in names]
            found += [(name, amount) for name, amount in amounts if amount.amount_minor]
        if kind in ("receipt", "partial_payment", "refund"):
            found += [(name, names[name]) for name in ("amount", "paid_on") if name in names]
        if kind in ASKS_FOR_MONEY and document.due.amount_minor > 0 and variant != "paid":
            found += [("due", document.due), ("due_on", names["due_on"])]
        if kind == "payment_failed" and "next_on" in names:
            found += [("next_on", names["next_on"])]
        return tuple(found)
    for name in ("amount", "plan", "ends_at", "term_ends_at", "received_at", "receipt"):
        if name in names:
            found.append((name, names[name]))
    if "from_on" in names and "to_on" in names:
        start, end = names["from_on"], names["to_on"]
        if isinstance(start, date) and isinstance(end, date):
            found.append(("period", Period(start, end)))
    if given.mail.subscription_id is not None:
        found.append(("subscription", given.mail.subscription_id))
    return tuple(found)


def _link(given: MailMaterial, variant: str | None) -> str | None:
    details, kind = given.seller.details, given.mail.kind
    url = None if details is None else details.payment_url
    wanted = kind in ASKS_FOR_MONEY or kind == "payment_action" or variant == "no_method"
    if url is None or not wanted or variant in ("paid", "credit", "nothing"):
        return None
    number = None if given.document is None else given.document.number
    filled = {
        "{invoice_id}": given.mail.invoice_id,
        "{number}": number,
        "{customer_id}": given.mail.customer_id,
    }
    for name, value in filled.items():
        url = url.replace(name, quote(value or "", safe=""))
    return url


def _transfer(given: MailMaterial, variant: str | None) -> Transfer | None:
    """For whoever is asked to pay, and from whom nothing is collected."""
    document, kind = given.document, given.mail.kind
    if kind not in ASKS_FOR_MONEY or kind == "payment_failed" or variant in _ASKS_NOTHING:
        return None
    if document is None or document.bank is None or document.payment_reference is None:
        return None
    if document.due.amount_minor <= 0:
        return None
    holder = document.bank.holder or given.seller.name
    return Transfer(document.bank, holder, in_groups(document.payment_reference))


_ASKS_NOTHING = ("collected", "paid", "credit", "nothing")


_EXAMPLES: Mapping[str, ContentValue] = {
    "customer": "Delta Air Lines",
    "document": Word("invoice"),
    "number": "INV-000042",
    "invoice_number": "INV-000041",
    "total": Money(234_900, "EUR"),
    "due": Money(234_900, "EUR"),
    "amount": Money(100_000, "EUR"),
    "credit": Money(4_200, "EUR"),
    "issued_on": date(2026, 4, 1),
    "due_on": date(2026, 4, 15),
    "paid_on": date(2026, 4, 8),
    "next_on": date(2026, 4, 22),
    "ends_on": date(2026, 4, 30),
    "from_on": date(2026, 1, 1),
    "to_on": date(2026, 3, 31),
    "plan": "Light as a service",
    "received_at": LocalTime(datetime(2026, 4, 1, 12, 30, tzinfo=UTC), "Europe/Amsterdam"),
    "ends_at": LocalTime(datetime(2026, 4, 29, 22, 0, tzinfo=UTC), "Europe/Amsterdam"),
}


def example_contents(kind: MailKind, *, seller: Seller, variant: str | None = None) -> MailContents:
    """A mail of this kind about nothing that happened, to see what its words look like."""
    facts = ("number", "issued_on", "total") if kind in ABOUT_DOCUMENTS else ("plan", "amount")
    names: dict[str, ContentValue] = {**_EXAMPLES, "seller": seller.name}
    named = example_names(kind)
    return MailContents(kind, variant, names, tuple((name, names[name]) for name in facts if name in named))

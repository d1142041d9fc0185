"""What tax a supply bears, and why: by seller and buyer, what is sold, and the day that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.billing_profile import BillingProfile, TaxStatus
from services.billing.domain.seller import Seller, TaxRegistration
from services.billing.domain.tax_area import country_of_vat_id, is_in_union, taxed_as
from services.billing.domain.tax_rate import (
    EXEMPT,
    GOODS,
    OUTSIDE_SCOPE,
    STANDARD,
    ZERO,
    TaxTable,
    word_of,
)
from services.billing.domain.tax_treatment import TaxTreatment

NO_RATE = Decimal(0)

# What has to stand on an invoice that shows no tax. Source: EN 16931, code list VATEX; rules BR-AE-10, BR-IC-10,
# BR-G-10, BR-E-10, BR-O-10.
REVERSE_CHARGE = TaxTreatment("AE", NO_RATE, "VATEX-EU-AE", "Reverse charge")
WITHIN_UNION = TaxTreatment("K", NO_RATE, "VATEX-EU-IC", "Intra-community supply")
EXPORT_FROM_UNION = TaxTreatment("G", NO_RATE, "VATEX-EU-G", "Export outside the EU")
EXPORT = TaxTreatment("G", NO_RATE, None, "Export")
ZERO_RATED = TaxTreatment("Z", NO_RATE)
NOT_SUBJECT = TaxTreatment("O", NO_RATE, "VATEX-EU-O", "Not subject to VAT")
EXEMPT_SUPPLY = TaxTreatment("E", NO_RATE, None, "Exempt from tax")
# Category O may stand with no other on one document: this stands for it where the seller has a registration for others.
# Source: BR-O-11.
NOT_REGISTERED = TaxTreatment("E", NO_RATE, None, "Not subject to tax: the seller is not registered for it")


@dataclass(frozen=True, slots=True)
class TaxedBuyer:
    """The buyer as the document has him. `is_business` of None: whoever has a VAT id."""

    country: str | None = None
    vat_id: str | None = None
    is_business: bool | None = None
    tax_status: TaxStatus = "auto"
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Supply:
    """One line: what it is called by (`key`), the word for how it is taxed, and the day whose rate holds."""

    key: str
    category: str | None
    tax_point: date


@dataclass(frozen=True, slots=True)
class TaxQuestion:
    """Who sells to whom. `seller_country` is where the seller is established; his tax number is a registration there."""

    seller_country: str
    registrations: tuple[TaxRegistration, ...]
    buyer: TaxedBuyer
    supplies: Sequence[Supply]


@dataclass(frozen=True, slots=True)
class TaxAssessment:
    """How a supply is taxed, whose tax that is (None: nobody's), and the steps that led there."""

    treatment: TaxTreatment
    country: str | None
    told: tuple[str, ...]


def registrations_of(seller: Seller) -> tuple[TaxRegistration, ...]:
    """His tax number is one in his own country, for as long as he issues documents."""
    if not seller.tax_number:
        return seller.registrations
    return (TaxRegistration(seller.country, seller.tax_number), *seller.registrations)


def buyer_of(customer: CustomerDetails, profile: BillingProfile | None) -> TaxedBuyer:
    """The buyer as a document has him."""
    address = customer.address
    country = customer.country or (None if address is None else address.country)
    if profile is None:
        return TaxedBuyer(country, customer.vat_id)
    return TaxedBuyer(
        country,
        customer.vat_id,
        is_business=profile.is_business,
        tax_status=profile.tax_status,
        reason=profile.tax_exemption_reason,
    )


def tax_point(invoiced_on: date, start_on: date, end_on: date) -> date:
    """The day whose rate holds for a line: that of the invoice, or the last day of its service period if that is earlier.

    A service that goes on is supplied when its period is over; where the invoice comes before, tax falls due with the
    invoice. `end_on` is not in the period; one that is empty is its first day.
    Source: Directive 2006/112/EC, Art. 63, 64(1) and 66(a).
    """
    last_on = max(end_on - timedelta(days=1), start_on)
    return min(invoiced_on, last_on)


def assess(question: TaxQuestion, table: TaxTable) -> tuple[TaxAssessment, ...]:
    """One answer for each supply, in their order.

    Rules, first that fits: outside the scope by its category, or by the buyer's profile; a seller who is not registered
    charges no tax; what else the profile says; exempt by its category; then by where the buyer is.
    Source: Directive 2006/112/EC, Art. 44, 45, 58, 59c, 138, 146, 196; EN 16931, BR-AE-02.
    """
    known: dict[tuple[str, date], TaxAssessment] = {}
    answers = []
    for supply in question.supplies:
        key = (word_of(supply.category), supply.tax_point)
        if key not in known:
            known[key] = _Assessor(question, table, *key).decide()
        answers.append(known[key])
    return tuple(answers)


@dataclass(frozen=True, slots=True)
class _Assessor:
    """One word on one day, between two parties."""

    question: TaxQuestion
    table: TaxTable
    word: str
    on: date

    def decide(self) -> TaxAssessment:
        buyer, status = self.question.buyer, self.question.buyer.tax_status
        if self.word == OUTSIDE_SCOPE:
            return _untaxed(NOT_SUBJECT, None, f"the category {OUTSIDE_SCOPE} is outside the scope of tax")
        if status == "outside_scope":
            said = _said(NOT_SUBJECT, buyer.reason)
            return _untaxed(said, None, "the customer's billing profile says outside the scope of tax")
        if not self.question.registrations:
            return _untaxed(NOT_SUBJECT, None, "the seller has no tax number and no registration")
        if not self._registrations():
            return self._unregistered("nowhere yet")
        if status == "exempt":
            said = _said(EXEMPT_SUPPLY, buyer.reason)
            return _untaxed(said, self._home, "the customer's billing profile says exempt")
        if self.word == EXEMPT:
            return _untaxed(EXEMPT_SUPPLY, self._home, f"the category {EXEMPT} bears no tax")
        told: tuple[str, ...] = ()
        if status == "reverse_charge":
            if self._vat_country is not None:
                said = _said(REVERSE_CHARGE, buyer.reason)
                return _untaxed(said, self._there, "the customer's billing profile says reverse charge")
            told = (
                "the customer's billing profile says reverse charge, but without a valid VAT id of the buyer no "
                "invoice may say so (BR-AE-02): taxed as if it said nothing",
            )
        decided = self._by_place()
        return TaxAssessment(decided.treatment, decided.country, (*told, *decided.told))

    def _by_place(self) -> TaxAssessment:
        home, there = self._home, self._there
        if there == home:
            if self._is_registered(home):
                return self._taxed(home, f"seller and buyer are in {home}")
            return self._unregistered(f"not in {home}")
        across = f"sold from {home} to {there}"
        is_union_sale = is_in_union(there, self.on) and self._is_in_union_system(home)
        if is_union_sale and self._is_business and self._vat_country != home:
            by = WITHIN_UNION if self.word == GOODS else REVERSE_CHARGE
            who = "the buyer, a business with a valid VAT id of another member state, owes the tax"
            return _untaxed(by, there, across, who)
        if self._is_registered(there):
            return self._taxed(there, across, f"the seller is registered in {there}")
        if is_union_sale and self._has_one_stop_shop:
            return self._taxed(there, across, "the seller declares it by the one-stop shop (OSS)")
        if not self._is_registered(home):
            return self._unregistered(f"neither in {home} nor in {there}")
        if is_in_union(home, self.on) and is_in_union(there, self.on):
            why = f"the seller is neither registered in {there} nor in the one-stop shop: taxed where it comes from"
            return self._taxed(home, across, why)
        by = EXPORT_FROM_UNION if is_in_union(home, self.on) else EXPORT
        return _untaxed(by, None, across, f"{there} is outside the VAT area of {home}")

    def _taxed(self, country: str, *told: str) -> TaxAssessment:
        """At the rate of that country: a word without one has the standard rate, and never none."""
        if self.word == ZERO:
            return TaxAssessment(ZERO_RATED, country, (*told, f"the category {ZERO} is zero-rated"))
        wanted = self.table.find(country, self.word, self.on)
        rate = wanted or self.table.standard(country, self.on)
        if rate is None or rate.percent is None:
            return TaxAssessment(
                TaxTreatment("E", NO_RATE, None, f"No rate of tax is known for {country}"),
                country,
                (*told, f"no rate is known for {country}: add one for its category {STANDARD}"),
            )
        if wanted is None and self.word not in (STANDARD, GOODS):
            told = (
                *told,
                f"{country} has no rate for the category {self.word} on {self.on}: the standard rate holds",
            )
        whose = "by law" if rate.is_shipped else "by the business's own rates"
        percent = f"{rate.percent.normalize():f} % ({rate.source})"
        said = f"{rate.category} rate of {country} {whose} since {rate.valid_from}: {percent}"
        by = TaxTreatment("S", rate.percent) if rate.percent else ZERO_RATED
        return TaxAssessment(by, country, (*told, said))

    def _unregistered(self, where: str) -> TaxAssessment:
        """No tax is charged by who is not registered for it."""
        return _untaxed(NOT_REGISTERED, None, f"on {self.on} the seller is registered for tax {where}")

    @property
    def _home(self) -> str:
        return taxed_as(self.question.seller_country) or self.question.seller_country

    @property
    def _vat_country(self) -> str | None:
        vat_id = self.question.buyer.vat_id
        return None if vat_id is None else country_of_vat_id(vat_id)

    @property
    def _is_business(self) -> bool:
        """Whether the buyer may be left to owe the tax himself: by a valid VAT id, of a member state of the EU."""
        buyer, given_by = self.question.buyer, self._vat_country
        if given_by is None or buyer.is_business is False or buyer.tax_status == "taxable":
            return False
        return is_in_union(given_by, self.on)

    @property
    def _there(self) -> str:
        """Where the buyer is: his country, but within the EU that of the VAT id he buys under; else with the seller."""
        country, given_by = taxed_as(self.question.buyer.country), self._vat_country
        if country is None:
            return given_by or self._home
        if given_by is not None and self._is_business and is_in_union(country, self.on):
            return given_by
        return country

    def _registrations(self) -> list[TaxRegistration]:
        return [
            registration
            for registration in self.question.registrations
            if registration.valid_from is None or registration.valid_from <= self.on
        ]

    def _is_registered(self, country: str) -> bool:
        return any(
            taxed_as(registration.country) == country and registration.scheme == "vat"
            for registration in self._registrations()
        )

    @property
    def _has_one_stop_shop(self) -> bool:
        return any(registration.scheme == "oss" for registration in self._registrations())

    def _is_in_union_system(self, home: str) -> bool:
        """Whether the seller is one for whom the EU's rules of cross-border sales hold."""
        return is_in_union(home, self.on) or any(
            registration.scheme == "oss" or is_in_union(taxed_as(registration.country) or "", self.on)
            for registration in self._registrations()
        )


def _untaxed(by: TaxTreatment, country: str | None, *told: str) -> TaxAssessment:
    return TaxAssessment(by, country, told)


def _said(by: TaxTreatment, reason: str | None) -> TaxTreatment:
    """With the words of the profile, where it has any."""
    return by if not reason else TaxTreatment(by.category, by.percent, by.reason_code, reason)

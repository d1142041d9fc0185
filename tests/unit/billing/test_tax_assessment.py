"""What tax a supply bears: by seller, buyer, category and day; and that no answer is silent."""

from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.billing.adapters.shipped_tax_rates import shipped_table, shipped_tax_rates
from services.billing.domain.agreement import Address, CustomerDetails
from services.billing.domain.billing_profile import BillingProfile, TaxStatus
from services.billing.domain.seller import TaxRegistration
from services.billing.domain.tax_area import MEMBER_STATES, country_of_vat_id
from services.billing.domain.tax_assessment import (
    Supply,
    TaxAssessment,
    TaxedBuyer,
    TaxQuestion,
    assess,
    buyer_of,
    registrations_of,
    tax_point,
)
from services.billing.domain.tax_rate import TaxRate, TaxTable, ordered
from tests.support.billing import a_seller

NL, DE, FR, US = (TaxRegistration(country, f"{country}-1") for country in ("NL", "DE", "FR", "US"))
GB, CH = (TaxRegistration(country, f"{country}-1") for country in ("GB", "CH"))
OSS = TaxRegistration("NL", "OSS-1", scheme="oss")
LATER = TaxRegistration("NL", "NL-1", valid_from=date(2026, 7, 1))
VAT_DE, VAT_NL, VAT_GR = "DE136695976", "NL004495445B01", "EL094259216"


def day(text: str) -> date:
    return date.fromisoformat(text)


def own(country: str, category: str, percent: str | None, since: str, id: str = "txr_1") -> TaxRate:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    rate = None if percent is None else Decimal(percent)
    return TaxRate(id, country, category, rate, day(since), "ours", at)


def ask(
    home: str,
    registrations: tuple[TaxRegistration, ...],
    buyer: TaxedBuyer,
    category: str | None = None,
    on: str = "2026-06-01",
    kept: tuple[TaxRate, ...] = (),
) -> TaxAssessment:
    question = TaxQuestion(home, registrations, buyer, [Supply("line", category, day(on))])
    (answer,) = assess(question, TaxTable(shipped_table(), ordered(kept)))
    return answer


class Rate(NamedTuple):
    country: str
    on: str
    percent: str
    category: str | None = None


RATES = [
    Rate("DE", "2020-06-30", "19"),
    Rate("DE", "2020-07-01", "16"),
    Rate("DE", "2020-12-31", "16"),
    Rate("DE", "2021-01-01", "19"),
    Rate("DE", "2020-12-31", "5", "reduced"),
    Rate("DE", "2021-01-01", "7", "reduced"),
    Rate("IE", "2020-08-31", "23"),
    Rate("IE", "2020-09-01", "21"),
    Rate("IE", "2021-02-28", "21"),
    Rate("IE", "2021-03-01", "23"),
    Rate("EE", "2023-12-31", "20"),
    Rate("EE", "2024-01-01", "22"),
    Rate("EE", "2025-07-01", "24"),
    Rate("LU", "2022-12-31", "17"),
    Rate("LU", "2023-01-01", "16"),
    Rate("LU", "2024-01-01", "17"),
    Rate("FI", "2024-08-31", "24"),
    Rate("FI", "2024-09-01", "25.5"),
    Rate("SK", "2024-12-31", "20"),
    Rate("SK", "2025-01-01", "23"),
    Rate("RO", "2025-07-31", "19"),
    Rate("RO", "2025-08-01", "21"),
    Rate("RO", "2025-08-01", "21", "second_reduced"),
    Rate("CZ", "2023-12-31", "15", "reduced"),
    Rate("CZ", "2024-01-01", "12", "reduced"),
    Rate("CH", "2023-12-31", "7.7"),
    Rate("CH", "2024-01-01", "8.1"),
    Rate("GB", "2026-06-01", "20"),
    Rate("NO", "2026-06-01", "25"),
    Rate("NL", "1999-01-01", "21"),
    Rate("NL", "2026-06-01", "9", "Reduced"),
    Rate("DK", "2026-06-01", "25", "reduced"),
]


@pytest.mark.parametrize("case", RATES, ids=lambda case: f"{case.country}_{case.on}_{case.category}")
def test_rates_of_a_day(case: Rate) -> None:
    registered = (TaxRegistration(case.country, "1"),)
    answer = ask(case.country, registered, TaxedBuyer(case.country), case.category, case.on)
    assert (answer.treatment.category, answer.treatment.percent) == ("S", Decimal(case.percent))
    assert answer.country == case.country


def test_all_member_states_have_a_standard_rate_that_the_directive_allows() -> None:
    """Source: Directive 2006/112/EC, Art. 97: at least 15 %."""
    for country in MEMBER_STATES:
        for on in ("2020-01-01", "2026-06-01"):
            found = TaxTable(shipped_table(), {}).find(country, "standard", day(on))
            assert found is not None
            assert found.percent is not None
            assert found.percent >= 15


def test_shipped_rates_change_something_and_say_who_tells_of_it() -> None:
    for rates in shipped_table().values():
        percents = [rate.percent for rate in rates]
        assert all(one != following for one, following in pairwise(percents))
        assert len({rate.valid_from for rate in rates}) == len(rates)
    assert all("https://" in rate.source for rate in shipped_tax_rates())
    assert len({rate.id for rate in shipped_tax_rates()}) == len(shipped_tax_rates())


class Case(NamedTuple):
    name: str
    home: str
    registrations: tuple[TaxRegistration, ...]
    buyer: TaxedBuyer
    expect: tuple[str, str, str | None]
    category: str | None = None
    on: str = "2026-06-01"


ABROAD = "Not subject to tax: the seller is not registered for it"
AE, EXPORT = "Reverse charge", "Export outside the EU"
CASES = [
    #    name                        home  registered  buyer                            category, percent, reason
    Case("home", "NL", (NL,), TaxedBuyer("NL"), ("S", "21", None)),
    Case("business_at_home", "NL", (NL,), TaxedBuyer("NL", VAT_NL), ("S", "21", None)),
    Case("country_unknown", "NL", (NL,), TaxedBuyer(), ("S", "21", None)),
    Case("known_by_vat_id", "NL", (NL,), TaxedBuyer(None, VAT_DE), ("AE", "0", AE)),
    Case("business_abroad", "NL", (NL,), TaxedBuyer("DE", VAT_DE), ("AE", "0", AE)),
    Case("greek_prefix", "NL", (NL,), TaxedBuyer("GR", VAT_GR), ("AE", "0", AE)),
    Case("registered_there_too", "NL", (NL, DE), TaxedBuyer("DE", VAT_DE), ("AE", "0", AE)),
    Case("goods_to_business", "NL", (NL,), TaxedBuyer("DE", VAT_DE), ("K", "0", "Intra-community supply"), "goods"),
    Case("goods_at_home", "NL", (NL,), TaxedBuyer("NL"), ("S", "21", None), "goods"),
    Case("vat_id_malformed", "NL", (NL,), TaxedBuyer("DE", "DE123"), ("S", "21", None)),
    Case("no_business_after_all", "NL", (NL,), TaxedBuyer("DE", VAT_DE, is_business=False), ("S", "21", None)),
    Case("told_to_tax", "NL", (NL,), TaxedBuyer("DE", VAT_DE, tax_status="taxable"), ("S", "21", None)),
    Case("business_without_vat_id", "NL", (NL,), TaxedBuyer("DE", is_business=True), ("S", "21", None)),
    Case("buys_under_home_vat_id", "NL", (NL,), TaxedBuyer("DE", VAT_NL), ("S", "21", None)),
    Case("consumer_below_threshold", "NL", (NL,), TaxedBuyer("DE"), ("S", "21", None)),
    Case("consumer_by_one_stop_shop", "NL", (NL, OSS), TaxedBuyer("DE"), ("S", "19", None)),
    Case("consumer_where_registered", "NL", (NL, DE), TaxedBuyer("DE"), ("S", "19", None)),
    Case("rate_of_destination_then", "NL", (NL, OSS), TaxedBuyer("DE"), ("S", "16", None), None, "2020-08-01"),
    Case("export", "NL", (NL,), TaxedBuyer("US"), ("G", "0", EXPORT)),
    Case("export_to_business", "NL", (NL,), TaxedBuyer("US", VAT_DE), ("G", "0", EXPORT)),
    Case("export_where_registered", "NL", (NL, CH), TaxedBuyer("CH"), ("S", "8.1", None)),
    Case("britain_within_the_area", "NL", (NL,), TaxedBuyer("GB"), ("S", "21", None), None, "2020-12-31"),
    Case("britain_outside", "NL", (NL,), TaxedBuyer("GB"), ("G", "0", EXPORT), None, "2021-01-01"),
    Case("monaco_is_france", "FR", (FR,), TaxedBuyer("MC"), ("S", "20", None)),
    Case("british_export", "GB", (GB,), TaxedBuyer("US"), ("G", "0", "Export")),
    Case("foreign_by_one_stop_shop", "US", (OSS,), TaxedBuyer("FR"), ("S", "20", None)),
    Case("foreign_to_business", "US", (OSS,), TaxedBuyer("DE", VAT_DE), ("AE", "0", AE)),
    Case("foreign_at_home", "US", (OSS,), TaxedBuyer("US"), ("E", "0", ABROAD)),
    Case("only_registered_abroad", "NL", (FR,), TaxedBuyer("NL"), ("E", "0", ABROAD)),
    Case("not_yet_registered", "NL", (LATER,), TaxedBuyer("NL"), ("E", "0", ABROAD), None, "2026-06-30"),
    Case("registered_from_then", "NL", (LATER,), TaxedBuyer("NL"), ("S", "21", None), None, "2026-07-01"),
    Case("nowhere_registered", "NL", (), TaxedBuyer("NL"), ("O", "0", "Not subject to VAT")),
    Case("nowhere_and_abroad", "NL", (), TaxedBuyer("DE", VAT_DE), ("O", "0", "Not subject to VAT")),
    Case("no_rates_kept", "US", (US,), TaxedBuyer("US"), ("E", "0", "No rate of tax is known for US")),
    Case("zero", "NL", (NL,), TaxedBuyer("NL"), ("Z", "0", None), "ZERO"),
    Case("exempt", "NL", (NL,), TaxedBuyer("NL"), ("E", "0", "Exempt from tax"), "exempt"),
    Case("outside", "NL", (NL,), TaxedBuyer("NL"), ("O", "0", "Not subject to VAT"), "outside-scope"),
    Case("unknown_word", "NL", (NL,), TaxedBuyer("NL"), ("S", "21", None), "wash"),
    Case(
        "exempt_buyer", "NL", (NL,), TaxedBuyer("NL", tax_status="exempt", reason="Embassy"), ("E", "0", "Embassy")
    ),
    Case("buyer_outside", "NL", (NL,), TaxedBuyer("NL", tax_status="outside_scope"), ("O", "0", "Not subject to VAT")),
    Case("told_to_reverse", "NL", (NL,), TaxedBuyer("NL", VAT_NL, tax_status="reverse_charge"), ("AE", "0", AE)),
    Case("cannot_reverse", "NL", (NL,), TaxedBuyer("NL", tax_status="reverse_charge"), ("S", "21", None)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_treatment(case: Case) -> None:
    answer = ask(case.home, case.registrations, case.buyer, case.category, case.on)
    treatment = answer.treatment
    category, percent, reason = case.expect
    assert (treatment.category, treatment.percent, treatment.reason) == (category, Decimal(percent), reason)


def test_ones_own_rates_come_before_the_laws_until_they_end() -> None:
    kept = (
        own("NL", "wash", "9", "2026-01-01", "txr_1"),
        own("NL", "wash", "10", "2026-03-01", "txr_2"),
        own("NL", "standard", "20", "2026-02-01", "txr_3"),
        own("NL", "standard", None, "2026-04-01", "txr_4"),
    )

    def percents(category: str, *days: str) -> list[Decimal]:
        return [ask("NL", (NL,), TaxedBuyer("NL"), category, on, kept).treatment.percent for on in days]

    assert percents("wash", "2025-12-31", "2026-01-01", "2026-03-01") == [21, 9, 10]
    assert percents("standard", "2026-01-31", "2026-02-01", "2026-04-01") == [21, 20, 21]


def test_of_two_own_rates_from_one_day_on_the_later_one_holds() -> None:
    kept = (
        own("US", "standard", "8", "2026-01-01", "txr_1"),
        own("US", "standard", "8.875", "2026-01-01", "txr_2"),
    )
    assert ask("US", (US,), TaxedBuyer("US"), kept=kept).treatment.percent == Decimal("8.875")


def test_an_own_rate_of_nothing_is_zero_rated() -> None:
    kept = (own("US", "standard", "0", "2026-01-01"),)
    assert ask("US", (US,), TaxedBuyer("US"), kept=kept).treatment.category == "Z"


@pytest.mark.parametrize(
    ("invoiced", "start", "end", "expect"),
    [
        ("2026-01-01", "2026-01-01", "2026-02-01", "2026-01-01"),  # ahead
        (
            "2026-02-01",
            "2026-01-01",
            "2026-02-01",
            "2026-01-31",
        ),  # in arrears: the last day that was supplied
        ("2026-01-15", "2026-01-01", "2026-02-01", "2026-01-15"),
        ("2026-02-01", "2026-01-10", "2026-01-10", "2026-01-10"),  # at one moment
    ],
)
def test_tax_point(invoiced: str, start: str, end: str, expect: str) -> None:
    assert tax_point(day(invoiced), day(start), day(end)) == day(expect)


def test_a_tax_number_is_a_registration_where_the_seller_is() -> None:
    assert registrations_of(a_seller(tax_number=None)) == ()
    assert registrations_of(a_seller(tax_number="")) == ()
    seller = a_seller(country="NL", tax_number="NL-1", registrations=(DE,))
    assert registrations_of(seller) == (NL, DE)


def test_a_buyer_is_where_his_address_is_unless_he_says_where() -> None:
    customer = CustomerDetails("cus_1", 1, "Customer", None, None, None, address=Address(country="DE"))
    assert buyer_of(customer, None) == TaxedBuyer("DE")
    profile = BillingProfile(
        "cus_1", datetime(2026, 1, 1, tzinfo=UTC), tax_status="exempt", tax_exemption_reason="Embassy"
    )
    assert buyer_of(customer, profile) == TaxedBuyer("DE", tax_status="exempt", reason="Embassy")


@pytest.mark.parametrize(
    ("vat_id", "country"),
    [
        (VAT_DE, "DE"),
        (VAT_GR, "GR"),
        ("CHE107787577MWST", "CH"),
        ("GB980780684", "GB"),
        ("DE136695977", None),
        ("XX1", None),
        ("", None),
        ("12-3456789", None),
    ],
)
def test_country_of_vat_id(vat_id: str, country: str | None) -> None:
    assert country_of_vat_id(vat_id) == country


countries = st.sampled_from(["NL", "DE", "FR", "GB", "CH", "US", "MC", None])
registrations = st.lists(st.sampled_from([NL, DE, FR, GB, US, OSS, LATER]), max_size=3, unique=True).map(
    tuple
)
statuses: st.SearchStrategy[TaxStatus] = st.sampled_from(
    ["auto", "taxable", "exempt", "reverse_charge", "outside_scope"]
)
buyers = st.builds(
    TaxedBuyer,
    countries,
    st.sampled_from([None, VAT_DE, VAT_NL, "DE1"]),
    st.sampled_from([None, True, False]),
    statuses,
)
words = st.sampled_from([None, "reduced", "zero", "exempt", "outside_scope", "goods", "wash"])
days = st.dates(date(2020, 1, 1), date(2026, 12, 31))
supplies = st.lists(st.builds(Supply, st.just("line"), words, days), min_size=1, max_size=4)


@settings(max_examples=200)
@given(st.sampled_from(["NL", "DE", "GB", "US"]), registrations, buyers, supplies)
def test_every_answer_can_stand_on_an_invoice(
    home: str, registrations: tuple[TaxRegistration, ...], buyer: TaxedBuyer, supplies: list[Supply]
) -> None:
    question = TaxQuestion(home, registrations, buyer, supplies)
    answers = assess(question, TaxTable(shipped_table(), {}))
    assert len(answers) == len(supplies)
    for supply, answer in zip(supplies, answers, strict=True):
        by = answer.treatment
        assert (by.percent > 0) == (by.category == "S")
        assert (by.reason is None) == (by.category in ("S", "Z")), "who is not taxed is told why"
        assert answer.told
        if by.category in ("AE", "K"):
            assert buyer.vat_id in (VAT_DE, VAT_NL), "BR-AE-02"
        if not registrations:
            assert by.category == "O"
        if by.category == "O" and supply.category != "outside_scope":
            assert buyer.tax_status == "outside_scope" or not registrations, (
                "BR-O-11: all of a document, or none"
            )

"""Customers: what is checked of them, who may pay for whom, what erasure leaves."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from libs.common.errors import ServiceError
from libs.common.locale import LocaleUnknown
from libs.common.money import UnknownCurrency
from libs.common.periods import UnknownZone
from services.subscriptions.domain.customer import (
    ERASED_NAME,
    FAMILY_LEVELS_MAX,
    CustomerErased,
    CustomerNotErasable,
    FamilyTooDeep,
    InTheWay,
    PayerInCircle,
    change_customer,
    check_parent,
    checked,
    erase_customer,
    payer_of,
)
from services.subscriptions.domain.postal_address import PostalAddress
from services.subscriptions.domain.vat_id import VatIdOfAnotherCountry
from tests.support.subscriptions import NOW, a_customer

VIENNA = PostalAddress(line1="Stephansplatz 1", postal_code="1010", city="Wien", country="AT")


def test_a_change_is_a_version_and_none_is_none() -> None:
    customer = a_customer()
    assert change_customer(customer, {"name": customer.name}) is customer
    changed = change_customer(customer, {"name": "Delta", "email": "a@b.example"})
    assert (changed.name, changed.email, changed.version) == ("Delta", "a@b.example", 2)


class Refused(NamedTuple):
    name: str
    field: str
    value: str
    error: type[ServiceError]


REFUSED = [
    Refused("a_zone_that_there_is_not", "zone", "Mars/Olympus", UnknownZone),
    Refused("a_currency_that_there_is_not", "currency", "XQQ", UnknownCurrency),
    Refused("a_locale_that_there_is_not", "locale", "qq-CH", LocaleUnknown),
    Refused("a_vat_id_of_elsewhere", "vat_id", "DE136695976", VatIdOfAnotherCountry),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_does_not_exist_is_refused_where_it_stands(case: Refused) -> None:
    with pytest.raises(case.error) as refused:
        change_customer(a_customer(country="CH"), {case.field: case.value})
    assert refused.value.pointer == f"/{case.field}"
    assert refused.value.remedy or case.field == "currency"


def test_locale_and_vat_id_are_spelled_one_way() -> None:
    customer = checked(a_customer(address=VIENNA, vat_id="u 135 856 27", locale="DE-at"))
    assert (customer.vat_id, customer.locale, customer.tax_country) == ("ATU13585627", "de-AT", "AT")
    assert change_customer(customer, {"vat_id": "AT-U13585627"}) is customer


def test_the_country_given_goes_before_that_of_the_address() -> None:
    assert a_customer(address=VIENNA, country="DE").tax_country == "DE"
    assert a_customer().tax_country is None


def test_a_vat_id_goes_with_the_country() -> None:
    customer = checked(a_customer(country="AT", vat_id="ATU13585627"))
    with pytest.raises(VatIdOfAnotherCountry):
        change_customer(customer, {"country": "DE"})
    moved = change_customer(customer, {"country": "DE", "vat_id": "DE136695976"})
    assert (moved.country, moved.vat_id) == ("DE", "DE136695976")


def test_a_vat_id_taken_long_ago_does_not_keep_other_things_from_changing() -> None:
    """The rules for VAT ids change; a customer must not be stuck with the name that it had before."""
    customer = a_customer(country="AT", vat_id="ATU00000000")
    assert change_customer(customer, {"name": "Delta"}).vat_id == "ATU00000000"


def test_whoever_pays_is_the_one_for_whom_nobody_pays() -> None:
    root, middle = a_customer(id="cus_root"), a_customer(id="cus_middle", parent_id="cus_root")
    assert payer_of([middle, root]) is root
    assert payer_of([]) is None


def test_a_family_is_five_deep_and_no_deeper() -> None:
    ancestors = [a_customer(id=f"cus_{level}") for level in range(FAMILY_LEVELS_MAX - 1)]
    check_parent("cus_new", ancestors, levels_below=0)
    check_parent("cus_new", ancestors[1:], levels_below=1)
    with pytest.raises(FamilyTooDeep) as refused:
        check_parent("cus_new", ancestors, levels_below=1)
    assert (refused.value.pointer, refused.value.facts["levels"]) == ("/parent_id", 6)


@pytest.mark.parametrize("place", [0, 2])
def test_nobody_pays_for_itself_through_others(place: int) -> None:
    ancestors = [a_customer(id=f"cus_{level}") for level in range(3)]
    with pytest.raises(PayerInCircle):
        check_parent(f"cus_{place}", ancestors, levels_below=0)


def test_an_erased_customer_pays_for_nobody_and_changes_no_more() -> None:
    erased = erase_customer(a_customer(), InTheWay(), NOW)
    with pytest.raises(CustomerErased) as refused:
        check_parent("cus_new", [erased], levels_below=0)
    assert refused.value.pointer == "/parent_id"
    with pytest.raises(CustomerErased):
        change_customer(erased, {"name": "Back again"})


def test_erasure_leaves_nothing_that_names_a_person() -> None:
    customer = checked(
        a_customer(
            name="Ann Smith",
            legal_name="Ann Smith e.U.",
            email="ann@smith.example",
            external_id="crm-ann",
            address=VIENNA,
            vat_id="ATU13585627",
            metadata={"nickname": "Annie"},
            locale="de-AT",
            payment_terms_days=30,
        )
    )
    erased = erase_customer(customer, InTheWay(), NOW)
    assert (erased.name, erased.erased_at, erased.version) == (ERASED_NAME, NOW, 2)
    told = repr(erased)
    assert not [word for word in ("Ann", "ann", "Stephan", "1010", "13585627") if word in told]
    assert (erased.country, erased.locale, erased.zone, erased.payment_terms_days) == (
        "AT",
        "de-AT",
        customer.zone,
        30,
    )
    assert erase_customer(erased, InTheWay(), NOW) is erased


@pytest.mark.parametrize(
    ("in_the_way", "told"),
    [
        (InTheWay(subscription_ids=["sub_1"]), "a subscription that is not over (sub_1)"),
        (InTheWay(child_ids=["cus_1", "cus_2"]), "customers that it pays for (cus_1, cus_2)"),
        (InTheWay(unpaid_invoice_ids=["inv_1"]), "an unpaid invoice (inv_1)"),
    ],
    ids=["subscription", "children", "unpaid"],
)
def test_what_is_under_way_stands_in_the_way_of_erasure(in_the_way: InTheWay, told: str) -> None:
    with pytest.raises(CustomerNotErasable) as refused:
        erase_customer(a_customer(), in_the_way, NOW)
    assert told in refused.value.message
    assert refused.value.remedy

"""Customers."""

from __future__ import annotations

import pytest

from libs.common.money import UnknownCurrency
from libs.common.periods import UnknownZone
from services.subscriptions.domain.customer import change_customer
from tests.support.subscriptions import a_customer


def test_a_change_is_a_version_and_none_is_none() -> None:
    customer = a_customer()
    assert change_customer(customer, {"name": customer.name}) is customer
    changed = change_customer(customer, {"name": "Delta", "email": "a@b.example"})
    assert (changed.name, changed.email, changed.version) == ("Delta", "a@b.example", 2)


def test_zone_and_currency_exist() -> None:
    with pytest.raises(UnknownZone) as refused:
        a_customer(zone="Mars/Olympus")
    assert refused.value.pointer == "/zone"
    with pytest.raises(UnknownCurrency) as unknown:
        change_customer(a_customer(), {"currency": "XQQ"})
    assert unknown.value.pointer == "/currency"

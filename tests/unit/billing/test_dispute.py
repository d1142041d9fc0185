"""Disputes: how much of a payment is gone as they stand, in whatever order it is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import permutations

import pytest

from libs.common.money import Money
from services.billing.domain.dispute import (
    Dispute,
    DisputeState,
    DisputeStateWrong,
    DisputeTooLarge,
    accepted,
    decided,
    heard,
)
from services.billing.domain.gateway_dispute import DisputeState as ToldState
from services.billing.domain.gateway_dispute import GatewayDispute

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


def a_dispute(state: DisputeState = "open", gateway: str | None = None) -> Dispute:
    zero = eur(0)
    return Dispute(
        "dsp_1", "pmt_1", "cus_1", gateway, "ref", state, eur(5000), zero, zero, "fraudulent", NOW, NOW
    )


def told(state: ToldState) -> GatewayDispute:
    return GatewayDispute("stripe", "dp_1", "pi_1", "pay_1", eur(5000), state, "fraudulent", NOW)


GONE = [
    ("inquiry", 0, 0),
    ("open", 0, 5000),
    ("accepted", 0, 5000),
    ("won", 0, 0),
    ("lost", 0, 5000),
    ("lost", 1200, 3800),
]


@pytest.mark.parametrize(("state", "returned", "gone"), GONE)
def test_what_is_gone(state: DisputeState, returned: int, gone: int) -> None:
    assert replace(a_dispute(state), returned=eur(returned)).gone == eur(gone)


def test_the_newest_word_of_the_gateway_holds_whatever_came_before() -> None:
    for before in permutations(("inquiry", "open", "won", "lost"), 2):
        dispute = a_dispute("inquiry", gateway="stripe")
        for state in (*before, "won"):
            dispute = heard(dispute, told(state), now=NOW)
        assert (dispute.state, dispute.gone, dispute.closed_at) == ("won", eur(0), NOW)


def test_what_we_accepted_stays_accepted_until_the_gateway_closes_it() -> None:
    dispute = accepted(a_dispute(gateway="stripe"))
    assert heard(dispute, told("open"), now=NOW).state == "accepted"
    assert heard(dispute, told("lost"), now=NOW).state == "lost"


def test_a_person_decides_only_what_a_person_told_of_and_once() -> None:
    lost = decided(a_dispute(), "lost", eur(5000), now=NOW)
    assert (lost.state, lost.gone) == ("lost", eur(0))
    with pytest.raises(DisputeStateWrong):
        decided(lost, "won", eur(0), now=NOW)
    with pytest.raises(DisputeStateWrong):
        decided(a_dispute(gateway="stripe"), "won", eur(0), now=NOW)
    with pytest.raises(DisputeTooLarge):
        decided(a_dispute(), "lost", eur(5001), now=NOW)
    for state in ("accepted", "won", "lost"):
        with pytest.raises(DisputeStateWrong):
            accepted(a_dispute(state))

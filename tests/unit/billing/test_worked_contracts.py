"""Contracts worked out by hand, to the cent: light as a service, furniture, phones, cars, washing, seats."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest

from libs.common.money import Money, split_evenly
from libs.common.periods import Interval, Period, nth_period
from services.billing.domain.correction_lines import BilledLine, correction_lines, owed_line
from services.billing.domain.invoice_totals import GrossAmount, TaxedAmount, invoice_totals, tax_in_gross
from services.billing.domain.proration import fraction_in_use
from services.billing.domain.rating.allowance import AllowanceBalance, RolledOver, earned_allowance, renew
from services.billing.domain.rating.change import rate_change
from services.billing.domain.rating.commitment import Commitment, Spent, settle
from services.billing.domain.rating.price import Price, Rollover
from services.billing.domain.rating.rate import rate, rate_usage
from services.billing.domain.rating.usage import Usage
from tests.unit.billing.prices import a_price, a_tier

ZONE = "Europe/Amsterdam"
DESK, CHAIR, ERGO_CHAIR = (a_price("per_unit", amount) for amount in ("9.00", "4.50", "7.50"))
LUMINAIRE, LIGHT = a_price("per_unit", "3.28"), a_price("per_unit", "0.004305")
KILOMETRE = a_price("per_unit", "0.10", included="30000")
WASH = a_price("per_unit", "0.95", included="12")
SEAT = a_price("graduated", tiers=(a_tier("50", "30"), a_tier(None, "26")))
SEAT_BY_VOLUME = a_price("volume", tiers=SEAT.tiers)
BY_VOLUME = a_price("volume", tiers=(a_tier("100", "10"), a_tier(None, "9")))
PAGES = a_price("package", "1", package_size="10", included="60")


class Line(NamedTuple):
    name: str
    price: Price
    quantity: str
    in_use: str | None
    amounts: list[int]


LINES = [
    #    name                    price           quantity  days in use              minor units
    Line("light_service_fee",      LUMINAIRE,      "400",    None,                    [131200]),
    Line("light_delivered",        LIGHT,          "85000",  None,                    [36593]),
    Line("light_shortfall",        LIGHT,          "15000",  None,                    [6458]),
    Line("desks_first_part",       DESK,           "10",     "2026-01-15/2026-02-01", [4935]),
    Line("chairs_first_part",      CHAIR,          "10",     "2026-01-15/2026-02-01", [2468]),
    Line("chairs_given_back",      CHAIR,          "2",      "2026-03-10/2026-04-01", [639]),
    Line("chairs_taken_instead",   ERGO_CHAIR,     "2",      "2026-03-10/2026-04-01", [1065]),
    Line("desk_before_buy_out",    DESK,           "1",      "2026-01-15/2026-02-01", [494]),
    Line("kilometres_beyond",      KILOMETRE,      "33200",  None,                    [32000]),
    Line("washes_beyond",          WASH,           "16",     None,                    [380]),
    Line("seats",                  SEAT,           "64",     None,                    [150000, 36400]),
    Line("seats_by_volume",        SEAT_BY_VOLUME, "64",     None,                    [166400]),
    Line("late_usage_by_volume",   BY_VOLUME,      "120",    None,                    [108000]),
    Line("one_more_costs_less",    BY_VOLUME,      "101",    None,                    [90900]),
    Line("pages_in_blocks",        PAGES,          "65",     None,                    [100]),
]  # fmt: skip


def part_in_use(in_use: str | None) -> Fraction:
    """Days in use over the days of the calendar month that is billed."""
    if in_use is None:
        return Fraction(1)
    start_on, end_on = (date.fromisoformat(on) for on in in_use.split("/"))
    month = nth_period(start_on.replace(day=1), Interval("month"), ZONE, 0)
    return fraction_in_use(used=Period.between(start_on, end_on, ZONE), full=month, method="day")


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_lines(line: Line) -> None:
    rated = rate(line.price, Decimal(line.quantity), fraction=part_in_use(line.in_use))
    assert [part.amount.amount_minor for part in rated] == line.amounts


def test_seats_added_inside_a_month_pay_for_the_rest_of_it_at_the_price_of_their_tier() -> None:
    (line,) = rate_change(SEAT, Decimal(50), Decimal(64), fraction=part_in_use("2026-04-10/2026-05-01"))
    assert (line.quantity, line.amount.amount_minor) == (14, 25480)


class Invoice(NamedTuple):
    name: str
    nets: list[int]
    net: int
    tax: int
    total: int


INVOICES = [
    #       name                     line nets                      net     tax     total
    Invoice("light_in_april",        [131200, 36593, 6458, -6560], 167691,  35215, 202906),
    Invoice("furniture_begins",      [4935, 2468, 12000],           19403,   4075,  23478),
    Invoice("furniture_swap",        [-639, 1065, 2500, 14100],     17026,   3575,  20601),
    Invoice("furniture_ends_early",  [57651],                       57651,  12107,  69758),
    Invoice("phone_upgrade",         [8326, 4580, 800, 2900],       16606,   3487,  20093),
    Invoice("car_ends_early",        [32000, 351360],              383360,  80506, 463866),
]  # fmt: skip


@pytest.mark.parametrize("invoice", INVOICES, ids=lambda invoice: invoice.name)
def test_invoices_with_21_percent(invoice: Invoice) -> None:
    lines = [TaxedAmount(Money(net, "EUR"), Decimal(21)) for net in invoice.nets]
    totals = invoice_totals(lines, "EUR")
    found = [money.amount_minor for money in (totals.net, totals.tax, totals.total)]
    assert found == [invoice.net, invoice.tax, invoice.total]


def test_rounding_for_each_meter_would_give_another_cent() -> None:
    price = a_price("per_unit", "0.004305")
    by_meter = [rate(price, Decimal(quantity))[0].amount.amount_minor for quantity in (46500, 38500)]
    assert by_meter == [20018, 16574]
    assert sum(by_meter) != rate(price, Decimal(85000))[0].amount.amount_minor


def test_instalments_of_a_phone() -> None:
    first = [Money(4163, "EUR")] * 12 + [Money(4162, "EUR")] * 12
    second = [Money(4580, "EUR")] * 4 + [Money(4579, "EUR")] * 20
    assert split_evenly(Money(99900, "EUR"), 24) == first
    assert split_evenly(Money(109900, "EUR"), 24) == second


@pytest.mark.parametrize(("gross", "tax"), [(2375, 412), (1710, 297), (2997, 520)])
def test_tax_inside_what_a_consumer_pays(gross: int, tax: int) -> None:
    assert tax_in_gross(Money(gross, "EUR"), Decimal(21)) == Money(tax, "EUR")


@pytest.mark.parametrize(
    ("gross", "nets", "tax"),
    [
        ([1995, 380], [1649, 314], 412),  # May: the fee, and four extra washes that were estimated
        ([1995, -285], [1649, -236], 297),  # June: the fee, and three of them given back
        ([999, 999, 999], [826, 826, 825], 520),
    ],
)
def test_pay_per_wash_is_billed_with_the_tax_inside(gross: list[int], nets: list[int], tax: int) -> None:
    totals = invoice_totals([GrossAmount(Money(line, "EUR"), Decimal(21)) for line in gross], "EUR")
    assert [net.amount_minor for net in totals.line_nets] == nets
    assert (totals.tax.amount_minor, totals.total.amount_minor) == (tax, sum(gross))


def test_light_that_was_not_used_is_a_line_of_its_own() -> None:
    least = Commitment("light", "Light", "EUR", ("desk",), minimum_quantity=Decimal(100_000))
    delivered = rate(LIGHT, Decimal(85_000))[0].amount
    (line,) = settle(least, [Spent(LIGHT, Decimal(85_000), delivered)])
    assert (line.quantity, line.unit_amount, line.amount.amount_minor) == (15_000, Decimal("0.004305"), 6458)


def test_days_without_light_lower_a_yearly_minimum() -> None:
    least = Commitment("light", "Light", "EUR", (), per="year", minimum_quantity=Decimal(1_200_000))
    (line,) = settle(
        least, [Spent(LIGHT, Decimal(1_000_000), Money(430500, "EUR"))], fraction=Fraction(365 - 12, 365)
    )
    assert line.quantity == Fraction(1_200_000 * 353, 365) - 1_000_000


def test_a_year_of_kilometres_is_pooled_over_the_months_held() -> None:
    earned = earned_allowance(Decimal(18_000), date(2025, 1, 1), date(2026, 9, 1))
    assert earned == 30_000
    price = a_price("per_unit", "0.10", included=str(earned))
    (line,) = rate(price, Decimal(33_200))
    assert (line.quantity, line.amount.amount_minor) == (3_200, 32_000)


def test_pages_beyond_the_plan_come_in_blocks_and_what_is_left_rolls_over() -> None:
    price = a_price("package", "1", package_size="10", included="50", rollover=Rollover())
    opening = AllowanceBalance(Decimal(50), (RolledOver(Decimal(10), 1),))
    rated = rate_usage(price, Usage(Decimal(65)), allowance=opening)
    assert [line.quantity for line in rated.lines] == [1]
    assert rated.closing is not None
    assert renew(price, rated.closing).total == 50 + 5


def test_late_usage_by_volume_is_billed_as_the_difference() -> None:
    owed = [owed_line(line) for line in rate(BY_VOLUME, Decimal(120))]
    (line,) = correction_lines(BY_VOLUME, owed, [BilledLine("0", Money(90_000, "EUR"))])
    assert (line.quantity, line.amount.amount_minor) == (1, 18_000)


def test_a_share_of_the_gain_is_an_expression() -> None:
    """Baseline 30.0, target 28.5 and actual 29.1 l/100 km over 1,000,000 km: what was missed of the fee is credited."""
    expression = "10000 * (1 - (30.0 - quantity) / (30.0 - 28.5))"
    (line,) = rate(a_price("expression", expression=expression), Decimal("29.1"))
    assert line.amount.amount_minor == 400_000

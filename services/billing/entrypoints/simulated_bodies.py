"""What a simulation came to: periods, charges, lines, explanations, and the candidates side by side."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, Field

from libs.common.money import Money
from libs.common.web.bodies import BusinessDate, DecimalText, Instant, MoneyBody, StrictBody
from services.billing.application.simulate_prices import PriceSimulation
from services.billing.domain.rating.allowance import AllowanceBalance
from services.billing.domain.rating.explanation import Explanation
from services.billing.domain.rating.usage import sum_of
from services.billing.domain.simulation.comparison import Comparison
from services.billing.domain.simulation.settlement import SettledPeriod, SettledPlan
from services.billing.domain.simulation.simulated import SimulatedCharge, SimulatedLine, SimulatedPeriod
from services.billing.domain.simulation.stored_usage import StoredUsage
from services.billing.entrypoints.bodies import ServicePeriodBody
from services.billing.entrypoints.simulation_example import ANSWERED


class NoteBody(StrictBody):
    """What was assumed, and what is left out. `code` is for programs."""

    model_config = ConfigDict(from_attributes=True)

    code: str
    says: str


class DerivationInputBody(StrictBody):
    """A number (or a text) that was given. `2/3` is a fraction."""

    name: str
    value: str
    says: str


class DerivationStepBody(StrictBody):
    """`result` is `operation` on the operands: numbers, or names of inputs and of earlier steps."""

    name: str
    operation: str
    operands: list[str]
    result: str
    says: str


class DerivationLineBody(StrictBody):
    """The last step gives the amount."""

    kind: str
    ordinal: str
    says: str
    steps: list[DerivationStepBody]
    amount: str


class DerivedPriceBody(StrictBody):
    code: str
    description: str
    model: str


class ExplanationBody(StrictBody):
    """In words, and as steps from which the amount can be worked out again. Every number is a string."""

    paragraph: str
    price: DerivedPriceBody
    currency: str
    currency_decimals: str
    inputs: list[DerivationInputBody]
    steps: list[DerivationStepBody]
    lines: list[DerivationLineBody]
    amount: str

    @classmethod
    def from_domain(cls, explanation: Explanation) -> Self:
        return cls.model_validate({"paragraph": explanation.paragraph(), **explanation.to_json()})


class SimulatedLineBody(StrictBody):
    """As on an invoice. `net` is what is left after discounts, without tax; null where no taxes were given.

    An invoice leaves out lines of no quantity and no amount.
    """

    kind: Literal["price", "minimum", "maximum", "shortfall"]
    tier: int | None
    description: str
    units: str = Field(description="Which units these are, such as `tier 2, above 50`.")
    quantity: DecimalText
    unit_amount: DecimalText
    amount: MoneyBody
    net: MoneyBody | None
    formula: str

    @classmethod
    def from_domain(cls, line: SimulatedLine, net: Money | None) -> Self:
        return cls(
            kind=line.kind,
            tier=line.tier,
            description=line.description,
            units=line.bounds,
            quantity=line.quantity,
            unit_amount=line.unit_amount,
            amount=_money(line.amount),
            net=None if net is None else _money(net),
            formula=line.formula,
        )


class AllowanceBody(StrictBody):
    """Units that may be used for nothing: of this allowance period, rolled over, left of blocks that were paid."""

    included: DecimalText
    rolled_over: DecimalText
    left_of_blocks: DecimalText

    @classmethod
    def from_domain(cls, balance: AllowanceBalance) -> Self:
        return cls(
            included=balance.included,
            rolled_over=sum_of(entry.quantity for entry in balance.rolled_over),
            left_of_blocks=sum_of(entry.quantity for entry in balance.left_of_blocks),
        )


class CarriedAllowanceBody(StrictBody):
    """`before` this charge, and `after` it, for the next one."""

    before: AllowanceBody
    after: AllowanceBody


class SimulatedChargeBody(StrictBody):
    """One charge of a price, what a commitment adds or takes off, or the trial. `code` is that of the price."""

    code: str
    kind: Literal["recurring", "usage", "one_time", "commitment", "trial"]
    description: str
    model: str
    timing: str
    product_id: str | None
    tax_behavior: Literal["exclusive", "inclusive"]
    tax_category: str | None
    service_period: ServicePeriodBody
    lines: list[SimulatedLineBody]
    amount: MoneyBody
    allowance: CarriedAllowanceBody | None
    explanation: ExplanationBody | None

    @classmethod
    def from_domain(cls, charge: SimulatedCharge, nets: tuple[Money, ...] | None) -> Self:
        before, after = charge.allowance_before, charge.allowance_after
        allowance = None
        if before is not None and after is not None:
            allowance = CarriedAllowanceBody(
                before=AllowanceBody.from_domain(before), after=AllowanceBody.from_domain(after)
            )
        return cls(
            code=charge.code,
            kind=charge.kind,
            description=charge.description,
            model=charge.model,
            timing=charge.timing,
            product_id=charge.product_id or None,
            tax_behavior=charge.tax_behavior,
            tax_category=charge.tax_category,
            service_period=ServicePeriodBody(start=charge.start_on, end=charge.end_on),
            lines=[
                SimulatedLineBody.from_domain(line, None if nets is None else nets[number])
                for number, line in enumerate(charge.lines)
            ],
            amount=_money(charge.amount),
            allowance=allowance,
            explanation=None
            if charge.explanation is None
            else ExplanationBody.from_domain(charge.explanation),
        )


class SimulatedDiscountBody(StrictBody):
    coupon: str
    amount: MoneyBody
    formula: str


class SimulatedTaxBody(StrictBody):
    category: str | None
    percent: DecimalText
    taxable: MoneyBody
    tax: MoneyBody


class SimulatedSumsBody(StrictBody):
    """`subtotal` - `discount` = `amount`. With taxes `net` + `tax` = `total`, else these are null."""

    subtotal: MoneyBody
    discount: MoneyBody
    amount: MoneyBody
    net: MoneyBody | None
    tax: MoneyBody | None
    total: MoneyBody | None


class NumberedPeriodBody(StrictBody):
    """`phase` is null where the plan has none."""

    index: int
    start: BusinessDate
    end: BusinessDate
    phase: str | None


class SimulatedPeriodBody(SimulatedSumsBody, NumberedPeriodBody):
    """What falls due in one period, added up as if it were one invoice."""

    charges: list[SimulatedChargeBody]
    discounts: list[SimulatedDiscountBody]

    @classmethod
    def from_domain(cls, period: SimulatedPeriod, settled: SettledPeriod) -> Self:
        nets = settled.nets
        totals = settled.totals
        return cls(
            index=period.index,
            start=period.start_on,
            end=period.end_on,
            phase=period.phase,
            charges=[
                SimulatedChargeBody.from_domain(charge, None if nets is None else nets[number])
                for number, charge in enumerate(period.charges)
            ],
            discounts=[
                SimulatedDiscountBody(coupon=found.code, amount=_money(found.amount), formula=found.told)
                for found in settled.discounts
            ],
            subtotal=_money(settled.amount),
            discount=_money(settled.discount),
            amount=_money(settled.charged),
            net=None if totals is None else _money(totals.net),
            tax=None if totals is None else _money(totals.tax),
            total=None if totals is None else _money(totals.total),
        )


class SimulatedTermsBody(StrictBody):
    """Which plan it is; a draft has no ids and no number."""

    code: str
    name: str
    number: int | None
    plan_id: str | None
    plan_version_id: str | None
    plan_overlay_id: str | None
    customer_id: str | None


class NamedCandidateBody(StrictBody):
    plan: SimulatedTermsBody
    currency: str


class SimulatedPlanBody(SimulatedSumsBody, NamedCandidateBody):
    """One candidate: the sums are over all periods, the trial included."""

    trial: SimulatedChargeBody | None
    periods: list[SimulatedPeriodBody]
    taxes: list[SimulatedTaxBody]
    notes: list[NoteBody]

    @classmethod
    def from_domain(cls, settled: SettledPlan) -> Self:
        simulated, plan = settled.simulated, settled.simulated.plan
        trial = None
        if simulated.trial is not None and settled.trial is not None:
            nets = settled.trial.nets
            trial = SimulatedChargeBody.from_domain(simulated.trial, None if nets is None else nets[0])
        return cls(
            plan=SimulatedTermsBody(
                code=plan.code,
                name=plan.name,
                number=plan.number,
                plan_id=plan.plan_id,
                plan_version_id=plan.plan_version_id,
                plan_overlay_id=plan.overlay_id,
                customer_id=plan.customer_id,
            ),
            currency=simulated.currency,
            trial=trial,
            periods=[
                SimulatedPeriodBody.from_domain(period, its)
                for period, its in zip(simulated.periods, settled.periods, strict=True)
            ],
            taxes=[
                SimulatedTaxBody(
                    category=group.category or None,
                    percent=group.tax_percent,
                    taxable=_money(group.taxable),
                    tax=_money(group.tax),
                )
                for group in settled.tax_groups
            ],
            notes=[NoteBody.model_validate(note) for note in simulated.notes],
            subtotal=_money(settled.amount),
            discount=_money(settled.discount),
            amount=_money(settled.charged),
            net=None if settled.net is None else _money(settled.net),
            tax=None if settled.tax is None else _money(settled.tax),
            total=None if settled.total is None else _money(settled.total),
        )


class ComparedChargeBody(StrictBody):
    """All charges of one price together, before tax; null where a candidate has none."""

    code: str
    kind: Literal["price", "commitment", "trial", "discount"]
    description: str
    before: MoneyBody | None
    after: MoneyBody | None
    difference: MoneyBody


class ComparisonBody(StrictBody):
    """`candidate` against the first one: their totals with tax where taxes were given, else their amounts.

    Between two currencies nothing is compared, and `difference` is null.
    """

    candidate: int
    against: int
    before: MoneyBody
    after: MoneyBody
    difference: MoneyBody | None
    charges: list[ComparedChargeBody]
    says: str

    @classmethod
    def from_domain(cls, comparison: Comparison) -> Self:
        return cls(
            candidate=comparison.candidate,
            against=comparison.against,
            before=_money(comparison.before),
            after=_money(comparison.after),
            difference=None if comparison.difference is None else _money(comparison.difference),
            charges=[
                ComparedChargeBody.model_validate(
                    {
                        "code": charge.code,
                        "kind": charge.kind,
                        "description": charge.description,
                        "before": None if charge.before is None else _money(charge.before),
                        "after": None if charge.after is None else _money(charge.after),
                        "difference": _money(charge.difference),
                    }
                )
                for charge in comparison.charges
            ],
            says=comparison.says,
        )


class StoredMeterBody(StrictBody):
    meter: str
    price: str | None
    quantity: DecimalText
    event_count: int


class StoredPeriodBody(StrictBody):
    """`window_id` is null where nothing is metered."""

    index: int
    window_id: str | None
    closed_at: Instant | None
    usage: list[StoredMeterBody]


class StoredUsageBody(StrictBody):
    """What the subscription really used, by its prices. `notes` name what cannot be known of it."""

    subscription_id: str
    quantities: dict[str, DecimalText]
    periods: list[StoredPeriodBody]
    notes: list[NoteBody]

    @classmethod
    def from_domain(cls, stored: StoredUsage) -> Self:
        return cls(
            subscription_id=stored.subscription_id,
            quantities=stored.quantities,
            periods=[
                StoredPeriodBody(
                    index=period.index,
                    window_id=period.window_id,
                    closed_at=period.closed_at,
                    usage=[
                        StoredMeterBody(
                            meter=used.meter or "",
                            price=used.price,
                            quantity=used.quantity,
                            event_count=used.event_count or 0,
                        )
                        for used in period.usage
                        if used.price is not None and used.quantity is not None
                    ],
                )
                for period in stored.periods
            ],
            notes=[NoteBody.model_validate(note) for note in stored.notes],
        )


class SimulatedTimeBody(StrictBody):
    """The periods are local days in `zone`, from `start` until before `end`, `periods` of them."""

    zone: str
    start: BusinessDate
    end: BusinessDate
    periods: int


class PriceSimulationBody(StrictBody):
    """The candidates in the order in which they were given. Nothing of it is kept."""

    model_config = ConfigDict(json_schema_extra={"examples": [ANSWERED]})

    time: SimulatedTimeBody
    usage_of: StoredUsageBody | None
    candidates: list[SimulatedPlanBody]
    comparisons: list[ComparisonBody]

    @classmethod
    def from_domain(cls, simulation: PriceSimulation) -> Self:
        timetable, stored = simulation.timetable, simulation.stored
        return cls(
            time=SimulatedTimeBody(
                zone=timetable.zone,
                start=timetable.start_on,
                end=timetable.start_of(timetable.count),
                periods=timetable.count,
            ),
            usage_of=None if stored is None else StoredUsageBody.from_domain(stored),
            candidates=[SimulatedPlanBody.from_domain(plan) for plan in simulation.plans],
            comparisons=[ComparisonBody.from_domain(found) for found in simulation.comparisons],
        )


def _money(amount: Money) -> MoneyBody:
    return MoneyBody.from_money(amount)

"""Which cases are not run, decided by kind and convention alone: a table of what is refused, with its reasons.

`docs/conventions.md` tells the same to whoever moves here from another system; a test holds the two together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.cases.case_files import Case


@dataclass(frozen=True, slots=True)
class Refusal:
    """Cases of `kind` that name `convention` with a phrase like `phrase` (`*` is any text); why they do not run.

    Without a convention, the whole kind is meant.
    """

    area: str
    kind: str
    reason: str
    convention: str | None = None
    phrase: str = "*"

    def covers(self, case: Case) -> bool:
        if (self.area, self.kind) != (case.area, case.kind):
            return False
        if self.convention is None:
            return True
        told = case.convention.get(self.convention)
        return told is not None and fnmatchcase(told, self.phrase)

    def __str__(self) -> str:
        rule = "" if self.convention is None else f", {self.convention}"
        phrase = "" if self.phrase == "*" else f": {self.phrase}"
        return f"{self.area} {self.kind}{rule}{phrase}"


# Rules of which a business is better off without; the reason says what they would cost it.
REFUSED: Sequence[Refusal] = (
    Refusal(
        "proration",
        "plan_change",
        "Time that was paid for is given back as money, of which everyone can see how much it is; days of another "
        "plan, rounded up, give away a part of a day with every change.",
        "proration",
        "unused money converted to days of the new plan*",
    ),
    Refusal(
        "invoices",
        "invoice_totals",
        "Tax is stated for each rate, on the sum of what is taxed at it: one rounding over all rates leaves rates "
        "whose tax does not add up to the invoice's, which EN 16931 does not allow.",
        "tax_rounding",
        "exact tax of all lines added up over the invoice and rounded once*",
    ),
    Refusal(
        "invoices",
        "invoice_totals",
        "A discount is one amount, taken once and spread without a remainder: a percentage that is rounded on each "
        "line changes with how the same amount is cut into lines.",
        "discount_spread",
        "percent of each line, each rounded*",
    ),
    Refusal(
        "invoices",
        "tax_mode",
        "What a price including tax holds of it is the tax rounded, and the net is the rest, once for each rate: "
        "an amount of tax is what is owed to the state, hence is not what is left over.",
        "inclusive_rounding",
        "round the net amount*",
    ),
    Refusal(
        "invoices",
        "allocation",
        "A part that weighs nothing gets nothing: a line of zero need not be taken out before an amount is split.",
        "allocation",
        "*zero shares are left out*",
    ),
    Refusal(
        "invoices",
        "balance_application",
        "What a customer owes stands on an invoice, with a number and a day on which it is due; a balance holds "
        "what is owed to the customer, and never a debt that is collected with something else.",
        "balance",
        "*a debt is collected with the next order*",
    ),
    Refusal(
        "aggregation",
        "aggregate",
        "An event is known by its source and id. A copy with the same id and another time or payload is a conflict "
        "that is reported; it does not silently replace what was acknowledged.",
        "dedup",
    ),
    Refusal(
        "aggregation",
        "grouped",
        "How long an event weighs is told by when it was sent, and by what was sent after it: a weight that is told "
        "beside the events is found in none of them, and a bill could not be checked against them.",
        "persisted",
    ),
)

COUPONS = "Coupons on charges and invoices."
CREDIT_NOTES = "Credit notes."
WALLETS = "Wallets."

# What is not there yet.
LATER: Sequence[Refusal] = (
    Refusal("proration", "plan_change", COUPONS, "discount"),
    Refusal("invoices", "credit_note", CREDIT_NOTES),
    Refusal("invoices", "termination_credit", CREDIT_NOTES),
    Refusal("invoices", "credit_application", CREDIT_NOTES),
    Refusal("invoices", "wallet", WALLETS),
    Refusal("invoices", "wallet_cap", WALLETS),
    Refusal("invoices", "discount_amount", COUPONS),
    *(
        Refusal("invoices", "invoice_totals", COUPONS, name)
        for name in ("fixed_discount", "prorations", "stacking", "discount_order")
    ),
    Refusal("invoices", "invoice_totals", "Customers who are exempt from tax.", "customer"),
    Refusal(
        "aggregation",
        "running_usage",
        "Usage that is billed while its period runs, at the highest level reached.",
    ),
)

# What a case may expect that comes later: the case is put off, and counts as neither passed nor refused.
DEFERRED: Mapping[tuple[str, str], str] = {
    ("scenario", "credit_notes"): CREDIT_NOTES,
    ("scenario", "tax"): "Tax on the invoices of a story.",
}


def refusal_of(case: Case) -> Refusal | None:
    """Why a case does not run, None when it does."""
    return next((refusal for refusal in (*REFUSED, *LATER) if refusal.covers(case)), None)

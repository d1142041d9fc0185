"""Which cases are not run, decided by kind and convention alone: a table of what is refused, with its reasons.

`docs/conventions.md` tells the same to whoever moves here from another system; a test holds the two together.
"""

from collections.abc import Sequence
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
        "credit_note",
        "The tax that a credit note gives back is its part of the invoice's, rounded by itself, and the last note takes "
        "the rest: where a total is rounded and the tax is what is left of it, equal parts bear unequal taxes, and a "
        "discount is spread in parts of a cent.",
        "credit_note_tax",
        "taken from the invoice tax in proportion*",
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
        "grouped",
        "How long an event weighs is told by when it was sent, and by what was sent after it: a weight that is told "
        "beside the events is found in none of them, and a bill could not be checked against them.",
        "persisted",
    ),
)

# What is not there yet.
LATER: Sequence[Refusal] = (
    Refusal(
        "proration",
        "plan_change",
        "Coupons that begin and end with a change within a period.",
        "discount",
    ),
    Refusal(
        "aggregation",
        "running_usage",
        "Usage that is billed while its period runs, at the highest level reached.",
    ),
)


def refusal_of(case: Case) -> Refusal | None:
    """Why a case does not run, None when it does."""
    return next((refusal for refusal in (*REFUSED, *LATER) if refusal.covers(case)), None)

"""Early-termination quotes: written once, but for when they are accepted."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from libs.common.money import Money
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters.mapping import Row
from services.subscriptions.adapters.rows import early_termination_quote
from services.subscriptions.domain.early_termination import EarlyTerminationQuote, QuoteNotFound, QuoteStep

_STEPS = TypeAdapter(tuple[QuoteStep, ...])
_PLAIN = (
    "id",
    "version",
    "subscription_id",
    "customer_id",
    "kind",
    "ends_on",
    "bound_until",
    "issued_at",
    "expires_at",
    "accepted_at",
    "created_at",
)


def quote_to_row(quote: EarlyTerminationQuote) -> dict[str, Any]:
    return {
        **{name: getattr(quote, name) for name in _PLAIN},
        "currency": quote.amount.currency,
        "amount_minor": quote.amount.amount_minor,
        "steps": _STEPS.dump_python(quote.steps, mode="json"),
    }


def quote_from_row(row: Row) -> EarlyTerminationQuote:
    return EarlyTerminationQuote(
        **{name: row[name] for name in _PLAIN},
        amount=Money(row["amount_minor"], row["currency"]),
        steps=_STEPS.validate_python(row["steps"]),
    )


class QuoteRepository(Repository[EarlyTerminationQuote]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            early_termination_quote,
            to_row=quote_to_row,
            from_row=quote_from_row,
            not_found=lambda id: QuoteNotFound("there is no early-termination quote with this id"),
        )

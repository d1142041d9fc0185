"""Keep the newest copy of a customer; of one who was erased, nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import CustomerDetails, with_party
from services.billing.domain.billing_profile import without_person


@dataclass(frozen=True, slots=True)
class KeepCustomer:
    customer: CustomerDetails


async def keep_customer(command: KeepCustomer, *, uow: UnitOfWork) -> None:
    """An older copy replaces nothing. Of a customer who was erased, the agreements forget what they knew as well, how he
    was billed what may name him, and nobody knows any more from which accounts he paid.

    Documents keep the customer as their boundary found him: the law wants a name on an invoice.
    """
    customer = command.customer
    uow.customers.keep_newest(customer)
    if customer.is_erased:
        for agreement in await uow.agreements.of_customer_for_update(customer.id):
            uow.agreements.save(with_party(agreement, customer))
        profile = await uow.billing_profiles.find_for_update(customer.id)
        if profile is not None:
            uow.billing_profiles.save(without_person(profile))
        await uow.mails.forget(customer.id)
        await uow.bank_statement_entries.forget_customer(customer.id)

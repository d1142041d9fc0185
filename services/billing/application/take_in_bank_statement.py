"""Take in a file of a bank: its entries become rows, each once, and are looked at after that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.billing.application.ports import UnitOfWork
from services.billing.domain.bank_statement import (
    BankStatement,
    BankStatementEntry,
    StatementFormat,
    ToldStatement,
    entry_id,
    statement_file_id,
)


@dataclass(frozen=True, slots=True)
class TakeInBankStatement:
    """`digest` is that of the whole file. `now` is the wall's: no bank lives by a test clock."""

    format: StatementFormat
    digest: str
    statements: Sequence[ToldStatement]
    now: datetime


async def take_in_bank_statement(command: TakeInBankStatement, *, uow: UnitOfWork) -> BankStatement:
    """The same file again gives the statement that it was; entries that another file told of are counted once.

    Whether entries pay anything is found out by the job that looks at those that are pending.
    """
    id = statement_file_id(command.digest, uow.tenant)
    entries = [
        BankStatementEntry(
            id=entry_id(uow.tenant, told.account, entry.key),
            statement_id=id,
            account=told.account,
            ordinal=ordinal,
            told=entry,
            state="pending",
            created_at=command.now,
            due_at=command.now,
        )
        for told in command.statements
        for ordinal, entry in enumerate(told.entries, start=1)
    ]
    distinct = list({entry.id: entry for entry in entries}.values())
    statement = BankStatement(
        id=id,
        format=command.format,
        digest=command.digest,
        accounts=tuple(replace(told, entries=()) for told in command.statements),
        entry_count=len(entries),
        new_count=0,
        passed_over_count=sum(told.passed_over_count for told in command.statements),
        created_at=command.now,
    )
    known = await uow.bank_statements.open(statement)
    if known is not None:
        return known
    counted = replace(statement, new_count=await uow.bank_statements.add_entries(distinct))
    await uow.bank_statements.count_new(counted)
    uow.record("bank_statement.taken_in", id)
    return counted

"""What a bank says of an account of ours: entries, each of which counts once, however often it is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from libs.common.errors import Conflict, InvalidInput, NotFound
from libs.common.ids import derived_id
from libs.common.money import Money

StatementFormat = Literal["camt.053", "csv"]
Direction = Literal["credit", "debit"]
EntryState = Literal["pending", "unmatched", "matched", "ignored"]
MatchedBy = Literal["reference", "number", "account", "original", "person"]


class BankStatementNotFound(NotFound):
    code = "bank_statement_not_found"
    title = "There is no such bank statement"


class BankStatementEntryNotFound(NotFound):
    code = "bank_statement_entry_not_found"
    title = "There is no such entry of a bank statement"


class BankStatementUnreadable(InvalidInput):
    """Nothing of the file is taken in: `errors` says what is wrong, and in which line."""

    code = "bank_statement_unreadable"
    title = "The bank statement cannot be read"


class BankStatementEntryStateWrong(Conflict):
    code = "bank_statement_entry_state_wrong"
    title = "The entry is not in the right state"


@dataclass(frozen=True, slots=True)
class ToldEntry:
    """One movement as a statement tells it. `amount` is above zero, in the currency of the account.

    `key` tells it from all others of the account, and is the same whenever the bank tells of it again. `is_reversal`: it
    takes an earlier entry back; `is_return`: a payment came back from the bank at its other end. `instructed` is what the
    payer's bank was told, where that was another currency.
    """

    key: str
    direction: Direction
    amount: Money
    booked_on: date
    value_on: date | None = None
    is_reversal: bool = False
    is_return: bool = False
    bank_reference: str | None = None
    end_to_end_id: str | None = None
    creditor_reference: str | None = None
    text: str = ""
    payer_name: str | None = None
    payer_account: str | None = None
    instructed: str | None = None


@dataclass(frozen=True, slots=True)
class ToldStatement:
    """One account over some days. `balances_agree` is None where the file does not tell both balances."""

    account: str
    statement_id: str | None
    currency: str | None
    opening: Decimal | None
    closing: Decimal | None
    balances_agree: bool | None
    entries: tuple[ToldEntry, ...]
    passed_over_count: int = 0


@dataclass(frozen=True, slots=True)
class BankStatement:
    """A file that was taken in. `new_count` are its entries of which nobody had told before."""

    id: str
    format: StatementFormat
    digest: str
    accounts: tuple[ToldStatement, ...]
    entry_count: int
    new_count: int
    passed_over_count: int
    created_at: datetime
    version: int = 1


@dataclass(frozen=True, slots=True)
class BankStatementEntry:
    """An entry, and what became of it. `pending`: nobody has looked at it yet.

    A credit that is `matched` or `unmatched` has a payment: that of nobody, while it is unmatched. A debit that is
    `matched` took the payment `payment_id` back. `ignored` is what is no customer's; `reason` says why. `payment_count`
    counts the payments that were made of it, since one that was ignored may be taken up again.
    """

    id: str
    statement_id: str
    account: str
    ordinal: int
    told: ToldEntry
    state: EntryState
    created_at: datetime
    due_at: datetime | None = None
    matched_by: MatchedBy | None = None
    payment_id: str | None = None
    reason: str | None = None
    payment_count: int = 0
    version: int = 1

    @property
    def is_incoming(self) -> bool:
        """Whether it may be a customer's payment: money that came, and is nothing of ours that came back."""
        return self.told.direction == "credit" and not self.told.is_reversal and not self.told.is_return

    @property
    def takes_back(self) -> bool:
        """Whether it takes back what came before."""
        return self.told.direction == "debit" and (self.told.is_reversal or self.told.is_return)


def statement_file_id(digest: str, tenant: str) -> str:
    """Derived, so that one file is one statement of a tenant."""
    return derived_id("bst", tenant, digest)


def entry_id(tenant: str, account: str, key: str) -> str:
    """Derived, so that an entry is one row, in however many files it stands."""
    return derived_id("bse", tenant, account, key)


def next_payment_id(entry: BankStatementEntry) -> str:
    return derived_id("pmt", entry.id, str(entry.payment_count + 1))


def matched(entry: BankStatementEntry, payment_id: str, by: MatchedBy) -> BankStatementEntry:
    return _moved(entry, "matched", payment_id=payment_id, matched_by=by)


def unmatched(entry: BankStatementEntry, payment_id: str | None) -> BankStatementEntry:
    return _moved(entry, "unmatched", payment_id=payment_id)


def ignored(entry: BankStatementEntry, reason: str) -> BankStatementEntry:
    return _moved(entry, "ignored", reason=reason)


def check_state(entry: BankStatementEntry, *states: EntryState) -> None:
    """Raises: BankStatementEntryStateWrong."""
    if entry.state not in states:
        wanted = " or ".join(states)
        remedy = {
            "pending": "It is about to be looked at: read it again in a moment.",
            "matched": f"Take the match back first: POST /v1/bank-statement-entries/{entry.id}/unmatch.",
            "ignored": f"Take it up again first: POST /v1/bank-statement-entries/{entry.id}/unmatch.",
            "unmatched": "There is nothing to take back.",
        }[entry.state]
        raise BankStatementEntryStateWrong(f"the entry is {entry.state}, and not {wanted}", remedy=remedy)


def _moved(
    entry: BankStatementEntry,
    state: EntryState,
    *,
    payment_id: str | None = None,
    matched_by: MatchedBy | None = None,
    reason: str | None = None,
) -> BankStatementEntry:
    is_new = payment_id is not None and payment_id != entry.payment_id and entry.is_incoming
    return replace(
        entry,
        state=state,
        payment_id=payment_id,
        matched_by=matched_by,
        reason=reason,
        due_at=None,
        payment_count=entry.payment_count + is_new,
        version=entry.version + 1,
    )

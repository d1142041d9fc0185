"""What a document posts: when it is issued, as it is earned, when it is paid, voided or given up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from libs.common.money import Money
from libs.common.periods import DAY, start_of_day
from services.billing.domain.ledger_entry import Account, Moment, Posting, moment, postings_of
from services.billing.domain.revenue_schedule import EarnedLine, EarnedPart, by_month, schedule_of

LAST_SECOND = timedelta(seconds=1)


def owed_on(document_kind: str) -> Account:
    """The account that a payment of such a document settles: nothing is owed on a deposit until it is paid."""
    return "deposit_liability" if document_kind == "deposit" else "accounts_receivable"


def income_of(document_kind: str) -> Account:
    """The account that the lines of such a document are earned on; what is prepaid is not earned yet."""
    return _INCOMES.get(document_kind, "revenue")


_INCOMES: Mapping[str, Account] = {"compensation": "compensation_income", "top_up": "prepaid_credits"}


def postings_for_invoice(
    invoice_id: str, *, lines: Sequence[EarnedLine], tax: Money, total: Money, at: datetime, zone: str
) -> tuple[Posting, ...]:
    """Debit what the customer owes; credit what is earned by now, what is still to be delivered, and tax.

    What is to be delivered is earned later: those sets are posted with it, dated ahead, one for each calendar month. A
    difference between lines, tax and total, of which there should be none, stands on `rounding`.
    Raises: CurrencyMismatch.
    Source: IFRS 15.105 and 106.
    """
    issued = moment(at, zone)
    amounts: list[tuple[Account, int]] = [("accounts_receivable", total.amount_minor)]
    later: list[tuple[EarnedPart, Account]] = []
    rest = total - tax
    for line in lines:
        rest -= line.net
        schedule = schedule_of(line, issued.on)
        if schedule.at_issue.amount_minor:
            amounts.append((line.income, -schedule.at_issue.amount_minor))
        later += [(part, line.income) for part in schedule.later]
    amounts.append(("contract_liability", -sum(part.amount.amount_minor for part, _ in later)))
    amounts += [("tax_payable", -tax.amount_minor), ("rounding", -rest.amount_minor)]
    key, currency = f"invoice:{invoice_id}", total.currency
    posted = postings_of(f"{key}:final", amounts, currency, issued, invoice_id=invoice_id)
    if not later:
        return posted
    return posted + _earned(f"{key}:earned", by_month(later), currency, issued, zone, invoice_id=invoice_id)


def postings_for_earned_back(
    key: str,
    parts: Iterable[tuple[EarnedPart, Account]],
    currency: str,
    when: Moment,
    zone: str,
    *,
    invoice_id: str,
    source_id: str | None = None,
) -> tuple[Posting, ...]:
    """The reverse of what would have been earned later: each part is taken back on the day that it is earned."""
    turned = {on: [(a, -minor) for a, minor in amounts] for on, amounts in by_month(parts).items()}
    return _earned(key, turned, currency, when, zone, invoice_id=invoice_id, source_id=source_id)


def _earned(
    key: str,
    months: Mapping[date, Sequence[tuple[Account, int]]],
    currency: str,
    issued: Moment,
    zone: str,
    *,
    invoice_id: str,
    source_id: str | None = None,
) -> tuple[Posting, ...]:
    postings: tuple[Posting, ...] = ()
    for on, amounts in months.items():
        earned = sum(minor for _, minor in amounts)
        postings += postings_of(
            f"{key}:{on.year:04d}-{on.month:02d}",
            [("contract_liability", earned), *((account, -minor) for account, minor in amounts)],
            currency,
            Moment(max(start_of_day(on + DAY, zone) - LAST_SECOND, issued.at), max(on, issued.on)),
            invoice_id=invoice_id,
            source_id=source_id,
        )
    return postings


def postings_for_void(
    invoice_id: str, posted: Iterable[Posting], *, at: datetime, zone: str
) -> tuple[Posting, ...]:
    """The mirror of all that the document posted when it was issued, of what is still to be earned too.

    `posted` are its sets, in any order; payments and what else settled it are no part of it.
    """
    when = moment(at, zone)
    key = f"invoice:{invoice_id}"
    by_now: list[tuple[Account, int]] = []
    currency = ""
    later: tuple[Posting, ...] = ()
    for posting in sorted(posted, key=lambda posting: posting.key):
        if posting.key != f"{key}:final" and not posting.key.startswith(f"{key}:earned:"):
            continue
        turned = [(entry.account, -entry.amount.amount_minor) for entry in posting.entries]
        currency = posting.entries[0].amount.currency
        if posting.posted_at <= at:
            by_now += turned
            continue
        later += postings_of(
            f"{key}:voided:{posting.key.rpartition(':')[2]}",
            turned,
            currency,
            Moment(posting.posted_at, posting.posted_on),
            invoice_id=invoice_id,
        )
    return postings_of(f"{key}:voided", by_now, currency, when, invoice_id=invoice_id) + later


def postings_for_payment(
    attempt_id: str,
    invoice_id: str,
    amount: Money,
    *,
    at: datetime,
    zone: str,
    settles: Account = "accounts_receivable",
    overpaid: Money | None = None,
) -> tuple[Posting, ...]:
    """Debit cash, credit what the customer owed; what of it was not owed any more is owed to the customer."""
    beyond = 0 if overpaid is None else overpaid.amount_minor
    minor = amount.amount_minor
    return postings_of(
        f"payment:{attempt_id}:received",
        [("cash", minor), (settles, beyond - minor), ("customer_credit", -beyond)],
        amount.currency,
        moment(at, zone),
        invoice_id=invoice_id,
        attempt_id=attempt_id,
    )


def postings_for_balance_applied(
    invoice_id: str,
    applied: Money,
    *,
    at: datetime,
    zone: str,
    settles: Account = "accounts_receivable",
    fact: str = "balance",
) -> tuple[Posting, ...]:
    """Debit what is owed to the customer, credit what he owed; of a document below zero (`applied` is), the reverse.

    `fact` is another where the balance gets back what it paid.
    """
    return postings_of(
        f"invoice:{invoice_id}:{fact}",
        [("customer_credit", applied.amount_minor), (settles, -applied.amount_minor)],
        applied.currency,
        moment(at, zone),
        invoice_id=invoice_id,
    )


def postings_for_adjustment(entry_id: str, amount: Money, *, at: datetime) -> tuple[Posting, ...]:
    """Debit goodwill, which lessens revenue, credit what is owed to the customer; the reverse where it is taken back."""
    return postings_of(
        f"balance:{entry_id}:adjusted",
        [("goodwill", amount.amount_minor), ("customer_credit", -amount.amount_minor)],
        amount.currency,
        moment(at),
        balance_entry_id=entry_id,
    )


def postings_for_write_off(invoice_id: str, due: Money, *, at: datetime, zone: str) -> tuple[Posting, ...]:
    """Debit bad debt, credit what nobody expects to be paid any more."""
    return postings_of(
        f"invoice:{invoice_id}:written_off",
        [("bad_debt", due.amount_minor), ("accounts_receivable", -due.amount_minor)],
        due.currency,
        moment(at, zone),
        invoice_id=invoice_id,
    )


def postings_for_accrual(charge_id: str, net: Money, *, served_until: date, zone: str) -> tuple[Posting, ...]:
    """Debit a contract asset, credit revenue, at the end of the service: what was used, and waits on a draft.

    `served_until` is the day after the last one.
    """
    return postings_of(
        f"charge:{charge_id}:accrued",
        [("contract_asset", net.amount_minor), ("revenue", -net.amount_minor)],
        net.currency,
        Moment(start_of_day(served_until, zone) - LAST_SECOND, served_until - DAY),
        source_id=charge_id,
    )


def postings_for_accrual_reversed(
    charge_id: str, accrued: Money, *, at: datetime, zone: str
) -> tuple[Posting, ...]:
    """The reverse of what was accrued of a charge, in an entry of its own, when it is billed."""
    return postings_of(
        f"charge:{charge_id}:accrual_reversed",
        [("revenue", accrued.amount_minor), ("contract_asset", -accrued.amount_minor)],
        accrued.currency,
        moment(at, zone),
        source_id=charge_id,
    )

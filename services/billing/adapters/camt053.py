"""Bank statements as banks send them: CAMT.053 of ISO 20022, versions 02 and later.

Read entry by entry, so that a long file takes little memory. A document type, and so every entity, is refused; nothing is
fetched from anywhere.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from libs.common.errors import InputError
from libs.common.money import Money, UnknownCurrency, exponent
from services.billing.domain.bank_statement import (
    BankStatementUnreadable,
    Direction,
    ToldEntry,
    ToldStatement,
)

if TYPE_CHECKING:
    from lxml.etree import _Element

NAMESPACE: Final = re.compile(r"urn:iso:std:iso:20022:tech:xsd:camt\.053\.001\.(\d{2})")
ENTRIES_MAX: Final = 100_000
TEXT_LENGTH_MAX: Final = 2_000
ERRORS_MAX: Final = 20

_AMOUNT: Final = re.compile(r"[0-9]{1,18}(\.[0-9]{1,5})?")
_MINOR_MAX: Final = 10**18
_NO_REFERENCE: Final = frozenset({"", "NOTPROVIDED", "NONREF", "NOREF", "NONE", "N/A"})
_FROM = "camt.053.001.02"


@dataclass
class _Faults:
    """What is wrong, by line; the reading goes on so that all of it is told at once."""

    found: list[InputError] = field(default_factory=list)

    def add(self, element: _Element, detail: str) -> None:
        if len(self.found) < ERRORS_MAX:
            name = _local(element)
            line = element.sourceline or 0
            self.found.append({"pointer": f"/{line}/{name}", "detail": f"line {line}, {name}: {detail}"})


def read_camt053(content: bytes) -> list[ToldStatement]:
    """The statements of a file, one for each account and period.

    A booking of many payments is as many entries, where the bank tells them one by one and they come to its amount.
    What is not booked yet is passed over.
    Raises: BankStatementUnreadable.
    """
    from lxml import etree

    faults = _Faults()
    statements: list[ToldStatement] = []
    count = 0
    try:
        reading = etree.iterparse(
            io.BytesIO(content),
            events=("start", "end"),
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
        building: _Building | None = None
        is_first = True
        for event, element in reading:
            if is_first:
                _check_root(element)
                is_first = False
            if not isinstance(element.tag, str):
                raise _unreadable("it uses an entity, which statements do not have", element.sourceline)
            name = _local(element)
            if event == "start":
                if name == "Stmt":
                    building = _Building(element, faults)
                continue
            if building is None:
                continue
            if name == "Ntry":
                count += 1
                if count > ENTRIES_MAX:
                    raise _unreadable(f"it has more than {ENTRIES_MAX} entries", element.sourceline)
                building.add(element)
                _forget(element)
            elif name == "Stmt":
                statements.append(building.told())
                building = None
                element.clear()
    except etree.XMLSyntaxError as error:
        line, column = error.position
        raise _unreadable(f"it is no well-formed XML: {error.msg}", line, column) from None
    if faults.found:
        raise BankStatementUnreadable(
            "some of the statement cannot be read, so nothing of it was taken in",
            errors=faults.found,
            remedy="Ask the bank for a statement that keeps to the schema.",
        )
    if not statements:
        raise _unreadable("there is no statement (BkToCstmrStmt/Stmt) in it", None)
    return statements


def _forget(entry: _Element) -> None:
    """What was read of a long file need not be kept."""
    entry.clear()
    parent = entry.getparent()
    while parent is not None and (before := entry.getprevious()) is not None and _local(before) == "Ntry":
        parent.remove(before)


class _Building:
    """One statement while its entries are read."""

    def __init__(self, element: _Element, faults: _Faults) -> None:
        self._element, self._faults = element, faults
        self._entries: list[ToldEntry] = []
        self._passed_over = 0
        self._signed = Decimal(0)
        self._seen: dict[str, int] = {}

    @property
    def _id(self) -> str | None:
        return _text(self._element, "Id")

    def add(self, entry: _Element) -> None:
        status = _text(entry, "Sts/Cd") or _text(entry, "Sts")
        if status != "BOOK":
            self._passed_over += 1
            return
        whole = _Booking.read(entry, self._faults)
        if whole is None:
            return
        if not whole.amount.amount_minor:
            self._passed_over += 1
            return
        self._signed += whole.amount.to_decimal() * (1 if whole.direction == "credit" else -1)
        for told in whole.entries(self._id):
            # The same words twice in one file are two payments of one kind on one day.
            again = self._seen[told.key] = self._seen.get(told.key, 0) + 1
            key = told.key if again == 1 else _digest(told.key, str(again))
            self._entries.append(_with_key(told, key))

    def told(self) -> ToldStatement:
        element = self._element
        account = _text(element, "Acct/Id/IBAN") or _text(element, "Acct/Id/Othr/Id")
        if account is None:
            self._faults.add(element, "the account has no number (Acct/Id)")
        opening, closing = self._balance("OPBD", "PRCD"), self._balance("CLBD")
        agree = None
        if opening is not None and closing is not None and not self._passed_over:
            agree = opening + self._signed == closing
        return ToldStatement(
            account=plain_account(account or ""),
            statement_id=self._id,
            currency=_text(element, "Acct/Ccy") or _currency_of(self._entries),
            opening=opening,
            closing=closing,
            balances_agree=agree,
            entries=tuple(self._entries),
            passed_over_count=self._passed_over,
        )

    def _balance(self, *codes: str) -> Decimal | None:
        for balance in _all(self._element, "Bal"):
            if _text(balance, "Tp/CdOrPrtry/Cd") in codes:
                amount = _text(balance, "Amt") or ""
                if _AMOUNT.fullmatch(amount):
                    return Decimal(amount) * (-1 if _text(balance, "CdtDbtInd") == "DBIT" else 1)
        return None


@dataclass(frozen=True)
class _Booking:
    """An entry as it was booked; it may stand for many payments."""

    element: _Element
    amount: Money
    direction: Direction
    booked_on: date
    value_on: date | None
    is_reversal: bool
    details: list[_Element]

    @classmethod
    def read(cls, entry: _Element, faults: _Faults) -> _Booking | None:
        before = len(faults.found)
        amount = _money(entry, "Amt", faults)
        direction = _direction(entry)
        if direction is None:
            faults.add(entry, "CdtDbtInd is neither CRDT nor DBIT")
        booked_on = _date(entry, "BookgDt", faults) or _date(entry, "ValDt", faults)
        if booked_on is None and len(faults.found) == before:
            faults.add(entry, "it has neither a booking date nor a value date")
        if amount is None or direction is None or booked_on is None:
            return None
        return cls(
            element=entry,
            amount=amount,
            direction=direction,
            booked_on=booked_on,
            value_on=_date(entry, "ValDt", faults),
            is_reversal=_text(entry, "RvslInd") in ("true", "1"),
            details=[one for part in _all(entry, "NtryDtls") for one in _all(part, "TxDtls")],
        )

    def entries(self, statement_id: str | None) -> Iterator[ToldEntry]:
        parts = self._parts()
        for index, (details, amount, direction) in enumerate(parts):
            yield self._entry(details, amount, direction, index if len(parts) > 1 else None, statement_id)

    def _parts(self) -> list[tuple[_Element | None, Money, Direction]]:
        """Its payments one by one, if each has an amount and they come to that of the booking; else the booking whole."""
        if len(self.details) == 1:
            return [(self.details[0], self.amount, self.direction)]
        parts: list[tuple[_Element | None, Money, Direction]] = []
        signed = 0
        for details in self.details:
            amount = self._amount_of(details)
            direction = _direction(details) or self.direction
            if amount is None or not amount.amount_minor:
                return [(None, self.amount, self.direction)]
            signed += amount.amount_minor if direction == self.direction else -amount.amount_minor
            parts.append((details, amount, direction))
        return (
            parts if parts and signed == self.amount.amount_minor else [(None, self.amount, self.direction)]
        )

    def _amount_of(self, details: _Element) -> Money | None:
        """In the currency of the account: what the payer was told to pay may have been another."""
        for path in ("Amt", "AmtDtls/TxAmt/Amt", "AmtDtls/InstdAmt/Amt"):
            found = _find(details, path)
            if found is not None and found.get("Ccy") == self.amount.currency:
                return _exact(found.text or "", self.amount.currency)
        return None

    def _entry(
        self,
        details: _Element | None,
        amount: Money,
        direction: Direction,
        index: int | None,
        statement_id: str | None,
    ) -> ToldEntry:
        entry = self.element
        own = details if details is not None else entry
        bank_reference = _reference(entry, "AcctSvcrRef")
        own_reference = _reference(own, "Refs/AcctSvcrRef")
        end_to_end = _reference(own, "Refs/EndToEndId")
        lines = [
            *(one.text or "" for one in _all(own, "RmtInf/Ustrd")),
            *(one.text or "" for one in _all(own, "RmtInf/Strd/AddtlRmtInf")),
            _text(own, "AddtlTxInf") or "",
            _text(entry, "AddtlNtryInf") or "",
        ]
        text = " ".join(" ".join(lines).split())[:TEXT_LENGTH_MAX]
        side = "Dbtr" if direction == "credit" else "Cdtr"
        account = _text(own, f"RltdPties/{side}Acct/Id/IBAN") or _text(
            own, f"RltdPties/{side}Acct/Id/Othr/Id"
        )
        name = next(
            (
                found
                for path in (f"{side}/Nm", f"{side}/Pty/Nm", f"Ultmt{side}/Nm", f"Ultmt{side}/Pty/Nm")
                if (found := _text(own, f"RltdPties/{path}"))
            ),
            None,
        )
        named = own_reference or bank_reference
        # A bank's own reference is one of the account's; its number of an entry, or no reference at all, says something
        # within its statement only.
        where = "" if named else f"{statement_id}/{_text(entry, 'NtryRef')}"
        told = (direction, str(self.is_reversal), str(amount.amount_minor), amount.currency)
        key = _digest(
            named or where,
            bank_reference or "",
            str(index) if index is not None and own_reference is None else "",
            *told,
            self.booked_on.isoformat(),
            *(() if named else (end_to_end or "", text, name or "", account or "")),
        )
        instructed = _find(own, "AmtDtls/InstdAmt/Amt")
        return ToldEntry(
            key=key,
            direction=direction,
            amount=amount,
            booked_on=self.booked_on,
            value_on=self.value_on,
            is_reversal=self.is_reversal,
            is_return=_find(own, "RtrInf") is not None,
            bank_reference=named,
            end_to_end_id=end_to_end,
            creditor_reference=_text(own, "RmtInf/Strd/CdtrRefInf/Ref"),
            text=text,
            payer_name=name[:140] if name else None,
            payer_account=plain_account(account)[:40] if account else None,
            instructed=f"{instructed.text} {instructed.get('Ccy')}"[:40]
            if instructed is not None and instructed.get("Ccy") != amount.currency
            else None,
        )


def plain_account(account: str) -> str:
    """An IBAN without blanks, in capital letters; another number as it is."""
    return "".join(account.split()).upper()


def _with_key(told: ToldEntry, key: str) -> ToldEntry:
    return told if told.key == key else replace(told, key=key)


def _check_root(root: _Element) -> None:
    info = root.getroottree().docinfo
    if info.doctype or info.internalDTD is not None:
        raise _unreadable("it has a document type, which statements do not", root.sourceline)
    namespace = str(root.tag)[1:].partition("}")[0] if str(root.tag).startswith("{") else ""
    found = NAMESPACE.fullmatch(namespace)
    if found is None or int(found.group(1)) < 2 or _local(root) != "Document":
        what = namespace.rpartition(":")[2] or _local(root)
        raise _unreadable(f"it is no bank statement of {_FROM} or later, but {what[:60]!r}", root.sourceline)


def _unreadable(detail: str, line: int | None, column: int | None = None) -> BankStatementUnreadable:
    where = f"/{line}/{column}" if column else f"/{line}" if line else ""
    told = f"line {line}: {detail}" if line else detail
    return BankStatementUnreadable(
        "the statement cannot be read",
        errors=[{"pointer": where, "detail": told}],
        remedy="Send the bank's file as it is: CAMT.053, version 02 or later.",
    )


def _local(element: _Element | None) -> str:
    return "" if element is None else str(element.tag).rpartition("}")[2]


def _find(element: _Element, path: str) -> _Element | None:
    for name in path.split("/"):
        found = next((child for child in element if _local(child) == name), None)
        if found is None:
            return None
        element = found
    return element


def _all(element: _Element, path: str) -> list[_Element]:
    found = [element]
    for name in path.split("/"):
        found = [child for parent in found for child in parent if _local(child) == name]
    return found


def _text(element: _Element, path: str) -> str | None:
    found = _find(element, path)
    text = "" if found is None else (found.text or "").strip()
    return text or None


def _reference(element: _Element, path: str) -> str | None:
    text = _text(element, path) or ""
    return None if text.upper() in _NO_REFERENCE else text[:140]


def _direction(element: _Element) -> Direction | None:
    given = _text(element, "CdtDbtInd")
    return "credit" if given == "CRDT" else "debit" if given == "DBIT" else None


def _money(element: _Element, path: str, faults: _Faults) -> Money | None:
    found = _find(element, path)
    if found is None:
        faults.add(element, f"{path} is missing")
        return None
    try:
        amount = _exact(found.text or "", found.get("Ccy") or "")
    except UnknownCurrency:
        faults.add(found, f"{(found.get('Ccy') or 'none')[:10]!r} is no currency")
        return None
    if amount is None:
        faults.add(found, f"{(found.text or '')[:40]!r} is no amount of its currency")
    return amount


def _exact(text: str, currency: str) -> Money | None:
    """Raises: UnknownCurrency."""
    decimals = exponent(currency)
    if not _AMOUNT.fullmatch(text.strip()):
        return None
    minor = Decimal(text.strip()).scaleb(decimals)
    if minor != minor.to_integral_value() or minor > _MINOR_MAX:
        return None
    return Money(int(minor), currency)


def _date(element: _Element, path: str, faults: _Faults) -> date | None:
    text = _text(element, f"{path}/Dt") or _text(element, f"{path}/DtTm")
    if text is None:
        return None
    try:
        return date.fromisoformat(text[:10]) if len(text) >= 10 else datetime.fromisoformat(text).date()
    except ValueError:
        faults.add(element, f"{path} is no date: {text[:40]!r}")
        return None


def _currency_of(entries: list[ToldEntry]) -> str | None:
    return entries[0].amount.currency if entries else None


def _digest(*parts: str) -> str:
    told = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(told.encode()).hexdigest()

"""Bank statements as tables: the CSV files that banks let people download, each with columns of its own."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Final, Literal, get_args

from libs.common.errors import InputError
from libs.common.money import Money, UnknownCurrency, exponent
from services.billing.adapters.camt053 import ENTRIES_MAX, ERRORS_MAX, TEXT_LENGTH_MAX, plain_account
from services.billing.domain.bank_statement import (
    BankStatementUnreadable,
    Direction,
    ToldEntry,
    ToldStatement,
)

Column = Literal[
    "booked_on",
    "value_on",
    "amount",
    "credit",
    "debit",
    "direction",
    "currency",
    "name",
    "account",
    "text",
    "reference",
    "bank_reference",
    "own_account",
]
DateOrder = Literal["YMD", "DMY", "MDY"]

COLUMNS: Final[tuple[str, ...]] = get_args(Column)
HEADER_LINES_MAX: Final = 40
FIELD_LENGTH_MAX: Final = 10_000

# Headers as German, Austrian, Swiss, Dutch, French, Spanish and English banks write them, in letters and digits only.
_WORDS: Final[Mapping[str, str]] = {
    "booked_on": (
        "bookedon bookingdate bookingdatum buchungstag buchungsdatum buchung date datum datecomptable "
        "transactiondate fecha fechaoperacion dateoperation completeddate postingdate"
    ),
    "value_on": (
        "valueon valuedate valuta valutadatum wertstellung wertstellungsdatum datevaleur fechavalor"
    ),
    "amount": ("amount betrag betrageur bedrag bedrageur montant importe umsatz umsatzeur betragineur summe"),
    "credit": "credit gutschrift haben einzahlung moneyin paidin abono credits gutschriftinchf habeneur",
    "debit": "debit lastschrift soll auszahlung moneyout paidout cargo debits lastschriftinchf solleur",
    "direction": "direction sollhaben sh afbij drcr creditdebit creditdebitindicator kennzeichen",
    "currency": "currency waehrung wahrung wahrungscode devise moneda munt valutacode betragwaehrung",
    "name": (
        "name payer payername counterparty counterpartyname auftraggeber auftraggeberbeguenstigter "
        "beguenstigterzahlungspflichtiger begunstigterzahlungspflichtiger zahlungspflichtiger "
        "zahlungspflichtige nameomschrijving namezahlungsbeteiligter partnername zahlungspflichtigerr"
    ),
    "account": (
        "account iban payeriban counterpartyiban kontonummeriban tegenrekening ibanzahlungsbeteiligter "
        "partneriban counterpartyaccount kontonummer compte"
    ),
    "text": (
        "text description verwendungszweck buchungstext mededelingen libelle concepto details "
        "remittanceinformation reference1 narrative zahlungszweck beschreibung"
    ),
    "reference": (
        "reference referenz creditorreference kundenreferenz endtoendid kundenreferenzendtoend "
        "endtoendreference"
    ),
    "bank_reference": (
        "bankreference bankreferenz transactionid transaktionsid entryreference accountservicerreference"
    ),
    "own_account": "ownaccount auftragskonto rekening ibanauftragskonto eigeneskonto",
}
RECOGNISED: Final = {column: tuple(words.split()) for column, words in _WORDS.items()}
_CREDIT_WORDS: Final = frozenset(["h", "haben", "c", "cr", "crdt", "credit", "bij", "+", "gutschrift", "in"])
_DEBIT_WORDS: Final = frozenset(["s", "soll", "d", "dr", "dbit", "debit", "af", "-", "lastschrift", "out"])
_DELIMITERS: Final = (";", ",", "\t", "|")
_SPACES: Final = re.compile(r"[\s\u00a0\u202f'’]")
_NUMBER: Final = re.compile(r"[0-9][0-9.,]*")
_DATE: Final = re.compile(r"(\d{1,4})[-./](\d{1,2})[-./](\d{2,4})")


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """What is told beside the file. `columns` names headers where they are not recognised; `decimal` and `date_order` say
    how amounts and dates are written where the file leaves it open.
    """

    account: str | None = None
    currency: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    decimal: Literal[",", "."] | None = None
    date_order: DateOrder | None = None
    charset: str | None = None


def read_statement_csv(content: bytes, options: CsvOptions) -> list[ToldStatement]:
    """One statement for each account of the file.

    Lines before the header are passed over, and so are empty ones. An entry that stands in the file twice, word by word,
    is two; standing in another file again, it is the same.
    Raises: BankStatementUnreadable.
    """
    lines = _decoded(content, options).splitlines(keepends=True)
    header = _header_of(lines, options)
    reading = _Reading(header, options)
    text = io.StringIO("".join(lines[header.line :]), newline="")
    try:
        for row in (table := csv.reader(text, delimiter=header.delimiter)):
            if any(cell.strip() for cell in row):
                reading.take(row, header.line + table.line_num)
            if len(reading.rows) > ENTRIES_MAX:
                raise _unreadable(f"it has more than {ENTRIES_MAX} entries")
    except csv.Error as error:
        raise _unreadable(f"it is no table: {error}") from None
    return reading.told()


@dataclass(frozen=True)
class _Header:
    """`line` is how many lines of the file are over after it."""

    line: int
    delimiter: str
    places: Mapping[str, int]
    names: Sequence[str]


@dataclass(frozen=True)
class _Row:
    line: int
    cells: Mapping[str, str]


class _Reading:
    def __init__(self, header: _Header, options: CsvOptions) -> None:
        self._header, self._options = header, options
        self.rows: list[_Row] = []
        self._faults: list[InputError] = []
        self._passed_over = 0

    def take(self, row: Sequence[str], line: int) -> None:
        places = self._header.places
        cells = {
            name: row[place].strip()[:FIELD_LENGTH_MAX] for name, place in places.items() if place < len(row)
        }
        self.rows.append(_Row(line, cells))

    def told(self) -> list[ToldStatement]:
        decimal = self._decimal()
        order = self._date_order()
        accounts: dict[str, list[ToldEntry]] = {}
        seen: dict[str, int] = {}
        for row in self.rows:
            found = self._entry(row, decimal, order)
            if found is None:
                continue
            account, told = found
            again = seen[account + told.key] = seen.get(account + told.key, 0) + 1
            key = told.key if again == 1 else _digest(told.key, str(again))
            accounts.setdefault(account, []).append(_keyed(told, key))
        if self._faults:
            raise BankStatementUnreadable(
                "some of the statement cannot be read, so nothing of it was taken in",
                errors=self._faults[:ERRORS_MAX],
                remedy="Put the lines right, or say how they are to be read: columns, decimal, date_order, currency.",
            )
        if not accounts and not self._passed_over:
            raise _unreadable("there is no entry in it")
        return [
            ToldStatement(
                account=account,
                statement_id=None,
                currency=entries[0].amount.currency,
                opening=None,
                closing=None,
                balances_agree=None,
                entries=tuple(entries),
            )
            for account, entries in accounts.items()
        ]

    def _fault(self, row: _Row, column: str, detail: str) -> None:
        name = self._header.names[self._header.places[column]] if column in self._header.places else column
        told = f"line {row.line}, column {name!r}: {detail}"
        self._faults.append({"pointer": f"/{row.line}/{name[:60]}", "detail": told})

    def _entry(self, row: _Row, decimal: str, order: DateOrder | None) -> tuple[str, ToldEntry] | None:
        cells = row.cells
        booked_on = self._date(row, "booked_on", order)
        value_on = self._date(row, "value_on", order)
        currency = (cells.get("currency") or self._options.currency or "").upper()
        signed = self._signed(row, currency, decimal)
        account = plain_account(cells.get("own_account") or self._options.account or "")[:40]
        if not account:
            self._fault(row, "own_account", "the account is not known: name it (account)")
        if signed is None or booked_on is None or not account:
            return None
        if not signed:
            self._passed_over += 1
            return None
        amount = Money(abs(signed), currency)
        direction: Direction = "credit" if signed > 0 else "debit"
        name, reference = cells.get("name") or None, cells.get("reference") or None
        bank_reference = cells.get("bank_reference") or None
        text = " ".join((cells.get("text") or "").split())[:TEXT_LENGTH_MAX]
        payer = plain_account(cells.get("account") or "")[:40] or None
        key = _digest(
            bank_reference or "",
            direction,
            str(amount.amount_minor),
            currency,
            booked_on.isoformat(),
            *(() if bank_reference else (reference or "", text, name or "", payer or "")),
        )
        return account, ToldEntry(
            key=key,
            direction=direction,
            amount=amount,
            booked_on=booked_on,
            value_on=value_on,
            bank_reference=None if bank_reference is None else bank_reference[:140],
            end_to_end_id=None if reference is None else reference[:140],
            text=text,
            payer_name=None if name is None else name[:140],
            payer_account=payer,
        )

    def _signed(self, row: _Row, currency: str, decimal: str) -> int | None:
        """In minor units, below zero where it was paid out."""
        try:
            decimals = exponent(currency)
        except UnknownCurrency:
            told = "the currency is not known: name it (currency)" if not currency else "it is no currency"
            self._fault(row, "currency", told)
            return None
        if "amount" in self._header.places:
            minor = self._minor(row, "amount", decimals, decimal)
            if minor is None:
                self._fault_if_empty(row, "amount")
                return None
            word = row.cells.get("direction", "").casefold()
            if "direction" not in self._header.places:
                return minor
            if word in _CREDIT_WORDS:
                return abs(minor)
            if word in _DEBIT_WORDS:
                return -abs(minor)
            self._fault(row, "direction", f"{word[:20]!r} says neither credit nor debit")
            return None
        credit, debit = (
            self._minor(row, name, decimals, decimal) if row.cells.get(name) else 0
            for name in ("credit", "debit")
        )
        return None if credit is None or debit is None else abs(credit) - abs(debit)

    def _fault_if_empty(self, row: _Row, column: str) -> None:
        if not row.cells.get(column):
            self._fault(row, column, "it is empty")

    def _minor(self, row: _Row, column: str, decimals: int, decimal: str) -> int | None:
        text = row.cells.get(column, "")
        if not text:
            return None
        plain = _SPACES.sub("", text)
        is_negative = plain.startswith(("-", "(")) or plain.endswith("-")
        found = _NUMBER.search(plain)
        if found is None:
            self._fault(row, column, f"{text[:40]!r} is no amount")
            return None
        thousands = "." if decimal == "," else ","
        number = found.group().replace(thousands, "").replace(decimal, ".").rstrip(".")
        if number.count(".") > 1 or len(number) > 19:
            self._fault(row, column, f"{text[:40]!r} is no amount")
            return None
        minor = Decimal(number).scaleb(decimals)
        if minor != minor.to_integral_value() or minor > 10**18:
            self._fault(row, column, f"{text[:40]!r} is finer than its currency")
            return None
        return -int(minor) if is_negative else int(minor)

    def _decimal(self) -> str:
        """How amounts are written, by those that leave no doubt."""
        if self._options.decimal is not None:
            return self._options.decimal
        votes: set[str] = set()
        doubtful: _Row | None = None
        for row in self.rows:
            for name in ("amount", "credit", "debit"):
                found = _NUMBER.search(_SPACES.sub("", row.cells.get(name, "")))
                if found is None:
                    continue
                vote = _decimal_of(found.group())
                if vote == "?":
                    doubtful = doubtful or row
                elif vote:
                    votes.add(vote)
        if len(votes) == 1:
            return votes.pop()
        if len(votes) > 1 or doubtful is not None:
            line = doubtful.line if doubtful else self.rows[0].line
            raise _unreadable("it is not sure what the decimal sign of its amounts is", line, "decimal")
        return "."

    def _date_order(self) -> DateOrder | None:
        """None where nothing but years first occurs; days before months unless a date says otherwise."""
        if self._options.date_order is not None:
            return self._options.date_order
        orders: set[DateOrder] = set()
        slashed = False
        for row in self.rows:
            found = _DATE.search(row.cells.get("booked_on", ""))
            if found is None or len(found.group(1)) == 4:
                continue
            first, second = int(found.group(1)), int(found.group(2))
            slashed |= "/" in found.group()
            if first > 12:
                orders.add("DMY")
            elif second > 12:
                orders.add("MDY")
        if len(orders) > 1:
            raise _unreadable("some dates have the day first, and some the month", None, "date_order")
        if not orders and slashed:
            raise _unreadable(
                "it is not sure whether dates have the day or the month first", None, "date_order"
            )
        return orders.pop() if orders else "DMY"

    def _date(self, row: _Row, column: str, order: DateOrder | None) -> date | None:
        text = row.cells.get(column, "")
        if not text:
            if column == "booked_on":
                self._fault(row, column, "it is empty")
            return None
        found = _DATE.search(text)
        try:
            if found is None:
                return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
            one, two, three = (int(part) for part in found.groups())
            if len(found.group(1)) == 4:
                return date(one, two, three)
            year = three + 2000 if three < 100 else three
            return date(year, one, two) if order == "MDY" else date(year, two, one)
        except ValueError:
            self._fault(row, column, f"{text[:40]!r} is no date")
            return None


def _decimal_of(number: str) -> str:
    """Its decimal sign; nothing where it has none, a question mark where one sign may be either."""
    commas, points = number.count(","), number.count(".")
    if commas and points:
        return "," if number.rfind(",") > number.rfind(".") else "."
    if not commas and not points:
        return ""
    sign = "," if commas else "."
    if commas + points > 1:
        return "." if sign == "," else ","
    return "?" if len(number) - number.find(sign) == 4 else sign


def _decoded(content: bytes, options: CsvOptions) -> str:
    """UTF-8, UTF-16 by its mark, else the Windows code page that banks of Western Europe use."""
    if options.charset is not None:
        try:
            return content.decode(options.charset)
        except (LookupError, UnicodeDecodeError):
            raise _unreadable(f"it is not written in {options.charset[:40]}") from None
    encodings = ("utf-16",) if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252")
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" in text:
            raise _unreadable("it is no text")
        return text
    raise _unreadable("it is neither UTF-8 nor Windows-1252")


def _header_of(lines: Sequence[str], options: CsvOptions) -> _Header:
    """The first line in which a date and an amount are found, whatever stands before it."""
    for name in options.columns:
        if name not in COLUMNS:
            raise _unreadable(f"{name[:40]!r} is none of the columns {', '.join(COLUMNS)}", None, "columns")
    best: set[str] = set()
    for index, line in enumerate(lines[:HEADER_LINES_MAX]):
        for delimiter in _DELIMITERS:
            if delimiter not in line:
                continue
            try:
                names = [
                    cell.strip().lstrip("\ufeff") for cell in next(csv.reader([line], delimiter=delimiter))
                ]
            except (csv.Error, StopIteration):
                continue
            places = _places(names, options)
            if _suffice(places):
                return _Header(index + 1, delimiter, places, names)
            best |= places.keys()
    missing = "a date (booked_on)" if "booked_on" not in best else "an amount (amount, or credit and debit)"
    raise _unreadable(
        f"no line of the first {HEADER_LINES_MAX} names the column of {missing}", None, "columns"
    )


def _places(names: Sequence[str], options: CsvOptions) -> dict[str, int]:
    places: dict[str, int] = {}
    plain = [_plain(name) for name in names]
    for column, header in options.columns.items():
        if _plain(header) in plain:
            places[column] = plain.index(_plain(header))
    taken = set(places.values())
    for column, known in RECOGNISED.items():
        if column in places or column in options.columns:
            continue
        for word in known:
            if word in plain and plain.index(word) not in taken:
                places[column] = plain.index(word)
                taken.add(places[column])
                break
    return places


def _suffice(places: Mapping[str, int]) -> bool:
    return "booked_on" in places and ("amount" in places or {"credit", "debit"} <= places.keys())


def _plain(name: str) -> str:
    folded = name.casefold().replace("ä", "ae").replace("ö", "oe").replace("ü", "ue").replace("ß", "ss")
    return "".join(letter for letter in folded.replace("é", "e").replace("è", "e") if letter.isalnum())


def _keyed(told: ToldEntry, key: str) -> ToldEntry:
    return replace(told, key=key)


def _unreadable(detail: str, line: int | None = None, option: str | None = None) -> BankStatementUnreadable:
    pointer = f"/{line}" if line else f"/{option}" if option else ""
    told = f"line {line}: {detail}" if line else detail
    remedy = f"Say it in the query: {option}." if option else "Send the table as the bank gives it."
    return BankStatementUnreadable(
        "the statement cannot be read", errors=[{"pointer": pointer, "detail": told}], remedy=remedy
    )


def _digest(*parts: str) -> str:
    told = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(told.encode()).hexdigest()

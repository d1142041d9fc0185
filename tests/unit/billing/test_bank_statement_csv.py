"""Statements as tables: as banks of several countries write them, and what is unclear is said with its line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from services.billing.adapters.bank_statement_csv import CsvOptions, read_statement_csv
from services.billing.domain.bank_statement import BankStatementUnreadable

NAMED = {"booked_on": "When", "amount": "Sum", "text": "What"}
PLAIN = {"account": "NL91 ABNA 0417 1643 00", "currency": "EUR"}


def read(text: str | bytes, **options: Any) -> list[tuple[str, int, str, str]]:
    content = text if isinstance(text, bytes) else text.encode()
    (statement,) = read_statement_csv(content, CsvOptions(**{**PLAIN, **options}))
    return [
        (one.booked_on.isoformat(), one.amount.amount_minor, one.direction, one.text)
        for one in statement.entries
    ]


def refused(text: str | bytes, options: Mapping[str, Any]) -> str:
    content = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(BankStatementUnreadable) as caught:
        read_statement_csv(content, CsvOptions(**{**PLAIN, **options}))
    return " ".join(error["detail"] for error in caught.value.errors)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("booked_on,amount,text\n2026-11-20,1234.50,F-1\n", {}),
        ("\ufeffBuchungstag;Valuta;Verwendungszweck;Betrag\n20.11.2026;20.11.2026;F-1;1.234,50\n", {}),
        ("Kontoauszug\n\nKonto;123\nBuchungstag;Betrag (EUR);Verwendungszweck\n20.11.26;1.234,50 €;F-1\n", {}),
        ("Date\tMoney in\tMoney out\tDescription\n20/11/2026\t1,234.50\t\tF-1\n", {}),
        ("Datum;Bedrag (EUR);Af Bij;Mededelingen\n20261120;1234,50;Bij;F-1\n", {}),
        ("Datum;Gutschrift;Lastschrift;Text\n20.11.2026;1'234.50;;F-1\n", {}),
        ('When,Sum,What\n"11/20/2026","1,234.50","F-1"\n', {"columns": NAMED}),
        ("Date,Amount,Text\n05/11/2026,1234.50,F-1\n", {"date_order": "DMY"}),
    ],
)  # fmt: skip
def test_one_entry_as_banks_write_it(text: str, options: Mapping[str, Any]) -> None:
    ((on, minor, direction, told),) = read(text, **options)
    assert on in ("2026-11-20", "2026-11-05")
    assert (minor, direction, told) == (123450, "credit", "F-1")


def test_encodings() -> None:
    text = "Datum;Betrag;Name;Text\n20.11.2026;5,00;Müller;Fürth\n"
    for content in (text.encode("cp1252"), text.encode(), text.encode("utf-16")):
        ((_, _, _, told),) = read(content)
        assert told == "Fürth"
    ((_, _, _, told),) = read(text.encode("cp437"), charset="cp437")
    assert told == "Fürth"


def test_money_out_and_negative_amounts() -> None:
    text = "date,amount,text\n2026-11-20,-5.00,a\n2026-11-20,5.00-,b\n2026-11-20,0.00,c\n2026-11-20,+7.00,d\n"
    assert [(minor, direction) for _, minor, direction, _ in read(text)] == [
        (500, "debit"),
        (500, "debit"),
        (700, "credit"),
    ]


def test_the_same_words_twice_are_two_and_in_another_file_the_same() -> None:
    twice = b"date,amount,text\n2026-11-20,5.00,a\n2026-11-20,5.00,a\n"
    more = b"date,amount,text\n2026-11-19,1.00,z\n2026-11-20,5.00,a\n2026-11-20,5.00,a\n"
    (first,), (second,) = (read_statement_csv(content, CsvOptions(**PLAIN)) for content in (twice, more))
    assert len({one.key for one in first.entries}) == 2
    assert {one.key for one in first.entries} < {one.key for one in second.entries}


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("date,amount\n2026-11-20,abc\n", {}, "line 2, column 'amount': 'abc' is no amount"),
        ("date,amount\n2026-11-20,1.005\n2026-11-21,1.50\n", {}, "finer than its currency"),
        ("date,amount\n2026-11-20,1.234\n", {}, "not sure what the decimal sign"),
        ("date,amount\n2026-11-20,\n", {}, "line 2, column 'amount': it is empty"),
        ("date,amount\n,5.00\n", {}, "line 2, column 'date': it is empty"),
        ("date,amount\n2026-13-01,5.00\n", {}, "is no date"),
        ("date,amount\n05/06/2026,5.00\n", {}, "day or the month first"),
        ("date,amount\n25/06/2026,5.00\n06/25/2026,5.00\n", {}, "some dates have the day first"),
        ("date,amount\n2026-11-20,5.00\n", {"currency": None}, "the currency is not known"),
        ("date,amount\n2026-11-20,5.00\n", {"currency": "ZZZ"}, "no currency"),
        ("date,amount\n2026-11-20,5.00\n", {"account": None}, "the account is not known"),
        ("foo,bar\n1,2\n", {}, "names the column of a date"),
        ("date,bar\n1,2\n", {}, "names the column of an amount"),
        ("date,amount\n", {}, "no entry"),
        ("", {}, "names the column"),
        (b"\x00\x01\x02", {}, "no text"),
        (b"\x81\x8d\xff", {"charset": "utf-8"}, "not written in"),
        ("date,amount\n2026-11-20,5.00\n", {"charset": "no-such"}, "not written in"),
        ("date,amount\n2026-11-20,5.00\n", {"columns": {"sum": "amount"}}, "none of the columns"),
        ("datum,amount,afbij\n2026-11-20,5.00,?\n", {}, "neither credit nor debit"),
        ("date,amount\n2026-11-20," + "9" * 40 + "\n", {}, "is no amount"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(
    text: str | bytes, options: Mapping[str, Any], said: str
) -> None:
    assert said in refused(text, options)

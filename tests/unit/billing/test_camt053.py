"""CAMT.053: what banks write is read, and what attackers write is refused."""

from __future__ import annotations

import pytest
from lxml import etree

from services.billing.adapters.camt053 import read_camt053
from services.billing.domain.bank_statement import BankStatementUnreadable
from tests.support.bank_statements import OURS, SCHEMA, Booked, Paid, booked, camt053

BATCH = Booked(
    "300.00",
    (Paid("100.00", "F-000001", end_to_end="e1"), Paid("200.00", "F-000002", end_to_end="e2")),
    reference="B-1",
)
MANY = (
    booked(Paid("12.50", "Invoice F-000007", structured="RF18539007547034"), reference="A-1"),
    BATCH,
    booked(Paid("9.99", "back", is_return=True), is_debit=True, is_reversal=True, reference="A-2"),
    booked(Paid("5.00", "rent"), is_debit=True, reference="A-3"),
    booked(Paid("80.00", instructed=("90.00", "USD")), reference="A-4"),
    Booked("7.00", status="PDNG"),
)


def refused(content: bytes) -> str:
    with pytest.raises(BankStatementUnreadable) as caught:
        read_camt053(content)
    return " ".join(error["detail"] for error in caught.value.errors)


def test_what_tests_write_is_valid() -> None:
    schema = etree.XMLSchema(etree.parse(str(SCHEMA)))
    schema.assertValid(etree.fromstring(camt053(*MANY)))


@pytest.mark.parametrize("version", ["02", "04", "08", "14"])
def test_every_version_says_the_same(version: str) -> None:
    (statement,) = read_camt053(camt053(*MANY, version=version))
    assert (statement.account, statement.currency, statement.passed_over_count) == (OURS, "EUR", 1)
    assert [
        (one.direction, one.amount.amount_minor, one.is_reversal, one.is_return) for one in statement.entries
    ] == [
        ("credit", 1250, False, False),
        ("credit", 10000, False, False),
        ("credit", 20000, False, False),
        ("debit", 999, True, True),
        ("debit", 500, False, False),
        ("credit", 8000, False, False),
    ]
    first, of_batch, other, *_, foreign = statement.entries
    assert (first.creditor_reference, first.text) == ("RF18539007547034", "Invoice F-000007")
    assert (first.payer_name, first.payer_account) == ("A. Payer", "DE89370400440532013000")
    assert (of_batch.end_to_end_id, other.end_to_end_id) == ("e1", "e2")
    assert foreign.instructed == "90.00 USD"
    assert len({one.key for one in statement.entries}) == 6


def test_balances_say_whether_entries_are_missing() -> None:
    whole = camt053(booked(Paid("10.00"), reference="1"), booked(Paid("20.00"), reference="2"))
    (statement,) = read_camt053(whole)
    assert statement.balances_agree is True
    (short,) = read_camt053(whole.replace(b"1030.00", b"1031.00"))
    assert short.balances_agree is False


def test_a_batch_that_does_not_add_up_is_one_entry() -> None:
    (statement,) = read_camt053(camt053(Booked("300.01", BATCH.payments, reference="B-1")))
    assert [one.amount.amount_minor for one in statement.entries] == [30001]


def test_an_entry_is_the_same_in_another_file() -> None:
    """By the bank's reference, whatever statement it stands in; without one, only within its statement."""
    known, unknown = booked(Paid("10.00"), reference="A-1"), booked(Paid("10.00"))
    (one,) = read_camt053(camt053(known, unknown, unknown))
    (two,) = read_camt053(camt053(unknown, known, statement_id="STMT-2"))
    assert one.entries[0].key == two.entries[1].key
    assert len({entry.key for entry in (*one.entries, *two.entries)}) == 4


def test_a_reversal_is_another_entry_than_what_it_takes_back() -> None:
    came = booked(Paid("10.00"), reference="A-1")
    went = booked(Paid("10.00"), reference="A-1", is_debit=True, is_reversal=True)
    (statement,) = read_camt053(camt053(came, went))
    assert len({entry.key for entry in statement.entries}) == 2


LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">]>"""
OUTSIDE = b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


def with_document_type(declared: bytes, entity: bytes) -> bytes:
    plain = camt053(booked(Paid("10.00", "TEXT"), reference="1")).partition(b"?>")[2]
    return declared + plain.replace(b"TEXT", entity)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (with_document_type(LAUGHS, b"&d;"), "document type"),
        (with_document_type(OUTSIDE, b"&x;"), "document type"),
        (b'<!DOCTYPE d SYSTEM "http://127.0.0.1:9/x.dtd"><d/>', "document type"),
        (camt053().replace(b"camt.053.001.08", b"camt.052.001.08"), "camt.052"),
        (camt053().replace(b"camt.053.001.08", b"pain.001.001.03"), "pain.001"),
        (b"<Document/>", "no bank statement"),
        (b'<x xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"/>', "no bank statement"),
        (b"", "no well-formed XML"),
        (b"date;amount\n2026-01-01;5", "no well-formed XML"),
        (camt053(booked(Paid("10.00")))[:-40], "no well-formed XML"),
        (camt053().replace(b"</Stmt>", b"<a>" * 100_000), "no well-formed XML"),
        (camt053(booked(Paid("10.005"))), "no amount of its currency"),
        (camt053(booked(Paid("1e5"))), "no amount of its currency"),
        (camt053(booked(Paid("9" * 18))), "no amount of its currency"),
        (camt053(booked(Paid("10.00"), currency="XXZ")), "no currency"),
        (camt053(booked(Paid("10.00"), on="2026-02-30")), "no date"),
        (
            camt053(booked(Paid("10.00"))).replace(b"CRDT</CdtDbtInd><Sts>", b"WHAT</CdtDbtInd><Sts>"),
            "neither CRDT",
        ),
        (camt053(booked(Paid("10.00"))).replace(f"<IBAN>{OURS}</IBAN>".encode(), b""), "no number"),
        (b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"/>', "no statement"),
    ],
)
def test_what_is_hostile_or_wrong_is_refused(content: bytes, said: str) -> None:
    assert said in refused(content)


def test_all_faults_are_told_at_once_with_their_lines() -> None:
    told = refused(camt053(booked(Paid("1.001")), booked(Paid("2.00")), booked(Paid("3.0001"))))
    assert told.count("no amount of its currency") == 2
    assert "line " in told


def test_utf_16_is_read() -> None:
    text = camt053(booked(Paid("10.00", name="Żółć"), reference="1")).decode()
    (statement,) = read_camt053(text.replace("UTF-8", "UTF-16").encode("utf-16"))
    assert statement.entries[0].payer_name == "Żółć"

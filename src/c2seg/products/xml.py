"""Metadata of products: XML from files of others."""

from __future__ import annotations

from xml.etree import ElementTree

from c2seg.errors import DataError, one_line

__all__ = ["parse_xml"]


def parse_xml(text: bytes, where: str) -> ElementTree.Element:
    """Return the root of an XML file, without namespaces. Raises DataError if it is damaged or defines entities."""
    if b"<!ENTITY" in text or b"<!DOCTYPE" in text:
        raise DataError(f"{where} defines entities, which metadata of products do not; it is not read")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise DataError(f"{where} is damaged: {one_line(error)}; download the product again") from error
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    return root

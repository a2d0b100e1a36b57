"""Metadata of any product: entities are refused before they can grow, damage is one line."""

from __future__ import annotations

import pytest

from c2seg.errors import DataError
from c2seg.products.sentinel1_annotation import parse_annotation
from c2seg.products.xml import parse_xml

BOMB = b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>'


@pytest.mark.parametrize("read", [parse_xml, parse_annotation])
def test_entities_and_damage_are_told(read):
    with pytest.raises(DataError, match=r"meta\.xml defines entities"):
        read(BOMB, "meta.xml")
    with pytest.raises(DataError, match=r"meta\.xml is damaged: .*; download the product again"):
        read(b"<a><b></a>", "meta.xml")


def test_names_have_no_namespaces():
    root = parse_xml(b'<n:a xmlns:n="urn:x"><n:b>1</n:b></n:a>', "meta.xml")
    assert (root.tag, root.findtext("b")) == ("a", "1")

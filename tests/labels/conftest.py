from __future__ import annotations

import pytest

from helpers.label_maps import OsmFile


@pytest.fixture
def osm() -> OsmFile:
    """An empty map; see label_maps."""
    return OsmFile()

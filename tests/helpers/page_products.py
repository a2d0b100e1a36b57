"""Satellite products of one small place near Berlin, in the structure in which agencies deliver them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import osmium
import pytest
import rasterio
from affine import Affine

from products import make_enmap
from products.make_sentinel1 import Flight, Made, make_safe
from products.make_sentinel2 import NORTH, WEST, Safe

BOUNDS = "13.533,52.331,13.548,52.341"
"""Inside of all products, in the place of the bounds that pages have."""


def sentinel2(shelf: object, out: Path) -> None:
    Safe().write(out.parent).rename(out)


def sentinel1(shelf: object, out: Path) -> None:
    rng = np.random.default_rng(5)
    images = {name: 1 + np.sqrt(rng.gamma(4, 1e4, (900, 1100))).astype(np.uint16) for name in ("VV", "VH")}
    make_safe(out.parent, Made(images, flight=Flight(lon=18.9, lat=52.31))).rename(out)


def enmap(shelf: object, out: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_enmap, "TRANSFORM", Affine(30, 0, WEST, 0, -30, NORTH))
        folder = make_enmap.EnMap(make_enmap.half_and_half((40, 40))).write(out.with_suffix(""))
    make_enmap.zipped(folder, out)


def elevation(shelf: object, out: Path) -> None:
    """Flat ground of 40 m around the place, 1 arc second."""
    profile = {"driver": "GTiff", "height": 720, "width": 1080, "count": 1, "dtype": "float32", "crs": "EPSG:4326"}
    with rasterio.open(out, "w", transform=Affine(1 / 3600, 0, 13.4, 0, -1 / 3600, 52.43), **profile) as file:
        file.write(np.full((1, 720, 1080), 40, np.float32))


def extract(shelf: object, out: Path) -> None:
    """One wood."""
    corners = [(13.535, 52.332), (13.545, 52.332), (13.545, 52.340), (13.535, 52.340)]
    header = osmium.io.Header()
    header.add_box(osmium.osm.Box(13.5, 52.3, 13.6, 52.4))
    with osmium.SimpleWriter(str(out), header=header) as writer:
        for number, place in enumerate(corners, 1):
            writer.add_node(osmium.osm.mutable.Node(id=number, version=1, location=place))
        wood = osmium.osm.mutable.Way(id=1, version=1, nodes=[1, 2, 3, 4, 1], tags={"landuse": "forest"})
        writer.add_way(wood)

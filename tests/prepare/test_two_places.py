"""Products to maps on two real places: prepare, label, fit, predict, score.

Pixels are real (``s2s1-places``): Sentinel-2 in a SAFE of the agency's structure, one with an offset and one without, and
Sentinel-1 in dB. The labels go the way of OpenStreetMap: areas of a land-cover product written as an extract.
"""

from __future__ import annotations

import json
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
import rasterio
from rasterio.features import shapes
from rasterio.warp import transform, transform_bounds

from c2seg.cli import run
from helpers.prepare_make import write_raster
from products.make_sentinel2 import Safe, write_jp2

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
TAGS = {
    1: ("natural", "water"), 2: ("landuse", "forest"), 3: ("natural", "wetland"), 4: ("landuse", "farmland"),
    5: ("landuse", "residential"), 6: ("natural", "bare_rock"), 9: ("natural", "scrub"),
}  # fmt: skip
PLACES = {"chile": ("05.09", -1000), "denmark": ("03.01", None)}


class PlacedSafe(Safe):
    """A SAFE whose images lie where a raster does."""

    place: rasterio.DatasetReader

    def _image(self, root, granule, band, values, resolution):
        stem = f"GRANULE/{granule}/IMG_DATA/R{resolution}m/T33UUU_20220413T101559_{band}_{resolution}m"
        where = self.place.transform @ rasterio.Affine.scale(resolution / 10)
        write_jp2(root / f"{stem}.jp2", values, resolution, where, self.place.crs.to_epsg())
        return stem


def deliver(source: Path, folder: Path, baseline: str, offset: float | None) -> list[str]:
    """Write the products of a place, and return the options of prepare."""
    folder.mkdir()
    with rasterio.open(source / "msi.tif") as file:
        values = dict(zip(file.descriptions, file.read(), strict=True))
        coarse = {"B05", "B06", "B07", "B8A", "B11", "B12"}
        bands = {name: values[name][::2, ::2] if name in coarse else values[name] for name in BANDS}
        safe = PlacedSafe(baseline=baseline, offset=offset, bands=bands)
        safe.place = file
        msi = safe.write(folder)
    with rasterio.open(source / "sar.tif") as file:
        grid = rasterio_grid(file)
        sar = write_raster(folder / "backscatter.tif", file.read(), grid, names=("VV", "VH"), nodata=float("nan"))
    extract = folder / "area.osm"
    with rasterio.open(source / "label.tif") as file:
        extract.write_text(osm_text(file.read(1), file))
    return ["--msi", str(msi), "--sar", str(sar), "--sar-unit", "dB", "--osm", str(extract)]


def rasterio_grid(file):
    from c2seg.types import Grid

    return Grid(file.height, file.width, file.transform, file.crs.to_wkt())


def osm_text(classes: np.ndarray, file) -> str:
    """Return areas of one class as an OpenStreetMap extract: multipolygons with holes."""
    nodes, ways, relations = [], [], []
    numbers: dict[tuple[float, float], int] = {}

    def way(ring) -> int:
        refs = ""
        lon, lat = transform(file.crs, "EPSG:4326", *map(list, zip(*ring, strict=True)))
        for point in zip(lon, lat, strict=True):
            if point not in numbers:
                numbers[point] = len(numbers) + 1
                nodes.append(f'<node id="{numbers[point]}" lon="{point[0]:.8f}" lat="{point[1]:.8f}" version="1"/>')
            refs += f'<nd ref="{numbers[point]}"/>'
        ways.append(f'<way id="{len(ways) + 1}" version="1">{refs}</way>')
        return len(ways)

    for geometry, value in shapes(classes, transform=file.transform, connectivity=4):
        if int(value) not in TAGS:
            continue
        roles = ["outer"] + ["inner"] * (len(geometry["coordinates"]) - 1)
        rings = [(way(ring), role) for ring, role in zip(geometry["coordinates"], roles, strict=True)]
        parts = "".join(f'<member type="way" ref="{number}" role="{role}"/>' for number, role in rings)
        key, tag = map(quoteattr, TAGS[int(value)])
        tags = f'<tag k="type" v="multipolygon"/><tag k={key} v={tag}/>'
        relations.append(f'<relation id="{len(relations) + 1}" version="1">{parts}{tags}</relation>')
    west, south, east, north = transform_bounds(file.crs, "EPSG:4326", *file.bounds)
    bounds = f'<bounds minlon="{west}" minlat="{south}" maxlon="{east}" maxlat="{north}"/>'
    return "\n".join(['<osm version="0.6">', bounds, *nodes, *ways, *relations, "</osm>"])


@pytest.mark.slow
def test_products_to_scored_maps(real_data, tmp_path, capsys):
    pytest.importorskip("osmium")
    cities = {}
    for name, (baseline, offset) in PLACES.items():
        options = deliver(real_data / "s2s1-places" / name, tmp_path / f"{name}-products", baseline, offset)
        cities[name] = tmp_path / name
        assert run(["prepare", str(cities[name]), *options, "-q"]) == 0
        record = json.loads((cities[name] / "prepare.json").read_text())
        (valid,) = (file["valid_share"] for file in record["outputs"] if file["name"] == "valid.tif")
        assert valid > 0.95
        with rasterio.open(cities[name] / "msi.tif") as file:
            reflectance = file.read(masked=True) * 1e-4
        assert 0 < np.ma.median(reflectance[2]) < 0.2  # red of fields and woods: the offset is gone
        with rasterio.open(cities[name] / "label.tif") as file:
            assert (file.read(1) > 0).mean() > 0.8
    fitted = [
        "fit",
        "forest",
        "--source",
        str(cities["chile"]),
        "--target",
        str(cities["denmark"]),
        "--out",
        str(tmp_path / "run"),
    ]
    assert run([*fitted, "--set", "model.trees=30", "-q"]) == 0
    scores = {}
    for name, city in cities.items():
        assert (
            run(
                [
                    "predict",
                    str(tmp_path / "run/model.safetensors"),
                    str(city),
                    "--out",
                    str(tmp_path / f"{name}.tif"),
                    "-q",
                ]
            )
            == 0
        )
        capsys.readouterr()
        assert run(["score", str(tmp_path / f"{name}.tif"), str(city / "label.tif"), "--json"]) == 0
        scores[name] = json.loads(capsys.readouterr().out)
    assert scores["chile"]["oa"] > 0.8  # where it was trained: images and labels lie on each other
    assert scores["denmark"]["oa"] > 0.4
    with rasterio.open(tmp_path / "denmark.tif") as file, rasterio.open(cities["denmark"] / "valid.tif") as valid:
        assert np.array_equal(file.read(1) > 0, valid.read(1) > 0)

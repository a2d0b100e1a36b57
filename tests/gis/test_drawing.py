"""Pictures of maps: colors, scale, north, and colors that all readers can tell apart."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from PIL import Image
from rasterio.crs import CRS

from c2seg.gis.drawing import GroundScale, color_pixels, north_angle
from c2seg.gis.preview import write_legend_image, write_preview
from c2seg.legend import LandClass, Legend, c2seg13
from c2seg.types import Grid
from helpers import report_make as make

# Machado et al. 2009, severity 1, on linear RGB.
BLINDNESS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def seen(colors, matrix):
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(matrix).T, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("kind", ["normal", *BLINDNESS])
def test_default_colors_differ_for_every_reader_and_from_white(kind):
    color = pytest.importorskip("skimage.color")
    colors = np.array([*c2seg13().colors().values(), (255, 255, 255)]) / 255
    lab = color.rgb2lab(seen(colors, BLINDNESS[kind]) if kind in BLINDNESS else colors)
    difference = color.deltaE_ciede2000(lab[:, None], lab[None])
    assert difference[np.triu_indices(len(colors), 1)].min() > 12
    assert c2seg13().colors() == c2seg13().colors("colorblind")


def test_the_scale_of_projected_geographic_and_unknown_grids():
    assert GroundScale.of(make.grid()) == GroundScale(10.0, 10.0, True)
    degrees = Grid(10, 20, Affine(0.001, 0, 13, 0, -0.001, 60.005), CRS.from_epsg(4326).to_wkt())
    scale = GroundScale.of(degrees)
    assert scale.x_m == pytest.approx(scale.y_m / 2, rel=1e-3)  # 60 degrees north
    assert GroundScale.of(make.grid(crs=None)).known is False
    assert scale.bar(10.0, 130.0) == (100.0, "1 km")
    assert GroundScale(1.0, 1.0, False).bar(1.0, 55.0) == (50.0, "50 pixels")


def test_north():
    assert north_angle(make.grid(crs=None)) is None
    assert north_angle(make.grid()) == pytest.approx(0.0, abs=0.05)
    turned = Grid(9, 9, Affine.translation(500_000, 5_800_000) @ Affine.rotation(-30) @ Affine.scale(10, -10), make.UTM)
    assert north_angle(turned) == pytest.approx(-30, abs=0.1)


def test_what_has_no_class_is_striped():
    legend = Legend("two", (LandClass(1, "a", "#010203"), LandClass(2, "b", "#FFFFFF")))
    pixels = color_pixels(np.array([[1, 2, 0, 0, 0, 0, 0, 0, 0]], np.uint8), legend)
    assert pixels[0, 0].tolist() == [1, 2, 3]
    assert len(np.unique(pixels[0, 2:], axis=0)) == 2


@pytest.mark.parametrize(("height", "width"), [(3, 4), (40, 400)])
def test_a_preview_shows_map_and_legend(tmp_path, height, width):
    place = make.grid(height, width)
    path = make.make_map(tmp_path / "m.tif", make.labels(place), place)
    write_preview(tmp_path / "p.png", path, place, c2seg13(), "default", "A title that is far too long for it " * 9)
    image = Image.open(tmp_path / "p.png")
    assert image.info["Software"] == "c2seg"
    assert 360 <= image.width <= 1700
    colors = {color for _, color in image.getcolors(1 << 24)}
    assert {c2seg13().colors()[i] for i in (3, 7, 10)} <= colors
    assert c2seg13().colors()[1] not in colors  # the legend lists what the picture shows


def test_a_legend_of_many_classes_has_columns(tmp_path):
    many = Legend("many", tuple(LandClass(i, f"class {i}", f"#0000{i:02X}") for i in range(1, 46)))
    write_legend_image(tmp_path / "l.png", many)
    image = Image.open(tmp_path / "l.png")
    assert {(0, 0, i) for i in range(1, 46)} <= {color for _, color in image.getcolors(1 << 24)}
    assert image.height < 700

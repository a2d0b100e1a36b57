"""The labelling page: what it knows, its size, and a browser that goes from the blank page to the exported CSV."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest

from c2seg.api.sampling_maps import draw_sample
from c2seg.errors import GridError, InputError
from c2seg.verify import open_map, read_sample
from c2seg.verify.chips import chip_scales, encode_chip, placement, read_chip
from c2seg.verify.imagery import image_layers
from c2seg.verify.labelpage import page_of_sample, write_page
from helpers import report_make, verify_make

READY = "document.documentElement.dataset.ready === 'yes'"
IDS = verify_make.patchy()
UTM = "EPSG:32633"
CONTROL, ENTER, LEFT, RIGHT, ESCAPE = "\ue009", "\ue007", "\ue012", "\ue014", "\ue00c"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("page")
    path = verify_make.make_map(place, IDS, city=True)
    draw_sample(path, place / "sample.gpkg", n=12, min_per_class=2, city=place / "city", min_unit_px=9, tolerance_m=25)
    return place


@pytest.fixture(scope="module")
def sample(folder):
    return read_sample(folder / "sample.gpkg")


def page_text(folder):
    return (folder / "sample.html").read_text()


def test_the_page_knows_nothing_of_the_map(folder, sample, tmp_path):
    text = page_text(folder)
    body = re.sub(
        r"<script>.*?</script>|<style>.*?</style>|<script type=.application/json. data-chips.*", "", text, flags=re.S
    )
    for word in ("stratum", "strata", "inclusion", "class_id", "mapped", "map.tif"):
        assert word not in body, word
    for item in sample.record.legend.classes:
        assert text.count(json.dumps(item.name)) == 1  # as a choice, and nowhere else
    strata = tuple(point.model_copy(update={"stratum": 6 - point.stratum}) for point in sample.record.points)
    layers = image_layers(open_map(folder / "map.tif"), folder / "city", None)
    write_page(tmp_path / "page.html", page_of_sample(sample.record.model_copy(update={"points": strata})), layers)
    assert (tmp_path / "page.html").read_text() == text


def test_the_page_loads_nothing(folder):
    text = page_text(folder)
    assert "default-src 'none'; img-src data:;" in text
    assert not re.search(r"""(src|href)=["']?(https?:)?//|url\(|@import|fetch\(|XMLHttpRequest""", text)


def test_chips_show_the_place(folder, sample):
    layers = image_layers(open_map(folder / "map.tif"), folder / "city", None)
    assert [layer.title.split(" (")[0] for layer in layers] == ["MSI true color", "MSI false color"]
    scales = chip_scales(open_map(folder / "map.tif").grid)
    assert [scale.px for scale in scales] == [33, 133]
    import rasterio

    with rasterio.open(folder / "city" / "msi.tif") as dataset:
        red = dataset.read(3)
    point = next(p for p in sample.record.points if 20 < p.row < 100 and 20 < p.col < 120)
    place = placement(sample.record.grid.grid(), layers[0], point.row, point.col, 33)
    chip = read_chip(layers[0], place)
    assert chip.shape == (3, 33, 33)
    assert np.array_equal(chip[0], red[point.row - 16 : point.row + 17, point.col - 16 : point.col + 17])


def write_mercator(path: Path, colors: np.ndarray, place) -> None:
    """Write what lies on a grid as a picture of 3 m pixels in web Mercator."""
    from rasterio.crs import CRS
    from rasterio.warp import transform

    west, south, east, north = place.bounds_xy
    xs, ys = transform(UTM, "EPSG:3857", [west, east], [north, south])
    grid = report_make.Grid(
        250, 250, report_make.Affine(4.2, 0, xs[0] - 20, 0, -4.2, ys[0] + 20), CRS.from_epsg(3857).to_wkt()
    )
    x, y = np.meshgrid(xs[0] - 20 + 4.2 * (np.arange(250) + 0.5), ys[0] + 20 - 4.2 * (np.arange(250) + 0.5))
    x, y = (np.array(axis).reshape(250, 250) for axis in transform("EPSG:3857", UTM, x.ravel(), y.ravel()))
    cols, rows = (np.floor(axis / 10).astype(int).clip(0, 59) for axis in (x - west, north - y))
    report_make.write_raster(path, colors[:, rows, cols], grid)


def test_a_finer_backdrop_in_another_crs(tmp_path):
    ids = verify_make.patchy(60, 60)
    path = verify_make.make_map(tmp_path, ids)
    place = report_make.grid(60, 60)
    colors = np.stack([np.where(ids == k, 200, 20).astype(np.uint8) for k in (1, 3, 7)])
    write_mercator(tmp_path / "ortho.tif", colors, place)
    layer = image_layers(open_map(path), None, tmp_path / "ortho.tif")[0]
    chip = read_chip(layer, placement(place, layer, 30, 30, 33))
    assert chip.shape[1] > 120
    centers = ((np.arange(33) + 0.5) * chip.shape[1] / 33).astype(int)
    shown = chip[:, centers][:, :, centers]
    expected = colors[:, 14:47, 14:47]
    assert (abs(shown - expected) < 1).mean() > 0.9
    sample = draw_sample(path, tmp_path / "s.gpkg", n=10, backdrop=tmp_path / "ortho.tif")
    assert sample.page is not None
    assert '"layers": ["ortho"]' in sample.page.read_text()


def test_radar_alone_is_shown(tmp_path):
    path = verify_make.make_map(tmp_path, IDS)
    report_make.make_city(tmp_path / "radar", report_make.grid(*IDS.shape), modalities=("sar",))
    assert draw_sample(path, tmp_path / "s.gpkg", n=10, city=tmp_path / "radar").page_bytes > 10_000


def test_images_elsewhere(tmp_path, folder):
    far = report_make.make_city(tmp_path / "far", report_make.grid(20, 20, pixel_m=7.0))
    with pytest.raises(GridError, match="give the `city` that was mapped"):
        draw_sample(folder / "map.tif", tmp_path / "s.gpkg", city=far)
    lone = verify_make.make_map(tmp_path / "lone", IDS)
    assert draw_sample(lone, tmp_path / "s.gpkg", n=20).page is None
    with pytest.raises(InputError, match="a page needs images"):
        draw_sample(lone, tmp_path / "t.gpkg", n=20, page=True)


def test_chips_keep_their_size():
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 4)).astype(np.uint8)
    noise[..., 3] = 255
    assert len(encode_chip(noise, 40_000)) < 40_000 * 4 / 3 + 40
    assert encode_chip(noise[:33, :33], 40_000).startswith("data:image/png")


def test_a_page_has_at_most_its_bytes(monkeypatch, tmp_path):
    from c2seg.verify import labelpage

    noise = np.random.default_rng(0).integers(0, 255, (4, 300, 300)).astype(np.uint16)
    city = report_make.write_raster(tmp_path / "city" / "msi.tif", noise, report_make.grid(300, 300))
    path = verify_make.make_map(tmp_path, verify_make.patchy(300, 300))
    large = draw_sample(path, tmp_path / "large.gpkg", n=10, city=city.parent).page_bytes
    assert large < 10 * labelpage.MOST_BYTES / 400
    monkeypatch.setattr(labelpage, "_BYTES_A_POINT", 12_000)
    small = draw_sample(path, tmp_path / "small.gpkg", n=10, city=city.parent).page_bytes
    assert small < 10 * 12_000 + 40_000 < large


# The browser.


def show(browser, page: Path, *, blank: bool = True, width: int = 1280, height: int = 860) -> None:
    browser.size(width, height, mobile=width < 500)
    browser.open(page)
    browser.wait(READY)
    if blank:
        browser.script("localStorage.clear(); sessionStorage.clear();")
        browser.open(page)
        browser.wait(READY)


def begin(browser, name: str) -> None:
    browser.script("document.getElementById('name').value = arguments[0]", name)
    browser.script("document.querySelector('#start-form button[type=submit]').click()")
    browser.wait("!document.getElementById('work').hidden")


def text_of(browser, selector: str) -> str:
    return browser.script("return document.querySelector(arguments[0]).textContent", selector)


def export(browser, folder: Path) -> Path:
    browser.downloads(folder)
    before = set(folder.glob("*.csv"))
    browser.script("document.getElementById('export').click()")
    end = time.monotonic() + 15
    while not (new := set(folder.glob("*.csv")) - before):
        assert time.monotonic() < end, browser.errors()
        time.sleep(0.05)
    return new.pop()


def test_from_the_blank_page_to_the_csv(browser, folder, sample, tmp_path):
    show(browser, folder / "sample.html")
    assert export_blank(browser, tmp_path) == (folder / "sample.csv").read_bytes()
    assert text_of(browser, "#point-title") == "Point 1 of 12"
    for point in sample.record.points:
        browser.wait("[...document.querySelectorAll('.chip img')].every((i) => i.complete && i.naturalWidth)")
        shown = browser.script("return [...document.querySelectorAll('.chip img')].map((i) => i.naturalWidth)")
        assert shown == [33, 133, 33, 133]
        key = {1: "1", 3: "3", 7: "7", 10: "0", 12: "w"}[int(IDS[point.row, point.col])]
        browser.press("-", key)
    assert text_of(browser, "#count") == "12 of 12 labeled"
    assert "All 12 points are labeled" in text_of(browser, "#said")
    path = export(browser, tmp_path)
    assert path.name == "sample-anna.csv"
    read = read_sample(path, open_map(folder / "map.tif"))
    assert read.reference.tolist() == IDS[read.row, read.col].tolist()
    assert read.interpreters == ("anna",)
    assert (read.interpretations[0].confidence == 3).all()
    assert browser.errors() == []


def export_blank(browser, tmp_path):
    begin(browser, "anna")
    path = export(browser, tmp_path)
    content = path.read_bytes()
    path.unlink()
    return content


def test_undo_and_cannot_tell(browser, folder, tmp_path):
    show(browser, folder / "sample.html")
    begin(browser, "anna")
    browser.press("1", "2", "c")
    assert text_of(browser, "#count") == "3 of 12 labeled"
    browser.press("u")
    assert text_of(browser, "#point-title") == "Point 3 of 12"
    assert text_of(browser, "#count") == "2 of 12 labeled"
    browser.press("c")
    browser.press(LEFT)
    assert text_of(browser, "#current") == "Labeled: cannot tell"
    browser.press(LEFT, "3")  # a label is changed
    browser.post("/actions", {"actions": [{"type": "key", "id": "keys", "actions": [
        {"type": "keyDown", "value": CONTROL}, {"type": "keyDown", "value": "z"}, {"type": "keyUp", "value": "z"},
        {"type": "keyUp", "value": CONTROL}]}]})  # fmt: skip
    assert text_of(browser, "#current") == "Labeled: Street"
    read = read_sample(export(browser, tmp_path), open_map(folder / "map.tif"))
    assert read.reference[:4].tolist() == [1, 2, 255, 0]
    for _ in range(5):
        browser.press("u")
    assert text_of(browser, "#count") == "0 of 12 labeled"
    assert text_of(browser, "#said") != ""
    assert browser.errors() == []


def test_resumes_and_keeps_interpreters_apart(browser, folder, tmp_path):
    show(browser, folder / "sample.html")
    begin(browser, "anna")
    browser.press("1", "2", "k")
    browser.wait("document.activeElement.id === 'comment'")
    browser.press(*'cut, in "2020"', ENTER, "3")
    show(browser, folder / "sample.html", blank=False)
    assert text_of(browser, "#who") == "anna"
    assert text_of(browser, "#count") == "3 of 12 labeled"
    assert text_of(browser, "#point-title") == "Point 4 of 12"
    browser.script("document.getElementById('switch').click()")
    assert text_of(browser, "#known-list") == "anna: 3 of 12 labeled"
    begin(browser, "Ben Müller")
    assert text_of(browser, "#count") == "0 of 12 labeled"
    browser.press("0")
    ben = export(browser, tmp_path)
    assert ben.name == "sample-Ben-Müller.csv"
    browser.script("document.getElementById('switch').click(); document.querySelector('#known-list button').click()")
    who = text_of(browser, "#who")
    if who != "anna":
        browser.script(
            "document.getElementById('switch').click(); document.querySelectorAll('#known-list button')[1].click()"
        )
    anna = export(browser, tmp_path)
    read = read_sample([anna, ben], open_map(folder / "map.tif"))
    assert read.interpreters == ("anna", "Ben Müller")
    assert read.interpretations[0].comments == {2: 'cut, in "2020"'}
    assert read.interpretations[0].reference[:4].tolist() == [1, 2, 3, 0]
    assert read.interpretations[1].reference[:2].tolist() == [10, 0]
    assert browser.errors() == []


def test_an_exported_csv_continues_elsewhere(browser, folder, tmp_path):
    show(browser, folder / "sample.html")
    begin(browser, "anna")
    browser.press("1", "2", "c")
    path = export(browser, tmp_path)
    show(browser, folder / "sample.html")
    begin(browser, "anna")
    browser.upload("#file", path)
    browser.wait("document.getElementById('count').textContent === '3 of 12 labeled'")
    path.write_text(path.read_text().replace("cannot tell", "Ocean"))
    browser.upload("#file", path)
    browser.wait("document.getElementById('said').textContent.includes('Ocean is no class of this sample')")
    browser.script("document.getElementById('switch').click()")
    begin(browser, "ben")
    path.write_text(path.read_text().replace("Ocean", "cannot tell"))
    browser.upload("#file", path)
    browser.wait("document.getElementById('said').textContent.includes('holds labels of anna')")
    assert text_of(browser, "#count") == "0 of 12 labeled"
    assert browser.errors() == []


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(browser, folder, width):
    show(browser, folder / "sample.html", width=width, height=844)
    assert browser.script("return document.documentElement.scrollWidth") == width
    begin(browser, "anna")
    assert browser.script("return document.documentElement.scrollWidth") == width
    heights = browser.script(
        "return [...document.querySelectorAll('button')].filter((e) => e.offsetParent)"
        ".map((e) => e.getBoundingClientRect().height)"
    )
    assert min(heights) >= (34 if width == 390 else 30)
    unnamed = browser.script(
        "return [...document.querySelectorAll('button, input, img')].filter((e) => !(e.textContent.trim() || e.alt || e.title"
        " || e.labels?.length || e.getAttribute('aria-label'))).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert unnamed == []
    browser.script("document.querySelectorAll('#classes button')[4].click()")
    assert text_of(browser, "#count") == "1 of 12 labeled"
    assert browser.errors() == []


def test_text_from_files_is_not_executed(browser, tmp_path):
    from c2seg.legend import LandClass, Legend

    evil = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>"
    legend = Legend("evil", tuple(LandClass(k, f"{evil}{k}", "#123456") for k in verify_make.CLASSES))
    place = report_make.grid(*IDS.shape)
    report_make.make_map(tmp_path / "map.tif", IDS, place, legend=legend)
    city = report_make.make_city(tmp_path / "city", place, modalities=("msi",))
    sample = draw_sample(tmp_path / "map.tif", tmp_path / "$title<b>.gpkg", n=10, city=city)
    show(browser, sample.page)
    begin(browser, evil[:60])
    browser.press("1")
    assert browser.script("return document.title") == "Label $title<b>"
    assert text_of(browser, "#said") == f"Point 1: {evil}1."
    assert browser.errors() == []

"""The section of a map that was checked with a sample: what it shows, what others can audit, what it warns of."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from c2seg.api.sampling_maps import draw_sample
from c2seg.report import ReportOptions, make_report
from c2seg.verify.estimate import EstimateSettings, estimate_map
from helpers import verify_make

READY = "document.documentElement.dataset.ready === 'yes'"
IDS = verify_make.patchy(90, 120)


def reference() -> np.ndarray:
    rng = np.random.default_rng(3)
    wrong = rng.random(IDS.shape) < 0.15
    return np.where(wrong, rng.choice(np.array([1, 3, 7], np.uint8), IDS.shape), IDS)


def campaign(folder: Path) -> Path:
    """A map, its sample, its labels and its estimate in a folder; return the map."""
    path = verify_make.make_map(folder, IDS)
    sample = draw_sample(path, folder / "points.gpkg", n=120, tolerance_m=15, page=False)
    labels = verify_make.write_labels(folder / "anna.csv", sample.csv, sample.record, reference())
    estimate_map(path, [labels], EstimateSettings(beside=folder / "map.estimate.json")).write(
        folder / "map.estimate.json"
    )
    return path


def report(path: Path) -> str:
    out = path.parent / "page.html"
    make_report([path], ReportOptions(out, overwrite=True))
    return out.read_text()


@pytest.fixture(scope="module")
def checked(tmp_path_factory) -> Path:
    path = campaign(tmp_path_factory.mktemp("checked"))
    report(path)
    return path


def test_what_is_shown(checked):
    text = (checked.parent / "page.html").read_text()
    record = json.loads((checked.parent / "map.estimate.json").read_text())
    overall = record["overall"]
    assert "A stratified random sample of 120 points, 120 of them labeled by anna." in text
    shown = f"{100 * overall['value']:.1f} % ({100 * overall['low']:.1f} to {100 * overall['high']:.1f} %)"
    assert f"its overall accuracy is {shown}." in text
    for item in record["classes"]:
        row = re.search(rf'<tr><th scope="row"><i class="swatch"[^>]*></i>{item["name"]}</th>.*?</tr>', text)
        assert (row is not None) == (item["mapped_share"] > 0)
        if row:
            area = item["area_km2"]
            assert f"{area['value']:,.2f}</b><small>{area['low']:,.2f} to {area['high']:,.2f}" in row[0]
    assert "Neither mapped nor at any labeled point: Street" in text
    assert text.count("<title>point ") == 120


def test_what_others_can_audit(checked):
    text = (checked.parent / "page.html").read_text()
    record = json.loads((checked.parent / "points.json").read_text())
    for fact in (record["sample_id"], record["map"]["digest"], "<dt>Seed</dt><dd>0</dd>", "points.json", "15 m"):
        assert fact in text, fact
    assert "unchanged since the points were drawn" in text
    carried = dict(re.findall(r'<a download="([^"]+)" href="data:application/json;base64,([^"]+)"', text))
    assert sorted(carried) == ["map.estimate.json", "points.json"]
    assert json.loads(base64.b64decode(carried["points.json"])) == record


def test_a_map_without_an_estimate_has_no_section(tmp_path):
    assert 'class="verification"' not in report(verify_make.make_map(tmp_path, IDS))


def test_what_does_not_fit_is_told(tmp_path):
    path = campaign(tmp_path)
    record = tmp_path / "points.json"
    before = record.read_text()
    record.write_text(before.replace('"seed": 0', '"seed": 1'))
    assert "points.json was changed after its points were drawn" in report(path)
    record.write_text(before)
    draw_sample(path, tmp_path / "points.gpkg", n=60, seed=5, page=False, overwrite=True)
    assert "is the record of another sample" in report(path)
    record.unlink()
    text = report(path)
    assert "was not read, so its points are not shown" in text
    assert "<title>point " not in text
    changed = IDS.copy()
    changed[50, 50] = 2
    verify_make.make_map(tmp_path, changed)
    assert "This map is not the one that was checked" in report(path)


@pytest.mark.parametrize("width", [390, 1280])
def test_the_section_in_a_browser(browser, checked, width):
    browser.size(width, 844, mobile=width == 390)
    browser.open(checked.parent / "page.html")
    browser.wait(READY)
    assert browser.script("return document.documentElement.scrollWidth") == width
    assert browser.script("return document.querySelector('nav a[href=\"#sample0\"]').textContent") == "Sample of city"
    image, points = browser.script(
        "return [...document.querySelectorAll('.plan img, .plan svg')].map((e) => { const b = e.getBoundingClientRect();"
        " return [b.width, b.height]; })"
    )
    assert image == points
    assert image[0] / image[1] == pytest.approx(120 / 90, rel=0.02)
    places = browser.script(
        "return [...document.querySelectorAll('.range')].map((e) => ['i', 'b', 'u'].map((n) => {"
        " const r = e.querySelector(n).getBoundingClientRect(), o = e.getBoundingClientRect();"
        " return (r.left + r.width / 2 - o.left) / o.width; }))"
    )
    assert all(abs(interval - value) < 0.2 and 0 <= mapped <= 1.02 for interval, value, mapped in places)
    assert browser.errors() == []

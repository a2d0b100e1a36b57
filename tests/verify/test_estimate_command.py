"""`c2seg estimate` and `c2seg certify` from a drawn sample to their files."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

import c2seg
from c2seg.cli import run
from c2seg.errors import DataError, InputError
from c2seg.verify.records import CertificateRecord, EstimateRecord
from c2seg.verify.samples import SampleRecord
from helpers.report_make import grid, write_raster
from helpers.verify_make import CLASSES, make_map, patchy, write_labels

IDS = patchy()


def reference_of(ids, wrong=0.2, seed=1):
    rng = np.random.default_rng(seed)
    reference = ids.copy()
    moved = rng.random(ids.shape) < wrong
    reference[moved] = rng.choice(np.array(CLASSES, np.uint8), int(moved.sum()))
    reference[ids == 0] = 0
    return reference


REFERENCE = reference_of(IDS)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """A map, and a labeled stratified sample of it."""
    folder = tmp_path_factory.mktemp("campaign")
    path = make_map(folder, IDS)
    sample = c2seg.draw_sample(path, folder / "points.gpkg", n=240, page=False)
    labels = write_labels(folder / "anna.csv", sample.csv, sample.record, REFERENCE)
    return path, sample, labels


def real_shares():
    inside = IDS > 0
    return {number: float((REFERENCE[inside] == number).mean()) for number in CLASSES}


@pytest.mark.parametrize(
    "options",
    [
        {"design": "stratified"},
        {"design": "random"},
        {"design": "systematic"},
        {"strata": ("confidence",)},
        pytest.param({"strata": ("class", "confidence")}, marks=pytest.mark.slow),
    ],
    ids=["stratified", "random", "systematic", "confidence", "class and confidence"],
)
def test_intervals_hold_what_is_known(tmp_path, options):
    path = make_map(tmp_path, IDS)
    sample = c2seg.draw_sample(path, tmp_path / "points.gpkg", n=300, page=False, **options)
    labels = write_labels(tmp_path / "labels.csv", sample.csv, sample.record, REFERENCE)
    result = c2seg.estimate_accuracy(path, labels, level=0.999)
    right = float((IDS == REFERENCE)[IDS > 0].mean())
    assert result.overall.low <= right <= result.overall.high
    assert result.record.sample.labeled == len(sample.record.points)
    shares = real_shares()
    for item in result.record.classes:
        if item.id in shares:
            assert item.area.low <= shares[item.id] <= item.area.high
            assert (
                item.area_km2.low <= shares[item.id] * (IDS > 0).sum() * result.record.pixel_km2 <= item.area_km2.high
            )
            assert item.users.low <= item.users.value <= item.users.high
            assert item.iou.value <= item.f1.value
    assert np.sum(result.record.matrix) == pytest.approx(1)
    assert "overall accuracy" in result._repr_html_()
    shown = c2seg.certify_map(path, labels, alpha=0.4)
    assert shown.results["all"].limit >= 1 - right
    assert "all" in shown.shown


def test_the_command_and_its_files(campaign, tmp_path, capsys):
    path, sample, labels = campaign
    out, table = tmp_path / "map.estimate.json", tmp_path / "map.csv"
    words = ["estimate", path, labels, "--out", out, "--csv", table, "--half-width", 0.01, "-q"]
    assert run([str(word) for word in words]) == 0
    text = capsys.readouterr().out
    assert text.startswith("240 labeled points of 240, stratified; strata of the mapped class (Olofsson et al. 2014)")
    assert "more points for plus or minus 1 %" in text
    assert "neither mapped nor seen" in text
    record = EstimateRecord.read(out)
    assert record.sample.sample_id == sample.record.sample_id
    assert (tmp_path / record.sample.path).resolve() == sample.path.with_suffix(".json").resolve()
    assert (tmp_path / record.map.path).resolve() == path.resolve()
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert float(rows[0]["value"]) == record.overall.value
    assert {row["quantity"] for row in rows} >= {
        "overall accuracy",
        "users",
        "producers",
        "f1",
        "iou",
        "area",
        "area km2",
    }
    assert run([str(word) for word in words]) == 2
    assert "exists already" in capsys.readouterr().err
    assert run([*map(str, words[:3]), "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["artifact"] == "estimate"


def test_an_output_in_place_of_the_sample(campaign, capsys):
    path, _, labels = campaign
    assert run(["estimate", str(path), str(labels), "--csv", str(labels), "--overwrite", "-q"]) == 2
    assert "is one of the inputs" in capsys.readouterr().err


def test_published_estimators_in_the_command(campaign):
    """What is printed is what the formulas give by hand: Olofsson et al. (2014), equations 4, 1 and 9."""
    path, sample, labels = campaign
    record = c2seg.estimate_accuracy(path, labels).record
    pixels = {s.class_id: s.pixels for s in sample.record.strata}
    total, overall, area = sum(pixels.values()), 0.0, 0.0
    for number, size in pixels.items():
        points = [p for p in sample.record.points if IDS[p.row, p.col] == number]
        overall += size / total * np.mean([REFERENCE[p.row, p.col] == number for p in points])
        area += size / total * np.mean([REFERENCE[p.row, p.col] == 3 for p in points])
    assert record.overall.value == pytest.approx(overall)
    assert record.classes[2].area.value == pytest.approx(area)


def test_undecided_points_and_disputes(campaign, tmp_path, capsys):
    path, sample, labels = campaign
    other = REFERENCE.copy()
    rng = np.random.default_rng(5)
    marked = (rng.random(IDS.shape) < 0.1) & (IDS > 0)
    other[marked] = 255
    second = write_labels(tmp_path / "bert.csv", sample.csv, sample.record, other, who="bert")
    alone = c2seg.estimate_accuracy(path, second, legend=None).record
    assert alone.sample.undecided == sum(marked[p.row, p.col] for p in sample.record.points) > 10
    assert alone.overall.worst_low < alone.overall.low
    assert alone.overall.high < alone.overall.worst_high
    assert any("could not be told" in text for text in alone.warnings)
    together = c2seg.estimate_accuracy(path, [labels, second]).record
    assert together.sample.undecided == 0  # where one of the two could tell, the class counts
    assert together.agreement.percent == 1
    other = np.where(rng.random(IDS.shape) < 0.1, 7, REFERENCE).astype(np.uint8)
    other[IDS == 0] = 0
    third = write_labels(tmp_path / "carl.csv", sample.csv, sample.record, other, who="carl")
    majority = c2seg.estimate_accuracy(path, [labels, third]).record
    consensus = c2seg.estimate_accuracy(path, [labels, third], disputes="consensus").record
    assert majority.agreement.disputed == consensus.agreement.disputed
    assert 0 < len(majority.agreement.disputed) == consensus.sample.undecided
    assert majority.sample.undecided == 0
    assert run(["estimate", str(path), str(labels), str(third)]) == 0
    assert "interpreters agree at" in capsys.readouterr().out
    with pytest.raises(InputError, match="way to resolve disputes 'vote'"):
        c2seg.estimate_accuracy(path, labels, disputes="vote")


def test_a_part_of_the_labels_is_a_smaller_sample(campaign, tmp_path):
    path, sample, _ = campaign
    reference = np.zeros_like(REFERENCE)
    for point in sample.record.points[:90]:
        reference[point.row, point.col] = REFERENCE[point.row, point.col]
    labels = write_labels(tmp_path / "part.csv", sample.csv, sample.record, reference)
    record = c2seg.estimate_accuracy(path, labels).record
    assert record.sample.labeled == 90
    assert not any("in between" in text for text in record.warnings)
    reference[sample.record.points[0].row, sample.record.points[0].col] = 0
    labels = write_labels(tmp_path / "gaps.csv", sample.csv, sample.record, reference)
    assert any("in between" in text for text in c2seg.estimate_accuracy(path, labels).warnings)
    labels = write_labels(tmp_path / "none.csv", sample.csv, sample.record, np.zeros_like(REFERENCE))
    with pytest.raises(DataError, match="has no label"):
        c2seg.estimate_accuracy(path, labels)


def zones_file(path, halves=("west", "east")):
    place = grid(*IDS.shape)
    west, south, east, north = place.bounds_xy
    middle = (west + east) / 2
    boxes = [(west, middle), (middle, east)]
    features = [
        {
            "type": "Feature",
            "properties": {"name": name},
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[a, south], [b, south], [b, north], [a, north], [a, south]]],
            },
        }
        for name, (a, b) in zip(halves, boxes, strict=True)
    ]
    from rasterio.crs import CRS

    code = CRS.from_wkt(place.crs).to_epsg()
    crs = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{code}"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    return path


@pytest.mark.parametrize("strata", [("class",), pytest.param(("confidence",), marks=pytest.mark.slow)])
def test_zones(tmp_path, strata, capsys):
    path = make_map(tmp_path, IDS)
    sample = c2seg.draw_sample(path, tmp_path / "points.gpkg", n=400, strata=strata, page=False)
    labels = write_labels(tmp_path / "labels.csv", sample.csv, sample.record, REFERENCE)
    zones = zones_file(tmp_path / "zones.geojson")
    record = c2seg.estimate_accuracy(path, labels, zones=zones, level=0.999).record
    assert [zone.name for zone in record.zones] == ["west", "east"]
    assert sum(zone.pixels for zone in record.zones) == (IDS > 0).sum()
    assert sum(zone.points for zone in record.zones) == 400
    for zone, part in zip(record.zones, (np.s_[:, :75], np.s_[:, 75:]), strict=True):
        inside = IDS[part] > 0
        right = (IDS[part] == REFERENCE[part])[inside].mean()
        assert zone.overall.low <= right <= zone.overall.high
        assert zone.areas[0].low <= (REFERENCE[part] == 1)[inside].mean() <= zone.areas[0].high
    command = ["certify", path, labels, "--zone", zones, "--alpha", 0.35]
    assert run([str(word) for word in command]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["all", "west", "east"]
    for item, part in zip(c2seg.certify_map(path, labels, zones=zones).record.results[1:], (0, 1), strict=True):
        half = np.s_[:, :75] if part == 0 else np.s_[:, 75:]
        assert item.limit >= (IDS[half] != REFERENCE[half])[IDS[half] > 0].mean()


def test_two_maps_on_one_sample(campaign, tmp_path, capsys):
    path, _sample, labels = campaign
    worse = reference_of(IDS, 0.3, seed=9)
    other = make_map(tmp_path, worse, name="other")
    record = c2seg.estimate_accuracy(path, labels, compare=other).record
    result = record.comparison
    assert result.value > 0.1
    assert result.low <= result.value <= result.high
    assert result.value == pytest.approx(record.overall.value - result.against_overall.value)
    assert run(["estimate", str(path), str(labels), "--compare", str(other)]) == 0
    assert "overall accuracy minus that of" in capsys.readouterr().out
    small = make_map(tmp_path, IDS[:60], name="small")
    with pytest.raises(DataError, match="give the map that it was drawn from"):
        c2seg.estimate_accuracy(path, labels, compare=small)


def test_probabilities_make_areas_more_precise(campaign, tmp_path):
    path, _, labels = campaign
    rng = np.random.default_rng(0)
    legend = c2seg.estimate_accuracy(path, labels).record.classes
    raw = np.zeros((len(legend), *IDS.shape), np.float64)
    for k, item in enumerate(legend):
        raw[k] = 0.1 + (item.id == REFERENCE) * 2.0 + rng.random(IDS.shape) * (item.id in CLASSES)
    raw /= raw.sum(0)
    raw = np.rint(raw * 200).astype(np.uint8)
    raw[:, IDS == 0] = 255
    layer = tmp_path / "probabilities.tif"
    write_raster(layer, raw, grid(*IDS.shape), nodata=255)
    record = c2seg.estimate_accuracy(path, labels, probabilities=layer, level=0.999).record
    shares = real_shares()
    narrower = 0
    for item in record.classes:
        if item.predicted_area is not None:
            assert item.predicted_area.low <= shares[item.id] <= item.predicted_area.high
            narrower += item.predicted_area.se < item.area.se
    assert narrower >= 3
    assert record.predicted_overall is not None
    sets = tmp_path / "sets.tif"
    result = c2seg.certify_map(path, labels, probabilities=layer, sets=sets, out=tmp_path / "certificate.json")
    assert CertificateRecord.read(tmp_path / "certificate.json") == result.record
    assert result.record.sets.path == "sets.tif"
    assert sets.is_file()
    assert result.record.sets.coverage > 0.85
    with pytest.raises(InputError, match="prediction sets need the `probabilities`"):
        c2seg.certify_map(path, labels, sets=tmp_path / "more.tif")


@pytest.mark.slow
def test_the_terms_of_the_sample_hold(tmp_path):
    """Single wrong pixels are below the mapping unit; a shift by a pixel is within the tolerance."""
    speckled = IDS.copy()
    rng = np.random.default_rng(3)
    specks = (rng.random(IDS.shape) < 0.04) & (IDS > 0)
    specks[1::2] = False
    specks[:, 1::2] = False
    speckled[specks] = np.where(IDS[specks] == 1, 3, 1)
    path = make_map(tmp_path, speckled)
    plain = c2seg.draw_sample(path, tmp_path / "plain.gpkg", n=400, page=False)
    unit = c2seg.draw_sample(path, tmp_path / "unit.gpkg", n=400, min_unit_px=3, page=False)
    near = c2seg.draw_sample(path, tmp_path / "near.gpkg", n=400, tolerance_m=15, page=False)
    overall = {}
    for name, sample in (("plain", plain), ("unit", unit), ("near", near)):
        labels = write_labels(tmp_path / f"{name}.csv", sample.csv, sample.record, IDS)
        record = c2seg.estimate_accuracy(path, labels).record
        overall[name] = record.overall.value
    assert overall["plain"] < 0.997
    assert overall["unit"] == 1
    assert overall["near"] > overall["plain"]
    assert record.sample.tolerance_px > 0


def test_a_sample_of_another_map_is_refused(campaign, tmp_path, capsys):
    _, _, labels = campaign
    other = make_map(tmp_path, patchy(seed=4))
    for command in ("estimate", "certify"):
        assert run([command, str(other), str(labels), str(labels.with_name("points.json"))]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert "is of another map" in error


def test_pixels_that_were_trained_on_are_left_out(campaign, tmp_path):
    path, sample, labels = campaign
    plain = c2seg.estimate_accuracy(path, labels).record
    record = json.loads(path.with_suffix(".json").read_text())
    point = sample.record.points[0]
    trained = {
        "file": "few.gpkg", "digest": "0", "city": (record.get("key") or {}).get("city", ""), "labels": {"a": 1}, "pixels": 1,
        "guard_px": 4, "scenes": [{"scene": "city", "spans": [[point.row, point.col, 1]]}],
    }  # fmt: skip
    few = tmp_path / path.name
    few.write_bytes(path.read_bytes())
    few.with_suffix(".json").write_text(json.dumps(record | {"target_labels": [trained]}))
    result = c2seg.estimate_accuracy(few, [labels, sample.path.with_suffix(".json")]).record
    assert result.sample.left_out >= 1
    assert result.sample.labeled == plain.sample.labeled - result.sample.left_out
    inside = IDS[max(point.row - 4, 0) : point.row + 5, max(point.col - 4, 0) : point.col + 5]
    assert sum(s.pixels for s in plain.strata) - sum(s.pixels for s in result.strata) == (inside > 0).sum()
    assert any("trained on" in text for text in result.warnings)


def test_records_are_read_back(campaign):
    path, sample, labels = campaign
    record = c2seg.estimate_accuracy(path, labels, level=0.9).record
    assert EstimateRecord.parse(json.loads(record.as_text()), "here") == record
    assert isinstance(sample.record, SampleRecord)
    with pytest.raises(InputError, match="`level` must be at least"):
        c2seg.estimate_accuracy(path, labels, level=95)

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from c2seg.cli import run as c2seg
from c2seg.errors import InputError, OutputError
from c2seg.legend import LandClass, Legend, c2seg13
from c2seg.report import ReportOptions, make_report
from c2seg.report.figure import _draw
from c2seg.report.runs import open_runs
from c2seg.report.views import make_views
from helpers import report_make as make

EVIL = "<img src=x onerror=alert(1)>&'\"</script>"


class Page(HTMLParser):
    """Collects the tags, the text, and the page's data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.source = text
        self.data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words += data

    def ids(self):
        return [a["id"] for _, a in self.tags if "id" in a]


def make_page(out, runs, **options) -> Page:
    result = make_report(runs, ReportOptions(out, **options))
    assert result.size_bytes == out.stat().st_size < 15_000_000
    return Page(out.read_text(encoding="utf-8"))


@pytest.fixture
def town(tmp_path):
    place = make.grid()
    city = make.make_city(tmp_path / "town", place, label=True)
    forest = make.make_run(tmp_path / "forest", validation=True)
    unet = make.make_run(tmp_path / "unet", curves=True, recipe="unet")
    make.make_map(forest / "town.tif", make.labels(place), place, confidence=True, city_path=city)
    make.make_map(unet / "town.tif", make.wrong_in_one_stripe(place), place, confidence=True, city_path=city)
    return city, forest, unet


def test_everything_has_its_section(tmp_path, town):
    city, forest, unet = town
    page = make_page(tmp_path / "page.html", [forest, unet], references=(city,))
    sections = {"runs", "map0", "scores0", "scores1", "curves", "published", "provenance", "figure"}
    assert sections <= set(page.ids())
    assert len(page.ids()) == len(set(page.ids()))
    for text in ("Scores on town", "Validation on the source", "Not comparable", "MMGLOTS (winner)", "HighDAN",
                 "c2seg fit forest --source village --out run", "trees: 8", "0123abc",
                 "forest has the highest mIoU on town, 1.000"):  # fmt: skip
        assert text in page.words, text
    kinds = [layer["kind"] for layer in page.data["views"][0]["layers"]]
    assert kinds.count("image") == 4  # msi true and false color, sar, hsi
    assert kinds.count("level") == 2
    assert page.data["views"][0]["left_layer"] == next(
        layer["key"] for layer in page.data["views"][0]["layers"] if layer.get("role") == "reference"
    )


def test_nothing_is_loaded_from_elsewhere(tmp_path, town):
    city, forest, unet = town
    page = make_page(tmp_path / "page.html", [forest, unet], references=(city,))
    for tag, attributes in page.tags:
        for name in ("src", "href", "data", "action", "srcset", "poster"):
            value = attributes.get(name)
            carried = tag == "a" and "download" in attributes and name == "href"  # a file in the page, to be saved
            starts = ("#", "data:image/", *(("data:text/csv", "data:image/tiff") if carried else ()))
            assert value is None or value.startswith(starts), (tag, value)
        assert tag not in {"link", "iframe", "object", "embed", "form", "base"}
        assert not any(name.startswith("on") for name in attributes)
    assert "default-src 'none'" in page.source
    assert not re.search(r"url\(|@import", page.source.split("</style>")[0])


def test_the_scripts_hash_is_the_scripts(tmp_path, town):
    import base64
    import hashlib

    page = make_page(tmp_path / "page.html", [town[1]])
    script = re.search(r"<script>(.*?)</script>", page.source, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page.source


def test_without_reference(tmp_path, town):
    page = make_page(tmp_path / "page.html", [town[2]])
    assert "No ground truth was given" in page.words
    assert not any(name.startswith("scores") for name in page.ids())
    assert "This page has no score that compares with these" in page.words
    assert page.data["views"][0]["left_layer"] == "layer0"


def test_without_curves_maps_or_images(tmp_path):
    page = make_page(tmp_path / "page.html", [make.make_run(tmp_path / "run", validation=True)])
    assert {"runs", "scores0", "provenance"} <= set(page.ids())
    assert not {"curves", "map0", "figure"} & set(page.ids())
    assert "Report of run" in page.words
    place = make.grid()
    bare = make.write_raster(tmp_path / "bare.tif", make.labels(place)[None], place)
    page = make_page(tmp_path / "bare.html", [bare])
    assert "No images" in page.words
    assert "0.0564" not in page.words
    assert "0.06" in page.words  # 564 pixels of 100 m2: 0.06 km2


def test_with_one_class_and_a_missing_modality(tmp_path):
    place = make.grid()
    legend = Legend("water", (LandClass(1, "Water", "#0000FF"),))
    city = make.make_city(tmp_path / "town", place, modalities=("sar",))
    reference = make.write_raster(tmp_path / "label.tif", np.minimum(make.labels(place), 1)[None], place)
    path = make.make_map(tmp_path / "a.tif", np.ones((48, 36), np.uint8), place, legend=legend)
    page = make_page(tmp_path / "page.html", [path], cities=(city,), references=(reference,))
    assert "published" not in page.ids()  # another legend: nothing to compare with
    assert "100% of the 1,692 labeled pixels are right." in page.words
    images = [layer["title"] for layer in page.data["views"][0]["layers"] if layer["kind"] == "image"]
    assert images == ["SAR (band 1 / band 2 / difference)"]


def test_a_map_of_nothing_and_a_reference_of_nothing(tmp_path):
    place = make.grid()
    path = make.make_map(tmp_path / "a.tif", np.zeros((48, 36), np.uint8), place)
    reference = make.write_raster(tmp_path / "label.tif", np.zeros((1, 48, 36), np.uint8), place)
    page = make_page(tmp_path / "page.html", [path], references=(reference,))
    assert "The ground truth labels no pixel of this map." in page.words


def test_scores_come_from_score_files_without_reference(tmp_path, town):
    city, forest, _ = town
    assert (
        c2seg(["score", str(forest / "town.tif"), str(city / "label.tif"), "--out", str(forest / "s.json"), "-q"]) == 0
    )
    page = make_page(tmp_path / "page.html", [forest])
    assert "Scores on town" in page.words
    assert "the ground truth itself was not given" in page.words
    assert "mIoU 1.000" not in page.words  # no view shows its errors, so it is not in the lead
    assert not any("Errors" in layer["title"] for layer in page.data["views"][0]["layers"])


def test_a_map_of_the_source_is_no_test(tmp_path, town):
    city, forest, _ = town
    make.make_run(forest, sources=[{"name": "town", "images": "f", "labels": "b"}])
    page = make_page(tmp_path / "page.html", [forest], references=(city,))
    assert "Not a test: forest was trained on this city" in page.words
    assert "scored only on a city that it was trained on" in page.words
    assert "has the highest" not in page.words


def test_text_from_files_is_escaped(tmp_path):
    place = make.grid()
    name = "<b>x</b>&'\"$a$"
    run = make.make_run(tmp_path / name, recipe=EVIL, command=EVIL, commit=EVIL, packages={EVIL: EVIL},
                        sources=[{"name": EVIL, "images": EVIL, "labels": EVIL}])  # fmt: skip
    (run / "recipe.yaml").write_text(EVIL)
    (run / "curves.csv").write_text(f"step,{EVIL.replace(',', '')}\n1,2\n2,3\n")
    classes = tuple(LandClass(c.id, EVIL + str(c.id), c.color) for c in c2seg13().classes)
    make.make_map(
        run / "town.tif", make.labels(place), place, city=EVIL, legend=Legend("evil", classes), confidence=True
    )
    reference = make.write_raster(tmp_path / "<i>label.tif", make.labels(place)[None], place)
    page = make_page(tmp_path / "page.html", [run], references=(reference,), title=EVIL)
    assert {tag for tag, _ in page.tags if tag in {"b", "i", "img"}} <= {"b", "i", "img"}
    assert not any(a.get("src") == "x" or "onerror" in a for _, a in page.tags)
    assert page.source.count("<script") == page.source.count("</script>") == 2
    assert f"{EVIL}" in page.words
    assert page.data["views"][0]["names"]["1"] == EVIL + "1"
    assert not re.search(r"<b>x|<i>label", page.source)


def test_equal_inputs_give_equal_pages(tmp_path, town):
    city, forest, _ = town
    for name in ("a", "b"):
        make_report(
            [forest], ReportOptions(tmp_path / f"{name}.html", figure=tmp_path / f"{name}.svg", references=(city,))
        )
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_figures_for_papers(tmp_path, town, suffix, start):
    city, forest, unet = town
    path = tmp_path / f"figure.{suffix}"
    result = make_report([forest, unet], ReportOptions(None, figure=path, references=(city,), palette="colorblind"))
    assert result.out is None
    assert path.read_bytes().startswith(start)
    if suffix == "svg":
        text = path.read_text()
        for word in ("(a) MSI true color", "Reference", ") forest", ") unet", "Inland wetlands"):
            assert word in text


@pytest.mark.parametrize("count", [3, 12])
def test_titles_of_narrow_panels_do_not_overlap(tmp_path, count):
    place = make.grid(160, 40)
    city = make.make_city(tmp_path / "town", place)
    folders = [make.make_run(tmp_path / f"run {k} with a very long name" / "unseparated-words") for k in range(count)]
    for folder in folders:
        make.make_map(folder / "town.tif", make.labels(place), place, city_path=city)
    runs = open_runs(folders)
    figure = _draw(make_views(runs, (), (), None), runs, "default", 10_000)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [axes.title.get_window_extent(canvas.get_renderer()) for axes in figure.axes]
    assert len(boxes) == 4 + count
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert max(box.y1 for box in boxes) <= figure.bbox.y1
    assert figure.get_figwidth() <= 7.2


def test_outputs_are_refused_before_the_work(tmp_path, town):
    _, forest, _ = town
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        make_report([forest], ReportOptions(tmp_path / "page.html"))
    assert (tmp_path / "page.html").read_text() == "mine"
    for options, said in (
        (ReportOptions(None), "nothing to write"),
        (ReportOptions(tmp_path / "b.html", figure=tmp_path / "x.jpg"), ".png, .svg, .pdf"),
        (ReportOptions(tmp_path / "b.html", palette="nice"), "unknown palette"),
    ):
        with pytest.raises(InputError, match=said):
            make_report([forest], options)
    with pytest.raises(InputError, match="no map to draw"):
        make_report([make.make_run(tmp_path / "bare")], ReportOptions(None, figure=tmp_path / "x.png"))
    assert not (tmp_path / "b.html").exists()


def test_many_scenes_are_scored_but_not_all_shown(tmp_path):
    place = make.grid(20, 20)
    run = make.make_run(tmp_path / "run")
    for k in range(14):
        make.make_map(run / "town" / f"{k}.tif", make.labels(place), place, city=f"town{k}", fingerprint=str(k))
    result = make_report([run], ReportOptions(tmp_path / "page.html"))
    assert (result.views, result.hidden_views) == (12, 2)
    assert "2 more predicted scenes" in Page((tmp_path / "page.html").read_text()).words


def test_command(tmp_path, town, capsys):
    city, forest, unet = town
    out = tmp_path / "page.html"
    arguments = ["report", str(forest), str(unet), "--out", str(out), "--reference", str(city), "--quiet"]
    assert c2seg(arguments) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert c2seg(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert c2seg([*arguments, "--overwrite", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["size_bytes"] == out.stat().st_size
    assert [s["scores"]["miou"] for s in answer["scores"]][:2] == [1.0, pytest.approx(0.5)]
    assert c2seg(["report", str(tmp_path / "nothing"), "--out", str(tmp_path / "b.html")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "does not exist" in error


def test_fit_predict_and_score_leave_what_the_report_needs(tmp_path, capsys):
    place = make.grid(64, 64)
    source = make.make_city(tmp_path / "village", place, label=True)
    target = make.make_city(tmp_path / "town", place)
    run = tmp_path / "run"
    options = ["--set", "model.trees=3", "--set", "validation.folds=2", "--quiet"]
    assert c2seg(["fit", "forest", "--source", str(source), "--target", str(target), "--out", str(run), *options]) == 0
    model = str(run / "model.safetensors")
    confidence = str(run / "sure.tif")
    assert c2seg(["predict", model, str(target), "--out", str(run / "town.tif"), "--confidence", confidence, "-q"]) == 0
    assert c2seg(["score", str(run / "town.tif"), str(source / "label.tif"), "--out", str(run / "s.json"), "-q"]) == 0
    capsys.readouterr()
    assert c2seg(["report", str(run), "--out", str(tmp_path / "page.html"), "--quiet"]) == 0
    page = Page((tmp_path / "page.html").read_text())
    assert {"map0", "scores0", "scores1", "provenance"} <= set(page.ids())
    kinds = [layer["kind"] for layer in page.data["views"][0]["layers"]]
    assert kinds.count("image") == 4
    assert kinds.count("level") == 1
    assert "fingerprints differ" not in page.words
